"""What doorbells told of a task, when all of them came and when one is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from a2a_server.codec import encode_chunk, encode_status
from a2a_server.engine.limits import Limits
from a2a_server.engine.stream import Hub
from a2a_server.engine.told import Told
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Artifact, State, Text
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import ArtifactRow, EventKind, EventRow, Key, MessageRow, TaskRow
from a2a_server.model.turns import Bell, Loaded
from a2a_server.stores.sqlite import SqliteStore
from tests.unit.misbehaving import MisbehavingStore
from tests.unit.turns import START, MemoryTurns, submit

ROW: TaskRow = MemoryTurns().one(submit(1)).row


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MisbehavingStore]:
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    yield store
    await store.close()


def event(n: int, artifact: int | None = None) -> EventRow:
    chunk = encode_chunk(Artifact("a", (Text("x"),)), append=False, last=False)
    kind, body = (EventKind.STATUS, encode_status(State.WORKING)) if artifact is None else (EventKind.CHUNK, chunk)
    return EventRow(ROW.key, n, kind, START, 1, artifact, body)


def take(id: int, first_n: int, *, take: int = 1, last_n: int = 0, body: bytes = b"") -> ArtifactRow:
    closed = bool(last_n)
    return ArtifactRow(ROW.key, id, take, first_n, last_n, closed, f"a{id}", "text/plain", 1, "", START, "", body)


def message(seq: int, body: bytes = b"said") -> MessageRow:
    return MessageRow(ROW.key, seq, seq, 1, f"m{seq}", body)


def bell(rev: int, last_n: int, *events: EventRow, takes: tuple[ArtifactRow, ...] = (), said: int = 0) -> Bell:
    row = ROW._replace(rev=rev, last_n=last_n)
    return Bell(ROW.key, row, events, takes, (message(said),) if said else ())


def taken_in(told: Told, *bells: Bell) -> list[bool]:
    return [bell.row is not None and told.take_in(bell.row, bell) for bell in bells]


def test_bells_from_the_first_one_on_add_up_to_a_snapshot() -> None:
    told = Told()
    assert told.snapshot([], None) is None
    log = [event(1), event(2, 1), event(3, 0), event(4, 1), event(5, 2), event(6, 0)]
    bells = (
        bell(1, 1, log[0], said=1),
        bell(2, 3, log[1], log[2], takes=(take(1, 2), take(0, 3))),
        bell(3, 3),
        bell(4, 5, log[3], log[4], takes=(take(1, 2, last_n=4), take(2, 5, last_n=5, body=b"whole")), said=4),
        bell(5, 6, log[5], takes=(take(0, 6, take=2),), said=6),
    )
    assert taken_in(told, *bells) == [True] * 5
    row, takes = ROW._replace(rev=5, last_n=6), (take(0, 6, take=2), take(1, 2, last_n=4), bells[3].takes[1])
    chunks = (log[1], log[3], log[5])
    for history, expected in ((None, (1, 4, 6)), (0, ()), (2, (4, 6)), (9, (1, 4, 6))):
        assert told.snapshot(log, history) == Snapshot(row, tuple(map(message, expected)), takes, chunks)
    assert told.snapshot(log[1:], 0) is not None
    assert told.snapshot(log[2:], 0) is None, "a chunk is missing that is nowhere else"
    assert told.snapshot(log[:-1], 0) is None
    assert told.size == 3 * len(b"said") + len(b"whole")


def test_a_bell_out_of_order_ends_the_account() -> None:
    first, second, third = bell(1, 1, event(1)), bell(2, 2, event(2)), bell(3, 3, event(3))
    assert taken_in(Told(), second) == [False], "the task had begun before"
    assert taken_in(Told(), first, third) == [True, False], "one was lost"
    assert taken_in(Told(), first, first) == [True, False], "one came twice"
    assert taken_in(Told(), first, second, first) == [True, True, False], "one came late"


def test_what_is_written_of_a_task_that_does_not_change_is_told() -> None:
    turn = Turn(Loaded(START, tasks={ROW.key: ROW}), "shard")
    turn.artifact(take(0, 2))
    turn.changes()
    assert turn.bells == [Bell(ROW.key, ROW, (), (take(0, 2),), ())]


def test_a_chunk_that_is_a_whole_take_is_kept_whatever_the_ring_has() -> None:
    told = Told()
    log = [event(1), event(2, 0), event(3, 1), event(4, 1)]
    told.take_in(ROW._replace(rev=1, last_n=1), bell(1, 1, log[0]))
    told.take_in(
        ROW._replace(rev=2, last_n=4), bell(2, 4, *log[1:], takes=(take(0, 2, last_n=2), take(1, 3, last_n=4)))
    )
    whole = told.snapshot(log[2:], 0)
    assert whole is not None
    assert whole.chunks == tuple(log[1:])
    assert told.size == len(log[1].body)
    again = event(5, 0)
    told.take_in(ROW._replace(rev=3, last_n=5), bell(3, 5, again, takes=(take(0, 5, take=2, last_n=5),)))
    replaced = told.snapshot([*log[2:], again], 0)
    assert replaced is not None
    assert replaced.chunks == (log[2], log[3], again)
    assert told.size == len(again.body)


def test_an_account_counts_as_part_of_the_rings(store: MisbehavingStore) -> None:
    hub = Hub(store, Limits(ring_bytes=1000, rings_bytes=1500))
    with hub.watch(ROW.key, whole=True) as watch:
        hub.on_bells([bell(1, 1, event(1), said=1)])
        assert watch.ring_bytes == hub._ring_bytes == len(event(1).body)
        assert hub._told_bytes == len(b"said")
        assert watch.snapshot(None) == Snapshot(ROW._replace(rev=1, last_n=1), (message(1),))
        hub.on_bells([bell(2, 2, event(2))._replace(messages=(message(2, b"x" * 1500),))])
        assert watch.snapshot(None) is None
        assert watch.ring_bytes == hub._ring_bytes == sum(len(each.row.body) for each in watch.ring)
    assert (hub._ring_bytes, hub._told_bytes) == (0, 0)
    with hub.watch(ROW.key) as watch:
        hub.on_bells([bell(1, 1, event(1))])
        assert watch.snapshot(None) is None, "nobody asked for it"


async def test_when_bells_were_lost_nothing_told_is_whole(store: MisbehavingStore) -> None:
    hub = Hub(store, Limits())
    with hub.watch(ROW.key, whole=True) as watch:
        hub.on_bells([bell(1, 1, event(1), said=1)])
        await hub.on_silence()
        assert (watch.told, watch.ring_bytes) == (None, len(event(1).body))


def test_sends_that_wait_leave_streams_their_rings(store: MisbehavingStore) -> None:
    hub = Hub(store, replace(Limits(), rings_bytes=10_000, ring_bytes=10_000))
    waiting = hub.watch(Key(b"w" * 16), whole=True)
    said = MessageRow(waiting.watch.key, 1, 1, 1, "m", b"x" * 9_900)
    hub.on_bells([Bell(waiting.watch.key, ROW._replace(key=waiting.watch.key, rev=1, last_n=0), (), (), (said,))])
    stream = hub.watch(Key(b"s" * 16))
    for n in range(1, 9):
        new = event(n, 0)._replace(task=stream.watch.key)
        hub.on_bells([Bell(stream.watch.key, ROW._replace(key=stream.watch.key, rev=n, last_n=n), (new,))])
    assert len(stream.watch.ring) == 8
