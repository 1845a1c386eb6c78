"""What is SQS's own: one queue for all, a bounded number of calls, and refusals. Against a simulator."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.ports import WorkQueue
from a2a_server.queues import sqs as module
from a2a_server.queues.sqs import SqsQueue
from tests.contracts.queues import Broker, sqs
from tests.contracts.test_queue import hint, key, take_all
from tests.patience import PATIENCE
from tests.server.waiting import until

pytestmark = pytest.mark.usefixtures("unhurried_queues")


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with sqs() as broker:
        yield broker


def calls(queue: WorkQueue) -> Counter[str]:
    """Counts what is asked of SQS from now on."""
    assert isinstance(queue, SqsQueue)
    counted = Counter[str]()

    def count(model: Any, **_: object) -> None:  # noqa: ANN401 - the driver has no types
        counted[model.name] += 1

    queue._sqs.meta.events.register("before-call.sqs", count)
    return counted


async def test_a_queue_that_is_missing_is_made_only_when_that_is_asked_for(broker: Broker) -> None:
    url = f"{broker.address}&prefix={broker.prefix}"
    queue = SqsQueue(url)
    with pytest.raises(ConfigurationError, match=f"no queue {broker.prefix}-hints; create it, or set create_missing"):
        await queue.open()
    made = SqsQueue(url, create=True)
    await made.open()
    attributes = made._sqs.get_queue_attributes(QueueUrl=made._queue, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == "86400"
    await made.close()
    again = SqsQueue(url)
    await again.open()
    await again.close()


async def test_waiting_costs_one_call_at_a_time_for_any_number_of_queues(broker: Broker) -> None:
    queue = await broker.queue()
    counted = calls(queue)
    begun = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while counted["ReceiveMessage"] < 2:
            assert await queue.take([f"skill-{number}" for number in range(20)], 10, 0.7) is None
    assert counted["ReceiveMessage"] <= 2 + time.monotonic() - begun  # each waits for a second
    assert set(counted) == {"ReceiveMessage"}


async def test_takes_that_are_canceled_share_one_call(broker: Broker) -> None:
    one, queue = await broker.queue(), await broker.queue()
    counted = calls(queue)
    begun = time.monotonic()
    for _ in range(50):
        taker = asyncio.create_task(queue.take(["a"], 10, 5))
        await asyncio.wait({taker}, timeout=0.002)
        taker.cancel()
        await asyncio.wait({taker})
    await until(lambda: counted["ReceiveMessage"] > 0)  # its thread may not have come to it
    assert counted["ReceiveMessage"] <= 1 + time.monotonic() - begun  # each waits for a second
    await one.offer([hint(1)])
    assert await queue.take(["a"], 10, PATIENCE) == [key(1)]


async def test_calls_carry_ten_messages_of_a_hundred_hints(broker: Broker) -> None:
    one, other = await broker.queue(), await broker.queue()
    sent, fetched = calls(one), calls(other)
    await one.offer([hint(number) for number in range(1000)])
    assert len(set(await take_all(other, "a", 1000, 100))) == 1000
    await other.close()
    assert sent == {"SendMessageBatch": 1}
    assert fetched["ReceiveMessage"] <= 11
    assert fetched["DeleteMessageBatch"] <= 11
    assert await one.depth() == {}


async def test_hints_that_nobody_here_asks_for_go_to_who_does(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_TRIES", 1_000_000)  # who does may be slow to ask
    one, other = await broker.queue(), await broker.queue()
    taker = asyncio.create_task(one.take(["a"], 10, 3600))
    await asyncio.sleep(0)
    for number in range(5):
        await one.offer([hint(number, queue="b")])
        assert await other.take(["b"], 10, PATIENCE) == [key(number)]
    taker.cancel()


async def test_hints_that_nobody_asks_for_are_dropped_in_the_end(broker: Broker) -> None:
    queue = await broker.queue()
    await queue.offer([hint(1, queue="b")])
    counted = calls(queue)
    async with asyncio.timeout(PATIENCE):
        while not counted["DeleteMessageBatch"]:
            await queue.take(["a"], 10, 0.3)
    assert await queue.take(["b"], 10, 0.1) is None


async def test_who_has_no_credentials_is_told_so(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bare:
        bare.delenv("AWS_ACCESS_KEY_ID")
        bare.delenv("AWS_SECRET_ACCESS_KEY")
        bare.setenv("AWS_EC2_METADATA_DISABLED", "true")
        bare.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        bare.setenv("AWS_CONFIG_FILE", "/nonexistent")
        with pytest.raises(ConfigurationError, match="no AWS credentials"):
            await broker.make().open()
        bare.delenv("AWS_DEFAULT_REGION", raising=False)
        bare.delenv("AWS_REGION", raising=False)
        with pytest.raises(ConfigurationError, match="region"):
            await SqsQueue("sqs://").open()


async def test_a_port_where_nobody_listens_is_unavailable(broker: Broker) -> None:
    with pytest.raises(StoreUnavailable, match="sqs://eu-west-1: SQS cannot be reached"):
        await broker.make("127.0.0.1:9").open()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqs://key:secret@eu-west-1", "credentials come from AWS's own configuration"),
        ("sqs://eu-west-1/queue", "an SQS is sqs://region"),
        ("redis://127.0.0.1", "an SQS is sqs://region"),
        ("sqs://eu-west-1?prefix=", "the option prefix is"),
        ("sqs://eu-west-1?colour=red", "there is no option colour"),
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as raised:
        SqsQueue(url)
    assert "secret" not in str(raised.value)
