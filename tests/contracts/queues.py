"""Every work queue that the contract suite runs over, and what tests of those at a broker need.

A `Broker` opens queues that share one place at the broker, as several processes would, and clears that place.
"""

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

import aio_pika
import boto3
from redis.asyncio import Redis

from a2a_server.ports import WorkQueue
from a2a_server.queues.memory import MemoryQueue
from a2a_server.queues.rabbitmq import RabbitmqQueue
from a2a_server.queues.redis import RedisQueue
from a2a_server.queues.remote import LANES
from a2a_server.queues.sqs import SqsQueue
from tests.services import service


class Broker:
    """A place of its own at a broker."""

    def __init__(self, address: str, make: Callable[[str], WorkQueue]) -> None:
        self.address = address
        self.prefix = f"test-{uuid.uuid4().hex[:12]}"
        there = urlsplit(parse_qs(urlsplit(address).query).get("endpoint", [address])[0])
        self.netloc = there.netloc.rpartition("@")[2]
        self._make = make
        self.queues = list[WorkQueue]()

    def make(self, netloc: str = "", **changed: str) -> WorkQueue:
        """A queue that is not open. netloc: another host and port than the broker's own, as of a proxy."""
        address = self.address.replace(self.netloc, netloc or self.netloc)
        parts = urlsplit(address)._replace(**changed)
        query = "&".join(filter(None, [parts.query, f"prefix={self.prefix}"]))
        queue = self._make(parts._replace(query=query).geturl())
        self.queues.append(queue)
        return queue

    async def queue(self, netloc: str = "") -> WorkQueue:
        queue = self.make(netloc)
        await queue.open()
        return queue

    async def close(self) -> None:
        for queue in self.queues:
            await queue.close()


@asynccontextmanager
async def redis(address: str = "") -> AsyncIterator[Broker]:
    broker = Broker(address or service("redis"), RedisQueue)
    yield broker
    await broker.close()
    client = Redis.from_url(broker.address)
    with contextlib.suppress(ConnectionError):
        async for name in client.scan_iter(f"{{{broker.prefix}}}*"):
            await client.delete(name)
    await client.aclose()


@asynccontextmanager
async def rabbitmq() -> AsyncIterator[Broker]:
    broker = Broker(service("rabbitmq"), RabbitmqQueue)
    yield broker
    await broker.close()
    async with await aio_pika.connect(broker.address) as connection:
        channel = await connection.channel()
        used = set[str]().union(*(queue._used for queue in broker.queues if isinstance(queue, RabbitmqQueue)))
        for name in used:
            for lane in LANES:
                await channel.queue_delete(RabbitmqQueue(f"{broker.address}?prefix={broker.prefix}")._name(name, lane))


@asynccontextmanager
async def sqs() -> AsyncIterator[Broker]:
    endpoint = service("sqs")
    simulated = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    before = {name: os.environ.get(name) for name in simulated}
    os.environ.update(simulated)
    broker = Broker(f"sqs://eu-west-1?endpoint={endpoint}", partial(SqsQueue, create=True))
    try:
        yield broker
        await broker.close()
        client = boto3.client("sqs", region_name="eu-west-1", endpoint_url=endpoint)
        for url in client.list_queues(QueueNamePrefix=broker.prefix).get("QueueUrls", []):
            client.delete_queue(QueueUrl=url)
        client.close()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


BROKERS: dict[str, Callable[[], AbstractAsyncContextManager[Broker]]] = {
    "rabbitmq": rabbitmq,
    "redis": redis,
    "sqs": sqs,
}


@asynccontextmanager
async def memory() -> AsyncIterator[WorkQueue]:
    queue = MemoryQueue()
    yield queue
    await queue.close()


@asynccontextmanager
async def _at(broker: Callable[[], AbstractAsyncContextManager[Broker]]) -> AsyncIterator[WorkQueue]:
    async with broker() as place:
        yield await place.queue()


QUEUES: dict[str, Callable[[], AbstractAsyncContextManager[WorkQueue]]] = {
    "memory": memory,
    **{name: partial(_at, broker) for name, broker in BROKERS.items()},
}


class Proxy:
    """A way to a broker that can be cut (connections end, new ones are refused) and stalled (nothing passes)."""

    def __init__(self, host: str, port: int) -> None:
        self._there = host, port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self.port = 0

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        self._passes.clear()

    def resume(self) -> None:
        self._passes.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._there)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@asynccontextmanager
async def proxy(netloc: str) -> AsyncIterator[Proxy]:
    host, _, port = netloc.rpartition(":")
    way = Proxy(host, int(port))
    await way.start()
    yield way
    way.resume()
    await way.cut()
