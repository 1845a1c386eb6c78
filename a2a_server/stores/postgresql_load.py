"""Loading of a turn, in its transaction: what is named is waited for in one order, what is found is never waited for.

The order of locks is tasks by key, then gates, fair rows, workers and records, each by key; every turn takes them so,
in two statements. Candidates of claims and held tasks are taken as far as nobody else has them (SKIP LOCKED), and a
held task goes with the gates that only it names or is left for another turn. Isolation is READ COMMITTED, where each
statement sees what was committed before it: so the rows of a task, its edges among them, are read in a statement after
the one that locked it.
"""

# ruff: noqa: S608 - nothing but our own columns is put into SQL

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from a2a_server.errors import Conflict
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Lane
from a2a_server.model.rows import (
    EdgeRow,
    FairKey,
    GateRow,
    Interest,
    Key,
    RecordKey,
    RecordRow,
    SentKey,
    SentRow,
    TaskName,
    TaskRow,
    WorkerRow,
)
from a2a_server.model.turns import ClaimNeed, Loaded, Needs
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import (
    ARTIFACT,
    EDGE,
    FAIR,
    GATE,
    PUSH,
    RECORD,
    SENT,
    TASK,
    WORKER,
    Record,
    Table,
    fair_row,
    numbered,
    task_row,
)

NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8 + ?::int8"
"""The moment in microseconds, and an offset."""

_TOLD: Final = Interest.TOLD
_NAME = ", ".join(TaskName._fields)
_SENT_KEY = ", ".join(SentKey._fields)
_FAIR_KEY = ", ".join(FairKey._fields)
_RECORD_KEY = ", ".join(RecordKey._fields)


def _each(table: Table, key: Iterable[str], then: str = "OFFSET 0") -> str:
    """Joins the row `found` of each `want`: looked for one by one and in their order, by the whole key."""
    same = " AND ".join(f"{table.name}.{name} = want.{name}" for name in key)
    return f"CROSS JOIN LATERAL (SELECT {table.listed} FROM {table.name} WHERE {same} {then}) AS found"


_BY_KEY: Final = numbered(f"SELECT {TASK.listed} FROM task WHERE key = ANY (?::bytea[]) ORDER BY key FOR UPDATE")
_NAMED: Final = numbered(
    f"SELECT {TASK.listed} FROM task WHERE key = ANY (ARRAY("
    "SELECT unnest(?::bytea[]) "
    f"UNION ALL SELECT found.key FROM {TASK.unnested(TaskName._fields)} AS want ({_NAME}) "
    f"{_each(TASK, TaskName._fields)} "
    f"UNION ALL SELECT found.task FROM {SENT.unnested(SentKey._fields)} AS want ({_SENT_KEY}) "
    f"{_each(SENT, SentKey._fields)})) ORDER BY key FOR UPDATE"
)

_READY: Final = "phase = 3 AND queue = ? AND crashes <= ? AND format <= ?"
_STILL_READY: Final = "task.phase + 0 = 3"  # the sum keeps the index of all ready tasks out of it
_OF_LANES: Final = " AND lane BETWEEN ? AND ?"  # a run of neighbours: one range of the index, in its order
_BEST: Final = f"SELECT {TASK.listed} FROM task WHERE {{ready}} ORDER BY lane, rank, key LIMIT ? FOR UPDATE SKIP LOCKED"
# Each queue, or run of lanes in it, is read in its order, and merged with the others, only as far as there are rows to
# take. OFFSET keeps `best` whole: PostgreSQL looks again at each row that another claim changed meanwhile, and would
# read all ranges anew to find its place.
_BEST_OF_MANY: Final = (
    f"SELECT {TASK.of('task')} FROM (SELECT key, lane, rank FROM ({{ranges}}) AS merged ORDER BY lane, rank, key "
    "OFFSET 0) AS best JOIN task ON task.key = best.key "
    f"WHERE {_STILL_READY} AND task.queue = ANY (?::text[]) AND task.crashes <= ? AND task.format <= ?{{still}} "
    "ORDER BY best.lane, best.rank, best.key LIMIT ? FOR UPDATE OF task SKIP LOCKED"
)
_HINTED: Final = (
    f"SELECT {TASK.listed} FROM task WHERE key = ANY (?::bytea[]) "
    f"AND {_STILL_READY} AND queue = ANY (?::text[]) AND crashes <= ? AND format <= ?{{still}} "
    "ORDER BY key FOR UPDATE SKIP LOCKED"
)
_STILL_OF_LANES: Final = " AND task.lane = ANY (?::int2[])"

