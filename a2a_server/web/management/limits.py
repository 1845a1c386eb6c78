"""`/queues` and `/limits`: what waits, what holds it, and what may be changed of both."""

from __future__ import annotations

from pydantic import Field

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Phase
from a2a_server.model.options import microseconds
from a2a_server.model.times import InTime, timestamp
from a2a_server.policy import OWN_RULE, SECOND, Limit, Rate, Trip, failures_of, limit_of
from a2a_server.service.limiting import GateView, Limiting, QueueView
from a2a_server.service.showing import Shown
from a2a_server.web.management.table import Body, Call, NoQuery, Reply, Route

LARGEST = 1_000_000
MOST_REASON = 1000
YEAR = 366 * 86_400


class RateSet(Body):
    """Starts per time."""

    starts: int = Field(ge=1, le=LARGEST, description="So many at once, and on average …")
    seconds: float = Field(gt=0, le=YEAR, description="… in so much time.")


class BreakerSet(Body):
    """Failures in a row."""

    failures: int = Field(ge=1, le=1000, description="After so many, nothing starts …")
    seconds: float = Field(gt=0, le=YEAR, description="… for so long; then one at a time, until a run succeeds.")


class LimitSet(Body):
    """Exactly one of the three, by what the key says."""

    capacity: int | None = Field(None, ge=0, le=LARGEST, description="Tasks at once.")
    rate: RateSet | None = None
    breaker: BreakerSet | None = None


class RateShown(Shown):
    """Starts per time."""

    starts: int
    seconds: float


class BreakerShown(Shown):
    """Failures in a row."""

    failures: int
    seconds: float
    failed: int = Field(description="In a row, so far.")
    state: str = Field(description="closed (all start), open (none does), or trial (one at a time).")


class LimitShown(Shown):
    """A limit."""

    key: str
    kind: str
    capacity: int | None = None
    used: int | None = Field(None, description="How often running tasks count at it.")
    rate: RateShown | None = None
    breaker: BreakerShown | None = None
    closed: bool = Field(description="Whether nothing starts through it now, whatever its numbers are.")
    closed_until: str | None = Field(None, description="When it opens by itself.")
    reason: str | None = None
    by_operator: bool | None = Field(None, description="It was set here, and holds until it is deleted.")
    by_settings: bool | None = Field(None, description="It is a rule for everybody, and goes with its last task.")


class LimitsShown(Shown):
    """Every limit that bounds something."""

    limits: list[LimitShown]


class Paused(Body):
    """Why, and for how long."""

    until: InTime | None = Field(None, description="When it goes on by itself; absent = when it is resumed.")
    reason: str = Field("", max_length=MOST_REASON, description="For people, wherever a held task is explained.")


class LanesShown(Shown):
    """Tasks that the broker has to hand out, about, by priority."""

    critical: int = 0
    high: int = 0
    normal: int = 0
    low: int = 0
    backlog: int = 0


class QueueShown(Shown):
    """A queue: the tasks of one skill."""

    name: str
    pulled: bool = Field(description="Whether only agents take from it that pull their work.")
    depth: int = Field(description="Tasks that could start now.")
    lanes: LanesShown | None = Field(None, description="By priority, as the broker tells; absent = it cannot.")
    held: int = Field(description="Tasks that a limit holds.")
    running: int
    scheduled: int = Field(description="Tasks that wait for their time.")
    waiting: int = Field(description="Tasks that wait for others.")
    paused_tasks: int = Field(description="Tasks that wait for an answer.")
    paused: bool
    paused_until: str | None = None
    reason: str | None = None


class QueuesShown(Shown):
    """Every queue."""

    queues: list[QueueShown]


