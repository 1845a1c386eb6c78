"""The operations of A2A, whatever wire they came by.

A send is one turn: it is acknowledged when it is committed. Whoever waits or follows registers with the hub first and
reads the store then, so nothing falls in between. Waiting and following never touch the task: a caller that goes away
leaves it running.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from a2a_server.agent import choose
from a2a_server.codec import canonical, decode_spec, decode_status, encode, encode_spec, pack_message
from a2a_server.engine.engine import Engine, new_key
from a2a_server.engine.stream import LoggedEvent, Watch
from a2a_server.errors import (
    ClientError,
    Draining,
    InvalidParams,
    Overloaded,
    StoreUnavailable,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.keeping import stored_files
from a2a_server.lifecycle.states import INTERRUPTED, TERMINAL, settled
from a2a_server.lifecycle.submission import Show, Submit, Submitted
from a2a_server.model.objects import (
    OPTIONS_URI,
    Generation,
    Lane,
    Message,
    Scope,
    State,
    StatusEvent,
    Task,
    TaskSpec,
)
from a2a_server.model.options import TaskOptions, microseconds
from a2a_server.model.requests import CancelRequest, GetRequest, ListRequest, SendRequest, SubscribeRequest
from a2a_server.model.rows import NO_KEY, Key, TaskRow
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, gates_of, queue_of
from a2a_server.service.files import Inbound
from a2a_server.service.listing import TaskPage, list_tasks
from a2a_server.service.views import submitted_task, task_of
from a2a_server.wire import shared


@dataclass(frozen=True, slots=True)
class Stream:
    """A task as it goes on. start: the snapshot that the stream begins with, None when it continues an earlier one.

    A message instead is a direct answer, and all there is. batches: the events behind the snapshot, in order; ends with
    the event that ends the stream, or when the process stops. generation: whose wire tells it.
    """

    task_id: str
    context_id: str
    generation: Generation
    start: Task | Message | None
    batches: AsyncIterator[Sequence[LoggedEvent]]


class Operations:
    """What clients of one agent can ask for. Concurrency: any number of callers in the engine's event loop.

    base_url: where clients reach this server, so that a file's address is known for one of its own.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str] = str) -> None:
        self._engine = engine
        self._inbound = Inbound(engine, base_url)
        self._store = engine.backends.store

    async def send(self, scope: Scope, request: SendRequest) -> Task | Message:
        """What came of the message: a task, at once or (blocking) when it has ended or asks; or a direct answer.

        Repeats: core.md section 3. Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded.
        """
        hub, limits = self._engine.hub, self._engine.limits
        key = new_key()
        with hub.watch(key):
            submitted = await self._submitted(scope, key, request)
            row = submitted.row
            if (answer := await self._direct_answer(row)) is not None:
                return answer
            if limits.v03_default_blocking if request.blocking is None else request.blocking:
                with suppress(Draining), hub.watch(row.key) as watch:
                    if submitted.repeat:
                        await self._learn(watch, row)
                    watch.learn(row)
                    await hub.settle(watch, submitted.at_n)
        return await self._view(row.key, request.history_length)

    async def stream(self, scope: Scope, request: SendRequest) -> Stream:
        """Send and follow. A repeated send replays the log from its first event, or from behind `request.after`.

        An answer to a question is followed from its acceptance on. Raises as `send` does, before anything is streamed.
        """
        key = new_key()
        with self._engine.hub.watch(key):
            submitted = await self._submitted(scope, key, request)
            row, at_n = submitted.row, submitted.at_n
            if (answer := await self._direct_answer(row)) is not None:
                return Stream("", answer.context_id, request.generation, answer, _nothing())
        if submitted.repeat and request.after is not None:
            return self._stream(row, request.generation, None, _checked(request.after, row), ends_after=at_n)
        if submitted.repeat or at_n == 1:
            first = request.message if at_n == 1 and request.history_length != 0 else None
            return self._stream(row, request.generation, submitted_task(row, first), 1, ends_after=at_n)
        task = await self._view(row.key, request.history_length)
        return self._stream(row, request.generation, task, task.n, ends_after=at_n)

    async def get(self, scope: Scope, request: GetRequest) -> Task:
        """The task as it is. Raises TaskNotFound."""
        row = await self._find(scope, request.task_id)
        history = request.history_length
        if history is None and (request.generation or row.generation) is Generation.V01:
            history = 0  # v0.1 sends it to whoever asks for it
        return await self._view(row.key, history)

    async def list(self, scope: Scope, request: ListRequest) -> TaskPage:
        """A page of the caller's tasks, newest status first. Raises InvalidParams for a token of another list."""
        return await list_tasks(self._engine, scope, request)

    async def cancel(self, scope: Scope, request: CancelRequest) -> Task:
        """The canceled task; or as it is, when its run has not stopped within the grace and a second.

        Raises TaskNotFound, TaskNotCancelable (also when the task ended otherwise meanwhile).
        """
        found = await self._find(scope, request.task_id)
        grace = round(self._engine.limits.cancel_grace_seconds * SECOND)
        graces = 2 if decode_spec(found.spec).rolls_back else 1  # the handler's, and that of what undoes its work
        patience = graces * grace + SECOND
        with self._engine.hub.watch(found.key) as watch:
            row: TaskRow = await self._engine.submit(Cancel(found.name, grace, found.key))
            if row.state not in TERMINAL:
                watch.learn(row)
                with suppress(TimeoutError, Draining):
                    await asyncio.wait_for(self._engine.hub.settle(watch, row.last_n - 1), patience / SECOND)
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
        row = await self._find(scope, request.task_id)
        generation = request.generation or shared.answering(row.generation)
        ends_after = None if generation is Generation.V10 else row.last_n
        if ends_after and row.state in INTERRUPTED and request.after is not None and request.after < row.last_n:
            ends_after -= 1  # who has not seen the open question yet reads up to it
        if request.after is not None:
            return self._stream(row, generation, None, _checked(request.after, row), ends_after=ends_after)
        snapshot = await self._store.snapshot(row.key, None)
        if snapshot is None:
            raise TaskNotFound
        row = snapshot.task
        if row.state in TERMINAL and generation is not Generation.V01:
            raise UnsupportedOperation(
                f"The task has ended ({row.state.name.lower()}); read it, or name the last event that you have "
                "(Last-Event-ID) to get the rest of its stream."
            )
        task = await task_of(snapshot, self._engine.backends.artifacts)
        if row.state in TERMINAL:
            task = replace(task, artifacts=())
        if generation is Generation.V01 and settled(row.state):  # told as final, where its clients leave
            return Stream(row.id, row.context, generation, task, _nothing())
        return self._stream(row, generation, task, row.last_n, ends_after=None if ends_after is None else row.last_n)

    async def _direct_answer(self, row: TaskRow) -> Message | None:
        """The message that is the whole answer; None = it is a task. Waits at most `direct_seconds` to know."""
        if row.visible:
            return None
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

    async def _submit(self, submit: Submit, skill: SkillSpec, message: Message) -> Submitted:
        worker = self._engine.worker
        reserved = NO_KEY
        if not (submit.delay or submit.starts_at) and worker.reserve(skill.id):
            reserved = worker.id
            submit = replace(submit, worker=reserved)

        def settle(outcome: Submitted | BaseException) -> None:
            if isinstance(outcome, Submitted) and outcome.leased:
                worker.begin(outcome.row, message)
            elif reserved:
                worker.release(skill.id, doubt=reserved if isinstance(outcome, StoreUnavailable) else NO_KEY)

        try:
            posted = self._engine.writer.post(submit, settle)
        except Overloaded:
            if reserved:
                worker.release(skill.id)
            raise
        return await posted

    async def _submitted(self, scope: Scope, key: Key, request: SendRequest) -> Submitted:
        request = _identified(request)
        skill = choose(self._engine.runner.skills, request.options.skill)
        digest = _digest(request)
        request = await self._inbound.taken(scope, key, request)
        try:
            submitted = await self._submit(self._submission(scope, key, request, skill, digest), skill, request.message)
        except ClientError:
            await self._inbound.dropped(key, request)
            raise
        if submitted.repeat:
            await self._inbound.dropped(key, request)
        return submitted

    def _submission(self, scope: Scope, key: Key, request: SendRequest, skill: SkillSpec, digest: bytes) -> Submit:
        agent, limits = self._engine.agent, self._engine.limits
        options, message = request.options, request.message
        queue = queue_of(agent, skill.id)
        return Submit(
            key=key,
            scope=scope,
            agent=agent,
            generation=request.generation,
            task_id=request.task_id,
            context=request.context_id,
            fresh_context=str(UUID(bytes=new_key())),
            message_id=message.id,
            digest=digest,
            body=encode(pack_message(message)),
            files=stored_files(message.parts),
            references=message.reference_task_ids,
            tells=tuple(sorted(self._engine.runner.listens_for)),
            visible=not skill.direct or request.generation is Generation.V01,
            asked=_asked(options),
            spec=encode_spec(
                TaskSpec(
                    options.timeout_seconds or skill.timeout_seconds or limits.timeout_seconds,
                    options.title,
                    options.parameters,
                    request.metadata,
                    rolls_back=skill.rolls_back,
                )
            ),
            skill=skill.id,
            queue=queue,
            lane=options.priority or Lane(skill.priority),
            gates=gates_of(owner=scope.owner, agent=agent, skill=skill.id, queue=queue),
            max_attempts=options.max_attempts or skill.max_attempts or limits.max_attempts,
            window=round(limits.idempotency_seconds * SECOND),
            delay=round(options.delay_seconds * SECOND),
            starts_at=microseconds(options.run_at) if options.run_at else 0,
            deadline_at=microseconds(options.deadline) if options.deadline else 0,
            grace=round(limits.cancel_grace_seconds * SECOND),
        )

    async def _find(self, scope: Scope, task_id: str) -> TaskRow:
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        return row

    async def _view(self, key: Key, history_length: int | None) -> Task:
        snapshot = await self._store.snapshot(key, history_length)
        if snapshot is None:
            raise TaskNotFound
        return await task_of(snapshot, self._engine.backends.artifacts)

    def _stream(
        self, row: TaskRow, generation: Generation, start: Task | None, after: int, *, ends_after: int | None
    ) -> Stream:
        return Stream(row.id, row.context, generation, start, self._follow(row, after, ends_after))

    async def _learn(self, watch: Watch, row: TaskRow) -> None:
        """How the task stands now, for a watch that was registered after `row` was read."""
        if watch.last_n < row.last_n or watch.state is None:
            head = (await self._store.heads([row.key])).get(row.key)
            watch.learn(row if head is None else row._replace(last_n=head.last_n, state=head.state, phase=head.phase))

    async def _follow(self, row: TaskRow, after: int, ends_after: int | None) -> AsyncIterator[Sequence[LoggedEvent]]:
        """ends_after: the stream also ends where the task asks, behind this event; None = only with the task."""
        with suppress(Draining), self._engine.hub.watch(row.key) as watch:
            await self._learn(watch, row)
            if after >= watch.last_n and watch.state is not None and _is_end(watch.state, watch.last_n, ends_after):
                return
            async for batch in self._engine.hub.follow(watch, after):
                end = next((index for index, event in enumerate(batch) if _ends(event, ends_after)), None)
                yield batch if end is None else batch[: end + 1]
                if end is not None:
                    return


