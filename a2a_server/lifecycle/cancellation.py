"""Canceling: at once where nobody runs the task, else asked of its worker. Source: core.md section 5."""

from __future__ import annotations

from a2a_server.errors import TaskNotCancelable, TaskNotFound
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.endings import canceled
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase
from a2a_server.model.rows import JournalKind, Key, TaskName, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.policy import SWEEP_SLACK
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Cancel:
    """Cancel the task that its owner calls `name`, which has the key `key`.

    grace: how long its run may take to stop, microseconds.
    """

    name: TaskName
    grace: int
    key: Key
    urgent: bool = False
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task, the takes that earlier runs left open, and whom its gates take next."""
        needs.names.add(self.name)
        needs.takes.add(self.key)
        needs.held += 2  # the task itself may be the first that its gate holds

    def check(self, turn: Turn) -> TaskRow:
        """The task, which can be canceled. Changes nothing. Raises TaskNotFound, TaskNotCancelable."""
        row = turn.named(self.name)
        if row is None:
            raise TaskNotFound
        if row.state in TERMINAL:
            raise TaskNotCancelable(f"Task cannot be canceled: it has ended ({row.state.name.lower()}).")
        return row

    def decide(self, turn: Turn) -> TaskRow:
        """The task: CANCELED, or still at work with `cancel_at` set. Raises as `check`."""
        return cancel(turn, self.check(turn), self.grace)


def cancel(turn: Turn, row: TaskRow, grace: int) -> TaskRow:
    """Cancel a task that has not ended: at once, or by asking the worker that runs it."""
    if row.phase is not Phase.LEASED:
        return canceled(turn, row)
    if row.cancel_at:
        return row
    due_at = min(row.due_at, turn.now + grace + SWEEP_SLACK)
    row = turn.put(changed(row, cancel_at=turn.now, due_at=due_at))
    return turn.journal(row, JournalKind.CANCEL_ASKED)
