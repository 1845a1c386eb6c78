"""Operations that are decided and not done: what they would come to, with all their checks, and nothing is stored."""

from __future__ import annotations

from typing import TypeVar

from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore

ResultT = TypeVar("ResultT")


class _Over(Exception):
    """Ends the turn of a rehearsal with its outcome; nothing is written."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome
        super().__init__()


async def rehearsed(store: TaskStore, operation: Operation[ResultT]) -> ResultT:
    """The operation's outcome, decided in a turn of its own that is rolled back. Raises what it raises.

    Rows in the outcome have the revisions that they have now.
    """
    needs, outcomes = Needs(), list[ResultT]()
    operation.needs(needs, "")

    def decide(loaded: Loaded) -> Changes:
        outcomes.append(operation.decide(Turn(loaded, "", needs.claims)))
        raise _Over(outcomes[-1])

    try:
        await store.turn(needs, decide)
    except _Over:
        return outcomes[-1]
    raise AssertionError("a turn that raises does not end")
