"""Everything that is asked outside of turns, each a function of one connection.

Reads run on a reader's thread and see what was committed when they began; those of several statements open a
transaction, so that all of them see the same.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final, cast

from a2a_server.model.objects import Scope, State
from a2a_server.model.queries import DueKind, Page, RowQuery, Snapshot, Table, TallyQuery, TaskQuery
from a2a_server.model.rows import (
    ArtifactRow,
    EventRow,
    Head,
    Key,
    MessageRow,
    RecordRow,
    TallyKey,
    TaskRow,
)
from a2a_server.stores.sqlite_rows import (
    ARTIFACT_COLUMNS,
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    PHASES,
    RECORD_COLUMNS,
    STATES,
    TASK_COLUMNS,
    artifact_row,
    event_row,
    lists,
    select_in,
    sized,
    task_row,
)
from a2a_server.stores.sqlite_tables import SOURCES

_FIND: Final = (
    f"SELECT {TASK_COLUMNS} FROM task INDEXED BY task_name "
    "WHERE tenant = ? AND owner = ? AND agent = ? AND id = ? AND visible = 1"
)
_TASK: Final = f"SELECT {TASK_COLUMNS} FROM task WHERE key = ?"
_NEWEST_MESSAGES: Final = f"SELECT {MESSAGE_COLUMNS} FROM message WHERE task = ? ORDER BY seq DESC LIMIT ?"
_NEWEST_TAKES: Final = (
    f"SELECT {ARTIFACT_COLUMNS} FROM artifact AS a WHERE task = ? AND NOT EXISTS "
    "(SELECT 1 FROM artifact AS b WHERE b.task = a.task AND b.id = a.id AND b.take > a.take) ORDER BY id"
)
_CHUNKS: Final = sized(
    f"SELECT {EVENT_COLUMNS} FROM event WHERE task = ? AND n >= ? AND n <= ? AND kind = 2 AND artifact IN ({{list}})"
)
_EVENTS: Final = f"SELECT {EVENT_COLUMNS} FROM event WHERE task = ? AND n > ? ORDER BY n LIMIT ?"
_HEADS: Final = sized("SELECT key, last_n, state, phase, cancel_at, fence, visible FROM task WHERE key IN ({list})")

_LIST: Final = "SELECT {columns} FROM task INDEXED BY {index} WHERE {filters} AND state = {state}"
_LIST_ORDER: Final = " ORDER BY status_at DESC, key DESC LIMIT :most"

_DUE_ALARMS: Final = (
    "SELECT key FROM task INDEXED BY task_due WHERE due_at > 0 AND due_at <= ? ORDER BY due_at, key LIMIT ?"
)
_DUE_ORPHANS: Final = (
    "SELECT key FROM task INDEXED BY task_leased WHERE phase = 5 "
    "AND worker NOT IN (SELECT id FROM worker WHERE dead = 0 AND seen_at + ttl >= ?) ORDER BY worker, key LIMIT ?"
)
# The names of gates that hold tasks, each found by one step in the index however many it holds, and their room.
_GATES_WITH_ROOM: Final = """
WITH RECURSIVE holding (name) AS (
  SELECT min(held_by) FROM task INDEXED BY task_held WHERE phase = 4
  UNION ALL
  SELECT (SELECT min(held_by) FROM task INDEXED BY task_held WHERE phase = 4 AND held_by > holding.name)
  FROM holding WHERE holding.name IS NOT NULL
)
SELECT holding.name, gate.capacity - gate.used
FROM holding LEFT JOIN gate ON gate.key = holding.name
WHERE holding.name IS NOT NULL
  AND (gate.key IS NULL OR (gate.closed_until <= ? AND (gate.capacity IS NULL OR gate.used < gate.capacity)))
