"""`GET /api/v1/tasks/{id}/explain`: why a task is not running."""

from __future__ import annotations

from pydantic import Field

from a2a_server.lifecycle.estimating import Estimate
from a2a_server.lifecycle.explaining import Reason, Why, word
from a2a_server.lifecycle.states import status_word
from a2a_server.model.rows import Interest
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND
from a2a_server.service.explaining import Explained, Explaining
from a2a_server.service.showing import DurationShown, Shown, duration_shown
from a2a_server.web.management.table import Call, NoQuery, Reply, Route


class ReasonShown(Shown):
    """One thing that holds the task, or what it does instead of waiting."""

    kind: Why = Field(description="What sort of reason.")
    text: str = Field(description="The reason for people.")
    task: str | None = Field(None, description="The task that is waited for, or that has ended.")
    state: str | None = Field(None, description="That task's state.")
    gate: str | None = Field(None, description="The limit, rate, breaker or pause.")
    used: int | None = Field(None, description="Tasks that count at the limit.")
    capacity: int | None = Field(None, description="How many may.")
    at: str | None = Field(None, description="When it starts, or began.")
    until: str | None = Field(None, description="When the reason goes away by itself.")
    worker: str | None = Field(None, description="Who runs it, or could.")
    run: int | None = Field(None, description="Which run this is.")
    attempt: int | None = Field(None, description="Which attempt this is, or will be.")
    max_attempts: int | None = Field(None, description="How many there may be.")
    count: int | None = Field(None, description="Tasks before it, or that it still waits for, or children that ended.")
    total: int | None = Field(None, description="All children that it waits for.")
    more: bool | None = Field(None, description="There are more than `count`.")
    queue: str | None = Field(None, description="The queue, which has the name of its skill.")
    lanes: dict[str, int] | None = Field(None, description="Tasks before it by lane.")
    needs: list[str] | None = Field(None, description="What it needs of its worker, as those before it do.")
    missing: list[str] | None = Field(None, description="What no worker has, or has left.")
    detail: str | None = Field(None, description="What an agent or a person said.")


class EstimateShown(Shown):
    """When it may start, as tasks of its queue and lane have waited that ended lately."""

    starts_at: str = Field(description="Half of them had started by then.")
    starts_by: str | None = Field(None, description="19 of 20 had; absent when it waits longer already.")
    median_seconds: float = Field(description="How long half of them waited at most.")
    p95_seconds: float = Field(description="How long 19 of 20 waited at most.")
    tasks: int = Field(description="How many they are.")


class Explanation(Shown):
    """Where a task is and why."""

    id: str = Field(description="The task.")
    state: str = Field(description="Its A2A state.")
    phase: str = Field(description="Where the scheduler has it.")
    status: str = Field(description="Where it is, in the management's word.")
    reasons: list[ReasonShown] = Field(description="Everything that holds it.")
    estimate: EstimateShown | None = Field(None, description="Absent when nobody can say, or it has begun.")
    estimated_duration: DurationShown | None = Field(None, description="How long such a task takes once it has begun.")
    ends_at: str | None = Field(None, description="When it may end, by its start and that; absent = nobody can say.")


class ExplainPages:
    """Serves explanations."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (
            Route(
                "GET",
                "/tasks/{id}/explain",
                "explainTask",
                "Why a task is not running, and when it may start.",
                self.explain,
                "tasks",
                result=Explanation,
            ),
        )

    async def explain(self, call: Call[NoQuery, None]) -> Reply:
        """GET /api/v1/tasks/{id}/explain."""
        return Reply(_shown(await self._explaining.explain(call.scope, call.path["id"])))


def _shown(explained: Explained) -> Explanation:
    row = explained.row
    parent = bool(row.pushes & Interest.PARENT)
    return Explanation(
        id=row.id,
        state=word(row.state),
        phase=row.phase.name.lower(),
        status=status_word(row.state, row.phase, assigned=bool(row.worker), children=parent),
        reasons=[_reason(one) for one in explained.reasons],
        estimate=None if explained.estimate is None else _estimate(explained.estimate),
        estimated_duration=None if explained.duration is None else duration_shown(explained.duration),
        ends_at=timestamp(explained.ends_at) if explained.ends_at else None,
    )


def _reason(one: Reason) -> ReasonShown:
    return ReasonShown(
        kind=one.kind,
        text=one.text,
        task=one.task or None,
        state=None if one.state is None else word(one.state),
        gate=one.gate or None,
        used=one.used,
        capacity=one.capacity,
        at=timestamp(one.at) if one.at else None,
        until=timestamp(one.until) if one.until else None,
        worker=one.worker or None,
        run=one.run or None,
        attempt=one.attempt or None,
        max_attempts=one.most_attempts or None,
        count=one.count,
        total=one.total,
        more=one.more or None,
        queue=one.queue or None,
        lanes={lane.name.lower(): count for lane, count in sorted(one.lanes.items())} or None,
        needs=list(one.needs) or None,
        missing=list(one.missing) or None,
        detail=one.detail or None,
    )


def _estimate(one: Estimate) -> EstimateShown:
    return EstimateShown(
        starts_at=timestamp(one.starts_at),
        starts_by=timestamp(one.starts_by) if one.starts_by else None,
        median_seconds=one.waits.median / SECOND,
        p95_seconds=one.waits.p95 / SECOND,
        tasks=one.waits.count,
    )
