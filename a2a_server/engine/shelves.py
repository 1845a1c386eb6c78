"""What runs remember: values of one task, of its context, or of its owner. Read here; written with a run's reports.

A value that is forgotten is written as an empty one, which the store deletes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

from a2a_server.codec import shelf_scope
from a2a_server.engine.paging import state_pages
from a2a_server.errors import StoreUnavailable
from a2a_server.model.queries import Page, RowQuery, Table
from a2a_server.model.rows import StateRow, TaskRow
from a2a_server.model.runs import CHECKPOINT, Shelf
from a2a_server.ports import TaskStore

PAGE_VALUES: Final = 16
"""Values read at once: up to 256 KiB each."""
MOST_NAMES: Final = 10_000
"""Names that are listed at most."""
MOST_CHECKPOINTS_BYTES: Final = 16 << 20
"""Checkpoints that a run is given at most."""

_log = logging.getLogger("a2a_server.engine.shelves")


class Shelves:
    """What the runs of `row` may remember.

    check: called between tries while the store does not answer; raises when there is nothing to wait for any more.
    """

    def __init__(self, row: TaskRow, store: TaskStore, *, retry_seconds: float, check: Callable[[], None]) -> None:
        self._scopes = {
            Shelf.TASK: bytes(row.key),
            Shelf.CONTEXT: shelf_scope(row.tenant, row.owner, row.context),
            Shelf.OWNER: shelf_scope(row.tenant, row.owner),
        }
        self._fence = row.fence
        self._count = 0
        self._store = store
        self._retry_seconds = retry_seconds
        self._check = check

    def row(self, space: str, name: str, value: bytes | None, shelf: Shelf) -> StateRow:
        """The row that keeps a value; `fence` and `seq` tell in which order values were remembered."""
        self._count += 1
        return StateRow(self._scopes[shelf], space, name, self._count, self._fence, value or b"")

    async def recall(self, space: str, name: str, shelf: Shelf) -> bytes | None:
        """The value; None = there is none."""
        scope = self._scopes[shelf]
        page = await self._page(RowQuery(Table.STATE, (scope, space, name), limit=1))
        return next((row.body for row in page.rows if isinstance(row, StateRow)), None)

    async def names(self, space: str, prefix: str, shelf: Shelf) -> Sequence[str]:
        """The names that begin with `prefix`, in order."""
        found: list[str] = []
        async for row in self._each(space, shelf):
            if row.name.startswith(prefix):
                found.append(row.name)
                if len(found) == MOST_NAMES:
                    break
        return found

    async def checkpoints(self) -> Mapping[str, bytes]:
        """What earlier runs of the task remembered as checkpoints, up to `MOST_CHECKPOINTS_BYTES` of it."""
        found: dict[str, bytes] = {}
        size = 0
        async for row in self._each(CHECKPOINT, Shelf.TASK):
            size += len(row.body)
            if size > MOST_CHECKPOINTS_BYTES:
                _log.warning("A task has more checkpoints than a run is given; the last ones are left out.")
                break
            found[row.name] = row.body
        return found

    async def _each(self, space: str, shelf: Shelf) -> AsyncIterator[StateRow]:
        async for page in state_pages(self._page, self._scopes[shelf], space, PAGE_VALUES):
            for row in page:
                yield row

    async def _page(self, query: RowQuery) -> Page[tuple[object, ...]]:
        while True:
            try:
                return await self._store.rows(query)
            except StoreUnavailable:
                self._check()
                await asyncio.sleep(self._retry_seconds)
