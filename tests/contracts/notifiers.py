"""Every notifier that the contract suite runs over, and the brokers of those that reach other processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import asyncpg
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from a2a_server.notifiers.local import LocalNotifier
from a2a_server.notifiers.mongodb import MongodbNotifier
from a2a_server.notifiers.postgresql import PostgresqlNotifier
from a2a_server.notifiers.rabbitmq import RabbitmqNotifier
from a2a_server.notifiers.redis import RedisNotifier
from a2a_server.ports import Notifier
from tests.services import service


async def nothing(_: str) -> None:
    """Nothing is left to clear away."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker with a place of the test's own: `url` is there. `refusing`: an address at it that it never lets in.

    resumes: its driver goes on where a connection ended, so that nothing was missed.
    kill: ends the connections of the notifiers at a `url` from the broker's side, where that can be asked for.
    """

    make: Callable[[str], Notifier]
    url: str
    refusing: str
    elsewhere: str
    resumes: bool = False
    clear: Callable[[str], Awaitable[None]] = nothing
    kill: Callable[[str], Awaitable[None]] | None = None

    def through(self, port: int) -> Notifier:
        """A notifier that reaches the broker by another port of this machine."""
        return self.make(moved(self.url, port))


class Proxy:
    """A way to a broker that can be cut and closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def start(self) -> None:
        """Let connections through, by the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and cut those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        if self._server is None:
            writer.transport.abort()
            there_writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        for pump in (self._pump(reader, there_writer), self._pump(there_reader, writer)):
            self._pumps.add(asyncio.create_task(pump))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            self._writers.discard(writer)


def moved(url: str, port: int) -> str:
    """The address at another port of this machine."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))


def _with(url: str, **parts: Any) -> str:  # noqa: ANN401 - parts of an address
    return urlunsplit(urlsplit(url)._replace(**parts))


def postgresql() -> Broker:
    url, name = service("postgresql"), f"t{uuid4().hex[:12]}"
    return Broker(
        PostgresqlNotifier,
        _with(url, query=f"prefix={name}&pool=3&schema={name}"),
        _with(url, path=f"/{name}"),
        _with(url, query=f"prefix={name}other"),
        kill=partial(_kill_postgresql, name),
    )


def redis() -> Broker:
    url, name = service("redis"), f"t{uuid4().hex[:12]}"
    parts = urlsplit(url)
    return Broker(
        RedisNotifier,
        _with(url, query=f"prefix={name}"),
        _with(url, netloc=f"nobody:wrong@{parts.netloc.rpartition('@')[2]}"),
        _with(url, query=f"prefix={name}other"),
        kill=partial(_kill_redis, name),
    )


def rabbitmq() -> Broker:
    url, name = service("rabbitmq"), f"t{uuid4().hex[:12]}"
    parts = urlsplit(url)
    return Broker(
        RabbitmqNotifier,
        _with(url, query=f"prefix={name}"),
        _with(url, netloc=f"nobody:wrong@{parts.netloc.rpartition('@')[2]}"),
        _with(url, query=f"prefix={name}other"),
        clear=_clear_rabbitmq,
    )


def mongodb() -> Broker:
    url, name = service("mongodb"), f"t{uuid4().hex[:12]}"
    query = "&".join(filter(None, [urlsplit(url).query, "directConnection=true"]))
    return Broker(
        MongodbNotifier,
        _with(url, path=f"/{name}", query=query),
        _with(url, path=f"/{name}", query=query, netloc=f"nobody:wrong@{urlsplit(url).netloc.rpartition('@')[2]}"),
        _with(url, path=f"/{name}other", query=query),
        resumes=True,
        clear=_clear_mongodb,
    )


async def _kill_postgresql(name: str, url: str) -> None:
    db = await asyncpg.connect(_with(url, query=""))
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    assert await db.fetch(sql, f"{name}_bells")
    await db.close()


async def _kill_redis(name: str, url: str) -> None:
    async with Redis.from_url(_with(url, query=""), decode_responses=True) as client:
        killed = [entry["id"] for entry in await client.client_list() if entry["name"] == f"{name}:bells"]
        assert killed
        for number in killed:
            await client.client_kill_filter(_id=number)


async def _clear_rabbitmq(url: str) -> None:
    prefix = urlsplit(url).query.removeprefix("prefix=")
    async with await aio_pika.connect(_with(url, query="")) as connection, connection.channel() as channel:
        await channel.exchange_delete(f"{prefix}.bells")


async def _clear_mongodb(url: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        await client.drop_database(urlsplit(url).path.removeprefix("/"))


@asynccontextmanager
async def local() -> AsyncIterator[Notifier]:
    notifier = LocalNotifier()
    yield notifier
    await notifier.close()


@asynccontextmanager
async def far(make: Callable[[], Broker]) -> AsyncIterator[Notifier]:
    broker = make()
    notifier = broker.make(broker.url)
    await notifier.open()
    yield notifier
    await notifier.close()
    await broker.clear(broker.url)


BROKERS: dict[str, Callable[[], Broker]] = {
    "mongodb": mongodb,
    "postgresql": postgresql,
    "rabbitmq": rabbitmq,
    "redis": redis,
}
NOTIFIERS: dict[str, Callable[[], AbstractAsyncContextManager[Notifier]]] = {
    "local": local,
    **{name: partial(far, make) for name, make in BROKERS.items()},
}
