"""Collections and indexes, their version in `meta`, and whether a deployment can keep them.

A migration is a function whose every step may run twice and in several processes at once, because MongoDB makes no
collections and indexes in one transaction: all who find an old schema bring it up to date, and the first who is done
says so. The version is written before the first collection, so a database that has collections and no version is
somebody else's. `bell` belongs to the doorbells, which may be in the same database before this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure

from a2a_server.errors import ConfigurationError, SchemaMismatch
from a2a_server.model.objects import Phase
from a2a_server.stores.mongodb_link import Link, begin, codes
from a2a_server.stores.mongodb_rows import SHAPES, Document

_OLDEST_WIRE: Final = 17  # MongoDB 6.0
_ILLEGAL: Final = frozenset({20, 115, 263, 303})  # no transactions; a command, or an option, that is not supported
_EXISTS: Final = 48
_OTHERS: Final = frozenset({"bell"})
_SCHEMA: Final = "schema"


def _index(name: str, *fields: str, unique: bool = False, where: Document | None = None) -> IndexModel:
    """A minus before a field: from the largest."""
    keys = [(field.lstrip("-"), -1 if field.startswith("-") else 1) for field in fields]
    if where is not None:
        return IndexModel(keys, name=name, partialFilterExpression=where)
    return IndexModel(keys, name=name, unique=unique)


_FIRST: Final[dict[str, list[IndexModel]]] = {
    "task": [
        # The name that clients use.
        _index("task_name", "tenant", "owner", "agent", "id", unique=True),
        # Lists of an owner, and of one context: merged from one range for each state, newest status first.
        _index("task_list", "tenant", "owner", "agent", "state", "-status_at", "-_id", where={"visible": True}),
        _index(
            "task_context",
            *("tenant", "owner", "agent", "context", "state", "-status_at", "-_id"),
            where={"visible": True},
        ),
        # Claims. The phase stands first so that the index answers without the document.
        _index(
            "task_ready",
            *("phase", "queue", "lane", "rank", "_id", "crashes", "format"),
            where={"phase": int(Phase.READY)},
        ),
        # Who goes on when a gate has room.
        _index("task_held", "phase", "held_by", "lane", "rank", "_id", where={"phase": int(Phase.HELD)}),
        # What a dead worker leaves behind.
        _index("task_leased", "phase", "worker", "_id", where={"phase": int(Phase.LEASED)}),
        # Alarms.
        _index("task_due", "due_at", "_id", where={"due_at": {"$gt": 0}}),
    ],
    # What goes when its task is erased.
    "sent": [_index("sent_task", "task")],
    "edge": [_index("edge_downstream", "downstream")],
    "tag": [_index("tag_task", "task")],
    # Whose count an erased task lowers.
    "tally": [_index("tally_kind", "tenant", "owner", "agent", "queue", "state", "phase")],
    "push": [_index("push_due", "due_at", where={"due_at": {"$gt": 0}})],
    # Names of objects, whatever number of parts they have.
    "blob": [_index("blob_first", "part", "object", where={"part": 0})],
}


async def _first(db: AsyncDatabase[Document]) -> None:
    """Every collection, and `content` for large bodies."""
    there = set(await db.list_collection_names())
    for table in (*SHAPES, "content"):
        if table not in there:
            try:
                await db.create_collection(table, check_exists=False)
            except OperationFailure as error:
                if _EXISTS not in codes(error):  # somebody else did
                    raise
        if table in _FIRST:
            await db[table].create_indexes(_FIRST[table])


_SECOND: Final[dict[str, list[IndexModel]]] = {
    # Children, newest first.
    "task": [
        _index(
            "task_parent",
            *("tenant", "owner", "agent", "parent", "-_id"),
            where={"visible": True, "parent": {"$gt": b""}},
        ),
    ],
    "edge": [
        # Edges of who waits; they are counted without the documents.
        _index("edge_to", "downstream", "upstream", "on_failure", "done"),
        # Who has to be settled.
        _index("edge_done", "downstream", "done", where={"done": {"$gt": 0}}),
    ],
    "tag": [_index("tag_of", "task", "tag")],
    "record": [_index("record_due", "kind", "due_at", "_id", where={"due_at": {"$gt": 0}})],
}
_SUPERSEDED: Final = (("edge", "edge_downstream"), ("tag", "tag_task"))
_GONE: Final = 27


async def _second(db: AsyncDatabase[Document]) -> None:
    """Indexes for edges, tags, records and searches; a schema before this serves all of it without them, slowly."""
    for table, indexes in _SECOND.items():
        await db[table].create_indexes(indexes)
    for table, name in _SUPERSEDED:
        try:
            await db[table].drop_index(name)
        except OperationFailure as error:
            if _GONE not in codes(error):  # somebody else did
                raise


_MIGRATIONS: Final[tuple[Callable[[AsyncDatabase[Document]], Awaitable[None]], ...]] = (_first, _second)
NEWEST: Final = len(_MIGRATIONS)
OLDEST: Final = 1
"""The oldest schema that this code serves as it is."""


async def check_deployment(link: Link) -> None:
    """The deployment has what the store needs.

    Raises:
        ConfigurationError: It has not, or refuses us; the text says what to do.
        StoreUnavailable: It does not answer.
    """
    with link.opening():
        lack = lacking(await link.client.admin.command("hello"))
        if lack is None:
            try:
                async with link.client.start_session() as session:
                    await begin(session)
                    await link.db["meta"].find_one({"_id": _SCHEMA}, session=session)
                    await session.commit_transaction()
            except OperationFailure as error:
                if not codes(error) & _ILLEGAL:
                    raise
                lack = "refuses transactions, which the store needs: use a MongoDB replica set or sharded cluster"
    if lack is not None:
        raise ConfigurationError(f"{link.address} {lack}")


def lacking(hello: Document) -> str | None:
    """What a deployment that answers this to `hello` lacks, and the way out; None = nothing that can be seen there."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        return (
            "is a single MongoDB server, which has no transactions: the store needs a replica set or a sharded "
            "cluster. One member is enough: start it with --replSet rs0 and call rs.initiate() once"
        )
    if hello.get("maxWireVersion", 0) < _OLDEST_WIRE:
        return "is older than MongoDB 6.0, the oldest that the store works with: upgrade it"
    if hello.get("logicalSessionTimeoutMinutes") is None:
        return "has no sessions, and so no transactions: use a MongoDB replica set or sharded cluster"
    return None


