"""CPU per unit of work, side by side: every side has a server, is warmed up, and takes its turns in each round."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.bench.counts import Counts
from tests.bench.load import Connection, connections, work_off
from tests.bench.scale.places import Services
from tests.bench.servers import Kind, Server, cores, started
from tests.bench.speech import Speaker, speaker

PARTS = 8
"""In so many parts each side does its work of a round, so that what disturbs the machine for a second disturbs all."""

Series: TypeAlias = dict[str, list[float]]
"""What was measured: for each side one number a round."""
Job: TypeAlias = Callable[[list[Connection], int], Awaitable[int]]
"""Does so many exchanges over these connections; returns how many units of work they were."""


@dataclass(frozen=True, slots=True)
class Side:
    """One column of a comparison. clients: connections of the load. most: exchanges a round.

    slow: takes so long that a quick look leaves it out.

    prepare: called once with the running server; gives the work of a round. Sides of one kind share its server.
    """

    name: str
    kind: Kind
    clients: int
    prepare: Callable[[Server, Speaker], Awaitable[Job]]
    most: int = 20_000
    slow: bool = False


class Bench:
    """What all comparisons share. directory: for the servers' files, on a real disk. say: tells progress.

    services: those of the rows about scaling; whoever makes a bench closes them.
    """

    def __init__(self, directory: Path, counts: Counts, say: Callable[[str], None]) -> None:
        self.counts = counts
        self.say = say
        self.services = Services()
        self._directory = directory
        self._started = 0
        self._known: dict[str, dict[str, Series] | Exception] = {}
        self.all_cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.server_cores, self.load_cores = cores()
        if self.load_cores:
            os.sched_setaffinity(0, self.load_cores)

    def fresh_directory(self, name: str) -> Path:
        """Where one server may write; does not exist yet."""
        self._started += 1
        return self._directory / f"{self._started}-{name.replace(' ', '-').replace(',', '')}"

    async def once(self, name: str, measure: Callable[[Bench], Awaitable[dict[str, Series]]]) -> dict[str, Series]:
        """What `measure` found, or raised, for rows that show one measurement in several units."""
        if name not in self._known:
            try:
                self._known[name] = await measure(self)
            except Exception as error:
                self._known[name] = error
                raise
        known = self._known[name]
        if isinstance(known, Exception):
            raise known
        return known

    async def start(self, stack: AsyncExitStack, kind: Kind) -> Server:
        """A server that runs as long as the stack."""
        self.say(f"starting {kind.name}")
        return await stack.enter_async_context(started(kind, self.fresh_directory(kind.name), self.server_cores))

    async def cpu(self, sides: Sequence[Side], *, rounds: int | None = None, start_with: int = 20) -> Series:
        """Milliseconds of CPU per unit. start_with: exchanges (at least one a client) that warm up and calibrate."""
        rounds = rounds or self.counts.rounds
        sides = [side for side in sides if self.counts.slow_sides or not side.slow]
        async with AsyncExitStack() as stack:
            servers: dict[str, Server] = {}
            ready: list[tuple[Side, Server, Job, int]] = []
            for side in sides:
                if side.kind.name not in servers:
                    servers[side.kind.name] = await self.start(stack, side.kind)
                server = servers[side.kind.name]
                self.say(f"warming up: {side.name}")
                job = await side.prepare(server, speaker(side.kind))
                first = min(max(start_with, side.clients), side.most)
                if first < side.most:
                    await _spent(server, side, job, first)
                seconds, _ = await _spent(server, side, job, first)
                amount = math.ceil(first * self.counts.seconds / max(seconds, 0.01))
                ready.append((side, server, job, min(max(amount, side.clients), side.most)))
            series: Series = {side.name: [] for side in sides}
            for number in range(rounds):
                spent = {side.name: (0.0, 0) for side in sides}
                for part in range(PARTS):
                    self.say(f"round {number + 1} of {rounds}, part {part + 1} of {PARTS}")
                    for side, server, job, amount in ready:
                        if (share := _share(amount, part, side.clients)) > 0:
                            before = spent[side.name]
                            seconds, units = await _spent(server, side, job, share)
                            spent[side.name] = before[0] + seconds, before[1] + units
                for name, (seconds, units) in spent.items():
                    series[name].append(max(seconds, 0.001) / units * 1000)
            return series


def _share(amount: int, part: int, clients: int) -> int:
    """How much of a round's work a part does: equal shares, but none of less than one exchange a client."""
    parts = max(1, min(PARTS, amount // clients))
    return 0 if part >= parts else amount * (part + 1) // parts - amount * part // parts


async def _spent(server: Server, side: Side, job: Job, amount: int) -> tuple[float, int]:
    async with connections(server.port, side.clients) as clients:
        before = server.cpu_seconds()
        units = await job(clients, amount)
        return server.cpu_seconds() - before, units


def one_by_one(exchange: Callable[[Speaker, Connection], Awaitable[object]]) -> Callable[..., Awaitable[Job]]:
    """A side's `prepare` for exchanges that are units themselves; each client does one after the other."""

    async def prepare(_: Server, speaker: Speaker) -> Job:
        async def job(clients: list[Connection], amount: int) -> int:
            await work_off(clients, amount, lambda client, _: exchange(speaker, client))
            return amount

        return job

    return prepare


async def wall_seconds(work: Awaitable[object]) -> float:
    """How long it took."""
    began = time.perf_counter()
    await work
    return time.perf_counter() - began