class LimitPages:
    """Serves both."""

    def __init__(self, limiting: Limiting) -> None:
        self._limiting = limiting

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        one, key = "/queues/{name}", "/limits/{key}"
        return (
            Route("GET", "/queues", "listQueues", "Every queue.", self.queues, "queues", result=QueuesShown),
            Route("GET", one, "getQueue", "One queue.", self.queue, "queues", result=QueueShown),
            Route(
                "POST", f"{one}/pause", "pauseQueue", "Let none of its tasks start; what runs goes on.", self.pause,
                "queues", body=Paused, body_optional=True, result=QueueShown,
            ),
            Route(
                "POST", f"{one}/resume", "resumeQueue", "Let its tasks start again.", self.resume, "queues",
                result=QueueShown,
            ),
            Route("GET", "/limits", "listLimits", "Every limit.", self.limits, "limits", result=LimitsShown),
            Route("GET", key, "getLimit", "One limit.", self.limit, "limits", result=LimitShown),
            Route("PUT", key, "setLimit", "Set a limit.", self.set, "limits", body=LimitSet, result=LimitShown),
            Route("DELETE", key, "deleteLimit", "Lift a limit, and open it.", self.lift, "limits", status=204),
        )  # fmt: skip

    async def queues(self, call: Call[NoQuery, None]) -> Reply:
        """All."""
        return Reply(QueuesShown(queues=[self._queue(one) for one in await self._limiting.queues(call.scope)]))

    async def queue(self, call: Call[NoQuery, None]) -> Reply:
        """One."""
        return Reply(self._queue(await self._limiting.queue(call.scope, call.path["name"])))

    async def pause(self, call: Call[NoQuery, Paused]) -> Reply:
        """As it is then."""
        until = microseconds(call.body.until) if call.body.until else 0
        return Reply(
            self._queue(await self._limiting.pause(call.scope, call.path["name"], until, call.body.reason.strip()))
        )

    async def resume(self, call: Call[NoQuery, None]) -> Reply:
        """As it is then."""
        return Reply(self._queue(await self._limiting.resume(call.scope, call.path["name"])))

    async def limits(self, call: Call[NoQuery, None]) -> Reply:
        """All."""
        return Reply(LimitsShown(limits=[_limit(one) for one in await self._limiting.known(call.scope)]))

    async def limit(self, call: Call[NoQuery, None]) -> Reply:
        """One."""
        return Reply(_limit(await self._limiting.get(call.scope, call.path["key"])))

    async def set(self, call: Call[NoQuery, LimitSet]) -> Reply:
        """As it is then."""
        return Reply(_limit(await self._limiting.set(call.scope, call.path["key"], _wanted(call.body))))

    async def lift(self, call: Call[NoQuery, None]) -> Reply:
        """Nothing."""
        await self._limiting.lift(call.scope, call.path["key"])
        return Reply()

    def _queue(self, one: QueueView) -> QueueShown:
        gate = None if one.gate is None else self._limiting.view(one.gate)
        closed = gate is not None and gate.is_closed
        lanes = None if one.lanes is None else LanesShown(**{lane.name.lower(): n for lane, n in one.lanes.items()})
        return QueueShown(
            name=one.skill.id,
            pulled=one.skill.pulled,
            depth=one.phases[Phase.READY],
            lanes=lanes,
            held=one.phases[Phase.HELD],
            running=one.phases[Phase.LEASED],
            scheduled=one.phases[Phase.SCHEDULED],
            waiting=one.phases[Phase.WAITING],
            paused_tasks=one.phases[Phase.PAUSED],
            paused=closed,
            paused_until=timestamp(gate.closed_until) if gate and gate.closed_until else None,
            reason=gate.gate.reason or None if gate and closed else None,
        )


def _wanted(body: LimitSet) -> Limit:
    given = [one for one in (body.capacity, body.rate, body.breaker) if one is not None]
    if len(given) != 1:
        raise InvalidParams("capacity, rate or breaker must be given, and only one of them.", path="capacity")
    if body.rate is not None:
        return Rate(body.rate.starts, max(1, round(body.rate.seconds * SECOND)))
    if body.breaker is not None:
        return Trip(body.breaker.failures, max(1, round(body.breaker.seconds * SECOND)))
    return body.capacity


def _limit(view: GateView) -> LimitShown:
    gate, limit = view.gate, limit_of(view.gate)
    breaker = None
    if isinstance(limit, Trip):
        state = "open" if view.is_closed else "closed" if gate.capacity is None else "trial"
        breaker = BreakerShown(
            failures=limit.failures, seconds=limit.rest / SECOND, failed=failures_of(gate), state=state
        )
    at_once = isinstance(limit, int)
    return LimitShown(
        key=gate.key,
        kind=view.kind,
        capacity=limit if isinstance(limit, int) else None,
        used=gate.used if at_once or view.kind not in {"rate", "breaker"} else None,
        rate=RateShown(starts=limit.starts, seconds=limit.period / SECOND) if isinstance(limit, Rate) else None,
        breaker=breaker,
        closed=view.is_closed,
        closed_until=timestamp(view.closed_until) if view.closed_until else None,
        reason=gate.reason or None,
        by_operator=True if view.by_operator else None,
        by_settings=True if gate.tokens == OWN_RULE and at_once else None,
    )