_HELD: Final = numbered(
    f"SELECT {TASK.of('task')} FROM unnest(?::text[]) AS want (gate) CROSS JOIN LATERAL "
    "(SELECT * FROM task WHERE phase = 4 AND held_by = want.gate "
    "ORDER BY lane, rank, key LIMIT ? FOR UPDATE SKIP LOCKED) AS task"
)
_FREE_GATES: Final = numbered(
    f"SELECT ARRAY(SELECT ROW({GATE.listed}) FROM gate WHERE key = ANY (?::text[]) ORDER BY key "
    "FOR UPDATE SKIP LOCKED), ARRAY(SELECT key FROM gate WHERE key = ANY (?::text[]))"
)
# By name: how much a name with an amount counts, `gate_of` says.
_LEASED: Final = (
    "SELECT gate, count(*) FROM task CROSS JOIN LATERAL unnest(string_to_array(gates, chr(10))) AS gate "
    "WHERE phase = 5 AND (gate = ANY ($1::text[]) OR strpos(gate, '*') > 0) GROUP BY gate"
)
_FORGET_SENT: Final = numbered(f"DELETE FROM sent WHERE ({_SENT_KEY}) = (?, ?, ?, ?, ?)")

# Parts of the one statement that reads everything beside tasks. Those that lock stand first, in the order of locks:
# columns of a SELECT are made from left to right.
_GATES, _FAIR, _WORKERS, _RECORDS, _SENT, _HEADS, _TAKES, _PUSHES, _WAITS, _ARRIVED = range(10)
_COMPOSED: Final = {_FAIR, _RECORDS, _SENT}  # their keys are of several columns
_PARTS: Final = {
    _GATES: f"SELECT ROW({GATE.listed}) FROM gate WHERE key = ANY (?::text[]) ORDER BY key FOR UPDATE",
    _FAIR: (
        f"SELECT ROW({FAIR.of('found')}) FROM {FAIR.unnested(FairKey._fields)} AS want ({_FAIR_KEY}) "
        + _each(FAIR, FairKey._fields, "FOR UPDATE")
    ),
    _WORKERS: f"SELECT ROW({WORKER.listed}) FROM worker WHERE id = ANY (?::bytea[]) ORDER BY id FOR UPDATE",
    _RECORDS: (
        f"SELECT ROW({RECORD.of('found')}) FROM {RECORD.unnested(RecordKey._fields)} AS want ({_RECORD_KEY}) "
        + _each(RECORD, RecordKey._fields, "FOR UPDATE")
    ),
    _SENT: (
        f"SELECT ROW({SENT.of('found')}, EXISTS (SELECT FROM task WHERE key = found.task)) "
        f"FROM {SENT.unnested(SentKey._fields)} AS want ({_SENT_KEY}) {_each(SENT, SentKey._fields)}"
    ),
    _HEADS: (
        "SELECT ROW(want.queue, lanes.lane, head.rank) FROM unnest(?::text[]) AS want (queue) "
        "CROSS JOIN (VALUES (1::int2), (2), (3), (4), (5)) AS lanes (lane) CROSS JOIN LATERAL (SELECT rank FROM task "
        "WHERE phase = 3 AND queue = want.queue AND lane = lanes.lane ORDER BY rank LIMIT 1) AS head"
    ),
    _TAKES: (
        f"SELECT ROW({ARTIFACT.of('a')}) FROM artifact AS a WHERE task = ANY (?::bytea[]) AND NOT closed "
        "AND take = (SELECT max(b.take) FROM artifact AS b WHERE b.task = a.task AND b.id = a.id) ORDER BY task, id"
    ),
    _PUSHES: f"SELECT ROW({PUSH.listed}) FROM push WHERE task = ANY (?::bytea[]) ORDER BY task, id",
    _WAITS: (
        "SELECT ROW(downstream, on_failure, done, count(*)) FROM edge WHERE downstream = ANY (?::bytea[]) "
        "GROUP BY downstream, on_failure, done"
    ),
    _ARRIVED: f"SELECT ROW({EDGE.listed}) FROM edge WHERE downstream = ANY (?::bytea[]) AND done > 0",
}


