"""Services that a start needs: waited for a while, then named with what to do; what waiting cannot mend, at once."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped,unused-ignore]
import pytest
from redis import Redis

from a2a_server.errors import ConfigurationError, SchemaMismatch
from a2a_server.model.objects import State
from a2a_server.settings import load
from a2a_server.wiring import System
from tests.patience import PATIENCE
from tests.server.crew import Crew
from tests.server.fleet import fleet
from tests.server.waiting import until
from tests.services import needed, own, service
from tests.services.answers import aws
from tests.services.fresh import fresh_bucket, fresh_database, fresh_name, fresh_queues
from tests.services.proxy import Proxy
from tests.services.server import free_ports

pytestmark = pytest.mark.embedded

SECRET = "do-not-tell"
WAIT = 0.2


class Place(NamedTuple):
    """Settings that cannot work, and what the error says."""

    settings: dict[str, object]
    told: tuple[str, ...]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def store(stack: ExitStack) -> str:
    return stack.enter_context(fresh_database(service("postgresql")))


def nobody(scheme: str, path: str = "") -> tuple[str, str]:
    """An address where nobody listens, with user and password, and as it may be shown."""
    [port] = free_ports(1)
    return f"{scheme}://someone:{SECRET}@127.0.0.1:{port}{path}", f"{scheme}://127.0.0.1:{port}{path}"


TRIED = f"{WAIT:g} s (start_seconds)"


def no_postgresql(_stack: ExitStack) -> Place:
    address, shown = nobody("postgresql", "/tasks")
    return Place({"store": address}, (shown, TRIED, "is PostgreSQL running there?"))


def no_redis(_stack: ExitStack) -> Place:
    address, shown = nobody("redis", "/0")
    return Place({"queue": address}, (shown, TRIED, "running?"))


def no_rabbitmq(_stack: ExitStack) -> Place:
    address, shown = nobody("amqp", "/")
    return Place({"queue": address}, (shown, TRIED, "running?"))


def no_sqs(_stack: ExitStack) -> Place:
    [port] = free_ports(1)
    return Place({"queue": f"sqs://us-east-1?endpoint=http://127.0.0.1:{port}"}, ("sqs://us-east-1", TRIED))


def no_notifier(_stack: ExitStack) -> Place:
    address, shown = nobody("redis", "/0")
    return Place({"notifier": address}, (shown, TRIED, "Is it running"))


def no_s3(_stack: ExitStack) -> Place:
    [port] = free_ports(1)
    return Place({"artifacts": f"s3://tasks?endpoint=http://127.0.0.1:{port}&path_style=true"}, ("s3://tasks", TRIED))


def silent_redis(stack: ExitStack) -> Place:
    way = stack.enter_context(Proxy(service("redis")))
    way.stall()
    return Place({"queue": f"redis://:{SECRET}@127.0.0.1:{way.port}/0"}, (f"redis://127.0.0.1:{way.port}/0", TRIED))


def wrong_redis_password(stack: ExitStack) -> Place:
    with needed():
        server = stack.enter_context(own("redis"))
    with Redis.from_url(server.url) as client:
        client.config_set("requirepass", "another")
    address = server.url.replace("redis://", f"redis://:{SECRET}@")
    return Place({"queue": address}, (server.url, "mend user and password in the address"))


def wrong_notifier_password(stack: ExitStack) -> Place:
    place = wrong_redis_password(stack)
    return Place({"notifier": place.settings["queue"]}, (place.told[0], "Correct the notifier's address, its user"))


def wrong_rabbitmq_password(_stack: ExitStack) -> Place:
    parts = urlsplit(service("rabbitmq"))
    host = parts.netloc.rpartition("@")[2]
    return Place({"queue": f"amqp://guest:{SECRET}@{host}/"}, (f"amqp://{host}", "mend user"))


def wrong_postgresql_user(_stack: ExitStack) -> Place:
    host = urlsplit(service("postgresql")).netloc.rpartition("@")[2]
    name = fresh_name()
    return Place({"store": f"postgresql://{name}:{SECRET}@{host}/postgres"}, (f"postgresql://{host}/postgres", "user"))


def no_database(_stack: ExitStack) -> Place:
    parts, name = urlsplit(service("postgresql")), fresh_name()
    address = parts._replace(path=f"/{name}").geturl()
    return Place({"store": address}, (f"/{name}: there is no such database. Create it",))


def no_bucket(_stack: ExitStack) -> Place:
    name = fresh_name()
    address = f"s3://{name}?region=us-east-1&endpoint={service('s3')}&path_style=true"
    return Place({"artifacts": address}, (f"s3://{name}: no such bucket", "create_missing=true"))


def no_sqs_queue(_stack: ExitStack) -> Place:
    address = f"sqs://us-east-1?prefix={fresh_name()}&endpoint={service('sqs')}"
    return Place({"queue": address}, ("sqs://us-east-1", "create_missing"))


def newer_schema(stack: ExitStack) -> Place:
    store = stack.enter_context(fresh_database(service("postgresql")))

    async def changed() -> None:
        connection = await asyncpg.connect(store)
        try:
            await connection.execute("CREATE TABLE meta (name text PRIMARY KEY, value text)")
            await connection.execute("INSERT INTO meta VALUES ('schema', '999')")
        finally:
            await connection.close()

    asyncio.run(changed())
    return Place({"store": store}, (urlsplit(store).path, "schema 999", "start the newer server again"))


@contextmanager
def made_bucket() -> Iterator[str]:
    """The name of a bucket that is not there yet; deleted afterwards with what is in it."""
    client, name = aws("s3", service("s3")), fresh_name()
    try:
        yield name
    finally:
        for found in client.list_objects_v2(Bucket=name).get("Contents", ()):
            client.delete_object(Bucket=name, Key=found["Key"])
        client.delete_bucket(Bucket=name)
        client.close()


WRONG = (
    no_postgresql,
    no_redis,
    no_rabbitmq,
    no_sqs,
    no_notifier,
    no_s3,
    silent_redis,
    wrong_redis_password,
    wrong_notifier_password,
    wrong_rabbitmq_password,
    wrong_postgresql_user,
    no_database,
    no_bucket,
    no_sqs_queue,
    newer_schema,
)


def system(places: Mapping[str, object]) -> System:
    return System(Crew().agent(0), load(None, **{"queue": "store://", "artifacts": "store://", **places}))


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_keeps_a_process_from_starting_is_named(
    store: str, stack: ExitStack, wrong: Callable[[ExitStack], Place]
) -> None:
    place = await asyncio.to_thread(wrong, stack)
    with pytest.raises((ConfigurationError, SchemaMismatch)) as refused:
        await system({"store": store, "start_seconds": WAIT, **place.settings}).start()
    text = str(refused.value)
    for words in place.told:
        assert words in text
    assert SECRET not in text
    assert "someone" not in text


@pytest.mark.parametrize("driver", ["asyncpg", "redis", "aio_pika"])
async def test_a_missing_driver_is_named_with_what_installs_it(driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"asyncpg": "postgresql", "redis": "redis", "aio_pika": "rabbitmq"}[driver]
    for name in list(sys.modules):
        if name.startswith(("a2a_server.stores.postgresql", "a2a_server.queues.", "a2a_server.notifiers.")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    queue = {"asyncpg": "store://", "redis": f"redis://:{SECRET}@h/0", "aio_pika": f"amqp://u:{SECRET}@h/"}[driver]
    with pytest.raises(ConfigurationError) as refused:
        system({"store": f"postgresql://someone:{SECRET}@h/d", "queue": queue})
    assert f"pip install 'a2a-task-server[{extra}]'" in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_a_bucket_and_a_queue_are_made_where_that_is_set(store: str, stack: ExitStack) -> None:
    prefix = stack.enter_context(fresh_queues(service("sqs")))
    bucket = stack.enter_context(made_bucket())
    places = {
        "store": store,
        "queue": f"sqs://us-east-1?prefix={prefix}&endpoint={service('sqs')}",
        "artifacts": f"s3://{bucket}?region=us-east-1&endpoint={service('s3')}&path_style=true",
    }
    async with fleet(Crew().agent, places, fronts=1, workers=1, create_missing=True) as made:
        assert (await made.fronts[0].send("go", skill="large")).status.state is State.COMPLETED


@pytest.mark.parametrize("kind", ["redis", "rabbitmq", "sqs"])
async def test_a_start_waits_for_services_that_are_not_up_yet(
    store: str, stack: ExitStack, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = stack.enter_context(fresh_bucket(service("s3")))
    ways = [stack.enter_context(Proxy(service(name))) for name in ("postgresql", kind, "s3")]
    for way in ways:
        way.refuse()
    places = {
        "store": urlsplit(store)._replace(netloc=urlsplit(ways[0].url).netloc).geturl(),
        "queue": f"{ways[1].url}?prefix={fresh_name()}",
        "artifacts": f"s3://{bucket}?region=us-east-1&endpoint={ways[2].url}&path_style=true",
        "start_seconds": 3600.0,
        "create_missing": True,
    }
    if kind == "sqs":
        prefix = stack.enter_context(fresh_queues(service(kind)))
        places["queue"] = f"sqs://us-east-1?prefix={prefix}&endpoint={ways[1].url}"
    caplog.set_level(logging.WARNING, "a2a_server.engine.reaching")
    starting = system(places)
    task = asyncio.create_task(starting.start())
    try:
        for waits, way in enumerate(ways):
            await until(lambda: len(caplog.records) > waits)  # noqa: B023 - awaited here
            assert not task.done()
            way.heal()
        async with asyncio.timeout(PATIENCE):
            await task
        assert all("It is tried again for up to" in record.getMessage() for record in caplog.records)
        assert starting.engine.worker.ready
        assert await starting.engine.backends.queue.depth() is not None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await starting.stop()
