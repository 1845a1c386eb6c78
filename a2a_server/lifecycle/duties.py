"""Duties that one process at a time does for all: whoever holds a duty's record does it.

The record's alarm says when the duty is next to be done. Taking it moves the alarm on by as long as it is held; so
nobody else is told of it meanwhile, and should its holder die, it is due again then.
"""

from __future__ import annotations

from typing import Final

from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

DUTY: Final = "duty"
"""The kind of their records."""


def duty_key(name: str) -> RecordKey:
    """The primary key of a duty's record."""
    return RecordKey(DUTY, "", "", name)


@value_class(frozen=True, slots=True)
class Arrange:
    """Have a duty done from now on, the first time in `wait` microseconds; one that is arranged stays as it is."""

    key: RecordKey
    wait: int
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> RecordRow:
        """The record."""
        row = turn.links.record(self.key)
        return row if row is not None else turn.links.keep(RecordRow(*self.key, 0, turn.now + self.wait, b""))


@value_class(frozen=True, slots=True)
class Hold:
    """Take a duty that is due, or go on holding it. seen: its record as it was read, or as it was taken.

    wait: when somebody may take it next, microseconds from now. due: it has to be due; False: only be as it was seen.
    """

    seen: RecordRow
    wait: int
    due: bool = True
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.seen.key)

    def decide(self, turn: Turn) -> RecordRow | None:
        """The record as it is now; None: somebody else has it."""
        row = turn.links.record(self.seen.key)
        if row is None or row != self.seen or (self.due and row.due_at > turn.now):
            return None
        return turn.links.keep(row._replace(due_at=turn.now + self.wait))
