"""Rows of the store, read a page at a time: a task's log, the takes of its artifacts, and remembered values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from a2a_server.model.queries import Page, RowQuery, Table
from a2a_server.model.rows import ArtifactRow, EventRow, Key, StateRow
from a2a_server.ports import TaskStore

PAGE_ROWS: Final = 100
PAGE_EVENTS: Final = 256
PAGE_BYTES: Final = 1 << 20
"""What a page of a log has about, if its events are large."""

RowReader: TypeAlias = Callable[[RowQuery], Awaitable[Page[tuple[object, ...]]]]
"""`TaskStore.rows`, or what stands before it."""


async def log_of(store: TaskStore, key: Key, after: int) -> AsyncIterator[EventRow]:
    """Every event of the task behind number `after`, in order."""
    while rows := await store.events(key, after, PAGE_EVENTS, PAGE_BYTES):
        after = rows[-1].n
        for row in rows:
            yield row


async def takes_of(store: TaskStore, key: Key) -> AsyncIterator[ArtifactRow]:
    """Every take of the task's artifacts, older ones too."""
    after = None
    while True:
        page = await store.rows(RowQuery(Table.ARTIFACT, (key,), after, PAGE_ROWS))
        for row in page.rows:
            if isinstance(row, ArtifactRow):
                after = row[:3]
                yield row
        if not page.more:
            return


async def rows_of(
    store: TaskStore, table: Table, prefix: tuple[str | int | bytes, ...], width: int
) -> AsyncIterator[tuple[object, ...]]:
    """Every row of a table whose primary key begins so, in its order; the key is the first `width` columns."""
    after: Any = None
    while True:
        page = await store.rows(RowQuery(table, prefix, after, PAGE_ROWS))
        for row in page.rows:
            yield row
        if not page.more:
            return
        after = page.rows[-1][:width]


async def state_pages(
    read: RowReader, scope: bytes, space: str, page_rows: int = PAGE_ROWS
) -> AsyncIterator[Sequence[StateRow]]:
    """Every value that is remembered in a space, in the order of names, in pages; those read may be forgotten."""
    after = None
    while True:
        page = await read(RowQuery(Table.STATE, (scope, space), after, page_rows))
        rows = [row for row in page.rows if isinstance(row, StateRow)]
        yield rows
        if not page.more:
            return
        after = rows[-1][:3]
