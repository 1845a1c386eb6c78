"""When what happened to a task, as far as its row does not tell: read from its journal and the end of its log."""

from __future__ import annotations

from typing import Final

from a2a_server.codec import decode_event
from a2a_server.engine.engine import Engine
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Phase, StatusEvent
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import EventKind, JournalKind, JournalRow, Key, TaskRow
from a2a_server.values import value_class

MOST_REMEMBERED: Final = 20_000
EARLY: Final = 200
"""Entries of a journal among which its task's first way into a queue is looked for."""
LATE: Final = 1000
PAGES: Final = 10
"""So many times so many entries at the end of a journal, among which the last claim is looked for."""
LAST_EVENTS: Final = 100
_LAST_BYTES: Final = 4 << 20
_CLAIMABLE: Final = frozenset({Phase.READY, Phase.HELD})


@value_class(frozen=True, slots=True)
class Done:
    """How many items were done at a moment, as the agent said last."""

    items: float
    at: int


@value_class(frozen=True, slots=True)
class Times:
    """Moments in microseconds; 0 = not yet, or nothing tells.

    queued_at: when it could be claimed for its first run. assigned_at: its last claim. done: what its log says last of
    items, None = nothing.
    """

    queued_at: int = 0
    assigned_at: int = 0
    done: Done | None = None


class Timing:
    """Reads the times of one engine's tasks. Concurrency: belongs to the event loop."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.backends.store
        self._done: dict[Key, Done | None] = {}

    async def of(self, row: TaskRow, started_at: int) -> Times:
        """The task's times. started_at: when its first run began, 0 = it has not. Raises StoreUnavailable."""
        return Times(
            await self._queued_at(row, started_at), await self._assigned_at(row, started_at), await self._last_done(row)
        )

    async def _queued_at(self, row: TaskRow, started_at: int) -> int:
        """It had to wait first where its journal says that it was promoted; else it could be claimed from the first."""
        if row.journal_n:
            page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), limit=EARLY))
            promoted = [
                one.at
                for one in page.rows
                if isinstance(one, JournalRow)
                and one.kind is JournalKind.PROMOTED
                and (not started_at or one.at <= started_at)
            ]
            if promoted and (row.fence or row.phase in _CLAIMABLE or row.state in TERMINAL):
                return promoted[-1]
        return row.created_at if row.fence or row.phase in _CLAIMABLE else 0

    async def _assigned_at(self, row: TaskRow, started_at: int) -> int:
        """The first claim is an event, later ones are in the journal."""
        if row.fence <= 1:
            return started_at
        end = row.journal_n
        for _ in range(PAGES):
            begin = max(0, end - LATE)
            page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), (row.key, begin), end - begin))
            claims = [one.at for one in page.rows if isinstance(one, JournalRow) and one.kind is JournalKind.LEASED]
            if claims or not begin:
                return claims[-1] if claims else 0
            end = begin
        return 0

    async def _last_done(self, row: TaskRow) -> Done | None:
        """Only of a task that has ended: while it runs, its row has its progress."""
        if row.state not in TERMINAL or not row.fence:
            return None
        if row.key not in self._done:
            found = await self._read_done(row)
            if len(self._done) >= MOST_REMEMBERED:
                del self._done[next(iter(self._done))]
            self._done[row.key] = found
        return self._done[row.key]

    async def _read_done(self, row: TaskRow) -> Done | None:
        after = max(0, row.last_n - LAST_EVENTS)
        for event in reversed(await self._store.events(row.key, after, LAST_EVENTS, _LAST_BYTES)):
            said = decode_event(event) if event.kind is EventKind.STATUS else None
            if isinstance(said, StatusEvent) and said.progress is not None and said.progress.done is not None:
                return Done(said.progress.done, event.at)
        return None
