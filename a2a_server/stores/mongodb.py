"""The store in a MongoDB database, for any number of servers and workers.

Theory of operation: a turn is one transaction that sees one moment of the database. What it is to decide on it locks,
by counting up a field: of two turns that lock the same row one fails at once and begins anew (mongodb_load,
mongodb_turn). Everything is written to, and read as of, a majority of the members, so what was committed survives the
loss of one. Time is the deployment's.

It is written for MongoDB 6 and later, and uses no update but $set, $inc and $setOnInsert. It is tested against
SecantusDB, a server of the same protocol that is beta, and not against mongod: A2A_TEST_MONGODB_URL runs the tests with
one. SecantusDB scans a collection where mongod uses an index for a range of `_id`, a sort or a partial index.

Weaknesses: turns that keep wanting the same row get it in no order, and each waits up to 30 ms too long; a process that
is killed within a turn keeps its locks until the deployment ends the transaction, a minute unless its parameter
transactionLifetimeLimitSeconds is lower (10 is plenty); behind several mongos, time is that of each.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Final

from pymongo import MongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from a2a_server.errors import StoreUnavailable
from a2a_server.model.objects import Lane, Scope
from a2a_server.model.queries import (
    DueKind,
    Found,
    Page,
    RowQuery,
    Search,
    Snapshot,
    StoreCapabilities,
    TallyQuery,
    TaskQuery,
)
from a2a_server.model.rows import DUMPED, EventRow, Head, Key, RecordRow, TallyKey, TaskRow, WorkerRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import Blobs
from a2a_server.stores import mongodb_lists as lists, mongodb_reads as reads
from a2a_server.stores.mongodb_apart import apart, quiet
from a2a_server.stores.mongodb_blobs import MongodbBlobs
from a2a_server.stores.mongodb_dump import fill, pages
from a2a_server.stores.mongodb_erase import erase
from a2a_server.stores.mongodb_link import Link
from a2a_server.stores.mongodb_rows import SHAPES, Document
from a2a_server.stores.mongodb_schema import NEWEST, check_deployment, check_schema, migrate, version
from a2a_server.stores.mongodb_search import search
from a2a_server.stores.mongodb_turn import run_turn
from a2a_server.stores.mongodb_view import View
from a2a_server.stores.standing import standing

_ERASED_AT_ONCE: Final = 64


class MongodbStore:
    """A `TaskStore` in the database that `url` names.

    Args:
        url: `mongodb://user:password@host:27017/database` or `mongodb+srv://…`, with any options of MongoDB's drivers
            but those that would weaken what is promised; no database: `a2a`.
        clock_offset_us: Microseconds added to the clock; for tests.

    Concurrency: one event loop; `beat` from any thread. Any number of stores, anywhere, may use a database at the same
    time. The turns of one store run one after the other: side by side they would only be in each other's way.
    """

    def __init__(self, url: str, *, clock_offset_us: int = 0) -> None:
        self._url = url
        self._offset = clock_offset_us
        self._link: Link | None = None
        self._turns = asyncio.Lock()
        self._beating = threading.Lock()
        self._beats: MongoClient[Document] | None = None

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(many_writers=True, dispatches=True, notifies=True, blobs=True)

    async def open(self) -> None:
        link = await self._connected()
        try:
            await check_schema(link)
        except BaseException:
            await link.close()
            raise
        self._link = link

    async def migrate(self) -> tuple[int, int]:
        link = await self._connected()
        try:
            return await migrate(link)
        finally:
            await link.close()

    async def examine(self) -> str:
        link = await self._connected()
        try:
            found = standing(await version(link), NEWEST, mended_by="`a2a-server migrate`")
        finally:
            await link.close()
        return f"{link.address}: {found}"

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await quiet()
            await link.close()
        await asyncio.to_thread(self._close_beats)

    @apart
    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        async with self._turns:
            return await run_turn(self._linked(), needs, decide)

    @apart
    async def find(self, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
        link = self._linked()
        with link.translated():
            return await reads.find(link, scope, agent, task_id)

    async def snapshot(self, key: Key, history: int | None, *, artifacts: bool = True) -> Snapshot | None:
        return await self._one_snapshot({"_id": key}, history, artifacts=artifacts)

    async def find_snapshot(self, scope: Scope, agent: str, task_id: str, history: int | None) -> Snapshot | None:
        return await self._one_snapshot(reads.named(scope, agent, task_id), history, artifacts=True)

    @apart
    async def events(self, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
        link = self._linked()
        with link.translated():
            return await reads.events(View(link.db), key, after, limit, limit_bytes)

    @apart
    async def heads(self, keys: Collection[Key]) -> Mapping[Key, Head]:
        link = self._linked()
        with link.translated():
            return await reads.heads(View(link.db), keys)

    @apart
    async def page(self, query: TaskQuery) -> Page[Snapshot]:
        link = self._linked()
        return await link.transaction(lambda session: lists.page(View(link.db, session), query))

    @apart
    async def count(self, query: TaskQuery, most: int) -> int:
        link = self._linked()
        with link.translated():
            return await lists.count(View(link.db), query, most)

    @apart
    async def due(self, kind: DueKind, limit: int) -> Sequence[Key]:
        link = self._linked()
        with link.translated():
            return await lists.due(View(link.db), kind, limit, await link.now())

    @apart
    async def next_alarm(self, kinds: Collection[str] = ()) -> int | None:
        link = self._linked()
        with link.translated():
            alarm = await lists.next_alarm(View(link.db), kinds)
            return None if alarm is None else max(0, alarm - await link.now())

    @apart
    async def due_records(self, kinds: Collection[str], limit: int) -> Sequence[RecordRow]:
        link = self._linked()
        with link.translated():
            return await lists.due_records(View(link.db), kinds, limit, await link.now())

    @apart
    async def search(self, query: Search) -> Found:
        link = self._linked()
        return await link.transaction(lambda session: search(View(link.db, session), query))

    @apart
    async def oldest(self, after: Key, limit: int) -> Sequence[TaskRow]:
        link = self._linked()
        return await link.transaction(lambda session: lists.oldest(View(link.db, session), after, limit))

    @apart
    async def ahead(self, row: TaskRow, most: int) -> Mapping[Lane, int]:
        link = self._linked()
        with link.translated():
            return await lists.ahead(View(link.db), row, most)

    @apart
    async def leased(self, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
        link = self._linked()
        with link.translated():
            return await lists.leased(View(link.db), workers, most)

    @apart
    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        link = self._linked()
        with link.translated():
            return await lists.rows(View(link.db), query)

    @apart
    async def totals(self, query: TallyQuery) -> Mapping[TallyKey, int]:
        link = self._linked()
        with link.translated():
            return await lists.totals(View(link.db), query)

    @apart
    async def register(self, worker: WorkerRow) -> None:
        link = self._linked()
        with link.translated():
            fields = SHAPES["worker"].document(worker._replace(seen_at=await link.now()))
            id, _ = fields.pop("_id"), fields.pop("dead")
            with suppress(DuplicateKeyError):  # dead is for ever
                await link.db["worker"].update_one({"_id": id, "dead": False}, {"$set": fields}, upsert=True)

    def beat(self, worker: Key) -> bool:
        with self._beating:
            link = self._linked()
            with link.translated():
                if self._beats is None:
                    self._beats = link.beat_client()
                now = link.tick(self._beats.admin.command("hello"))
                workers = self._beats[link.db.name]["worker"]
                alive: dict[str, Any] = {"_id": worker, "dead": False}
                if workers.update_one({**alive, "seen_at": {"$lte": now}}, {"$set": {"seen_at": now}}).matched_count:
                    return True
                return workers.find_one(alive, {"_id": 1}) is not None

    @apart
    async def erase(self, keys: Collection[Key], *, whole: bool = False) -> int:
        link = self._linked()

        async def erase_some(session: AsyncClientSession, some: Sequence[Key]) -> int:
            return await erase(View(link.db, session), some, whole=whole)

        every = sorted(set(keys))
        step = max(1, len(every)) if whole else _ERASED_AT_ONCE
        erased = 0
        for start in range(0, len(every), step):
            async with self._turns:
                erased += await link.transaction(partial(erase_some, some=every[start : start + step]))
        return erased

    def blobs(self) -> Blobs | None:
        return MongodbBlobs(self._linked)

    async def dump(self) -> AsyncIterator[tuple[str, Sequence[tuple[object, ...]]]]:
        link = self._linked()
        with link.translated():
            async with aclosing(pages(link)) as every:
                async for page in every:
                    yield page

    @apart
    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        if table not in DUMPED:
            raise ValueError(f"no dump has a table {table}")
        return await fill(self._linked(), table, records)

    async def _connected(self) -> Link:
        link = Link(self._url, self._offset)
        try:
            await check_deployment(link)
        except BaseException:
            await link.close()
            raise
        return link

    @apart
    async def _one_snapshot(self, where: Document, history: int | None, *, artifacts: bool) -> Snapshot | None:
        link = self._linked()
        return await link.transaction(
            lambda session: reads.one_snapshot(View(link.db, session), where, history, artifacts=artifacts)
        )

    def _linked(self) -> Link:
        if self._link is None:
            raise StoreUnavailable("the store is closed")
        return self._link

    def _close_beats(self) -> None:
        with self._beating:
            if self._beats is not None:
                self._beats.close()
                self._beats = None
