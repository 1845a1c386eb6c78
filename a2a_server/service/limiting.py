"""Limits and queues as operators read and set them: gates, by their keys and in their own words.

A gate's key says what it bounds: `agent:`, `client:`, `client+skill:`, `skill:` and `resource:` tasks at once, `rate:`
starts, `breaker:` failures in a row; `queue:` is what a queue is paused by. What is set here holds until it is lifted,
whatever code and settings say; then their word holds again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from a2a_server.engine.engine import Engine
from a2a_server.errors import InvalidParams, NothingThere
from a2a_server.lifecycle.limits import LIMIT_RECORD, Lift, Pause, Resume, SetLimit, operator_key
from a2a_server.lifecycle.requirements import queue_of_class
from a2a_server.model.objects import Lane, Phase, Scope
from a2a_server.model.queries import RowQuery, Table, TallyQuery
from a2a_server.model.rows import GateRow, RecordRow
from a2a_server.model.runs import SkillSpec
from a2a_server.policy import CLASS, FOREVER, Limit, Rate, Trip, is_breaker, is_idle, queue_of, spelled
from a2a_server.values import value_class

AT_ONCE: Final = frozenset({"agent", "client", "client+skill", "skill", "resource", "queue"})
"""Kinds of gates that bound how many tasks run at once."""
OF_SKILLS: Final = frozenset({"skill", "rate", "breaker"})
MOST_GATES: Final = 10_000
"""Gates that one list looks at."""
LONGEST_KEY: Final = 1024
_UNKNOWN: Final = (
    "The key names nothing that can be limited here: it is skill:, queue:, rate: or breaker: with a skill of this "
    "agent, client: or client+skill: with you, agent:, or resource: with one of the settings."
)


@value_class(frozen=True, slots=True)
class QueueView:
    """A queue: that of a skill. gate: what it is paused by, None = it never was.

    phases: visible tasks by where they are. lanes: what the broker has of it to hand out, None = it cannot tell.
    """

    skill: SkillSpec
    phases: Counter[Phase]
    lanes: dict[Lane, int] | None
    gate: GateRow | None


@value_class(frozen=True, slots=True)
class GateView:
    """A gate. by_operator: its limit was set here, and not by code or settings."""

    gate: GateRow
    kind: str
    now: int
    by_operator: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing starts through it now, whatever it bounds."""
        return self.gate.closed_until > self.now

    @property
    def closed_until(self) -> int:
        """Microseconds; 0 = it is open, or somebody has to open it."""
        return self.gate.closed_until if self.is_closed and self.gate.closed_until < FOREVER else 0

    @property
    def is_paused(self) -> bool:
        """Whether a person closed it."""
        return self.is_closed and bool(self.gate.reason) and not is_breaker(self.gate.key)