async def _nothing() -> AsyncIterator[Sequence[LoggedEvent]]:
    return
    yield


def _ends(event: LoggedEvent, ends_after: int | None) -> bool:
    status = event.event
    return isinstance(status, StatusEvent) and _is_end(status.status.state, event.row.n, ends_after)


def _is_end(state: State, n: int, ends_after: int | None) -> bool:
    return state in TERMINAL or (ends_after is not None and n > ends_after and settled(state))


def _asked(options: TaskOptions) -> str:
    """The path of the first option that is for new tasks only, '' = none is given."""
    given = options.model_dump(exclude_defaults=True, exclude={"return_immediately"}, by_alias=True)
    return next((f'metadata["{OPTIONS_URI}"].{name}' for name in given), "")


def _checked(after: int, row: TaskRow) -> int:
    if after > row.last_n:
        raise InvalidParams(
            f"There is no event {after}: the task's last one is {row.last_n}; continue from one you have seen.",
            path="metadata.afterEvent",
        )
    return after


def _identified(request: SendRequest) -> SendRequest:
    """Later generations show ids that v0.1 messages do not have; theirs is the hash of their content."""
    message = request.message
    if message.id:
        return request
    digest = hashlib.sha256(canonical(pack_message(message))).hexdigest()
    return replace(request, message=replace(message, id=digest))


def _digest(request: SendRequest) -> bytes:
    options = request.options  # how long the sender waits is not part of what it says
    asked = (
        options.model_dump(mode="json", exclude={"return_immediately"}, exclude_defaults=True)
        if options.model_fields_set
        else {}
    )
    message, context = request.message, request.context_id
    if request.task_id:  # it decides the context, whether that is said or not; core.md 3 for v0.1: the message alone
        message, context = replace(message, context_id=""), ""
    named = [pack_message(message), asked, request.metadata, context, request.task_id]
    return hashlib.sha256(canonical(named)).digest()
