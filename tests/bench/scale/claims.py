"""Claims through turns of the PostgreSQL store, in this process: a worker's own operation, one caller.

What a claim costs is the time of this process and of PostgreSQL's. Three questions: what batches are worth, whether
tasks that a full gate holds back are in the way of others, and whether the number of stored tasks matters.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

import asyncpg

from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.runs import Claimed
from a2a_server.lifecycle.submission import Submitted
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import GateRow, Key, WorkerRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import SECOND
from a2a_server.stores.postgresql import PostgresqlStore
from tests.bench.costs import Bench, Series
from tests.bench.scale.filling import multiply, settled
from tests.bench.scale.places import Family, connected, database
from tests.bench.servers import Failed
from tests.unit.turns import WORKER, claim, submit

ResultT = TypeVar("ResultT")

ONE, BATCHED = "one by one", "100 at once"
NOTHING, NOTHING_BEHIND = "an empty queue", "an empty queue, held tasks beside it"
ALONE, BEHIND = "a task alone", "a task, held tasks beside it"
ASIDE = "a task that is held, 200 at once"
CLIENT = "capped"
_SHARD = "bench"
_QUEUE = "claimed"
_BATCH = 100
_MANY = 200
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds: on the clock, and of processors."""

    wall: float
    cpu: float


