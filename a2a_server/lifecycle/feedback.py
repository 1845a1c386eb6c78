"""What owners say of a task that has ended: a rating and a comment, one of each author."""

from __future__ import annotations

from typing import Final

from a2a_server.codec import encode
from a2a_server.errors import TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.turn import Turn, ended
from a2a_server.model.rows import JournalKind, StateRow, TaskName, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

FEEDBACK: Final = "feedback"
"""The space of a task's state that holds it, under its author's name."""
BEST: Final = 5
"""The highest rating; the lowest is 1."""


@value_class(frozen=True, slots=True)
class GiveFeedback:
    """Keep what `author` says of the task that its owner calls `name`, instead of what they said before."""

    name: TaskName
    author: str
    rating: int
    comment: str
    urgent: bool = False

    @property
    def weight(self) -> int:
        """The comment, at most four bytes a character."""
        return 4 * len(self.comment) + 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task."""
        needs.names.add(self.name)

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now. Raises TaskNotFound, UnsupportedOperation."""
        row = turn.named(self.name)
        if row is None or not row.visible:
            raise TaskNotFound
        if not ended(row):
            raise UnsupportedOperation(
                f"The task has not ended ({row.state.name.lower()}); give feedback when it has, or cancel it."
            )
        body = encode({"rating": self.rating, "comment": self.comment, "at": turn.now})
        turn.remember(StateRow(row.key, FEEDBACK, self.author, 0, row.fence, body))
        text = f"{self.author} rated it {self.rating} of {BEST}."
        return turn.journal(row, JournalKind.LOG, level="info", text=text)
