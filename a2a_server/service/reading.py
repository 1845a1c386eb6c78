"""What operators read of a task: its log, audit trail, memory, messages, results, parts and ties."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from a2a_server.codec import decode, unpack_message
from a2a_server.context.remembering import STEP
from a2a_server.engine.engine import Engine
from a2a_server.engine.starts import Starts
from a2a_server.errors import TaskNotFound
from a2a_server.model.objects import Message, Scope, Task
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import (
    ArtifactRow,
    EdgeKind,
    EdgeRow,
    EventRow,
    JournalRow,
    Key,
    MessageRow,
    StateRow,
    TaskRow,
)
from a2a_server.model.runs import CHECKPOINT
from a2a_server.service.timing import Timing
from a2a_server.service.views import task_of
from a2a_server.values import value_class

PAGE_BYTES: Final = 4 << 20
PAGE_EDGES: Final = 1000
TOGETHER: Final = 50
"""Tasks of a graph that are read at a time."""
MOST_TASKS: Final = 10_000
"""Tasks of a graph."""

RowT = TypeVar("RowT")


@value_class(frozen=True, slots=True)
class Some:
    """Rows in order, and whether others follow."""

    rows: Sequence[tuple[object, ...]]
    more: bool


@dataclass(slots=True)
class Graph:
    """Tasks that are tied to each other, and the ties among them; complete: whether these are all."""

    tasks: dict[Key, TaskRow] = field(default_factory=dict)
    edges: list[EdgeRow] = field(default_factory=list)
    complete: bool = True


class Reading:
    """Reads the tasks of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store
        self.starts = Starts(self._store)
        self.timing = Timing(engine)

    async def find(self, scope: Scope, task_id: str) -> TaskRow:
        """The task. Raises TaskNotFound."""
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        return row

    async def events(self, scope: Scope, task_id: str, after: int, limit: int) -> tuple[Sequence[EventRow], bool]:
        """Events behind number `after`, and whether others follow. Raises TaskNotFound."""
        row = await self.find(scope, task_id)
        found = await self._store.events(row.key, after, limit, PAGE_BYTES)
        return found, bool(found) and found[-1].n < row.last_n

    async def journal(self, scope: Scope, task_id: str, after: int, limit: int) -> tuple[Sequence[JournalRow], bool]:
        """Entries of its audit trail behind number `after`, and whether others follow. Raises TaskNotFound."""
        row = await self.find(scope, task_id)
        page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), (row.key, after), limit))
        return [one for one in page.rows if isinstance(one, JournalRow)], page.more

    async def values(
        self, scope: Scope, task_id: str, space: str, after: str, limit: int
    ) -> tuple[Sequence[StateRow], bool]:
        """Values that it remembers in a space, in the order of their names, behind the name `after`.

        Raises TaskNotFound.
        """
        row = await self.find(scope, task_id)
        key = bytes(row.key)
        page = await self._store.rows(
            RowQuery(Table.STATE, (key, space), (key, space, after) if after else None, limit)
        )
        return [one for one in page.rows if isinstance(one, StateRow)], page.more

    async def checkpoints(self, scope: Scope, task_id: str, after: str, limit: int) -> tuple[Sequence[StateRow], bool]:
        """Its checkpoints, as `values` gives them."""
        return await self.values(scope, task_id, CHECKPOINT, after, limit)

    async def steps(self, scope: Scope, task_id: str, after: str, limit: int) -> tuple[Sequence[StateRow], bool]:
        """Its steps, as `values` gives them."""
        return await self.values(scope, task_id, STEP, after, limit)

    async def messages(
        self, scope: Scope, task_id: str, after: int, limit: int
    ) -> tuple[Sequence[tuple[int, Message]], bool]:
        """Messages of its history with their numbers, oldest first, behind number `after`. Raises TaskNotFound."""
        row = await self.find(scope, task_id)
        page = await self._store.rows(RowQuery(Table.MESSAGE, (row.key,), (row.key, after), limit))
        found = [one for one in page.rows if isinstance(one, MessageRow) and one.at_n <= row.last_n]
        return [(one.seq, unpack_message(decode(one.body))) for one in found], page.more

    async def artifacts(self, scope: Scope, task_id: str) -> Sequence[ArtifactRow]:
        """Its results: of each its newest take. Raises TaskNotFound."""
        snapshot = await self._store.find_snapshot(scope, self._engine.agent, task_id, 0)
        if snapshot is None:
            raise TaskNotFound
        return snapshot.artifacts

    async def result(self, scope: Scope, task_id: str) -> Task:
        """The task with all that came out of it. Raises TaskNotFound."""
        snapshot = await self._store.find_snapshot(scope, self._engine.agent, task_id, 0)
        if snapshot is None:
            raise TaskNotFound
        return await task_of(snapshot, self._engine.backends.artifacts)

    async def graph(self, scope: Scope, task_id: str, limit: int) -> Graph:
        """The task and all that it is tied to, by way of however many others, at most `limit` tasks.

        Nearer ones first. Raises TaskNotFound.
        """
        start = await self.find(scope, task_id)
        graph = Graph({start.key: start})
        seen, ahead = {start.key}, [start.key]
        edges: dict[tuple[Key, Key, int], EdgeRow] = {}
        while ahead:
            found = {edge for key in ahead for edge in await self._edges(key)}
            edges |= {(edge.upstream, edge.downstream, edge.on_failure): edge for edge in found}
            new = sorted({key for edge in found for key in (edge.upstream, edge.downstream)} - seen)
            graph.complete = graph.complete and len(seen) + len(new) <= limit
            ahead = new[: limit - len(seen)]
            seen.update(ahead)
        await self._read(graph, sorted(seen - {start.key}))
        known = graph.tasks.keys()
        graph.edges = [
            edge
            for edge in edges.values()
            if edge.on_failure != EdgeKind.JOIN and edge.upstream in known and edge.downstream in known
        ]
        return graph

    async def _edges(self, key: Key) -> Sequence[EdgeRow]:
        found: list[EdgeRow] = []
        for table in (Table.EDGE, Table.EDGE_TO):
            after: tuple[str | int | bytes, ...] | None = None
            more = True
            while more and len(found) <= MOST_TASKS:
                page = await self._store.rows(RowQuery(table, (key,), after, PAGE_EDGES))
                rows = [row for row in page.rows if isinstance(row, EdgeRow)]
                found += rows
                more = page.more and bool(rows)
                if more:
                    last = rows[-1]
                    pair = (last.upstream, last.downstream)
                    after = pair if table is Table.EDGE else pair[::-1]
        return found

    async def _read(self, graph: Graph, keys: Sequence[Key]) -> None:
        for start in range(0, len(keys), TOGETHER):
            some = keys[start : start + TOGETHER]
            snapshots = await asyncio.gather(*(self._store.snapshot(key, 0, artifacts=False) for key in some))
            graph.tasks |= {one.task.key: one.task for one in snapshots if one is not None and one.task.visible}
