"""An operation as a turn of its own, without a writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore

ResultT = TypeVar("ResultT")

_SHARD = "bench"


async def turned(store: TaskStore, operation: Operation[ResultT]) -> ResultT:
    """What came of it. Raises what it raises, and Conflict."""
    found: list[ResultT] = await together(store, [operation])
    return found[0]


async def together(store: TaskStore, operations: Sequence[Operation[Any]]) -> list[Any]:
    """What came of each, in one turn."""
    needs = Needs()
    for operation in operations:
        operation.needs(needs, _SHARD)
    outcomes: list[Any] = []

    def decide(loaded: Loaded) -> Changes:
        turn = Turn(loaded, _SHARD, needs.claims)
        outcomes[:] = [operation.decide(turn) for operation in operations]
        return turn.changes()

    await store.turn(needs, decide)
    return outcomes
