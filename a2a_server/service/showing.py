"""Rows as the resources that operators see: camelCase, absent where there is nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from a2a_server.codec import decode_spec, decode_status
from a2a_server.lifecycle.starting import starts_at_of
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import (
    TASK_URI,
    Generation,
    Phase,
    Progress,
    Requires,
    State,
    Status,
    Wishes,
)
from a2a_server.model.options import criterion_shown
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import Checked
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND
from a2a_server.service.auditing import Allocation
from a2a_server.service.feedback import Given
from a2a_server.service.origins import origin_of
from a2a_server.service.searching import word_of
from a2a_server.service.sizing import Duration, given_duration
from a2a_server.service.timing import Done, Times
from a2a_server.values import value_class

GENERATIONS: Final = {Generation.V01: "0.1", Generation.V03: "0.3", Generation.V10: "1.0"}
STATES: Final = {state: state.name.lower().replace("_", "-") for state in State}
_NO_WISHES: Final = Wishes()
_NO_TIMES: Final = Times()


class Shown(BaseModel):
    """A resource as it goes out: made by the names of its fields, sent without those that are None."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True, defer_build=True
    )


class ProgressShown(Shown):
    """How far a run is."""

    fraction: float | None = Field(None, description="0.0 to 1.0.")
    done: float | None = Field(None, description="Items that are done …")
    total: float | None = Field(None, description="… of so many.")
    note: str | None = None


class ErrorShown(Shown):
    """Why a task did not complete."""

    reason: str = Field(description="failed, rejected or canceled.")
    code: str = Field(
        description="Of why it is a dead letter: attempts, poison, timeout, deadline, unanswered, dependency; else "
        "checks, children, events, internal; or the reason."
    )
    text: str | None = Field(None, description="What its clients were told.")


class RequiresShown(Shown):
    """What a task needs of its worker."""

    tags: list[str] | None = None
    tools: list[str] | None = None
    agents: list[str] | None = None
    cpu: float | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    resources: dict[str, int] | None = None
    duration_seconds: float | None = None


class DurationShown(Shown):
    """How long a task takes from its claim to its end."""

    source: str = Field(description="given: by its sender; past runs: of its skill, that ended well.")
    seconds: float = Field(description="As given, or the median of past runs.")
    p95_seconds: float | None = Field(None, description="19 of 20 past runs took no longer.")
    runs: int | None = Field(None, description="How many they are.")


class AllocationShown(Shown):
    """What a run was allocated, from its claim to its end, and what it used."""

    run: int = Field(description="From 1.")
    worker: str
    allocated_at: str
    released_at: str | None = Field(None, description="Absent = it runs.")
    cpu: float | None = Field(None, description="Allocated, cores.")
    memory_bytes: int | None = Field(None, description="Allocated.")
    storage_bytes: int | None = Field(None, description="Allocated.")
    resources: dict[str, int] | None = Field(None, description="Allocated, by name.")
    seconds: float | None = Field(None, description="How long it was measured.")
    cpu_seconds: float | None = Field(None, description="Processor time that it used.")
    memory_peak_bytes: int | None = Field(None, description="By how much what was measured grew at most.")
    measured: str | None = Field(None, description="What memoryPeakBytes is of: process.")
    shared_with: int | None = Field(None, description="Other runs in that process at once, at most.")
    storage_peak_bytes: int | None = Field(None, description="Bytes that it wrote into artifacts and files.")


class CheckShown(Shown):
    """What a check of the task's result said."""

    name: str
    passed: bool
    required: bool = Field(description="Whether a task that does not pass it fails.")
    message: str | None = Field(None, description="Why it did not pass.")


class FeedbackShown(Shown):
    """What somebody said of the task when it had ended."""

    rating: int = Field(description="1 to 5.")
    comment: str | None = None
    at: str
    by: str


class CreatorShown(Shown):
    """Who asked for a task."""

    type: str = Field(
        description="user: its owner; agent: one that spawned it, or the task manager; system: a schedule."
    )
    id: str


