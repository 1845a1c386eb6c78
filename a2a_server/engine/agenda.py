"""Records whose moment has come: which kind goes to whom.

Every process looks for what it acts on, as it does for the alarms of tasks, and sleeps only until the next one. Whoever
acts on a record decides again in a turn, so any number of processes is as good as one. Now and then all records are
looked at whose alarms may be wrong (`mend_records`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.ports import TaskStore

AT_ONCE: Final = 500
"""Records that are looked at in one round; more are left for the next one, which follows at once."""
MENDED_AT_ONCE: Final = 100
"""Records that are mended between two reads of the store: to look at a cron expression takes about 0.1 ms."""

Act: TypeAlias = Callable[[Sequence[RecordRow]], Awaitable[None]]


class Agenda:
    """Hands due records to whoever acts on their kind. Concurrency: belongs to the event loop."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._acts: dict[str, Act] = {}
        self._mends: dict[str, Act] = {}

    def serve(self, kind: str, act: Act, mend: Act | None = None) -> None:
        """From now on `act` is told of due records of this kind. It moves their alarms, or they come again.

        mend: is told of all records of the kind now and then, page by page, to put their alarms right.
        """
        self._acts[kind] = act
        if mend is not None:
            self._mends[kind] = mend

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

    async def mend_records(self) -> None:
        """Have alarms put right that are wrong. Raises what mending them raises."""
        for kind, mend in self._mends.items():
            after: RecordKey | None = None
            while True:
                page = await self._store.rows(RowQuery(Table.RECORD, (kind,), after, MENDED_AT_ONCE))
                if rows := [row for row in page.rows if isinstance(row, RecordRow)]:
                    await mend(rows)
                    after = rows[-1].key
                if not page.more:
                    break
