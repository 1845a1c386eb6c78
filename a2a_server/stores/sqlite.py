"""The store in one SQLite file: no service to run, one process that serves, and every promise kept.

Theory of operation: one writer connection, two readers and one for beats, each on a thread of its own, share a file in
write-ahead mode. A whole turn, and a whole read, is one function on such a thread, because a hop between threads costs
as much as all of its SQL. A turn takes the write lock before it reads, so the turns of any number of stores on the file
happen one after the other; readers never wait for them.

Weaknesses: SQLite waits for its lock by sleeping and asking again, without a queue, so beside a saturated writer other
processes (and the beat) wait unevenly, up to a second; and the file must be on a local disk.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
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
from a2a_server.stores import sqlite_reads as reads, sqlite_search as searches
from a2a_server.stores.sqlite_blobs import SqliteBlobs
from a2a_server.stores.sqlite_check import examine
from a2a_server.stores.sqlite_dump import fill, pages
from a2a_server.stores.sqlite_erase import erase
from a2a_server.stores.sqlite_link import Link, committed, translated
from a2a_server.stores.sqlite_load import load
from a2a_server.stores.sqlite_rows import worker_record
from a2a_server.stores.sqlite_schema import BEAT_PRAGMAS, READER_PRAGMAS, WRITER_PRAGMAS, connect, migrate
from a2a_server.stores.sqlite_write import write

T = TypeVar("T")

_READERS: Final = 2
_BUSY: Final = attrgetter("busy")
_RETRIES: Final = 5
_ERASED_AT_ONCE: Final = 256

_REGISTER: Final = (
    "INSERT INTO worker (id, seen_at, ttl, dead, format, body) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, ttl = excluded.ttl, format = excluded.format, "
    "body = excluded.body WHERE dead = 0"
)
_BEAT: Final = "UPDATE worker SET seen_at = max(seen_at, ?) WHERE id = ? AND dead = 0"


def wall_clock() -> int:
    """The host's time in microseconds since the epoch."""
    return time.time_ns() // 1000


