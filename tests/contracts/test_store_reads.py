"""What every task store answers outside of turns, and what it does for workers and erasers."""

import asyncio
import time

import pytest

from a2a_server.model.objects import Lane, Phase, Scope, State
from a2a_server.model.queries import DueKind, RowQuery, Snapshot, Table, TallyQuery, TaskQuery
from a2a_server.model.rows import Head, JournalKind, JournalRow, Key, MessageRow, StateRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, get_task, key, put
from tests.contracts.stores import Database
from tests.contracts.test_store import FAIR

LIMIT = 1_000_000
SECOND = 1_000_000


def numbers(keys: object) -> list[int]:
    assert isinstance(keys, list | tuple)
    return [int.from_bytes(each, "big") for each in keys]


# find, heads


async def test_a_visible_task_is_found_by_its_name_in_its_scope_only(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1), rows.task(2, visible=False), rows.task(3, tenant="t", owner="o")])
    assert await store.find(Scope(), "Echo", "task-1") == rows.task(1)
    assert await store.find(Scope("t", "o"), "Echo", "task-3") == rows.task(3, tenant="t", owner="o")
    for scope, agent, task_id in (
        (Scope(), "Echo", "task-2"),
        (Scope(), "Echo", "task-3"),
        (Scope("", "o"), "Echo", "task-1"),
        (Scope("t"), "Echo", "task-1"),
        (Scope(), "Other", "task-1"),
        (Scope(), "Echo", "TASK-1"),
    ):
        assert await store.find(scope, agent, task_id) is None


async def test_heads_tell_how_far_tasks_are(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1, last_n=7, cancel_at=9, fence=2), *(rows.task(n) for n in range(2, 600))])
    heads = await store.heads([key(n) for n in (1, 404_404, *range(2, 600))])
    assert heads.keys() == {key(n) for n in range(1, 600)}
    head = heads[key(1)]
    assert head == Head(7, State.SUBMITTED, Phase.READY, 9, 2)
    assert (type(head.state), type(head.phase)) == (State, Phase)
    assert await store.heads([]) == {}


# snapshot, events


async def test_a_snapshot_has_the_newest_messages_oldest_first(store: TaskStore) -> None:
    messages = [rows.message(1, seq) for seq in (1, 2, 3)]
    await put(store, new_tasks=[rows.task(1), rows.task(2)], messages=[*messages, rows.message(2, 1)])
    for history, expected in ((None, messages), (0, []), (2, messages[1:]), (9, messages)):
        snapshot = await store.snapshot(key(1), history)
        assert snapshot is not None
        assert snapshot.task == rows.task(1)
        assert list(snapshot.messages) == expected
    assert await store.snapshot(key(404), None) is None


async def test_a_snapshot_has_the_newest_takes_and_the_chunks_that_are_nowhere_else(store: TaskStore) -> None:
    opened = rows.artifact(1, id=0, take=2, first_n=3)
    small = rows.artifact(1, id=1, closed=True, first_n=5, last_n=6, body=b"small")
    large = rows.artifact(1, id=2, closed=True, first_n=7, last_n=7, location="x/2/1")
    ended = rows.artifact(1, id=3, closed=True, first_n=8, last_n=9)
    events = [
        rows.status(1, 1),
        rows.chunk(1, 2, 0),  # of the take before
        rows.chunk(1, 3, 0),
        rows.status(1, 4),
        rows.chunk(1, 5, 1),
        rows.chunk(1, 6, 1),
        rows.chunk(1, 7, 2),
        rows.chunk(1, 8, 3),
        rows.chunk(1, 9, 3),
        rows.chunk(1, 10, 0),
    ]
    await put(
        store,
        new_tasks=[rows.task(1, last_n=10)],
        events=[*events, rows.chunk(2, 4, 0)],
        artifacts=[large, small, opened, rows.artifact(1, id=0, take=1, first_n=2), ended, rows.artifact(2, take=9)],
    )
    assert await store.snapshot(key(1), None) == Snapshot(
        rows.task(1, last_n=10),
        (),
        (opened, small, large, ended),
        tuple(events[index] for index in (2, 7, 8, 9)),
    )


