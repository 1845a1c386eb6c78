"""Numbers that decide: back-off, ranks, room in a gate, alarms. Pure functions of their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote

from a2a_server.model.objects import Lane
from a2a_server.model.rows import GateRow
from a2a_server.values import value_class

SECOND: Final = 1_000_000
"""Microseconds in a second: stored moments and durations are microseconds."""

SUSPECT_CRASHES: Final = 2
"""A task that crashed its worker this often runs beside no other suspect of that worker."""

POISON_CRASHES: Final = 3
"""A task that crashed its worker this often fails."""

SWEEP_SLACK: Final = 2 * SECOND
"""How long after its worker should have ended a run the sweeper does it instead."""

CLASS: Final = "#"
"""Stands between a queue's name and that of a class, which tasks with needs of their worker wait in."""


@value_class(frozen=True, slots=True)
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


FAIR_KEPT: Final = 86_400 * SECOND
"""How long the virtual time of an owner who sends nothing is kept."""


def is_spent(head: int | None, virtual_time: int, now: int) -> bool:
    """Whether an owner's virtual time is old, and the next `rank` would be the same without it.

    Who comes back then is as good as new, as fair queueing has it. Should tasks stand up again that are older than
    that (a gate had held them), the owner stands beside the first of them and not behind their own: that is the price.
    """
    return virtual_time + FAIR_KEPT < now and virtual_time <= rank(head, None, now)


def ahead(heads: Mapping[tuple[str, int], int], queue: str, lane: Lane) -> bool:
    """Whether a ready task of the queue would be claimed before a newcomer of this lane."""
    return any((queue, higher) in heads for higher in range(1, lane + 1))


