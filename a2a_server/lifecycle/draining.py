"""An operator's word to one worker: drain. A row that only the worker's id names, which the worker looks for."""

from __future__ import annotations

from typing import Final

from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import Key, StateRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

SPACE: Final = "worker"
DRAIN: Final = "drain"


@value_class(frozen=True, slots=True)
class Drain:
    """Tell the worker to drain; asked=False takes the word back, as the worker does when it has heard it."""

    worker: Key
    asked: bool = True
    urgent: bool = True
    weight: int = 64

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The worker."""
        needs.workers.add(self.worker)

    def decide(self, turn: Turn) -> bool:
        """Whether there is such a worker, and it is not dead."""
        row = turn.worker(self.worker)
        there = row is not None and not row.dead
        if there or not self.asked:
            turn.remember(StateRow(self.worker, SPACE, DRAIN, 0, 0, b"1" if self.asked else b""))
        return there
