"""Many tasks and other rows at once: lists and their counts, what is due, rows by the beginning of their key, totals.

Every condition here has an index, by which the answer is also in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import DueKind, Page, RowQuery, Snapshot, TallyQuery, TaskQuery
from a2a_server.model.rows import ArtifactRow, EventRow, GateRow, Key, MessageRow, TallyKey, WorkerRow
from a2a_server.stores.mongodb_reads import snapshot
from a2a_server.stores.mongodb_rows import PHASES, SHAPES, STATES, Document, span
from a2a_server.stores.mongodb_view import BY_KEY, BY_RANK, View, among

_NEWEST = (("status_at", -1), ("_id", -1))
_AT_ONCE = 16
"""Tasks of a page that come together: whatever their size, they fit into an answer."""


async def page(view: View, query: TaskQuery) -> Page[Snapshot]:
    """See `TaskStore.page`. In a transaction."""
    shown: list[Snapshot] = []
    size = 0
    async for task in view.each("task", _listed(query), _NEWEST, query.limit + 1, _AT_ONCE):
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


def _listed(query: TaskQuery) -> Document:
    # Each state is a range of its own in the index; MongoDB merges them and stops at the limit.
    where: Document = {
        "tenant": query.tenant,
        "owner": query.owner,
        "agent": query.agent,
        "visible": True,
        "state": among([int(state) for state in State]) if query.state is None else int(query.state),
    }
    if query.context is not None:
        where["context"] = query.context
    moment: Document = {}
    if query.status_from is not None:
        moment["$gte"] = query.status_from
    if query.after is not None:
        at, key = query.after
        moment["$lte"] = at  # the range in the index, of which the next condition takes a few ties away
        where["$or"] = [{"status_at": {"$lt": at}}, {"_id": {"$lt": key}}]
    if moment:
        where["status_at"] = moment
    return where


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
    past: Document = {"due_at": {"$gt": 0, "$lte": now}}
    if kind is DueKind.ALARM:
        found = await view.fields("task", past, ("_id",), (("due_at", 1), ("_id", 1)), limit)
        return [each["_id"] for each in found]
    pushes = await view.fields("push", {**past, "dead": False}, ("task",), (("due_at", 1),), limit)
    return list(dict.fromkeys(each["task"] for each in pushes))  # a task may have several


async def _orphans(view: View, limit: int, now: int) -> list[Key]:
    workers: list[WorkerRow] = await view.rows("worker", {"dead": False})
    alive = [worker.id for worker in workers if worker.seen_at + worker.ttl >= now]
    where = {"phase": int(Phase.LEASED), "worker": {"$nin": alive}}
    return [each["_id"] for each in await view.fields("task", where, ("_id",), (("worker", 1), ("_id", 1)), limit)]


async def _due_held(view: View, limit: int, now: int) -> list[Key]:
    held = {"phase": int(Phase.HELD)}
    names: list[str] = sorted(await view.db["task"].distinct("held_by", held))
    found: list[GateRow] = await view.rows("gate", {"_id": among(names)}) if names else []
    gates = {gate.key: gate for gate in found}
    keys: list[Key] = []
    for name in names:
        most = min(limit - len(keys), _room(gates.get(name), now, limit))
        if most > 0:
            rows = await view.fields("task", {**held, "held_by": name}, ("_id",), BY_RANK, most)
            keys += [each["_id"] for each in rows]
    return keys


def _room(gate: GateRow | None, now: int, most: int) -> int:
    if gate is None:
        return most
    if gate.closed_until > now:
        return 0
    return most if gate.capacity is None else gate.capacity - gate.used


async def next_alarm(view: View) -> int | None:
    """The earliest `due_at` of any task."""
    first = await view.fields("task", {"due_at": {"$gt": 0}}, ("due_at",), (("due_at", 1), ("_id", 1)), 1)
    return first[0]["due_at"] if first else None


async def rows(view: View, query: RowQuery) -> Page[tuple[object, ...]]:
    """See `TaskStore.rows`. Raises ValueError for a prefix longer than the key, or an `after` that is not a key."""
    shape = SHAPES[query.table.value]
    if len(query.prefix) > len(shape.key) or (query.after is not None and len(query.after) != len(shape.key)):
        raise ValueError(f"the primary key of {query.table.value} is {', '.join(shape.key)}")
    conditions: list[Document] = []
    if query.prefix:
        conditions.append({"_id": query.prefix[0] if len(shape.key) == 1 else span(query.prefix)})
    if query.after is not None:
        conditions.append({"_id": {"$gt": shape.id(query.after)}})
    where = {"$and": conditions} if conditions else {}
    found: list[tuple[Any, ...]] = await view.rows(query.table.value, where, BY_KEY, query.limit + 1)
    return Page(found[: query.limit], more=len(found) > query.limit)


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
