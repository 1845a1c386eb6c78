"""Loading of a turn, on the writer's thread, inside its transaction.

`BEGIN IMMEDIATE` has taken the one write lock before anything is read here, so whatever a turn loads stays as it is
until its commit; nothing is locked row by row and nothing has to be skipped. Statements are few and fixed: rows are
fetched by lists of a few fixed sizes, candidates of claims by one index probe for each queue.
"""

# ruff: noqa: S608 - nothing but our own columns is put into SQL

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Phase
from a2a_server.model.rows import (
    EdgeRow,
    FairKey,
    Interest,
    Key,
    RecordRow,
    SentKey,
    SentRow,
    TaskName,
    TaskRow,
)
from a2a_server.model.turns import ClaimNeed, Loaded, Needs
from a2a_server.stores.sqlite_rows import (
    ARTIFACT_COLUMNS,
    PUSH_COLUMNS,
    TASK_COLUMNS,
    Database,
    artifact_row,
    gate_row,
    push_row,
    select_in,
    select_wide,
    sized,
    task_row,
    worker_row,
)

_TOLD: Final = Interest.TOLD
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
_READY_IN_LANE: Final = (
    "SELECT lane, rank, key FROM task INDEXED BY task_ready "
    "WHERE phase = 3 AND queue = ? AND lane = ? AND crashes <= ? AND format <= ? ORDER BY rank, key LIMIT ?"
)
_ANY_READY: Final = "SELECT 1 FROM task INDEXED BY task_ready WHERE phase = 3 AND queue = ? LIMIT 1"
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
# Most servers have few gates: one look at the beginning of their table tells of all of them, or that there are more.
_FEW: Final = 8
_FEW_GATES: Final = (
    "SELECT key, capacity, used, tokens, refilled_at, closed_until, reason, rev FROM gate "
    f"WHERE key >= '' ORDER BY key LIMIT {_FEW + 1}"
)
_WORKERS: Final = sized("SELECT id, seen_at, ttl, dead, format, body FROM worker WHERE id IN ({list})")
_PUSHES: Final = sized(f"SELECT {PUSH_COLUMNS} FROM push WHERE task IN ({{list}}) ORDER BY task, id")
_EDGES: Final = sized(
    "SELECT upstream, downstream, on_failure, done FROM edge INDEXED BY edge_downstream "
    "WHERE downstream IN ({list}) ORDER BY downstream, upstream"
)
_RECORDS: Final = sized(
    "WITH want (kind, tenant, owner, id) AS (VALUES {list}) "
    "SELECT record.kind, record.tenant, record.owner, record.id, rev, due_at, body "
    "FROM want CROSS JOIN record USING (kind, tenant, owner, id)",
    width=4,
)
_TAKES: Final = sized(
    f"SELECT {ARTIFACT_COLUMNS} FROM artifact AS a WHERE task IN ({{list}}) AND closed = 0 AND NOT EXISTS "
    "(SELECT 1 FROM artifact AS b WHERE b.task = a.task AND b.id = a.id AND b.take > a.take) ORDER BY task, id"
)


def load(db: Database, needs: Needs, now: int) -> Loaded:
    """What the open transaction sees of `needs`. Raises sqlite3.Error, OverflowError, UnicodeEncodeError."""
    loaded = Loaded(now=now)
    _load_tasks(db, loaded, needs)
    gates = needs.gates
    if loaded.tasks:
        gates = gates.union(_keys(set[str]().union(*{row.gates for row in loaded.tasks.values()})))
    _load_gates(db, loaded, gates)
    if needs.held > 0 and loaded.gates:
        _load_held(db, loaded, needs.held)
    if needs.recount:
        _count_leased(db, loaded, needs.recount)
    for queue in needs.queues:
        if db.execute(_ANY_READY, (queue,)).fetchone():
            heads = db.execute(_HEADS, (queue,)).fetchall()
            loaded.heads.update(((queue, lane), rank) for lane, rank in heads if rank is not None)
    if loaded.tasks and (told := [row.key for row in loaded.tasks.values() if row.pushes & _TOLD]):
        _load_pushes(db, loaded, told)
    _load_named(db, loaded, needs)
    return loaded


def _load_named(db: Database, loaded: Loaded, needs: Needs) -> None:
    """What no other row leads to."""
    if needs.fair:
        loaded.fair = {FairKey(*record[:5]): record[5] for record in select_wide(db, _FAIR, needs.fair)}
    if needs.workers:
        loaded.workers = {record[0]: worker_row(record) for record in select_in(db, _WORKERS, needs.workers)}
    if needs.takes:
        _load_takes(db, loaded, needs.takes)
    if needs.waits:
        _load_waits(db, loaded, needs.waits)
    if needs.records:
        found = map(RecordRow._make, select_wide(db, _RECORDS, needs.records))
        loaded.records = {row.key: row for row in found}


