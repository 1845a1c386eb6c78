"""Making a thing that people name, only if there is none of its name."""

from __future__ import annotations

from a2a_server.errors import UnsupportedOperation
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class CreateRecord:
    """Keep a record. what: the kind of thing it is, for people. Idempotent: the same one again changes nothing."""

    key: RecordKey
    body: bytes
    what: str
    urgent: bool = False

    @property
    def weight(self) -> int:
        """Its body."""
        return len(self.body) + 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> RecordRow:
        """The record. Raises UnsupportedOperation: there is another one of its name."""
        row = turn.links.record(self.key)
        if row is not None and row.body != self.body:
            raise UnsupportedOperation(f"There is a {self.what} of this name; change that one, or choose another name.")
        return row or turn.links.keep(RecordRow(*self.key, 0, 0, self.body))
