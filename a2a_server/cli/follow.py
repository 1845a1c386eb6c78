"""Follows one task to its end through broken connections: every event once, in order, none left out.

Theory of operation: events are numbered, so a stream that broke is continued by SubscribeToTask with Last-Event-ID, and
what comes twice is dropped by its number. Before the first event the task's id is not known; then the same message is
sent again, which is the same task (a message's id makes it so). Tries are counted since the last event that came. The
server closes a send's stream when the agent asks for something, but keeps subscriptions open: there the question itself
is the end.

Weakness: with servers that do not number their events, what happened while the connection was down is seen only in the
snapshot that a new subscription begins with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from a2a_server.cli.failures import BusyError, CommandError, RpcError, UnreachableError
from a2a_server.cli.rpc import BrokenError, Connection, Item, Json, is_unsupported
from a2a_server.lifecycle.states import INTERRUPTED, TERMINAL

ENDED = frozenset(f"TASK_STATE_{state.name}" for state in TERMINAL)
ASKING = frozenset(f"TASK_STATE_{state.name}" for state in INTERRUPTED)
TRIES = 8
LONGEST_PAUSE_SECONDS = 5.0
POLL_SECONDS = 0.5


class Follower:
    """Follows what one message starts, or one task that exists.

    task_id, n: the task and the number of its last event, as far as known; where to go on when this one stops.
    notice: told once when the connection is lost and tried again.
    status, message: the last status, or the agent's direct answer, which is instead of a task.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        send: Json | None = None,
        task_id: str = "",
        after: int | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.task_id = task_id
        self.n = after
        self.status: Json | None = None
        self.message: Json | None = None
        self._connection = connection
        self._send = send
        self._pause = pause
        self._notice = notice
        self._begun = False
        self._subscribed = False
        self._polls = False
        self._ended = False
        self._asking = False

    async def items(self) -> AsyncGenerator[Json, None]:
        """The stream's items until the task ends, or asks for something in a conversation that `send` began.

        Raises what `Connection` raises, and UnreachableError when the connection cannot be had again.
        """
        failed = 0
        while True:
            try:
                async with aclosing(self._open()) as stream:
                    async for item in stream:
                        failed = 0
                        if self._is_new(item):
                            yield item.result
                        if self._ended or (self._asking and self._subscribed and self._send is not None):
                            return
                if self._asking and self._send is not None:
                    return
                reason = "the server closed the stream"
            except BrokenError as error:
                reason = str(error)
                failed -= error.quiet and self._begun
            except (UnreachableError, BusyError) as error:
                if not self._begun:
                    raise
                reason = str(error)
            failed += 1
            await self._before_retry(failed, reason)

    async def _before_retry(self, failed: int, reason: str) -> None:
        if failed > TRIES:
            raise UnreachableError(f"lost {self._connection.url}: {reason}")
        if failed == 1:
            self._notice("connection lost, trying again")
        await self._pause(min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** max(0, failed - 1)))

    async def _open(self) -> AsyncGenerator[Item, None]:
        if self._polls:
            yield await self._poll()
            return
        if self._send is not None and not self._begun:
            opening = self._connection.stream("SendStreamingMessage", self._send)
        else:
            self._subscribed = True
            opening = self._connection.stream("SubscribeToTask", {"id": self.task_id}, self.n)
        try:
            async with aclosing(opening) as stream:
                async for item in stream:
                    self._begun = True
                    yield item
        except RpcError as error:
            if not is_unsupported(error):
                raise
            yield await (self._finished(error) if self._begun or self._send is None else self._without_stream())

    async def _finished(self, error: RpcError) -> Item:
        task = await self._connection.call("GetTask", {"id": self.task_id})
        if state_of(task) not in ENDED:
            raise error
        return Item(None, {"task": task})

    async def _without_stream(self) -> Item:
        result = await self._connection.call("SendMessage", immediately(self._send or {}))
        if "task" not in result:
            return Item(None, result)
        self.task_id = result["task"]["id"]
        self._begun = self._polls = True
        return await self._poll()

    async def _poll(self) -> Item:
        while True:
            task = await self._connection.call("GetTask", {"id": self.task_id})
            if state_of(task) in ENDED | ASKING:
                return Item(None, {"task": task})
            await self._pause(POLL_SECONDS)

    def _is_new(self, item: Item) -> bool:
        if item.n is not None:
            if self.n is not None and item.n <= self.n:
                return False
            self.n = item.n
        if "message" in item.result:
            self.message = item.result["message"]
            self._ended = True
            return True
        task = item.result.get("task")
        status = task or item.result.get("statusUpdate")
        artifact = item.result.get("artifactUpdate") or {}
        self.task_id = (task or {}).get("id") or (status or artifact).get("taskId") or self.task_id
        if status:
            state = state_of(status)
            self.status = status["status"]
            self._asking = state in ASKING
            self._ended = state in ENDED
        return True


def immediately(send: Json) -> Json:
    """The send, answered as soon as the task is stored."""
    return {**send, "configuration": {"returnImmediately": True}}


def state_of(task: Json) -> str:
    """The state that a task or a status event of the wire names."""
    try:
        return str(task["status"]["state"])
    except (KeyError, TypeError) as error:
        raise CommandError("the server's answer has a task without a state") from error
