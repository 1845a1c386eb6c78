"""Loading of a turn, on the writer's thread, inside its transaction.

`BEGIN IMMEDIATE` has taken the one write lock before anything is read here, so whatever a turn loads stays as it is
until its commit; nothing is locked row by row and nothing has to be skipped. Statements are few and fixed: rows are
fetched by lists of a few fixed sizes, candidates of claims by one index probe for each queue.
"""

# ruff: noqa: S608 - nothing but our own columns is put into SQL

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection
from typing import Final

from a2a_server.model.objects import Phase
from a2a_server.model.rows import FairKey, Key, SentKey, SentRow, TaskName, TaskRow
from a2a_server.model.turns import ClaimNeed, Loaded, Needs
from a2a_server.stores.sqlite_rows import (
    ARTIFACT_COLUMNS,
    PUSH_COLUMNS,
    TASK_COLUMNS,
    artifact_row,
    gate_row,
    push_row,
    select_in,
    select_wide,
    sized,
    task_row,
    worker_row,
)

_QUALIFIED = ", ".join(f"task.{name}" for name in TaskRow._fields)

_TASKS_BY_KEY: Final = sized(f"SELECT {TASK_COLUMNS} FROM task WHERE key IN ({{list}})")
_TASKS_BY_NAME: Final = sized(
    "WITH want (tenant, owner, agent, id) AS (VALUES {list}) "
    f"SELECT {_QUALIFIED} FROM want CROSS JOIN task USING (tenant, owner, agent, id)",
    width=4,
)
_SENT: Final = sized(
    "WITH want (tenant, owner, agent, task_id, message_id) AS (VALUES {list}) "
    "SELECT sent.tenant, sent.owner, sent.agent, sent.task_id, sent.message_id, hash, task, at_n, expires_at "
    "FROM want CROSS JOIN sent USING (tenant, owner, agent, task_id, message_id)",
    width=5,
)
_FAIR: Final = sized(
    "WITH want (shard, queue, lane, tenant, owner) AS (VALUES {list}) "
    "SELECT fair.shard, fair.queue, fair.lane, fair.tenant, fair.owner, vt "
    "FROM want CROSS JOIN fair USING (shard, queue, lane, tenant, owner)",
    width=5,
)
_READY: Final = (
    "SELECT lane, rank, key FROM task INDEXED BY task_ready "
    "WHERE phase = 3 AND queue = ? AND crashes <= ? AND format <= ? ORDER BY lane, rank, key LIMIT ?"
)
_HEADS: Final = (
    "WITH lanes (lane) AS (VALUES (1), (2), (3), (4), (5)) "
    "SELECT lane, (SELECT rank FROM task INDEXED BY task_ready "
    "WHERE phase = 3 AND queue = ? AND task.lane = lanes.lane ORDER BY rank LIMIT 1) FROM lanes"
)
_HELD: Final = (
    f"SELECT {TASK_COLUMNS} FROM task INDEXED BY task_held "
    "WHERE phase = 4 AND held_by = ? ORDER BY lane, rank, key LIMIT ?"
)
_LEASED_GATES: Final = "SELECT gates FROM task INDEXED BY task_leased WHERE phase = 5"
_GATES: Final = sized(
    "SELECT key, capacity, used, tokens, refilled_at, closed_until, reason, rev FROM gate WHERE key IN ({list})"
)
_WORKERS: Final = sized("SELECT id, seen_at, ttl, dead, format, body FROM worker WHERE id IN ({list})")
_PUSHES: Final = sized(f"SELECT {PUSH_COLUMNS} FROM push WHERE task IN ({{list}}) ORDER BY task, id")
_TAKES: Final = sized(
    f"SELECT {ARTIFACT_COLUMNS} FROM artifact AS a WHERE task IN ({{list}}) AND closed = 0 AND NOT EXISTS "
    "(SELECT 1 FROM artifact AS b WHERE b.task = a.task AND b.id = a.id AND b.take > a.take) ORDER BY task, id"
)


