"""Hints through work queues, one by one and a hundred at a time: offered and then taken, in order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Final

from a2a_server.model.objects import Lane
from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint
from a2a_server.ports import WorkQueue
from a2a_server.queues.memory import MemoryQueue
from a2a_server.queues.redis import RedisQueue
from tests.bench.costs import Bench, Series
from tests.bench.scale.places import broker_settings
from tests.bench.servers import Failed

ONE, BATCHED = "one by one", "100 at once"
BATCH: Final = 100
_QUEUE: Final = "echo"
_WAIT_SECONDS = 10.0


async def in_memory(bench: Bench) -> Series:
    """Microseconds a hint, offered and taken."""
    return await _measured(bench, MemoryQueue(), bench.counts.tasks.hints, 1_000_000)


async def in_redis(bench: Bench) -> Series:
    """Milliseconds a hint, offered and taken."""
    settings = await broker_settings(bench.services, "redis", bench.server_cores)
    return await _measured(bench, RedisQueue(settings["QUEUE"]), bench.counts.tasks.sent, 1_000)


async def _measured(bench: Bench, queue: WorkQueue, amount: int, units: int) -> Series:
    rounds = bench.counts.tasks.rounds
    series: Series = {ONE: [], BATCHED: []}
    numbers = count(1)
    await queue.open()
    try:
        for number in range(-1, rounds):  # one before, which warms up
            for name, size in ((ONE, 1), (BATCHED, BATCH)):
                bench.say(f"round {max(number, 0) + 1} of {rounds}: {name}")
                hints = [_hint(next(numbers)) for _ in range(amount)]
                groups = [hints[first : first + size] for first in range(0, amount, size)]
                began = time.perf_counter()
                for group in groups:
                    await _passed(queue, group)
                seconds = time.perf_counter() - began
                if number >= 0:
                    series[name].append(seconds / amount * units)
    finally:
        await queue.close()
    return series


async def _passed(queue: WorkQueue, hints: Sequence[Hint]) -> None:
    """Offer them, and take as many. Raises Failed."""
    await queue.offer(hints)
    left = {hint.key for hint in hints}
    while left:
        keys = await queue.take((_QUEUE,), len(left), _WAIT_SECONDS)
        if not keys:
            raise Failed(f"the queue did not give back {len(left)} hints")
        left -= set(keys)


def _hint(number: int) -> Hint:
    return Hint(_QUEUE, Lane.NORMAL, number, Key(number.to_bytes(16, "big")))
