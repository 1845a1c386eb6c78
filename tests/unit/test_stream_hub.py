from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from a2a_server.codec import encode_chunk, encode_status
from a2a_server.engine.limits import Limits
from a2a_server.engine.stream import Hub, LoggedEvent, Watch
from a2a_server.errors import Draining
from a2a_server.model.objects import Artifact, Event, Phase, State, Text
from a2a_server.model.rows import EventKind, EventRow, Key, TaskRow
from a2a_server.model.turns import Bell, Changes, Loaded, Needs
from a2a_server.stores.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.unit.misbehaving import MisbehavingStore
from tests.unit.turns import MemoryTurns, key, submit

LIMITS = Limits(ring_events=4, ring_bytes=1000, rings_bytes=2000)


class Log:
    """A task's log in a store, and the doorbells of what is written to it."""

    def __init__(self, store: MisbehavingStore, number: int) -> None:
        self.store = store
        self.row: TaskRow = MemoryTurns().one(submit(number)).row
        self.row = self.row._replace(last_n=0, rev=0)

    async def write(self, *sizes: int, state: State = State.WORKING) -> Bell:
        """Commit one event of each size; the last one is a status event."""
        first = self.row.last_n + 1
        events = [self._event(n, size) for n, size in enumerate(sizes, first)]
        events[-1] = events[-1]._replace(kind=EventKind.STATUS, body=encode_status(state), artifact=None)
        new = not self.row.rev
        phase = Phase.FINAL if state is State.COMPLETED else Phase.LEASED
        self.row = self.row._replace(last_n=events[-1].n, state=state, phase=phase, rev=self.row.rev + 1)
        changes = Changes(events=events)
        (changes.new_tasks if new else changes.tasks).append(self.row)

        def decide(loaded: Loaded) -> Changes:
            return changes

        await self.store.inner.turn(Needs(), decide)
        return Bell(self.row.key, self.row, tuple(events))

    def _event(self, n: int, size: int) -> EventRow:
        body = encode_chunk(Artifact("a", (Text("x" * size),)), append=n > 1, last=False)
        return EventRow(self.row.key, n, EventKind.CHUNK, 1, 1, 0, body)


class Reader:
    """A follower that takes a batch when the test asks."""

    def __init__(self, hub: Hub, watch: Watch, after: int = 0) -> None:
        self._batches = hub.follow(watch, after)
        self.batches: list[Sequence[LoggedEvent]] = []

    async def read(self) -> list[int]:
        batch = await asyncio.wait_for(anext(self._batches), PATIENCE)
        self.batches.append(batch)
        return [event.row.n for event in batch]

    async def read_to(self, n: int) -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < n:
            seen += await self.read()
        return seen


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MisbehavingStore]:
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def hub(store: MisbehavingStore) -> Hub:
    return Hub(store, LIMITS)


@pytest.fixture
def log(store: MisbehavingStore) -> Log:
    return Log(store, 1)


async def loop_turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def ring(watch: Watch) -> list[int]:
    return [event.row.n for event in watch.ring]


