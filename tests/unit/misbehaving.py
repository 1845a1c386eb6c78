"""A store that misbehaves on purpose: what it does besides is done by the one that it wraps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from a2a_server.errors import Conflict, DataRejected, StoreUnavailable
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
from a2a_server.model.rows import EventRow, Head, Key, RecordRow, TallyKey, TaskRow, WorkerRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import Blobs, TaskStore


class MisbehavingStore:
    """Implements ports.TaskStore.

    silent: turns that `silences` names to answer with StoreUnavailable, or what `failure` is instead; deaf: reads of
    logs and heads. down: everything is answered so, signs of life too. doubtful: turns to commit and then answer so.
    poison and contested: tasks whose writes are refused (DataRejected, Conflict); poisonous: events with these bytes
    are. `gate` holds the turns that `holds` names while it is clear, `held` is set when it does; held_snapshots: reads
    of whole tasks to hold likewise. `reads` and `snapshots` count what was asked of logs, and of whole tasks by their
    keys. `turns` has the size of every turn that was begun: how many tasks it wrote.
    """

    def __init__(self, inner: TaskStore) -> None:
        self.inner = inner
        self.silent = 0
        self.silences: Callable[[Needs], bool] = lambda _: True
        self.deaf = 0
        self.doubtful = 0
        self.down = False
        self.failure: Exception = StoreUnavailable("silent")
        self.poisonous = b""
        self.poison: set[Key] = set()
        self.contested: set[Key] = set()
        self.turns: list[int] = []
        self.reads = 0
        self.snapshots = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.holds: Callable[[Needs], bool] = lambda _: True
        self.held = asyncio.Event()
        self.held_snapshots = 0

    @property
    def capabilities(self) -> StoreCapabilities:
        return self.inner.capabilities

    async def open(self) -> None:
        await self.inner.open()

    async def examine(self) -> str:
        return await self.inner.examine()

    async def migrate(self) -> tuple[int, int]:
        return await self.inner.migrate()

    async def close(self) -> None:
        await self.inner.close()

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        if self.holds(needs):
            await self._pass()
        self._speak_if_down()
        if self.silent and self.silences(needs):
            self.silent -= 1
            raise self.failure

        def watched(loaded: Loaded) -> Changes:
            changes = decide(loaded)
            written = {row.key for row in (*changes.new_tasks, *changes.tasks)}
            self.turns.append(len(written))
            if written & self.poison:
                raise DataRejected("poison")
            if written & self.contested:
                raise Conflict("contested")
            if self.poisonous and any(self.poisonous in event.body for event in changes.events):
                raise DataRejected("poisonous")
            return changes

        loaded = await self.inner.turn(needs, watched)
        if self.doubtful:
            self.doubtful -= 1
            raise StoreUnavailable("in doubt")
        return loaded

    async def find(self, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
        self._speak_if_down()
        return await self.inner.find(scope, agent, task_id)

    async def snapshot(self, key: Key, history: int | None, *, artifacts: bool = True) -> Snapshot | None:
        self.snapshots += 1
        if self.held_snapshots:
            self.held_snapshots -= 1
            await self._pass()
        self._speak_if_down()
        return await self.inner.snapshot(key, history, artifacts=artifacts)

    async def find_snapshot(self, scope: Scope, agent: str, task_id: str, history: int | None) -> Snapshot | None:
        self._speak_if_down()
        return await self.inner.find_snapshot(scope, agent, task_id, history)

    async def events(self, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
        self.reads += 1
        self._hear()
        return await self.inner.events(key, after, limit, limit_bytes)

    async def heads(self, keys: Collection[Key]) -> Mapping[Key, Head]:
        self._hear()
        return await self.inner.heads(keys)

    async def page(self, query: TaskQuery) -> Page[Snapshot]:
        return await self.inner.page(query)

    async def count(self, query: TaskQuery, most: int) -> int:
        return await self.inner.count(query, most)

    async def due(self, kind: DueKind, limit: int) -> Sequence[Key]:
        self._speak_if_down()
        return await self.inner.due(kind, limit)

    async def due_records(self, kinds: Collection[str], limit: int) -> Sequence[RecordRow]:
        self._speak_if_down()
        return await self.inner.due_records(kinds, limit)

    async def search(self, query: Search) -> Found:
        self._speak_if_down()
        return await self.inner.search(query)

    async def oldest(self, after: Key, limit: int) -> Sequence[TaskRow]:
        self._speak_if_down()
        return await self.inner.oldest(after, limit)

    async def ahead(self, row: TaskRow, most: int) -> Mapping[Lane, int]:
        self._speak_if_down()
        return await self.inner.ahead(row, most)

    async def leased(self, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
        self._speak_if_down()
        return await self.inner.leased(workers, most)

    async def next_alarm(self, kinds: Collection[str] = ()) -> int | None:
        self._speak_if_down()
        return await self.inner.next_alarm(kinds)

    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        self._speak_if_down()
        return await self.inner.rows(query)

    async def totals(self, query: TallyQuery) -> Mapping[TallyKey, int]:
        return await self.inner.totals(query)

    async def register(self, worker: WorkerRow) -> None:
        self._speak_if_down()
        await self.inner.register(worker)

    def beat(self, worker: Key) -> bool:
        self._speak_if_down()
        return self.inner.beat(worker)

    async def erase(self, keys: Collection[Key], *, whole: bool = False) -> int:
        return await self.inner.erase(keys, whole=whole)

    def blobs(self) -> Blobs | None:
        return self.inner.blobs()

    def dump(self) -> AsyncIterator[tuple[str, Sequence[tuple[object, ...]]]]:
        return self.inner.dump()

    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        return await self.inner.fill(table, records)

    async def _pass(self) -> None:
        if not self.gate.is_set():
            self.held.set()
        await self.gate.wait()

    def _hear(self) -> None:
        self._speak_if_down()
        if self.deaf:
            self.deaf -= 1
            raise self.failure

    def _speak_if_down(self) -> None:
        if self.down:
            raise StoreUnavailable("down")
