"""When a task may start and end: what holds it, and how long tasks like it waited and took."""

from __future__ import annotations

from collections.abc import Sequence

from a2a_server.lifecycle.explaining import QUEUED, Around, Reason, Why
from a2a_server.model.objects import Phase
from a2a_server.model.rows import TaskRow
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Waits:
    """How long tasks like it waited from their submission, or their start time, to their first run, microseconds."""

    median: int
    p95: int
    count: int


@value_class(frozen=True, slots=True)
class Estimate:
    """When it may start, as others waited. starts_by: 19 of 20 had started by then; 0 = it waits longer already."""

    starts_at: int
    starts_by: int
    waits: Waits


def waits_of(samples: Sequence[int]) -> Waits | None:
    """What waits have in common, by nearest rank; None = there were none."""
    if not samples:
        return None
    ordered = sorted(samples)
    last = len(ordered) - 1
    return Waits(ordered[last // 2], ordered[-(-95 * len(ordered) // 100) - 1], len(ordered))


def estimate(row: TaskRow, why: Sequence[Reason], waits: Waits | None, now: int) -> Estimate | None:
    """When it may start; None = nobody can say, or it runs, asks or has ended."""
    if waits is None or row.phase not in {*QUEUED, Phase.SCHEDULED}:
        return None
    if any(_is_endless(one) for one in why):
        return None
    begins = row.due_at if row.phase is Phase.SCHEDULED else row.status_at
    begins = max([begins, *(one.until for one in why if one.kind in {Why.PAUSED, Why.RATE, Why.BREAKER})])
    by = begins + waits.p95
    return Estimate(max(now, begins + waits.median), by if by > now else 0, waits)


def _is_endless(reason: Reason) -> bool:
    """Whether it holds until a person does something, or a worker comes."""
    paused = reason.kind is Why.PAUSED and not reason.until
    return paused or reason.kind is Why.WORKER or (reason.kind is Why.LIMIT and reason.capacity == 0)


def ends_at(row: TaskRow, around: Around, starts: Estimate | None, takes: int) -> int:
    """When it may end: its start, known or estimated, and what such a task takes, microseconds; 0 = nobody can say.

    Never before now: a run that goes on for longer than others may end at any moment.
    """
    leased = row.phase is Phase.LEASED and not row.cancel_at
    began = around.since if leased else starts.starts_at if starts is not None else 0
    return max(around.now, began + takes) if began and takes else 0