async def test_a_snapshot_is_found_by_the_name_of_its_task(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[rows.task(1, last_n=3), rows.task(2, visible=False), rows.task(3, tenant="t", owner="o")],
        events=[rows.status(1, 1), rows.chunk(1, 2, 0), rows.chunk(1, 3, 1)],
        messages=[rows.message(1, 1), rows.message(1, 2)],
        artifacts=[rows.artifact(1, id=0, first_n=2), rows.artifact(1, id=1, first_n=3, closed=True, body=b"small")],
    )
    for history in (None, 0, 1):
        found = await store.find_snapshot(Scope(), "Echo", "task-1", history)
        assert found is not None
        assert found == await store.snapshot(key(1), history)
    assert await store.find_snapshot(Scope("t", "o"), "Echo", "task-3", 0) == Snapshot(
        rows.task(3, tenant="t", owner="o")
    )
    for scope, agent, task_id in (
        (Scope(), "Echo", "task-2"),
        (Scope(), "Echo", "task-3"),
        (Scope(), "Other", "task-1"),
    ):
        assert await store.find_snapshot(scope, agent, task_id, None) is None


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_snapshot_is_of_one_moment_while_a_writer_appends(
    store: TaskStore, other: TaskStore, by_name: bool
) -> None:
    await put(
        store,
        new_tasks=[rows.task(1, last_n=1)],
        events=[rows.chunk(1, 1)],
        messages=[rows.message(1, 1)],
        artifacts=[rows.artifact(1, size=1)],
    )

    def append(loaded: Loaded) -> Changes:
        row = rows.next_rev(loaded.tasks[key(1)], last_n=loaded.tasks[key(1)].last_n + 1)
        return Changes(
            tasks=[row],
            events=[rows.chunk(1, row.last_n)],
            messages=[rows.message(1, row.last_n, at_n=row.last_n)],
            artifacts=[rows.artifact(1, size=row.last_n)],
        )

    async def write() -> None:
        for _ in range(60):
            await store.turn(Needs(tasks={key(1)}), append)

    writer = asyncio.create_task(write())
    seen: list[int] = []
    while not writer.done() or not seen:
        found = other.find_snapshot(Scope(), "Echo", "task-1", None) if by_name else other.snapshot(key(1), None)
        snapshot = await found
        assert snapshot is not None
        n = snapshot.task.last_n
        assert [event.n for event in snapshot.chunks] == list(range(1, n + 1))
        assert [message.seq for message in snapshot.messages] == list(range(1, n + 1))
        assert [take.size for take in snapshot.artifacts] == [n]
        seen.append(n)
    await writer
    assert seen == sorted(seen)
    assert (await get_task(other, 1)).last_n == 61


async def test_events_come_in_order_in_pages_of_a_number_and_a_size(store: TaskStore) -> None:
    events = [rows.status(1, n, b"x" * 100) for n in range(1, 11)]
    await put(store, new_tasks=[rows.task(1)], events=[*reversed(events), rows.status(2, 11)])
    assert list(await store.events(key(1), 0, 100, LIMIT)) == events
    assert list(await store.events(key(1), 4, 3, LIMIT)) == events[4:7]
    assert list(await store.events(key(1), 10, 3, LIMIT)) == []
    assert list(await store.events(key(1), 2, 100, 350)) == events[2:5]
    assert list(await store.events(key(1), 2, 100, 1)) == events[2:3]
    assert list(await store.events(key(404), 0, 100, LIMIT)) == []


async def test_bodies_are_any_bytes(store: TaskStore) -> None:
    bodies = [b"", b"\0", b"a\0b", bytes(range(256)), b"\xed\xa0\x80", b"x" * 3_000_000]
    await put(store, events=[rows.status(1, n, body) for n, body in enumerate(bodies, 1)])
    assert [event.body for event in await store.events(key(1), 0, 100, 10 * LIMIT)] == bodies


# due


async def test_alarms_are_due_when_they_are_past(database: Database) -> None:
    store = database.store(3600 * SECOND)
    await store.open()
    now = time.time_ns() // 1000
    assert await store.next_alarm() is None
    assert await store.due(DueKind.ALARM, 10) == []
    await put(
        store,
        new_tasks=[
            rows.task(1, due_at=now + 60 * SECOND),
            rows.task(2, due_at=now + 50 * SECOND, phase=Phase.FINAL),
            rows.task(3, due_at=now + 7200 * SECOND),
            rows.task(4),
        ],
    )
    assert numbers(await store.due(DueKind.ALARM, 10)) == [2, 1]
    assert numbers(await store.due(DueKind.ALARM, 1)) == [2]
    assert await store.next_alarm() == 0
    await put(store, tasks=[rows.next_rev((await get_task(store, n)), due_at=0) for n in (1, 2)])
    assert await store.next_alarm() == pytest.approx(3600 * SECOND, abs=20 * SECOND)
    await store.close()


