"""Writing of a turn, in its transaction: one statement, in which each kind of change is a part, and few that are rare.

Rows with keys that other turns may make too are inserted in the order (table, key) and only where nobody was first; if
one was, the turn is a Conflict and is decided again. Rows that the turn has looked at are locked already, so the parts
wait for nothing else. All of that holds because parts are carried out in the order in which the last SELECT counts
their rows, and rows in the order of the arrays.
"""

# ruff: noqa: S608 - nothing but our own columns is put into SQL

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from a2a_server.errors import Conflict
from a2a_server.model.rows import PushRow, SentKey, StateRow, TaskRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import (
    ARTIFACT,
    EDGE,
    EVENT,
    FAIR,
    GATE,
    JOURNAL,
    MESSAGE,
    PUSH,
    RECORD,
    SENT,
    STATE,
    TAG,
    TALLY,
    TASK,
    WORKER,
    Record,
    Table,
    numbered,
    plain,
    task_record,
)

_POSITION = {name: index for index, name in enumerate(TaskRow._fields)}
# What changes with every event; then what changes when a task moves, too. A value that is not written again, if it is
# large, is not copied; and a row of which no indexed value changes adds nothing to an index.
_NOTED = ("last_n", "journal_n", "cancel_at", "unmet", "pushes")
_MOVED = (
    *_NOTED,
    *("visible", "lane", "rank", "held_by", "state", "phase", "status_at", "due_at", "deadline_at", "worker"),
    *("fence", "attempt", "max_attempts", "crashes", "status"),
)
_ALL = tuple(name for name in TaskRow._fields if name not in {"key", "rev"})


def _update(table: Table, names: Sequence[str]) -> str:
    """Rows of key, rev and the columns, guarded by rev."""
    listed = (*table.key, "rev", *names)
    sets = ", ".join(f"{name} = want.{name}" for name in listed[len(table.key) :])
    return (
        f"UPDATE {table.name} SET {sets} FROM {table.unnested(listed)} AS want ({', '.join(listed)}) "
        f"WHERE {_same(table.name, 'want', table.key)} AND {table.name}.rev = want.rev - 1"
    )


def _same(one: str, other: str, names: Iterable[str]) -> str:
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in names)


def _picked(names: Iterable[str]) -> itemgetter[Any]:
    return itemgetter(*(_POSITION[name] for name in ("key", "rev", *names)))


def _others(names: Iterable[str]) -> itemgetter[Any]:
    return itemgetter(*sorted(_POSITION[name] for name in set(_POSITION) - set(names) - {"rev"}))


_BEYOND_NOTE: Final = _others(_NOTED)
_BEYOND_MOVE: Final = _others(_MOVED)
_FIRST: Final = itemgetter(0)
_NOTE: Final = _picked(_NOTED)
_MOVE: Final = _picked(_MOVED)
_REPLACE: Final = _picked(_ALL)

ADD_TALLY: Final = TALLY.insert(
    f"ON CONFLICT ({', '.join(TALLY.key)}) DO UPDATE SET count = tally.count + excluded.count"
)
_PARTS: Final = {
    "new_task": TASK.insert("ON CONFLICT DO NOTHING"),
    "note": _update(TASK, _NOTED),
    "move": _update(TASK, _MOVED),
    "replace": _update(TASK, _ALL),
    "new_sent": SENT.insert("ON CONFLICT DO NOTHING"),
    "sent": SENT.upsert(),
    "event": EVENT.insert(),
    "journal": JOURNAL.insert(),
    "message": MESSAGE.insert(),
    "artifact": ARTIFACT.upsert(),
    "state": STATE.upsert(),
    "push": PUSH.upsert(),
    "edge": EDGE.insert("ON CONFLICT DO NOTHING"),
    "tag": TAG.insert("ON CONFLICT DO NOTHING"),
    "new_record": RECORD.insert("ON CONFLICT DO NOTHING"),
    "record": _update(RECORD, ("due_at", "body")),
    "new_gate": GATE.insert("ON CONFLICT DO NOTHING"),
    "gate": _update(GATE, tuple(name for name in GATE.names if name not in {"key", "rev"})),
    "new_fair": FAIR.insert("ON CONFLICT DO NOTHING"),
    "fair": FAIR.upsert(),
    # Dead is for ever, and the last beat stays the worker's own word.
    "worker": WORKER.insert("ON CONFLICT (id) DO UPDATE SET dead = worker.dead OR excluded.dead"),
    "tally": ADD_TALLY,
}
_GUARDED: Final = {
    "new_task": "a new task has the name of another one",
    **dict.fromkeys(("note", "move", "replace"), "another writer changed a task"),
    "new_sent": "another writer accepted the same send",
    **dict.fromkeys(("new_record", "record"), "another writer changed a record"),
    **dict.fromkeys(("new_gate", "gate"), "another writer changed a gate"),
    "new_fair": "another writer counted first",
}
_FORGET_STATES: Final = (
    "DELETE FROM state USING unnest($1::bytea[], $2::text[], $3::text[]) AS want (scope, space, name) "
    "WHERE state.scope = want.scope AND state.space = want.space AND state.name = want.name"
)
_FORGET_WORKERS: Final = "DELETE FROM worker WHERE id = ANY ($1::bytea[])"
_FORGET_GATES: Final = "DELETE FROM gate WHERE key = ANY ($1::text[])"
_FORGET_FAIR: Final = numbered(
    f"DELETE FROM fair USING {FAIR.unnested(FAIR.key)} AS want ({', '.join(FAIR.key)}) "
    f"WHERE {_same('fair', 'want', FAIR.key)}"
)
_GONE_RECORD = (*RECORD.key, "rev")
_FORGET_RECORDS: Final = numbered(
    f"WITH gone AS (DELETE FROM record USING {RECORD.unnested(_GONE_RECORD)} AS want ({', '.join(_GONE_RECORD)}) "
    f"WHERE {_same('record', 'want', _GONE_RECORD)} RETURNING 1) SELECT count(*) FROM gone"
)


