"""Everything that is asked outside of turns, each one statement, so that all of its answer is of one moment."""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, cast

from a2a_server.model.objects import Lane, Phase, Scope
from a2a_server.model.queries import DueKind, Page, RowQuery, Snapshot, Table as Asked, TallyQuery
from a2a_server.model.rows import ArtifactRow, EventRow, Head, Key, MessageRow, RecordRow, TallyKey, TaskRow
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_load import NOW
from a2a_server.stores.postgresql_tables import (
    ARTIFACT,
    EDGE,
    EVENT,
    MESSAGE,
    PHASES,
    RECORD,
    STATES,
    TABLES,
    TAG,
    TASK,
    Record,
    event_row,
    numbered,
    tally_key,
    task_row,
)

MESSAGES: Final = "SELECT {columns} FROM message AS m WHERE m.task = task.key ORDER BY m.seq DESC LIMIT ?::int8"
# Of each artifact its newest take, by one walk back through the index.
_NEWEST: Final = (
    "(SELECT DISTINCT ON (id) * FROM artifact WHERE artifact.task = task.key ORDER BY id DESC, take DESC) AS a"
)
TAKES: Final = f"SELECT {{columns}} FROM {_NEWEST}"
# The chunks of takes whose content is nowhere else. Their pieces of the log are united, so that each is read once
# however many artifacts take turns in it.
CHUNKS: Final = (
    "SELECT {columns} FROM (SELECT "
    "range_agg(int8range(a.first_n, greatest(a.first_n, CASE WHEN a.closed THEN a.last_n ELSE task.last_n END) + 1)) "
    f"AS spans, array_agg(a.id) AS ids FROM {_NEWEST} WHERE octet_length(a.body) = 0 AND a.location = '') AS open "
    "CROSS JOIN LATERAL unnest(open.spans) AS span CROSS JOIN LATERAL (SELECT * FROM event "
    "WHERE event.task = task.key AND n >= lower(span) AND n < upper(span) AND kind = 2 AND artifact = ANY (open.ids) "
    "ORDER BY n OFFSET 0) AS e"
)


def content(*, artifacts: bool) -> str:
    """What is read of a task beside its row: arrays of messages and of takes, both backwards, and of chunks."""
    kept = [MESSAGES.format(columns=f"ROW({MESSAGE.of('m')})")]
    if artifacts:
        kept += [TAKES.format(columns=f"ROW({ARTIFACT.of('a')})"), CHUNKS.format(columns=f"ROW({EVENT.of('e')})")]
    return ", ".join(f"ARRAY({each})" for each in kept)


# `visible` in other words, so that no index of the visible ones alone is looked at.
_NAMED: Final = "WHERE tenant = ? AND owner = ? AND agent = ? AND id = ? AND visible IS NOT FALSE"
_FIND: Final = numbered(f"SELECT {TASK.listed} FROM task {_NAMED}")
_FIND_SNAPSHOT: Final = numbered(f"SELECT {TASK.listed}, {content(artifacts=True)} FROM task {_NAMED}")
_SNAPSHOT: Final = {
    artifacts: numbered(f"SELECT {TASK.listed}, {content(artifacts=artifacts)} FROM task WHERE key = ?")
    for artifacts in (True, False)
}
_EVENTS: Final = numbered(
    f"SELECT {EVENT.listed} FROM (SELECT *, sum(octet_length(body)) OVER up AS total, row_number() OVER up AS place "
    "FROM (SELECT * FROM event WHERE task = ? AND n > ? ORDER BY n LIMIT ?) AS next "
    "WINDOW up AS (ORDER BY n ROWS UNBOUNDED PRECEDING)) AS sized WHERE place = 1 OR total <= ?::int8 ORDER BY n"
)
_AHEAD: Final = numbered(
    "SELECT lane, count(*) FROM (SELECT lane FROM task WHERE phase = 3 AND queue = ? "
    "AND (lane, rank, key) < (?, ?, ?) ORDER BY lane, rank, key LIMIT ?) AS before GROUP BY lane"
)
_HELD_AHEAD: Final = _AHEAD.replace("phase = 3 AND queue", "phase = 4 AND held_by")
_LEASED: Final = (
    "SELECT worker, queue, count(*) FROM "
    "(SELECT worker, queue FROM task WHERE phase = 5 AND worker = ANY ($1::bytea[]) LIMIT $2) AS held GROUP BY 1, 2"
)
_HEADS: Final = "SELECT key, last_n, state, phase, cancel_at, fence, visible FROM task WHERE key = ANY ($1::bytea[])"