async def test_orphans_are_leased_by_workers_that_are_dead_missing_or_unseen(database: Database) -> None:
    store, later = database.store(), database.store(100 * SECOND)
    await store.open()
    await later.open()
    await store.register(rows.worker(81, ttl=8 * SECOND))
    await store.register(rows.worker(82, ttl=8 * SECOND))
    await store.register(rows.worker(83, ttl=1000 * SECOND))
    await put(
        store,
        new_tasks=[
            rows.leased(1, key(81)),
            rows.leased(2, key(82)),
            rows.leased(3, key(83)),
            rows.leased(4, key(99)),
            rows.task(5, worker=key(99)),
        ],
        workers=[rows.worker(82, dead=True)],
    )
    assert sorted(numbers(await store.due(DueKind.ORPHAN, 10))) == [2, 4]
    assert sorted(numbers(await later.due(DueKind.ORPHAN, 10))) == [1, 2, 4]
    assert len(await later.due(DueKind.ORPHAN, 2)) == 2
    assert await asyncio.to_thread(later.beat, key(81))
    assert sorted(numbers(await later.due(DueKind.ORPHAN, 10))) == [2, 4]
    await store.close()
    await later.close()


async def test_held_tasks_are_due_when_their_gate_has_room(store: TaskStore) -> None:
    future = time.time_ns() // 1000 + 3600 * SECOND
    await put(
        store,
        gates=[
            rows.gate("full", capacity=1, used=1),
            rows.gate("overfull", capacity=1, used=2),
            rows.gate("zero", capacity=0),
            rows.gate("room", capacity=3, used=1),
            rows.gate("unlimited", used=99),
            rows.gate("closed", closed_until=future),
            rows.gate("open again", capacity=1, closed_until=1),
            rows.gate("holds none", capacity=9),
        ],
        new_tasks=[
            *(rows.held(n, "full") for n in (1, 2)),
            rows.held(3, "overfull"),
            rows.held(4, "zero"),
            *(rows.held(n, "room", rank=100 - n) for n in (10, 11, 12)),
            rows.held(13, "room", lane=Lane.HIGH, rank=99),
            *(rows.held(n, "unlimited") for n in (20, 21)),
            rows.held(30, "closed"),
            *(rows.held(n, "open again") for n in (40, 41)),
            rows.held(50, "rowless"),
            rows.task(60, held_by="rowless"),
        ],
    )
    due = numbers(await store.due(DueKind.HELD, 100))
    assert sorted(due) == [12, 13, 20, 21, 40, 50]
    assert due.index(13) < due.index(12)
    assert len(await store.due(DueKind.HELD, 3)) == 3


async def test_a_gate_with_much_room_leaves_places_to_the_others(store: TaskStore) -> None:
    await put(
        store,
        gates=[rows.gate("a", capacity=100), rows.gate("b", capacity=100)],
        new_tasks=[*(rows.held(n, "a") for n in range(1, 11)), rows.held(20, "b"), rows.held(30, "without a row")],
    )
    assert sorted(numbers(await store.due(DueKind.HELD, 6))) == [1, 2, 20, 30]
    assert len(await store.due(DueKind.HELD, 2)) == 2


# rows


async def test_rows_are_read_by_prefix_in_pages(store: TaskStore) -> None:
    values = [
        StateRow(scope, space, name, 1, 1, b"-")
        for scope in (key(1), key(2))
        for space in ("answer", "step")
        for name in ("a", "b", "c")
    ]
    await put(store, states=values)

    async def read(*prefix: str | bytes, after: tuple[str | bytes, ...] | None = None, limit: int = 100) -> object:
        page = await store.rows(RowQuery(Table.STATE, prefix, after, limit))
        return list(page.rows), page.more

    assert await read() == (values, False)
    assert await read(key(1)) == (values[:6], False)
    assert await read(key(1), "step") == (values[3:6], False)
    assert await read(key(1), "step", "b") == (values[4:5], False)
    assert await read(key(3)) == ([], False)
    assert await read(key(1), limit=4) == (values[:4], True)
    assert await read(key(1), after=(key(1), "step", "a"), limit=2) == (values[4:6], False)
    assert await read(after=(key(1), "step", "b"), limit=3) == (values[5:8], True)
    with pytest.raises(ValueError, match="scope, space, name"):
        await read(after=(key(1),))
    with pytest.raises(ValueError, match="scope, space, name"):
        await read(key(1), "step", "a", "more")


