"""What operators ask for, as every door understands it: new tasks, changes, filters. camelCase outside."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic.alias_generators import to_camel

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.options import OnDependencyFailure, Priority, TaskOptions

MOST_AT_ONCE: Final = 10_000
"""Tasks of one batch, or of one bulk operation."""
MOST_TOGETHER: Final = 1_000
"""Tasks of one bulk operation that is done to all of them or to none: as many as the writer takes into a turn."""
MOST_NAMED: Final = 32
"""Values that one filter takes."""

Plain = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""What names something in a filter."""


_ANY_MOMENT: Final = TypeAdapter[datetime](AwareDatetime, config=ConfigDict(defer_build=True))


def _written(value: object) -> object:
    """A moment that is written as one; lax reading would take numbers for seconds since 1970, and days for nights."""
    if not isinstance(value, str) or "T" not in value.upper():
        return value if value is None else ""
    try:
        return _ANY_MOMENT.validate_python(value)
    except ValidationError:
        return ""


def _counted(value: object) -> object:
    """In an address numbers are text."""
    return int(value) if isinstance(value, str) and value in _LANE_NUMBERS else value


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]
_LANE_NUMBERS: Final = {str(int(lane)) for lane in Lane}
WantedPriority = Annotated[Priority, BeforeValidator(_counted)]

STATE_WORDS: Final = {state.name.lower().replace("_", "-"): state for state in State}
PHASE_WORDS: Final = {phase.name.lower(): phase for phase in Phase}
StateWord = Literal[
    "submitted", "working", "completed", "failed", "canceled", "input-required", "rejected", "auth-required"
]
PhaseWord = Literal["waiting", "scheduled", "ready", "held", "leased", "paused", "final"]
StatusWord = Literal[
    "created", "decomposed", "queued", "assigned", "in_progress", "blocked", "completed", "failed", "canceled"
]
STATUS_WORDS: Final[tuple[str, ...]] = get_args(StatusWord)


class Asked(BaseModel):
    """Anything that is asked for."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, defer_build=True)


class NewTask(TaskOptions):
    """A task to be made: what is said to the agent, and every task option."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, title="NewTask", defer_build=True)

    text: str | None = Field(None, description="What is said to the agent; instead of `message`.")
    message: dict[str, Any] | None = Field(
        None, description="A message as in A2A 1.0; messageId and role may be left out. Instead of `text`."
    )
    context_id: str = Field("", max_length=256, description="The conversation; empty = a new one.")
    metadata: dict[str, Any] | None = Field(None, description="Your own, given back as it came.")


