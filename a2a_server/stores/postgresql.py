"""The store in PostgreSQL: any number of processes on any number of hosts write it at once.

Theory of operation: a turn is one transaction of four or five round trips: BEGIN, lock the tasks that it names, read
what stands beside them, write every change in one statement, COMMIT. Isolation is READ COMMITTED; rows are locked and
made in one order everywhere (postgresql_load, postgresql_write), and a turn that met another one is decided again.
Reads are single statements. All values go as arrays, so statements are few and are planned once for each connection.

Weaknesses: a statement is planned without a look at the tables' figures, so that it can never choose to read a whole
table; behind PgBouncer it is planned each time. A row that is changed often leaves its old versions behind until the
server's vacuum has been there; the schema asks it to come often.

Source: core.md sections 2, 4, 9 and 11.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from a2a_server.errors import Conflict, StoreUnavailable
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
from a2a_server.stores import postgresql_lists as lists, postgresql_reads as reads
from a2a_server.stores.postgresql_beat import Beats
from a2a_server.stores.postgresql_blobs import PostgresqlBlobs
from a2a_server.stores.postgresql_dump import fill, pages
from a2a_server.stores.postgresql_erase import erase
from a2a_server.stores.postgresql_link import Address, Database, Pool, committed, connect, ended, opening, translated
from a2a_server.stores.postgresql_load import NOW, load
from a2a_server.stores.postgresql_schema import Schema, known_migrations
from a2a_server.stores.postgresql_search import search
from a2a_server.stores.postgresql_tables import TABLES, numbered
from a2a_server.stores.postgresql_write import write
from a2a_server.stores.standing import standing

T = TypeVar("T")

_RETRIES: Final = 5
_ERASED_AT_ONCE: Final = 256

_REGISTER: Final = numbered(
    f"INSERT INTO worker (seen_at, id, ttl, dead, format, body) VALUES ({NOW}, ?, ?, ?, ?, ?) "  # noqa: S608 - our own
    "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, ttl = excluded.ttl, format = excluded.format, "
    "body = excluded.body WHERE NOT worker.dead"
)


class PostgresqlStore:
    """A `TaskStore` in a PostgreSQL database, which exists already.

    Args:
        url: `postgresql://user:password@host:port/database`, as the driver takes it, and in its query: `pool`, how many
            connections at most (8; one more is for beats); `pgbouncer=true`, PgBouncer stands in between, in
            transaction mode; `schema`, where the tables are (default: the user's own search path).
        clock_offset_us: Microseconds added to the server's clock; for tests.
        schema: What this version knows of schemas; for tests.

    Raises:
        ConfigurationError: An option that cannot be.

    Concurrency: one event loop; `beat` from any thread without one. A caller that is canceled while its turn waits does
    not stop the turn.
    """

    def __init__(self, url: str, *, clock_offset_us: int = 0, schema: Schema | None = None) -> None:
        self._address = Address.of(url)
        self._offset = clock_offset_us
        self._schema = schema or Schema(known_migrations())
        self._latest = 0
        self._begin = self._address.begin()
        self._pool: Pool | None = None
        self._beats: Beats | None = None

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(many_writers=True, dispatches=True, notifies=True, blobs=True)

    async def open(self) -> None:
        with opening(self._address.shown):
            database = await connect(self._address)
            try:
                if not await self._schema.checked(database, self._address):
                    await self._schema.migrate(database, self._address)
            finally:
                await ended(database)
        self._pool = Pool(self._address)
        self._beats = Beats(self._address)

    async def migrate(self) -> tuple[int, int]:
        with opening(self._address.shown):
            database = await connect(self._address)
            try:
                return await self._schema.migrate(database, self._address)
            finally:
                await ended(database)

    async def examine(self) -> str:
        with opening(self._address.shown):
            database = await connect(self._address)
            try:
                version = await self._schema.checked(database, self._address)
            finally:
                await ended(database)
        return f"{self._address.shown}: {standing(version, self._schema.newest, mended_by='`a2a-server migrate`')}"

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        beats, self._beats = self._beats, None
        if pool is not None and beats is not None:
            await asyncio.gather(pool.close(), asyncio.to_thread(beats.close))

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        run = partial(self._turn, needs=needs, decide=decide)
        error: BaseException = Conflict()
        for retry in range(_RETRIES + 1):
            if retry:
                await asyncio.sleep(random.uniform(0, 0.001 * 2**retry))  # noqa: S311 - spreads retries, no secret
            try:
                return await self._opened().turn(run)
            except Conflict as conflict:
                error = conflict
            except _Undecided as undecided:
                error = undecided.error
                break
        raise error  # outside of `except`, so that its context stays its own

    async def find(self, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
        return await self._read(partial(reads.find, scope=scope, agent=agent, task_id=task_id))

    async def snapshot(self, key: Key, history: int | None, *, artifacts: bool = True) -> Snapshot | None:
        return await self._read(partial(reads.snapshot, key=key, history=history, artifacts=artifacts))

    async def find_snapshot(self, scope: Scope, agent: str, task_id: str, history: int | None) -> Snapshot | None:
        named = (scope.tenant, scope.owner, agent, task_id)
        return await self._read(partial(reads.find_snapshot, named=named, history=history))

    async def events(self, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
        return await self._read(partial(reads.events, key=key, after=after, limit=limit, limit_bytes=limit_bytes))

    async def heads(self, keys: Collection[Key]) -> Mapping[Key, Head]:
        return await self._read(partial(reads.heads, keys=keys))

    async def page(self, query: TaskQuery) -> Page[Snapshot]:
        return await self._read(partial(lists.page, query=query))

    async def count(self, query: TaskQuery, most: int) -> int:
        return await self._read(partial(lists.count, query=query, most=most))

    async def due(self, kind: DueKind, limit: int) -> Sequence[Key]:
        return await self._read(partial(reads.due, kind=kind, limit=limit, offset=self._offset))

    async def next_alarm(self, kinds: Collection[str] = ()) -> int | None:
        return await self._read(partial(reads.next_alarm, kinds=kinds, offset=self._offset))

    async def due_records(self, kinds: Collection[str], limit: int) -> Sequence[RecordRow]:
        return await self._read(partial(reads.due_records, kinds=kinds, limit=limit, offset=self._offset))

    async def search(self, query: Search) -> Found:
        return await self._read(partial(search, query=query))

    async def oldest(self, after: Key, limit: int) -> Sequence[TaskRow]:
        return await self._read(partial(reads.oldest, after=after, limit=limit))

    async def ahead(self, row: TaskRow, most: int) -> Mapping[Lane, int]:
        return await self._read(partial(reads.ahead, row=row, most=most))

    async def leased(self, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
        return await self._read(partial(reads.leased, workers=workers, most=most))

    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        return await self._read(partial(reads.rows, query=query))

    async def totals(self, query: TallyQuery) -> Mapping[TallyKey, int]:
        return await self._read(partial(reads.totals, query=query))

    async def register(self, worker: WorkerRow) -> None:
        id_, _, *others = worker
        await self._write(lambda database: database.execute(_REGISTER, self._offset, id_, *others))

    def beat(self, worker: Key) -> bool:
        beats = self._beats
        if beats is None:
            raise StoreUnavailable("the store is closed")
        return beats.beat(worker, self._offset)

    async def erase(self, keys: Collection[Key], *, whole: bool = False) -> int:
        every = list(dict.fromkeys(keys))
        step = max(1, len(every)) if whole else _ERASED_AT_ONCE
        starts = range(0, len(every), step)
        return sum([await self._write(partial(erase, keys=every[at : at + step], whole=whole)) for at in starts])

    def blobs(self) -> Blobs | None:
        return PostgresqlBlobs(self._read, self._write)

    async def dump(self) -> AsyncIterator[tuple[str, Sequence[tuple[object, ...]]]]:
        self._opened()
        with translated(self._address.shown):
            database = await connect(self._address)
            try:
                await database.execute(self._address.begin("ISOLATION LEVEL REPEATABLE READ, READ ONLY", **_PATIENT))
                async for page in pages(database):
                    yield page
            finally:
                await ended(database)

    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        if table not in DUMPED:
            raise ValueError(f"no dump has a table {table}")
        return await self._write(partial(fill, table=TABLES[table], rows=records))

    async def _turn(self, database: Database, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        async def decided() -> Loaded:
            loaded = await load(database, needs, self._moment, self._offset)
            try:
                changes = decide(loaded)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
                raise _Undecided(error) from None
            await write(database, needs, loaded, changes)
            return loaded

        return await committed(database, self._begin, decided)

    async def _write(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """A transaction that is run again when another one was in its way."""
        error = Conflict()
        for _ in range(_RETRIES + 1):
            try:
                return await self._opened().turn(
                    lambda database: committed(database, self._begin, lambda: work(database))
                )
            except Conflict as conflict:
                error = conflict
        raise error

    async def _read(self, work: Callable[[Database], Awaitable[T]]) -> T:
        if self._address.pooled:
            return await self._opened().read(lambda database: committed(database, self._begin, lambda: work(database)))
        return await self._opened().read(work)

    def _opened(self) -> Pool:
        if self._pool is None:
            raise StoreUnavailable("the store is closed")
        return self._pool

    def _moment(self, moment: int) -> int:
        self._latest = max(self._latest, moment)
        return self._latest


_PATIENT: Final = {"idle_in_transaction_session_timeout": "10min", "statement_timeout": "10min"}


class _Undecided(Exception):
    """Carries what `decide` raised past the translation of errors."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
