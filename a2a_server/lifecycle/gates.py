"""The gates of one turn: what they hold, what uses them, and who goes on when one has room.

A gate without a row is open, but for those that a rule of the settings bounds for everybody (`standing`): such a row
comes with the first task that is leased through the gate and goes with the last one. Its use is counted as tasks are
leased and left, whoever moves them; a task that names a gate as `key*amount` counts so often. What a gate holds goes in
its order: a task that needs much is not overtaken by those that need little. What the kinds of gates make of their
numbers, `policy` says. Source: core.md section 4.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias

from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Phase
from a2a_server.model.rows import GateRow, Key, TaskRow
from a2a_server.model.turns import Loaded
from a2a_server.policy import (
    FOREVER,
    OWN_RULE,
    bars_starts,
    counted,
    counts_starts,
    entered,
    is_breaker,
    is_idle,
    judged,
    left,
    room,
)

Place: TypeAlias = tuple[int, int, Key]
"""Where a task stands in the order of claims: lane, rank, key; the lower goes first."""

Standing: TypeAlias = Mapping[str, int]
"""Limits for everybody: prefix of the gates' keys -> how many tasks may name each of them at once."""

NOBODY: Final[Standing] = MappingProxyType({})


class Gates:
    """The gates that a turn has loaded, as they become. standing: what bounds gates that have no row."""

    __slots__ = ("_amounts", "_before", "_gone", "_held", "_leased", "_rows", "now", "standing")

    def __init__(self, loaded: Loaded) -> None:
        self.now = loaded.now
        self.standing = NOBODY
        self._before = loaded.gates
        self._rows = dict(loaded.gates)
        self._leased = dict(loaded.leased)
        self._gone: set[str] = set()
        self._held: dict[str, list[Place]] = {}
        self._amounts: dict[Key, dict[str, int]] = {}
        for gate, keys in loaded.held.items():
            self._held[gate] = [place_of(self._weighed(loaded.tasks[key])) for key in keys]

    def get(self, key: str) -> GateRow | None:
        """The gate's row as it is now; None = it has none."""
        return self._rows.get(key)

    def set(self, gate: GateRow) -> None:
        """Create or change a gate; `rev` is taken care of."""
        self._rows[gate.key] = gate
        self._gone.discard(gate.key)

    def delete(self, key: str) -> None:
        """Remove a gate's row: it is open from now on."""
        if self._rows.pop(key, None) is not None and key in self._before:
            self._gone.add(key)

    def leased(self, key: str) -> int:
        """How often leased tasks count at the gate, as their rows say; only of gates that were to be recounted."""
        return self._leased.get(key, 0)

    def holds(self, key: str) -> bool:
        """Whether the turn knows of a task that the gate holds."""
        return bool(self._held.get(key))

    def held(self, key: str) -> list[Key]:
        """The tasks that the gate holds, as far as the turn knows, best first."""
        return [task for _, _, task in self._held.get(key, ())]

    def closed(self, names: Iterable[str], place: Place, *, last: bool = False) -> str:
        """The key of the first of these gates without room for a task that stands at `place`; '' when all are open.

        What a gate holds already goes first where it stands higher. last: it is a last run.
        """
        if self._rows:
            for name in names:
                key, amount = gate_of(name) if "*" in name else (name, 1)
                gate = self._rows.get(key)
                if gate is None or (last and bars_starts(gate, self.now)):
                    continue
                if not self._fits(self._ruled(gate), amount, place):
                    return key
        return ""

    def _fits(self, gate: GateRow, amount: int, place: Place) -> bool:
        for held in self._held.get(gate.key, ()):
            if held >= place:
                break
            amount += self._amount(held[2], gate.key)
        return room(gate, self.now, amount) >= amount

    def follow(self, before: TaskRow, row: TaskRow) -> None:
        """Count a task that moved."""
        if before.phase is Phase.HELD and (place := place_of(before)) in (held := self._held.get(before.held_by, [])):
            held.remove(place)
        if row.phase is Phase.HELD:
            insort(self._held.setdefault(row.held_by, []), place_of(self._weighed(row)))
        if row.phase is Phase.LEASED:
            if before.phase is not Phase.LEASED:
                self._enter(row)
        elif before.phase is Phase.LEASED:
            self._leave(before)

    def breakers(self, names: Iterable[str]) -> Sequence[GateRow]:
        """The breakers among these gates that are set."""
        rows = self._rows
        return [rows[name] for name in names if name in rows and is_breaker(name)] if rows else ()

    def judge(self, breakers: Iterable[GateRow], *, good: bool) -> None:
        """Tell breakers how a run ended."""
        for gate in breakers:
            self._rows[gate.key] = judged(gate, self.now, good=good)

    def _enter(self, row: TaskRow) -> None:
        if not (self._rows or self._leased or self.standing):
            return
        for name in row.gates:
            key, amount = gate_of(name) if "*" in name else (name, 1)
            gate = self._rows.get(key)
            if gate is not None and _passes(row, key):
                continue
            if gate is None and key.partition(":")[0] in self.standing:
                gate = GateRow(key, None, 0, 0, 0, 0, "", 0)
            if gate is not None:
                self.set(entered(self._ruled(gate), self.now, amount))
            if key in self._leased:
                self._leased[key] += amount

    def _ruled(self, gate: GateRow) -> GateRow:
        if self.standing and gate.capacity is None and not gate.tokens:
            capacity = self.standing.get(gate.key.partition(":")[0])
            return gate if capacity is None else gate._replace(capacity=capacity, tokens=OWN_RULE)
        return gate

    def _leave(self, row: TaskRow) -> None:
        if not (self._rows or self._leased):
            return
        for name in row.gates:
            key, amount = gate_of(name) if "*" in name else (name, 1)
            if (gate := self._rows.get(key)) and not _passes(row, key):
                self._rows[key] = left(gate, amount)
            if key in self._leased:
                self._leased[key] -= amount

    def recount(self, key: str) -> bool:
        """Correct what uses the gate; whether it was wrong. Only of gates that were to be recounted."""
        gate = self._rows.get(key)
        if gate is None or counted(gate, self.leased(key)) == gate:
            return False
        self._rows[key] = counted(gate, self.leased(key))
        return True

    def woken(self) -> Iterator[Key]:
        """The held tasks that may go on, of every gate that has room."""
        for key, places in self._held.items():
            gate = self._rows.get(key)
            needed = 0
            for _, _, task in places if gate is not None else ():
                needed += self._amount(task, key)
                if gate is None or room(gate, self.now, needed) < needed:
                    break
                yield task

    @property
    def openings(self) -> dict[str, int]:
        """Microseconds until each gate opens by itself that is closed and holds tasks."""
        if not self._held:
            return {}
        gates = [gate for key, held in self._held.items() if held and (gate := self._rows.get(key)) is not None]
        return {gate.key: gate.closed_until - self.now for gate in gates if self.now < gate.closed_until < FOREVER}

    def changes(self) -> tuple[list[GateRow], list[str]]:
        """Rows to write, and keys of those to delete."""
        before: Mapping[str, GateRow] = self._before
        for gate in [gate for gate in self._rows.values() if gate.tokens == OWN_RULE and gate != before.get(gate.key)]:
            if is_idle(gate, self.now) and not self.holds(gate.key):
                self.delete(gate.key)
        written = [
            gate._replace(rev=before[key].rev + 1 if key in before else 1)
            for key, gate in self._rows.items()
            if gate != before.get(key)
        ]
        return written, sorted(self._gone)

    def _weighed(self, row: TaskRow) -> TaskRow:
        if amounts := dict(gate_of(name) for name in row.gates if "*" in name):
            self._amounts[row.key] = amounts
        return row

    def _amount(self, task: Key, gate: str) -> int:
        return self._amounts[task].get(gate, 1) if task in self._amounts else 1


def _passes(row: TaskRow, key: str) -> bool:
    """Whether the run is not counted at the gate; a task's first one is no last run, so its spec need not be read."""
    return row.fence > 1 and counts_starts(key) and is_last_run(row)


def keys_of(names: Iterable[str]) -> list[str]:
    """The keys of gates as a task names them."""
    return [gate_of(name)[0] if "*" in name else name for name in names]


def amount_at(row: TaskRow, gate: str) -> int:
    """How often the task counts at the gate."""
    return next((amount for key, amount in map(gate_of, row.gates) if key == gate), 1)


def place_of(row: TaskRow) -> Place:
    """Where the task stands."""
    return row.lane, row.rank, row.key
