"""The end of a task that was left to its children, and to which no run comes back."""

from __future__ import annotations

from a2a_server.codec import decode_spec
from a2a_server.errors import Conflict, LeaseLost
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.joining import grew
from a2a_server.lifecycle.runs import Report, Reported
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase
from a2a_server.model.rows import TaskRow
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class GatheredReport(Report):
    """The end of a task that was left to its children: nobody holds it, and what it comes to was read beforehand."""

    def decide(self, turn: Turn) -> Reported:
        """Raises LeaseLost: it does not wait so any more; Conflict: it has more events, or other children, by now."""
        row = turn.rows.get(self.key)
        if row is None or self.end is None or row.fence != self.fence or not waits_left(row):
            raise LeaseLost
        waiting = self.end.waiting
        if row.last_n != self.last_n or (waiting is not None and grew(turn, row, waiting.need)):
            raise Conflict(row.id)
        return self.written(turn, turn.put(changed(row, unmet=0)))


def waits_left(row: TaskRow) -> bool:
    """Whether the task waits for its children, and no run comes back to it."""
    return row.phase is Phase.WAITING and decode_spec(row.spec).left
