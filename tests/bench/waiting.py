"""1,000 tasks at once: how long all of them take when each takes two seconds, and what one holds in memory.

Memory is read from tasks that take longer, so that all of them wait together on every server: one that needs more than
two seconds to take them in would have the first ones done before the last ones came.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from tests.bench.costs import Bench, Series, wall_seconds
from tests.bench.load import Connection, connections
from tests.bench.servers import OURS, RAW, SDK_MEMORY, Kind, Server
from tests.bench.speech import Speaker, speaker

FEW, MANY = 100, 1_000
SECONDS, LONG_SECONDS = 2.0, 5.0
_LOOK_SECONDS = 0.05


async def waiting_time(bench: Bench) -> Series:
    """Seconds until all tasks have ended: ours, and where nothing but the sleep happens."""
    series: Series = {}
    for number in range(bench.counts.waiting_rounds):
        for kind in (OURS, RAW):
            bench.say(f"round {number + 1} of {bench.counts.waiting_rounds}: {kind.name}")
            seconds, _ = await _measured(bench, kind, SECONDS)
            series.setdefault(kind.name, []).append(seconds)
    return series


async def waiting_memory(bench: Bench) -> Series:
    """Kilobytes of resident memory for each task beyond the first hundred, at most."""
    series: Series = {}
    for number in range(bench.counts.waiting_rounds):
        for kind in (OURS, SDK_MEMORY):
            bench.say(f"round {number + 1} of {bench.counts.waiting_rounds}: {kind.name}")
            _, kilobytes = await _measured(bench, kind, LONG_SECONDS)
            series.setdefault(kind.name, []).append(kilobytes)
    return series


async def _measured(bench: Bench, kind: Kind, each: float) -> tuple[float, float]:
    async with AsyncExitStack() as stack:
        server = await bench.start(stack, kind)
        speech = speaker(kind)
        async with connections(server.port, 1) as (client,):
            await speech.echo(client)
        _, few = await _slept(server, speech, FEW, each)
        seconds, many = await _slept(server, speech, MANY, each)
        return seconds, max(many - few, 1) / (MANY - FEW) / 1024


async def _slept(server: Server, speech: Speaker, count: int, each: float) -> tuple[float, int]:
    """Seconds until all have ended, and the most memory meanwhile."""
    async with connections(server.port, count) as clients:
        work = asyncio.get_running_loop().create_task(wall_seconds(_all_asleep(speech, clients, each)))
        most = 0
        while not work.done():
            most = max(most, server.resident_bytes())
            await asyncio.wait({work}, timeout=_LOOK_SECONDS)
        return work.result(), most


async def _all_asleep(speech: Speaker, clients: list[Connection], each: float) -> None:
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(speech.sleep(client, each))
