"""Writing of a turn, on the writer's thread, inside its transaction: rows by kind, with one `executemany` each.

An UPDATE rewrites every index that has one of its columns, changed or not. Tasks are therefore compared with the rows
that the turn loaded, and written by the smallest of three statements that covers the difference.
"""

# ruff: noqa: S608 - nothing but our own columns is put into SQL

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from a2a_server.errors import Conflict
from a2a_server.model.rows import ArtifactRow, GateRow, PushRow, RecordKey, RecordRow, StateRow, TaskRow
from a2a_server.model.turns import Changes, Loaded
from a2a_server.stores.sqlite_rows import (
    ARTIFACT_COLUMNS,
    PUSH_COLUMNS,
    RECORD_COLUMNS,
    TASK_COLUMNS,
    Database,
    Record,
    artifact_record,
    event_record,
    journal_record,
    tally_record,
    task_record,
    worker_record,
)

_POSITION = {name: index for index, name in enumerate(TaskRow._fields)}
_PLACES = ", ".join(f"?{index + 1}" for index in range(len(_POSITION)))
_INSERT_TASK: Final = f"INSERT INTO task ({TASK_COLUMNS}) VALUES ({_PLACES})"

# In no index.
_NOTED = (
    *("state", "last_n", "journal_n", "deadline_at", "cancel_at", "fence", "attempt", "max_attempts"),
    *("unmet", "pushes", "status"),
)
# What changes when a task moves, too.
_MOVED = (*_NOTED, "visible", "lane", "rank", "held_by", "phase", "status_at", "due_at", "worker", "crashes")


def _update(names: Iterable[str]) -> str:
    """Places: the columns, then rev, then key."""
    columns = tuple(names)
    sets = ", ".join(f"{name} = ?{index}" for index, name in enumerate((*columns, "rev"), 1))
    rev = len(columns) + 1
    return f"UPDATE task SET {sets} WHERE key = ?{rev + 1} AND rev = ?{rev} - 1"


def _others(names: Iterable[str]) -> itemgetter[tuple[object, ...]]:
    return itemgetter(*sorted(_POSITION[name] for name in set(_POSITION) - set(names) - {"rev"}))


def _parameters(names: Iterable[str]) -> itemgetter[Record]:
    return itemgetter(*(_POSITION[name] for name in (*names, "rev", "key")))


_ALL = tuple(name for name in TaskRow._fields if name not in {"key", "rev"})
# From the smallest: statement, its parameters out of a record, and the fields that must not have changed.
_NOTE: Final = (_update(_NOTED), _parameters(_NOTED))
_MOVE: Final = (_update(_MOVED), _parameters(_MOVED))
_REPLACE: Final = (_update(_ALL), _parameters(_ALL))
_BEYOND_NOTE: Final = _others(_NOTED)
_BEYOND_MOVE: Final = _others(_MOVED)

LARGE_BYTES: Final = 16 * 1024
"""Bodies above this lie in `content`; the row beside it keeps its number."""

