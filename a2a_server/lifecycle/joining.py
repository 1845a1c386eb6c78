"""Parents that wait for their children: what they wait for, and when it is worth to look again.

Theory of operation
-------------------
A parent that joins, or whose handler has returned while its `completeWhen` is not met, leaves its run in phase WAITING:
it holds no slot and no gate. Its own run decides whether what it waits for has come; a turn only decides whether it may
have, and then has the parent run again. So a turn may wake a parent once too often, which costs a run that waits again,
but never once too few: the turn that lets it wait has locked the children, and every later end of one is an edge that
`dependencies.Settle` counts.

A task that an agent pulled has no run to come back to once the agent has completed it (`TaskSpec.left`). It stays
WAITING until its criterion is decided, and the edge that decided it stays unsettled until the task has been ended for
that (`pulling.GatheredReport`): so it is found again at every poll, whoever dies.

`unmet` of such a parent: how many children have to end before it looks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn, ended
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import NO_KEY, EdgeKind, JournalKind, Key, StateRow, TaskRow
from a2a_server.model.runs import JOINED
from a2a_server.values import value_class

RETURNED: Final = ".returned"
"""The name of what the handler returned; those of joins are printable and count on (`name:1`)."""


@value_class(frozen=True, slots=True)
class Waiting:
    """What a run that ends waits for.

    children: keys of tasks; need: how many of them must have ended. returned: the handler has returned, and it is
    `completeWhen` that decides, over all children; need: how many there were when the run looked. name, note: what is
    remembered in the task's space `JOINED`. left: no run comes back.
    """

    children: tuple[Key, ...]
    need: int
    name: str
    note: bytes
    returned: bool = False
    left: bool = False


@value_class(frozen=True, slots=True)
class Count:
    """How the children of a task stand."""

    open: int = 0
    completed: int = 0
    other: int = 0

    @property
    def all(self) -> int:
        """How many there are."""
        return self.open + self.completed + self.other

    def met(self, criterion: str) -> bool:
        """Whether `completeWhen` is met: all, any, or a number."""
        if criterion == "all":
            return self.completed == self.all
        return self.completed >= (1 if criterion == "any" else int(criterion))

    def lost(self, criterion: str) -> bool:
        """Whether `completeWhen` cannot be met any more."""
        if criterion == "all":
            return self.other > 0
        return self.completed + self.open < (1 if criterion == "any" else int(criterion))


def children_of(waits: Mapping[tuple[int, int], int]) -> Count:
    """How a task's children stand, by the counts of its edges."""
    joins = {done: count for (kind, done), count in waits.items() if kind == EdgeKind.JOIN}
    still = joins.pop(0, 0)
    completed = joins.pop(State.COMPLETED, 0) + joins.pop(-State.COMPLETED, 0)
    return Count(still, completed, sum(joins.values()))


def grew(turn: Turn, row: TaskRow, seen: int) -> bool:
    """Whether the task has other children than the `seen` ones that its run looked at."""
    return turn.links.tied(row.key) or children_of(turn.links.waits(row.key)).all != seen


def wait(turn: Turn, row: TaskRow, waiting: Waiting) -> TaskRow:
    """Take a leased task from its run until what it waits for may have come; READY where it may have already.

    It is a task from now on, whatever it ends with: a direct answer waits for nobody.
    """
    turn.remember(StateRow(row.key, JOINED, waiting.name, 0, row.fence, waiting.note))
    turn.links.settled(row.key, EdgeKind.JOIN)  # that its own parent was canceled is for `Settle` to act on
    if waiting.returned:
        spec = decode_spec(row.spec)
        row = changed(row, spec=encode_spec(replace(spec, returned=True, left=waiting.left)))
        count = children_of(turn.links.waits(row.key))
        again, unmet = turn.links.tied(row.key) or _decided(row, count), count.open
    else:
        unmet = waiting.need - sum(_is_over(turn, row, key) for key in waiting.children)
        again = unmet <= 0
    phase = Phase.READY if again else Phase.WAITING
    row = turn.put(
        moved(row, row.state, phase, visible=True, worker=NO_KEY, due_at=row.deadline_at, unmet=0 if again else unmet),
    )
    return turn.journal(row, JournalKind.LOG, level="debug", text=f"waits for {unmet} of its subtasks")


def look_again(turn: Turn, row: TaskRow, arrived: int) -> bool:
    """Have a waiting parent run again, if what it waits for may have come with these ends of children.

    Whether it is to be ended instead, because no run comes back to it.
    """
    spec = decode_spec(row.spec)
    if spec.returned:
        count = children_of(turn.links.waits(row.key))
        again, unmet = _decided(row, count), count.open
    else:
        unmet = row.unmet - arrived
        again = unmet <= 0
    if again and spec.left:
        return True
    if again:
        turn.put(moved(row, row.state, Phase.READY, due_at=row.deadline_at, unmet=0))
    elif unmet != row.unmet:
        turn.put(changed(row, unmet=unmet))
    return False


def decided(turn: Turn, row: TaskRow) -> bool:
    """Whether the task's `completeWhen` is met, or cannot be met any more."""
    return _decided(row, children_of(turn.links.waits(row.key)))


def _decided(row: TaskRow, count: Count) -> bool:
    wishes = decode_spec(row.spec).wishes
    criterion = wishes.complete_when if wishes is not None else ""
    return not criterion or count.met(criterion) or count.lost(criterion)


def _is_over(turn: Turn, row: TaskRow, child: Key) -> bool:
    found = turn.rows.get(child)
    return found is None or found.parent != row.key or ended(found)