async def load(database: Database, needs: Needs, now: Callable[[int], int], offset: int) -> Loaded:
    """What the open transaction sees of `needs`, locked. now: makes the server's moment the store's.

    Raises Conflict where something came in between, and the driver's errors.
    """
    loaded = Loaded(now=0)
    await _load_named(database, loaded, needs)
    for claim in needs.claims:
        await _load_claim(database, loaded, claim)
    asked = _gates(loaded.tasks.values()) | needs.gates
    loaded.now = now(await _load_beside(database, loaded, needs, asked, offset))
    if needs.held > 0 and loaded.gates:
        await _load_held(database, loaded, needs.held, asked)
    if needs.recount:
        loaded.leased = dict.fromkeys(needs.recount, 0)
        for name, tasks in await database.fetch(_LEASED, list(needs.recount)):
            gate, amount = gate_of(name)
            if gate in needs.recount:
                loaded.leased[gate] += amount * tasks
    return loaded


async def _load_named(database: Database, loaded: Loaded, needs: Needs) -> None:
    keys = [*needs.tasks.union(needs.takes)]
    if needs.names or needs.sent:
        arguments = (keys, *_arrays(needs.names, 4), *_arrays(needs.sent, 5))
        records = await database.fetch(_NAMED, *arguments)
    elif keys:
        records = await database.fetch(_BY_KEY, keys)
    else:
        return
    loaded.tasks = {record[0]: task_row(record) for record in records}
    if needs.names:
        found = {row.name: row.key for row in loaded.tasks.values()}
        loaded.names = {name: found[name] for name in needs.names if name in found}


async def _load_claim(database: Database, loaded: Loaded, claim: ClaimNeed) -> None:
    queues = list(dict.fromkeys(claim.queues))
    bounds = (claim.max_crashes, claim.max_format)
    ranges = [(queue, *bounds, *run) for queue in queues for run in _runs(claim.lanes)]
    still = (queues, *bounds, claim.lanes) if claim.lanes else (queues, *bounds)
    arguments: list[object] = [value for each in ranges for value in each]
    arguments += (claim.limit,) if len(ranges) == 1 else (*still, claim.limit)
    if claim.hinted:
        arguments += (list(claim.hinted), *still)
    places = set[tuple[int, int, Key]]()
    if queues:
        sql = _claim(len(ranges), lanes=bool(claim.lanes), hinted=bool(claim.hinted))
        for record in await database.fetch(sql, *arguments):
            row = loaded.tasks.setdefault(record[0], task_row(record))
            places.add((row.lane, row.rank, row.key))
    loaded.claims.append(tuple(key for _, _, key in sorted(places)))


def _runs(lanes: tuple[Lane, ...]) -> list[tuple[int, ...]]:
    """The first and the last of each run of neighbours; without lanes one run, of all, that has no bounds."""
    runs: list[tuple[int, ...]] = []
    for lane in sorted(set(lanes)):
        if runs and runs[-1][1] == lane - 1:
            runs[-1] = (runs[-1][0], lane)
        else:
            runs.append((lane, lane))
    return runs or [()]


@lru_cache(maxsize=256)
def _claim(ranges: int, *, lanes: bool, hinted: bool) -> str:
    ready, still = (_READY + _OF_LANES, _STILL_OF_LANES) if lanes else (_READY, "")
    best = _BEST.format(ready=ready)
    if ranges > 1:
        one = f"(SELECT key, lane, rank FROM task WHERE {ready} ORDER BY lane, rank, key)"
        best = _BEST_OF_MANY.format(ranges=" UNION ALL ".join([one] * ranges), still=still)
    if hinted:
        found = _HINTED.format(still=still)
        best = f"WITH best AS ({best}), hinted AS ({found}) SELECT * FROM best UNION ALL SELECT * FROM hinted"
    return numbered(best)