_INSERT_EVENT: Final = (
    "INSERT INTO event (task, n, kind, at, fence, artifact, body, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_JOURNAL: Final = "INSERT INTO journal (task, n, kind, at, body) VALUES (?, ?, ?, ?, ?)"
_INSERT_MESSAGE: Final = "INSERT INTO message (task, seq, at_n, role, id, body, content) VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_CONTENT: Final = "INSERT INTO content (body) VALUES (?)"
_UPSERT_ARTIFACT: Final = (
    f"INSERT INTO artifact ({ARTIFACT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (task, id, take) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ArtifactRow._fields[3:])
)
_UPSERT_STATE: Final = (
    "INSERT INTO state (scope, space, name, seq, fence, body) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (scope, space, name) DO UPDATE SET seq = excluded.seq, fence = excluded.fence, body = excluded.body"
)
_DELETE_STATE: Final = "DELETE FROM state WHERE scope = ? AND space = ? AND name = ?"
_UPSERT_SENT: Final = (
    "INSERT INTO sent (tenant, owner, agent, task_id, message_id, hash, task, at_n, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, owner, agent, task_id, message_id) DO UPDATE SET "
    "hash = excluded.hash, task = excluded.task, at_n = excluded.at_n, expires_at = excluded.expires_at"
)
_INSERT_GATE: Final = (
    "INSERT INTO gate (key, capacity, used, tokens, refilled_at, closed_until, reason, rev) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_UPDATE_GATE: Final = (
    "UPDATE gate SET capacity = ?2, used = ?3, tokens = ?4, refilled_at = ?5, closed_until = ?6, reason = ?7, rev = ?8 "
    "WHERE key = ?1 AND rev = ?8 - 1"
)
_DELETE_GATE: Final = "DELETE FROM gate WHERE key = ?"
_DELETE_FAIR: Final = "DELETE FROM fair WHERE shard = ? AND queue = ? AND lane = ? AND tenant = ? AND owner = ?"
_UPSERT_FAIR: Final = (
    "INSERT INTO fair (shard, queue, lane, tenant, owner, vt) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (shard, queue, lane, tenant, owner) DO UPDATE SET vt = excluded.vt"
)
ADD_TALLY: Final = (
    "INSERT INTO tally (shard, tenant, owner, agent, queue, state, phase, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (tenant, owner, agent, queue, state, phase, shard) DO UPDATE SET count = count + excluded.count"
)
# Dead is for ever, and the last beat stays the worker's own word.
_UPSERT_WORKER: Final = (
    "INSERT INTO worker (id, seen_at, ttl, dead, format, body) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET dead = max(dead, excluded.dead)"
)
_DELETE_WORKER: Final = "DELETE FROM worker WHERE id = ?"
_UPSERT_PUSH: Final = (
    f"INSERT INTO push ({PUSH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (task, id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in PushRow._fields[2:])
)

_INSERT_EDGE: Final = (
    "INSERT INTO edge (upstream, downstream, on_failure, done) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (upstream, downstream) DO NOTHING"
)
_END_EDGES: Final = "UPDATE edge SET done = ?2 WHERE upstream = ?1 AND done = 0"
_SETTLE_EDGE: Final = "UPDATE edge SET done = -done WHERE upstream = ? AND downstream = ? AND done > 0"
_INSERT_TAG: Final = (
    "INSERT INTO tag (tenant, owner, tag, task) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, owner, tag, task) DO NOTHING"
)
_DELETE_TAG: Final = "DELETE FROM tag WHERE tenant = ? AND owner = ? AND tag = ? AND task = ?"
_INSERT_RECORD: Final = (
    f"INSERT INTO record ({RECORD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (kind, tenant, owner, id) DO NOTHING"
)
_UPDATE_RECORD: Final = (
    "UPDATE record SET rev = ?5, due_at = ?6, body = ?7 "
    "WHERE kind = ?1 AND tenant = ?2 AND owner = ?3 AND id = ?4 AND rev = ?5 - 1"
)
_DELETE_RECORD: Final = "DELETE FROM record WHERE kind = ? AND tenant = ? AND owner = ? AND id = ? AND rev = ?"


def write(db: Database, loaded: Loaded, changes: Changes) -> None:
    """Write into the open transaction.

    Raises:
        Conflict: A row is not as the changes expect it; the transaction has to be rolled back.
        DataRejected: The names of a task's gates cannot be kept.
        sqlite3.Error, OverflowError, UnicodeEncodeError: The same.
    """
    if changes.new_tasks:
        _insert_tasks(db, changes.new_tasks)
    if changes.tasks:
        _update_tasks(db, loaded, changes.tasks)
    _write_content(db, changes)
    _write_shared(db, changes)
    if changes.records or changes.gone_records:
        _write_records(db, changes.records, changes.gone_records)
    _write_links(db, changes)


def _write_shared(db: Database, changes: Changes) -> None:
    """Rows that belong to no task."""
    if changes.gates:
        _write_gates(db, changes.gates)
    if changes.gone_gates:
        db.executemany(_DELETE_GATE, [(gate,) for gate in changes.gone_gates])
    if changes.fair:
        db.executemany(_UPSERT_FAIR, [(*key[:2], int(key.lane), *key[3:], vt) for key, vt in changes.fair.items()])
    if changes.gone_fair:
        db.executemany(_DELETE_FAIR, [(*key[:2], int(key.lane), *key[3:]) for key in changes.gone_fair])
    if changes.tally:
        db.executemany(ADD_TALLY, [tally_record(*item, count) for item, count in changes.tally.items() if count])
    if changes.workers:
        db.executemany(_UPSERT_WORKER, [worker_record(row) for row in changes.workers])
    if changes.gone_workers:
        db.executemany(_DELETE_WORKER, [(worker,) for worker in changes.gone_workers])


def _write_links(db: Database, changes: Changes) -> None:
    if changes.edges:
        db.executemany(_INSERT_EDGE, changes.edges)
    if changes.ended:
        db.executemany(_END_EDGES, list(changes.ended.items()))
    if changes.settled:
        db.executemany(_SETTLE_EDGE, [row[:2] for row in changes.settled])
    if changes.tags:
        db.executemany(_INSERT_TAG, changes.tags)
    if changes.gone_tags:
        db.executemany(_DELETE_TAG, changes.gone_tags)


def _write_records(db: Database, rows: Sequence[RecordRow], gone: Sequence[tuple[RecordKey, int]]) -> None:
    for statement, records in (
        (_INSERT_RECORD, [tuple(row) for row in rows if row.rev == 1]),
        (_UPDATE_RECORD, [tuple(row) for row in rows if row.rev != 1]),
        (_DELETE_RECORD, [(*key, rev) for key, rev in gone]),
    ):
        if records and db.executemany(statement, records).rowcount != len(records):
            raise Conflict("another writer changed a record")


def _write_content(db: Database, changes: Changes) -> None:
    if changes.events:
        db.executemany(_INSERT_EVENT, [_placed(db, event_record(row)) for row in changes.events])
    if changes.journal:
        db.executemany(_INSERT_JOURNAL, [journal_record(row) for row in changes.journal])
    if changes.messages:
        db.executemany(_INSERT_MESSAGE, [_placed(db, row) for row in changes.messages])
    if changes.artifacts:
        db.executemany(_UPSERT_ARTIFACT, [artifact_record(row) for row in changes.artifacts])
    if changes.states:
        _write_states(db, changes.states)
    if changes.sent:
        db.executemany(_UPSERT_SENT, changes.sent)
    if changes.pushes:
        db.executemany(_UPSERT_PUSH, changes.pushes)


def _placed(db: Database, record: Record) -> Record:
    """A record that ends with its body, with the number of its content behind it."""
    if len(record[-1]) <= LARGE_BYTES:
        return (*record, None)
    return (*record[:-1], b"", db.execute(INSERT_CONTENT, (record[-1],)).lastrowid)


def _write_states(db: Database, rows: Sequence[StateRow]) -> None:
    states = {row[:3]: row for row in rows}  # the last word of each
    if kept := [row for row in states.values() if row.body]:
        db.executemany(_UPSERT_STATE, kept)
    if forgotten := [key for key, row in states.items() if not row.body]:
        db.executemany(_DELETE_STATE, forgotten)


def _insert_tasks(db: Database, rows: Sequence[TaskRow]) -> None:
    try:
        db.executemany(_INSERT_TASK, [task_record(row) for row in rows])
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode in {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}:
            raise Conflict("a new task has the name of another one") from error
        raise


def _update_tasks(db: Database, loaded: Loaded, rows: Sequence[TaskRow]) -> None:
    notes: list[Record] = []
    moves: list[Record] = []
    whole: list[Record] = []
    for row in rows:
        old = loaded.tasks.get(row.key)
        if old is None or old.rev != row.rev - 1 or _BEYOND_MOVE(old) != _BEYOND_MOVE(row):
            whole.append(_REPLACE[1](task_record(row)))
        elif _BEYOND_NOTE(old) != _BEYOND_NOTE(row):
            moves.append(_MOVE[1](task_record(row)))
        else:
            notes.append(_NOTE[1](task_record(row)))
    for (statement, _), records in ((_NOTE, notes), (_MOVE, moves), (_REPLACE, whole)):
        if records and db.executemany(statement, records).rowcount != len(records):
            raise Conflict("another writer changed a task")


def _write_gates(db: Database, rows: Sequence[GateRow]) -> None:
    for statement, records in (
        (_INSERT_GATE, [row for row in rows if row.rev == 1]),
        (_UPDATE_GATE, [row for row in rows if row.rev != 1]),
    ):
        if records and db.executemany(statement, records).rowcount != len(records):
            raise Conflict("another writer changed a gate")
