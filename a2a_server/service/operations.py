"""The operations of A2A, whatever wire they came by.

A send is one turn: it is acknowledged when it is committed. Whoever waits or follows registers with the hub first and
reads the store then, so nothing falls in between. Waiting and following never touch the task: a caller that goes away
leaves it running.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

from a2a_server.agent import choose
from a2a_server.codec import canonical, encode, encode_spec, pack_message
from a2a_server.engine.engine import Engine, new_key
from a2a_server.engine.stream import LoggedEvent, Watch
from a2a_server.errors import (
    Draining,
    InvalidParams,
    Overloaded,
    StoreUnavailable,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.states import TERMINAL, settled
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import Generation, Lane, Message, Scope, State, StatusEvent, Task, TaskSpec
from a2a_server.model.options import microseconds
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.rows import NO_KEY, Key, TaskName, TaskRow
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, gates_of, queue_of
from a2a_server.service.views import submitted_task, task_of


@dataclass(frozen=True, slots=True)
class Stream:
    """A task as it goes on. start: the snapshot that the stream begins with, None when it continues an earlier one.

    batches: the events behind it, in order; ends with the event that ends the stream, or when the process stops.
    """

    task_id: str
    context_id: str
    start: Task | None
    batches: AsyncIterator[Sequence[LoggedEvent]]


class Operations:
    """What clients of one agent can ask for. Concurrency: any number of callers in the engine's event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def send(self, scope: Scope, request: SendRequest) -> Task:
        """The task after the message: at once, or (blocking) when it has ended or asks. Repeats: core.md section 3.

        Raises TaskNotFound, UnsupportedOperation, InvalidParams, Overloaded.
        """
        request = _identified(request)
        submit, skill = self._submission(scope, request)
        with self._engine.hub.watch(submit.key) as watch:
            submitted = await self._submit(submit, skill, request.message)
            if submitted.row.key == submit.key:
                return await self._answer(watch, submitted, request)
        with self._engine.hub.watch(submitted.row.key) as watch:
            return await self._answer(watch, submitted, request)

    async def stream(self, scope: Scope, request: SendRequest) -> Stream:
        """Send and follow. A repeated send replays the log from its first event, or from behind `request.after`.

        Raises as `send` does, before anything is streamed.
        """
        request = _identified(request)
        submit, skill = self._submission(scope, request)
        with self._engine.hub.watch(submit.key):
            submitted = await self._submit(submit, skill, request.message)
        row = submitted.row
        if submitted.repeat and request.after is not None:
            return self._stream(row, None, _checked(request.after, row), until_interrupted=True)
        return self._stream(row, submitted_task(row, request.message), 1, until_interrupted=True)

    async def get(self, scope: Scope, request: GetRequest) -> Task:
        """The task as it is. Raises TaskNotFound."""
        row = await self._find(scope, request.task_id)
        return await self._view(row.key, request.history_length)

    async def cancel(self, scope: Scope, request: CancelRequest) -> Task:
        """The canceled task; or as it is, when its run has not stopped within the grace and a second.

        Raises TaskNotFound, TaskNotCancelable (also when the task ended otherwise meanwhile).
        """
        grace = self._engine.limits.cancel_grace_seconds
        name = TaskName(scope.tenant, scope.owner, self._engine.agent, request.task_id)
        found = await self._find(scope, request.task_id)
        with self._engine.hub.watch(found.key) as watch:
            row: TaskRow = await self._engine.submit(Cancel(name, round(grace * SECOND), found.key))
            if row.state not in TERMINAL:
                watch.learn(row)
                with suppress(TimeoutError, Draining):
                    await asyncio.wait_for(self._engine.hub.settle(watch, row.last_n - 1), grace + 1)
        task = await self._view(row.key, None)
        if task.status.state in TERMINAL and task.status.state is not State.CANCELED:
            ended = task.status.state.name.lower()
            raise TaskNotCancelable(f"Task cannot be canceled: it ended first ({ended}).")
        return task

    async def subscribe(self, scope: Scope, request: SubscribeRequest) -> Stream:
        """Follow a task: from a snapshot, or from behind event `request.after` without one.

        Raises TaskNotFound, InvalidParams, and UnsupportedOperation for a task that has ended where no event is named
        (v0.1 gets its last status instead, and nothing else).
        """
        row = await self._find(scope, request.task_id)
        if request.after is not None:
            return self._stream(row, None, _checked(request.after, row), until_interrupted=False)
        snapshot = await self._store.snapshot(row.key, None)
        if snapshot is None:
            raise TaskNotFound
        row = snapshot.task
        if row.state in TERMINAL and request.generation is not Generation.V01:
            raise UnsupportedOperation(
                f"The task has ended ({row.state.name.lower()}); read it, or name the last event that you have "
                "(Last-Event-ID) to get the rest of its stream."
            )
        task = await task_of(snapshot, self._engine.backends.artifacts)
        if row.state in TERMINAL:
            task = replace(task, artifacts=())
        return self._stream(row, task, row.last_n, until_interrupted=False)

    async def _answer(self, watch: Watch, submitted: Submitted, request: SendRequest) -> Task:
        watch.learn(submitted.row)
        if request.blocking:
            with suppress(Draining):
                await self._engine.hub.settle(watch, submitted.at_n)
        return await self._view(submitted.row.key, request.history_length)

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

    def _submission(self, scope: Scope, request: SendRequest) -> tuple[Submit, SkillSpec]:
        agent, limits = self._engine.agent, self._engine.limits
        options, message = request.options, request.message
        skill = choose(self._engine.runner.skills, options.skill)
        queue = queue_of(agent, skill.id)
        packed = pack_message(message)
        digest = _digest(packed, request)
        submit = Submit(
            key=new_key(),
            scope=scope,
            agent=agent,
            generation=request.generation,
            task_id=request.task_id,
            context=request.context_id,
            fresh_context=str(UUID(bytes=new_key())),
            message_id=message.id,
            digest=digest,
            body=encode(packed),
            spec=encode_spec(
                TaskSpec(
                    options.timeout_seconds or skill.timeout_seconds or limits.timeout_seconds,
                    options.title,
                    options.parameters,
                    request.metadata,
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
        return submit, skill

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

    def _stream(self, row: TaskRow, start: Task | None, after: int, *, until_interrupted: bool) -> Stream:
        batches = self._follow(row, after, until_interrupted=until_interrupted)
        return Stream(row.id, row.context, start, batches)

    async def _follow(
        self, row: TaskRow, after: int, *, until_interrupted: bool
    ) -> AsyncIterator[Sequence[LoggedEvent]]:
        with suppress(Draining), self._engine.hub.watch(row.key) as watch:
            head = (await self._store.heads([row.key])).get(row.key)
            watch.learn(row if head is None else row._replace(last_n=head.last_n, state=head.state, phase=head.phase))
            if after >= watch.last_n and watch.state in TERMINAL:
                return
            async for batch in self._engine.hub.follow(watch, after):
                end = next((index for index, event in enumerate(batch) if _ends(event, until_interrupted)), None)
                yield batch if end is None else batch[: end + 1]
                if end is not None:
                    return


def _ends(event: LoggedEvent, until_interrupted: bool) -> bool:  # noqa: FBT001 - a predicate of two arguments
    if not isinstance(status := event.event, StatusEvent):
        return False
    state = status.status.state
    return settled(state) if until_interrupted else state in TERMINAL


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


def _digest(packed: object, request: SendRequest) -> bytes:
    options = request.options  # how long the sender waits is not part of what it says
    asked = (
        options.model_dump(mode="json", exclude={"return_immediately"}, exclude_defaults=True)
        if options.model_fields_set
        else {}
    )
    context = "" if request.generation is Generation.V01 else request.context_id  # core.md 3: the message alone
    named = [packed, asked, request.metadata, context, request.task_id]
    return hashlib.sha256(canonical(named)).digest()
