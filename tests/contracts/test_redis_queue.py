"""What is Redis's own: restarts and flushes of a server that the test starts, bounds, and refusals."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.queues import redis as module, remote
from a2a_server.queues.redis import RedisQueue
from a2a_server.queues.remote import KEEP_SECONDS
from tests.contracts.queues import Broker, redis
from tests.contracts.test_queue import hint, key, take_all
from tests.contracts.test_queue_brokers import LONG, UNHURRIED, offered_until_taken
from tests.patience import PATIENCE
from tests.server.waiting import until_asked


class Server:
    """A Redis of the test's own."""

    def __init__(self, port: int, *options: str) -> None:
        self.address = f"redis://127.0.0.1:{port}/0"
        self._command = ("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=quiet, stderr=quiet)
        async with asyncio.timeout(PATIENCE), Redis.from_url(self.address) as client:
            while True:
                with contextlib.suppress(RedisError):
                    await client.ping()
                    break

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on PATH")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(port)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with redis() as broker:
        yield broker


async def both_hear(client: Redis, broker: Broker) -> None:
    channel = f"{broker.prefix}:hints"

    async def heard() -> bool:
        return bool(await client.pubsub_numsub(channel) == [(channel.encode(), 2)])

    await until_asked(heard)


@UNHURRIED
async def test_a_flush_loses_hints_and_nothing_else(server: Server) -> None:
    async with redis(server.address) as broker, Redis.from_url(server.address) as client:
        one, other = await broker.queue(), await broker.queue()
        await one.offer([hint(1), hint(2)])
        await take_all(other, "a", 1, 1)
        await client.flushall()
        await client.script_flush()
        assert await other.take(["a"], 10, 0.1) in (None, [key(2)])
        await one.offer([hint(3)])
        assert await take_all(other, "a", 1) == [key(3)]
        assert await one.depth() == {}


async def test_a_server_that_is_killed_is_found_again(server: Server) -> None:
    async with redis(server.address) as broker:
        one, other = await broker.queue(), await broker.queue()
        await offered_until_taken(other, one, 1)
        await server.kill()
        assert await other.take(["a"], 10, 0.2) in (None, [key(1)])
        await one.offer([hint(2)])
        await server.start()
        await offered_until_taken(other, one, 3)
        await offered_until_taken(one, other, 4)


@UNHURRIED
async def test_takers_hear_offers_again_after_their_connections_were_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SILENCE_SECONDS", LONG)
    monkeypatch.setattr(remote, "_IDLE_SECONDS", LONG)  # nobody looks by itself: it has to be told
    async with redis(server.address) as broker, Redis.from_url(server.address) as client:
        one, other = await broker.queue(), await broker.queue()
        await offered_until_taken(other, one, 1)
        await both_hear(client, broker)
        assert await client.client_kill_filter(_type="pubsub") == 2
        assert await client.client_kill_filter(_type="normal", skipme=True) > 0
        await offered_until_taken(other, one, 2)
        await both_hear(client, broker)
        async with asyncio.timeout(PATIENCE):
            for queue in (one, other):
                await queue._sent.wait()  # type: ignore[attr-defined]  # every queue at a broker has it
            while await other.take(["a"], 100, 0.2) is not None:  # what was late
                pass
        taker = asyncio.create_task(other.take(["a"], 1, LONG))
        assert await other.take(["b"], 1, 0.01) is None
        await one.offer([hint(3)])
        async with asyncio.timeout(PATIENCE):
            assert await taker == [key(3)]


@UNHURRIED
async def test_a_set_is_bounded_by_its_worst_and_forgotten_in_time(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HINTS", 10)
    queue = await broker.queue()
    await queue.offer([hint(number, rank=1000 - number) for number in range(50)])
    taken = await take_all(queue, "a", 1, 1)
    assert taken == [key(49)]
    assert await queue.depth() == {("a", 2): 9}
    async with Redis.from_url(broker.address) as client:
        names = [name async for name in client.scan_iter(f"{{{broker.prefix}}}*")]
        assert len(names) == 2
        for name in names:
            assert 0 < await client.ttl(name) <= KEEP_SECONDS
    assert await take_all(queue, "a", 9, 3) == [key(number) for number in range(48, 39, -1)]


@UNHURRIED
async def test_a_key_offered_again_is_there_once_with_its_newest_rank(broker: Broker) -> None:
    queue = await broker.queue()
    await queue.offer([hint(1, rank=5), hint(2, rank=6)])
    await queue.offer([hint(1, rank=7)])
    async with asyncio.timeout(PATIENCE):  # what a close sends at the last moment, it sends within a bound
        while (await queue.depth()) != {("a", 2): 2}:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)
    await queue.close()
    assert await take_all(await broker.queue(), "a", 2) == [key(2), key(1)]


@UNHURRIED
async def test_the_best_comes_first_among_what_waits_of_several_processes(broker: Broker) -> None:
    one, other, taker = [await broker.queue() for _ in range(3)]
    await one.offer([hint(1, lane=5), hint(2, lane=1, rank=2**53 - 1)])
    await other.offer([hint(3, queue="b", lane=1, rank=2**53 - 2), hint(4, queue="b", lane=2)])
    await one.close()
    await other.close()
    assert await take_all(taker, "ab", 4, 1) == [key(3), key(2), key(4), key(1)]


async def test_a_cancellation_that_the_driver_swallows_does_not_keep_it_open(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, called = await broker.queue(), asyncio.Event()

    async def swallow(_hints: object) -> None:
        called.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(queue, "_send", swallow)
    await queue.offer([hint(1)])
    await called.wait()
    async with asyncio.timeout(PATIENCE):
        await queue.close()


async def test_a_wrong_password_is_a_matter_of_configuration(server: Server) -> None:
    async with Redis.from_url(server.address) as client:
        await client.config_set("requirepass", "s3cret")
    for user in ("", ":wrong@"):
        queue = RedisQueue(server.address.replace("//", f"//{user}"))
        with pytest.raises(ConfigurationError, match="refuses these credentials") as raised:
            await queue.open()
        assert "wrong" not in str(raised.value)
    queue = RedisQueue(server.address.replace("//", "//:s3cret@"))
    await queue.open()
    await queue.close()


async def test_a_database_that_is_not_there_is_a_matter_of_configuration(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used like this"):
        await RedisQueue(server.address.replace("/0", "/99")).open()


async def test_a_port_where_nobody_listens_is_unavailable(server: Server) -> None:
    await server.kill()
    with pytest.raises(StoreUnavailable, match=r"redis://127\.0\.0\.1:\d+/0: Redis cannot be reached"):
        await RedisQueue(server.address).open()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis:///0", "a Redis is redis://"),
        ("http://127.0.0.1", "a Redis is redis://"),
        ("redis://127.0.0.1/0?prefix=a%20b", "the option prefix is"),
        ("redis://127.0.0.1/0?prefix=a&prefix=b", "given twice"),
        ("redis://127.0.0.1/0?colour=red", "there is no option colour"),
        ("redis://127.0.0.1/tasks", "a database of Redis is a number"),
        ("redis://127.0.0.1/0?socket_timeout=soon", "socket_timeout"),
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        RedisQueue(url)
