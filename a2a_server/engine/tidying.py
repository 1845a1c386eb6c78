"""What is looked for now and then: gates that were counted wrong, and rows that nothing needs any more.

Each duty reads page by page and decides what it found again in a turn. Nothing here is urgent: a row that stays too
long costs room, and nobody's task waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, cast

from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.admission import CONTEXT_RECORD
from a2a_server.lifecycle.batch_keys import LookAgain, unpacked
from a2a_server.lifecycle.labels import BATCH
from a2a_server.lifecycle.requirements import CLASS_RECORD, DropRecords
from a2a_server.lifecycle.sweeping import ForgetTurns, Recount, Tidy
from a2a_server.model.objects import Phase
from a2a_server.model.queries import RowQuery, Search, Table, TallyQuery
from a2a_server.model.rows import FairKey, GateRow, Key, RecordRow
from a2a_server.policy import FAIR_KEPT, is_idle
from a2a_server.ports import TaskStore

PAGE: Final = 500
REPORTS: Final = 20
"""Reports of batches that one turn writes: a large batch's has some hundred kilobytes."""


class Tidying:
    """Keeps counts right and tables small. clock: the store's time, microseconds."""

    def __init__(self, store: TaskStore, writer: Writer, clock: Callable[[], int]) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock

    async def tidy_gates(self) -> int:
        """Count anew what uses the limits, and delete gates that say nothing. Returns how many were wrong or went."""
        count = 0
        async for rows in self._pages(Table.GATE):
            gates = [row for row in rows if isinstance(row, GateRow)]
            limits = tuple(row.key for row in gates if row.capacity is not None)
            idle = tuple(row.key for row in gates if is_idle(row, self._clock()))
            count += await self._writer.submit(Recount(limits)) if limits else 0
            count += await self._writer.submit(Tidy(idle)) if idle else 0
        return count

    async def tidy_contexts(self) -> int:
        """Delete the records of conversations whose newest task has ended. Returns how many."""
        count = 0
        async for rows in self._pages(Table.RECORD, CONTEXT_RECORD):
            records = {row: Key(row.body) for row in rows if isinstance(row, RecordRow)}
            heads = await self._store.heads(list(records.values()))
            over = [
                row for row, key in records.items() if (head := heads.get(key)) is None or head.phase is Phase.FINAL
            ]
            count += await self._writer.submit(DropRecords(over)) if over else 0
        return count

    async def tidy_batches(self, rows: Sequence[RecordRow]) -> None:
        """Forget what became of batches that no task is left of; the others are looked at again later."""
        there, gone = list[RecordRow](), list[RecordRow]()
        for row in rows:
            report = unpacked(row)
            tag = BATCH + report.batch
            wanted = Search(row.tenant, row.owner, report.agent, tag=tag, limit=1, scan=1)
            (there if (await self._store.search(wanted)).rows else gone).append(row)
        for start in range(0, len(there), REPORTS):
            await self._writer.submit(LookAgain(there[start : start + REPORTS]))
        if gone:
            await self._writer.submit(DropRecords(gone))

    async def tidy_classes(self) -> int:
        """Delete the records of classes that no task is left of. Returns how many."""
        count = 0
        async for rows in self._pages(Table.RECORD, CLASS_RECORD):
            records = [row for row in rows if isinstance(row, RecordRow)]
            over = [row for row in records if not await self._left(row)]
            count += await self._writer.submit(DropRecords(over)) if over else 0
        return count

    async def tidy_turns(self) -> int:
        """Delete what is kept of whose turn it is, of owners that have not sent for long. Returns how many."""
        count = 0
        async for rows in self._pages(Table.FAIR):
            old = self._clock() - FAIR_KEPT
            idle = tuple(key for key, vt in rows if isinstance(key, FairKey) and isinstance(vt, int) and vt < old)
            count += await self._writer.submit(ForgetTurns(idle)) if idle else 0
        return count

    async def _left(self, row: RecordRow) -> bool:
        totals = await self._store.totals(TallyQuery(row.tenant, row.owner, queue=row.id))
        return any(count > 0 and tally.phase is not Phase.FINAL for tally, count in totals.items())

    async def _pages(self, table: Table, *prefix: str) -> AsyncIterator[Sequence[tuple[object, ...]]]:
        after: tuple[str | int | bytes, ...] | None = None
        while True:
            page = await self._store.rows(RowQuery(table, prefix, after, PAGE))
            if page.rows:
                after = _key_of(page.rows[-1])
                yield page.rows
            if not page.more:
                return


def _key_of(row: tuple[object, ...]) -> tuple[str | int | bytes, ...]:
    if isinstance(row, RecordRow):
        return row.key
    if isinstance(row, GateRow):
        return (row.key,)
    shard, queue, lane, tenant, owner = cast("FairKey", row[0])
    return shard, queue, int(lane), tenant, owner
