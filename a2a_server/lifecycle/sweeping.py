"""What happens to tasks because time passed or a worker died, and to gates.

Each operation decides again what its caller saw outside the turn, so any number of sweepers may run at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from a2a_server.codec import decode_spec
from a2a_server.lifecycle.dead_letters import Dead
from a2a_server.lifecycle.endings import TOO_LATE, canceled, crashed, failed, given_up, overran
from a2a_server.lifecycle.gates import amount_at
from a2a_server.lifecycle.judging import judge
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.objects import Phase
from a2a_server.model.rows import FairKey, JournalKind, Key, TaskRow, WorkerRow
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND, is_idle, is_spent, room
from a2a_server.values import value_class

FORGOTTEN_AFTER = 86_400 * SECOND
"""How long the row of a worker that is gone is kept, for operators to see."""


@value_class(frozen=True, slots=True)
class Alarms:
    """Act on the alarms (`due_at`) of these tasks: start, end or give up, by phase."""

    keys: tuple[Key, ...]
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The tasks, their open takes, and whom their gates take next."""
        needs.tasks.update(self.keys)
        needs.takes.update(self.keys)
        needs.held += len(self.keys)

    def decide(self, turn: Turn) -> int:
        """How many alarms rang."""
        due = [row for key in self.keys if (row := turn.rows.get(key)) and 0 < row.due_at <= turn.now]
        for row in due:
            _ring(turn, row)
        return len(due)


def _ring(turn: Turn, row: TaskRow) -> None:
    late = 0 < row.deadline_at <= turn.now
    if is_last_run(row):
        given_up(turn, row)
    elif row.cancel_at:
        canceled(turn, row)
    elif row.phase is Phase.LEASED:
        end = overran(cut_short=decode_spec(row.spec).cut_short)
        judge(turn, row, end)
        failed(turn, row, end.text, end.dead)
    elif late:
        failed(turn, row, TOO_LATE, Dead.DEADLINE)
    elif row.phase is Phase.PAUSED:
        failed(turn, row, "Nobody answered in time.", Dead.UNANSWERED)
    elif row.phase is Phase.SCHEDULED:
        row = turn.put(moved(row, row.state, Phase.READY, due_at=row.deadline_at))
        turn.journal(row, JournalKind.PROMOTED)


@value_class(frozen=True, slots=True)
class Bury:
    """Declare workers dead that have not been seen for their ttl; `certain` ones without asking the clock."""

    workers: tuple[Key, ...]
    certain: bool = False
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The workers."""
        needs.workers.update(self.workers)

    def decide(self, turn: Turn) -> int:
        """How many were declared dead. Dead is for ever."""
        rows = [row for key in self.workers if (row := turn.worker(key)) and not row.dead]
        gone = [row for row in rows if self.certain or row.seen_at + row.ttl < turn.now]
        for row in gone:
            turn.bury(row._replace(dead=True))
        return len(gone)


@value_class(frozen=True, slots=True)
class Forget:
    """Delete the rows of workers that have not been seen for a day beyond their ttl; ids are never used again."""

    workers: tuple[Key, ...]
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The workers."""
        needs.workers.update(self.workers)

    def decide(self, turn: Turn) -> int:
        """How many were deleted."""
        rows = [row for key in self.workers if (row := turn.worker(key))]
        gone = [row for row in rows if row.seen_at + row.ttl + FORGOTTEN_AFTER < turn.now]
        for row in gone:
            turn.forget(row.id)
        return len(gone)


@value_class(frozen=True, slots=True)
class ForgetTurns:
    """Delete virtual times of owners as far as they say nothing any more; who sends meanwhile keeps theirs."""

    keys: tuple[FairKey, ...]
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """They, and the heads of their lanes."""
        needs.fair.update(self.keys)
        needs.queues.update(key.queue for key in self.keys)

    def decide(self, turn: Turn) -> int:
        """How many were deleted."""
        spent = [key for key in self.keys if (vt := turn.fair.get(key)) and is_spent(turn.head_of(key), vt, turn.now)]
        for key in spent:
            turn.forget_place(key)
        return len(spent)


@value_class(frozen=True, slots=True)
class Rescue:
    """Take tasks from runs whose worker is dead or gone. orphans: key -> the fence of the run that was seen orphaned.

    workers: every worker that was registered after the fences were read.
    """

    orphans: Mapping[Key, int]
    workers: tuple[Key, ...]
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The tasks, their workers, their open takes, and whom their gates take next."""
        needs.tasks.update(self.orphans)
        needs.takes.update(self.orphans)
        needs.workers.update(self.workers)
        needs.held += len(self.orphans)

    def decide(self, turn: Turn) -> int:
        """How many were rescued; each runs again at once or fails as poison."""
        count = 0
        for key, fence in self.orphans.items():
            row = turn.rows.get(key)
            if row is None or row.phase is not Phase.LEASED or row.fence != fence or not _gone(turn, row.worker):
                continue
            crashed(turn, row)
            count += 1
        return count


def _gone(turn: Turn, worker: Key) -> bool:
    row: WorkerRow | None = turn.worker(worker)
    return row is None or row.dead or row.seen_at + row.ttl < turn.now


@value_class(frozen=True, slots=True)
class Wake:
    """Let held tasks go on whose gate has room; a wake-up can be lost, so every sweep asks."""

    keys: tuple[Key, ...]
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The tasks."""
        needs.tasks.update(self.keys)

    def decide(self, turn: Turn) -> int:
        """How many were woken."""
        taken: Counter[str] = Counter()
        woken = 0
        for key in self.keys:
            row = turn.rows.get(key)
            if row is None or row.phase is not Phase.HELD:
                continue
            gate, name = turn.gates.get(row.held_by), row.held_by
            taken[name] += amount_at(row, name)  # also where it does not fit: nobody overtakes it
            if gate is None or room(gate, turn.now, taken[name]) >= taken[name]:
                woken += 1
                turn.put(moved(row, row.state, Phase.READY, held_by=""))
        return woken


@value_class(frozen=True, slots=True)
class Recount:
    """Count anew what uses these gates: a claim that did not see a new gate may have come upon its first count."""

    gates: tuple[str, ...]
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gates, and what uses them."""
        needs.gates.update(self.gates)
        needs.recount.update(self.gates)

    def decide(self, turn: Turn) -> int:
        """How many had a wrong count."""
        return sum(turn.gates.recount(key) for key in self.gates)


@value_class(frozen=True, slots=True)
class Tidy:
    """Delete the rows of gates that say nothing, and of rules that nothing uses any more."""

    gates: tuple[str, ...]
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The gates, and what uses them."""
        needs.gates.update(self.gates)
        needs.recount.update(self.gates)
        needs.held = max(needs.held, 1)

    def decide(self, turn: Turn) -> int:
        """How many were deleted. What they held goes on at the next sweep."""
        gone = 0
        for key in self.gates:
            gate = turn.gates.get(key)
            if gate is None or turn.gates.leased(key) or not is_idle(gate, turn.now):
                continue
            turn.gates.delete(key)
            gone += 1
        return gone
