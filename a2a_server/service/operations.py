"""The operations of A2A, whatever wire they came by.

A send is one turn: it is acknowledged when it is committed. Whoever waits or follows registers with the hub first and
reads the store then, so nothing falls in between. Who makes a task watches it from before it exists, and so reads
nothing from the store as long as doorbells tell all. Waiting and following never touch the task: a caller that goes
away leaves it running.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from a2a_server.codec import decode_spec, decode_status
from a2a_server.engine.engine import Engine, new_key
from a2a_server.engine.late import Late
from a2a_server.engine.stream import Hold, LoggedEvent, Watch
from a2a_server.errors import (
    Draining,
    InvalidParams,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.states import EXPLAINED, INTERRUPTED, TERMINAL, settled
from a2a_server.lifecycle.submission import Show, Submitted
from a2a_server.model.objects import (
    Generation,
    Message,
    Method,
    Scope,
    State,
    StatusEvent,
    Task,
)
from a2a_server.model.queries import Snapshot
from a2a_server.model.requests import CancelRequest, GetRequest, ListRequest, SendRequest, SubscribeRequest
from a2a_server.model.rows import EventKind, Key, TaskRow
from a2a_server.policy import SECOND
from a2a_server.service.listing import TaskPage, list_tasks
from a2a_server.service.sending import Sending
from a2a_server.service.views import accepted_task, submitted_task, task_of
from a2a_server.values import value_class
from a2a_server.wire import shared

if TYPE_CHECKING:
    from a2a_server.service.explaining import Explaining


@value_class(frozen=True, slots=True)
class Stream:
    """A task as it goes on. start: the snapshot that the stream begins with, None when it continues an earlier one.

    A message instead is a direct answer, and all there is. batches: the events behind the snapshot, in order; ends with
    the event that ends the stream, or when the process stops. generation: whose wire tells it. ends: whether an event
    is that one.
    """

    task_id: str
    context_id: str
    generation: Generation
    start: Task | Message | None
    batches: AsyncIterator[Sequence[LoggedEvent]]
    ends: Callable[[LoggedEvent], bool]


class Operations:
    """What clients of one agent can ask for. Concurrency: any number of callers in the engine's event loop.

    base_url: where clients reach this server, so that a file's address is known for one of its own.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str] = str) -> None:
        self._engine = engine
        self._sending = Sending(engine, base_url)
        self._explaining = Late(lambda: _explaining(engine))
        self._store = engine.backends.store
        self._objects = engine.backends.artifacts
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)

    async def send(self, scope: Scope, request: SendRequest) -> Task | Message:
        """What came of the message: a task, at once or (blocking) when it has ended or asks; or a direct answer.

        Repeats: core.md section 3. Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded.
        """
        hub, key, history = self._engine.hub, new_key(), request.history_length
        blocking = self._engine.limits.v03_default_blocking if request.blocking is None else request.blocking
        with hub.watch(key, whole=blocking) as own:
            submitted, message = await self._sending.submitted(scope, key, request)
            row = submitted.row
            if not row.visible:
                if (answer := await self._direct_answer(row)) is not None:
                    return answer
            elif row.key == key and not blocking:
                return accepted_task(row, None if history == 0 else message)
            if blocking:
                snapshot = await self._settled(own, submitted, history)
                if snapshot is not None:
                    return await task_of(snapshot, self._objects, message)
        return await self._view(row.key, history)

    async def stream(self, scope: Scope, request: SendRequest) -> Stream:
        """Send and follow. A repeated send replays the log from its first event, or from behind `request.after`.

        An answer to a question is followed from its acceptance on. Raises as `send` does, before anything is streamed.
        """
        request, key = replace(request, method=Method.STREAM), new_key()
        hold = self._engine.hub.watch(key)
        try:
            submitted, _ = await self._sending.submitted(scope, key, request)
            row, at_n = submitted.row, submitted.at_n
            answer = None if row.visible else await self._direct_answer(row)
        except BaseException:
            hold.release()
            raise
        if answer is not None or row.key != key:
            hold.release()
        if answer is not None:
            return Stream("", answer.context_id, request.generation, answer, _nothing(), _any)
        if row.key == key:
            first = request.message if request.history_length != 0 else None
            return self._stream(row, request.generation, submitted_task(row, first), 1, ends_after=at_n, hold=hold)
        if submitted.repeat and request.after is not None:
            return self._stream(row, request.generation, None, _checked(request.after, row), ends_after=at_n)
        if submitted.repeat:
            first = request.message if at_n == 1 and request.history_length != 0 else None
            return self._stream(row, request.generation, submitted_task(row, first), 1, ends_after=at_n)
        task = await self._view(row.key, request.history_length)
        return self._stream(row, request.generation, task, task.n, ends_after=at_n)

    async def get(self, scope: Scope, request: GetRequest) -> Task:
        """The task as it is. Raises TaskNotFound."""
        history = request.history_length
        if history is None and request.generation is Generation.V01:
            history = 0  # v0.1 sends it to whoever asks for it
        snapshot = await self._found(scope, request.task_id, history)
        row = snapshot.task
        if request.history_length is None and request.generation is None and row.generation is Generation.V01:
            snapshot = replace(snapshot, messages=())
        task = await task_of(snapshot, self._objects)
        why = None if row.phase in EXPLAINED else await (await self._explaining.get()).brief(row)
        return task if why is None else replace(task, info={**task.info, "explain": why})

    async def list(self, scope: Scope, request: ListRequest) -> TaskPage:
        """A page of the caller's tasks, newest status first. Raises InvalidParams for a token of another list."""
        return await list_tasks(self._engine, scope, request)

    async def cancel(self, scope: Scope, request: CancelRequest) -> Task:
        """The canceled task; or as it is, when its run has not stopped within the grace and a second.

        Raises TaskNotFound, TaskNotCancelable (also when the task ended otherwise meanwhile).
        """
        found = await self._find(scope, request.task_id)
        graces = 2 if decode_spec(found.spec).rolls_back else 1  # the handler's, and that of what undoes its work
        patience = graces * self._grace + SECOND
        with self._engine.hub.watch(found.key) as watch:
            row: TaskRow = await self._engine.submit(Cancel(found.name, self._grace, found.key))
            if row.state not in TERMINAL:
                watch.learn(row)
                with suppress(TimeoutError, Draining):
                    async with asyncio.timeout(patience / SECOND):
                        await self._engine.hub.settle(watch, row.last_n - 1)
        task = await self._view(row.key, None)
        if task.status.state in TERMINAL and task.status.state is not State.CANCELED:
            ended = task.status.state.name.lower()
            raise TaskNotCancelable(f"Task cannot be canceled: it ended first ({ended}).")
        return task

    async def subscribe(self, scope: Scope, request: SubscribeRequest) -> Stream:
        """Follow a task: from a snapshot, or from behind event `request.after` without one.

        Raises TaskNotFound, InvalidParams, and UnsupportedOperation for a task that has ended where no event is named
        (v0.1 gets its last status instead, and nothing else). Before 1.0 a stream ends where a task asks.
        """
        snapshot = None
        if request.after is None:
            snapshot = await self._found(scope, request.task_id, None)
            row = snapshot.task
        else:
            row = await self._find(scope, request.task_id)
        generation = request.generation or shared.answering(row.generation)
        ends_after = None if generation is Generation.V10 else row.last_n
        if snapshot is None:
            after = _checked(request.after or 0, row)
            if ends_after and row.state in INTERRUPTED and after < row.last_n:
                ends_after -= 1  # who has not seen the open question yet reads up to it
            return self._stream(row, generation, None, after, ends_after=ends_after)
        if row.state in TERMINAL and generation is not Generation.V01:
            raise UnsupportedOperation(
                f"The task has ended ({row.state.name.lower()}); read it, or name the last event that you have "
                "(Last-Event-ID) to get the rest of its stream."
            )
        task = await task_of(snapshot, self._objects)
        if row.state in TERMINAL:
            task = replace(task, artifacts=())
        if generation is Generation.V01 and settled(row.state):  # told as final, where its clients leave
            return Stream(row.id, row.context, generation, task, _nothing(), _any)
        return self._stream(row, generation, task, row.last_n, ends_after=ends_after)

    async def _direct_answer(self, row: TaskRow) -> Message | None:
        """The message that is the whole answer of an invisible task; None = it is a task after all.

        Waits at most `direct_seconds` to know.
        """
        hub = self._engine.hub
        with suppress(TimeoutError, Draining), hub.watch(row.key) as watch:
            watch.learn(row)
            async with asyncio.timeout(self._engine.limits.direct_seconds):
                await hub.shown(watch)
        row = await self._engine.submit(Show(row.key))
        if row.visible:
            return None
        status, _ = decode_status(row.status, row.status_at)
        return None if status.message is None else replace(status.message, context_id=row.context, task_id="")

    async def _settled(self, own: Watch, submitted: Submitted, history: int | None) -> Snapshot | None:
        """The task as it ended or asked, where that is known here; None = it is over with waiting: read the store.

        own: the watch on the task that the send would have made.
        """
        hub, row = self._engine.hub, submitted.row
        try:
            if row.key == own.key:
                await hub.settle(own, submitted.at_n)
                return own.snapshot(history)
            with hub.watch(row.key) as watch:
                if submitted.repeat:
                    await self._learn(watch, row)
                watch.learn(row)
                await hub.settle(watch, submitted.at_n)
        except Draining:
            pass
        return None

    async def _find(self, scope: Scope, task_id: str) -> TaskRow:
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        return row

    async def _found(self, scope: Scope, task_id: str, history: int | None) -> Snapshot:
        snapshot = await self._store.find_snapshot(scope, self._engine.agent, task_id, history)
        if snapshot is None:
            raise TaskNotFound
        return snapshot

    async def _view(self, key: Key, history_length: int | None) -> Task:
        snapshot = await self._store.snapshot(key, history_length)
        if snapshot is None:
            raise TaskNotFound
        return await task_of(snapshot, self._objects)

    def _stream(
        self,
        row: TaskRow,
        generation: Generation,
        start: Task | None,
        after: int,
        *,
        ends_after: int | None,
        hold: Hold | None = None,
    ) -> Stream:
        ends = partial(_ends, ends_after=ends_after)
        return Stream(row.id, row.context, generation, start, self._follow(row, after, ends_after, hold), ends)

    async def _learn(self, watch: Watch, row: TaskRow) -> None:
        """How the task stands now, for a watch that was registered after `row` was read."""
        if watch.last_n < row.last_n or watch.state is None:
            head = (await self._store.heads([row.key])).get(row.key)
            watch.learn(row if head is None else row._replace(last_n=head.last_n, state=head.state, phase=head.phase))

    async def _follow(
        self, row: TaskRow, after: int, ends_after: int | None, hold: Hold | None
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        """The task's events behind `after`.

        ends_after: the stream also ends where the task asks, behind this event; None = only with the task. hold: on a
        watch that was registered before the task was made.
        """
        hub = self._engine.hub
        with suppress(Draining), hold or hub.watch(row.key) as watch:
            if hold is None:
                await self._learn(watch, row)
            if after >= watch.last_n and watch.state is not None and _is_end(watch.state, watch.last_n, ends_after):
                return
            following = cast("AsyncGenerator[Sequence[LoggedEvent]]", hub.follow(watch, after))
            async with aclosing(following) as batches:  # else the event loop makes a task to close it
                async for batch in batches:
                    for index, event in enumerate(batch):
                        if _ends(event, ends_after):
                            yield batch[: index + 1]
                            return
                    yield batch


def _explaining(engine: Engine) -> Callable[[], Explaining]:
    from a2a_server.service.explaining import Explaining  # noqa: PLC0415 - most tasks are read when nothing holds them

    return partial(Explaining, engine)


async def _nothing() -> AsyncIterator[Sequence[LoggedEvent]]:
    return
    yield


def _any(event: LoggedEvent) -> bool:  # noqa: ARG001 - the shape of `Stream.ends`
    return True


def _ends(event: LoggedEvent, ends_after: int | None) -> bool:
    if event.row.kind is not EventKind.STATUS:
        return False
    status = event.event
    return isinstance(status, StatusEvent) and _is_end(status.status.state, event.row.n, ends_after)


def _is_end(state: State, n: int, ends_after: int | None) -> bool:
    return state in TERMINAL or (ends_after is not None and n > ends_after and settled(state))


def _checked(after: int, row: TaskRow) -> int:
    if after > row.last_n:
        raise InvalidParams(
            f"There is no event {after}: the task's last one is {row.last_n}; continue from one you have seen.",
            path="metadata.afterEvent",
        )
    return after
