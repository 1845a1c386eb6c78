"""Records that owners keep, of whatever kind: deleted, and only as they were read."""

from __future__ import annotations

from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class DeleteRecord:
    """Delete a record. rev: only if it still has this one, 0 = whichever."""

    key: RecordKey
    rev: int = 0
    urgent: bool = False
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> bool:
        """Whether it was there. Raises InvalidParams: it has another rev."""
        row = turn.links.record(self.key)
        if row is None:
            return False
        check_rev(row, self.rev)
        turn.links.drop(self.key)
        return True


def check_rev(row: RecordRow, rev: int) -> None:
    """Raises InvalidParams: the record has another rev; 0 = any will do."""
    if rev and rev != row.rev:
        raise InvalidParams(f"It was changed meanwhile (its rev is {row.rev}); read it again.", path="rev")