class Rate(NamedTuple):
    """At most `starts` starts per `period` (microseconds), and at most `starts` at once.

    Tokens come one by one, every `interval`; so in any window there are at most `starts` more than tokens came in it.
    """

    starts: int
    period: int

    @property
    def interval(self) -> int:
        """Microseconds from one token to the next; rounded up, so that the rate is never above what was asked for.

        It is at least 1, also where the period is less than a microsecond.
        """
        return max(1, -(-self.period // self.starts))


class Trip(NamedTuple):
    """A circuit breaker opens after `failures` failed runs in a row, for `rest` microseconds at first."""

    failures: int
    rest: int


Limit: TypeAlias = int | Rate | Trip | None
"""What a gate may bound: tasks at once, starts per time, failures in a row, or nothing."""

FOREVER: Final = 2**53 - 1
"""A moment that never comes: until then a gate is closed that somebody has to open."""

BREAKER_DOUBLINGS: Final = 5
"""How often the rest of a breaker doubles while its trials fail."""

OWN_RULE: Final = -1
"""`tokens` of a gate that counts tasks and goes with the last of them: a rule of the settings made it, not a person."""

_RATE: Final = "rate:"
_BREAKER: Final = "breaker:"
_CONTEXT: Final = "context:"
_FAILURES: Final = 1 << 20
_OPENINGS: Final = 1 << 6


def limited(gate: GateRow, limit: Limit) -> GateRow:
    """The gate with this limit instead of its own; what it went through under the old one counts on.

    How rows hold the kinds of limits, told apart by the prefix of the key. Tasks at once: `capacity`, against `used`.
    rate: `capacity` is `Rate.starts`, `tokens` its period, `refilled_at` when the bucket will be full (GCRA's
    theoretical arrival time), and while it is empty `closed_until` the moment of the next token. breaker: `tokens` are
    the failures that open it and those so far, `refilled_at` its first rest and how often that was doubled; `capacity`
    is 1 from its opening until a run succeeds. Raises ValueError: a limit of another kind than the gate.
    """
    bounds_rate, bounds_failures = gate.key.startswith(_RATE), gate.key.startswith(_BREAKER)
    if limit is None:
        return gate._replace(capacity=None, tokens=0, refilled_at=0, **_reopened(gate))
    if isinstance(limit, Rate) and bounds_rate:
        gate = gate._replace(capacity=limit.starts, tokens=limit.period, used=0)
        return gate if gate.reason else gate._replace(closed_until=_next_token(gate))
    if isinstance(limit, Trip) and bounds_failures:
        failed, openings = gate.tokens % _FAILURES, gate.refilled_at % _OPENINGS
        return gate._replace(
            tokens=limit.failures * _FAILURES + min(failed, limit.failures - 1),
            refilled_at=limit.rest * _OPENINGS + openings,
        )
    if isinstance(limit, int) and not bounds_rate and not bounds_failures:
        return gate._replace(capacity=limit, tokens=0)
    raise ValueError(f"the gate {gate.key} bounds something else than {limit!r}")


def limit_of(gate: GateRow) -> Limit:
    """The limit that `limited` gave the gate; None = it bounds nothing."""
    if gate.key.startswith(_BREAKER):
        failures, rest = gate.tokens // _FAILURES, gate.refilled_at // _OPENINGS
        return Trip(failures, rest) if failures else None
    return _rate(gate) if gate.key.startswith(_RATE) and gate.capacity is not None else gate.capacity


def failures_of(gate: GateRow) -> int:
    """How many runs in a row have failed at a breaker: all that it takes, from its opening until a run succeeds."""
    most, failed = divmod(gate.tokens, _FAILURES)
    return failed if gate.capacity is None else most


def room(gate: GateRow, now: int, most: int) -> int:
    """How many more tasks may be leased through the gate now, at most `most`."""
    if gate.closed_until > now:
        return 0
    if gate.capacity is None:
        return most
    if gate.key.startswith(_RATE):
        interval = _rate(gate).interval
        ahead_of_now = max(gate.refilled_at - now, 0)
        return max(0, min(most, (interval * gate.capacity - ahead_of_now) // interval))
    return max(0, min(most, gate.capacity - gate.used))


def entered(gate: GateRow, now: int, amount: int) -> GateRow:
    """The gate once a task that counts `amount` times there was leased."""
    if not gate.key.startswith(_RATE):
        return gate._replace(used=gate.used + amount)
    if gate.capacity is None:
        return gate
    gate = gate._replace(refilled_at=max(gate.refilled_at, now) + amount * _rate(gate).interval)
    empty_until = _next_token(gate)
    return gate._replace(closed_until=max(gate.closed_until, empty_until)) if empty_until > now else gate


def left(gate: GateRow, amount: int) -> GateRow:
    """The gate once such a task is leased no more; what starts are counted by does not come back."""
    return gate if gate.key.startswith(_RATE) else gate._replace(used=max(0, gate.used - amount))


def counted(gate: GateRow, leased: int) -> GateRow:
    """The gate with what uses it, as the leased tasks' own rows say.

    Those rows do not tell last runs from others, which a breaker does not count: there a count only corrects what is
    too high. Weakness: a breaker that is first set while a last run works counts it, until a recount behind its end.
    """
    if gate.key.startswith(_RATE):
        return gate
    return gate._replace(used=min(gate.used, leased) if gate.key.startswith(_BREAKER) else leased)


def counts_starts(key: str) -> bool:
    """Whether the gate says when tasks of a skill may start, however many run: a rate or a breaker."""
    return key.startswith((_RATE, _BREAKER))


def bars_starts(gate: GateRow, now: int) -> bool:
    """Whether the gate could only keep tasks from starting now, and says nothing of how many may run at once."""
    return gate.closed_until > now or counts_starts(gate.key)


def bounds_use(key: str) -> bool:
    """Whether the gate is a limit that tasks use up at once: not starts, failures, or the turn of a conversation."""
    return not key.startswith((_RATE, _BREAKER, _CONTEXT))


def is_breaker(key: str) -> bool:
    """Whether the gate opens and closes by how runs end."""
    return key.startswith(_BREAKER)


def judged(gate: GateRow, now: int, *, good: bool) -> GateRow:
    """A breaker once a run ended well or failed. While it is open the ends of earlier runs say nothing new.

    Source: M. Nygard, "Release It!", 2007, chapter 5 (circuit breaker).
    """
    most, failed = divmod(gate.tokens, _FAILURES)
    if not most or gate.closed_until > now:
        return gate
    rest, openings = divmod(gate.refilled_at, _OPENINGS)
    if good:
        return gate._replace(capacity=None, tokens=most * _FAILURES, refilled_at=rest * _OPENINGS, reason="")
    if gate.capacity is None:
        failed, openings = failed + 1, 0
        if failed < most:
            return gate._replace(tokens=gate.tokens + 1)
    else:
        failed, openings = most - 1, min(openings + 1, BREAKER_DOUBLINGS)
    return gate._replace(
        capacity=1,
        tokens=most * _FAILURES + min(failed, most - 1),
        refilled_at=rest * _OPENINGS + openings,
        closed_until=now + (rest << openings),
        reason=f"Its runs failed {most} times in a row." if not openings else "The trial run failed as well.",
    )


def paused(gate: GateRow, until: int, reason: str) -> GateRow:
    """The gate closed by a person until a moment; 0 = until it is resumed."""
    return gate._replace(closed_until=until or FOREVER, reason=reason)


def resumed(gate: GateRow) -> GateRow:
    """The gate opened by a person; a breaker forgets what it has seen."""
    if gate.key.startswith(_BREAKER) and gate.tokens:
        most, rest = gate.tokens // _FAILURES, gate.refilled_at // _OPENINGS
        gate = gate._replace(capacity=None, tokens=most * _FAILURES, refilled_at=rest * _OPENINGS)
    gate = gate._replace(closed_until=0, reason="")
    return gate._replace(closed_until=_next_token(gate)) if gate.key.startswith(_RATE) and gate.capacity else gate


def is_idle(gate: GateRow, now: int) -> bool:
    """Whether the gate's row says no more than that there is none."""
    unbounded = gate.capacity is None and not gate.tokens
    return gate.closed_until <= now and (unbounded or (gate.tokens == OWN_RULE and not gate.used))


def _reopened(gate: GateRow) -> dict[str, Any]:
    """What a lifted limit had closed is open; what a person closed stays so."""
    by_itself = gate.key.startswith(_BREAKER) or (gate.key.startswith(_RATE) and not gate.reason)
    return {"closed_until": 0, "reason": ""} if by_itself else {}


def _rate(gate: GateRow) -> Rate:
    return Rate(gate.capacity or 1, gate.tokens)


def _next_token(gate: GateRow) -> int:
    rate = _rate(gate)
    return max(0, gate.refilled_at - rate.interval * (rate.starts - 1))


def gates_of(*, owner: str, agent: str, skill: str, queue: str) -> tuple[str, ...]:
    """Every limit that may ever apply to a task, so that limits, pauses and breakers can be set later.

    Skills of two agents are two, whatever they are called: those of an agent with a name are called as their queue. And
    who has as many tasks as a client may have can still ask such an agent, the task manager for one.
    """
    skill = queue_of(agent, skill)
    owner, agent = spelled(owner), spelled(agent)
    queue, said = spelled(queue), spelled(skill)
    return (
        f"agent:{agent}",
        f"breaker:{said}",
        f"agent+client:{agent}+{owner}" if agent else f"client:{owner}",
        f"client+skill:{owner}+{said}",
        f"queue:{queue}",
        f"rate:{said}",
        skill_gate(skill),
    )


def spelled(name: str) -> str:
    """A name as it stands in a gate's key: `*` has a meaning there."""
    return name.replace("%", "%25").replace("*", "%2A") if "*" in name or "%" in name else name


def skill_gate(skill: str) -> str:
    """The gate that bounds how many tasks of a skill run at once."""
    return f"skill:{spelled(skill)}"


def resource_gate(name: str) -> str:
    """The gate of a resource that all workers share."""
    return f"resource:{name}"


def context_gate(tenant: str, owner: str, context: str) -> str:
    """The gate that lets one task of a conversation run at a time."""
    return _CONTEXT + "/".join(
        quote(name, safe="") if "/" in name or "%" in name or "*" in name else name for name in (tenant, owner, context)
    )


def is_shared(gates: Sequence[str]) -> bool:
    """Whether the task uses what only few can use at once: a resource, or its conversation."""
    return gates[-1].startswith(("resource:", _CONTEXT))


def queue_of(agent: str, skill: str) -> str:
    """The queue that tasks of a skill wait in."""
    return f"{agent}/{skill}" if agent else skill


def alarm(at: int, deadline_at: int) -> int:
    """When to look at a task again: at `at`, or at its deadline when that is earlier (0 = never, for both)."""
    if at and deadline_at:
        return min(at, deadline_at)
    return at or deadline_at