class Claimer:
    """One worker on one database. What it claims are copies, in a queue of their own, of tasks that nobody claims."""

    def __init__(self, store: PostgresqlStore, raw: asyncpg.Connection, family: Family) -> None:
        self.raw = raw
        self._store = store
        self._family = family
        self._templates = count(1 << 30)
        self._first = 1 << 24

    async def put(self, owner: str) -> Key:
        """A READY task of this client, to be copied."""
        template: Submitted = await self._turn(submit(next(self._templates), owner=owner, skill="template"))
        return template.row.key

    async def copies(self, key: Key, amount: int) -> None:
        """So many of a READY task, to be claimed."""
        await multiply(self.raw, key, self._first, self._first + amount - 1, _QUEUE)
        self._first += amount

    async def cap(self, owner: str) -> None:
        """No task of this client can be claimed: the one that its gate lets through runs already."""
        gate = GateRow(f"client:{owner}", 1, used=1, tokens=0, refilled_at=0, closed_until=0, reason="", rev=1)
        await self._store.fill("gate", [gate])

    async def claim(self, limit: int) -> Claimed:
        """One turn."""
        return await self._turn(claim(limit, queues=(_QUEUE,)))

    async def spent(self, turns: int, limit: int, claimed: int) -> Spent:
        """What so many claims take, each. claimed: how many tasks each must get. Raises Failed."""
        cpu, clock = self._cpu(), time.perf_counter()
        for _ in range(turns):
            if (got := len((await self.claim(limit)).rows)) != claimed:
                raise Failed(f"a claim got {got} tasks instead of {claimed}")
        return self._since(cpu, clock, turns)

    async def aside(self, limit: int, tasks: int) -> Spent:
        """What it takes, each, to hold so many tasks of a capped client that stand in front. Raises Failed."""
        cpu, clock = self._cpu(), time.perf_counter()
        for _ in range(tasks // limit):
            if (await self.claim(limit)).rows:
                raise Failed("a task went through a full gate")
        return self._since(cpu, clock, tasks)

    def _cpu(self) -> float:
        return time.process_time() + self._family.cpu_seconds()

    def _since(self, cpu: float, clock: float, amount: int) -> Spent:
        wall = time.perf_counter() - clock
        return Spent(wall / amount * 1000, max(self._cpu() - cpu, 1e-6) / amount * 1000)

    async def _turn(self, operation: Operation[ResultT]) -> ResultT:
        needs = Needs()
        operation.needs(needs, _SHARD)
        outcome: list[ResultT] = []

        def decide(loaded: Loaded) -> Changes:
            turn = Turn(loaded, _SHARD, needs.claims)
            outcome[:] = [operation.decide(turn)]
            return turn.changes()

        await self._store.turn(needs, decide)
        return outcome[0]


@asynccontextmanager
async def claimer(bench: Bench, url: str) -> AsyncIterator[Claimer]:
    """A registered worker on this database."""
    store = PostgresqlStore(url)
    await store.open()
    try:
        await store.register(WorkerRow(WORKER, 0, 3600 * SECOND, dead=False, format=1, body=b""))
        async with connected(url) as raw:
            yield Claimer(store, raw, bench.services.family("postgresql"))
    finally:
        await store.close()


async def batches(bench: Bench) -> dict[str, Series]:
    """Milliseconds a claimed task, `wall` and `cpu`."""
    ways = ((ONE, 1, bench.counts.claims), (BATCHED, _BATCH, bench.counts.claims // 10))
    server = await bench.services.get("postgresql", bench.server_cores)
    found: dict[str, Series] = {"wall": {}, "cpu": {}}
    with database(server) as url:
        async with claimer(bench, url) as one:
            key = await one.put("local")
            await one.copies(key, (bench.counts.rounds + 1) * sum(limit * turns for _, limit, turns in ways))
            await settled(one.raw)
            for number in range(-1, bench.counts.rounds):
                spent: dict[str, list[Spent]] = {name: [] for name, *_ in ways}
                for part in range(_PARTS):
                    bench.say(f"round {max(number, 0) + 1} of {bench.counts.rounds}, part {part + 1} of {_PARTS}")
                    for name, limit, turns in ways:
                        spent[name].append(await one.spent(turns // _PARTS, limit, limit))
                if number >= 0:
                    for name, limit, _ in ways:
                        _note(found, name, spent[name], limit)
    return found


async def capped(bench: Bench) -> Series:
    """Milliseconds of CPU a claim; `ASIDE`: a task."""
    server = await bench.services.get("postgresql", bench.server_cores)
    found: dict[str, Series] = {"wall": {}, "cpu": {}}
    with database(server) as empty, database(server) as full:
        async with claimer(bench, empty) as alone, claimer(bench, full) as behind:
            await _hold(bench, behind, found)
            stocks = {one: await one.put("local") for one in (alone, behind)}
            for number in range(-1, bench.counts.rounds):
                bench.say(f"round {max(number, 0) + 1} of {bench.counts.rounds}")
                for one, key in stocks.items():
                    await one.copies(key, bench.counts.claims)
                spent = [
                    *await _turns(bench, {ALONE: alone, BEHIND: behind}, 1),
                    *await _turns(bench, {NOTHING: alone, NOTHING_BEHIND: behind}, 0),
                ]
                if number >= 0:
                    for name, parts in spent:
                        _note(found, name, parts, 1)
    return found["cpu"]


async def _hold(bench: Bench, behind: Claimer, found: dict[str, Series]) -> None:
    """All tasks of a capped client stand in front, and claims have come upon them: they are held from then on."""
    counts = bench.counts
    await behind.cap(CLIENT)
    bench.say(f"filling in {counts.capped:,} tasks of a capped client")
    await behind.copies(await behind.put(CLIENT), counts.capped)
    await settled(behind.raw)
    share = counts.capped // counts.rounds // _MANY * _MANY
    for number in range(counts.rounds):
        bench.say(f"claims come upon them, {number + 1} of {counts.rounds}")
        _note(found, ASIDE, [await behind.aside(_MANY, share)], 1)
    while (await behind.claim(_MANY)).more:
        pass


async def _turns(bench: Bench, sides: dict[str, Claimer], claimed: int) -> list[tuple[str, list[Spent]]]:
    """A round of claims of one task each, side by side in parts."""
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    for _ in range(_PARTS):
        for name, one in sides.items():
            spent[name].append(await one.spent(bench.counts.claims // _PARTS, 1, claimed))
    return [*spent.items()]


def _note(found: dict[str, Series], name: str, parts: Sequence[Spent], tasks: int) -> None:
    """One round's figure: the parts are equally large."""
    measures: dict[str, Callable[[Spent], float]] = {"wall": lambda one: one.wall, "cpu": lambda one: one.cpu}
    for unit, measure in measures.items():
        found[unit].setdefault(name, []).append(sum(map(measure, parts)) / len(parts) / tasks)