"""
_DUE_HELD: Final = (
    "SELECT key FROM task INDEXED BY task_held WHERE phase = 4 AND held_by = ? ORDER BY lane, rank, key LIMIT ?"
)
_DUE_PUSHES: Final = (
    "SELECT task FROM push INDEXED BY push_due WHERE due_at > 0 AND due_at <= ? AND dead = 0 ORDER BY due_at LIMIT ?"
)
# Each task once and by one step in the index, however many of its upstreams have ended.
_DUE_SETTLE: Final = """
WITH RECURSIVE settling (key) AS (
  SELECT min(downstream) FROM edge INDEXED BY edge_settle WHERE done > 0
  UNION ALL
  SELECT (SELECT min(downstream) FROM edge INDEXED BY edge_settle WHERE done > 0 AND downstream > settling.key)
  FROM settling WHERE settling.key IS NOT NULL
)
SELECT key FROM settling WHERE key IS NOT NULL LIMIT ?
"""
_DUE_RECORDS: Final = (
    f"SELECT {RECORD_COLUMNS} FROM record INDEXED BY record_due WHERE due_at > 0 AND due_at <= ? "
    "AND kind = ? ORDER BY due_at LIMIT ?"
)
_NEXT_ALARM: Final = "SELECT min(due_at) FROM task INDEXED BY task_due WHERE due_at > 0"
_NEXT_RECORD: Final = "SELECT min(due_at) FROM record INDEXED BY record_due WHERE due_at > 0 AND kind = ?"
# Tables that are read by another key than their primary one, too.
_OTHER_KEYS: Final[Mapping[Table, tuple[str, tuple[str, ...]]]] = {
    Table.EDGE_TO: ("edge", ("downstream", "upstream")),
    Table.TAG_OF: ("tag", ("task", "tag")),
}
_TOTALS: Final = "SELECT tenant, owner, agent, queue, state, phase, sum(count) FROM tally "
_TOTALS_GROUP: Final = "GROUP BY tenant, owner, agent, queue, state, phase HAVING sum(count) <> 0"


def find(db: sqlite3.Connection, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
    """See `TaskStore.find`."""
    record = db.execute(_FIND, (scope.tenant, scope.owner, agent, task_id)).fetchone()
    return task_row(record) if record else None


def find_snapshot(db: sqlite3.Connection, named: tuple[str, str, str, str], history: int | None) -> Snapshot | None:
    """See `TaskStore.find_snapshot`. named: tenant, owner, agent, task id."""
    return _one_snapshot(db, _FIND, named, history, artifacts=True)


def snapshot(db: sqlite3.Connection, key: Key, history: int | None, *, artifacts: bool) -> Snapshot | None:
    """See `TaskStore.snapshot`."""
    return _one_snapshot(db, _TASK, (key,), history, artifacts=artifacts)


def _one_snapshot(
    db: sqlite3.Connection, sql: str, values: tuple[object, ...], history: int | None, *, artifacts: bool
) -> Snapshot | None:
    db.execute("BEGIN")
    try:
        record = db.execute(sql, values).fetchone()
        if record is None:
            return None
        return _snapshot(db, task_row(record), -1 if history is None else history, artifacts=artifacts)
    finally:
        db.execute("ROLLBACK")


def _snapshot(db: sqlite3.Connection, task: TaskRow, history: int, *, artifacts: bool) -> Snapshot:
    messages = db.execute(_NEWEST_MESSAGES, (task.key, history)).fetchall() if history else []
    takes = [artifact_row(record) for record in db.execute(_NEWEST_TAKES, (task.key,))] if artifacts else []
    return Snapshot(task, tuple(map(MessageRow._make, reversed(messages))), tuple(takes), _chunks(db, task, takes))


def _chunks(db: sqlite3.Connection, task: TaskRow, takes: Sequence[ArtifactRow]) -> tuple[EventRow, ...]:
    """The chunks of every take whose content is nowhere else, by number; each piece of the log is read once."""
    spans = {
        take.id: (take.first_n, take.last_n if take.closed else task.last_n)
        for take in takes
        if not take.body and not take.location
    }
    found: list[EventRow] = []
    for wanted in lists(list(spans)):  # the bodies of others are not fetched
        for first, last in _united(spans[id] for id in wanted):
            for event in map(event_row, db.execute(_CHUNKS[len(wanted)], (task.key, first, last, *wanted))):
                own_first, own_last = spans[cast("int", event.artifact)]
                if own_first <= event.n <= own_last:
                    found.append(event)
    found.sort(key=_number)
    return tuple(found)


def _number(event: EventRow) -> int:
    return event.n


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if united and first <= united[-1][1] + 1:
            united[-1] = united[-1][0], max(united[-1][1], last)
        else:
            united.append((first, last))
    return united


def events(db: sqlite3.Connection, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
    """See `TaskStore.events`."""
    found: list[EventRow] = []
    size = 0
    with closing(db.execute(_EVENTS, (key, after, limit))) as records:
        for record in records:
            event = event_row(record)
            size += len(event.body)
            if found and size > limit_bytes:
                break
            found.append(event)
    return found


def heads(db: sqlite3.Connection, keys: Collection[Key]) -> Mapping[Key, Head]:
    """See `TaskStore.heads`."""
    return {
        key: Head(last_n, STATES[state], PHASES[phase], cancel_at, fence, visible == 1)
        for key, last_n, state, phase, cancel_at, fence, visible in select_in(db, _HEADS, list(keys))
    }


def page(db: sqlite3.Connection, query: TaskQuery) -> Page[Snapshot]:
    """See `TaskStore.page`."""
    sql, values = _list(query, TASK_COLUMNS)
    shown: list[Snapshot] = []
    size = 0
    db.execute("BEGIN")
    try:
        with closing(db.execute(sql + _LIST_ORDER, {**values, "most": query.limit + 1})) as records:
            for record in records:
                if len(shown) == query.limit:
                    return Page(shown, more=True)
                one = Snapshot(task_row(record))
                if query.history or query.artifacts:
                    one = _snapshot(db, one.task, query.history, artifacts=query.artifacts)
                size += _size(one)
                if shown and size > query.limit_bytes:
                    return Page(shown, more=True)
                shown.append(one)
    finally:
        db.execute("ROLLBACK")
    return Page(shown, more=False)


def count(db: sqlite3.Connection, query: TaskQuery, most: int) -> int:
    """See `TaskStore.count`."""
    sql, values = _list(replace(query, after=None), "1")
    counted: int = db.execute(f"SELECT count(*) FROM ({sql} LIMIT :most)", {**values, "most": most}).fetchone()[0]
    return counted


def _list(query: TaskQuery, columns: str) -> tuple[str, dict[str, str | int | bytes | None]]:
    # Each state is a range of its own in the index; SQLite merges them and stops at the limit.
    filters = "tenant = :tenant AND owner = :owner AND agent = :agent AND visible = 1"
    if query.context is not None:
        filters += " AND context = :context"
    if query.status_from is not None:
        filters += " AND status_at >= :status_from"
    if query.after is not None:
        filters += " AND (status_at, key) < (:after_at, :after_key)"
    index = "task_list" if query.context is None else "task_context"
    states = State if query.state is None else (query.state,)
    after_at, after_key = query.after or (None, None)
    lists = (_LIST.format(columns=columns, index=index, filters=filters, state=int(state)) for state in states)
    return " UNION ALL ".join(lists), {
        "tenant": query.tenant,
        "owner": query.owner,
        "agent": query.agent,
        "context": query.context,
        "status_from": query.status_from,
        "after_at": after_at,
        "after_key": after_key,
    }


def _size(shown: Snapshot) -> int:
    size = len(shown.task.status) + len(shown.task.spec)
    if shown.messages or shown.artifacts:
        kept: tuple[MessageRow | ArtifactRow | EventRow, ...] = (*shown.messages, *shown.artifacts, *shown.chunks)
        size += sum(len(row.body) for row in kept)
        size += sum(row.size for row in shown.artifacts if row.location)
    return size


def due(db: sqlite3.Connection, kind: DueKind, limit: int, now: int) -> Sequence[Key]:
    """See `TaskStore.due`."""
    if kind is DueKind.HELD:
        return _due_held(db, limit, now)
    if kind is DueKind.SETTLE:
        return [key for (key,) in db.execute(_DUE_SETTLE, (limit,))]
    sql = {DueKind.ALARM: _DUE_ALARMS, DueKind.ORPHAN: _DUE_ORPHANS, DueKind.PUSH: _DUE_PUSHES}[kind]
    return list(dict.fromkeys(key for (key,) in db.execute(sql, (now, limit))))  # a task may have several pushes due


def _due_held(db: sqlite3.Connection, limit: int, now: int) -> Sequence[Key]:
    keys: list[Key] = []
    db.execute("BEGIN")
    try:
        gates = db.execute(_GATES_WITH_ROOM, (now,)).fetchall()
        share = max(1, limit // max(1, len(gates)))
        for gate, room in gates[:limit]:
            most = share if room is None else min(share, room)
            keys.extend(key for (key,) in db.execute(_DUE_HELD, (gate, most)))
    finally:
        db.execute("ROLLBACK")
    return keys


def next_alarm(db: sqlite3.Connection, kinds: Collection[str], now: int) -> int | None:
    """See `TaskStore.next_alarm`."""
    asked = [db.execute(_NEXT_ALARM), *(db.execute(_NEXT_RECORD, (kind,)) for kind in kinds)]
    alarms = [alarm for found in asked for (alarm,) in found if alarm is not None]
    return max(0, min(alarms) - now) if alarms else None


def due_records(db: sqlite3.Connection, kinds: Collection[str], limit: int, now: int) -> Sequence[RecordRow]:
    """See `TaskStore.due_records`."""
    found = [RecordRow._make(record) for kind in kinds for record in db.execute(_DUE_RECORDS, (now, kind, limit))]
    return sorted(found, key=lambda row: (row.due_at, row.key))[:limit]


def rows(db: sqlite3.Connection, query: RowQuery) -> Page[tuple[object, ...]]:
    """See `TaskStore.rows`. Raises ValueError for a prefix longer than the key, or an `after` that is not a key."""
    table, keys = _OTHER_KEYS.get(query.table) or (query.table.value, SOURCES[query.table.value].key)
    source = SOURCES[table]
    if len(query.prefix) > len(keys) or (query.after is not None and len(query.after) != len(keys)):
        raise ValueError(f"the primary key of {query.table.value} is {', '.join(keys)}")
    start = len(query.prefix) if (query.after or ())[: len(query.prefix)] == query.prefix else 0
    start = min(start, len(keys) - 1)  # a whole key as the prefix leaves nothing to compare
    filters = [f"{name} = ?" for name in keys[: len(query.prefix)]]
    if query.after is not None:
        behind = keys[start:]
        filters.append(f"({', '.join(behind)}) > ({', '.join('?' * len(behind))})")
    where = f"WHERE {' AND '.join(filters)} " if filters else ""
    sql = f"SELECT {source.selected} FROM {table} {where}ORDER BY {', '.join(keys)} LIMIT ?"
    records = db.execute(sql, (*query.prefix, *(query.after or ())[start:], query.limit + 1)).fetchall()
    return Page([source.make(record) for record in records[: query.limit]], more=len(records) > query.limit)


def totals(db: sqlite3.Connection, query: TallyQuery) -> Mapping[TallyKey, int]:
    """See `TaskStore.totals`."""
    wanted = {
        "tenant": query.tenant,
        "owner": query.owner,
        "agent": query.agent,
        "queue": query.queue,
        "state": None if query.state is None else int(query.state),
        "phase": None if query.phase is None else int(query.phase),
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    where = f"WHERE {' AND '.join(f'{name} = ?' for name in given)} " if given else ""
    return {
        TallyKey(tenant, owner, agent, queue, STATES[state], PHASES[phase]): count
        for tenant, owner, agent, queue, state, phase, count in db.execute(
            f"{_TOTALS}{where}{_TOTALS_GROUP}", tuple(given.values())
        )
    }