def _load_takes(db: Database, loaded: Loaded, keys: Collection[Key]) -> None:
    for record in select_in(db, _TAKES, keys):
        take = artifact_row(record)
        loaded.takes[take.task] = (*loaded.takes.get(take.task, ()), take)


def _load_waits(db: Database, loaded: Loaded, keys: Collection[Key]) -> None:
    arrived: dict[Key, list[EdgeRow]] = {}
    for record in select_in(db, _EDGES, keys):
        edge = EdgeRow._make(record)
        counts = loaded.waits.setdefault(edge.downstream, {})
        kind = (edge.on_failure, edge.done)
        counts[kind] = counts.get(kind, 0) + 1
        if edge.done > 0:
            arrived.setdefault(edge.downstream, []).append(edge)
    loaded.arrived = {key: tuple(edges) for key, edges in arrived.items()}


def _load_pushes(db: Database, loaded: Loaded, keys: Collection[Key]) -> None:
    for record in select_in(db, _PUSHES, keys):
        push = push_row(record)
        loaded.pushes[push.task] = (*loaded.pushes.get(push.task, ()), push)


def _load_tasks(db: Database, loaded: Loaded, needs: Needs) -> None:
    tasks = loaded.tasks
    if needs.names:
        for record in select_wide(db, _TASKS_BY_NAME, needs.names):
            tasks[record[0]] = task_row(record)
            loaded.names[TaskName(*record[2:6])] = record[0]
    sent = [SentRow._make(record) for record in select_wide(db, _SENT, needs.sent)] if needs.sent else []
    keys = needs.tasks.union(needs.takes)
    if sent:
        keys.update([row.task for row in sent])
    claims, best = needs.claims, list[list[Key]]()
    if claims:
        best = [_best_ready(db, claim) for claim in claims]
        keys.update(*best, *[claim.hinted for claim in claims])
    keys.difference_update(tasks)
    if keys:
        tasks.update((record[0], task_row(record)) for record in select_in(db, _TASKS_BY_KEY, keys))
    if sent:
        loaded.sent = {SentKey(*row[:5]): row for row in sent if row.task in tasks}
    if claims:
        loaded.claims = [_candidates(loaded, *pair) for pair in zip(claims, best, strict=True)]


def _best_ready(db: Database, claim: ClaimNeed) -> list[Key]:
    found: list[tuple[int, int, Key]] = []
    for queue in dict.fromkeys(claim.queues):
        if claim.lanes:
            found.extend(_best_of_lanes(db, claim, queue))
        else:
            found.extend(db.execute(_READY, (queue, claim.max_crashes, claim.max_format, claim.limit)))
    if len(claim.queues) > 1:
        found.sort()
    return [key for _, _, key in found[: claim.limit]]


def _best_of_lanes(db: Database, claim: ClaimNeed, queue: str) -> list[tuple[int, int, Key]]:
    found: list[tuple[int, int, Key]] = []
    for lane in sorted(set(claim.lanes)):
        left = claim.limit - len(found)
        if left <= 0:
            break
        found.extend(db.execute(_READY_IN_LANE, (queue, int(lane), claim.max_crashes, claim.max_format, left)))
    return found


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
    if claim.lanes and row.lane not in claim.lanes:
        return False
    return row.crashes <= claim.max_crashes and row.format <= claim.max_format


def _keys(names: set[str]) -> set[str]:
    """The keys of gates as tasks name them; hardly any is named with an amount."""
    amounts = [name for name in names if "*" in name]
    return names.difference(amounts).union([gate_of(name)[0] for name in amounts]) if amounts else names


def _load_gates(db: Database, loaded: Loaded, names: set[str]) -> None:
    gates = loaded.gates
    if wanted := names.difference(gates):
        found = db.execute(_FEW_GATES).fetchall()
        if len(found) > _FEW:
            found = select_in(db, _GATES, wanted)
        gates.update((record[0], gate_row(record)) for record in found if record[0] in wanted)


def _load_held(db: Database, loaded: Loaded, limit: int) -> None:
    """One round: gates that only a held task names are loaded, but not what they hold themselves."""
    tasks, further = loaded.tasks, set[str]()
    for gate in loaded.gates:
        records = db.execute(_HELD, (gate, limit)).fetchall()
        if records:
            rows = [tasks.get(record[0]) or task_row(record) for record in records]
            tasks.update((row.key, row) for row in rows)
            loaded.held[gate] = tuple(row.key for row in rows)
            further.update(*(row.gates for row in rows))
    _load_gates(db, loaded, _keys(further))


def _count_leased(db: Database, loaded: Loaded, gates: Collection[str]) -> None:
    used = Counter[str]()
    for (names,) in db.execute(_LEASED_GATES):
        if "*" in names:
            for name in names.split("\n"):
                gate, amount = gate_of(name)
                used[gate] += amount
        else:
            used.update(names.split("\n"))
    loaded.leased = {gate: used[gate] for gate in gates}
