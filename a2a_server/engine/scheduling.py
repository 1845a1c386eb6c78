"""The ticks of schedules: every process looks for those of its agents; of each comes one task (lifecycle.schedules)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.schedules import Fire, Fired, Realign, due_tick, is_silenced, unpacked
from a2a_server.model.rows import RecordRow
from a2a_server.model.schedules import Schedule

PATIENCE_SECONDS: Final = 0.05
"""Before the next round, when some are left that another process has to act on."""
MISSED: Final = "Nobody was there for this tick."

Making: TypeAlias = Callable[[RecordRow, Schedule, int], Awaitable[Make]]
"""What makes the task of a schedule's tick. Raises ClientError: none can be made."""

_log = logging.getLogger("a2a_server.engine.scheduling")


class Scheduler:
    """Fires the ticks of an agent's schedules. clock: the store's time, microseconds; grace: see `Fire`."""

    def __init__(self, writer: Writer, making: Making, *, clock: Callable[[], int], grace: int) -> None:
        self._writer = writer
        self._making = making
        self._clock = clock
        self._grace = grace

    async def fire(self, rows: Sequence[RecordRow]) -> None:
        """Act on the next tick of each. Raises what the store raises; ticks that were not acted on come again."""
        fired = await asyncio.gather(*map(self._tick, rows), return_exceptions=True)
        for error in fired:
            if isinstance(error, BaseException):
                raise error
        if all(isinstance(one, Fired) and one.stale for one in fired):
            await asyncio.sleep(PATIENCE_SECONDS)  # others act on them, or the clock here is a little ahead

    async def realign(self, rows: Sequence[RecordRow]) -> None:
        """Let those tick again that are silent because the clock went back. Raises what the store raises."""
        now = self._clock()
        silenced = tuple(row.key for row in rows if is_silenced(unpacked(row), row.due_at, now))
        if silenced and (count := await self._writer.submit(Realign(silenced))):
            _log.warning("The clock went back: %d schedules tick from now on again.", count)

    async def _tick(self, row: RecordRow) -> Fired:
        schedule = unpacked(row)
        tick, makes = due_tick(schedule, row.due_at, max(self._clock(), row.due_at))
        make, why_not = None, MISSED
        if makes:
            try:
                make = await self._making(row, schedule, tick)
            except ClientError as error:
                why_not = error.message
        fired: Fired = await self._writer.submit(Fire(row, tick, make, why_not, self._grace))
        if fired.why_not:
            _log.warning("Schedule %s made no task: %s", row.id, fired.why_not)
        return fired
