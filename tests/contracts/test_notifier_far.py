"""What notifiers do between processes: two notifiers at one broker are what two processes have."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import Head, Key, TaskRow
from a2a_server.model.turns import Bell, Hint
from a2a_server.notifiers.postgresql import PostgresqlNotifier
from a2a_server.notifiers.redis import RedisNotifier
from a2a_server.ports import Notifier
from tests.contracts.notifiers import BROKERS, Broker, Proxy
from tests.contracts.rows import final, key, leased, task, worker
from tests.patience import PATIENCE

Listener = AsyncIterator[Sequence[Bell]]


@pytest.fixture(params=sorted(BROKERS))
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    broker = BROKERS[request.param]()
    yield broker
    await broker.clear(broker.url)


@pytest.fixture
async def pair(broker: Broker) -> AsyncIterator[tuple[Notifier, Notifier]]:
    pair = broker.make(broker.url), broker.make(broker.url)
    for notifier in pair:
        await notifier.open()
    yield pair
    for notifier in pair:
        await notifier.close()


async def batch(listener: Listener) -> Sequence[Bell]:
    async with asyncio.timeout(PATIENCE):
        return await anext(listener)


async def heard_of(listener: Listener, wanted: Key) -> list[Bell]:
    """Every bell up to the first of `wanted`; batches that say "poll" are passed over."""
    bells: list[Bell] = []
    while not bells or bells[-1].key != wanted:
        bells += await batch(listener)
    return bells


async def rung_until_heard(ringer: Notifier, listener: Listener, row: TaskRow) -> Bell:
    """The bell as it was heard at last: the ringer's link may be down for a while."""
    hearing = asyncio.create_task(heard_of(listener, row.key))
    while not hearing.done():
        await ringer.ring([Bell(row.key, row)])
        await asyncio.wait([hearing], timeout=0.05)
    return (await hearing)[-1]