class TaskShown(Shown):
    """A task. Members without a value are absent."""

    id: str
    context_id: str
    agent: str | None = None
    skill: str
    title: str | None = None
    description: str | None = None
    kind: str | None = None
    state: str = Field(description="A2A state, small letters with hyphens.")
    phase: str = Field(description="Where the scheduler has it.")
    status: str = Field(description="One word for both.")
    priority: str
    tags: list[str] | None = None
    progress: ProgressShown | None = None
    attempt: int = Field(description="Which attempt this is, or was, from 1.")
    max_attempts: int
    crashes: int | None = None
    created_at: str
    updated_at: str = Field(description="Of its status.")
    queued_at: str | None = Field(None, description="When its first run could be claimed; not in lists.")
    assigned_at: str | None = Field(None, description="Of its last claim; not in lists.")
    started_at: str | None = Field(None, description="Of its first run.")
    ended_at: str | None = Field(None, description="When it ended.")
    response_seconds: float | None = Field(None, description="From createdAt to its first event after that.")
    duration_seconds: float | None = Field(None, description="From startedAt to endedAt.")
    throughput: float | None = Field(None, description="Items per second, by progress.done.")
    run_at: str | None = Field(None, description="It does not start before.")
    due_at: str | None = Field(None, description="When the scheduler looks at it next.")
    deadline: str | None = None
    cancel_requested_at: str | None = None
    timeout_seconds: float
    parameters: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    requires: RequiresShown | None = None
    estimated_duration: DurationShown | None = Field(None, description="By past runs where it is read alone.")
    resources: list[AllocationShown] | None = Field(
        None, description="By run, the newest 100, where it requires amounts; not in lists."
    )
    depends_on: list[str] | None = None
    unmet: int | None = Field(None, description="How many of them have not ended.")
    parent_task_id: str | None = None
    complete_when: str | dict[str, Any] | None = Field(None, description="As it was asked for.")
    retry_of: str | None = None
    forked_from: str | None = None
    batch: str | None = None
    schedule: str | None = None
    template: str | None = None
    worker: str | None = Field(None, description="The worker that runs it.")
    held_by: str | None = Field(None, description="The limit that holds it.")
    error: ErrorShown | None = None
    partial: str | None = Field(None, description="Why the result of a task that completed is not whole.")
    checks: list[CheckShown] | None = Field(None, description="What the agent's own checks said of its result.")
    feedback: list[FeedbackShown] | None = Field(None, description="By author; not in lists.")
    owner: str
    tenant: str | None = None
    created_by: CreatorShown | None = None
    source: str | None = Field(None, description="a2a, api, batch, schedule, spawn or retry.")
    method: str | None = Field(None, description="That made it: of the protocol, a route, tick or spawn.")
    generation: str = Field(description="Of the protocol that made it.")
    revision: int = Field(description="Grows with every change; the ETag.")
    repeat: bool | None = Field(
        None, description="No task was made: it is that of an earlier send with this uniqueKey, or this messageId."
    )


@value_class(frozen=True, slots=True)
class Beside:
    """What is told of a task that is read alone, and is not in its row. started_at: microseconds, 0 = not known."""

    started_at: int = 0
    times: Times = _NO_TIMES
    feedback: Sequence[Given] = ()
    duration: Duration | None = None
    allocations: Sequence[Allocation] = ()


_NOTHING: Final = Beside()


