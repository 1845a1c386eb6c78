"""What every work queue does when its broker is well, and what the memory queue does when it is full.

Queues that declare no `priorities` give the same hints, in about the order they were offered.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint
from a2a_server.ports import WorkQueue
from a2a_server.queues.memory import MemoryQueue
from tests.contracts.queues import QUEUES
from tests.patience import PATIENCE

pytestmark = pytest.mark.usefixtures("unhurried_queues")


@pytest.fixture(params=sorted(QUEUES))
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[WorkQueue]:
    async with QUEUES[request.param]() as queue:
        yield queue


def key(number: int) -> Key:
    return Key(number.to_bytes(16, "big"))


async def take_all(queue: WorkQueue, queues: str, count: int, limit: int = 10) -> list[Key]:
    """So many keys as soon as they are there, in the order they are given."""
    taken: list[Key] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            some = await queue.take(list(queues), limit, PATIENCE) or []
            assert len(some) <= limit
            taken += some
    return taken


def hint(number: int, *, queue: str = "a", lane: int = 2, rank: int = 0) -> Hint:
    return Hint(queue, lane, rank, key(number))


async def test_an_offered_key_is_taken_once(queue: WorkQueue) -> None:
    await queue.offer([hint(1)])
    assert await queue.take(["a"], 10, PATIENCE) == [key(1)]
    assert await queue.take(["a"], 10, 0) is None


async def test_only_the_named_queues_are_taken_from(queue: WorkQueue) -> None:
    await queue.offer([hint(1, queue="a"), hint(2, queue="b")])
    assert await queue.take(["b", "c"], 10, PATIENCE) == [key(2)]
    assert await queue.take(["a"], 10, PATIENCE) == [key(1)]


async def test_the_best_lane_comes_first_then_the_rank_then_the_key(queue: WorkQueue) -> None:
    await queue.offer([hint(4, lane=3), hint(3, lane=1, rank=7), hint(2, lane=1, rank=7), hint(9, lane=1, rank=6)])
    taken = await take_all(queue, "a", 4)
    best = [key(9), key(2), key(3), key(4)]
    assert taken == best if queue.capabilities.priorities else sorted(taken) == sorted(best)


async def test_the_order_holds_over_several_queues_and_takes(queue: WorkQueue) -> None:
    chance = random.Random(7)  # noqa: S311 - repeatable
    hints = [
        hint(number, queue=chance.choice("abc"), lane=chance.randrange(5), rank=chance.randrange(2**53))
        for number in range(300)
    ]
    await queue.offer(hints)
    taken = await take_all(queue, "abc", 300, 7)
    best = [h.key for h in sorted(hints, key=lambda h: h[1:])]
    assert taken == best if queue.capabilities.priorities else sorted(taken) == sorted(best)


async def test_no_more_than_the_limit_is_taken(queue: WorkQueue) -> None:
    await queue.offer([hint(number) for number in range(10)])
    assert await queue.take(["a"], 3, PATIENCE) == [key(0), key(1), key(2)]
    assert await queue.take(["a"], 3, PATIENCE) == [key(3), key(4), key(5)]


async def test_nothing_known_is_none(queue: WorkQueue) -> None:
    assert await queue.take(["a"], 1, 0) is None
    assert await queue.take(["a"], 1, 0.01) is None
    assert await queue.take([], 1, 0.01) is None


async def test_a_waiting_taker_gets_what_is_offered_later(queue: WorkQueue) -> None:
    taker = asyncio.create_task(queue.take(["a", "b"], 10, PATIENCE))
    await asyncio.sleep(0)  # it runs up to its wait
    await queue.offer([hint(1, queue="c")])
    await queue.offer([hint(2, queue="b")])
    assert await taker == [key(2)]


async def test_no_two_takers_get_the_same_key(queue: WorkQueue) -> None:
    taken: list[Key] = []

    async def taker() -> None:
        while len(taken) < 200:
            taken.extend(await queue.take(["a"], 3, 0.2) or [])

    takers = [asyncio.create_task(taker()) for _ in range(8)]
    for number in range(200):
        await queue.offer([hint(number)])
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*takers)
    assert sorted(taken) == [key(number) for number in range(200)]


async def test_a_canceled_taker_swallows_nothing(queue: WorkQueue) -> None:
    taken: list[Key] = []
    for number in range(30):
        takers = [asyncio.create_task(queue.take(["a"], 1, 3600)) for _ in range(2)]
        await queue.offer([hint(number)])
        for _ in range(number):  # canceled at another step each time
            await asyncio.sleep(0)
        takers[0].cancel()
        for keys in await asyncio.gather(takers[0], return_exceptions=True):
            taken += [] if isinstance(keys, BaseException) else keys or []
        takers[1].cancel()
        for keys in await asyncio.gather(takers[1], return_exceptions=True):
            taken += [] if isinstance(keys, BaseException) else keys or []
    taken += await take_all(queue, "a", 30 - len(taken))
    assert sorted(taken) == [key(number) for number in range(30)]


async def test_depth_counts_what_waits_by_queue_and_lane(queue: WorkQueue) -> None:
    await queue.offer([hint(1), hint(2), hint(3, lane=0), hint(4, queue="b")])
    await take_all(queue, "a", 2, 1)
    depth = await queue.depth() or {}
    async with asyncio.timeout(PATIENCE):
        while sum(depth.values()) != 2:  # what a broker hears of last may come last into its count
            depth = await queue.depth() or {}
    if queue.capabilities.priorities:
        assert depth == {("a", 2): 1, ("b", 2): 1}
    assert set(depth) <= {("a", 0), ("a", 2), ("b", 2), ("", 0)}


async def test_close_ends_waiting_takers_and_may_be_repeated(queue: WorkQueue) -> None:
    takers = [asyncio.create_task(queue.take(["a"], 1, 3600)) for _ in range(3)]
    assert await queue.take(["b"], 1, 0.01) is None
    await queue.close()
    await queue.close()
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*takers) == [None, None, None]


async def test_a_closed_queue_takes_offers_silently_and_knows_nothing(queue: WorkQueue) -> None:
    await queue.close()
    await queue.offer([hint(1)])
    assert await queue.take(["a"], 1, PATIENCE) is None


async def test_memory_folds_repeated_hints() -> None:
    queue = MemoryQueue()
    for _ in range(3):
        await queue.offer([hint(1), hint(1)])
    assert await queue.depth() == {("a", 2): 1}
    assert await queue.take(["a"], 10, 0) == [key(1)]
    assert await queue.take(["a"], 10, 0) is None


async def test_memory_keeps_the_newest_hint_of_a_key() -> None:
    queue = MemoryQueue()
    await queue.offer([hint(1, lane=0), hint(2), hint(1, lane=4), hint(3, queue="b"), hint(3, rank=1)])
    assert await queue.depth() == {("a", 2): 2, ("a", 4): 1}
    assert await queue.take(["b"], 10, 0) is None
    assert await queue.take(["a"], 10, 0) == [key(2), key(3), key(1)]


async def test_memory_takes_a_key_again_when_it_is_offered_again() -> None:
    queue = MemoryQueue()
    for _ in range(2):
        await queue.offer([hint(1)])
        assert await queue.take(["a"], 1, 0) == [key(1)]


async def test_a_full_memory_queue_drops_and_says_once_that_the_store_must_be_asked() -> None:
    queue = MemoryQueue(limit=10)
    await queue.offer([hint(number) for number in range(15)])
    assert await queue.take(["b"], 10, 0) is None
    assert await queue.take(["a"], 100, PATIENCE) is None
    assert await queue.take(["a"], 100, 0) == [key(number) for number in range(10)]
    await queue.offer([hint(20)])
    assert await queue.take(["a"], 100, 0) == [key(20)]


async def test_what_was_taken_makes_room_in_a_memory_queue_that_is_almost_full() -> None:
    queue = MemoryQueue(limit=10)
    await queue.offer([hint(number) for number in range(6)])
    assert await queue.take(["a"], 1, 0) == [key(0)]
    await queue.offer([hint(number) for number in range(6, 11)])
    assert await queue.take(["a"], 100, 0) == [key(number) for number in range(1, 11)]


async def test_a_dropped_hint_wakes_whoever_waits_for_its_queue() -> None:
    queue = MemoryQueue(limit=1)
    await queue.offer([hint(1, queue="b")])
    taker = asyncio.create_task(queue.take(["a"], 1, 3600))
    assert await queue.take(["a"], 1, 0.01) is None
    await queue.offer([hint(2, queue="a")])
    async with asyncio.timeout(PATIENCE):
        assert await taker is None


async def test_stale_entries_do_not_fill_the_memory_queue() -> None:
    queue = MemoryQueue(limit=10)
    for rank in range(1000):
        await queue.offer([hint(1, rank=rank), hint(2, rank=1000 - rank)])
    assert await queue.depth() == {("a", 2): 2}
    assert await queue.take(["a"], 10, 0) == [key(2), key(1)]


async def test_a_canceled_taker_of_the_memory_queue_swallows_nothing() -> None:
    queue = MemoryQueue()
    takers = [asyncio.create_task(queue.take(["a"], 1, 3600)) for _ in range(2)]
    assert await queue.take(["a"], 1, 0.01) is None
    await queue.offer([hint(1)])
    takers[0].cancel()
    async with asyncio.timeout(PATIENCE):
        assert await takers[1] == [key(1)]
    with pytest.raises(asyncio.CancelledError):
        await takers[0]


async def test_the_memory_queue_counts_and_orders_like_a_plain_dictionary() -> None:
    chance = random.Random(11)  # noqa: S311 - repeatable
    queue, known = MemoryQueue(), dict[Key, Hint]()
    for _ in range(3000):
        if chance.random() < 0.6:
            given = hint(
                chance.randrange(60), queue=chance.choice("ab"), lane=chance.randrange(3), rank=chance.randrange(9)
            )
            await queue.offer([given])
            known[given.key] = given
        else:
            wanted, limit = chance.choice(["a", "b", "ab"]), chance.randrange(1, 4)
            expected = sorted((h for h in known.values() if h.queue in wanted), key=lambda h: h[1:])[:limit]
            assert await queue.take(list(wanted), limit, 0) == ([h.key for h in expected] or None)
            for taken in expected:
                del known[taken.key]
        assert await queue.depth() == Counter((h.queue, h.lane) for h in known.values())