async def _load_beside(database: Database, loaded: Loaded, needs: Needs, gates: Collection[str], offset: int) -> int:
    """Everything that is no task, and the server's moment, which is read last."""
    asked: dict[int, Collection[Any]] = {
        _GATES: gates,
        _FAIR: sorted(needs.fair),
        _WORKERS: needs.workers,
        _RECORDS: sorted(needs.records),
        _SENT: needs.sent,
        _HEADS: needs.queues,
        _TAKES: needs.takes,
        _PUSHES: [row.key for row in loaded.tasks.values() if row.pushes & _TOLD],
        _WAITS: needs.waits,
        _ARRIVED: needs.waits,
    }
    wanted = [part for part, keys in asked.items() if keys]
    arguments: list[object] = []
    for part in wanted:
        arguments += _arrays(asked[part], 0) if part in _COMPOSED else [[*asked[part]]]
    *parts, now = await database.fetchrow(_beside(tuple(wanted)), *arguments, offset)
    found: dict[int, list[Record]] = dict(zip(wanted, parts, strict=True))
    loaded.gates = {record[0]: GateRow._make(record) for record in found.get(_GATES, ())}
    loaded.fair = dict(map(fair_row, found.get(_FAIR, ())))
    loaded.workers = {record[0]: WorkerRow._make(record) for record in found.get(_WORKERS, ())}
    loaded.records = {row.key: row for row in map(RecordRow._make, found.get(_RECORDS, ()))}
    loaded.heads = {(queue, lane): rank for queue, lane, rank in found.get(_HEADS, ())}
    for gone in _keep_sent(loaded, found.get(_SENT, ())):
        await database.execute(_FORGET_SENT, *gone)
    _group(loaded.takes, ARTIFACT, found.get(_TAKES, ()))
    _group(loaded.pushes, PUSH, found.get(_PUSHES, ()))
    for downstream, on_failure, done, edges in found.get(_WAITS, ()):
        loaded.waits.setdefault(downstream, {})[on_failure, done] = edges
    arrived = sorted(map(EdgeRow._make, found.get(_ARRIVED, ())), key=itemgetter(1, 0))
    loaded.arrived = {key: tuple(edges) for key, edges in groupby(arrived, itemgetter(1))}
    moment: int = now
    return moment


@lru_cache(maxsize=256)
def _beside(parts: tuple[int, ...]) -> str:
    return numbered(f"SELECT {', '.join([*(f'ARRAY({_PARTS[part]})' for part in parts), NOW])}")


def _keep_sent(loaded: Loaded, records: Iterable[Record]) -> list[SentKey]:
    """Returns those whose task is gone; nobody needs them, and they would be in the way of a new one."""
    gone: list[SentKey] = []
    for *record, exists in records:
        row = SentRow._make(record)
        if row.task in loaded.tasks:
            loaded.sent[row.key] = row
        elif exists:
            raise Conflict("a send was accepted meanwhile")
        else:
            gone.append(row.key)
    return gone


def _group(groups: dict[Any, tuple[Any, ...]], table: Table, records: Iterable[Record]) -> None:
    for record in records:
        row = table.make(record)
        groups[row[0]] = (*groups.get(row[0], ()), row)


async def _load_held(database: Database, loaded: Loaded, limit: int, asked: set[str]) -> None:
    """One round: gates that only a held task names are loaded, but not what they hold themselves."""
    rows = [task_row(record) for record in await database.fetch(_HELD, [*loaded.gates], limit)]
    if further := _gates(rows) - asked:
        names = [*further]
        free, existing = await database.fetchrow(_FREE_GATES, names, names)
        gates = {record[0]: GateRow._make(record) for record in free}
        taken = set(existing) - gates.keys()
        rows = [row for row in rows if taken.isdisjoint(_keys(row.gates))]
        named = _gates(rows)
        loaded.gates.update((name, gate) for name, gate in gates.items() if name in named)
    held: dict[str, list[TaskRow]] = {}
    for row in rows:
        held.setdefault(row.held_by, []).append(loaded.tasks.setdefault(row.key, row))
    for gate, tasks in held.items():
        tasks.sort(key=_place)
        loaded.held[gate] = tuple(row.key for row in tasks)


def _gates(rows: Iterable[TaskRow]) -> set[str]:
    return set[str]().union(*map(_keys, {row.gates for row in rows}))


# Tasks of one owner and skill name the same gates.
@lru_cache(maxsize=1024)
def _keys(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(gate_of(name)[0] for name in names)


def _place(row: TaskRow) -> tuple[int, int, Key]:
    return (row.lane, row.rank, row.key)


def _arrays(rows: Collection[tuple[Any, ...]], width: int) -> Iterable[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
