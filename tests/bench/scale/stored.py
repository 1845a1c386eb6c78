"""Lists and claims beside more and more stored tasks: a server, and a worker's turns, on databases of each size."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from a2a_server.model.rows import Key
from tests.bench.costs import Bench, Series
from tests.bench.load import Broken, Connection, connections, work_off
from tests.bench.scale.claims import Claimer, claimer
from tests.bench.scale.filling import finished, settled
from tests.bench.scale.places import Family, connected, database, port_of, running
from tests.bench.servers import OURS
from tests.bench.speech import Speaker

_CLIENTS = 4
_LISTS = 40
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Store:
    """A filled database, who claims there, and the server that lists it."""

    name: str
    port: int
    family: Family
    one: Claimer
    key: Key


def name_of(stored: int) -> str:
    """A side's name."""
    return f"{stored:,} stored"


async def stored(bench: Bench) -> dict[str, Series]:
    """Milliseconds of CPU (processes and PostgreSQL's), `list`: a first page with total, `claim`: a claim of one."""
    counts = bench.counts
    found: dict[str, Series] = {"list": {}, "claim": {}}
    async with AsyncExitStack() as stack:
        stores = [await _filled(bench, stack, amount) for amount in counts.stored]
        postgresql = bench.services.family("postgresql")
        rounds = counts.close_rounds
        for number in range(-1, rounds):
            spent = {kind: dict.fromkeys((each.name for each in stores), 0.0) for kind in found}
            for each in stores:
                await each.one.copies(each.key, counts.claims)
            for part in range(_PARTS):
                bench.say(f"round {max(number, 0) + 1} of {rounds}, part {part + 1} of {_PARTS}")
                for each in stores:
                    turns = counts.claims // _PARTS
                    spent["claim"][each.name] += (await each.one.spent(turns, 1, 1)).cpu / _PARTS
                    before = each.family.cpu_seconds() + postgresql.cpu_seconds()
                    await _lists(each.port, _LISTS)
                    seconds = each.family.cpu_seconds() + postgresql.cpu_seconds() - before
                    spent["list"][each.name] += seconds / _LISTS / _PARTS * 1000
            if number >= 0:
                for kind, values in spent.items():
                    for name, value in values.items():
                        found[kind].setdefault(name, []).append(max(value, 1e-6))
    return found


async def _filled(bench: Bench, stack: AsyncExitStack, amount: int) -> Store:
    bench.say(f"filling in {amount:,} tasks")
    began = time.monotonic()
    cores = bench.server_cores
    postgresql = await bench.services.get("postgresql", cores)
    url = stack.enter_context(database(postgresql))
    directory = bench.fresh_directory(f"stored {amount}")
    (member,) = await stack.enter_async_context(running(directory, {"STORE": url}, cores, servers=1))
    port, speaker = port_of(member), Speaker(OURS)
    async with connections(port, 1) as (client,):
        for _ in range(100):
            await speaker.echo(client)
    async with connected(url) as raw:
        await finished(raw, amount)
    one = await stack.enter_async_context(claimer(bench, url))
    key = await one.put("local")
    await settled(one.raw)
    async with connections(port, 1) as (client,):
        total = json.loads(await client.ask(speaker.list()))["result"]["totalSize"]
    if total < amount:
        raise Broken(f"the server lists {total} tasks instead of {amount}")
    bench.say(f"filled in {amount:,} tasks in {time.monotonic() - began:.0f} s")
    return Store(name_of(amount), port, Family(member.name, member.process.pid), one, key)


async def _lists(port: int, amount: int) -> None:
    request = Speaker(OURS).list()

    async def read(client: Connection, _: int) -> None:
        if b'"totalSize"' not in (answer := await client.ask(request)):
            raise Broken(f"not what was asked for: {answer[:500]!r}")

    async with connections(port, _CLIENTS) as clients:
        await work_off(clients, amount, read)
