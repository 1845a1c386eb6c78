"""Whether work was left lying: the longest time for which a worker could have claimed a task and claimed none. Pure.

Theory of operation. The witness's changes are played in order. A task can be claimed if it is READY and every gate
that it names has room for it behind all that the gate holds, or if it is the first that a gate holds and fits in all
its gates. Tasks of the same gates are alike, so their claimability is looked at once. After every change three times
are compared: since when a worker has a slot free and claimed nothing, since when the gates are open, and since when
the task waits. The youngest is since when the worker could have had the task and stood idle.

Weakness: it errs on the worker's side. Where a gate holds many, only the first of them is judged; and a worker that
goes on claiming other tasks is not idle: which of them go first is for `tests.drills.fairness`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Phase
from tests.drills.laws import Step
from tests.drills.ledger import Violation

Gates: TypeAlias = tuple[tuple[str, int], ...]
"""The limited gates of a task, with amounts."""
Place: TypeAlias = tuple[int, int, str]
"""Lane, rank and task: the lower goes first."""


class Idle(NamedTuple):
    """For how long (microseconds) a worker left a task, until when, and which."""

    time: int = 0
    at: int = 0
    task: str = ""
    worker: str = ""


@dataclass(slots=True)
class Idleness:
    """slots: of each worker. capacities: of the limited gates. deaths: when dead workers were last heard of."""

    slots: int
    capacities: Mapping[str, int]
    deaths: Mapping[str, int] = field(default_factory=dict)
    longest: Idle = field(default_factory=Idle)
    _now: int = 0
    _tasks: dict[str, Step] = field(default_factory=dict)
    _used: Counter[str] = field(default_factory=Counter)
    _running: Counter[str] = field(default_factory=Counter)
    _free: dict[str, int] = field(default_factory=dict)
    _ready: defaultdict[Gates, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _held: defaultdict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    _held_amount: Counter[str] = field(default_factory=Counter)
    _open: dict[Gates, int] = field(default_factory=dict)
    _heads: dict[str, tuple[str, int]] = field(default_factory=dict)
    _names: dict[str, set[str]] = field(default_factory=dict)
    _by_gate: defaultdict[str, set[Gates]] = field(default_factory=lambda: defaultdict(set))

    def play(self, steps: Iterable[Step]) -> Idle:
        """The longest."""
        for step in steps:
            self._now = max(self._now, step.at)
            self._judge()
            self._take(step)
        return self.longest

    def _take(self, step: Step) -> None:
        gates = self._gates(step)
        before = self._tasks.get(step.task)
        touched = {gate for gate, _ in gates}
        if before is not None:
            self._leave(before, gates)
        self._tasks[step.task] = step
        if step.phase is Phase.READY:
            self._ready[gates][step.task] = self._now
            for gate in touched:
                self._by_gate[gate].add(gates)
        elif step.phase is Phase.HELD and step.held_by in self.capacities:
            heappush(self._held[step.held_by], (step.lane, step.rank, step.task))
            self._held_amount[step.held_by] += dict(gates)[step.held_by]
        elif step.phase is Phase.LEASED:
            for gate, amount in gates:
                self._used[gate] += amount
            self._running[step.worker] += 1
            self._free[step.worker] = self._now
            if self._running[step.worker] >= self.slots:
                del self._free[step.worker]
        self._look({gates} | {other for gate in touched for other in self._by_gate[gate]}, touched)

    def _leave(self, before: Step, gates: Gates) -> None:
        if before.phase is Phase.READY:
            del self._ready[gates][before.task]
            if not self._ready[gates]:
                self._open.pop(gates, None)
                for gate, _ in gates:
                    self._by_gate[gate].discard(gates)
        elif before.phase is Phase.HELD and before.held_by in self.capacities:
            self._held_amount[before.held_by] -= dict(gates)[before.held_by]
        elif before.phase is Phase.LEASED:
            for gate, amount in gates:
                self._used[gate] -= amount
            self._running[before.worker] -= 1
            if self._running[before.worker] < self.slots and self.deaths.get(before.worker, self._now) >= self._now:
                self._free.setdefault(before.worker, self._now)

    def _look(self, alike: Iterable[Gates], touched: set[str]) -> None:
        for gates in alike:
            if self._ready[gates] and all(
                self._room(gate) >= amount + self._held_amount[gate] for gate, amount in gates
            ):
                self._open.setdefault(gates, self._now)
            else:
                self._open.pop(gates, None)
        for gate, held in self._held.items():
            if gate not in touched and self._names.get(gate, touched).isdisjoint(touched):
                continue
            while held and self._place(gate, held[0][2]) != held[0]:
                heappop(held)
            head = held[0][2] if held else ""
            self._names[gate] = {name for name, _ in self._gates(self._tasks[head])} if head else {gate}
            if not head or not all(self._room(name) >= amount for name, amount in self._gates(self._tasks[head])):
                self._heads.pop(gate, None)
            elif self._heads.get(gate, ("", 0))[0] != head:
                self._heads[gate] = head, self._now

    def _place(self, gate: str, task: str) -> Place | None:
        step = self._tasks[task]
        held = step.phase is Phase.HELD and step.held_by == gate
        return (step.lane, step.rank, task) if held else None

    def _judge(self) -> None:
        if not self._free or not (self._open or self._heads):
            return
        dead = [worker for worker in self._free if self.deaths.get(worker, self._now) < self._now]
        for worker in dead:
            del self._free[worker]
        free, worker = min(((since, worker) for worker, since in self._free.items()), default=(self._now, ""))
        for since, task in self._waiting():
            time = self._now - max(free, since)
            if time > self.longest.time:
                self.longest = Idle(time, self._now, task, worker)

    def _waiting(self) -> Iterator[tuple[int, str]]:
        for gates, opened in self._open.items():
            task, ready = next(iter(self._ready[gates].items()))
            yield max(opened, ready), task
        for head, since in self._heads.values():
            yield since, head

    def _room(self, gate: str) -> int:
        return self.capacities[gate] - self._used[gate]

    def _gates(self, step: Step) -> Gates:
        return tuple((gate, amount) for gate, amount in map(gate_of, step.gates) if gate in self.capacities)


def deaths(steps: Iterable[Step], living: Collection[str]) -> dict[str, int]:
    """When each worker that is not among the living claimed its last task."""
    return {step.worker: step.at for step in steps if step.worker and step.worker not in living}


def check_idle(longest: Idle, bound: int) -> list[Violation]:
    """Whether a worker with a free slot left a task for longer than `bound` microseconds."""
    if longest.time <= bound:
        return []
    text = f"{longest.worker} had a free slot and left it for {longest.time / 1e6:.2f} s"
    return [Violation("left-lying", longest.task, text)]
