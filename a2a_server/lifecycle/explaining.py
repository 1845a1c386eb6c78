"""Why a task is where it is, in typed reasons with words: a function of its row and of what it meets.

A reason is told when it holds the task now; what would hold it only later (a full limit, of a task that is scheduled
for tomorrow) is not. Pauses are told early where they last beyond the task's start, because somebody has to act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final

from a2a_server.codec import decode, decode_spec, decode_status
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.requirements import Offer, Pool, needs_in_words, offer_of, satisfies, share_of, short_of
from a2a_server.lifecycle.turn import sentence
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Lane, Phase, Requires, State, TaskSpec
from a2a_server.model.rows import EdgeKind, EdgeRow, GateRow, Key, TaskRow, WorkerRow
from a2a_server.model.times import timestamp
from a2a_server.policy import CLASS, bars_starts, room
from a2a_server.values import value_class

MOST_NAMED: Final = 20
"""Tasks that are named one by one; of the others only the number is told."""
OPEN_ENDED: Final = 2**53 - 1
"""A gate that is closed until then stays closed until somebody opens it."""
QUEUED: Final = frozenset({Phase.READY, Phase.HELD})

_DEPENDENCIES: Final = frozenset({EdgeKind.FAIL, EdgeKind.CANCEL, EdgeKind.RUN})
_WHOSE: Final = {
    "agent": "of its agent",
    "client": "of its owner",
    "client+skill": "of its owner for this skill",
    "context": "of its conversation",
    "queue": "of its queue",
    "skill": "of its skill",
}
_NAMES: Final = {
    "agent": "its agent",
    "client": "its owner",
    "client+skill": "its owner and this skill",
    "context": "its conversation",
}


class Why(StrEnum):
    """What sort of thing holds a task, or what it does instead of waiting."""

    ENDED = "ended"
    RUNNING = "running"
    CANCELING = "canceling"
    UNDOING = "undoing"
    ASKS = "asks"
    DEPENDENCY = "dependency"
    CHILDREN = "children"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    PAUSED = "paused"
    LIMIT = "limit"
    RATE = "rate"
    BREAKER = "breaker"
    WORKER = "worker"
    ROOM = "room"
    BEHIND = "behind"
    NEXT = "next"


@value_class(frozen=True, slots=True)
class Reason:
    """One reason. kind: its sort; text: for people. The rest for programs, each where the kind has it; 0, '' = not.

    task, state: of an upstream, or of the task itself that has ended. gate: its key; used of capacity. at: when it
    starts, or has begun; until: when the reason goes away by itself (microseconds). worker, run: who runs it, or could.
    attempt of most_attempts. count of total: tasks or children; more: there are more than that. queue: that of its
    skill. lanes: how many are before it. needs: what it needs of its worker, as those before it do. missing: what no
    worker has, or has left. detail: what a person or an agent said about it.
    """

    kind: Why
    text: str
    task: str = ""
    state: State | None = None
    gate: str = ""
    used: int | None = None
    capacity: int | None = None
    at: int = 0
    until: int = 0
    worker: str = ""
    run: int = 0
    attempt: int = 0
    most_attempts: int = 0
    count: int | None = None
    total: int | None = None
    more: bool = False
    queue: str = ""
    lanes: Mapping[Lane, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    detail: str = ""


@value_class(frozen=True, slots=True)
class Around:
    """What a task meets, as far as its phase makes it matter. Moments in microseconds.

    gates: by key, those of the task that have a row. edges: those whose downstream it is. upstreams: rows of some of
    them. workers: all of the store; None = nobody looked. taken: what runs took out of their pools, as far as that was
    read. ahead: tasks before it in its queue, or at the gate that holds it, at most `most_ahead` were counted. since:
    when its run began, 0 = not known.
    """

    now: int
    gates: Mapping[str, GateRow] = field(default_factory=dict)
    edges: Sequence[EdgeRow] = ()
    upstreams: Mapping[Key, TaskRow] = field(default_factory=dict)
    workers: Sequence[WorkerRow] | None = None
    taken: Mapping[Key, Pool] = field(default_factory=dict)
    ahead: Mapping[Lane, int] = field(default_factory=dict)
    most_ahead: int = 10_000
    since: int = 0


def reasons(row: TaskRow, around: Around) -> tuple[Reason, ...]:
    """Everything that holds the task, what a person has to see to first; never empty."""
    if row.phase is Phase.FINAL:
        return (_ended(row),)
    spec = decode_spec(row.spec)
    found = [*_stopping(row, spec)]
    if row.phase is Phase.LEASED:
        found.append(_running(row, around.since))
    elif row.phase is Phase.PAUSED:
        found.append(_asks(row))
    elif row.phase is Phase.WAITING:
        found += _waits(row, around)
    elif row.phase is Phase.SCHEDULED:
        found.append(_scheduled(row))
    found += _closed(row, spec, around)
    if row.phase in QUEUED:
        found += _queued(row, spec, around)
    return tuple(found) or (_next(row, spec),)


def open_upstreams(edges: Sequence[EdgeRow]) -> list[Key]:
    """The tasks that the downstream of these edges depends on and that have not ended."""
    return [edge.upstream for edge in edges if edge.on_failure in _DEPENDENCIES and not edge.done]


def _ended(row: TaskRow) -> Reason:
    end = word(row.state)
    status, _ = decode_status(row.status, row.status_at)
    said = status.message.text if status.message is not None and row.state is not State.COMPLETED else ""
    text = f"It has ended: {end}{said and f' ({said})'}."
    return Reason(Why.ENDED, text, task=row.id, state=row.state, at=row.status_at, detail=said)


def _stopping(row: TaskRow, spec: TaskSpec) -> list[Reason]:
    if spec.failing:
        end = "canceled" if row.cancel_at else "failed"
        return [
            Reason(Why.UNDOING, f"Its last run undoes what it did; then it ends as {end}.", detail=spec.failing),
        ]
    if row.cancel_at:
        at = timestamp(row.cancel_at)
        return [Reason(Why.CANCELING, f"It was asked to stop at {at}; its run is ending.", at=row.cancel_at)]
    return []


def _running(row: TaskRow, since: int) -> Reason:
    worker = row.worker.hex()
    began = f" since {timestamp(since)}" if since else ""
    text = f"It runs{began} on worker {worker} (attempt {row.attempt + 1} of {row.max_attempts})."
    return Reason(
        Why.RUNNING,
        text,
        at=since,
        worker=worker,
        run=row.fence,
        attempt=row.attempt + 1,
        most_attempts=row.max_attempts,
    )


def _asks(row: TaskRow) -> Reason:
    status, _ = decode_status(row.status, row.status_at)
    asked = status.message.text if status.message is not None else ""
    wants = "its sender to log in" if row.state is State.AUTH_REQUIRED else "its sender"
    ends = f" Without an answer it fails at {timestamp(row.due_at)}." if row.due_at else ""
    text = f"It asks {wants}{asked and f': {asked}'}"
    return Reason(Why.ASKS, f"{sentence(text)}{ends}", state=row.state, until=row.due_at, detail=asked)


def _waits(row: TaskRow, around: Around) -> list[Reason]:
    found = []
    open_ = open_upstreams(around.edges)
    for key in open_[:MOST_NAMED]:
        upstream = around.upstreams.get(key)
        name = id_of(key) if upstream is None else upstream.id
        state = None if upstream is None else upstream.state
        text = f"It waits for task {name}{'' if state is None else f' ({word(state)})'}."
        found.append(Reason(Why.DEPENDENCY, text, task=name, state=state))
    if (more := len(open_) - MOST_NAMED) > 0:
        found.append(Reason(Why.DEPENDENCY, f"It waits for {more} more tasks.", count=more))
    joins = [edge for edge in around.edges if edge.on_failure == EdgeKind.JOIN]
    done = sum(edge.done != 0 for edge in joins)
    if row.fence and done < len(joins):
        text = f"It waits for its children: {done} of {len(joins)} have ended."
        found.append(Reason(Why.CHILDREN, text, count=done, total=len(joins)))
    return found or [Reason(Why.NEXT, "All that it waited for has ended; it goes on at once.")]


def _scheduled(row: TaskRow) -> Reason:
    at = timestamp(row.due_at)
    if row.fence and row.attempt:
        number = row.attempt + 1
        text = f"It is tried again at {at}: attempt {number} of {row.max_attempts}."
        return Reason(Why.RETRY, text, at=row.due_at, attempt=number, most_attempts=row.max_attempts)
    return Reason(Why.SCHEDULED, f"It starts at {at}.", at=row.due_at)


def _closed(row: TaskRow, spec: TaskSpec, around: Around) -> list[Reason]:
    """What gates say; only those that are closed beyond its start where the task is not in the queue yet.

    A last run passes what keeps tasks from starting.
    """
    if row.phase in {Phase.LEASED, Phase.PAUSED}:
        return []
    starts = row.due_at if row.phase is Phase.SCHEDULED else around.now
    found = []
    for name in row.gates:
        key, amount = gate_of(name)
        gate = around.gates.get(key)
        if gate is None or (row.phase not in QUEUED and gate.closed_until <= starts):
            continue
        if spec.failing and bars_starts(gate, around.now):
            continue
        if gate.closed_until > around.now or room(gate, around.now, amount) < amount:
            found.append(_gate(gate, around.now))
    return found


def _gate(gate: GateRow, now: int) -> Reason:
    kind, _, name = gate.key.partition(":")
    until = gate.closed_until if now < gate.closed_until < OPEN_ENDED else 0
    closed = gate.closed_until > now
    if kind == "breaker":
        why = f" ({gate.reason.rstrip('.')})" if gate.reason else ""
        text = f"The circuit breaker of the skill {name} tries one run first{why}."
        if closed:
            text = f"The circuit breaker of the skill {name} is open {_end(until)}{why}."
        return Reason(Why.BREAKER, text, gate=gate.key, until=until, detail=gate.reason)
    if closed and (gate.reason or kind != "rate"):
        what = _NAMES.get(kind, f"the {kind} {name}")
        why = f": {gate.reason.rstrip('.')}" if gate.reason else ""
        text = f"{what[0].upper()}{what[1:]} is paused {_end(until)}{why}."
        return Reason(Why.PAUSED, text, gate=gate.key, until=until, detail=gate.reason)
    if kind == "rate":
        soon = f"at {timestamp(until)}" if until else "soon"
        return Reason(
            Why.RATE, f"The rate limit of its skill lets the next one start {soon}.", gate=gate.key, until=until
        )
    text = f"The limit {_WHOSE.get(kind, f'of the {kind} {name}')} is used up: {gate.used} of {gate.capacity}."
    return Reason(Why.LIMIT, text, gate=gate.key, used=gate.used, capacity=gate.capacity)


def _end(until: int) -> str:
    return f"until {timestamp(until)}" if until else "until somebody resumes it"


def _queued(row: TaskRow, spec: TaskSpec, around: Around) -> list[Reason]:
    found = []
    if around.workers is not None and (lacking := _no_worker(row, spec, around)) is not None:
        found.append(lacking)
    if before := sum(around.ahead.values()):
        more = before >= around.most_ahead
        lanes = ", ".join(f"{count:,} in lane {lane.name.lower()}" for lane, count in sorted(around.ahead.items()))
        tasks = "1 task" if before == 1 else f"{before:,}{'+' if more else ''} tasks"
        alike = f" that need the same of a worker, {', '.join(needs)}" if (needs := _needs(row, spec)) else ""
        where = (
            f"that {'waits' if before == 1 else 'wait'} for the same"
            if row.phase is Phase.HELD
            else f"of its queue{alike}"
        )
        text = f"It stands behind {tasks} {where} ({lanes})."
        found.append(
            Reason(Why.BEHIND, text, queue=row.skill, count=before, more=more, lanes=dict(around.ahead), needs=needs),
        )
    return found


def _next(row: TaskRow, spec: TaskSpec) -> Reason:
    if row.phase is Phase.HELD:
        return Reason(Why.NEXT, "What held it has room again; it goes on at once.", gate=row.held_by)
    room_too = " and room for it" if any(share_of(_requires(spec))) else ""
    return Reason(Why.NEXT, f"It is next: a worker takes it as soon as one has a free slot{room_too}.", queue=row.skill)


def _no_worker(row: TaskRow, spec: TaskSpec, around: Around) -> Reason | None:
    alive = [one for one in around.workers or () if not one.dead and one.seen_at + one.ttl >= around.now]
    if not alive:
        return Reason(Why.WORKER, f"No worker lives that takes the queue {row.skill}; start one.", queue=row.skill)
    told = [(one.id, decode(one.body) if one.body else {}) for one in alive]
    lane = row.lane.name.lower()
    taking = [
        (worker, offer_of(about.get("offers")))
        for worker, about in told
        if _takes(about, "queues", row.skill) and _takes(about, "lanes", lane)
    ]
    if not taking:
        text = f"No worker that lives takes lane {lane} of the queue {row.skill}."
        return Reason(Why.WORKER, text, queue=row.skill)
    requires = _requires(spec)
    missing = min((satisfies(requires, offer) for _, offer in taking), key=len)
    if missing:
        return Reason(Why.WORKER, f"No worker that lives has {', '.join(missing)}.", queue=row.skill, missing=missing)
    return _no_room(row, requires, [one for one in taking if not satisfies(requires, one[1])], around.taken)


def _no_room(
    row: TaskRow, requires: Requires, able: Sequence[tuple[Key, Offer]], taken: Mapping[Key, Pool]
) -> Reason | None:
    lacking = [(short_of(requires, offer, taken.get(worker, Pool())), worker.hex()) for worker, offer in able]
    missing, worker = min(lacking, key=lambda one: len(one[0]))
    if not missing:
        return None
    needs = ", ".join(missing)
    text = f"The only worker that can run it has no room for it: it needs {needs}."
    if len(able) > 1:
        text = f"None of the {len(able)} workers that can run it has room for it: of worker {worker} it needs {needs}."
    return Reason(Why.ROOM, text, worker=worker, queue=row.skill, missing=missing)


def _requires(spec: TaskSpec) -> Requires:
    return (spec.wishes.requires if spec.wishes else None) or Requires()


def _needs(row: TaskRow, spec: TaskSpec) -> tuple[str, ...]:
    return needs_in_words(spec.wishes.requires) if CLASS in row.queue and spec.wishes else ()


def _takes(about: Mapping[str, Sequence[str]], what: str, wanted: str) -> bool:
    named = about.get(what)
    return not named or wanted in named


def word(state: State) -> str:
    """A state in small letters, as `input-required`."""
    return state.name.lower().replace("_", "-")
