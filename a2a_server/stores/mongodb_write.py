"""Writing of a turn, inside its transaction: one command for each collection that changes.

An update that finds no document is no error to MongoDB, so every guarded one is counted: fewer found than meant, and
the turn is decided again. Of a task only the fields that differ from the loaded row are written, because MongoDB
rewrites the entries of every index of which a field changes, and sends what an update names to every member.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import OperationFailure

from a2a_server.errors import Conflict, DataRejected, EngineError
from a2a_server.model.rows import EdgeRow, GateRow, RecordKey, RecordRow, StateRow, TaskRow, WorkerRow
from a2a_server.model.turns import Changes, Loaded
from a2a_server.stores.mongodb_content import put_aside
from a2a_server.stores.mongodb_link import is_duplicate
from a2a_server.stores.mongodb_rows import SHAPES, Document, encoded, span
from a2a_server.stores.mongodb_view import View, among

Write: TypeAlias = InsertOne[Document] | UpdateOne | UpdateMany | ReplaceOne[Document] | DeleteOne

_TASK: Final = SHAPES["task"]


async def write(view: View, loaded: Loaded, changes: Changes) -> None:
    """Write into the transaction.

    Raises:
        Conflict: A row is not as the changes expect it; the transaction has to be aborted.
        DataRejected: A value cannot be kept, or an entry of a log is there already.
        PyMongoError, BSONError, OverflowError, UnicodeEncodeError: The driver's errors.
    """
    with _duplicates(Conflict("a new task has the name of another one")):
        await insert(view, "task", changes.new_tasks)
    await _update_tasks(view, loaded, changes.tasks)
    with _duplicates(DataRejected("an entry of a task's log is there already")):
        await insert(view, "event", changes.events)
        await insert(view, "journal", changes.journal)
        await insert(view, "message", changes.messages)
    await _replace(view, "artifact", changes.artifacts)
    await _write_states(view, changes.states)
    await _replace(view, "sent", changes.sent)
    await _write_revised(view, "gate", changes.gates)
    await _bulk(view, "gate", [DeleteOne({"_id": gate}) for gate in changes.gone_gates])
    await _replace(view, "fair", list(changes.fair.items()))
    gone = [encoded((*key[:2], int(key.lane), *key[3:])) for key in changes.gone_fair]
    await _bulk(view, "fair", [DeleteOne({"_id": id}) for id in gone])
    await _bulk(view, "tally", [add_tally((*item, count)) for item, count in changes.tally.items() if count])
    await _bulk(view, "worker", [_worker(row) for row in changes.workers])
    await _bulk(view, "worker", [DeleteOne({"_id": worker}) for worker in changes.gone_workers])
    await _replace(view, "push", changes.pushes)
    await _write_edges(view, loaded, changes)
    await _write_tags(view, changes)
    await _write_records(view, changes.records, changes.gone_records)


def add_tally(row: Any) -> UpdateOne:  # noqa: ANN401 - shard, key and count
    """Adds the count of a row of `tally` to what is counted."""
    document = SHAPES["tally"].document(row)
    id, count = document.pop("_id"), document.pop("count")
    return UpdateOne({"_id": id}, {"$inc": {"count": count}, "$setOnInsert": document}, upsert=True)


async def insert(view: View, table: str, rows: Sequence[Any]) -> None:
    """Insert rows, with their large bodies."""
    shape = SHAPES[table]
    documents, aside = [], list[Write]()
    for row in rows:
        document = shape.document(row)
        aside += put_aside(table, document, row[: len(shape.key)])
        documents.append(document)
    await _bulk(view, "content", aside)
    if documents:
        await view.db[table].insert_many(documents, session=view.session)


async def _replace(view: View, table: str, rows: Sequence[Any]) -> None:
    shape = SHAPES[table]
    writes, aside = list[Write](), list[Write]()
    for row in rows:
        document = shape.document(row)
        aside += put_aside(table, document, row[: len(shape.key)])
        writes.append(ReplaceOne({"_id": document["_id"]}, document, upsert=True))
    await _bulk(view, "content", aside)
    await _bulk(view, table, writes)


async def _bulk(view: View, table: str, writes: Sequence[Write]) -> int:
    """How many documents were found by the filters of updates."""
    if not writes:
        return 0
    return (await view.db[table].bulk_write(writes, session=view.session)).matched_count


async def _update_tasks(view: View, loaded: Loaded, rows: Sequence[TaskRow]) -> None:
    updates, aside = list[Write](), list[Write]()
    for row in rows:
        fields = _TASK.document(row)
        key = fields.pop("_id")
        old = loaded.tasks.get(row.key)
        if old is not None and old.rev == row.rev - 1:
            before = _TASK.document(old)
            fields = {name: value for name, value in fields.items() if value != before[name]}
        aside += put_aside("task", fields, (key,))
        updates.append(UpdateOne({"_id": key, "rev": row.rev - 1}, {"$set": fields}))
    if await _bulk(view, "task", updates) != len(updates):
        raise Conflict("another writer changed a task")
    await _bulk(view, "content", aside)


async def _write_states(view: View, rows: Sequence[StateRow]) -> None:
    states = {row[:3]: row for row in rows}  # the last word of each
    await _replace(view, "state", [row for row in states.values() if row.body])
    shape = SHAPES["state"]
    await _bulk(view, "state", [DeleteOne({"_id": shape.id(key)}) for key, row in states.items() if not row.body])


async def _write_records(view: View, rows: Sequence[RecordRow], gone: Sequence[tuple[RecordKey, int]]) -> None:
    await _write_revised(view, "record", rows)
    if gone:
        deletes = [DeleteOne({"_id": encoded(key), "rev": rev}) for key, rev in gone]
        deleted = await view.db["record"].bulk_write(deletes, session=view.session)
        if deleted.deleted_count != len(deletes):
            raise Conflict("another writer changed a record")


async def _write_revised(view: View, table: str, rows: Sequence[GateRow] | Sequence[RecordRow]) -> None:
    with _duplicates(Conflict(f"another writer made a {table}")):
        await insert(view, table, [row for row in rows if row.rev == 1])
    updates: list[Write] = []
    for row in rows:
        if row.rev != 1:
            fields = SHAPES[table].document(row)
            updates.append(UpdateOne({"_id": fields.pop("_id"), "rev": row.rev - 1}, {"$set": fields}))
    if await _bulk(view, table, updates) != len(updates):
        raise Conflict(f"another writer changed a {table}")


async def _write_edges(view: View, loaded: Loaded, changes: Changes) -> None:
    """Nothing would be in conflict between a new edge and the end of its upstream: so both write the upstream."""
    ends = {edge.upstream for edge in changes.edges}.union(changes.ended)
    if unlocked := ends.difference(loaded.tasks, (row.key for row in changes.new_tasks)):
        await view.lock("task", unlocked)
    await _keep(view, "edge", changes.edges)
    ended = [
        UpdateMany({"_id": span((upstream,)), "done": 0}, {"$set": {"done": state}})
        for upstream, state in changes.ended.items()
    ]
    await _bulk(view, "edge", ended)
    if changes.settled:
        await _settle(view, changes.settled)


async def _settle(view: View, edges: Sequence[EdgeRow]) -> None:
    where = {"_id": among({encoded(edge[:2]) for edge in edges}), "done": {"$gt": 0}}
    found = await view.fields("edge", where, ("done",))
    await _bulk(view, "edge", [UpdateOne({"_id": each["_id"]}, {"$set": {"done": -each["done"]}}) for each in found])


async def _write_tags(view: View, changes: Changes) -> None:
    await _keep(view, "tag", changes.tags)
    await _bulk(view, "tag", [DeleteOne({"_id": encoded(row)}) for row in changes.gone_tags])


async def _keep(view: View, table: str, rows: Sequence[Any]) -> None:
    """Insert those that do not exist."""
    writes: list[Write] = []
    for row in rows:
        fields = SHAPES[table].document(row)
        writes.append(UpdateOne({"_id": fields.pop("_id")}, {"$setOnInsert": fields}, upsert=True))
    await _bulk(view, table, writes)


def _worker(row: WorkerRow) -> UpdateOne:
    # Dead is for ever, and the last beat stays the worker's own word.
    fields = SHAPES["worker"].document(row)
    id = fields.pop("_id")
    if not row.dead:
        return UpdateOne({"_id": id}, {"$setOnInsert": fields}, upsert=True)
    del fields["dead"]
    return UpdateOne({"_id": id}, {"$set": {"dead": True}, "$setOnInsert": fields}, upsert=True)


@contextmanager
def _duplicates(meant: EngineError) -> Iterator[None]:
    try:
        yield
    except OperationFailure as error:
        if is_duplicate(error):
            raise meant from error
        raise