async def test_rows_of_every_table_can_be_read(store: TaskStore) -> None:
    entries = [JournalRow(key(1), n, JournalKind.LOG, 5, b"text") for n in (1, 4)]
    await put(
        store,
        journal=entries,
        messages=[rows.message(1, 1)],
        artifacts=[rows.artifact(1)],
        gates=[rows.gate("a")],
        fair={FAIR: 7},
        workers=[rows.worker(8)],
        edges=[rows.edge(1, 2)],
        tags=[rows.tag(1)],
        records=[rows.record("nightly")],
    )
    found = {table: list((await store.rows(RowQuery(table))).rows) for table in Table}
    assert found == {
        Table.ARTIFACT: [rows.artifact(1)],
        Table.EDGE: [rows.edge(1, 2)],
        Table.EDGE_TO: [rows.edge(1, 2)],
        Table.FAIR: [(FAIR, 7)],
        Table.GATE: [rows.gate("a")],
        Table.JOURNAL: entries,
        Table.MESSAGE: [rows.message(1, 1)],
        Table.PUSH: [],
        Table.RECORD: [rows.record("nightly")],
        Table.STATE: [],
        Table.TAG_OF: [rows.tag(1)],
        Table.WORKER: [rows.worker(8)],
    }
    assert (await store.rows(RowQuery(Table.JOURNAL, (key(1),), (key(1), 1)))).rows == entries[1:]


# Workers


async def test_a_worker_lives_while_it_beats(database: Database) -> None:
    store, later = database.store(), database.store(100 * SECOND)
    await store.open()
    await later.open()

    async def seen_at() -> int:
        return (await get(store, workers={key(8)})).workers[key(8)].seen_at

    assert not await asyncio.to_thread(store.beat, key(8))
    before = (await get(store)).now
    await store.register(rows.worker(8))
    first = await seen_at()
    assert before <= first <= (await get(store)).now
    assert await asyncio.to_thread(later.beat, key(8))
    second = await seen_at()
    assert 99 * SECOND < second - first < 160 * SECOND
    assert await asyncio.to_thread(store.beat, key(8))
    assert await seen_at() >= first
    await later.register(rows.worker(8, ttl=5))
    assert (await get(store, workers={key(8)})).workers[key(8)].ttl == 5
    await store.close()
    await later.close()


async def test_a_dead_worker_is_never_revived(store: TaskStore, other: TaskStore) -> None:
    await store.register(rows.worker(8))
    assert await asyncio.to_thread(store.beat, key(8))
    row = (await get(other, workers={key(8)})).workers[key(8)]
    await put(other, workers=[row._replace(dead=True)])
    assert not await asyncio.to_thread(store.beat, key(8))
    await store.register(rows.worker(8, ttl=77))
    assert not await asyncio.to_thread(store.beat, key(8))
    assert (await get(store, workers={key(8)})).workers == {key(8): row._replace(dead=True)}


async def test_beats_get_through_beside_a_writer(store: TaskStore, other: TaskStore) -> None:
    await store.register(rows.worker(8))
    await put(store, new_tasks=[rows.task(1)])

    def touch(loaded: Loaded) -> Changes:
        return Changes(tasks=[rows.next_rev(loaded.tasks[key(1)])])

    async def write() -> None:
        for _ in range(50):
            await store.turn(Needs(tasks={key(1)}), touch)

    writer = asyncio.create_task(write())
    beats = [await asyncio.to_thread(other.beat, key(8)) for _ in range(5)]
    await writer
    assert beats == [True] * 5


# erase


def everything_of(number: int) -> dict[str, list[object]]:
    return {
        "events": [rows.status(number, 1), rows.chunk(number, 2)],
        "journal": [JournalRow(key(number), 1, JournalKind.LEASED, 1, b"")],
        "messages": [rows.message(number, 1)],
        "artifacts": [rows.artifact(number)],
        "states": [StateRow(key(number), "step", "a", 1, 1, b"-")],
        "sent": [rows.sent(number, f"a{number}"), rows.sent(number, f"b{number}")],
    }