def locked(table: Table) -> str:
    """The rows of `want`, those that are there, locked one by one in the order of their keys."""
    key = ", ".join(table.key)
    return (
        f"SELECT want.* FROM (SELECT * FROM want ORDER BY {key}) AS want CROSS JOIN LATERAL "
        f"(SELECT FROM {table.name} WHERE {_same(table.name, 'want', table.key)} FOR UPDATE) AS found"
    )


_FORGET_TAGS: Final = numbered(
    f"WITH want ({TAG.listed}) AS MATERIALIZED (SELECT * FROM {TAG.unnested()}), "
    f"locked AS MATERIALIZED ({locked(TAG)}) "
    f"DELETE FROM tag USING locked WHERE {_same('tag', 'locked', TAG.key)}"
)
# An edge that is open becomes done with the state that its upstream has ended in; one that is done and settled changes
# its sign.
_END_EDGES: Final = numbered(
    "WITH want (upstream, downstream, state, settled) AS MATERIALIZED ("
    "SELECT upstream, downstream, max(state), bool_or(settled) FROM ("
    "SELECT edge.upstream, edge.downstream, ended.state, false AS settled "
    "FROM unnest(?::bytea[], ?::int2[]) AS ended (upstream, state) "
    "JOIN edge ON edge.upstream = ended.upstream AND edge.done = 0 "
    "UNION ALL SELECT upstream, downstream, NULL, true "
    f"FROM {EDGE.unnested(EDGE.key)} AS settled ({', '.join(EDGE.key)})) AS every GROUP BY upstream, downstream), "
    f"locked AS MATERIALIZED ({locked(EDGE)}) "
    "UPDATE edge SET done = CASE done WHEN 0 THEN state ELSE done END * CASE WHEN settled THEN -1 ELSE 1 END "
    f"FROM locked WHERE {_same('edge', 'locked', EDGE.key)} "
    "AND CASE done WHEN 0 THEN state > 0 ELSE settled AND done > 0 END"
)


async def write(database: Database, needs: Needs, loaded: Loaded, changes: Changes) -> None:
    """Write into the open transaction.

    Raises:
        Conflict: A row is not as the changes expect it; the transaction has to be rolled back.
        DataRejected: The names of a task's gates cannot be kept.
        asyncpg.PostgresError: A value cannot be kept, and whatever else may happen.
    """
    await _forget_named(database, changes)
    parts = {name: records for name, records in _parts(needs, loaded, changes) if records}
    if parts:
        arguments = [column for records in parts.values() for column in zip(*records, strict=True)]
        counts = await database.fetchrow(_statement(tuple(parts)), *arguments)
        for (name, records), count in zip(parts.items(), counts, strict=True):
            if count != len(records) and name in _GUARDED:
                raise Conflict(_GUARDED[name])
    await _write_after(database, changes)


async def _forget_named(database: Database, changes: Changes) -> None:
    """Deletes rows that are locked."""
    if changes.gone_workers:
        await database.execute(_FORGET_WORKERS, changes.gone_workers)
    if changes.gone_gates:
        await database.execute(_FORGET_GATES, changes.gone_gates)
    if changes.gone_fair:
        await database.execute(_FORGET_FAIR, *zip(*sorted(changes.gone_fair), strict=True))
    if changes.gone_records:
        gone = [(*key, rev) for key, rev in sorted(changes.gone_records)]
        if await database.fetchval(_FORGET_RECORDS, *zip(*gone, strict=True)) != len(gone):
            raise Conflict("another writer changed a record")


