"""Tasks that no client's send stands behind: of a schedule's tick, or anew from a task that has ended.

Such a task is made at most once under its name. Names lie beside those of clients' sends, where no client's id can
come: the key alone decides, without a hash and without a window. Source: core.md section 3.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.dead_letters import clear
from a2a_server.lifecycle.dependencies import adopt
from a2a_server.lifecycle.keeping import use
from a2a_server.lifecycle.labels import FOR_EVER, own_key
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.lifecycle.turn import PLAIN_STATUS, Turn
from a2a_server.model.objects import File, Scope, State
from a2a_server.model.rows import NO_KEY, EventKind, JournalKind, Key, MessageRow, SentKey, SentRow, StateRow, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Said:
    """A message that a task is given beside its first one. role, id, body: as in its row; files: those it refers to."""

    role: int
    id: str
    body: bytes
    files: tuple[File, ...] = ()


@value_class(frozen=True, slots=True)
class Make:
    """Make a task.

    submit: as a client's send would make it, but never a direct answer; it reserves no slot. name: what names it among
    the tasks that are made for its owner, '' = nothing does, and another one is made each time. keep: how long the name
    is kept, microseconds, 0 = as long as its task. said: more of its history. states: what it remembers from the
    beginning, in any scope. again: the task that it is made from anew, NO_KEY = none; that one is no dead letter any
    more. parts: tasks that count as parts of it, though others are their parents. notes: for its journal.
    """

    submit: Submit
    name: str = ""
    keep: int = 0
    said: tuple[Said, ...] = ()
    states: tuple[StateRow, ...] = ()
    again: Key = NO_KEY
    parts: tuple[Key, ...] = ()
    notes: tuple[str, ...] = ()
    urgent: bool = False

    @property
    def weight(self) -> int:
        """The message and all that the task is given."""
        more = sum(len(said.body) for said in self.said) + sum(len(state.body) for state in self.states)
        return self.submit.weight + more

    @property
    def sent_key(self) -> SentKey:
        """The key of its name."""
        return sent_key(self.submit.scope, self.submit.agent, self.name)

    def needs(self, needs: Needs, shard: str) -> None:
        """What the submission needs, and who has the name."""
        if self.name:
            needs.sent.add(self.sent_key)
        if self.again:
            needs.tasks.add(self.again)
        needs.tasks.update(self.parts)
        self._submit.needs(needs, shard)

    def check(self, turn: Turn, local: AbstractSet[str] = frozenset()) -> None:
        """Refuse what would make no new task. local: ids of tasks that the same operation is about to make.

        Changes nothing. Raises what the submission raises.
        """
        if self.known(turn) is None:
            self._submit.check(turn, local)

    def decide(self, turn: Turn) -> Submitted:
        """The new task, or the one that has the name. Raises what the submission raises, before it changes anything."""
        if known := self.known(turn):
            return known
        made = self._submit.decide(turn)
        row = adopt(turn, self._told(turn, made.row), self.parts)
        for note in self.notes:
            row = turn.journal(row, JournalKind.LOG, level="info", text=note)
        if before := turn.rows.get(self.again):
            clear(turn, before)
        for state in self.states:
            turn.remember(state._replace(scope=row.key, fence=0))
        if self.name:
            until = turn.now + self.keep if self.keep else FOR_EVER
            turn.remember_sent(SentRow(*self.sent_key, b"", row.key, made.at_n, until))
        return replace(made, row=row)

    def known(self, turn: Turn) -> Submitted | None:
        """The task that has the name."""
        return _made(turn, self.sent_key) if self.name else None

    @property
    def _submit(self) -> Submit:
        return replace(self.submit, window=0, visible=True)

    def _told(self, turn: Turn, row: TaskRow) -> TaskRow:
        """Each message comes with an event, as every message of a history does."""
        for said in self.said:
            row = turn.append(row, EventKind.STATUS, PLAIN_STATUS[State.SUBMITTED], None)
            turn.message(MessageRow(row.key, row.last_n, row.last_n, said.role, said.id, said.body))
            use(turn, row, said.files)
        if self.said:
            spec = encode_spec(replace(decode_spec(row.spec), heard=row.last_n))
            row = turn.put(changed(row, spec=spec))
        return row


@value_class(frozen=True, slots=True)
class Recall:
    """Look for the task that was made under a name, before anything is prepared for making it."""

    scope: Scope
    agent: str
    name: str
    urgent: bool = False
    weight: int = 128

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """Who has the name."""
        needs.sent.add(sent_key(self.scope, self.agent, self.name))

    def decide(self, turn: Turn) -> Submitted | None:
        """The task; None = nobody has the name."""
        return _made(turn, sent_key(self.scope, self.agent, self.name))


def sent_key(scope: Scope, agent: str, name: str) -> SentKey:
    """The key of a name that tasks are made under."""
    return SentKey(scope.tenant, scope.owner, agent, "", own_key(name))


def _made(turn: Turn, key: SentKey) -> Submitted | None:
    known = turn.sent_task(key)
    return None if known is None else Submitted(known[1], known[0].at_n, repeat=True)
