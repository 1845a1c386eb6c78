"""Single tasks as they are asked for outside of turns: what they are called, how far they are, what they said.

What needs several reads of one moment is read in a transaction, where reads are in nobody's way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from a2a_server.model.objects import Scope
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import ArtifactRow, EventKind, EventRow, Head, Key, MessageRow, TaskRow
from a2a_server.stores.mongodb_content import is_aside
from a2a_server.stores.mongodb_link import Link
from a2a_server.stores.mongodb_rows import PHASES, SHAPES, STATES, Document, encoded, span
from a2a_server.stores.mongodb_view import BY_KEY, View, among

_HEAD = ("last_n", "state", "phase", "cancel_at", "fence", "visible")
_NEWEST = (("_id", -1),)


async def find(link: Link, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
    """See `TaskStore.find`."""
    where = named(scope, agent, task_id)
    document = await link.db["task"].find_one(where)
    if document is None:
        return None
    if is_aside("task", (document,)):  # in two reads, which have to be of one moment
        found = await link.transaction(lambda session: View(link.db, session).rows("task", where))
        return found[0] if found else None
    row: TaskRow = SHAPES["task"].row(document)
    return row


def named(scope: Scope, agent: str, task_id: str) -> Document:
    """The condition of the visible task that clients call so."""
    return {"tenant": scope.tenant, "owner": scope.owner, "agent": agent, "id": task_id, "visible": True}


async def one_snapshot(view: View, where: Document, history: int | None, *, artifacts: bool) -> Snapshot | None:
    """The task of this condition with its newest messages and its artifacts. In a transaction."""
    found: list[TaskRow] = await view.rows("task", where, limit=1)
    return await snapshot(view, found[0], history, artifacts=artifacts) if found else None


async def snapshot(view: View, task: TaskRow, history: int | None, *, artifacts: bool) -> Snapshot:
    """What belongs to a task that was read in the same transaction."""
    own = {"_id": span((task.key,))}
    messages: list[MessageRow] = []
    if history != 0:
        messages = await view.rows("message", own, _NEWEST, history or 0)
        messages.reverse()
    takes: list[ArtifactRow] = []
    if artifacts:
        every: list[ArtifactRow] = await view.rows("artifact", own, BY_KEY)
        takes = list({take.id: take for take in every}.values())  # the last take of each
    return Snapshot(task, tuple(messages), tuple(takes), await _chunks(view, task, takes))


async def _chunks(view: View, task: TaskRow, takes: Sequence[ArtifactRow]) -> tuple[EventRow, ...]:
    """The chunks of every take whose content is nowhere else, by number; each piece of the log is read once."""
    spans = {
        take.id: (take.first_n, take.last_n if take.closed else task.last_n)
        for take in takes
        if not take.body and not take.location
    }
    found: list[EventRow] = []
    for first, last in _united(spans.values()):
        where = {
            "_id": {"$gte": encoded((task.key, first)), "$lte": encoded((task.key, last))},
            "kind": int(EventKind.CHUNK),
            "artifact": among(spans),
        }
        events: list[EventRow] = await view.rows("event", where, BY_KEY)
        for event in events:
            own_first, own_last = spans[event.artifact if event.artifact is not None else -1]
            if own_first <= event.n <= own_last:
                found.append(event)
    return tuple(found)


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if united and first <= united[-1][1] + 1:
            united[-1] = united[-1][0], max(united[-1][1], last)
        else:
            united.append((first, last))
    return united


async def events(view: View, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
    """See `TaskStore.events`."""
    found: list[EventRow] = []
    size = 0
    if limit <= 0:
        return found
    where = {"_id": {"$gt": encoded((key, after)), "$lt": span((key,))["$lt"]}}
    async for event in view.each("event", where, BY_KEY, limit):
        size += len(event.body)
        if found and size > limit_bytes:
            break
        found.append(event)
    return found


async def heads(view: View, keys: Collection[Key]) -> Mapping[Key, Head]:
    """See `TaskStore.heads`."""
    if not keys:
        return {}
    return {
        each["_id"]: Head(
            each["last_n"],
            STATES[each["state"]],
            PHASES[each["phase"]],
            each["cancel_at"],
            each["fence"],
            each["visible"],
        )
        for each in await view.fields("task", {"_id": among(set(keys))}, _HEAD)
    }