async def test_what_bells_bring_is_read_from_the_ring(hub: Hub, store: MisbehavingStore, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reader = Reader(hub, watch)
        hub.on_bells([await log.write(1, 1)])
        assert await reader.read() == [1, 2]
        hub.on_bells([await log.write(1)])
        assert await reader.read() == [3]
    assert store.reads == 0


async def test_a_reader_waits_for_the_next_event(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reading = asyncio.create_task(Reader(hub, watch).read())
        await loop_turns()
        assert not reading.done()
        hub.on_bells([await log.write(1)])
        assert await asyncio.wait_for(reading, PATIENCE) == [1]


async def test_what_was_written_before_the_watch_is_paged(hub: Hub, store: MisbehavingStore, log: Log) -> None:
    await log.write(*[1] * 10)
    with hub.watch(log.row.key) as watch:
        watch.learn(log.row)
        assert await Reader(hub, watch).read_to(10) == list(range(1, 11))
        assert await Reader(hub, watch, after=7).read_to(10) == [8, 9, 10]
    assert store.reads == 4, "three pages of at most four, and one"


async def test_the_ring_keeps_the_newest_events(hub: Hub, store: MisbehavingStore, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        slow = Reader(hub, watch)
        for _ in range(10):
            hub.on_bells([await log.write(1)])
        assert ring(watch) == [7, 8, 9, 10]
        assert await Reader(hub, watch, after=6).read() == [7, 8, 9, 10]
        assert store.reads == 0
        assert await slow.read_to(10) == list(range(1, 11)), "a gap is paged from the log"
        assert store.reads > 0


async def test_the_ring_is_bounded_in_bytes(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        hub.on_bells([await log.write(300, 300, 300, 300)])
        assert watch.ring_bytes == sum(len(event.row.body) for event in watch.ring) <= LIMITS.ring_bytes
        assert ring(watch)[-1] == 4
        assert await Reader(hub, watch).read_to(4) == [1, 2, 3, 4]
        hub.on_bells([await log.write(2000, 1)])
        assert ring(watch) == [6]
        assert await Reader(hub, watch, after=4).read_to(6) == [5, 6]


@pytest.mark.parametrize("limit", [50, 2000])
async def test_all_rings_together_are_bounded(store: MisbehavingStore, limit: int) -> None:
    hub = Hub(store, replace(LIMITS, rings_bytes=limit))
    logs = [Log(store, number) for number in range(1, 11)]
    watches = [hub.watch(log.row.key) for log in logs]
    held = [watch.__enter__() for watch in watches]
    for _ in range(5):
        for log in logs:
            hub.on_bells([await log.write(300, 1)])
            assert hub._ring_bytes == sum(watch.ring_bytes for watch in held) <= limit
    for watch in held:
        assert await Reader(hub, watch).read_to(10) == list(range(1, 11))
    for each in watches:
        each.__exit__(None, None, None)
    assert (hub.watched, hub._ring_bytes) == (0, 0)


async def test_a_lost_bell_is_found_by_the_next_one(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reader = Reader(hub, watch)
        hub.on_bells([await log.write(1)])
        assert await reader.read() == [1]
        await log.write(1)
        hub.on_bells([await log.write(1)])
        assert ring(watch) == [3], "a ring has no gap"
        assert await reader.read_to(3) == [2, 3]


async def test_a_lost_bell_is_found_by_a_look_at_the_store(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reading = asyncio.create_task(Reader(hub, watch).read())
        settling = asyncio.create_task(hub.settle(watch, 0))
        await log.write(1, 1, state=State.COMPLETED)
        await hub.check()
        assert await asyncio.wait_for(reading, PATIENCE) == [1, 2]
        await asyncio.wait_for(settling, PATIENCE)


async def test_what_one_reader_learns_from_the_store_wakes_those_whose_bell_was_lost(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reading = asyncio.create_task(Reader(hub, watch).read())
        settling = asyncio.create_task(hub.settle(watch, 0))
        await asyncio.sleep(0)
        await log.write(1, 1, state=State.COMPLETED)
        with hub.watch(log.row.key) as same:
            same.learn(log.row)
        await hub.check()
        assert await asyncio.wait_for(reading, PATIENCE) == [1, 2]
        await asyncio.wait_for(settling, PATIENCE)


async def test_a_look_that_the_store_does_not_answer_changes_nothing(
    hub: Hub, store: MisbehavingStore, log: Log
) -> None:
    await hub.check()
    with hub.watch(log.row.key) as watch:
        await log.write(1)
        store.deaf = 1
        await hub.check()
        assert watch.last_n == 0
        await hub.check()
        assert watch.last_n == 1


async def test_bells_may_repeat_and_come_late(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        first, second = await log.write(1), await log.write(1, state=State.COMPLETED)
        for bell in (second, first, second, first):
            hub.on_bells([bell])
        assert (watch.last_n, watch.state, ring(watch)) == (2, State.COMPLETED, [2])
        assert await Reader(hub, watch).read_to(2) == [1, 2]


async def test_a_bell_from_another_process_brings_no_events(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        hub.on_bells([(await log.write(1, 1))._replace(events=())])
        assert await Reader(hub, watch).read() == [1, 2]
        hub.on_bells([await log.write(1), Bell(key(9), None)])
        assert await Reader(hub, watch, after=2).read() == [3]


async def test_a_slow_reader_holds_nothing(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        slow, quick = Reader(hub, watch), Reader(hub, watch)
        hub.on_bells([await log.write(1)])
        assert await slow.read() == await quick.read() == [1]
        for n in range(2, 40):
            hub.on_bells([await log.write(1)])
            assert await quick.read() == [n]
        assert len(watch.ring) == LIMITS.ring_events
        assert await slow.read() == [2, 3, 4, 5]
        assert await slow.read_to(39) == list(range(6, 40))


async def test_readers_of_one_event_share_it_and_render_it_once(hub: Hub, log: Log) -> None:
    rendered: list[Event] = []

    def render(event: Event) -> bytes:
        rendered.append(event)
        return b"form"

    with hub.watch(log.row.key) as watch:
        readers = [Reader(hub, watch) for _ in range(5)]
        hub.on_bells([await log.write(1)])
        for reader in readers:
            await reader.read()
        events = [reader.batches[0][0] for reader in readers]
        assert all(event is events[0] for event in events)
        assert [event.form("1.0", render) for event in events] == [b"form"] * 5
        assert [event.form("0.1", render) for event in events] == [b"form"] * 5
        assert rendered == [events[0].event] * 2
        assert rendered[0] is rendered[1]


async def test_a_watch_is_shared_while_somebody_holds_it(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as first:
        with hub.watch(log.row.key) as second:
            assert second is first
        hub.on_bells([await log.write(1)])
        assert (hub.watched, first.last_n) == (1, 1)
    assert hub.watched == 0
    hub.on_bells([await log.write(1)])
    with hub.watch(log.row.key) as again:
        assert (again is first, again.last_n) == (False, 0)


async def test_a_reader_that_goes_away_leaves_no_waiter(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        reading = asyncio.create_task(Reader(hub, watch).read())
        await loop_turns()
        assert len(watch._waiters) == 1
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert not watch._waiters


async def test_what_is_learned_late_takes_nothing_back(hub: Hub, log: Log) -> None:
    old = (await log.write(1)).row
    assert old is not None
    with hub.watch(log.row.key) as watch:
        hub.on_bells([await log.write(1, state=State.COMPLETED)])
        watch.learn(old)
        assert (watch.last_n, watch.state) == (2, State.COMPLETED)


# Waiting for the end


async def test_a_wait_ends_with_a_terminal_state_behind_its_start(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        hub.on_bells([await log.write(1, state=State.INPUT_REQUIRED)])
        await asyncio.wait_for(hub.settle(watch, 0), PATIENCE)
        waiting = asyncio.create_task(hub.settle(watch, 1))
        hub.on_bells([await log.write(1)])
        await loop_turns()
        assert not waiting.done()
        hub.on_bells([await log.write(1, state=State.COMPLETED)])
        await asyncio.wait_for(waiting, PATIENCE)


async def test_a_stop_ends_every_wait_and_stream(hub: Hub, log: Log) -> None:
    with hub.watch(log.row.key) as watch:
        hub.on_bells([await log.write(1)])
        behind, waiting = Reader(hub, watch), asyncio.create_task(hub.settle(watch, 1))
        following = asyncio.create_task(Reader(hub, watch, after=1).read())
        await loop_turns()
        hub.close()
        for each in (waiting, following):
            with pytest.raises(Draining):
                await asyncio.wait_for(each, PATIENCE)
        assert await behind.read() == [1], "what is there is still given"
        with pytest.raises(Draining):
            await behind.read()
        with pytest.raises(Draining):
            await asyncio.wait_for(hub.settle(watch, 1), PATIENCE)
    with pytest.raises(Draining), hub.watch(log.row.key):
        pass


async def test_a_look_wakes_nobody_without_news(hub: Hub, log: Log) -> None:
    await log.write(1)
    with hub.watch(log.row.key) as watch:
        await hub.check()
        assert await Reader(hub, watch).read() == [1]
        waiting = asyncio.create_task(watch.moved())
        await loop_turns()
        await hub.check()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting], timeout=PATIENCE)


def test_an_unknown_task_is_watched_in_vain() -> None:
    watch = Watch(Key(b"k"))
    assert watch.since(0) == []