class BatchItem(NewTask):
    """A task of a batch. Others of the batch name it in dependsOn and parentTaskId as `#name` or `#position`."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, title="BatchItem", defer_build=True
    )

    name: str = Field("", max_length=128, description="What other items call it: `#name`.")


def _same_as(option: str) -> Any:  # noqa: ANN401 - a field's definition
    field = copy(TaskOptions.model_fields[option])
    return field.annotation, field


TaskChange = create_model(
    "TaskChange",
    __base__=Asked,
    __doc__="How a task shall be; what is absent is as it would be in a new task.",
    title=_same_as("title"),
    description=_same_as("description"),
    kind=_same_as("kind"),
    tags=_same_as("tags"),
    priority=_same_as("priority"),
    deadline=_same_as("deadline"),
    timeout_seconds=_same_as("timeout_seconds"),
    max_attempts=_same_as("max_attempts"),
    run_at=_same_as("run_at"),
    context=_same_as("context"),
    metadata=(dict[str, Any] | None, Field(None, description="Your own, given back as it came.")),
    parameters=_same_as("parameters"),
)


class TaskFilter(Asked):
    """Which tasks. Of several values of one filter any will do, but of tags all are needed."""

    state: tuple[StateWord, ...] = Field((), min_length=1, max_length=8, description="A2A states.")
    phase: tuple[PhaseWord, ...] = Field((), min_length=1, max_length=7, description="Where the scheduler has them.")
    status: tuple[StatusWord, ...] = Field((), min_length=1, max_length=9, description="Status words.")
    skill: tuple[Plain, ...] = Field((), min_length=1, max_length=MOST_NAMED, description="Ids of skills.")
    priority: tuple[WantedPriority, ...] = Field((), min_length=1, max_length=6, description="Priorities.")
    tag: tuple[Plain, ...] = Field((), min_length=1, max_length=MOST_NAMED, description="All of these tags.")
    agent: Plain | None = Field(None, description="The agent's name.")
    owner: Plain | None = Field(None, description="Whose tasks; others' are never found.")
    context_id: Plain | None = Field(None, description="Tasks of one conversation.")
    parent_task_id: Plain | None = Field(None, description="Parts of this task.")
    batch: Plain | None = Field(None, description="Tasks of a batch.")
    schedule: Plain | None = Field(None, description="Tasks that a schedule made.")
    template: Plain | None = Field(None, description="Tasks made with a template.")
    title: Plain | None = Field(None, description="How the title begins; upper and lower case are one.")
    created_from: Moment | None = Field(None, description="Made at this moment or later.")
    created_to: Moment | None = Field(None, description="Made before this moment.")
    updated_from: Moment | None = Field(None, description="Status of this moment or later.")
    updated_to: Moment | None = Field(None, description="Status before this moment.")


BatchKey = Annotated[str, *TaskOptions.model_fields["unique_key"].metadata]


class NewBatch(Asked):
    """Tasks to be made together."""

    tasks: Annotated[tuple[Annotated[BatchItem, SkipValidation], ...], Field(min_length=1, max_length=MOST_AT_ONCE)] = (
        Field(description="The tasks, in any order; each is checked by itself.")
    )
    atomic: bool | None = Field(None, description="All or none (so unless it is false), or each for itself.")
    unique_key: BatchKey = Field(
        "", description="At most one batch has this key: a repeat is answered with what became of the first one."
    )


class NewMessage(Asked):
    """An answer to what a task asked."""

    text: str | None = Field(None, description="What is said; instead of `parts`.")
    parts: tuple[dict[str, Any], ...] | None = Field(
        None, min_length=1, max_length=1000, description="Parts as in A2A 1.0. Instead of `text`."
    )
    message_id: Plain | None = Field(None, description="With one, a repeat is recognised.")


class NewRetry(Asked):
    """How an ended task is tried again."""

    from_step: str = Field("", max_length=256, description="The remembered step that is done again first.")
    text: str | None = Field(None, description="Instead of the text of its first message.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Instead of those of these names.")
    unique_key: str = Field("", max_length=256, description="With one key comes one new task, however often.")


class NewDelay(Asked):
    """When a task starts that waits for its time."""

    delay_seconds: float | None = Field(
        None,
        ge=0,
        le=366 * 86_400,
        description="So long from now; without it 60, and twice as long with each requeue of the task, up to 3,600.",
    )


class NewDependencies(Asked):
    """What a task that has not begun waits for beside what it waits for already."""

    depends_on: tuple[Plain, ...] = Field(min_length=1, max_length=100, description="Ids of tasks of yours.")
    on_dependency_failure: OnDependencyFailure = Field(
        OnDependencyFailure.FAIL, description="If one of them does not complete."
    )


class NewFeedback(Asked):
    """What is said of an ended task, instead of what its author said before."""

    rating: int = Field(ge=1, le=5, description="1 (poor) to 5 (excellent).")
    comment: str = Field("", max_length=10_000, description="In words.")


class BulkAction(StrEnum):
    """What is done to many tasks."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPRIORITISE = "reprioritise"
    REQUEUE = "requeue"
    DELETE = "delete"


class Bulk(Asked):
    """One thing done to many tasks, named by their ids or by a filter."""

    action: BulkAction
    ids: tuple[Plain, ...] | None = Field(None, min_length=1, max_length=MOST_AT_ONCE, description="These tasks.")
    filter: TaskFilter | None = Field(None, description="Tasks that match, and that the action is for.")
    priority: Annotated[Lane | None, *TaskOptions.model_fields["priority"].metadata] = Field(
        None, description="Of action reprioritise."
    )
    delay_seconds: float | None = Field(
        None,
        ge=0,
        le=366 * 86_400,
        description="Of action requeue; without it each task waits by its own count.",
    )
    limit: int = Field(MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="Most tasks of one call.")
    dry_run: bool = Field(default=False, description="Count only; with atomic, also say which could not be done.")
    atomic: bool | None = Field(None, description=f"All or none, at most {MOST_TOGETHER} tasks; else each for itself.")
