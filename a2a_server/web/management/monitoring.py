"""What the task manager's own agent tells beside the API's resources: counts, alerts, and what runs take."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from a2a_server.engine.engine import Engine
from a2a_server.engine.monitoring import alerts_of
from a2a_server.model.objects import Phase
from a2a_server.ports import TaskStore
from a2a_server.service.counting import Counts, counted
from a2a_server.service.showing import STATES, RequiresShown, Shown, requires_shown
from a2a_server.service.sizing import Estimate, Sized, Sizing
from a2a_server.web.management.table import Call, NoQuery, Query, Reply, Route


class NeedingShown(Shown):
    """Tasks of a skill that need the same of their workers, and have not ended."""

    skill: str
    requires: RequiresShown
    phases: dict[str, int] = Field(description="By phase.")


class CountsShown(Shown):
    """The caller's tasks, counted."""

    states: dict[str, int] = Field(description="By A2A state.")
    queues: dict[str, dict[str, int]] = Field(description="Of each queue, which has its skill's name, by phase.")
    needing: list[NeedingShown] | None = Field(None, description="Those of them that not any worker can run.")


class AlertsQuery(Query):
    """Which."""

    active: bool | None = Field(None, description="Only those that are, or are not, exceeded now; absent = all.")


class AlertShown(Shown):
    """A threshold, and what exceeds it."""

    id: str
    threshold: str
    subject: str = Field(description="The agent, the limit or the slots.")
    limit: float = Field(description="What is exceeded.")
    value: float
    count: int = Field(description="How many tasks exceed it, where it is about tasks.")
    tasks: list[str] = Field(description="Some of them.")
    active: bool = Field(description="Whether it is exceeded now.")
    since: str
    at: str = Field(description="When it was looked at last.")
    text: str = Field(description="All of it, for people.")


class AlertsShown(Shown):
    """Thresholds that are exceeded, or were, the newest first."""

    alerts: list[AlertShown]


class EstimateShown(Shown):
    """Seconds."""

    median: float
    p95: float


class BytesShown(Shown):
    """Bytes; runs: how many were measured."""

    median: int
    p95: int
    runs: int


class SuggestedShown(Shown):
    """What tasks of the skill had best require."""

    duration_seconds: float
    cpu: float | None = None
    memory_bytes: int | None = None
    storage_bytes: int | None = None


class SizeShown(Shown):
    """What runs of a skill take that end well."""

    skill: str
    runs: int
    duration_seconds: EstimateShown
    cpu_seconds: EstimateShown | None = None
    memory_bytes: BytesShown | None = Field(None, description="Growth of the process, over runs that were alone in it.")
    storage_bytes: BytesShown | None = Field(None, description="Written into artifacts.")
    suggested: SuggestedShown


class SizesShown(Shown):
    """Every skill of which enough is known."""

    skills: list[SizeShown]


class MonitoringPages:
    """Answers them for one engine's agent. ledger: where alerts are kept."""

    def __init__(self, engine: Engine, ledger: TaskStore, sizing: Sizing) -> None:
        self._engine = engine
        self._ledger = ledger
        self._sizing = sizing

    def routes(self) -> tuple[Route, ...]:
        """Its rows."""
        tag = "monitoring"
        return (
            Route("GET", "/counts", "countTasks", "Tasks by state, and by queue and phase.", self.counts, tag,
                  result=CountsShown),
            Route("GET", "/alerts", "listAlerts", "Thresholds that are exceeded, or were.", self.alerts, tag,
                  query=AlertsQuery, result=AlertsShown),
            Route("GET", "/sizing", "reportSizing", "What runs take, and what tasks had best require.", self.sizes,
                  tag, result=SizesShown),
        )  # fmt: skip

    async def counts(self, call: Call[NoQuery, None]) -> Reply:
        """All."""
        return Reply(_counts(await counted(self._engine, call.scope)))

    async def alerts(self, call: Call[AlertsQuery, None]) -> Reply:
        """The newest first."""
        active = call.query.active
        alerts = [alert for alert in await alerts_of(self._ledger) if active is None or alert.active is active]
        return Reply(
            AlertsShown(alerts=[AlertShown.model_validate({**alert.shown, "text": alert.text}) for alert in alerts])
        )

    async def sizes(self, call: Call[NoQuery, None]) -> Reply:  # noqa: ARG002 - a handler's shape
        """By name."""
        return Reply(SizesShown(skills=[_size(one) for one in await self._sizing.report()]))


def _counts(found: Counts) -> CountsShown:
    needing = [
        NeedingShown(
            skill=one.skill, requires=requires_shown(one.requires) or RequiresShown(), phases=_phases(one.phases)
        )
        for one in found.needing
    ]
    return CountsShown(
        states={STATES[state]: count for state, count in found.states.items()},
        queues={name: _phases(phases) for name, phases in found.queues.items()},
        needing=needing or None,
    )


def _phases(counts: Mapping[Phase, int]) -> dict[str, int]:
    return {phase.name.lower(): count for phase, count in counts.items()}


def _size(one: Sized) -> SizeShown:
    suggested = SuggestedShown(
        duration_seconds=round(one.duration.p95, 6),
        cpu=one.requires_cpu,
        memory_bytes=one.requires_memory_bytes,
        storage_bytes=one.requires_storage_bytes,
    )
    return SizeShown(
        skill=one.skill,
        runs=one.duration.runs,
        duration_seconds=_seconds(one.duration),
        cpu_seconds=None if one.cpu is None else _seconds(one.cpu),
        memory_bytes=None if one.memory is None else _bytes(one.memory),
        storage_bytes=None if one.storage is None else _bytes(one.storage),
        suggested=suggested,
    )


def _seconds(estimate: Estimate) -> EstimateShown:
    return EstimateShown(median=round(estimate.median, 6), p95=round(estimate.p95, 6))


def _bytes(estimate: Estimate) -> BytesShown:
    return BytesShown(median=int(estimate.median), p95=int(estimate.p95), runs=estimate.runs)
