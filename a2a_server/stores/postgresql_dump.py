"""The whole database as rows, and rows into a database: what copies, backups and restores of tasks are made of.

A dump reads in one transaction on a connection of its own, page by page by primary key, so it is one moment of the
database, holds a page in memory and keeps neither writers nor readers. Meanwhile the server cannot clean up after
changes: beside busy writers tables grow as long as the dump takes.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from a2a_server.model.rows import DUMPED
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import TABLES, Record, Table, numbered

PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1 << 20
"""A page ends behind the row that reaches this."""

Rows = Sequence[tuple[Any, ...]]


async def pages(database: Database) -> AsyncIterator[tuple[str, Rows]]:
    """Pages of every table, as the open transaction sees them."""
    for name in DUMPED:
        table = TABLES[name]
        after: Record | None = None
        while True:
            records = await database.fetch(_page(table, first=after is None), *(after or ()))
            if not records:
                break
            yield name, [table.make(record) for record in records]
            after = [records[-1][name] for name in table.key]


async def fill(database: Database, table: Table, rows: Rows) -> int:
    """Insert those whose key is new, and say how many these were. Raises DataRejected for gates."""
    if not rows:
        return 0
    records = sorted((table.unmake(row) for row in rows), key=lambda record: _key(table, record))
    sql = table.insert(f"ON CONFLICT ({', '.join(table.key)}) DO NOTHING")
    status = await database.execute(numbered(sql), *table.arrays(records))
    return int(status.rpartition(" ")[2])


def _key(table: Table, record: Record) -> tuple[Any, ...]:
    return tuple(value for name, value in zip(table.columns, record, strict=True) if name in table.key)


def _page(table: Table, *, first: bool) -> str:
    key = ", ".join(table.key)
    where = "" if first else f"WHERE ({key}) > ({', '.join('?' * len(table.key))}) "
    sizes = [f"octet_length({name})" for name, kind in table.columns.items() if kind == "bytea"] or ["0"]
    return numbered(
        f"SELECT {table.listed} FROM (SELECT *, sum({' + '.join(sizes)}) OVER before AS bytes_before FROM "
        f"(SELECT * FROM {table.name} {where}ORDER BY {key} LIMIT {PAGE_ROWS}) AS next WINDOW before AS "
        f"(ORDER BY {key} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS sized "
        f"WHERE coalesce(bytes_before, 0) < {PAGE_BYTES} ORDER BY {key}"
    )
