"""What every notifier does when its carrier is well, and what the local one does for a listener that falls behind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence

import pytest

from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import EventKind, EventRow, Head, Key
from a2a_server.model.turns import Bell
from a2a_server.notifiers.local import LIMIT_BATCHES, LocalNotifier
from a2a_server.ports import Notifier
from tests.contracts.notifiers import NOTIFIERS
from tests.patience import PATIENCE


@pytest.fixture(params=sorted(NOTIFIERS))
async def notifier(request: pytest.FixtureRequest) -> AsyncIterator[Notifier]:
    async with NOTIFIERS[request.param]() as notifier:
        yield notifier


def bell(number: int, body: bytes = b"") -> Bell:
    key = Key(number.to_bytes(16, "big"))
    return Bell(key, None, (EventRow(key, 1, EventKind.CHUNK, 0, 1, 1, body),) if body else ())


async def heard(listener: AsyncIterator[Sequence[Bell]]) -> list[Key]:
    async with asyncio.timeout(PATIENCE):
        return [bell.key for bell in await anext(listener)]


async def test_every_listener_hears_every_batch(notifier: Notifier) -> None:
    listeners = [notifier.listen() for _ in range(3)]
    await notifier.ring([bell(1), bell(2)])
    await notifier.ring([bell(3)])
    for listener in listeners:
        keys: list[Key] = []
        while len(keys) < 3:
            keys += await heard(listener)
        assert sorted(keys) == [bell(1).key, bell(2).key, bell(3).key]


async def test_listening_begins_with_the_call_not_with_the_first_step(notifier: Notifier) -> None:
    listener = notifier.listen()
    await notifier.ring([bell(1)])
    assert await heard(listener) == [bell(1).key]


async def test_what_was_rung_before_is_not_heard(notifier: Notifier) -> None:
    await notifier.ring([bell(1)])
    listener = notifier.listen()
    await notifier.ring([bell(2)])
    assert await heard(listener) == [bell(2).key]


async def test_a_waiting_listener_is_woken(notifier: Notifier) -> None:
    listener = notifier.listen()
    waiting = asyncio.create_task(heard(listener))
    await asyncio.sleep(0)  # it runs up to its wait
    await notifier.ring([bell(1)])
    assert await waiting == [bell(1).key]


@pytest.mark.parametrize("others", [0, 2])
async def test_a_listener_that_was_told_already_is_left_out(notifier: Notifier, others: int) -> None:
    told, *rest = [notifier.listen() for _ in range(1 + others)]
    await notifier.ring([bell(1)], told)
    await notifier.ring([bell(2)])
    assert await heard(told) == [bell(2).key]
    for listener in rest:
        assert await heard(listener) == [bell(1).key]
        assert await heard(listener) == [bell(2).key]


async def test_nothing_rung_is_nothing_heard(notifier: Notifier) -> None:
    listener = notifier.listen()
    await notifier.ring([])
    await notifier.ring([bell(1)])
    assert await heard(listener) == [bell(1).key]


async def test_a_listener_that_does_not_keep_up_hears_all_or_is_told_to_poll(notifier: Notifier) -> None:
    listener = notifier.listen()
    for number in range(5000):
        await notifier.ring([bell(number)])
    keys: list[Key] = []
    while len(keys) < 5000:
        batch = await heard(listener)
        if not batch:
            break
        keys += batch
    await notifier.ring([bell(9999)])
    while bell(9999).key not in await heard(listener):
        pass


async def test_close_ends_every_listener_and_may_be_repeated(notifier: Notifier) -> None:
    async def listen(listener: AsyncIterator[Sequence[Bell]]) -> bool:
        async for _ in listener:
            pass
        return True

    listeners = [asyncio.create_task(listen(notifier.listen())) for _ in range(3)]
    await notifier.ring([bell(1)])
    await notifier.close()
    await notifier.close()
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.gather(*listeners) == [True, True, True]
        assert await listen(notifier.listen())


async def test_a_local_backlog_counts_what_came_from_other_processes() -> None:
    notifier = LocalNotifier(limit_bytes=1000)
    listener = notifier.listen()
    far = Bell(bell(1).key, None, head=Head(1, State.WORKING, Phase.LEASED, 0, 1))
    notifier.tell([far])
    assert await heard(listener) == [far.key]
    notifier.tell([far])
    notifier.tell([far])
    assert await heard(listener) == []


async def test_local_listeners_that_missed_something_are_told_to_poll() -> None:
    notifier = LocalNotifier()
    listener = notifier.listen()
    notifier.tell([bell(1)])
    notifier.missed()
    assert await heard(listener) == [bell(1).key]
    assert await heard(listener) == []


async def test_a_closed_notifier_rings_silently(notifier: Notifier) -> None:
    await notifier.close()
    await notifier.ring([bell(1)])


async def test_an_overrun_local_listener_hears_one_empty_batch_then_what_follows() -> None:
    notifier = LocalNotifier()
    slow, quick = notifier.listen(), notifier.listen()
    for number in range(LIMIT_BATCHES + 1):
        await notifier.ring([bell(number)])
        assert await heard(quick) == [bell(number).key]
    await notifier.ring([bell(7)])
    assert await heard(slow) == []
    assert await heard(slow) == [bell(7).key]


async def test_a_local_listener_may_be_as_far_behind_as_the_limit() -> None:
    notifier = LocalNotifier(limit_batches=3)
    listener = notifier.listen()
    for number in range(3):
        await notifier.ring([bell(number)])
    assert [await heard(listener) for _ in range(3)] == [[bell(0).key], [bell(1).key], [bell(2).key]]


async def test_a_local_backlog_is_bounded_in_bytes_too() -> None:
    notifier = LocalNotifier(limit_bytes=1000)
    listener = notifier.listen()
    for number in range(2):
        await notifier.ring([bell(number, b"x" * 500)])
    assert await heard(listener) == [bell(0).key]
    await notifier.ring([bell(2, b"x" * 500)])
    await notifier.ring([bell(3, b"x")])
    assert await heard(listener) == []


async def test_the_local_notifier_carries_the_events_themselves() -> None:
    notifier = LocalNotifier()
    listener = notifier.listen()
    batch = [bell(1, b"body")]
    await notifier.ring(batch)
    batch.clear()
    assert await anext(listener) == (bell(1, b"body"),)


async def test_a_local_listener_that_nobody_holds_is_forgotten() -> None:
    notifier = LocalNotifier()
    kept = notifier.listen()
    for _ in range(10):
        notifier.listen()
    gc.collect()
    assert list(notifier._listeners) == [kept]


async def test_canceling_a_wait_loses_nothing() -> None:
    notifier = LocalNotifier()
    listener = notifier.listen()
    waiting = asyncio.create_task(heard(listener))
    await asyncio.sleep(0)  # it runs up to its wait
    await notifier.ring([bell(1)])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await heard(listener) == [bell(1).key]
