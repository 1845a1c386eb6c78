"""Tasks that wait too long move up a lane, so that a busy high lane does not starve the lower ones for ever.

Since when a task could have been claimed no row says, so every process watches for itself: a task that it has seen
first in its lane for `aging_seconds` is moved. Only the first of each lane are watched: those behind them move when
they have come to the front, and nothing is gained by their moving earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.prioritising import Age, Waiting
from a2a_server.model.objects import Lane
from a2a_server.model.rows import Key, TaskRow

WATCHED: Final = 100
"""Tasks of each lane that are watched, and moved at once."""

LOOKS: Final = 10
"""How often one looks while a task comes of age, at most."""


class Aging:
    """Watches the queues that there are when it looks. seconds: how long a task may be ready in one lane."""

    def __init__(self, writer: Writer, queues: Callable[[], Sequence[str]], seconds: float) -> None:
        self._writer = writer
        self._queues = queues
        self._seconds = seconds
        self._seen: dict[tuple[Key, Lane], float] = {}
        self._next_look = 0.0

    async def age_ready(self) -> int:
        """Move those that have waited long enough. Returns how many."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look:
            return 0
        self._next_look = now + self._seconds / LOOKS
        rows: tuple[TaskRow, ...] = await self._writer.submit(Waiting(tuple(self._queues()), WATCHED))
        self._seen = {(row.key, row.lane): self._seen.get((row.key, row.lane), now) for row in rows}
        old = {row.key: row for row in rows if now - self._seen[row.key, row.lane] >= self._seconds}
        return await self._writer.submit(Age(old)) if old else 0