async def test_other_processes_hear_how_far_a_task_is(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    listener = there.listen()
    row = leased(1, worker(7).id, last_n=12, cancel_at=1_764_000_000_000_000, fence=3, visible=False)
    await here.ring([Bell(row.key, row)])
    head = Head(12, State.WORKING, Phase.LEASED, 1_764_000_000_000_000, 3, visible=False)
    assert await batch(listener) == (Bell(row.key, None, head=head),)


async def test_other_processes_hear_where_there_is_work(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    listener = there.listen()
    rows = [task(1, queue='Grüße "1"', lane=Lane.HIGH, rank=1 << 52), final(2)]
    await here.ring([Bell(row.key, row) for row in rows])
    ready, ended = await batch(listener)
    assert ready.hint == Hint('Grüße "1"', Lane.HIGH, 1 << 52, key(1))
    assert ended.hint is None
    assert ended.head == Head(1, State.COMPLETED, Phase.FINAL, 0, 0)


async def test_what_a_process_rings_it_hears_once_and_whole(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    mine, theirs = here.listen(), there.listen()
    bell = Bell(key(1), task(1))
    await here.ring([bell])
    await heard_of(theirs, key(1))
    await there.ring([Bell(key(2), task(2))])
    assert await batch(mine) == (bell,)
    assert [bell.key for bell in await batch(mine)] == [key(2)]


async def test_the_newest_head_of_a_task_is_heard_last(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    listener = there.listen()
    for n in range(1, 501):
        await here.ring([Bell(key(1), task(1, last_n=n))])
        if n % 50 == 0:
            await asyncio.sleep(0)  # the sender may begin
    numbers: list[int] = []
    while not numbers or numbers[-1] < 500:
        numbers += [bell.head.last_n for bell in await batch(listener) if bell.head is not None]
    assert numbers == sorted(numbers)
    assert len(numbers) < 500


async def test_a_large_batch_arrives_whole_or_as_a_call_to_poll(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    listener = there.listen()
    await here.ring([Bell(key(number), task(number, queue="q" * 256)) for number in range(5000)])
    keys: set[Key] = set()
    while len(keys) < 5000 and (bells := await batch(listener)):
        keys |= {bell.key for bell in bells}
    await here.ring([Bell(key(9999), task(9999))])
    await heard_of(listener, key(9999))


async def test_bells_without_a_row_stay_in_their_process(pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    listener = there.listen()
    await here.ring([Bell(key(1), None), Bell(key(2), task(2))])
    assert [bell.key for bell in await heard_of(listener, key(2))] == [key(2)]


async def test_other_prefixes_and_databases_are_not_heard(broker: Broker, pair: tuple[Notifier, Notifier]) -> None:
    here, there = pair
    stranger = broker.make(broker.elsewhere)
    await stranger.open()
    listener = there.listen()
    await rung_until_heard(stranger, stranger.listen(), task(1))
    await stranger.close()  # which sends what is left
    await here.ring([Bell(key(2), task(2))])
    assert [bell.key for bell in await heard_of(listener, key(2))] == [key(2)]
    await broker.clear(broker.elsewhere)


async def test_who_listens_before_open_is_told_to_poll_and_hears_then(broker: Broker) -> None:
    here, there = broker.make(broker.url), broker.make(broker.url)
    listener = there.listen()
    await here.open()
    await there.open()
    assert await batch(listener) == ()
    await here.ring([Bell(key(1), task(1))])
    assert [bell.key for bell in await batch(listener)] == [key(1)]
    await here.close()
    await there.close()


async def test_an_unreachable_broker_is_named_and_may_be_tried_again(broker: Broker) -> None:
    async with Proxy(broker.url) as proxy:
        notifier = broker.through(proxy.port)
        await proxy.close()
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{proxy.port}.* cannot be reached: .+ Is it running"):
            await notifier.open()
        await proxy.start()
        await notifier.open()
        await notifier.close()


async def test_a_broker_that_refuses_is_named_without_the_password(broker: Broker) -> None:
    notifier = broker.make(broker.refusing)
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:\d+.* does not let doorbells pass: .+ Correct") as told:
        await notifier.open()
    assert "wrong" not in str(told.value)
    await notifier.close()


async def test_a_link_that_is_cut_is_made_again_and_nothing_is_missed_unsaid(broker: Broker) -> None:
    async with Proxy(broker.url) as proxy:
        here, there = broker.make(broker.url), broker.through(proxy.port)
        await here.open()
        await there.open()
        mine, theirs = here.listen(), there.listen()
        proxy.cut()
        if broker.resumes:
            await here.ring([Bell(key(0), task(0))])
            await heard_of(theirs, key(0))
        else:
            assert await batch(theirs) == ()
        assert (await rung_until_heard(here, theirs, task(1))).head is not None
        assert (await rung_until_heard(there, mine, task(2))).head is not None
        await here.close()
        await there.close()


async def test_an_outage_holds_nobody_up_and_is_made_good(broker: Broker) -> None:
    async with Proxy(broker.url) as proxy:
        here, there = broker.through(proxy.port), broker.make(broker.url)
        await here.open()
        await there.open()
        mine, theirs = here.listen(), there.listen()
        await proxy.close()
        async with asyncio.timeout(PATIENCE):
            for _ in range(100):
                await here.ring([Bell(key(number), task(number)) for number in range(100)])
        rung = 0
        while rung < 100:
            rung += bool(await batch(mine))  # and a call to poll, once the cut is noticed
        await proxy.start()
        if not broker.resumes:
            assert await batch(mine) == ()
        keys: set[Key] = set()
        while len(keys) < 100 and (bells := await batch(theirs)):  # what was lost in the outage became "poll"
            keys |= {bell.key for bell in bells}
        await rung_until_heard(here, theirs, task(9999))
        await here.close()
        await there.close()


async def test_close_is_prompt_while_the_broker_is_away(broker: Broker) -> None:
    async with Proxy(broker.url) as proxy:
        notifier = broker.through(proxy.port)
        await notifier.open()
        listener = notifier.listen()
        await proxy.close()
        await notifier.ring([Bell(key(1), task(1))])
        async with asyncio.timeout(PATIENCE):
            await notifier.close()
            await notifier.close()
        with pytest.raises(StopAsyncIteration):
            await anext(listener)


@pytest.mark.parametrize("name", [name for name, make in sorted(BROKERS.items()) if make().kill is not None])
async def test_a_broker_that_ends_the_connection_is_reached_again(name: str) -> None:
    broker = BROKERS[name]()
    assert broker.kill is not None
    here, there = broker.make(broker.url), broker.make(broker.url)
    await here.open()
    await there.open()
    mine, theirs = here.listen(), there.listen()
    await broker.kill(broker.url)
    assert await batch(mine) == ()
    assert await batch(theirs) == ()
    await rung_until_heard(here, theirs, task(1))
    await rung_until_heard(there, mine, task(2))
    await here.close()
    await there.close()


async def test_listen_does_not_work_behind_pgbouncer() -> None:
    notifier = PostgresqlNotifier("postgresql://me:secret@127.0.0.1:6432/tasks?pgbouncer=true")
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:6432/tasks: LISTEN .* direct address") as told:
        await notifier.open()
    assert "secret" not in str(told.value)
    await notifier.close()


@pytest.mark.parametrize("prefix", ["", "two words", "-a", "x" * 41, "a;b"])
def test_a_prefix_that_is_no_name_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="the option prefix is 1 to 40 letters"):
        RedisNotifier(f"redis://127.0.0.1:1/0?prefix={prefix}")
