"""What few sends have to pass, or leave behind, when their task is made: its class, and others of its conversation.

A conversation whose skill takes one task at a time (`reject`, `replace`) has a record that names its newest task. The
turn that makes a task locks it, so two processes never both find the conversation free. Which task that is, whoever
sends has to find out before: if another one has come in between, the turn refuses with `Conflict`, and it is sent anew.
"""

from __future__ import annotations

from typing import Final

from a2a_server.errors import Conflict, UnsupportedOperation
from a2a_server.lifecycle.cancellation import cancel
from a2a_server.lifecycle.requirements import class_key, keep_class
from a2a_server.lifecycle.turn import Turn, ended
from a2a_server.model.objects import Requires, Scope
from a2a_server.model.rows import NO_KEY, Key, RecordKey, RecordRow
from a2a_server.model.runs import Together
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

LOCAL: Final = Scope()

CONTEXT_RECORD: Final = "context"
"""The kind of records that name the newest task of a conversation; their ids are those of contexts."""


@value_class(frozen=True, slots=True)
class Admission:
    """What a send has to pass.

    queue, requires: of the new task, where it needs something of its worker (None = it does not); scope: its owner.
    together: how its skill takes several tasks of one conversation; record: the conversation's, rival: the task that it
    named when it was read (NO_KEY = none), for `reject` and `replace`. grace: how long a replaced run may take to stop,
    microseconds.
    """

    queue: str = ""
    requires: Requires | None = None
    together: Together = Together.PARALLEL
    record: RecordKey | None = None
    rival: Key = NO_KEY
    grace: int = 0
    scope: Scope = LOCAL

    def needs(self, needs: Needs) -> None:
        """The records, and the task that may be in the way."""
        if self.requires is not None:
            needs.records.add(class_key(self.queue, self.scope))
        if self.record is not None:
            needs.records.add(self.record)
        if self.rival:
            needs.tasks.add(self.rival)
            needs.takes.add(self.rival)
            needs.held += 1

    def check(self, turn: Turn) -> None:
        """Refuse what would make no new task. Raises UnsupportedOperation, and Conflict (see above)."""
        if self.record is None:
            return
        self.check_rival(turn)
        row = turn.rows.get(self._newest(turn, self.record))
        if row is not None and not ended(row) and self.together is Together.REJECT:
            raise busy(f"The task {row.id}")

    def check_rival(self, turn: Turn) -> None:
        """Raises Conflict when another task of the conversation has come since the record was read."""
        if self.record is None:
            return
        newest = self._newest(turn, self.record)
        made_here = newest in turn.rows and turn.before(newest) is None
        if newest and newest != self.rival and not made_here:
            raise Conflict(self.record.id)

    def admit(self, turn: Turn, key: Key) -> None:
        """Let the task `key` be made, which nothing speaks against."""
        if self.record is not None:
            row = turn.rows.get(self._newest(turn, self.record))
            if row is not None and not ended(row):
                cancel(turn, row, self.grace)
            turn.links.keep(RecordRow(*self.record, 0, 0, key))
        if self.requires is not None:
            keep_class(turn, self.queue, self.scope, self.requires)

    def _newest(self, turn: Turn, record: RecordKey) -> Key:
        known = turn.links.record(record)
        return Key(known.body) if known else NO_KEY


def busy(what: str) -> UnsupportedOperation:
    """How a send is refused whose conversation has a task. what: the one in its way."""
    return UnsupportedOperation(
        f"{what} of this context has not ended, and its skill takes one task of a context at a time; wait for its "
        "end, cancel it, or leave the context out."
    )


def context_record(tenant: str, owner: str, context: str) -> RecordKey:
    """The record of a conversation."""
    return RecordKey(CONTEXT_RECORD, tenant, owner, context)