class SqliteStore:
    """A `TaskStore` in the file `path`, which is made when missing; its directory is not.

    Args:
        path: The database file, on a local disk.
        clock_offset_us: Microseconds added to the clock; for tests.
        clock: The time in microseconds since the epoch. What the store calls now never goes back.

    Concurrency: one event loop; `beat` from any thread. Other stores, in this process or another one, may use the same
    file at the same time; the process that serves it takes `sqlite_lock.FileLock`. A caller that is cancelled while its
    turn waits does not stop the turn.
    """

    def __init__(self, path: str | Path, *, clock_offset_us: int = 0, clock: Callable[[], int] = wall_clock) -> None:
        self._path = Path(path)
        self._clock = clock
        self._offset = clock_offset_us
        self._latest = 0
        self._time = threading.Lock()
        self._writer: Link | None = None
        self._readers: list[Link] = []
        self._beating = threading.Lock()
        self._beats: sqlite3.Connection | None = None

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(many_writers=False, blobs=True)

    async def open(self) -> None:
        try:
            with translated():
                self._writer = await Link.connected(self._path, WRITER_PRAGMAS)
                await self._writer.call(partial(migrate, path=self._path))
                for _ in range(_READERS):
                    self._readers.append(await Link.connected(self._path, READER_PRAGMAS))
        except BaseException:
            await self.close()
            raise

    async def migrate(self) -> tuple[int, int]:
        with translated():
            link = await Link.connected(self._path, WRITER_PRAGMAS)
            try:
                return await link.call(partial(migrate, path=self._path))
            finally:
                await link.close()

    async def close(self) -> None:
        links = [*self._readers, *([self._writer] if self._writer else [])]
        self._readers, self._writer = [], None
        for link in links:
            await link.close()
        await asyncio.to_thread(self._close_beats)

    async def examine(self) -> str:
        return await asyncio.to_thread(examine, self._path)

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        run = partial(_run_turn, now=self._now, needs=needs, decide=decide)
        error: BaseException = Conflict()
        for retry in range(_RETRIES + 1):
            if retry:
                await asyncio.sleep(random.uniform(0, 0.001 * 2**retry))  # noqa: S311 - spreads retries, no secret
            try:
                return await self._writer.call(run)
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
        return await self._read(partial(reads.page, query=query))

    async def count(self, query: TaskQuery, most: int) -> int:
        return await self._read(partial(reads.count, query=query, most=most))

    async def due(self, kind: DueKind, limit: int) -> Sequence[Key]:
        return await self._read(partial(reads.due, kind=kind, limit=limit, now=self._now()))

    async def next_alarm(self, kinds: Collection[str] = ()) -> int | None:
        return await self._read(partial(reads.next_alarm, kinds=kinds, now=self._now()))

    async def due_records(self, kinds: Collection[str], limit: int) -> Sequence[RecordRow]:
        return await self._read(partial(reads.due_records, kinds=kinds, limit=limit, now=self._now()))

    async def search(self, query: Search) -> Found:
        return await self._read(partial(searches.search, query=query))

    async def oldest(self, after: Key, limit: int) -> Sequence[TaskRow]:
        return await self._read(partial(searches.oldest, after=after, limit=limit))

    async def ahead(self, row: TaskRow, most: int) -> Mapping[Lane, int]:
        return await self._read(partial(searches.ahead, row=row, most=most))

    async def leased(self, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
        return await self._read(partial(searches.leased, workers=workers, most=most))

    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        return await self._read(partial(reads.rows, query=query))

    async def totals(self, query: TallyQuery) -> Mapping[TallyKey, int]:
        return await self._read(partial(reads.totals, query=query))

    async def register(self, worker: WorkerRow) -> None:
        def insert(db: sqlite3.Connection) -> None:
            record = worker_record(worker._replace(seen_at=self._now()))
            committed(db, lambda: db.execute(_REGISTER, record))

        await self._write(insert)

    def beat(self, worker: Key) -> bool:
        with self._beating, translated():
            if self._writer is None:
                raise StoreUnavailable("the store is closed")
            if self._beats is None:
                self._beats = connect(self._path, BEAT_PRAGMAS)
            return self._beats.execute(_BEAT, (self._now(), worker)).rowcount == 1

    async def erase(self, keys: Collection[Key], *, whole: bool = False) -> int:
        def erase_some(db: sqlite3.Connection, some: Sequence[Key]) -> int:
            return committed(db, lambda: erase(db, some, whole=whole))

        every = list(dict.fromkeys(keys))
        step = max(1, len(every)) if whole else _ERASED_AT_ONCE
        starts = range(0, len(every), step)
        return sum([await self._write(partial(erase_some, some=every[at : at + step])) for at in starts])

    def blobs(self) -> Blobs | None:
        return SqliteBlobs(self._read, self._write)

    async def dump(self) -> AsyncIterator[tuple[str, Sequence[tuple[object, ...]]]]:
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        with translated():
            link = await Link.connected(self._path, READER_PRAGMAS)
        try:
            every = await link.call(pages)
            try:
                while (page := await link.call(lambda _: next(every, None))) is not None:
                    yield page
            finally:
                await link.call(lambda _: every.close())  # on its own thread, before its connection
        finally:
            await link.close()

    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        if table not in DUMPED:
            raise ValueError(f"no dump has a table {table}")
        return await self._write(lambda db: committed(db, lambda: fill(db, table, records)))

    async def _write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable("the store is closed")
        return await self._writer.call(function)

    def _read(self, function: Callable[[sqlite3.Connection], T]) -> Coroutine[None, None, T]:
        if not self._readers:
            raise StoreUnavailable("the store is closed")
        return min(self._readers, key=_BUSY).call(function)

    def _now(self) -> int:
        with self._time:
            self._latest = max(self._latest, self._clock() + self._offset)
            return self._latest

    def _close_beats(self) -> None:
        with self._beating:
            if self._beats is not None:
                self._beats.close()
                self._beats = None


class _Undecided(Exception):
    """Carries what `decide` raised past the translation of errors, and StopIteration past the future."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _run_turn(
    db: sqlite3.Connection, now: Callable[[], int], needs: Needs, decide: Callable[[Loaded], Changes]
) -> Loaded:
    def decided() -> Loaded:
        cursor = db.cursor()
        loaded = load(cursor, needs, now())
        try:
            changes = decide(loaded)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
            raise _Undecided(error) from None
        write(cursor, loaded, changes)
        return loaded

    return committed(db, decided)
