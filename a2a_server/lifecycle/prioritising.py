"""Moving tasks between lanes: because somebody says so, or because they have waited for too long.

A task that changes its lane gets a new rank there: the end of its owner's share, as if it had been sent now.
"""

from __future__ import annotations

from collections.abc import Mapping

from a2a_server.errors import TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.turn import Turn, ended
from a2a_server.model.objects import Lane, Phase
from a2a_server.model.rows import FairKey, JournalKind, Key, TaskRow
from a2a_server.model.turns import ClaimNeed, Needs
from a2a_server.policy import POISON_CRASHES
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Prioritise:
    """Move a task to another lane, wherever it stands; a run of it goes on. row: as it was found, of any age."""

    row: TaskRow
    lane: Lane
    urgent: bool = False
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:
        """The task, and the end of its lane to be."""
        _name(needs, shard, self.row, self.lane)

    def check(self, turn: Turn) -> TaskRow:
        """The task, which can be moved. Changes nothing. Raises TaskNotFound, UnsupportedOperation."""
        row = turn.rows.get(self.row.key)
        if row is None:
            raise TaskNotFound
        if ended(row):
            raise UnsupportedOperation(
                f"The task has ended ({row.state.name.lower()}); its priority decides nothing any more."
            )
        return row

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now. Raises as `check`."""
        row = self.check(turn)
        return row if row.lane is self.lane else _moved(turn, row, self.lane, "by request")


@value_class(frozen=True, slots=True)
class Waiting:
    """Ask which tasks stand first in the lanes of these queues that age, at most `limit` of each lane."""

    queues: tuple[str, ...]
    limit: int
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The heads of the lanes."""
        needs.claims += self._claims

    @property
    def _claims(self) -> list[ClaimNeed]:
        lanes = [lane for lane in Lane if lane > Lane.HIGH]
        return [ClaimNeed(self.queues, self.limit, max_crashes=POISON_CRASHES, lanes=(lane,)) for lane in lanes]

    def decide(self, turn: Turn) -> tuple[TaskRow, ...]:
        """The tasks as they are now."""
        return tuple(turn.rows[key] for need in self._claims for key in turn.candidates(need))


@value_class(frozen=True, slots=True)
class Age:
    """Move tasks up by one lane that are still ready in the lane where they were seen; none into `critical`."""

    seen: Mapping[Key, TaskRow]
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:
        """The tasks, and the ends of their lanes to be."""
        for row in self.seen.values():
            _name(needs, shard, row, _above(row.lane))

    def decide(self, turn: Turn) -> int:
        """How many were moved."""
        count = 0
        for key, seen in self.seen.items():
            row = turn.rows.get(key)
            if row is None or row.phase is not Phase.READY or row.lane is not seen.lane or row.lane is _above(row.lane):
                continue
            _moved(turn, row, _above(row.lane), "having waited for long")
            count += 1
        return count


def _above(lane: Lane) -> Lane:
    return Lane(lane - 1) if lane > Lane.HIGH else lane


def _name(needs: Needs, shard: str, row: TaskRow, lane: Lane) -> None:
    needs.tasks.add(row.key)
    needs.queues.add(row.queue)
    needs.fair.add(FairKey(shard, row.queue, lane, row.tenant, row.owner))


def _moved(turn: Turn, row: TaskRow, lane: Lane, why: str) -> TaskRow:
    before, row = row.lane, changed(row, lane=lane)
    row = turn.put(changed(row, rank=turn.place(row)))
    text = f"Moved from {before.name.lower()} to {lane.name.lower()}, {why}."
    return turn.journal(row, JournalKind.LOG, level="info", text=text)
