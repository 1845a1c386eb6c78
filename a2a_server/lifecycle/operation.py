"""What the writer takes: anything that names the rows it needs and then decides on them."""

from __future__ import annotations

from typing import Protocol, TypeVar

from a2a_server.lifecycle.turn import Turn
from a2a_server.model.turns import Needs

ResultT = TypeVar("ResultT", covariant=True)  # noqa: PLC0105 - one letter of variance helps nobody


class Operation(Protocol[ResultT]):
    """One wish of one caller, decided atomically.

    urgent: it comes from the engine itself and is never refused. weight: about how many bytes it carries.
    """

    @property
    def urgent(self) -> bool:
        """Whether it waits instead of being refused when the writer is full."""
        ...

    @property
    def weight(self) -> int:
        """Bytes that it holds in memory while it waits."""
        ...

    def needs(self, needs: Needs, shard: str) -> None:
        """Name the rows to load; `shard` is this writer's."""
        ...

    def decide(self, turn: Turn) -> ResultT:
        """Change rows and say what came of it. Pure: may run again on fresh rows."""
        ...
