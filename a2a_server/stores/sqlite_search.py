"""Searches by any filters, each a function of one connection, on a reader's thread.

One filter decides which index is walked, in its order; the others are asked of each row on the way, in SQL, so that
no row comes to Python but its place, its key and whether it is wanted. A walk ends at the page's last task or after
`scan` rows, so it costs the same in a store of any size. Only the tasks that are shown are then read whole.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from typing import Final

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.queries import Found, Search, SearchCursor
from a2a_server.model.rows import Interest, Key, TaskRow
from a2a_server.stores.sqlite_rows import TASK_COLUMNS, select_in, sized, task_row

_TASKS: Final = sized(f"SELECT {TASK_COLUMNS} FROM task WHERE key IN ({{list}})")
_OLDEST: Final = f"SELECT {TASK_COLUMNS} FROM task WHERE key > ? ORDER BY key LIMIT ?"
_AHEAD: Final = (
    "SELECT lane, count(*) FROM (SELECT lane FROM task INDEXED BY task_ready WHERE phase = 3 AND queue = ? "
    "AND (lane, rank, key) < (?, ?, ?) ORDER BY lane, rank, key LIMIT ?) GROUP BY lane"
)
_HELD_AHEAD: Final = _AHEAD.replace("task_ready", "task_held").replace("phase = 3 AND queue", "phase = 4 AND held_by")
_LEASED: Final = "SELECT queue FROM task INDEXED BY task_leased WHERE phase = 5 AND worker = ? LIMIT ?"

_LIST: Final = (
    "SELECT task.status_at, task.key, {wanted} FROM task INDEXED BY {index} WHERE {scope} AND {range} "
    "AND task.state = {state}"
)
_LIST_ORDER: Final = " ORDER BY task.status_at DESC, task.key DESC LIMIT :most"
_CHILDREN: Final = (
    "SELECT 0, task.key, {wanted} FROM task INDEXED BY task_parent WHERE parent > x'' AND {range} "
    "ORDER BY task.key DESC LIMIT :most"
)
_TAGGED: Final = (
    "SELECT tag.tag, tag.task, {wanted} FROM tag CROSS JOIN task ON task.key = tag.task "
    "WHERE tag.tenant = :tenant AND tag.owner = :owner AND {range} ORDER BY tag.tag DESC, tag.task DESC LIMIT :most"
)
_SCOPE: Final = "task.tenant = :tenant AND task.owner = :owner AND task.agent = :agent AND task.visible = 1"
_HAS_TAGS: Final = (
    "(SELECT count(*) FROM tag AS own WHERE own.tenant = :tenant AND own.owner = :owner AND own.tag IN ({tags}) "
    "AND own.task = task.key) = {number}"
)
_HAS_PREFIX: Final = "EXISTS (SELECT 1 FROM tag AS own INDEXED BY tag_task WHERE own.task = task.key AND {range})"
# Of a task's tags that begin so, only the last one shows it.
_NO_LATER_TAG: Final = (
    "NOT EXISTS (SELECT 1 FROM tag AS own INDEXED BY tag_task WHERE own.task = tag.task AND own.tag > tag.tag{below})"
)

_LAST_CODE = 0x10FFFF
_BEFORE_SURROGATES, _BEHIND_SURROGATES = 0xD7FF, 0xE000


def search(db: sqlite3.Connection, query: Search) -> Found:
    """See `TaskStore.search`. Raises sqlite3.Error, and ValueError for a cursor that no search by status gives."""
    sql, values = _walk(query)
    keys: list[Key] = []
    place: SearchCursor | None = None
    after: SearchCursor | None = None
    db.execute("BEGIN")
    try:
        with closing(db.execute(sql, values)) as records:
            for looked, (order, key, wanted) in enumerate(records):
                if looked == query.scan or len(keys) == query.limit:
                    after = place
                    break
                place = SearchCursor(order, key)
                if wanted:
                    keys.append(key)
        found = {record[0]: task_row(record) for record in select_in(db, _TASKS, keys)}
    finally:
        db.execute("ROLLBACK")
    return Found([found[key] for key in keys], after)


def oldest(db: sqlite3.Connection, after: Key, limit: int) -> Sequence[TaskRow]:
    """See `TaskStore.oldest`."""
    return [task_row(record) for record in db.execute(_OLDEST, (after, limit))]


def ahead(db: sqlite3.Connection, row: TaskRow, most: int) -> Mapping[Lane, int]:
    """See `TaskStore.ahead`."""
    sql, among = (_HELD_AHEAD, row.held_by) if row.phase is Phase.HELD else (_AHEAD, row.queue)
    place = (among, int(row.lane), row.rank, row.key, most)
    return {Lane(lane): count for lane, count in db.execute(sql, place)}


def leased(db: sqlite3.Connection, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
    """See `TaskStore.leased`."""
    found: Counter[tuple[Key, str]] = Counter()
    for worker in set(workers):
        found.update((worker, queue) for (queue,) in db.execute(_LEASED, (worker, max(0, most - found.total()))))
    return found


class _Values(dict[str, object]):
    """What the named places of a statement stand for; new ones get a name."""

    def place(self, value: object) -> str:
        name = f"p{len(self)}"
        self[name] = value
        return f":{name}"

    def places(self, values: Collection[object]) -> str:
        return ", ".join([self.place(value) for value in values])


def _walk(query: Search) -> tuple[str, _Values]:
    """The statement, and its values, that gives of each row its order, its key and whether it is wanted."""
    values = _Values(tenant=query.tenant, owner=query.owner, agent=query.agent, most=query.scan + 1)
    wanted = _wanted(query, values)
    if query.parent:
        return _children(query, values, wanted), values
    if query.tag or query.tag_prefix:
        return _tagged(query, values, wanted), values
    return _listed(query, values, wanted), values


def _listed(query: Search, values: _Values, wanted: list[str]) -> str:
    # Each state is a range of its own in the index; SQLite merges them and stops at the limit.
    bounds = _bounds(query, values)
    if query.context:
        bounds.append(f"task.context = {values.place(query.context)}")
    states = sorted({state for state, _ in query.stands}) or State
    ranges = (
        _LIST.format(
            wanted=" AND ".join(wanted) or "1",
            index="task_context" if query.context else "task_list",
            scope=_SCOPE,
            range=" AND ".join(bounds) or "1",
            state=int(state),
        )
        for state in states
    )
    return " UNION ALL ".join(ranges) + _LIST_ORDER


def _bounds(query: Search, values: _Values) -> list[str]:
    """One upper bound only: an index is entered at one place, and the other one would be asked of each row before."""
    bounds = []
    if query.status_from is not None:
        bounds.append(f"task.status_at >= {values.place(query.status_from)}")
    to = query.status_to
    if query.after is not None and (to is None or int(query.after.order) < to):
        bounds.append(f"(task.status_at, task.key) < ({values.places((int(query.after.order), query.after.key))})")
    elif to is not None:
        bounds.append(f"task.status_at < {values.place(to)}")
    return bounds


def _children(query: Search, values: _Values, wanted: list[str]) -> str:
    bounds = [f"parent = {values.place(query.parent)}"]
    if query.after is not None:
        bounds.append(f"task.key < {values.place(query.after.key)}")
    return _CHILDREN.format(wanted=" AND ".join([_SCOPE, *wanted, *_status(query, values)]), range=" AND ".join(bounds))


def _tagged(query: Search, values: _Values, wanted: list[str]) -> str:
    wanted = [_SCOPE, *wanted, *_status(query, values)]
    if query.tag:
        bounds = [f"tag.tag = {values.place(query.tag)}"]
        if query.after is not None:
            bounds.append(f"tag.task < {values.place(query.after.key)}")
    else:
        prefix = query.tag_prefix or ""
        behind = _behind(prefix)
        bounds = [f"tag.tag >= {values.place(prefix)}"]
        below = "" if behind is None else f" AND own.tag < {values.place(behind)}"
        wanted.append(_NO_LATER_TAG.format(below=below))
        if query.after is not None and (behind is None or str(query.after.order) < behind):
            bounds.append(f"(tag.tag, tag.task) < ({values.places(query.after)})")
        elif behind is not None:
            bounds.append(f"tag.tag < {values.place(behind)}")
    return _TAGGED.format(wanted=" AND ".join(wanted), range=" AND ".join(bounds))


def _wanted(query: Search, values: _Values) -> list[str]:
    """What is asked of each row, but for what the walk itself may be bounded by."""
    wanted = []
    if query.stands:
        pairs = ", ".join(f"({int(state)}, {int(phase)})" for state, phase in sorted(query.stands))
        wanted.append(f"(task.state, task.phase) IN (VALUES {pairs})")
    if query.skills:
        wanted.append(f"task.skill IN ({values.places(query.skills)})")
    if query.queues:
        wanted.append(f"task.queue IN ({values.places(query.queues)})")
    if query.lanes:
        wanted.append(f"task.lane IN ({', '.join(str(int(lane)) for lane in query.lanes)})")
    if query.parents is not None:
        wanted.append(f"(task.pushes & {Interest.PARENT} <> 0) = {int(query.parents)}")
    if query.created_from is not None:
        wanted.append(f"task.created_at >= {values.place(query.created_from)}")
    if query.created_to is not None:
        wanted.append(f"task.created_at < {values.place(query.created_to)}")
    return wanted + _wanted_tags(query, values)


def _wanted_tags(query: Search, values: _Values) -> list[str]:
    wanted = []
    tags = {*query.tags, *([query.tag] if query.tag and query.parent else [])}
    if tags:
        wanted.append(_HAS_TAGS.format(tags=values.places(tags), number=len(tags)))
    if query.tag_prefix and (query.parent or query.tag):
        behind = _behind(query.tag_prefix)
        below = "" if behind is None else f" AND own.tag < {values.place(behind)}"
        wanted.append(_HAS_PREFIX.format(range=f"own.tag >= {values.place(query.tag_prefix)}{below}"))
    return wanted


def _status(query: Search, values: _Values) -> list[str]:
    wanted = []
    if query.context:
        wanted.append(f"task.context = {values.place(query.context)}")
    if query.status_from is not None:
        wanted.append(f"task.status_at >= {values.place(query.status_from)}")
    if query.status_to is not None:
        wanted.append(f"task.status_at < {values.place(query.status_to)}")
    return wanted


def _behind(prefix: str) -> str | None:
    """The first text behind all that begin so, in the order of code points; None = there is none."""
    kept = prefix.rstrip(chr(_LAST_CODE))
    if not kept:
        return None
    code = ord(kept[-1])
    return kept[:-1] + chr(_BEHIND_SURROGATES if code == _BEFORE_SURROGATES else code + 1)