class Limiting:
    """The gates of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def known(self, scope: Scope) -> Sequence[GateView]:
        """Every gate that bounds something and that the caller may see, by key; of conversations nobody sees them."""
        page = await self._store.rows(RowQuery(Table.GATE, limit=MOST_GATES))
        said = await self._store.rows(RowQuery(Table.RECORD, (LIMIT_RECORD, "", ""), limit=MOST_GATES))
        set_here = {row.id for row in said.rows if isinstance(row, RecordRow)}
        rows = [row for row in page.rows if isinstance(row, GateRow) and not is_idle(row, self._engine.clock())]
        return [self._view(row, by_operator=row.key in set_here) for row in rows if self._is_theirs(scope, row.key)]

    async def get(self, scope: Scope, key: str) -> GateView:
        """A gate that bounds something. Raises NothingThere."""
        row = await self._row(key) if self._is_theirs(scope, key) else None
        if row is None or is_idle(row, self._engine.clock()):
            self._check(scope, key)
            raise NothingThere(f"There is no limit {key}; the list of limits names those that there are.")
        said = await self._store.rows(RowQuery(Table.RECORD, operator_key(key), limit=1))
        return self._view(row, by_operator=bool(said.rows))

    async def set(self, scope: Scope, key: str, limit: Limit) -> GateView:
        """Bound what goes through a gate, which may be new, until it is lifted.

        Raises NothingThere: no task could ever name it; InvalidParams: the limit is of another kind.
        """
        self._check(scope, key)
        kind = key.partition(":")[0]
        wanted = {"rate": Rate, "breaker": Trip}.get(kind, int)
        if not isinstance(limit, wanted):
            name = {"rate": "rate", "breaker": "breaker"}.get(kind, "capacity")
            raise InvalidParams(f"{name} is what a limit of this key bounds; give that alone.", path=name)
        row: GateRow = await self._engine.submit(SetLimit(key, limit, operator=True))
        return self._view(row, by_operator=True)

    async def lift(self, scope: Scope, key: str) -> None:
        """Forget what was set of the gate here, and open it; what code and settings say of it holds again.

        Raises NothingThere.
        """
        await self.get(scope, key)
        await self._engine.submit(Lift(key, self._engine.bounds.limits.get(key)))

    async def queues(self, scope: Scope) -> Sequence[QueueView]:
        """Every queue, in the order of the agent's skills."""
        agent, runner = self._engine.agent, self._engine.runner
        tally = await self._store.totals(TallyQuery(scope.tenant, scope.owner, agent))
        phases: dict[str, Counter[Phase]] = {queue_of(agent, skill.id): Counter() for skill in runner.skills}
        for key, count in tally.items():
            if (found := phases.get(_plain(key.queue))) is not None:
                found[key.phase] += count
        depth = await self._engine.backends.queue.depth()
        lanes: dict[str, dict[Lane, int]] = {}
        for (queue, lane), count in (depth or {}).items():
            if queue and lane:
                of_queue = lanes.setdefault(_plain(queue), {})
                of_queue[Lane(lane)] = of_queue.get(Lane(lane), 0) + count
        told = depth is not None and not any(queue == "" for queue, _ in depth)
        return [
            QueueView(
                skill,
                phases[queue_of(agent, skill.id)],
                _true(lanes.get(queue_of(agent, skill.id), {}), phases[queue_of(agent, skill.id)]) if told else None,
                await self._row(self._gate_of(skill)),
            )
            for skill in runner.skills
        ]

    async def queue(self, scope: Scope, name: str) -> QueueView:
        """One queue. Raises NothingThere."""
        skill = self._skill(name)
        return next(one for one in await self.queues(scope) if one.skill == skill)

    async def pause(self, scope: Scope, name: str, until: int = 0, reason: str = "") -> QueueView:
        """Let no task of the queue start until a moment (microseconds; 0 = until it is resumed). What runs goes on.

        Raises NothingThere; InvalidParams: the moment is past.
        """
        if until and until <= self._engine.clock():
            raise InvalidParams("until must lie in the future.", path="until")
        pause = Pause(self._gate_of(self._skill(name)), until)
        await self._engine.submit(pause if not reason else Pause(pause.key, until, reason))
        return await self.queue(scope, name)

    async def resume(self, scope: Scope, name: str) -> QueueView:
        """Let its tasks start again. Raises NothingThere."""
        await self._engine.submit(Resume(self._gate_of(self._skill(name))))
        return await self.queue(scope, name)

    def view(self, gate: GateRow) -> GateView:
        """The gate of a queue."""
        return self._view(gate)

    def _skill(self, name: str) -> SkillSpec:
        for skill in self._engine.runner.skills:
            if skill.id == name:
                return skill
        raise NothingThere("There is no queue of this name; each skill has one, of the skill's name.")

    def _gate_of(self, skill: SkillSpec) -> str:
        return f"queue:{spelled(queue_of(self._engine.agent, skill.id))}"

    def _check(self, scope: Scope, key: str) -> None:
        kind, _, name = key.partition(":")
        skills = {spelled(skill.id) for skill in self._engine.runner.skills}
        known = {
            "agent": name == spelled(self._engine.agent),
            "resource": name in self._engine.limits.resources,
            "queue": any(key == self._gate_of(skill) for skill in self._engine.runner.skills),
        }
        there = known.get(kind, name in skills if kind in OF_SKILLS else kind in AT_ONCE and bool(name))
        if not (there and len(key) <= LONGEST_KEY and self._is_theirs(scope, key)):
            raise NothingThere(_UNKNOWN)

    def _is_theirs(self, scope: Scope, key: str) -> bool:
        kind, _, name = key.partition(":")
        if kind == "client":
            return name == spelled(scope.owner)
        if kind == "client+skill":
            return name.startswith(f"{spelled(scope.owner)}+")
        return kind in AT_ONCE or kind in OF_SKILLS

    def _view(self, gate: GateRow, *, by_operator: bool = False) -> GateView:
        return GateView(gate, gate.key.partition(":")[0], self._engine.clock(), by_operator=by_operator)

    async def _row(self, key: str) -> GateRow | None:
        page = await self._store.rows(RowQuery(Table.GATE, (key,), limit=1))
        return next((row for row in page.rows if isinstance(row, GateRow)), None)


def _true(lanes: dict[Lane, int], phases: Counter[Phase]) -> dict[Lane, int] | None:
    """What the broker counts, unless it counts hints of tasks that do not wait any more, and nobody took them since."""
    if not phases[Phase.READY]:
        return {}
    return lanes if sum(lanes.values()) <= phases[Phase.READY] else None


def _plain(queue: str) -> str:
    return queue_of_class(queue) if CLASS in queue else queue
