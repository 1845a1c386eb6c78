"""Many tasks and other rows at once: lists and their counts, what is due, rows by the beginning of their key, totals.

Every condition here has an index, by which the answer is also in order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.queries import DueKind, Page, RowQuery, Search, Snapshot, Table, TallyQuery, TaskQuery
from a2a_server.model.rows import (
    ArtifactRow,
    EventRow,
    GateRow,
    Key,
    MessageRow,
    RecordRow,
    TallyKey,
    TaskRow,
    WorkerRow,
)
from a2a_server.stores.mongodb_reads import snapshot
from a2a_server.stores.mongodb_rows import PHASES, SHAPES, STATES, Document, span
from a2a_server.stores.mongodb_view import BY_KEY, BY_RANK, View, among

NEWEST_FIRST = (("status_at", -1), ("_id", -1))
_EARLIEST = (("due_at", 1), ("_id", 1))
_TURNED = {Table.EDGE_TO: ("edge", ("downstream", "upstream")), Table.TAG_OF: ("tag", ("task", "tag"))}
"""Tables that are read by other columns than their primary key, and these."""
_AT_ONCE = 16
"""Tasks of a page that come together: whatever their size, they fit into an answer."""


async def page(view: View, query: TaskQuery) -> Page[Snapshot]:
    """See `TaskStore.page`. In a transaction."""
    shown: list[Snapshot] = []
    size = 0
    async for task in view.each("task", _listed(query), NEWEST_FIRST, query.limit + 1, _AT_ONCE):
        if len(shown) == query.limit:
            return Page(shown, more=True)
        one = Snapshot(task)
        if query.history or query.artifacts:
            one = await snapshot(view, task, query.history, artifacts=query.artifacts)
        size += _size(one)
        if shown and size > query.limit_bytes:
            return Page(shown, more=True)
        shown.append(one)
    return Page(shown, more=False)


async def count(view: View, query: TaskQuery, most: int) -> int:
    """See `TaskStore.count`."""
    if most <= 0:
        return 0
    return await view.db["task"].count_documents(_listed(replace(query, after=None)), limit=most)


def scoped(query: TaskQuery | Search) -> Document:
    """The condition of the tasks that a list or a search is about."""
    return {"tenant": query.tenant, "owner": query.owner, "agent": query.agent, "visible": True}


def by_status(query: TaskQuery | Search, states: Iterable[State]) -> Document:
    """Those in one of these states, which come newest status first from an index.

    Each state is a range of its own in the index; MongoDB merges them and stops at the limit.
    """
    return {**scoped(query), "state": among({int(state) for state in states})}


def _listed(query: TaskQuery) -> Document:
    where = by_status(query, State if query.state is None else (query.state,))
    if query.context is not None:
        where["context"] = query.context
    moment: Document = {}
    if query.status_from is not None:
        moment["$gte"] = query.status_from
    if query.after is not None:
        moment["$lte"] = query.after.status_at
        where["$or"] = behind(*query.after)
    if moment:
        where["status_at"] = moment
    return where


def behind(at: int, key: Key) -> list[Document]:
    """Alternatives that take the few ties away from a range that ends with this status time."""
    return [{"status_at": {"$lt": at}}, {"_id": {"$lt": key}}]


def _size(shown: Snapshot) -> int:
    kept: tuple[MessageRow | ArtifactRow | EventRow, ...] = (*shown.messages, *shown.artifacts, *shown.chunks)
    size = len(shown.task.status) + len(shown.task.spec) + sum(len(row.body) for row in kept)
    return size + sum(row.size for row in shown.artifacts if row.location)


async def due(view: View, kind: DueKind, limit: int, now: int) -> Sequence[Key]:
    """See `TaskStore.due`."""
    if limit <= 0:
        return []
    if kind is DueKind.HELD:
        return await _due_held(view, limit, now)
    if kind is DueKind.ORPHAN:
        return await _orphans(view, limit, now)
    if kind is DueKind.SETTLE:
        return await _unsettled(view, limit)
    past: Document = {"due_at": {"$gt": 0, "$lte": now}}
    if kind is DueKind.ALARM:
        found = await view.fields("task", past, ("_id",), _EARLIEST, limit)
        return [each["_id"] for each in found]
    pushes = await view.fields("push", {**past, "dead": False}, ("task",), (("due_at", 1),), limit)
    return list(dict.fromkeys(each["task"] for each in pushes))  # a task may have several


async def _orphans(view: View, limit: int, now: int) -> list[Key]:
    workers: list[WorkerRow] = await view.rows("worker", {"dead": False})
    alive = [worker.id for worker in workers if worker.seen_at + worker.ttl >= now]
    where = {"phase": int(Phase.LEASED), "worker": {"$nin": alive}}
    return [each["_id"] for each in await view.fields("task", where, ("_id",), (("worker", 1), ("_id", 1)), limit)]


async def _unsettled(view: View, limit: int) -> list[Key]:
    keys: list[Key] = []
    cursor = view.db["edge"].find({"done": {"$gt": 0}}, {"_id": 0, "downstream": 1}, session=view.session)
    async with cursor.sort("downstream", 1) as edges:
        async for edge in edges:  # a task may have many
            if not keys or edge["downstream"] != keys[-1]:
                keys.append(edge["downstream"])
                if len(keys) == limit:
                    break
    return keys


async def _due_held(view: View, limit: int, now: int) -> list[Key]:
    held = {"phase": int(Phase.HELD)}
    names: list[str] = sorted(await view.db["task"].distinct("held_by", held))
    found: list[GateRow] = await view.rows("gate", {"_id": among(names)}) if names else []
    gates = {gate.key: gate for gate in found}
    rooms = {name: room for name in names if (room := _room(gates.get(name), now, limit)) > 0}
    share = max(1, limit // max(1, len(rooms)))
    keys: list[Key] = []
    for name, room in list(rooms.items())[:limit]:
        rows = await view.fields("task", {**held, "held_by": name}, ("_id",), BY_RANK, min(share, room))
        keys += [each["_id"] for each in rows]
    return keys


def _room(gate: GateRow | None, now: int, most: int) -> int:
    if gate is None:
        return most
    if gate.closed_until > now:
        return 0
    return most if gate.capacity is None else gate.capacity - gate.used


async def next_alarm(view: View, kinds: Collection[str]) -> int | None:
    """The earliest `due_at` of any task, or record of these kinds."""
    waiting: Document = {"due_at": {"$gt": 0}}
    asked = [("task", waiting), *(("record", {"kind": kind, **waiting}) for kind in kinds)]
    first = [
        each["due_at"] for table, where in asked for each in await view.fields(table, where, ("due_at",), _EARLIEST, 1)
    ]
    return min(first, default=None)


async def due_records(view: View, kinds: Collection[str], limit: int, now: int) -> Sequence[RecordRow]:
    """See `TaskStore.due_records`."""
    if limit <= 0:
        return []
    found: list[RecordRow] = []
    for kind in kinds:
        found += await view.rows("record", {"kind": kind, "due_at": {"$gt": 0, "$lte": now}}, _EARLIEST, limit)
    return sorted(found, key=lambda row: (row.due_at, row.key))[:limit]


async def oldest(view: View, after: Key, limit: int) -> Sequence[TaskRow]:
    """See `TaskStore.oldest`. In a transaction."""
    if limit <= 0:
        return []
    return [row async for row in view.each("task", {"_id": {"$gt": after}}, BY_KEY, limit, _AT_ONCE)]


async def ahead(view: View, row: TaskRow, most: int) -> Mapping[Lane, int]:
    """See `TaskStore.ahead`."""
    found: dict[Lane, int] = {}
    among: Document = {"phase": int(Phase.READY), "queue": row.queue}
    if row.phase is Phase.HELD:
        among = {"phase": int(Phase.HELD), "held_by": row.held_by}
    for lane in [lane for lane in Lane if lane <= row.lane]:
        places: list[Document] = [{}]
        if lane == row.lane:
            places = [{"rank": {"$lt": row.rank}}, {"rank": row.rank, "_id": {"$lt": row.key}}]
        for place in places:
            if (left := most - sum(found.values())) <= 0:
                return found
            where = {**among, "lane": int(lane), **place}
            if count := await view.db["task"].count_documents(where, limit=left, session=view.session):
                found[lane] = found.get(lane, 0) + count
    return found


async def leased(view: View, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
    """See `TaskStore.leased`."""
    if not workers or most <= 0:
        return {}
    where = {"phase": int(Phase.LEASED), "worker": among(workers)}
    held = await view.fields("task", where, ("worker", "queue"), limit=most)
    return Counter((Key(each["worker"]), each["queue"]) for each in held)


async def rows(view: View, query: RowQuery) -> Page[tuple[object, ...]]:
    """See `TaskStore.rows`. Raises ValueError for a prefix longer than the key, or an `after` that is not a key."""
    if query.table in _TURNED:
        return await _turned(view, query, *_TURNED[query.table])
    shape = SHAPES[query.table.value]
    _check(query, shape.key)
    conditions: list[Document] = []
    if query.prefix:
        conditions.append({"_id": query.prefix[0] if len(shape.key) == 1 else span(query.prefix)})
    if query.after is not None:
        conditions.append({"_id": {"$gt": shape.id(query.after)}})
    where = {"$and": conditions} if conditions else {}
    found: list[tuple[Any, ...]] = await view.rows(query.table.value, where, BY_KEY, query.limit + 1)
    return Page(found[: query.limit], more=len(found) > query.limit)


async def _turned(view: View, query: RowQuery, table: str, key: tuple[str, str]) -> Page[tuple[object, ...]]:
    _check(query, key)
    where: Document = dict(zip(key, query.prefix, strict=False))
    if query.after is not None:
        (first, second), (at, behind_it) = key, query.after
        where = {"$and": [where, {first: {"$gte": at}}, {"$or": [{first: {"$gt": at}}, {second: {"$gt": behind_it}}]}]}
    found: list[tuple[Any, ...]] = await view.rows(table, where, [(name, 1) for name in key], query.limit + 1)
    return Page(found[: query.limit], more=len(found) > query.limit)


def _check(query: RowQuery, key: tuple[str, ...]) -> None:
    if len(query.prefix) > len(key) or (query.after is not None and len(query.after) != len(key)):
        raise ValueError(f"the primary key of {query.table.value} is {', '.join(key)}")


async def totals(view: View, query: TallyQuery) -> Mapping[TallyKey, int]:
    """See `TaskStore.totals`."""
    wanted = {name: getattr(query, name) for name in TallyKey._fields}
    where = {
        name: value if isinstance(value, str) else int(value) for name, value in wanted.items() if value is not None
    }
    fields = {name: f"${name}" for name in TallyKey._fields}
    cursor = await view.db["tally"].aggregate(
        [{"$match": where}, {"$group": {"_id": fields, "count": {"$sum": "$count"}}}], session=view.session
    )
    found: dict[TallyKey, int] = {}
    async for each in cursor:
        if each["count"]:
            kind = tuple(each["_id"][name] for name in TallyKey._fields)
            found[TallyKey._make((*kind[:4], STATES[kind[4]], PHASES[kind[5]]))] = each["count"]
    return found
