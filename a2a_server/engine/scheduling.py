"""Records whose moment has come: which kind goes to whom, and the ticks of schedules.

Every process looks for what it acts on (of schedules, for those of its agents), as it does for the alarms of tasks, and
sleeps only until the next one. Whoever acts on a record decides again in a turn, so any number of processes is as good
as one: of a tick comes one task (lifecycle.schedules).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.schedules import Fire, Fired, due_tick, unpacked
from a2a_server.model.rows import RecordRow
from a2a_server.model.schedules import Schedule
from a2a_server.ports import TaskStore

AT_ONCE: Final = 500
"""Records that are looked at in one round; more are left for the next one, which follows at once."""
PATIENCE_SECONDS: Final = 0.05
"""Before the next round, when some are left that another process has to act on."""
MISSED: Final = "Nobody was there for this tick."

Act: TypeAlias = Callable[[Sequence[RecordRow]], Awaitable[None]]
Making: TypeAlias = Callable[[RecordRow, Schedule, int], Awaitable[Make]]
"""What makes the task of a schedule's tick. Raises ClientError: none can be made."""

_log = logging.getLogger("a2a_server.engine.scheduling")


class Agenda:
    """Hands due records to whoever acts on their kind. Concurrency: belongs to the event loop."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._acts: dict[str, Act] = {}

    def serve(self, kind: str, act: Act) -> None:
        """From now on `act` is told of due records of this kind. It moves their alarms, or they come again."""
        self._acts[kind] = act

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that somebody acts on here; others are not looked at."""
        return tuple(self._acts)

    async def ring_records(self) -> int:
        """Act on every record that is due. Returns how many were. Raises what acting on them raises."""
        if not self._acts:
            return 0
        rows = await self._store.due_records(self.kinds, AT_ONCE)
        for kind, act in self._acts.items():
            if mine := [row for row in rows if row.kind == kind]:
                await act(mine)
        return len(rows)


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
