"""What agents that pull their work over HTTP claim and report, beside what workers of ours do.

Their requests may come to any process, and come again when an answer was lost. So a claim may be remembered under the
name that the agent gave it, and a report says after which event of its task it was made: if another process wrote one
in between, it is made anew from what is stored.
"""

from __future__ import annotations

from typing import Final

from a2a_server.codec import decode, encode
from a2a_server.errors import Conflict
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.draining import DRAIN, SPACE
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.joining import decided, grew
from a2a_server.lifecycle.keeping import use
from a2a_server.lifecycle.runs import Claim, Claimed, Report, Reported
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import File, Phase
from a2a_server.model.rows import Key, StateRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

CLAIM: Final = "claim"
"""The name, beside `DRAIN`, under which a worker's last named claim is remembered."""


@value_class(frozen=True, slots=True)
class PulledClaim:
    """A claim that can be asked for again. name: the agent's own for it, '' = it is not remembered."""

    claim: Claim
    name: str = ""
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:
        """What the claim needs."""
        self.claim.needs(needs, shard)

    def decide(self, turn: Turn) -> Claimed:
        """Never raises, as the claim. No task that was claimed can be a direct answer any more."""
        claimed = self.claim.decide(turn)
        rows = tuple(row if row.visible else turn.put(changed(row, visible=True)) for row in claimed.rows)
        if self.name and claimed.rows:
            body = encode([self.name, [[row.key.hex(), row.fence] for row in claimed.rows]])
            turn.remember(StateRow(self.claim.worker, SPACE, CLAIM, 0, 0, body))
        return Claimed(rows, claimed.more)


def remembered(row: StateRow, name: str) -> dict[Key, int]:
    """The tasks of the claim of this name, with their fences; empty where another one is remembered."""
    known, tasks = decode(row.body)
    return {Key(bytes.fromhex(key)): fence for key, fence in tasks} if known == name else {}


@value_class(frozen=True, slots=True)
class PulledReport(Report):
    """A report from what was stored of its task up to event `last_n`. files: objects that it refers to."""

    files: tuple[File, ...] = ()

    def decide(self, turn: Turn) -> Reported:
        """Raises LeaseLost as any report; Conflict: the task has more events by now, or its children stand otherwise.

        A task that is left to its children has to be able to wait for one: nothing would wake it otherwise.
        """
        row = turn.rows.get(self.key)
        if row is not None and row.phase is Phase.LEASED and row.fence == self.fence:
            waiting = self.end.waiting if self.end is not None else None
            moved_on = waiting is not None and grew(turn, row, waiting.need)
            if row.last_n != self.last_n or moved_on or (self._waits and decided(turn, row)):
                raise Conflict(row.id)
        reported = Report.decide(self, turn)
        use(turn, reported.row, self.files)
        return reported

    @property
    def _waits(self) -> bool:
        return self.end is not None and self.end.kind is EndKind.PAUSED


@value_class(frozen=True, slots=True)
class Leave:
    """Let a worker go that runs nothing any more: it is dead from now on, and nothing is remembered of it."""

    worker: Key
    urgent: bool = False
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The worker."""
        needs.workers.add(self.worker)

    def decide(self, turn: Turn) -> bool:
        """Whether it was there, and alive."""
        row = turn.worker(self.worker)
        if row is None or row.dead:
            return False
        turn.bury(row._replace(dead=True))
        for name in (CLAIM, DRAIN):
            turn.remember(StateRow(self.worker, SPACE, name, 0, 0, b""))
        return True