def task_shown(row: TaskRow, agent: str = "", beside: Beside = _NOTHING) -> TaskShown:
    """The task. agent: its agent's name."""
    spec = decode_spec(row.spec)
    wishes = spec.wishes or _NO_WISHES
    status, progress = decode_status(row.status, row.status_at)
    wrong = row.state in TERMINAL and row.state is not State.COMPLETED
    said = status.message.text if status.message is not None else None
    about = _about(status)
    origin = origin_of(row, spec, agent)
    reason, times = STATES[row.state], beside.times
    duration = beside.duration or given_duration(wishes.requires)
    return TaskShown(
        id=row.id,
        context_id=row.context,
        agent=row.agent or agent or None,
        skill=row.skill,
        title=spec.title or None,
        description=wishes.description or None,
        kind=wishes.kind or None,
        state=STATES[row.state],
        phase=row.phase.name.lower(),
        status=word_of(row),
        priority=row.lane.name.lower(),
        tags=list(wishes.tags) or None,
        progress=progress_shown(progress),
        attempt=min(row.attempt + 1, row.max_attempts),
        max_attempts=row.max_attempts,
        crashes=row.crashes or None,
        created_at=timestamp(row.created_at),
        updated_at=timestamp(row.status_at),
        queued_at=_moment(times.queued_at),
        assigned_at=_moment(times.assigned_at),
        started_at=_moment(beside.started_at),
        ended_at=timestamp(row.status_at) if row.state in TERMINAL else None,
        response_seconds=_response(row, beside.started_at),
        duration_seconds=_between(beside.started_at, row.status_at) if row.state in TERMINAL else None,
        throughput=_throughput(times.done or _done(progress, row.status_at), beside.started_at),
        run_at=_moment(starts_at_of(row, spec)),
        due_at=_moment(row.due_at),
        deadline=_moment(row.deadline_at),
        cancel_requested_at=_moment(row.cancel_at),
        timeout_seconds=spec.timeout_seconds,
        parameters=dict(spec.parameters) or None,
        context=wishes.context,
        metadata=spec.metadata,
        requires=requires_shown(wishes.requires),
        estimated_duration=None if duration is None else duration_shown(duration),
        resources=[_allocation(one) for one in beside.allocations] or None,
        depends_on=list(wishes.depends_on) or None,
        unmet=row.unmet or None,
        parent_task_id=wishes.parent or None,
        complete_when=criterion_shown(wishes.complete_when, wishes.checks),
        retry_of=wishes.retry_of or None,
        forked_from=wishes.forked_from or None,
        batch=wishes.batch or None,
        schedule=wishes.schedule or None,
        template=wishes.template or None,
        worker=row.worker.hex() if row.phase is Phase.LEASED else None,
        held_by=row.held_by or None,
        error=ErrorShown(reason=reason, code=str(about.get("code", reason)), text=said) if wrong else None,
        partial=about.get("partial"),
        checks=[_check(one) for one in about.get("checks", ())] or None,
        feedback=[
            FeedbackShown(rating=one.rating, comment=one.comment or None, at=timestamp(one.at), by=one.by)
            for one in beside.feedback
        ]
        or None,
        owner=row.owner,
        tenant=row.tenant or None,
        created_by=CreatorShown(type=origin.kind, id=origin.id) if origin.kind else None,
        source=origin.source or None,
        method=origin.method or None,
        generation=GENERATIONS[row.generation],
        revision=row.rev,
    )


def duration_shown(duration: Duration) -> DurationShown:
    """How long a task takes, to the microsecond."""
    p95 = None if duration.p95_seconds is None else round(duration.p95_seconds, 6)
    return DurationShown(
        source=duration.source, seconds=round(duration.seconds, 6), p95_seconds=p95, runs=duration.runs
    )


def _allocation(one: Allocation) -> AllocationShown:
    used = one.used
    return AllocationShown(
        run=one.run,
        worker=one.worker,
        allocated_at=timestamp(one.allocated_at),
        released_at=_moment(one.released_at),
        cpu=one.cpu or None,
        memory_bytes=one.memory_bytes or None,
        storage_bytes=one.storage_bytes or None,
        resources=one.resources or None,
        seconds=used.get("seconds"),
        cpu_seconds=used.get("cpu"),
        memory_peak_bytes=used.get("memory"),
        measured="process" if "memory" in used else None,
        shared_with=used.get("shared"),
        storage_peak_bytes=used.get("storage"),
    )


def _between(begin: int, end: int) -> float | None:
    return (end - begin) / SECOND if begin else None


def _response(row: TaskRow, started_at: int) -> float | None:
    """Nothing is said of a task between its submission and its first claim, or the end of one that never ran."""
    answered_at = row.status_at if row.state in TERMINAL and not row.fence else started_at
    return (answered_at - row.created_at) / SECOND if answered_at else None


def _done(progress: Progress | None, at: int) -> Done | None:
    return None if progress is None or progress.done is None else Done(progress.done, at)


def _throughput(done: Done | None, started_at: int) -> float | None:
    if done is None or not 0 < started_at < done.at:
        return None
    return round(done.items * SECOND / (done.at - started_at), 6)


def _about(status: Status) -> dict[str, Any]:
    """What the agent said with the task's last status."""
    about = (status.metadata or {}).get(TASK_URI)
    return about if isinstance(about, dict) else {}


def _check(said: Checked) -> CheckShown:
    return CheckShown(
        name=said["name"], passed=said["passed"], required=said["required"], message=said["message"] or None
    )


def progress_shown(progress: Progress | None) -> ProgressShown | None:
    """How far a run is; None = nothing was said of it."""
    if progress is None:
        return None
    return ProgressShown(fraction=progress.share, done=progress.done, total=progress.total, note=progress.note or None)


def requires_shown(requires: Requires | None) -> RequiresShown | None:
    """What a task needs; None = nothing."""
    if requires is None:
        return None
    given = {name: getattr(requires, name) for name in RequiresShown.model_fields}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    return RequiresShown.model_validate(shown)


def _moment(at: int) -> str | None:
    return timestamp(at) if at else None
