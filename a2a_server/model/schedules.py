"""Schedules: when a task is to be made again and again, and what it is made of.

`SchedulePlan` is what people write; a `Schedule` is what is kept, with what has come of it. Moments are integer
microseconds since the epoch, UTC; only a cron expression is read in a time zone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from a2a_server.model.objects import JsonObject, Message
from a2a_server.model.rows import NO_KEY, Key
from a2a_server.values import value_class

YEAR: Final = 366 * 86_400
MOST_SCHEDULES: Final = 1000
"""Schedules of one owner at one agent."""


class Missed(StrEnum):
    """What becomes of ticks that nobody was there for: none of them, one for all, or each, up to a bound."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Overlap(StrEnum):
    """What a tick does while the task of an earlier one has not ended: make another, none, or cancel the earlier."""

    ALLOW = "allow"
    FORBID = "forbid"
    REPLACE = "replace"


class SchedulePlan(BaseModel):
    """When, and under which rules. Exactly one of cron, intervalSeconds and runAt is given."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )

    cron: str = Field(
        "", max_length=200, description="Five fields: minute, hour, day of month, month, day of week; as Debian's cron."
    )
    time_zone: str = Field("UTC", max_length=64, description="The zone that `cron` is read in, such as Europe/Berlin.")
    interval_seconds: float = Field(0.0, le=YEAR, description="A tick every so many seconds; 1 or more.")
    run_at: AwareDatetime | None = Field(None, description="One tick, at this moment.")
    starts_at: AwareDatetime | None = Field(None, description="No tick before; the first one of an interval.")
    ends_at: AwareDatetime | None = Field(None, description="No tick behind this moment.")
    max_runs: int = Field(0, ge=0, le=1_000_000_000, description="Tasks that it makes in all; 0 = without end.")
    missed: Missed = Field(Missed.ONCE, description="Ticks that no server was there for: skip, once, all.")
    overlap: Overlap = Field(
        Overlap.ALLOW, description="While its last task has not ended, a tick: allow, forbid, replace."
    )
    paused: bool = Field(False, description="Whether its ticks make no tasks.")  # noqa: FBT003 - a default
    description: str = Field("", max_length=10_000, description="What it is for, for people.")
    options: dict[str, Any] = Field(default_factory=dict, description="Task options of each task.")
    metadata: dict[str, Any] | None = Field(None, description="The metadata of each send.")
    context_id: str = Field("", max_length=256, description="The context of all its tasks; empty = one for each.")


@value_class(frozen=True, slots=True)
class Timing:
    """When a schedule ticks: by `cron` in `zone`, every `interval` from `starts_at` on, or once at `starts_at`.

    ends_at: the last moment of a tick, 0 = never.
    """

    starts_at: int
    cron: str = ""
    zone: str = "UTC"
    interval: int = 0
    ends_at: int = 0


@value_class(frozen=True, slots=True)
class Schedule:
    """A schedule as it is kept.

    message, options, metadata, context: of the sends that it makes; options as clients write them.
    runs, skipped: ticks so far that made a task, and that did not, of which not all need be counted. behind: ticks that
    were made up for one after the other. last_at: the last tick, 0 = none yet; last_task, last_id: key and id of the
    newest task; last_error: why the last tick made none, '' = it did.
    """

    agent: str
    timing: Timing
    message: Message
    options: JsonObject
    metadata: JsonObject | None = None
    context: str = ""
    missed: Missed = Missed.ONCE
    overlap: Overlap = Overlap.ALLOW
    max_runs: int = 0
    paused: bool = False
    description: str = ""
    created_at: int = 0
    runs: int = 0
    skipped: int = 0
    behind: int = 0
    last_at: int = 0
    last_task: Key = NO_KEY
    last_id: str = ""
    last_error: str = ""