async def test_erase_takes_final_tasks_with_all_their_rows(database: Database, store: TaskStore) -> None:
    tasks = [rows.final(1), rows.final(2), rows.leased(3, key(8)), rows.final(4, visible=False)]
    await put(
        store,
        new_tasks=tasks,
        tally={
            ("a", rows.tally_key(tasks[0])): 1,
            ("b", rows.tally_key(tasks[0])): 1,
            ("a", rows.tally_key(tasks[2])): 1,
        },
    )
    for number in (1, 2, 3, 4):
        await put(store, **everything_of(number))
    wanted: list[Key] = [key(n) for n in (1, 3, 4, 404, 1)]
    assert await store.erase(wanted) == 2
    assert await store.erase(wanted) == 0
    assert await store.totals(TallyQuery()) == {rows.tally_key(tasks[0]): 1, rows.tally_key(tasks[2]): 1}
    sent = {rows.sent_key(f"{letter}{n}") for letter in "ab" for n in (1, 2, 3, 4)}
    loaded = await get(store, tasks={key(n) for n in (1, 2, 3, 4)}, sent=sent)
    assert loaded.tasks.keys() == {key(2), key(3)}
    assert {row.task for row in loaded.sent.values()} == {key(2), key(3)}
    for table in (Table.JOURNAL, Table.MESSAGE, Table.ARTIFACT, Table.STATE):
        assert [row[0] for row in (await store.rows(RowQuery(table))).rows] == [key(2), key(3)]
    for number, left in ((1, 0), (2, 2), (3, 2), (4, 0)):
        assert len(await store.events(key(number), 0, 10, LIMIT)) == left
    assert await store.erase([key(2)]) == 1
    assert await store.totals(TallyQuery()) == {rows.tally_key(tasks[2]): 1}
    assert database.faults() == []


async def test_bodies_of_every_size_come_back_whichever_way_they_are_read(store: TaskStore) -> None:
    bodies = [bytes([65 + n]) * size for n, size in enumerate((1, 16_384, 16_385, 300_000, 2))]
    await put(
        store,
        new_tasks=[rows.final(1, last_n=5), rows.final(2, last_n=5)],
        events=[rows.chunk(task, n, body=body) for task in (1, 2) for n, body in enumerate(bodies, 1)],
        messages=[rows.message(task, n)._replace(body=body) for task in (1, 2) for n, body in enumerate(bodies, 1)],
        artifacts=[rows.artifact(task, first_n=1, last_n=5, closed=False, body=b"") for task in (1, 2)],
    )
    assert await store.erase([key(1)]) == 1
    assert [event.body for event in await store.events(key(2), 0, 10, 1 << 20)] == bodies
    shown = await store.snapshot(key(2), None)
    assert shown is not None
    assert [message.body for message in shown.messages] == bodies
    assert [chunk.body for chunk in shown.chunks] == bodies
    listed = await store.rows(RowQuery(Table.MESSAGE, (key(2),)))
    assert [MessageRow._make(row).body for row in listed.rows] == bodies
    assert list(await store.events(key(1), 0, 10, 1 << 20)) == []


async def test_an_erased_name_can_be_given_again(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.final(1, id="name")], sent=[rows.sent(1)])
    await store.erase([key(1)])
    await put(store, new_tasks=[rows.task(2, id="name")], sent=[rows.sent(2)])
    assert (await get(store, sent={rows.sent_key()})).sent[rows.sent_key()].task == key(2)


async def test_many_tasks_are_erased_at_once(store: TaskStore) -> None:
    many = [rows.final(n) for n in range(600)]
    await put(store, new_tasks=many, tally={("a", rows.tally_key(many[0])): 600})
    assert await store.erase({row.key for row in many}) == 600
    assert await store.totals(TallyQuery()) == {}
    assert (await store.page(TaskQuery("", "local", "Echo"))).rows == []


async def test_many_tasks_are_erased_as_a_whole_or_not_at_all(store: TaskStore, database: Database) -> None:
    many = [rows.final(n) for n in range(600)]
    await put(store, new_tasks=[*many, rows.task(601)], tally={("a", rows.tally_key(many[0])): 600})
    await put(store, **everything_of(7))
    keys = [row.key for row in many]
    for other in (key(601), key(1404)):
        assert await store.erase([*keys, other], whole=True) == 0
    assert await store.totals(TallyQuery()) == {rows.tally_key(many[0]): 600}
    assert len(await store.events(key(7), 0, 10, LIMIT)) == 2
    assert await store.erase([*keys, keys[0]], whole=True) == 600
    assert await store.erase([], whole=True) == 0
    assert await store.totals(TallyQuery()) == {}
    assert list(await store.events(key(7), 0, 10, LIMIT)) == []
    assert database.faults() == []
