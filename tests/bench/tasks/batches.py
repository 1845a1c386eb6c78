"""Tasks that are made together: how soon they are stored, and what a graph of them costs until all have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.costs import Bench, Job, Series, Side, wall_seconds
from tests.bench.load import Broken, Connection, connections
from tests.bench.servers import Server
from tests.bench.speech import Speaker
from tests.bench.tasks.managed import MANAGED, MANAGED_AGAIN, Json, asked

ONE, BATCH = "a call a task", "a batch"
LARGE, EACH = "a large batch, all or none", "a large batch, each for itself"
UNRELATED, GRAPH = "unrelated tasks", "a graph"

_DAY: Final = 86_400
_LOOK_SECONDS = 0.25
_LOOKS = 1_200


async def submitting(bench: Bench) -> Series:
    """Milliseconds on the clock a task, until all are acknowledged. The tasks wait for tomorrow."""
    counts = bench.counts.tasks
    ways: dict[str, tuple[int, Callable[[Connection], Awaitable[None]]]] = {
        ONE: (counts.batch, lambda client: _one_by_one(client, counts.batch)),
        BATCH: (counts.batch, lambda client: _together(client, counts.batch, atomic=True)),
        LARGE: (counts.large, lambda client: _together(client, counts.large, atomic=True)),
        EACH: (counts.large, lambda client: _together(client, counts.large, atomic=False)),
    }
    series: Series = {name: [] for name in ways}
    async with AsyncExitStack() as stack:
        server = await bench.start(stack, MANAGED)
        (client,) = await stack.enter_async_context(connections(server.port, 1))
        for number in range(-1, counts.rounds):  # one before, which warms up
            for name, (amount, work) in ways.items():
                bench.say(f"round {max(number, 0) + 1} of {counts.rounds}: {name}")
                seconds = await wall_seconds(work(client))
                if number >= 0:
                    series[name].append(seconds / amount * 1000)
    return series


async def same(bench: Bench) -> Series:
    """Milliseconds of CPU a task of a batch, on two equal servers."""
    amount = bench.counts.tasks.batch
    sides = [
        Side(kind.name, kind, 1, _until_done(lambda _: _plain(amount)), most=2) for kind in (MANAGED, MANAGED_AGAIN)
    ]
    return await bench.cpu(sides, rounds=bench.counts.tasks.rounds, start_with=1)


async def graph(bench: Bench) -> Series:
    """Milliseconds of CPU a task, from one request for all of them until the last one has ended."""
    amount = bench.counts.tasks.graph
    sides = [
        Side(UNRELATED, MANAGED, 1, _until_done(lambda _: _plain(amount)), most=1),
        Side(GRAPH, MANAGED_AGAIN, 1, _until_done(lambda _: tied(amount)), most=1),
    ]
    return await bench.cpu(sides, rounds=bench.counts.tasks.rounds, start_with=1)


def tied(amount: int) -> list[Json]:
    """Tasks that each wait for two that stand before them, but for the first."""
    tasks: list[Json] = [{"text": "0"}]
    for number in range(1, amount):
        upstreams = sorted({(number - 1) // 2, (number - 1) // 3})
        tasks.append({"text": str(number), "dependsOn": [f"#{upstream}" for upstream in upstreams]})
    return tasks


def _plain(amount: int) -> list[Json]:
    return [{"text": str(number)} for number in range(amount)]


def _until_done(made: Callable[[int], Sequence[Json]]) -> Callable[[Server, Speaker], Awaitable[Job]]:
    """A side's `prepare` for batches that run; a task is the unit."""

    async def prepare(_: Server, __: Speaker) -> Job:
        async def job(clients: list[Connection], amount: int) -> int:
            units = 0
            for number in range(amount):
                tasks = made(number)
                batch = await asked(clients[0], "POST", "/batches", {"tasks": tasks})
                await _ended(clients[0], batch["id"], len(tasks))
                units += len(tasks)
            return units

        return job

    return prepare


async def _ended(client: Connection, batch: str, amount: int) -> None:
    """All tasks of the batch are complete. It is not asked often: counting them costs the server too."""
    states: Json = {}
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_SECONDS)
        states = (await asked(client, "GET", f"/batches/{batch}"))["states"]
        if states == {"completed": amount}:
            return
    raise Broken(f"a batch of {amount} tasks did not end: {states}")


async def _one_by_one(client: Connection, amount: int) -> None:
    for number in range(amount):
        await asked(client, "POST", "/tasks", _waiting(number))


async def _together(client: Connection, amount: int, *, atomic: bool) -> None:
    tasks = [_waiting(number) for number in range(amount)]
    made = await asked(client, "POST", "/batches", {"tasks": tasks, "atomic": atomic})
    if made["created"] != amount:
        raise Broken(f"a batch of {amount} made {made['created']} tasks")


def _waiting(number: int) -> Json:
    return {"text": f"hello {number}", "delaySeconds": _DAY}