async def version(link: Link) -> int:
    """The schema's number, 0 = there is none yet. Changes nothing.

    Raises:
        SchemaMismatch: The database is newer than this code, or another program's.
        ConfigurationError: We may not look.
        StoreUnavailable: It does not answer.
    """
    with link.opening():
        names = {name for name in await link.db.list_collection_names() if not name.startswith("system.")} - _OTHERS
        found = await link.db["meta"].find_one({"_id": _SCHEMA})
        if found is None and names <= {"meta"} and await link.db["meta"].find_one({"_id": {"$ne": _SCHEMA}}) is None:
            return 0
    if found is None or not isinstance(found.get("value"), int):
        raise SchemaMismatch(
            f"{link.address} is a database of another program: give this server one of its own (mongodb://host/NAME)"
        )
    number: int = found["value"]
    if number > NEWEST:
        raise SchemaMismatch(
            f"{link.address} has schema version {number}, this server knows versions up to {NEWEST}: "
            "start the newer server again, or restore the backup made before the upgrade"
        )
    return number


async def migrate(link: Link) -> tuple[int, int]:
    """The schema is the newest that this code knows. Returns its number before and now. Raises as `version`."""
    before = number = await version(link)
    with link.opening():
        if number == 0:
            with suppress(DuplicateKeyError):  # somebody else is about to
                await link.db["meta"].insert_one({"_id": _SCHEMA, "value": 0})
        while number < NEWEST:
            await _MIGRATIONS[number](link.db)
            await link.db["meta"].update_one({"_id": _SCHEMA, "value": number}, {"$set": {"value": number + 1}})
            number += 1
    return before, number


async def check_schema(link: Link) -> None:
    """This code can serve the schema; an empty database has got the newest one. Raises as `version`."""
    number = await version(link)
    if number == 0:
        await migrate(link)
    elif number < OLDEST:
        raise SchemaMismatch(
            f"{link.address} has schema version {number}, this server serves {OLDEST} to {NEWEST}: "
            "stop the older servers and bring it up to date with a2a-server migrate"
        )