async def _write_after(database: Database, changes: Changes) -> None:
    """Changes of rows that the one statement may have written, each kind in the order of its keys."""
    if changes.ended or changes.settled:
        ended = [[*changes.ended], [*changes.ended.values()]]
        settled = [[edge.upstream for edge in changes.settled], [edge.downstream for edge in changes.settled]]
        await database.execute(_END_EDGES, *ended, *settled)
    if changes.gone_tags:
        await database.execute(_FORGET_TAGS, *TAG.arrays(changes.gone_tags))
    if forgotten := [key for key, row in _last_states(changes.states).items() if not row.body]:
        # They were written empty first, so that turns that keep and forget the same values wait in one order.
        await database.execute(_FORGET_STATES, *zip(*forgotten, strict=True))


@lru_cache(maxsize=512)
def _statement(names: tuple[str, ...]) -> str:
    parts = ", ".join(f"did_{name} AS ({_PARTS[name]} RETURNING 1)" for name in names)
    counts = ", ".join(f"(SELECT count(*) FROM did_{name})" for name in names)
    return numbered(f"WITH {parts} SELECT {counts}")


def _parts(needs: Needs, loaded: Loaded, changes: Changes) -> Iterable[tuple[str, Sequence[Record]]]:
    yield "new_task", [task_record(row) for row in sorted(changes.new_tasks, key=_name)]
    if changes.tasks:
        yield from _task_updates(loaded, changes.tasks)
    if changes.sent:
        sent = sorted({row[:5]: row for row in changes.sent}.items())
        fresh = needs.sent.difference(loaded.sent)
        yield "new_sent", [row for key, row in sent if SentKey(*key) in fresh]
        yield "sent", [row for key, row in sent if SentKey(*key) not in fresh]
    yield "event", changes.events
    yield "journal", changes.journal
    yield "message", changes.messages
    yield "artifact", [row for _, row in sorted({row[:3]: row for row in changes.artifacts}.items())]
    yield "state", [row for _, row in sorted(_last_states(changes.states).items())]
    yield "push", [row for _, row in sorted(_last_pushes(changes.pushes).items())]
    yield "edge", sorted(changes.edges)
    yield "tag", sorted(changes.tags)
    records = sorted(changes.records)
    yield "new_record", [row for row in records if row.rev == 1]
    yield "record", [row for row in records if row.rev != 1]
    gates = sorted(changes.gates, key=_FIRST)
    yield "new_gate", [row for row in gates if row.rev == 1]
    yield "gate", [(row.key, row.rev, *row[1:-1]) for row in gates if row.rev != 1]
    if changes.fair:
        fair = sorted(changes.fair.items())
        fresh_keys = needs.fair.difference(loaded.fair)
        yield "new_fair", [(*key, vt) for key, vt in fair if key in fresh_keys]
        yield "fair", [(*key, vt) for key, vt in fair if key not in fresh_keys]
    yield "worker", sorted({row.id: row for row in changes.workers}.values(), key=_FIRST)
    tally = sorted((key, shard, count) for (shard, key), count in changes.tally.items() if count)
    yield "tally", [(shard, *key, count) for key, shard, count in tally]


def _task_updates(loaded: Loaded, rows: Sequence[TaskRow]) -> Iterable[tuple[str, Sequence[Record]]]:
    notes: list[Record] = []
    moves: list[Record] = []
    whole: list[Record] = []
    for row in map(plain, sorted(rows, key=_FIRST)):
        old = loaded.tasks.get(row.key)
        if old is None or old.rev != row.rev - 1 or _BEYOND_MOVE(old) != _BEYOND_MOVE(row):
            whole.append(_REPLACE(task_record(row)))
        elif _BEYOND_NOTE(old) != _BEYOND_NOTE(row):
            moves.append(_MOVE(row))
        else:
            notes.append(_NOTE(row))
    yield "note", notes
    yield "move", moves
    yield "replace", whole


def _name(row: TaskRow) -> tuple[str, ...]:
    return row[2:6]


def _last_states(rows: Sequence[StateRow]) -> dict[tuple[Any, ...], StateRow]:
    return {row[:3]: row for row in rows}


def _last_pushes(rows: Sequence[PushRow]) -> dict[tuple[Any, ...], PushRow]:
    return {row[:2]: row for row in rows}
