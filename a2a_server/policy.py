"""Numbers that decide: back-off, ranks, room in a gate, alarms. Pure functions of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from a2a_server.model.objects import Lane
from a2a_server.model.rows import GateRow

SECOND: Final = 1_000_000
"""Microseconds in a second: stored moments and durations are microseconds."""

SUSPECT_CRASHES: Final = 2
"""A task that crashed its worker this often runs beside no other suspect of that worker."""

POISON_CRASHES: Final = 3
"""A task that crashed its worker this often fails."""

SWEEP_SLACK: Final = 2 * SECOND
"""How long after its worker should have ended a run the sweeper does it instead."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter: base and limit in microseconds."""

    base: int = SECOND
    limit: int = 300 * SECOND

    def delay(self, attempt: int, jitter: float) -> int:
        """Microseconds until attempt `attempt` + 1 (`attempt` from 1); `jitter` uniform in 0.0-1.0.

        Source: "Exponential Backoff And Jitter", M. Brooker, 2015 (full jitter).
        """
        doublings: int = 2 ** min(attempt - 1, 40)
        return round(min(self.limit, self.base * doublings) * jitter)


def rank(head: int | None, virtual_time: int | None, now: int) -> int:
    """A new task's rank in its lane: start-time fair queueing with cost 1.

    head: rank of the lane's first ready task, the lane's virtual time; None when nothing is ready, and then `now`
    (microseconds) is: it is past every virtual time that could be left over, so an idle lane forgets. virtual_time: the
    owner's, one behind its last task. Ranks stay below 2**53.
    Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing", 1996.
    """
    return max(now if head is None else head, virtual_time or 0)


def ahead(heads: Mapping[tuple[str, int], int], queue: str, lane: Lane) -> bool:
    """Whether a ready task of the queue would be claimed before a newcomer of this lane."""
    return any((queue, higher) in heads for higher in range(1, lane + 1))


def room(gate: GateRow, now: int, most: int) -> int:
    """How many more tasks may be leased through the gate now, at most `most`."""
    if gate.closed_until > now:
        return 0
    return most if gate.capacity is None else max(0, min(most, gate.capacity - gate.used))


def gates_of(*, owner: str, agent: str, skill: str, queue: str) -> tuple[str, ...]:
    """Every limit that may ever apply to a task, so that limits, pauses and breakers can be set later."""
    return (
        f"agent:{agent}",
        f"breaker:{skill}",
        f"client:{owner}",
        f"client+skill:{owner}+{skill}",
        f"queue:{queue}",
        f"rate:{skill}",
        skill_gate(skill),
    )


def skill_gate(skill: str) -> str:
    """The gate that bounds how many tasks of a skill run at once."""
    return f"skill:{skill}"


def queue_of(agent: str, skill: str) -> str:
    """The queue that tasks of a skill wait in."""
    return f"{agent}/{skill}" if agent else skill


def alarm(at: int, deadline_at: int) -> int:
    """When to look at a task again: at `at`, or at its deadline when that is earlier (0 = never, for both)."""
    if at and deadline_at:
        return min(at, deadline_at)
    return at or deadline_at
