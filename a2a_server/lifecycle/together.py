"""One thing done to many tasks in one turn: to all of them or to none."""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from a2a_server.errors import ClientError
from a2a_server.lifecycle.batching import take_context
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import RecordKey
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


class Checkable(Protocol):
    """An operation that knows whether it can be done before it is done; none makes another one of its turn fail."""

    @property
    def weight(self) -> int:
        """As of an operation."""
        ...

    def needs(self, needs: Needs, shard: str) -> None:
        """As of an operation."""
        ...

    def check(self, turn: Turn) -> object:
        """Change nothing. Raises whatever `decide` would raise."""
        ...

    def decide(self, turn: Turn) -> object:
        """As of an operation."""
        ...


@value_class(frozen=True, slots=True)
class AllOrNone:
    """Do every one of these, each to a task of its own, if all of them can be done. rehearsed: only look.

    local: ids of the tasks that are to be made here; who waits for one of them comes behind it.
    """

    operations: tuple[Checkable, ...]
    rehearsed: bool = False
    local: frozenset[str] = frozenset()
    urgent: bool = False
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", sum(operation.weight for operation in self.operations))

    def needs(self, needs: Needs, shard: str) -> None:
        """What each of them needs."""
        for operation in self.operations:
            operation.needs(needs, shard)
        needs.names = {name for name in needs.names if name.id not in self.local}

    def decide(self, turn: Turn) -> tuple[ClientError | None, ...]:
        """What speaks against each, in their order; all None = they are done, unless this was a rehearsal.

        Raises Conflict, before anything is changed: a conversation got another task.
        """
        taken: set[RecordKey] = set()
        refusals = tuple(_refusal(operation, turn, taken, self.local) for operation in self.operations)
        if self.rehearsed or any(refusals):
            return refusals
        for operation in self.operations:  # nothing is refused from here on
            operation.decide(turn)
        return refusals


def _refusal(operation: Checkable, turn: Turn, taken: set[RecordKey], local: frozenset[str]) -> ClientError | None:
    try:
        if not isinstance(operation, Make):
            operation.check(turn)
        else:
            operation.check(turn, local)
            take_context(operation.submit.admission, taken)
    except ClientError as error:
        return error
    return None
