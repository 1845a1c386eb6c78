"""What the sides of comparisons do in a round; each is a side's `prepare`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from tests.bench.costs import Job, one_by_one
from tests.bench.load import Broken, Connection, connections, work_off
from tests.bench.seeding import multiply
from tests.bench.servers import Server
from tests.bench.speech import Speaker, SpeakerV01

Prepare = Callable[[Server, Speaker], Awaitable[Job]]

MEGABYTE = 1 << 20
GAP_SECONDS = 0.002

echoes = one_by_one(lambda speaker, client: speaker.echo(client))
short_streams = one_by_one(lambda speaker, client: speaker.stream(client, 10))
blobs = one_by_one(lambda speaker, client: speaker.blob(client, MEGABYTE))
messages = one_by_one(lambda speaker, client: speaker.message(client, MEGABYTE))


async def echoes_v01(server: Server, _: Speaker) -> Job:
    """Blocking sends by `tasks/send`."""
    return await echoes(server, SpeakerV01(server.kind))


def chunks(count: int) -> Prepare:
    """Streams of so many chunks; a chunk is the unit."""

    async def prepare(_: Server, speaker: Speaker) -> Job:
        async def job(clients: list[Connection], amount: int) -> int:
            await work_off(clients, amount, lambda client, _: speaker.stream(client, count))
            return amount * count

        return job

    return prepare


def readers(count: int) -> Prepare:
    """One task of so many chunks that all connections follow; a delivered event is the unit."""

    async def prepare(_: Server, speaker: Speaker) -> Job:
        async def job(clients: list[Connection], amount: int) -> int:
            delivered = 0
            for _ in range(amount):
                request = speaker.subscribe(await speaker.begin_stream(clients[0], count, GAP_SECONDS))
                delivered += sum(await asyncio.gather(*(client.follow(request) for client in clients)))
            return delivered

        return job

    return prepare


async def gets(server: Server, speaker: Speaker) -> Job:
    """Reads of one finished echo."""
    async with connections(server.port, 1) as (client,):
        return _reads(speaker.get(await speaker.echo(client)), b"COMPLETED")


async def gets_of_many_chunks(server: Server, speaker: Speaker) -> Job:
    """Reads of a finished task of 4,000 chunks."""
    async with connections(server.port, 1) as (client,):
        task_id = await speaker.begin_stream(client, 4_000, 0.0)
        await client.follow(speaker.subscribe(task_id))
        return _reads(speaker.get(task_id), b"COMPLETED")


async def gets_of_one_chunk(server: Server, speaker: Speaker) -> Job:
    """Reads of a finished task with as many bytes in one chunk."""
    size = sum(len(f"chunk {number}") for number in range(4_000))
    async with connections(server.port, 1) as (client,):
        answer = await client.ask(speaker.blob_request(size))
        return _reads(speaker.get(str(json.loads(answer)["result"]["task"]["id"])), b"COMPLETED")


def lists(stored: int) -> Prepare:
    """First pages, with total, of so many tasks."""

    async def prepare(server: Server, speaker: Speaker) -> Job:
        async with connections(server.port, 1) as (client,):
            for _ in range(100):
                await speaker.echo(client)
        if not server.kind.program:
            await asyncio.to_thread(multiply, server.directory / "tasks.db", stored)
        async with connections(server.port, 1) as (client,):
            total = json.loads(await client.ask(speaker.list()))["result"]["totalSize"]
            if total < stored:
                raise Broken(f"{server.kind.name} lists {total} tasks instead of {stored}")
        return _reads(speaker.list(), b'"totalSize"')

    return prepare


def _reads(request: bytes, word: bytes) -> Job:
    async def read(client: Connection) -> None:
        answer = await client.ask(request)
        if word not in answer:
            raise Broken(f"not what was asked for: {answer[:500]!r}")

    async def job(clients: list[Connection], amount: int) -> int:
        await work_off(clients, amount, lambda client, _: read(client))
        return amount

    return job
