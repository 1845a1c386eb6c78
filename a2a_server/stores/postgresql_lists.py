"""Lists of tasks: pages and counts. Each state is a range of its own in the index; they are merged up to the limit."""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

from functools import lru_cache
from typing import Final

from a2a_server.model.objects import State
from a2a_server.model.queries import Page, Snapshot, TaskQuery
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_reads import CHUNKS, MESSAGES, TAKES, content, snapshot_of
from a2a_server.stores.postgresql_tables import TASK, task_row

_ORDER: Final = "ORDER BY status_at DESC, key DESC"
_MESSAGE_BYTES: Final = f"SELECT sum(size) FROM ({MESSAGES.format(columns='octet_length(m.body) AS size')}) AS sizes"
_TAKE_BYTES: Final = (
    "SELECT sum(bytes) FROM ("
    + TAKES.format(columns="octet_length(a.body) + CASE WHEN a.location = '' THEN 0 ELSE a.size END AS bytes")
    + ") AS sizes"
)
_CHUNK_BYTES: Final = f"SELECT sum(size) FROM ({CHUNKS.format(columns='octet_length(e.body) AS size')}) AS sizes"


async def page(database: Database, query: TaskQuery) -> Page[Snapshot]:
    """See `TaskStore.page`. What would make the page too large is measured and left where it is."""
    whole = bool(query.history or query.artifacts)
    sql = _page(_shape(query), history=whole, artifacts=query.artifacts)
    records = await database.fetch(sql, *_values(query), query.limit, query.limit_bytes, *[query.history] * whole)
    shown = [snapshot_of(record[:-1]) if whole else Snapshot(task_row(record)) for record in records]
    return Page(shown, more=bool(records) and records[0][-1] > len(records))


async def count(database: Database, query: TaskQuery, most: int) -> int:
    """See `TaskStore.count`."""
    with_context, _, with_start, state = _shape(query)
    values = _values(query)[: 3 + with_context + with_start]
    counted: int = await database.fetchval(_count((with_context, False, with_start, state)), *values, most)
    return counted


_Shape = tuple[bool, bool, bool, State | None]
"""Whether a context, a place to go on from, and a first moment are given; and which state."""


def _shape(query: TaskQuery) -> _Shape:
    return (query.context is not None, query.after is not None, query.status_from is not None, query.state)


def _values(query: TaskQuery) -> list[object]:
    optional = (query.context, query.status_from, *(query.after or ()))
    return [query.tenant, query.owner, query.agent, *(value for value in optional if value is not None)]


@lru_cache(maxsize=256)
def _count(shape: _Shape) -> str:
    listed, next_place = _listed(shape, "1")
    return f"SELECT count(*) FROM ({listed} LIMIT ${next_place}) AS listed"


@lru_cache(maxsize=256)
def _page(shape: _Shape, *, history: bool, artifacts: bool) -> str:
    listed, place = _listed(shape, "key, status_at")
    limit, limit_bytes, newest = (f"${place + step}" for step in range(3))
    shown, sizes = TASK.of("task"), ["octet_length(task.status) + octet_length(task.spec)"]
    if history:
        shown = f"{shown}, {content(artifacts=artifacts)}".replace("?", newest)
        measured = [_MESSAGE_BYTES.replace("?", newest), *([_TAKE_BYTES, _CHUNK_BYTES] if artifacts else [])]
        sizes += [f"coalesce(({each}), 0)" for each in measured]
    return (
        f"WITH listed AS MATERIALIZED (SELECT * FROM ({listed}) AS every {_ORDER} LIMIT {limit}::int8 + 1), "
        f"sized AS (SELECT listed.key, listed.status_at, {' + '.join(sizes)} AS size "
        "FROM listed JOIN task ON task.key = listed.key), "
        "placed AS (SELECT key, row_number() OVER down AS place, sum(size) OVER down AS total, "
        f"count(*) OVER () AS found FROM sized WINDOW down AS ({_ORDER} ROWS UNBOUNDED PRECEDING)) "
        f"SELECT {shown}, placed.found FROM placed JOIN task ON task.key = placed.key "
        f"WHERE place <= {limit} AND (place = 1 OR total <= {limit_bytes}::int8) ORDER BY place"
    )


def _listed(shape: _Shape, columns: str) -> tuple[str, int]:
    """The tasks of a list, and the next free number of a place."""
    with_context, with_after, with_start, state = shape
    filters, place = ["tenant = $1", "owner = $2", "agent = $3", "visible"], 4
    if with_context:
        filters.append(f"context = ${place}")
        place += 1
    if with_start:
        filters.append(f"status_at >= ${place}")
        place += 1
    if with_after:
        filters.append(f"(status_at, key) < (${place}, ${place + 1})")
        place += 2
    where = " AND ".join(filters)
    states = State if state is None else (state,)
    one = f"(SELECT {columns} FROM task WHERE {where} AND state = {{state}} {_ORDER})"
    return " UNION ALL ".join(one.format(state=int(each)) for each in states), place
