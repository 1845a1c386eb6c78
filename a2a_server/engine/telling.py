"""Tells the agent of states that its tasks reached: after the commit, in order, at least once.

Theory of operation: the log is the outbox. The turn that writes an event which the agent listens for sets its push row
due; this looks for due rows when a doorbell tells of one, and at every poll. It reads the events behind the row's
cursor, calls the agent for each, and notes the cursor. A call that raises or takes too long comes again by the
back-off, later events waiting behind it; after `TRIES` failures the row is a dead letter: it stays, and the log says
so. A process that dies in between tells the same event again.

Source: core.md sections 8 and 10.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import Final

from a2a_server.codec import decode, decode_event, unpack_message
from a2a_server.engine.limits import Limits
from a2a_server.engine.paging import log_of
from a2a_server.engine.taskview import view_of
from a2a_server.engine.writer import Writer
from a2a_server.errors import EngineError, StoreUnavailable
from a2a_server.lifecycle.telling import AGENT, Take, Told
from a2a_server.model.objects import State, StatusEvent
from a2a_server.model.queries import DueKind, RowQuery, Snapshot, Table
from a2a_server.model.rows import EventKind, Interest, Key, PushRow
from a2a_server.model.runs import Happening, TaskView
from a2a_server.model.turns import Bell
from a2a_server.policy import SECOND
from a2a_server.ports import TaskStore
from a2a_server.running import AgentRunner

TRIES: Final = 10
"""Failures after which an event is not told any more."""
TOGETHER: Final = 16
"""Tasks whose events are told at once."""
TELL_SECONDS: Final = 60.0
"""How long the agent may take to hear of one event."""

_log = logging.getLogger("a2a_server.engine.telling")


class Teller:
    """Tells the agents of this process. Concurrency: belongs to the event loop; `run` is called once.

    runners: by the agent's name. alone: no other process tells them.
    """

    def __init__(
        self,
        store: TaskStore,
        writer: Writer,
        runners: Mapping[str, AgentRunner],
        limits: Limits,
        random: Random,
        *,
        alone: bool = True,
    ) -> None:
        self._store = store
        self._alone = alone
        self._writer = writer
        self._runners = dict(runners)
        self._limits = limits
        self._random = random
        self._news = asyncio.Event()
        self._telling: dict[Key, asyncio.Task[bool]] = {}

    def tells(self, agent: str, runner: AgentRunner) -> None:
        """Tell this agent too."""
        self._runners[agent] = runner

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Look at once when a task moved that somebody listens to."""
        if any(bell.row is not None and bell.row.pushes & Interest.TOLD and bell.events for bell in bells):
            self._news.set()

    async def run(self) -> None:
        """Tell what is due, until canceled. Tasks do not wait for each other."""
        try:
            while True:
                self._news.clear()
                await self._begin()
                await _waited(self._news, self._limits.poll_seconds * self._random.uniform(0.8, 1.2))
        finally:
            for telling in self._telling.values():
                telling.cancel()

    async def _begin(self) -> None:
        try:
            keys = await self._store.due(DueKind.PUSH, 2 * TOGETHER)
        except StoreUnavailable:
            return
        for key in keys:
            if key not in self._telling and len(self._telling) < TOGETHER:
                telling = asyncio.get_running_loop().create_task(self._tell_task(key))
                self._telling[key] = telling
                telling.add_done_callback(partial(self._over, key))

    def _over(self, key: Key, telling: asyncio.Task[bool]) -> None:
        del self._telling[key]
        if telling.cancelled():
            return
        if (error := telling.exception()) is not None:
            _log.error("The agent could not be told of an event; it is tried again.", exc_info=error)
        elif telling.result():
            self._news.set()

    async def _tell_task(self, key: Key) -> bool:
        """Whether how far the agent is was noted; else the next poll tries again."""
        page = await self._store.rows(RowQuery(Table.PUSH, (key, AGENT), limit=1))
        push = next((row for row in page.rows if isinstance(row, PushRow)), None)
        if push is None or push.dead or not push.due_at:
            return False
        snapshot = await self._store.snapshot(key, None, artifacts=False)
        if snapshot is None or (runner := self._runners.get(snapshot.task.agent)) is None:
            return False
        view = _view_of(snapshot)
        if not self._alone and (push := await self._taken(push)) is None:
            return False
        wanted = frozenset(State(state) for state in decode(push.body)) & runner.listens_for
        cursor_n = push.cursor_n
        async for event in _reached(self._store, key, cursor_n):
            if event.status.state in wanted:
                try:
                    async with asyncio.timeout(TELL_SECONDS):
                        await runner.tell(_happening(view, event))
                except Exception:  # noqa: BLE001 - the agent's own code; logged, and tried again
                    return await self._failed(push, cursor_n, view.id)
                except asyncio.CancelledError:
                    if not self._closing():
                        return await self._failed(push, cursor_n, view.id)
                    raise
            cursor_n = event.n
        return await self._note(Told(push, cursor_n))

    async def _taken(self, push: PushRow) -> PushRow | None:
        """The push, while it is this process's to tell of: one event at a time takes `TELL_SECONDS` at most."""
        try:
            return await self._writer.submit(Take(push, round(2 * TELL_SECONDS * SECOND)))
        except EngineError:
            return None

    def _closing(self) -> bool:
        """Whether this telling was canceled, and not something inside of it."""
        current = asyncio.current_task()
        return current is not None and current.cancelling() > 0

    async def _failed(self, push: PushRow, cursor_n: int, task: str) -> bool:
        tries = push.tries + 1
        delay = None if tries >= TRIES else self._limits.retries.delay(tries, self._random.uniform(0.5, 1.0))
        rest = "it is not tried again" if delay is None else "it is tried again"
        _log.exception("The agent failed to hear of an event (%d of %d); %s.", tries, TRIES, rest, extra={"task": task})
        return await self._note(Told(push, cursor_n, failed=True, delay=delay))

    async def _note(self, told: Told) -> bool:
        try:
            await self._writer.submit(told)
        except EngineError:  # it is told again
            return False
        return True


def _view_of(snapshot: Snapshot) -> TaskView:
    history = tuple(unpack_message(decode(message.body)) for message in snapshot.messages)
    return view_of(snapshot.task, history)


async def _reached(store: TaskStore, key: Key, after: int) -> AsyncIterator[StatusEvent]:
    """Every event behind `after` by which the task came into another state."""
    state = await _state_at(store, key, after)
    async for row in log_of(store, key, after):
        event = decode_event(row) if row.kind is EventKind.STATUS else None
        if isinstance(event, StatusEvent) and event.status.state is not state:
            state = event.status.state
            yield event


async def _state_at(store: TaskStore, key: Key, n: int) -> State | None:
    for row in await store.events(key, n - 1, 1, 1):
        event = decode_event(row) if row.kind is EventKind.STATUS else None
        return event.status.state if isinstance(event, StatusEvent) else None
    return None


def _happening(view: TaskView, event: StatusEvent) -> Happening:
    message = event.status.message
    return Happening(view, event.status.state, event.n, message.text if message is not None else "")


async def _waited(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):  # not wait_for: on 3.11 it swallows cancellations
            await news.wait()
    except TimeoutError:
        return
