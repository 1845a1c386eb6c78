"""Each server as a test meets it: it answers, keeps its data over a stop, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg  # type: ignore[import-untyped,unused-ignore]
import psutil
import pytest
from pymongo import MongoClient
from redis import Redis

from tests.patience import PATIENCE
from tests.services import Server, needed, own, service
from tests.services.answers import aws
from tests.services.server import is_free

Kept = Callable[[str, bool], str]  # (url, whether to write it first) → what is there


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with needed(), own(request.param, durable=True) as server:
        yield server


def sql(url: str, *statements: str) -> Any:  # noqa: ANN401 - the driver's
    async def ask() -> Any:  # noqa: ANN401 - the same
        connection = await asyncpg.connect(url, timeout=PATIENCE, statement_cache_size=0)
        try:
            return [await connection.fetchval(statement, timeout=PATIENCE) for statement in statements][-1]
        finally:
            connection.terminate()

    return asyncio.run(ask())


def in_postgresql(url: str, write: bool) -> str:
    if write:
        sql(url, "CREATE TABLE kept AS SELECT 'here' AS word")
    return str(sql(url, "SELECT word FROM kept"))


def in_redis(url: str, write: bool) -> str:
    with Redis.from_url(url, decode_responses=True) as client:
        if write:
            client.set("kept", "here")
        return str(client.get("kept"))


def in_rabbitmq(url: str, write: bool) -> str:
    async def ask() -> str:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("kept", durable=True)
            if write:
                message = aio_pika.Message(b"here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, "kept")
                return "here"
            got = await queue.get()
            assert got is not None
            return got.body.decode()

    return asyncio.run(ask())


def in_mongodb(url: str, write: bool) -> str:
    with MongoClient[dict[str, Any]](url) as client:
        if write:
            client.test.kept.insert_one({"word": "here"})
        found = client.test.kept.find_one()
        assert found is not None
        return str(found["word"])


def in_aws(url: str, write: bool) -> str:
    objects, queues = aws("s3", url), aws("sqs", url)
    if write:
        objects.create_bucket(Bucket="kept")
        objects.put_object(Bucket="kept", Key="word", Body=b"here")
        queues.send_message(QueueUrl=queues.create_queue(QueueName="kept")["QueueUrl"], MessageBody="here")
        return "here"
    [message] = queues.receive_message(QueueUrl=queues.get_queue_url(QueueName="kept")["QueueUrl"])["Messages"]
    assert message["Body"] == "here"
    return str(objects.get_object(Bucket="kept", Key="word")["Body"].read().decode())


LIVES = [
    pytest.param("postgresql", in_postgresql, id="postgresql"),
    pytest.param("redis", in_redis, id="redis"),
    pytest.param("rabbitmq", in_rabbitmq, id="rabbitmq"),
    pytest.param("mongodb", in_mongodb, id="mongodb"),
    pytest.param("s3", in_aws, id="s3"),
]


@pytest.mark.parametrize(("server", "kept"), LIVES, indirect=["server"])
def test_a_server_keeps_address_and_data_over_a_stop_and_leaves_nothing_behind(server: Server, kept: Kept) -> None:
    home, family, url = home_of(server), family_of(server), server.url
    assert kept(url, True) == "here"
    server.stop()
    assert not server.running
    assert not any(map(is_there, family))
    server.start()
    assert server.url == url
    assert kept(url, False) == "here"
    family = family_of(server)
    server.discard()
    assert not home.exists()
    assert not any(map(is_there, family))


@pytest.mark.parametrize(("server", "kept"), [LIVES[0], LIVES[1], LIVES[3]], indirect=["server"])
@pytest.mark.parametrize("how", ["killed", "stopped at once"])
def test_what_was_acknowledged_survives_a_hard_end(server: Server, kept: Kept, how: str) -> None:
    kept(server.url, True)
    server.kill() if how == "killed" else server.stop(immediate=True)
    server.start()
    assert kept(server.url, False) == "here"


@pytest.mark.parametrize("server", ["postgresql", "redis", "mongodb", "s3"], indirect=True)
def test_a_paused_server_stands_still_and_goes_on(server: Server) -> None:
    server.pause()
    family = family_of(server)
    assert states(family) == {psutil.STATUS_STOPPED}
    server.resume()
    assert psutil.STATUS_STOPPED not in states(family)
    server.pause()
    leader = server._leader
    server.stop()
    assert not server.running
    assert isinstance(leader, psutil.Popen)
    assert leader.wait() != -signal.SIGKILL


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_a_server_that_does_not_run_says_so(server: Server) -> None:
    server.kill()
    for use in (lambda: server.pid, server.pause, server.resume):
        with pytest.raises(RuntimeError, match="redis is not running"):
            use()
    server.stop()  # nothing to do


def test_postgresql_is_quick_unless_it_has_to_be_durable() -> None:
    with needed(), own("postgresql") as quick:
        assert sql(quick.url, "SHOW fsync") == "off"
        assert sql(quick.url, "SHOW synchronous_commit") == "on"
        assert sql(quick.url, "SHOW max_connections") == "300"
    with own("postgresql", durable=True) as durable:
        assert sql(durable.url, "SHOW fsync") == "on"


async def test_pgbouncer_gives_a_server_connection_for_one_transaction() -> None:
    with needed(), own("pgbouncer", to=service("postgresql")) as bouncer:
        clients = [await asyncpg.connect(bouncer.url, timeout=PATIENCE, statement_cache_size=0) for _ in range(12)]
        for client in clients:  # more than it has connections to the server, none of which a session could share
            await client.execute("BEGIN; SELECT 1; COMMIT", timeout=PATIENCE)
        for client in clients:
            client.terminate()


def test_s3_and_sqs_are_one_server_and_a_service_is_started_once() -> None:
    assert service("s3") == service("sqs") == service("s3")


ENDS = {"its end": "", **{end.name: f"signal.raise_signal({end:d})" for end in (signal.SIGINT, signal.SIGTERM)}}
ENDS["SIGKILL"] = "signal.raise_signal(signal.SIGKILL)"


@pytest.mark.parametrize("name", ["redis", "postgresql"])
@pytest.mark.parametrize("end", sorted(ENDS))
def test_whatever_ends_a_run_ends_its_servers(name: str, end: str) -> None:
    service(name)
    program = f"""
import signal
from tests.services.shared import run
from tests.services.server import Server
port = run().url({name!r})
server = run()._servers[{name!r}]
print(server._kind.port, server._kind.home, flush=True)
{ENDS[end]}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    port, home = done.stdout.split()
    until(lambda: is_free(int(port)) and not Path(home).exists())


def home_of(server: Server) -> Path:
    return server._kind.home


def family_of(server: Server) -> list[psutil.Process]:
    leader = psutil.Process(server.pid)
    return [leader, *leader.children(recursive=True)]


def states(family: Iterable[psutil.Process]) -> set[str]:
    """Of those that have not ended: a server ends helpers of its own at any time."""
    found: set[str] = set()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.add(process.status())
    return found - {psutil.STATUS_ZOMBIE}


def is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
