"""Claims through turns of the SQLite store, in this process: a worker's own operation, one caller.

Two questions: whether the number of tasks that are ready matters, and what it is worth to claim together tasks that
need a resource.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.runs import Claimed
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.rows import GateRow, TaskRow, WorkerRow
from a2a_server.policy import SECOND, gates_of, resource_gate
from a2a_server.stores.sqlite import SqliteStore
from tests.bench.costs import PARTS, Bench, Series
from tests.bench.servers import Failed
from tests.bench.tasks.filling import settled
from tests.bench.tasks.turning import turned
from tests.unit.turns import WORKER, claim, submit

FEW, MANY = "1,000 ready", "100,000 ready"
ONE, BATCHED = "a task a claim", "100 tasks a claim"

_BATCH: Final = 100
_QUEUE: Final = "echo"
_GPU: Final = resource_gate("gpu")
_PLENTY: Final = 1_000_000
_TOGETHER: Final = 5_000


class Claimer:
    """One worker on one store, whose tasks are copies of one. gates: those of the tasks."""

    def __init__(self, store: SqliteStore, path: Path, row: TaskRow) -> None:
        self._store = store
        self._path = path
        self._row = row
        self._made = 1  # the one that they are copies of

    async def add(self, amount: int) -> None:
        """So many more are ready."""
        for first in range(0, amount, _TOGETHER):
            rows = [self._copy() for _ in range(min(_TOGETHER, amount - first))]
            if await self._store.fill("task", rows) != len(rows):
                raise Failed("a copy of a task was there already")

    async def settle(self) -> None:
        """Nothing is left to do behind what was added."""
        await asyncio.to_thread(settled, self._path)

    async def claimed(self, limit: int, amount: int) -> None:
        """Claim so many tasks, `limit` at a time. Raises Failed."""
        for _ in range(amount // limit):
            found: Claimed = await turned(self._store, claim(limit, queues=(_QUEUE,)))
            if len(found.rows) != limit:
                raise Failed(f"a claim got {len(found.rows)} tasks instead of {limit}")

    def _copy(self) -> TaskRow:
        self._made += 1
        key = type(self._row.key)(self._row.key[:8] + self._made.to_bytes(8, "big"))
        return self._row._replace(key=key, id=id_of(key), context=id_of(key), rank=self._row.rank + self._made)


@asynccontextmanager
async def claimer(path: Path, *, resource: bool = False) -> AsyncIterator[Claimer]:
    """A registered worker on a new store. resource: its tasks need one of a resource of which there is plenty."""
    await asyncio.to_thread(path.parent.mkdir, parents=True)
    store = SqliteStore(path)
    await store.open()
    try:
        await store.register(WorkerRow(WORKER, 0, 3600 * SECOND, dead=False, format=1, body=b""))
        gates = gates_of(owner="local", agent="", skill=_QUEUE, queue=_QUEUE)
        if resource:
            gates = (*gates, _GPU)
            gate = GateRow(_GPU, _PLENTY, used=0, tokens=0, refilled_at=0, closed_until=0, reason="", rev=1)
            await store.fill("gate", [gate])
        template: Submitted = await turned(store, submit(1, gates=gates))
        yield Claimer(store, path, template.row)
    finally:
        await store.close()


async def ready(bench: Bench) -> Series:
    """Milliseconds of CPU of this process for a claim of one task."""
    counts = bench.counts.tasks
    directory = bench.fresh_directory("ready")
    series: Series = {FEW: [], MANY: []}
    async with claimer(directory / "few.db") as few, claimer(directory.with_name("many") / "many.db") as many:
        bench.say(f"filling in {counts.many:,} tasks")
        await few.add(counts.few - 1)
        await many.add(counts.many - 1)
        share = max(1, counts.claims // PARTS)
        for number in range(-1, bench.counts.close_rounds):  # one before, which warms up
            spent = {FEW: 0.0, MANY: 0.0}
            for one in (few, many):
                await one.settle()
            for part in range(PARTS):
                bench.say(f"round {max(number, 0) + 1} of {bench.counts.close_rounds}, part {part + 1} of {PARTS}")
                for name, one in ((FEW, few), (MANY, many)):
                    began = time.process_time()
                    await one.claimed(1, share)
                    spent[name] += time.process_time() - began
                    await one.add(share)
            for name, seconds in spent.items() if number >= 0 else ():
                series[name].append(max(seconds, 1e-6) / (share * PARTS) * 1000)
    return series


async def allocated(bench: Bench) -> Series:
    """Milliseconds on the clock for each task that is claimed, and with it one of a resource."""
    counts = bench.counts.tasks
    series: Series = {ONE: [], BATCHED: []}
    async with claimer(bench.fresh_directory("allocated") / "tasks.db", resource=True) as one:
        for number in range(-1, counts.rounds):  # one before, which warms up
            for name, limit in ((ONE, 1), (BATCHED, _BATCH)):
                bench.say(f"round {max(number, 0) + 1} of {counts.rounds}: {name}")
                await one.add(counts.allocated)
                await one.settle()
                began = time.perf_counter()
                await one.claimed(limit, counts.allocated)
                seconds = time.perf_counter() - began
                if number >= 0:
                    series[name].append(seconds / counts.allocated * 1000)
    return series