_DUE_ALARMS: Final = f"SELECT key FROM task WHERE due_at > 0 AND due_at <= (SELECT {NOW}) ORDER BY due_at, key LIMIT ?"
_DUE_ORPHANS: Final = (
    "SELECT key FROM task WHERE phase = 5 AND worker NOT IN "
    f"(SELECT id FROM worker WHERE NOT dead AND seen_at + ttl >= (SELECT {NOW})) ORDER BY worker, key LIMIT ?"
)
# The names of gates that hold tasks, each found by one step in the index however many it holds, and their room.
_DUE_HELD: Final = f"""
WITH RECURSIVE holding (name) AS (
  (SELECT held_by FROM task WHERE phase = 4 ORDER BY held_by LIMIT 1)
  UNION ALL
  SELECT (SELECT held_by FROM task WHERE phase = 4 AND held_by > holding.name ORDER BY held_by LIMIT 1)
  FROM holding WHERE holding.name IS NOT NULL
), open (name, room, gates) AS MATERIALIZED (
  SELECT holding.name, gate.capacity - gate.used, count(*) OVER ()
  FROM holding LEFT JOIN gate ON gate.key = holding.name
  WHERE holding.name IS NOT NULL AND (gate.key IS NULL
     OR (gate.closed_until <= (SELECT {NOW}) AND (gate.capacity IS NULL OR gate.used < gate.capacity)))
), asked (most) AS (VALUES (?::int8))
SELECT due.key FROM asked CROSS JOIN open CROSS JOIN LATERAL (
  SELECT key FROM task WHERE phase = 4 AND held_by = open.name
  ORDER BY lane, rank, key LIMIT least(open.room, greatest(1, asked.most / open.gates))
) AS due
LIMIT (SELECT most FROM asked)
"""
_DUE_PUSHES: Final = (
    f"SELECT task FROM push WHERE due_at > 0 AND due_at <= (SELECT {NOW}) AND NOT dead ORDER BY due_at LIMIT ?"
)
# Each task is found by one step in the index, however many of its edges are done.
_DUE_SETTLES: Final = """
WITH RECURSIVE waiting (downstream) AS (
  (SELECT downstream FROM edge WHERE done > 0 ORDER BY downstream LIMIT 1)
  UNION ALL
  SELECT (SELECT edge.downstream FROM edge WHERE done > 0 AND edge.downstream > waiting.downstream
          ORDER BY edge.downstream LIMIT 1)
  FROM waiting WHERE waiting.downstream IS NOT NULL
)
SELECT downstream FROM waiting WHERE downstream IS NOT NULL LIMIT ?
"""
_DUE: Final = {
    DueKind.ALARM: numbered(_DUE_ALARMS),
    DueKind.ORPHAN: numbered(_DUE_ORPHANS),
    DueKind.HELD: numbered(_DUE_HELD),
    DueKind.PUSH: numbered(_DUE_PUSHES),
    DueKind.SETTLE: numbered(_DUE_SETTLES),
}
_DUE_RECORDS: Final = numbered(
    f"SELECT {RECORD.of('due')} FROM unnest(?::text[]) AS want (kind) CROSS JOIN LATERAL "
    f"(SELECT * FROM record WHERE record.kind = want.kind AND due_at > 0 AND due_at <= (SELECT {NOW}) "
    f"ORDER BY due_at, tenant, owner, id LIMIT ?) AS due "
    f"ORDER BY due.due_at, {', '.join(f'due.{name}' for name in RECORD.key)} LIMIT ?"
)
_NEXT_ALARM: Final = numbered(
    "SELECT least((SELECT min(due_at) FROM task WHERE due_at > 0), "
    "(SELECT min(due.at) FROM unnest(?::text[]) AS want (kind) CROSS JOIN LATERAL "
    "(SELECT min(due_at) AS at FROM record WHERE record.kind = want.kind AND due_at > 0) AS due)) "
    f"- ({NOW})"
)
_OLDEST: Final = numbered(f"SELECT {TASK.listed} FROM task WHERE key > ? ORDER BY key LIMIT ?")
_ASKED: Final = {asked: TABLES[asked.value] for asked in Asked if asked.value in TABLES} | {
    Asked.EDGE_TO: EDGE._replace(key=("downstream", "upstream")),
    Asked.TAG_OF: TAG._replace(key=("task", "tag")),
}
_TALLIED = "tenant, owner, agent, queue, state, phase"


