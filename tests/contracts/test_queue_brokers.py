"""What queues at a broker do for several processes, and when the broker is away. A queue object is a process here."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from a2a_server.errors import StoreUnavailable
from a2a_server.model.rows import Key
from a2a_server.ports import WorkQueue
from a2a_server.queues import rabbitmq, redis, remote, sqs
from tests.contracts.queues import BROKERS, Broker, Proxy, proxy
from tests.contracts.test_queue import hint, key, take_all
from tests.patience import PATIENCE

LONG = 3600.0
"""Seconds: far longer than a test waits."""
UNHURRIED = pytest.mark.usefixtures("unhurried_queues")


@pytest.fixture(params=sorted(BROKERS))
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with BROKERS[request.param]() as broker:
        yield broker


@pytest.fixture
async def way(broker: Broker) -> AsyncIterator[Proxy]:
    async with proxy(broker.netloc) as way:
        yield way


@pytest.fixture
def never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives a broker up that does not answer: who waits for it waits longer than the test."""
    for module in (rabbitmq, redis, remote, sqs):
        monkeypatch.setattr(module, "SEND_SECONDS", LONG)


async def offered_until_taken(queue: WorkQueue, other: WorkQueue, number: int) -> None:
    """Hints may be lost while a broker comes back; it is back when one arrives. One that was late may come again."""
    async with asyncio.timeout(PATIENCE):
        while await queue.take(["a"], 100, 0.2) is None:
            await other.offer([hint(number)])


@UNHURRIED
async def test_what_one_process_offers_another_takes(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    taker = asyncio.create_task(other.take(["a"], 10, PATIENCE))
    await asyncio.sleep(0)
    await one.offer([hint(1)])
    assert await taker == [key(1)]
    await one.offer([hint(2, queue="b")])
    assert await take_all(other, "b", 1) == [key(2)]


@UNHURRIED
async def test_each_hint_goes_to_one_process(broker: Broker) -> None:
    processes = [await broker.queue() for _ in range(3)]
    taken: list[Key] = []

    async def taker(queue: WorkQueue) -> None:
        while len(taken) < 100:
            taken.extend(await queue.take(["a", "b"], 3, 0.2) or [])

    takers = [asyncio.create_task(taker(queue)) for queue in processes]
    for number in range(100):
        await processes[number % 2].offer([hint(number, queue="ab"[number % 2], lane=1 + number % 5)])
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*takers)
    assert sorted(taken) == [key(number) for number in range(100)]


@UNHURRIED
async def test_takes_that_are_canceled_all_the_time_lose_nothing(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    taken: list[Key] = []
    for number in range(40):
        taker = asyncio.create_task(other.take(["a"], 1, LONG))
        await one.offer([hint(number)])
        await asyncio.wait({taker}, timeout=0.0005 * (number % 20))
        if not taker.cancel():
            taken += taker.result() or []
        await asyncio.wait({taker})
        if not taker.cancelled() and len(taken) <= number and (late := taker.result()) and late[0] not in taken:
            taken += late
    taken += await take_all(other, "a", 40 - len(set(taken)))
    assert set(taken) == {key(number) for number in range(40)}


@UNHURRIED
async def test_a_process_that_stops_asking_gives_back_what_it_holds(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    await one.offer([hint(number) for number in range(3)])
    assert await take_all(one, "a", 1, 1) == [key(0)]
    assert sorted(await take_all(other, "a", 2)) == [key(1), key(2)]


@UNHURRIED
async def test_a_process_that_closes_gives_back_what_it_holds(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_IDLE_SECONDS", LONG)  # it would do so by and by
    one, other = await broker.queue(), await broker.queue()
    await one.offer([hint(number) for number in range(3)])
    assert await take_all(one, "a", 1, 1) == [key(0)]
    await one.close()
    async with asyncio.timeout(PATIENCE):
        assert sorted(await take_all(other, "a", 2)) == [key(1), key(2)]


@UNHURRIED
async def test_what_was_offered_before_closing_arrives(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    await one.offer([hint(1)])
    await one.close()
    assert await take_all(other, "a", 1) == [key(1)]


@UNHURRIED
async def test_queues_may_have_any_name(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    names = ["Größe/ß {x}*?:\N{SNOWMAN}", "\N{SNOWMAN}" * 300, "\N{SNOWMAN}" * 299 + "x", "a b/c"]
    for number, name in enumerate(names):
        await one.offer([hint(number, queue=name)])
    for number, name in enumerate(names):
        assert await other.take([name], 10, PATIENCE) == [key(number)]


async def test_a_broker_that_goes_is_waited_for_and_named_once(
    broker: Broker, way: Proxy, caplog: pytest.LogCaptureFixture, never_answered: None
) -> None:
    caplog.set_level(logging.INFO, "a2a_server.queues")
    queue, other = await broker.queue(way.netloc), await broker.queue()
    await offered_until_taken(queue, other, 1)
    await way.cut()
    loop = asyncio.get_running_loop()
    for _ in range(3):
        async with asyncio.timeout(PATIENCE):
            await queue.offer([hint(2)])
            assert await queue.take(["a"], 1, 0.4) in (None, [key(1)], [key(2)])  # one may have come before the cut
    begun = loop.time()
    async with asyncio.timeout(PATIENCE):
        assert await queue.take(["a"], 1, 0.4) is None
        assert loop.time() - begun > 0.3
        assert await queue.depth() is None
    async with asyncio.timeout(PATIENCE):
        while not (told := [each.getMessage() for each in caplog.records if each.name == "a2a_server.queues"]):
            await queue.take(["b"], 1, 0.01)
    assert len(set(told)) == len(told)
    assert not any("guest" in text or "prefix" in text for text in told)
    await way.start()
    await offered_until_taken(queue, other, 3)
    await offered_until_taken(other, queue, 4)
    async with asyncio.timeout(PATIENCE):
        while not any("works again" in record.getMessage() for record in caplog.records):
            await queue.take(["b"], 1, 0.01)


async def test_a_broker_that_stalls_holds_up_nobody(broker: Broker, way: Proxy, never_answered: None) -> None:
    queue, other = await broker.queue(way.netloc), await broker.queue()
    await offered_until_taken(queue, other, 1)
    way.stall()
    async with asyncio.timeout(PATIENCE):
        await queue.offer([hint(2)])
        assert await queue.take(["a"], 1, 0.3) in (None, [key(1)])
    taker = asyncio.create_task(queue.take(["a"], 1, LONG))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await queue.close()
        assert await taker is None


async def test_a_broker_that_is_away_at_the_start_is_unavailable(broker: Broker, way: Proxy) -> None:
    await way.cut()
    queue = broker.make(way.netloc)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
        await queue.open()
    assert "guest" not in str(raised.value)
    await queue.close()


async def test_a_start_that_failed_may_be_tried_again(broker: Broker, way: Proxy) -> None:
    await way.cut()
    queue, other = broker.make(way.netloc), await broker.queue()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await queue.open()
    await way.start()
    await queue.open()
    await offered_until_taken(queue, other, 1)
    await offered_until_taken(other, queue, 2)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await queue.take(["b"], 1, 0.2) is None
    assert loop.time() - begun > 0.1


async def test_a_broker_that_is_away_does_not_fill_memory(broker: Broker, way: Proxy) -> None:
    queue = await broker.queue(way.netloc)
    await way.cut()
    for number in range(50):
        await queue.offer([hint(1000 * number + i) for i in range(1000)])
    assert len(queue._outbox) <= 20_000  # type: ignore[attr-defined]  # every one of these has it
