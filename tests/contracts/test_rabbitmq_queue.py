"""What is RabbitMQ's own: lanes, queues that vanish, bounds, and refusals."""

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import aio_pika
import pytest

from a2a_server.errors import ConfigurationError
from a2a_server.queues import rabbitmq as module
from a2a_server.queues.rabbitmq import RabbitmqQueue
from a2a_server.queues.remote import LANES
from tests.contracts.queues import Broker, rabbitmq
from tests.contracts.test_queue import hint, key, take_all
from tests.contracts.test_queue_brokers import offered_until_taken
from tests.patience import PATIENCE
from tests.services import service

pytestmark = pytest.mark.usefixtures("unhurried_queues")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with rabbitmq() as broker:
        yield broker


async def delete(broker: Broker, name: str) -> None:
    async with await aio_pika.connect(broker.address) as connection:
        channel = await connection.channel()
        for lane in LANES:
            await channel.queue_delete(f"{broker.prefix}.hints.{lane}.{name}")


async def test_a_lane_waits_for_the_better_ones_but_for_the_message_that_is_here(broker: Broker) -> None:
    one = await broker.queue()
    for number in range(60):
        await one.offer([hint(number, lane=5 - number % 5)])
    await one.close()
    other = await broker.queue()
    await other.take(["a"], 1, PATIENCE)
    lanes = [5 - int.from_bytes(taken) % 5 for taken in await take_all(other, "a", 59, 1)]
    assert sum(later < lane for lane, later in pairwise(lanes)) < 15


async def test_a_thousand_hints_are_few_messages(broker: Broker) -> None:
    one = await broker.queue()
    await one.offer([hint(number) for number in range(1000)])
    await one.close()
    other = await broker.queue()
    assert await other.take(["a"], 1, PATIENCE) is not None
    depth = await other.depth()
    assert depth is not None
    assert depth["a", 2] in (8 + 99, 9 + 99), "the next one may be on its way here already"
    assert len(set(await take_all(other, "a", 999, 100))) == 999


async def test_queues_that_were_deleted_are_made_again(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    await offered_until_taken(other, one, 1)
    await delete(broker, "a")
    async with asyncio.timeout(PATIENCE):
        await one.offer([hint(2)])
        assert await other.take(["a"], 10, PATIENCE) in ([key(1)], [key(2)])
    await offered_until_taken(other, one, 3)


async def test_a_queue_of_the_broker_is_bounded_and_forgotten_in_time(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._ARGUMENTS, "x-max-length", 3)
    one = await broker.queue()
    for number in range(10):
        await one.offer([hint(number)])
        await asyncio.wait_for(one._sent.wait(), PATIENCE)  # type: ignore[attr-defined]  # a message each
    other = await broker.queue()
    assert sorted(await take_all(other, "a", 3)) == [key(7), key(8), key(9)]
    assert module._ARGUMENTS["x-expires"] == module._ARGUMENTS["x-message-ttl"] == 24 * 3600 * 1000


async def test_what_is_not_a_message_of_ours_is_thrown_away(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    await offered_until_taken(other, one, 1)
    async with await aio_pika.connect(broker.address) as connection:
        channel = await connection.channel()
        for body in (b"\xff", b"{}", b'{"format": 2}', b'{"format": 1, "queue": "a", "hints": [[1]]}'):
            await channel.default_exchange.publish(aio_pika.Message(body), f"{broker.prefix}.hints.2.a")
    await offered_until_taken(other, one, 2)


@pytest.mark.parametrize(("old", "new"), [(r"guest:guest", "guest:wrong"), (r"/[^/]*$", "/nowhere")])
async def test_what_the_broker_refuses_is_a_matter_of_configuration(old: str, new: str) -> None:
    queue = RabbitmqQueue(re.sub(old, new, service("rabbitmq")))
    with pytest.raises(ConfigurationError, match="refuses this user here") as raised:
        await queue.open()
    assert "wrong" not in str(raised.value)


@pytest.mark.parametrize("url", ["amqp://", "redis://127.0.0.1", "amqp://127.0.0.1/?prefix=", "amqp://h/?prefx=a"])
def test_addresses_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a RabbitMQ is amqp://|the option prefix is|no option prefx"):
        RabbitmqQueue(url)