async def find(database: Database, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
    """See `TaskStore.find`."""
    record = await database.fetchrow(_FIND, scope.tenant, scope.owner, agent, task_id)
    return task_row(record) if record else None


async def find_snapshot(database: Database, named: tuple[str, str, str, str], history: int | None) -> Snapshot | None:
    """See `TaskStore.find_snapshot`. named: tenant, owner, agent, task id."""
    record = await database.fetchrow(_FIND_SNAPSHOT, history, *named)
    return snapshot_of(record) if record else None


async def snapshot(database: Database, key: Key, history: int | None, *, artifacts: bool) -> Snapshot | None:
    """See `TaskStore.snapshot`."""
    record = await database.fetchrow(_SNAPSHOT[artifacts], history, key)
    return snapshot_of(record) if record else None


def snapshot_of(record: Record) -> Snapshot:
    """The snapshot of a record of a task and its `content`."""
    task = task_row(record)
    messages = tuple(map(MessageRow._make, reversed(record[35])))
    if len(record) == len(TASK.columns) + 1:
        return Snapshot(task, messages)
    takes = tuple(map(ArtifactRow._make, reversed(record[36])))
    return Snapshot(task, messages, takes, _own_chunks(task, takes, record[37]))


def _own_chunks(task: TaskRow, takes: Sequence[ArtifactRow], records: Iterable[Record]) -> tuple[EventRow, ...]:
    """Without those that an earlier take of the same artifact left between."""
    spans = {take.id: (take.first_n, take.last_n if take.closed else task.last_n) for take in takes}
    chunks: list[EventRow] = []
    for chunk in map(event_row, records):
        first, last = spans[cast("int", chunk.artifact)]
        if first <= chunk.n <= last:
            chunks.append(chunk)
    chunks.sort(key=_number)
    return tuple(chunks)


def _number(event: EventRow) -> int:
    return event.n


async def events(database: Database, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
    """See `TaskStore.events`."""
    return [event_row(record) for record in await database.fetch(_EVENTS, key, after, limit, limit_bytes)]


async def heads(database: Database, keys: Collection[Key]) -> Mapping[Key, Head]:
    """See `TaskStore.heads`."""
    return {
        key: Head(last_n, STATES[state], PHASES[phase], cancel_at, fence, visible)
        for key, last_n, state, phase, cancel_at, fence, visible in await database.fetch(_HEADS, list(keys))
    }


async def due(database: Database, kind: DueKind, limit: int, offset: int) -> Sequence[Key]:
    """See `TaskStore.due`."""
    moment = () if kind is DueKind.SETTLE else (offset,)
    records = await database.fetch(_DUE[kind], *moment, limit)
    return list(dict.fromkeys(record[0] for record in records))  # a task may have several pushes due


async def next_alarm(database: Database, kinds: Collection[str], offset: int) -> int | None:
    """See `TaskStore.next_alarm`."""
    alarm: int | None = await database.fetchval(_NEXT_ALARM, list(kinds), offset)
    return None if alarm is None else max(0, alarm)


async def due_records(database: Database, kinds: Collection[str], limit: int, offset: int) -> Sequence[RecordRow]:
    """See `TaskStore.due_records`."""
    records = await database.fetch(_DUE_RECORDS, list(kinds), offset, limit, limit)
    return [RecordRow._make(record) for record in records]


async def oldest(database: Database, after: Key, limit: int) -> Sequence[TaskRow]:
    """See `TaskStore.oldest`."""
    return [task_row(record) for record in await database.fetch(_OLDEST, after, limit)]


async def ahead(database: Database, row: TaskRow, most: int) -> Mapping[Lane, int]:
    """See `TaskStore.ahead`."""
    sql, among = (_HELD_AHEAD, row.held_by) if row.phase is Phase.HELD else (_AHEAD, row.queue)
    records = await database.fetch(sql, among, int(row.lane), row.rank, row.key, most)
    return {Lane(lane): count for lane, count in records}


async def leased(database: Database, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
    """See `TaskStore.leased`."""
    records = await database.fetch(_LEASED, list(workers), max(0, most))
    return {(worker, queue): count for worker, queue, count in records}


async def rows(database: Database, query: RowQuery) -> Page[tuple[object, ...]]:
    """See `TaskStore.rows`. Raises ValueError for a prefix longer than the key, or an `after` that is not a key."""
    table = _ASKED[query.table]
    keys = table.key
    if len(query.prefix) > len(keys) or (query.after is not None and len(query.after) != len(keys)):
        raise ValueError(f"the primary key of {query.table.value} is {', '.join(keys)}")
    start = len(query.prefix) if (query.after or ())[: len(query.prefix)] == query.prefix else 0
    start = min(start, len(keys) - 1)  # a whole key as the prefix leaves nothing to compare
    filters = [f"{name} = ?" for name in keys[: len(query.prefix)]]
    if query.after is not None:
        behind = keys[start:]
        filters.append(f"({', '.join(behind)}) > ({', '.join('?' * len(behind))})")
    where = f"WHERE {' AND '.join(filters)} " if filters else ""
    sql = f"SELECT {table.listed} FROM {table.name} {where}ORDER BY {', '.join(keys)} LIMIT ?"
    values = (*query.prefix, *(query.after or ())[start:], query.limit + 1)
    records = await database.fetch(numbered(sql), *values)
    return Page([table.make(record) for record in records[: query.limit]], more=len(records) > query.limit)


async def totals(database: Database, query: TallyQuery) -> Mapping[TallyKey, int]:
    """See `TaskStore.totals`."""
    given = {name: getattr(query, name) for name in TallyKey._fields if getattr(query, name) is not None}
    where = f"WHERE {' AND '.join(f'{name} = ?' for name in given)} " if given else ""
    sql = f"SELECT {_TALLIED}, sum(count)::int8 FROM tally {where}GROUP BY {_TALLIED} HAVING sum(count) <> 0"
    records = await database.fetch(numbered(sql), *given.values())
    return {tally_key(record[:6]): record[6] for record in records}
