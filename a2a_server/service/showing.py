"""Rows as the resources that operators see: camelCase, absent where there is nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from a2a_server.codec import decode, decode_event, decode_spec, decode_status
from a2a_server.lifecycle.editing import starts_at_of
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import (
    TASK_URI,
    ArtifactEvent,
    Event,
    Generation,
    JsonObject,
    Phase,
    Progress,
    Requires,
    State,
    Status,
    Wishes,
)
from a2a_server.model.options import criterion_shown
from a2a_server.model.rows import ArtifactRow, EventRow, JournalRow, StateRow, TaskRow
from a2a_server.model.runs import Checked
from a2a_server.model.times import timestamp
from a2a_server.service.feedback import Given
from a2a_server.service.searching import word_of
from a2a_server.wire import v10

GENERATIONS: Final = {Generation.V01: "0.1", Generation.V03: "0.3", Generation.V10: "1.0"}
STATES: Final = {state: state.name.lower().replace("_", "-") for state in State}
_NO_WISHES: Final = Wishes()


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
    started_at: str | None = Field(None, description="Of its first run; not in lists.")
    run_at: str | None = Field(None, description="It does not start before.")
    due_at: str | None = Field(None, description="When the scheduler looks at it next.")
    deadline: str | None = None
    cancel_requested_at: str | None = None
    timeout_seconds: float
    parameters: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    requires: RequiresShown | None = None
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
    generation: str = Field(description="Of the protocol that made it.")
    revision: int = Field(description="Grows with every change; the ETag.")
    repeat: bool | None = Field(
        None, description="No task was made: it is that of an earlier send with this uniqueKey, or this messageId."
    )


class EventShown(Shown):
    """An event of a task: `status`, or a chunk of an `artifact`."""

    n: int
    at: str
    type: str = Field(description="status or artifact.")
    state: str | None = None
    message: dict[str, Any] | None = Field(None, description="As in A2A 1.0.")
    progress: ProgressShown | None = None
    artifact: dict[str, Any] | None = Field(None, description="As in A2A 1.0.")
    append: bool | None = None
    last_chunk: bool | None = None
    metadata: dict[str, Any] | None = None


class JournalShown(Shown):
    """An entry of the audit trail."""

    n: int
    at: str
    kind: str
    data: dict[str, Any] | None = None


class ValueShown(Shown):
    """A value that a task remembers."""

    name: str
    run: int = Field(description="The run that remembered it, from 1.")
    value: Any = None


class ArtifactShown(Shown):
    """A result without its content: that is behind its `url`, or, where it is `inline`, in /result."""

    id: str
    name: str | None = None
    media_type: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    created_at: str
    closed: bool
    run: int = Field(description="The run that wrote it.")
    url: str | None = Field(None, description="Where its content is, if that is a file of its own.")
    inline: bool | None = Field(None, description="There is no such file; /result has the content.")


def task_shown(row: TaskRow, agent: str = "", started_at: int = 0, feedback: Sequence[Given] = ()) -> TaskShown:
    """The task.

    agent: its agent's name; started_at: of its first run, where that is known, microseconds; feedback: on it, likewise.
    """
    spec = decode_spec(row.spec)
    wishes = spec.wishes or _NO_WISHES
    status, progress = decode_status(row.status, row.status_at)
    wrong = row.state in TERMINAL and row.state is not State.COMPLETED
    said = status.message.text if status.message is not None else None
    about = _about(status)
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
        started_at=_moment(started_at),
        run_at=_moment(starts_at_of(row, spec)),
        due_at=_moment(row.due_at),
        deadline=_moment(row.deadline_at),
        cancel_requested_at=_moment(row.cancel_at),
        timeout_seconds=spec.timeout_seconds,
        parameters=dict(spec.parameters) or None,
        context=wishes.context,
        metadata=spec.metadata,
        requires=requires_shown(wishes.requires),
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
        error=ErrorShown(reason=STATES[row.state], text=said) if wrong else None,
        partial=about.get("partial"),
        checks=[_check(one) for one in about.get("checks", ())] or None,
        feedback=[
            FeedbackShown(rating=one.rating, comment=one.comment or None, at=timestamp(one.at), by=one.by)
            for one in feedback
        ]
        or None,
        owner=row.owner,
        tenant=row.tenant or None,
        generation=GENERATIONS[row.generation],
        revision=row.rev,
    )


def _about(status: Status) -> dict[str, Any]:
    """What the agent said with the task's last status."""
    about = (status.metadata or {}).get(TASK_URI)
    return about if isinstance(about, dict) else {}


def _check(said: Checked) -> CheckShown:
    return CheckShown(
        name=said["name"], passed=said["passed"], required=said["required"], message=said["message"] or None
    )


def event_shown(row: EventRow, base_url: str) -> EventShown:
    """An event of a task's log."""
    event: Event = decode_event(row)
    if isinstance(event, ArtifactEvent):
        return EventShown(
            n=event.n,
            at=timestamp(event.at),
            type="artifact",
            artifact=cast("JsonObject", _update(event, base_url)["artifact"]),
            append=event.append,
            last_chunk=event.last,
        )
    status = event.status
    return EventShown(
        n=event.n,
        at=timestamp(row.at),
        type="status",
        state=STATES[status.state],
        message=None if status.message is None else v10.render_message(status.message, base_url),
        progress=progress_shown(event.progress),
        metadata=status.metadata,
    )


def _update(event: ArtifactEvent, base_url: str) -> JsonObject:
    return cast("JsonObject", v10.render_event(event, "", "", base_url)["artifactUpdate"])


def journal_shown(row: JournalRow) -> JournalShown:
    """An entry of the audit trail."""
    data = decode(row.body)
    return JournalShown(n=row.n, at=timestamp(row.at), kind=row.kind.name.lower(), data=data or None)


def value_shown(row: StateRow) -> ValueShown:
    """A remembered value."""
    return ValueShown(name=row.name, run=row.fence, value=decode(row.body))


def artifact_shown(row: ArtifactRow, id: str, base_url: str) -> ArtifactShown:
    """What is known of a result."""
    return ArtifactShown(
        id=id,
        name=row.name or None,
        media_type=row.media_type or None,
        size_bytes=row.size or None,
        sha256=row.sha256 or None,
        created_at=timestamp(row.created_at),
        closed=row.closed,
        run=row.take,
        url=f"{base_url}/artifacts/{row.location}" if row.location else None,
        inline=None if row.location else True,
    )


def progress_shown(progress: Progress | None) -> ProgressShown | None:
    """How far a run is; None = nothing was said of it."""
    if progress is None:
        return None
    return ProgressShown(
        fraction=progress.fraction, done=progress.done, total=progress.total, note=progress.note or None
    )


def requires_shown(requires: Requires | None) -> RequiresShown | None:
    """What a task needs; None = nothing."""
    if requires is None:
        return None
    given = {name: getattr(requires, name) for name in RequiresShown.model_fields}
    shown = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    return RequiresShown.model_validate(shown)


def _moment(at: int) -> str | None:
    return timestamp(at) if at else None