def load(db: sqlite3.Connection, needs: Needs, now: int) -> Loaded:
    """What the open transaction sees of `needs`. Raises sqlite3.Error, OverflowError, UnicodeEncodeError."""
    loaded = Loaded(now=now)
    _load_tasks(db, loaded, needs)
    _load_gates(db, loaded, needs.gates.union(*{row.gates for row in loaded.tasks.values()}))
    if needs.held > 0 and loaded.gates:
        _load_held(db, loaded, needs.held)
    if needs.recount:
        _count_leased(db, loaded, needs.recount)
    for queue in needs.queues:
        loaded.heads.update(((queue, lane), rank) for lane, rank in db.execute(_HEADS, (queue,)) if rank is not None)
    loaded.fair = {FairKey(*record[:5]): record[5] for record in select_wide(db, _FAIR, list(needs.fair))}
    loaded.workers = {record[0]: worker_row(record) for record in select_in(db, _WORKERS, list(needs.workers))}
    for record in select_in(db, _TAKES, list(needs.takes)):
        take = artifact_row(record)
        loaded.takes[take.task] = (*loaded.takes.get(take.task, ()), take)
    for record in select_in(db, _PUSHES, [row.key for row in loaded.tasks.values() if row.pushes]):
        push = push_row(record)
        loaded.pushes[push.task] = (*loaded.pushes.get(push.task, ()), push)
    return loaded


def _load_tasks(db: sqlite3.Connection, loaded: Loaded, needs: Needs) -> None:
    tasks = loaded.tasks
    for record in select_wide(db, _TASKS_BY_NAME, list(needs.names)):
        tasks[record[0]] = task_row(record)
        loaded.names[TaskName(*record[2:6])] = record[0]
    sent = [SentRow._make(record) for record in select_wide(db, _SENT, list(needs.sent))]
    best = [_best_ready(db, claim) for claim in needs.claims]
    keys = needs.tasks.union(needs.takes, [row.task for row in sent], *best, *(claim.hinted for claim in needs.claims))
    for record in select_in(db, _TASKS_BY_KEY, [key for key in keys if key not in tasks]):
        tasks[record[0]] = task_row(record)
    loaded.sent = {SentKey(*row[:5]): row for row in sent if row.task in tasks}
    loaded.claims = [_candidates(loaded, *pair) for pair in zip(needs.claims, best, strict=True)]


def _best_ready(db: sqlite3.Connection, claim: ClaimNeed) -> list[Key]:
    found: list[tuple[int, int, Key]] = []
    for queue in dict.fromkeys(claim.queues):
        found.extend(db.execute(_READY, (queue, claim.max_crashes, claim.max_format, claim.limit)))
    if len(claim.queues) > 1:
        found.sort()
    return [key for _, _, key in found[: claim.limit]]


def _candidates(loaded: Loaded, claim: ClaimNeed, best: list[Key]) -> tuple[Key, ...]:
    if not claim.hinted:
        return tuple(best)
    keys = set(best)
    for key in claim.hinted:
        row = loaded.tasks.get(key)
        if row and row.phase is Phase.READY and row.queue in claim.queues and _allowed(row, claim):
            keys.add(key)
    rows = [loaded.tasks[key] for key in keys]
    return tuple(key for _, _, key in sorted((row.lane, row.rank, row.key) for row in rows))


def _allowed(row: TaskRow, claim: ClaimNeed) -> bool:
    return row.crashes <= claim.max_crashes and row.format <= claim.max_format


def _load_gates(db: sqlite3.Connection, loaded: Loaded, names: Collection[str]) -> None:
    gates = loaded.gates
    for record in select_in(db, _GATES, [name for name in names if name not in gates]):
        gates[record[0]] = gate_row(record)


def _load_held(db: sqlite3.Connection, loaded: Loaded, limit: int) -> None:
    """One round: gates that only a held task names are loaded, but not what they hold themselves."""
    tasks, further = loaded.tasks, set[str]()
    for gate in loaded.gates:
        records = db.execute(_HELD, (gate, limit)).fetchall()
        if records:
            rows = [tasks.get(record[0]) or task_row(record) for record in records]
            tasks.update((row.key, row) for row in rows)
            loaded.held[gate] = tuple(row.key for row in rows)
            further.update(*(row.gates for row in rows))
    _load_gates(db, loaded, further)


def _count_leased(db: sqlite3.Connection, loaded: Loaded, gates: Collection[str]) -> None:
    used = Counter[str]()
    for (names,) in db.execute(_LEASED_GATES):
        used.update(names.split("\n"))
    loaded.leased = {gate: used[gate] for gate in gates}
