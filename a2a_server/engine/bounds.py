"""What an agent's skills and the settings bound, as gates; and what this process's worker has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from a2a_server.engine.limits import Limits
from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.requirements import Offer
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import SkillSpec, Together
from a2a_server.policy import SECOND, Limit, Rate, Trip, gates_of, is_shared, queue_of, resource_gate, skill_gate
from a2a_server.ports import TaskStore


class Bounds:
    """Made once at start. limits: of gates that have a name by now; standing: of those that come with their tasks."""

    def __init__(self, agent: str, skills: Sequence[SkillSpec], limits: Limits) -> None:
        self._limits = limits
        self.limits: dict[str, Limit] = {}
        for skill in skills:
            every, breaker, _, _, _, rate, _ = gates_of(owner="", agent=agent, skill=skill.id, queue="")
            self.limits[every] = limits.agent_max_concurrency or None
            self.limits[skill_gate(queue_of(agent, skill.id))] = skill.max_concurrency
            self.limits[rate] = None if skill.rate is None else Rate(skill.rate[0], round(skill.rate[1] * SECOND))
            self.limits[breaker] = self._trip(skill)
        self.limits |= {resource_gate(name): amount for name, amount in limits.resources.items()}
        standing = {
            "client": limits.client_max_concurrency,
            "client+skill": limits.client_skill_max_concurrency,
            "context": int(any(skill.context in {Together.SERIAL, Together.REPLACE} for skill in skills)),
        }
        self.standing: Mapping[str, int] | None = {name: most for name, most in standing.items() if most} or None
        self.offer = Offer(
            limits.worker_tags,
            limits.worker_tools,
            limits.worker_agents,
            limits.worker_cpu or None,
            limits.worker_memory_bytes or None,
            limits.worker_storage_bytes or None,
        )
        clients = limits.client_max_concurrency or limits.client_skill_max_concurrency
        self._everybody = bool(clients or limits.agent_max_concurrency)
        self._limited = frozenset(skill.id for skill in skills if self._holds(skill))

    async def set(self, store: TaskStore, writer: Writer) -> None:
        """Set the limits that have a name, and lift those that earlier processes set and nobody wants any more.

        What an operator set stays as it is.
        """
        for gate, limit in self.limits.items():
            known = await store.rows(RowQuery(Table.GATE, (gate,))) if limit is None else None
            if known is None or known.rows:
                await writer.submit(SetLimit(gate, limit))

    @property
    def about(self) -> dict[str, object]:
        """What the worker's row says of what it takes."""
        told = {"offers": self.offer.about, "lanes": list(self._limits.lanes), "queues": list(self._limits.queues)}
        return {name: value for name, value in told.items() if value}

    def bound(self, row: TaskRow) -> bool:
        """Whether others may be held until the task's run ends."""
        return self._everybody or row.skill in self._limited or is_shared(row.gates)

    def _trip(self, skill: SkillSpec) -> Trip | None:
        failures, seconds = skill.breaker or (self._limits.breaker_failures, None)
        return Trip(failures, round((seconds or self._limits.breaker_seconds) * SECOND)) if failures else None

    def _holds(self, skill: SkillSpec) -> bool:
        return skill.max_concurrency is not None or self._trip(skill) is not None
