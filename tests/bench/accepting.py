"""Sends that do not wait, from one client: how soon each is acknowledged while the tasks before it run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from tests.bench.costs import Bench, Series, wall_seconds
from tests.bench.load import Connection, connections, work_off
from tests.bench.servers import OURS, SDK_MEMORY, SDK_SQLITE
from tests.bench.speech import Speaker, speaker

_SECONDS_EACH = {OURS.name: 0.002, SDK_MEMORY.name: 0.002, SDK_SQLITE.name: 0.04}  # about; how many follow from it


async def accepting(bench: Bench) -> Series:
    """Milliseconds of wall time an acknowledgement."""
    kinds = (OURS, SDK_MEMORY, SDK_SQLITE)
    series: Series = {kind.name: [] for kind in kinds}
    async with AsyncExitStack() as stack:
        servers = [(kind, await bench.start(stack, kind), speaker(kind)) for kind in kinds]
        for number in range(-1, bench.counts.rounds):  # one before, which warms up
            for kind, server, speech in servers:
                bench.say(f"round {max(number, 0) + 1} of {bench.counts.rounds}: {kind.name}")
                amount = max(10, round(bench.counts.seconds / _SECONDS_EACH[kind.name]))
                async with connections(server.port, 1) as clients:
                    seconds = await wall_seconds(work_off(clients, amount, partial(_acknowledged, speech)))
                if number >= 0:
                    series[kind.name].append(seconds / amount * 1000)
    return series


async def _acknowledged(speech: Speaker, client: Connection, _: int) -> None:
    await speech.acknowledged(client)
