"""The whole database as rows, and rows into a database: what copies, backups and restores of tasks are made of.

A dump reads in one transaction on a connection of its own, page by page, so it is one moment of the database, holds a
page in memory and keeps neither the writer nor other readers. Meanwhile the write-ahead log cannot be emptied: beside a
busy writer it grows as long as the dump takes.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from a2a_server.model.rows import DUMPED
from a2a_server.stores.sqlite_rows import Record
from a2a_server.stores.sqlite_tables import SOURCES, Source
from a2a_server.stores.sqlite_write import INSERT_CONTENT, LARGE_BYTES

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1 << 20
"""A page ends behind the row that reaches this."""

Rows = Sequence[tuple[object, ...]]

_ASIDE: Final = frozenset({"event", "message"})
"""Tables whose large bodies lie in `content`."""


def pages(db: sqlite3.Connection) -> Generator[tuple[str, Rows], None, None]:
    """Pages of every table, as of the first step. Each step raises sqlite3.Error; the last one ends the transaction."""
    db.execute("BEGIN")
    try:
        for table in DUMPED:
            for page in _pages_of(db, table, SOURCES[table]):
                yield table, page
    finally:
        db.execute("ROLLBACK")


def _pages_of(db: sqlite3.Connection, table: str, source: Source) -> Iterator[Rows]:
    page: list[tuple[object, ...]] = []
    size = 0
    for record in db.execute(f"SELECT {source.selected} FROM {table} ORDER BY {', '.join(source.key)}"):
        page.append(source.make(record))
        size += sum(len(value) for value in record if isinstance(value, bytes))
        if len(page) == PAGE_ROWS or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


def fill(db: sqlite3.Connection, table: str, rows: Rows) -> int:
    """Insert those whose key is new into the open transaction, and say how many these were.

    Raises:
        DataRejected: The names of a task's gates cannot be kept.
        sqlite3.Error, OverflowError, UnicodeEncodeError: The rows are none of this table.
    """
    source = SOURCES[table]
    records = [source.unmake(row) for row in rows]
    large = [record for record in records if table in _ASIDE and len(record[-1]) > LARGE_BYTES]
    small = [record for record in records if table not in _ASIDE or len(record[-1]) <= LARGE_BYTES]
    inserted = db.executemany(_insert(table, source.columns), small).rowcount if small else 0
    return inserted + sum(_fill_aside(db, table, source, record) for record in large)


def _fill_aside(db: sqlite3.Connection, table: str, source: Source, record: Record) -> int:
    key = record[: len(source.key)]
    found = f"SELECT 1 FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in source.key)}"
    if db.execute(found, key).fetchone():
        return 0
    content = db.execute(INSERT_CONTENT, (record[-1],)).lastrowid
    return db.execute(_insert(table, (*source.columns, "content")), (*record[:-1], b"", content)).rowcount


def _insert(table: str, columns: Sequence[str]) -> str:
    places = ", ".join("?" * len(columns))
    key = ", ".join(SOURCES[table].key)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) ON CONFLICT ({key}) DO NOTHING"
