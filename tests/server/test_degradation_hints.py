"""Queue and notifier away: hints and doorbells are lost, and polls find all that they would have told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from a2a_server.model.objects import Scope
from a2a_server.model.requests import SubscribeRequest
from tests.patience import PATIENCE
from tests.server.crew import SPOKEN, Crew, ended, shown, texts
from tests.server.fleet import Fleet, fleet
from tests.server.waiting import until_asked
from tests.services import Server, needed, own, service
from tests.services.fresh import fresh_database, fresh_name, fresh_queues
from tests.services.proxy import Proxy

pytestmark = pytest.mark.embedded

POLL: dict[str, Any] = {"poll_seconds": 0.2, "lease_seconds": 3600.0, "artifacts": "store://"}


@pytest.fixture
def store() -> Iterator[str]:
    with fresh_database(service("postgresql")) as database:
        yield f"{database}?pool=4"


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    with needed(), own("redis") as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")


class Load:
    """Clients at both fronts, each with a text of its own that it waits for."""

    def __init__(self, made: Fleet) -> None:
        self._fronts = made.fronts
        self._sent: list[asyncio.Task[object]] = []

    def more(self, clients: int = 20) -> None:
        """So many more."""
        for _ in range(clients):
            number = len(self._sent)
            front = self._fronts[number % len(self._fronts)]
            self._sent.append(asyncio.create_task(front.send(f"text {number}")))

    async def answered(self, crew: Crew) -> None:
        """Everyone has an answer, and every task ran once."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._sent)
        assert crew.ran == {f"text {number}": 1 for number in range(len(self._sent))}


async def flushed(redis: Server, load: Load) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
        load.more()
        await client.flushall()


async def killed(redis: Server, load: Load) -> None:
    await asyncio.to_thread(redis.kill)
    load.more()


async def restarted(redis: Server, load: Load) -> None:
    await asyncio.to_thread(redis.stop)
    load.more()
    await asyncio.to_thread(redis.start)


@pytest.mark.parametrize("fault", [flushed, killed, restarted])
async def test_redis_may_go_and_come_back_under_load(
    store: str, redis: Server, fault: Callable[[Server, Load], Awaitable[None]]
) -> None:
    crew = Crew()
    places = {"store": store, "queue": f"{redis.url}?prefix={fresh_name()}"}
    async with fleet(crew.agent, places, workers=2, **POLL) as made:
        load = Load(made)
        load.more()
        await fault(redis, load)
        load.more()
        await load.answered(crew)
        await asyncio.to_thread(redis.start)
        await known_again(made)
        load.more(1)
        await load.answered(crew)


async def test_redis_may_be_flushed_all_the_time(store: str, redis: Server) -> None:
    crew = Crew()
    places = {"store": store, "queue": f"{redis.url}?prefix={fresh_name()}"}
    async with fleet(crew.agent, places, workers=2, **POLL) as made, Redis.from_url(redis.url) as client:

        async def flush() -> None:
            while not over:  # the driver may swallow a cancellation
                await client.flushall()

        over = False
        flushing = asyncio.create_task(flush())
        load = Load(made)
        load.more(100)
        await load.answered(crew)
        assert not flushing.done()
        over = True
        await flushing


@pytest.mark.parametrize("kind", ["redis", "rabbitmq", "sqs"])
async def test_any_queue_may_be_away(store: str, kind: str) -> None:
    crew = Crew()
    with ExitStack() as stack:
        way = stack.enter_context(Proxy(service(kind)))
        queue = f"{way.url}?prefix={fresh_name()}"
        if kind == "sqs":
            prefix = stack.enter_context(fresh_queues(service(kind)))
            queue = f"sqs://us-east-1?prefix={prefix}&endpoint={way.url}"
        places = {"store": store, "queue": queue, "create_missing": True}
        async with fleet(crew.agent, places, workers=2, **POLL) as made:
            load = Load(made)
            load.more(5)
            way.refuse()
            way.reset()
            load.more(10)
            await load.answered(crew)
            assert not way.connections
            way.heal()
            await known_again(made)
            load.more(5)
            await load.answered(crew)


@pytest.mark.parametrize("fault", ["refused", "silent"])
async def test_answers_and_streams_need_no_doorbells(store: str, fault: str) -> None:
    crew = Crew()
    with Proxy(service("redis")) as way:
        places = {"store": store, "queue": "store://", "notifier": f"{way.url}?prefix={fresh_name()}"}
        async with fleet(crew.agent, places, workers=2, **POLL) as made:
            if fault == "silent":
                way.stall()
            else:
                way.refuse()
                way.reset()
            await all_is_told(made, crew)
            way.heal()


async def test_there_need_not_be_a_notifier(store: str) -> None:
    crew = Crew()
    places = {"store": store, "queue": "store://", "notifier": "poll://"}
    async with fleet(crew.agent, places, workers=2, **POLL) as made:
        await all_is_told(made, crew)


async def all_is_told(made: Fleet, crew: Crew) -> None:
    """Blocking sends are answered, and a stream of what another system runs is whole."""
    first, second = made.fronts
    load = Load(made)
    load.more(10)
    await load.answered(crew)
    task_id = await first.start("go", skill="speak")
    stream = await second.operations.subscribe(Scope(), SubscribeRequest(task_id, after=0))
    seen: list[int] = []
    async with asyncio.timeout(PATIENCE):
        async for batch in stream.batches:
            seen += [event.row.n for event in batch]
            if crew.halfway.is_set():
                crew.go.set()
    row = await ended(first, task_id)
    assert seen == list(range(1, row.last_n + 1))
    assert texts(await shown(first, task_id)) == SPOKEN


async def known_again(made: Fleet) -> None:
    """Every system knows again what waits in its queue."""

    async def known() -> bool:
        queues = [running.engine.backends.queue for running in (*made.fronts, *made.workers)]
        return None not in [await queue.depth() for queue in queues]

    await until_asked(known)
