"""Many tasks that say how far they are, watched by three: each in one stream of all, and each in a stream for each."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from statistics import mean

from tests.bench.costs import Bench, Series
from tests.bench.load import Broken, Connection, connections
from tests.bench.servers import Failed, Server
from tests.bench.speech import Speaker
from tests.bench.tasks.managed import MANAGED, asked, request

NOBODY, ALL, EACH = "nobody watches", "one stream of all", "a stream each"
ALL_MORE, EACH_MORE = "one stream: what it adds", "a stream each: what they add"

_WATCHERS = 3
_START_SECONDS = 1.0  # by then all watch
_LOOK_SECONDS = 0.25
_LOOKS = 400


async def watching(bench: Bench) -> Series:
    """Milliseconds of CPU of the server a watched task: with its work, and what the watchers add to that.

    What they add is small beside the work, so that is measured on both sides of them.
    """
    counts = bench.counts.tasks
    series: Series = {name: [] for name in (NOBODY, ALL, EACH, ALL_MORE, EACH_MORE)}
    async with AsyncExitStack() as stack:
        server = await bench.start(stack, MANAGED)
        await _streamed(server)
        for number in range(-1, counts.rounds):  # one before, which warms up
            spent: dict[str, list[float]] = {NOBODY: [], ALL: [], EACH: []}
            for name in (NOBODY, ALL, EACH, NOBODY):
                bench.say(f"round {max(number, 0) + 1} of {counts.rounds}: {name}")
                seconds = await _spent(server, name, counts.watched, counts.notes)
                spent[name].append(seconds / counts.watched * 1000)
            if number >= 0:
                nobody, one, each = (max(mean(values), 1e-3) for values in spent.values())
                found = {NOBODY: nobody, ALL: one, EACH: each, ALL_MORE: one - nobody, EACH_MORE: each - nobody}
                for name, value in found.items():
                    series[name].append(max(value, 1e-3))
    return series


async def _streamed(server: Server) -> None:
    """Raises Failed where the server has no stream of many tasks."""
    async with connections(server.port, 1) as (client,):
        document = await asked(client, "GET", "/openapi.json")
    if "/api/v1/events" not in document["paths"]:
        raise Failed("this server has no stream of many tasks (GET /api/v1/events)")


async def _spent(server: Server, name: str, amount: int, notes: int) -> float:
    """Seconds of CPU until all tasks have ended, with those that making them takes."""
    speaker = Speaker(MANAGED)
    streams = {NOBODY: 0, ALL: _WATCHERS, EACH: _WATCHERS * amount}[name]
    async with connections(server.port, streams + 1) as (client, *clients):
        before = server.cpu_seconds()
        tasks = [{"text": f"{notes} {_START_SECONDS}", "skill": "notes"}] * amount
        made = await asked(client, "POST", "/batches", {"tasks": tasks})
        ids = [item["id"] for item in made["items"]]
        if name == ALL:
            requests = [request("GET", f"/events?batch={made['id']}")] * _WATCHERS
        else:
            requests = [speaker.subscribe(task) for task in ids * (streams // amount)]
        events = await asyncio.gather(*(one.follow(each) for one, each in zip(clients, requests, strict=True)))
        # Each watcher hears of each task at least how it stands at first and in the end.
        if sum(events) < 2 * amount * (_WATCHERS if streams else 0):
            raise Broken(f"{streams} streams of {amount} tasks told {sum(events)} events")
        for task in ids:
            await _ended(client, speaker.get(task))
        return server.cpu_seconds() - before


async def _ended(client: Connection, get: bytes) -> None:
    for _ in range(_LOOKS):
        if b"COMPLETED" in await client.ask(get):
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise Broken("a task that is watched did not end")
