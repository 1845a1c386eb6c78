"""What people and settings set at gates: limits, rates, breakers, pauses.

Each operation counts what uses the gate in the turn that changes it: until now nobody may have counted.

What an operator sets has a record beside the gate (`operator_key`), which holds the limit. While it is there nothing
that a process says at its start changes the gate: the operator's word holds until it is taken back (`Lift`).
"""

from __future__ import annotations

from typing import Final

from a2a_server.codec import decode, encode
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.objects import Phase
from a2a_server.model.rows import GateRow, RecordKey, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.policy import Limit, Rate, Trip, counted, limited, paused, resumed
from a2a_server.values import value_class

LIMIT_RECORD: Final = "limit"
"""The kind of records that say what operators set; their ids are the gates' keys."""

WAKE_LIMIT: Final = 1000
"""Tasks that a lifted limit wakes at once; the sweeper wakes the rest."""


@value_class(frozen=True, slots=True)
class SetLimit:
    """Bound what goes through a gate: a number of tasks at once, a `Rate` (rate:…), a `Trip` (breaker:…); None = lift.

    What it counted so far counts on, so a process that starts may set its limits again; that changes nothing where an
    operator has set one. operator: it is one who sets this.
    """

    key: str
    limit: Limit
    operator: bool = False
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gate, what it holds and what uses it, and what an operator said of it."""
        _name(needs, self.key)
        needs.records.add(operator_key(self.key))

    def decide(self, turn: Turn) -> GateRow:
        """The gate as it is now. Raises ValueError: the limit is of another kind than the gate."""
        said = turn.links.record(operator_key(self.key))
        limit = self.limit if said is None or self.operator else _unpacked(said)
        gate = limited(_gate(turn, self.key), limit)
        if self.operator and limit is not None and (said is None or _unpacked(said) != limit):
            turn.links.keep(RecordRow(*operator_key(self.key), 0, 0, _packed(limit)))
        return _kept(turn, gate)


@value_class(frozen=True, slots=True)
class Lift:
    """Take back what an operator set at a gate, and open it. limit: what code and settings say of it, or None."""

    key: str
    limit: Limit = None
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gate, what it holds and what uses it, and what an operator said of it."""
        _name(needs, self.key)
        needs.records.add(operator_key(self.key))

    def decide(self, turn: Turn) -> GateRow:
        """The gate as it is now."""
        turn.links.drop(operator_key(self.key))
        return _kept(turn, resumed(limited(_gate(turn, self.key), self.limit)))


@value_class(frozen=True, slots=True)
class Pause:
    """Let nothing start that names the gate, until a moment or (0) until `Resume`. What runs goes on, and is undone.

    reason: for people; they read it wherever a task is explained that the gate holds.
    """

    key: str
    until: int = 0
    reason: str = "Paused."
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gate, what it holds and what uses it."""
        _name(needs, self.key)

    def decide(self, turn: Turn) -> GateRow:
        """The gate as it is now. Last runs that waited for room there go on: nothing new takes it."""
        gate = _kept(turn, paused(_gate(turn, self.key), self.until, self.reason))
        for row in [turn.rows[key] for key in turn.gates.held(self.key)]:
            if is_last_run(row):
                turn.put(moved(row, row.state, Phase.READY, held_by=""))
        return gate


@value_class(frozen=True, slots=True)
class Resume:
    """Open a gate that was paused, or a breaker that opened; what else it bounds stays."""

    key: str
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gate, what it holds and what uses it."""
        _name(needs, self.key)

    def decide(self, turn: Turn) -> GateRow | None:
        """The gate as it is now; None = it has no row, so it was open."""
        gate = turn.gates.get(self.key)
        return None if gate is None else _kept(turn, resumed(gate))


def operator_key(gate: str) -> RecordKey:
    """The record of what an operator set at a gate."""
    return RecordKey(LIMIT_RECORD, "", "", gate)


def _packed(limit: int | Rate | Trip) -> bytes:
    return encode([limit] if isinstance(limit, int) else list(limit))


def _unpacked(row: RecordRow) -> Limit:
    said = decode(row.body)
    match row.id.partition(":")[0]:
        case "rate":
            return Rate(*said)
        case "breaker":
            return Trip(*said)
        case _:
            return int(said[0])


def _name(needs: Needs, key: str) -> None:
    needs.gates.add(key)
    needs.recount.add(key)
    needs.held = max(needs.held, WAKE_LIMIT)


def _gate(turn: Turn, key: str) -> GateRow:
    return turn.gates.get(key) or GateRow(key, None, turn.gates.leased(key), 0, 0, 0, "", 0)


def _kept(turn: Turn, gate: GateRow) -> GateRow:
    gate = counted(gate, turn.gates.leased(gate.key))
    turn.gates.set(gate)
    return gate
