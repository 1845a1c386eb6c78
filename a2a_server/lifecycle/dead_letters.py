"""Dead letters: tasks that failed though nobody said that they must, kept findable for whoever wants to try again.

A task gets a label when it is decided that it fails so; while it is undone first (`TaskSpec.failing`) it has the label
already. A dead letter is a failed task with the label. Trying it again takes the label off, in the turn that makes the
new task. No client's tag can look like one: those are stored behind a prefix of their own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import TagRow, TaskRow

DEAD: Final = "dead:"
"""What every such label begins with."""


class Dead(StrEnum):
    """Why a task is a dead letter."""

    ATTEMPTS = "attempts"
    POISON = "poison"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    UNANSWERED = "unanswered"
    DEPENDENCY = "dependency"


def mark(turn: Turn, row: TaskRow, reason: Dead) -> None:
    """Make the task a dead letter, once it has failed."""
    turn.links.tag(label(row, reason))


def clear(turn: Turn, row: TaskRow) -> None:
    """Make it none; it may be none."""
    for reason in Dead:
        turn.links.untag(label(row, reason))


def label(row: TaskRow, reason: Dead) -> TagRow:
    """The label of a task that failed for the reason."""
    return TagRow(row.tenant, row.owner, DEAD + reason.value, row.key)
