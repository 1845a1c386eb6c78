"""What every task store does in a turn, whatever else happens at the same time."""

import asyncio
import time
from dataclasses import replace

import pytest

from a2a_server.errors import Conflict, DataRejected, SchemaMismatch, StoreUnavailable
from a2a_server.model.objects import Lane, Phase, Scope, State
from a2a_server.model.queries import RowQuery, Table, TallyQuery
from a2a_server.model.rows import FairKey, JournalKind, JournalRow, SentRow, StateRow, TaskRow
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get, get_task, key, put, refused, writes
from tests.contracts.stores import Database
from tests.patience import PATIENCE

FAIR = FairKey("shard", "echo", Lane.NORMAL, "", "local")
LIMIT = 1_000_000


async def claim(store: TaskStore, *claims: ClaimNeed) -> list[tuple[int, ...]]:
    loaded = await get(store, claims=list(claims))
    assert all(found in loaded.tasks for keys in loaded.claims for found in keys)
    return [numbers(keys) for keys in loaded.claims]


def numbers(keys: tuple[bytes, ...]) -> tuple[int, ...]:
    return tuple(int.from_bytes(each, "big") for each in keys)


# Opening and closing


async def test_what_was_committed_is_there_for_the_next_store(database: Database) -> None:
    first = database.store()
    await first.open()
    await put(first, new_tasks=[rows.task(1)], events=[rows.status(1, 1)])
    await first.close()
    second = database.store()
    await second.open()
    assert await get_task(second, 1) == rows.task(1)
    assert await second.events(key(1), 0, 10, LIMIT) == [rows.status(1, 1)]
    await second.close()


async def test_a_store_may_be_closed_twice_and_answers_no_more(database: Database) -> None:
    store = database.store()
    await store.open()
    await store.close()
    await store.close()
    for ask in (put(store), store.find(Scope(), "Echo", "task-1"), store.erase([key(1)])):
        with pytest.raises(StoreUnavailable):
            await ask
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(store.beat, key(1))


async def test_a_store_that_was_never_opened_may_be_closed(database: Database) -> None:
    await database.store().close()


async def test_many_stores_open_a_new_database_at_once(database: Database) -> None:
    stores = [database.store() for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    await put(stores[0], new_tasks=[rows.task(1)])
    assert await get_task(stores[-1], 1) == rows.task(1)
    await asyncio.gather(*(store.close() for store in stores))
    assert database.faults() == []


async def test_a_newer_schema_is_refused_with_what_to_do(database: Database) -> None:
    store = database.store()
    await store.open()
    await store.close()
    database.make_newer()
    with pytest.raises(SchemaMismatch, match=r"9999.*start the newer server"):
        await database.store().open()


async def test_a_database_of_another_program_is_refused(database: Database) -> None:
    database.make_foreign()
    with pytest.raises(SchemaMismatch, match="another program"):
        await database.store().open()


async def test_a_database_out_of_reach_is_unavailable(database: Database) -> None:
    database.unlink()
    with pytest.raises(StoreUnavailable):
        await database.store().open()


# What a turn reads and writes


async def test_every_kind_of_row_comes_back_as_it_went(store: TaskStore) -> None:
    task = rows.task(1, gates=("a", "b*2"), parent=key(9), status=b"\0\xff", due_at=5, visible=False, rank=2**53 - 1)
    event = rows.chunk(1, 1, body=b"\0nul\0")
    entry = JournalRow(key(1), 3, JournalKind.LEASED, 7, b"")
    message = rows.message(1, 1)
    take = rows.artifact(1, name="naïve 🎈")
    value = StateRow(key(1), "step", "first", 1, 1, b"value")
    gate = rows.gate("a", capacity=3)
    await put(
        store,
        new_tasks=[task],
        events=[event],
        journal=[entry],
        messages=[message],
        artifacts=[take],
        states=[value],
        sent=[rows.sent(1)],
        gates=[gate],
        fair={FAIR: 42},
        workers=[rows.worker(8)],
    )
    loaded = await get(
        store,
        tasks={key(1), key(404)},
        names={rows.name(1), rows.name(404)},
        sent={rows.sent_key(), rows.sent_key("unknown")},
        fair={FAIR, FAIR._replace(owner="other")},
        gates={"a", "unknown"},
        workers={key(8), key(404)},
        takes={key(1)},
    )
    assert loaded.tasks == {key(1): task}
    assert loaded.names == {rows.name(1): key(1)}
    assert loaded.sent == {rows.sent_key(): rows.sent(1)}
    assert loaded.fair == {FAIR: 42}
    assert loaded.gates == {"a": gate}
    assert loaded.workers == {key(8): rows.worker(8)}
    assert loaded.takes == {key(1): (take,)}
    assert await store.events(key(1), 0, 10, LIMIT) == [event]
    for table, row in ((Table.JOURNAL, entry), (Table.MESSAGE, message), (Table.STATE, value)):
        assert (await store.rows(RowQuery(table))).rows == [row]
    got = loaded.tasks[key(1)]
    assert [type(each) for each in got] == [type(each) for each in task]


async def test_a_task_has_no_gates(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1, gates=())])
    assert (await get_task(store, 1)).gates == ()


async def test_nothing_is_asked_and_nothing_found(store: TaskStore) -> None:
    loaded = await get(store)
    assert loaded == Loaded(now=loaded.now)


async def test_a_turn_returns_what_was_loaded(store: TaskStore) -> None:
    seen: list[Loaded] = []

    def decide(loaded: Loaded) -> Changes:
        seen.append(loaded)
        return Changes()

    assert await store.turn(Needs(tasks={key(1)}), decide) is seen[0]


async def test_more_rows_than_one_statement_takes(store: TaskStore) -> None:
    many = range(1, 700)
    await put(
        store,
        new_tasks=[rows.task(n) for n in many],
        sent=[rows.sent(n, f"m{n}") for n in many],
        fair={FAIR._replace(owner=str(n)): n for n in many},
    )
    loaded = await get(store, tasks={key(n) for n in many})
    assert loaded.tasks == {key(n): rows.task(n) for n in many}
    loaded = await get(
        store,
        names={rows.name(n) for n in many},
        sent={rows.sent_key(f"m{n}") for n in many},
        fair={FAIR._replace(owner=str(n)) for n in many},
    )
    assert len(loaded.names) == len(loaded.tasks) == len(loaded.sent) == len(loaded.fair) == len(many)


async def test_now_is_in_microseconds_and_never_goes_back(database: Database) -> None:
    hour = 3_600_000_000
    store = database.store(hour)
    await store.open()
    before = time.time_ns() // 1000
    moments = [(await get(store)).now for _ in range(50)]
    after = time.time_ns() // 1000
    assert moments == sorted(moments)
    assert before + hour - 1_000_000 <= moments[0] <= moments[-1] <= after + hour + 1_000_000
    await store.close()


FIELDS: list[dict[str, object]] = [
    {"last_n": 2, "status": b"other"},
    {"phase": Phase.LEASED, "worker": key(8), "fence": 1, "due_at": 99, "crashes": 1, "status_at": 2_000},
    {"phase": Phase.HELD, "held_by": "client:local", "lane": Lane.HIGH, "rank": 5},
    {"phase": Phase.FINAL, "state": State.FAILED, "visible": False, "cancel_at": 7, "deadline_at": 8},
    {"gates": ("x",), "queue": "other", "context": "other", "skill": "other", "spec": b"other"},
    {"attempt": 2, "max_attempts": 1, "unmet": 3, "pushes": 4, "journal_n": 5, "parent": key(7), "format": 2},
    {"lane": Lane.LOW},
    {"due_at": 11},
    {"pushes": 7, "unmet": 1},
    {"queue": "third", "gates": ("x", "y*3"), "max_attempts": 9, "deadline_at": 12, "spec": b"third"},
]


@pytest.mark.parametrize("known", [True, False])
async def test_any_field_of_a_task_can_change(store: TaskStore, known: bool) -> None:
    row = rows.task(1)
    await put(store, new_tasks=[row])
    for fields in FIELDS:
        row = rows.next_rev(row, **fields)
        await store.turn(Needs(tasks={key(1)} if known else set()), writes(Changes(tasks=[row])))
        assert await get_task(store, 1) == row
    assert (await get(store, names={rows.name(1)})).tasks == {key(1): row}


async def test_rows_that_exist_are_replaced(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[rows.task(1), rows.task(2)],
        artifacts=[rows.artifact(1)],
        states=[StateRow(key(1), "a", "b", 1, 1, b"old")],
        sent=[rows.sent(1)],
        fair={FAIR: 1},
    )
    take = rows.artifact(1, closed=True, last_n=4, size=3, sha256="ab", body=b"new", location="x", name="other")
    value = StateRow(key(1), "a", "b", 2, 3, b"new")
    await put(store, artifacts=[take], states=[value], sent=[rows.sent(2, at_n=7)], fair={FAIR: 2})
    loaded = await get(store, sent={rows.sent_key()}, fair={FAIR}, takes={key(1)})
    assert loaded.sent == {rows.sent_key(): rows.sent(2, at_n=7)}
    assert loaded.fair == {FAIR: 2}
    assert loaded.takes == {}
    assert (await store.rows(RowQuery(Table.ARTIFACT))).rows == [take]
    assert (await store.rows(RowQuery(Table.STATE))).rows == [value]


async def test_a_state_without_a_body_is_forgotten(store: TaskStore) -> None:
    kept, gone = StateRow(key(1), "a", "kept", 1, 1, b"x"), StateRow(key(1), "a", "gone", 1, 1, b"x")
    await put(store, states=[kept, gone])
    await put(store, states=[gone._replace(body=b""), StateRow(key(1), "a", "never", 1, 1, b"")])
    assert (await store.rows(RowQuery(Table.STATE))).rows == [kept]


async def test_the_last_word_on_a_state_counts(store: TaskStore) -> None:
    first, empty, last = (StateRow(key(1), "a", "b", 1, 1, body) for body in (b"first", b"", b"last"))
    await put(store, states=[first, empty, last])
    assert (await store.rows(RowQuery(Table.STATE))).rows == [last]
    await put(store, states=[first, last, empty])
    assert (await store.rows(RowQuery(Table.STATE))).rows == []


async def test_counts_are_added(store: TaskStore, other: TaskStore) -> None:
    counted = rows.tally_key(rows.task(1))
    await put(store, tally={("a", counted): 5})
    await put(other, tally={("b", counted): 2})
    await put(store, tally={("a", counted): -3})
    assert await other.totals(TallyQuery()) == {counted: 4}


# All or nothing


async def test_what_decide_raises_comes_out_unchanged_and_writes_nothing(store: TaskStore) -> None:
    for error in (ValueError("x"), OverflowError("x"), Conflict("x"), KeyError("x")):
        calls = 0

        def decide(loaded: Loaded, error: Exception = error) -> Changes:
            nonlocal calls
            calls += 1
            raise error

        with pytest.raises(type(error)) as caught:
            await store.turn(Needs(tasks={key(1)}), decide)
        assert caught.value is error
        assert calls == 1
    await put(store, new_tasks=[rows.task(1)])


async def test_even_a_stop_iteration_ends_the_turn(store: TaskStore) -> None:
    def decide(loaded: Loaded) -> Changes:
        raise StopIteration

    with pytest.raises((StopIteration, RuntimeError)):
        await asyncio.wait_for(store.turn(Needs(), decide), PATIENCE)
    await put(store, new_tasks=[rows.task(1)])


SURROGATE = "half \ud800 of a pair"
REJECTED = {
    "surrogate": Changes(new_tasks=[rows.task(2, context=SURROGATE)]),
    "surrogate gate": Changes(new_tasks=[rows.task(2, gates=(SURROGATE,))]),
    "number": Changes(new_tasks=[rows.task(2, rank=2**63)]),
    "joined gates": Changes(new_tasks=[rows.task(2, gates=("a\nb",))]),
    "nameless gate": Changes(new_tasks=[rows.task(2, gates=("",))]),
    "event twice": Changes(events=[rows.status(1, 1), rows.status(1, 1)]),
    "sent": Changes(sent=[rows.sent(1, SURROGATE)]),
    "tally": Changes(tally={(SURROGATE, rows.tally_key(rows.task(1))): 1}),
    "fair": Changes(fair={FAIR._replace(owner=SURROGATE): 1}),
    "gate": Changes(gates=[rows.gate(SURROGATE)]),
    "tag": Changes(tags=[rows.tag(1, SURROGATE)]),
    "gone tag": Changes(gone_tags=[rows.tag(1, SURROGATE)]),
    "record": Changes(records=[rows.record(SURROGATE)]),
    "moment of a record": Changes(records=[rows.record("a", due_at=2**63)]),
}


@pytest.mark.parametrize("case", sorted(REJECTED))
async def test_a_value_that_cannot_be_kept_is_rejected_and_nothing_written(store: TaskStore, case: str) -> None:
    await put(store, new_tasks=[rows.task(1)])
    changes = replace(REJECTED[case], tasks=[rows.next_rev(rows.task(1), last_n=5)], messages=[rows.message(1, 1)])
    with pytest.raises(DataRejected):
        await store.turn(Needs(), writes(changes))
    assert await get_task(store, 1) == rows.task(1)
    assert (await store.rows(RowQuery(Table.MESSAGE))).rows == []
    assert (await store.rows(RowQuery(Table.GATE))).rows == []
    assert await store.events(key(1), 0, 10, LIMIT) == []


async def test_a_name_that_no_task_can_have_is_rejected(store: TaskStore) -> None:
    with pytest.raises(DataRejected):
        await get(store, names={rows.name(1)._replace(id=SURROGATE)})
    with pytest.raises(DataRejected):
        await store.find(Scope(), "Echo", SURROGATE)


async def test_a_cancelled_caller_leaves_a_working_store(store: TaskStore) -> None:
    turns = [asyncio.create_task(put(store, new_tasks=[rows.task(n)])) for n in range(20)]
    await asyncio.sleep(0)
    for turn in turns:
        turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    await put(store, new_tasks=[rows.task(99)])
    assert await get_task(store, 99) == rows.task(99)


# Guards


async def test_a_task_that_changed_is_decided_again_on_fresh_rows(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1, rev=5)])
    seen: list[TaskRow] = []

    def decide(loaded: Loaded) -> Changes:
        row = loaded.tasks[key(1)]
        seen.append(row)
        stale = row._replace(rev=row.rev - 1) if len(seen) == 1 else row
        n = len(seen)
        return Changes(tasks=[rows.next_rev(stale, last_n=n + 1)], events=[rows.status(1, n + 1)])

    await store.turn(Needs(tasks={key(1)}), decide)
    assert len(seen) == 2
    assert await get_task(store, 1) == rows.task(1, rev=6, last_n=3)
    assert [event.n for event in await store.events(key(1), 0, 10, LIMIT)] == [3]


async def test_a_conflict_that_stays_comes_out(store: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1)], gates=[rows.gate("a"), rows.gate("b", rev=1)])
    message = [rows.message(1, 1)]
    assert await refused(store, Changes(messages=message, tasks=[rows.task(1, rev=3)])) == 6
    assert await refused(store, Changes(messages=message, tasks=[rows.task(404, rev=2)])) == 6
    assert await refused(store, Changes(messages=message, new_tasks=[rows.task(2, id="task-1")])) == 6
    assert await refused(store, Changes(messages=message, gates=[rows.gate("a", rev=3)])) == 6
    assert await refused(store, Changes(messages=message, gates=[rows.gate("a", rev=1)])) == 6
    assert await refused(store, Changes(messages=message, gates=[rows.gate("unknown", rev=2)])) == 6
    assert await get_task(store, 1) == rows.task(1)
    assert (await store.rows(RowQuery(Table.MESSAGE))).rows == []


async def test_a_gate_is_replaced_by_its_next_revision(store: TaskStore) -> None:
    await put(store, gates=[rows.gate("a", capacity=1), rows.gate("b")])
    changed = rows.gate("a", rev=2, used=1, tokens=2, refilled_at=3, closed_until=4, reason="why")
    await put(store, gates=[changed, rows.gate("c")])
    assert (await store.rows(RowQuery(Table.GATE))).rows == [changed, rows.gate("b"), rows.gate("c")]


async def test_the_same_id_may_exist_in_every_scope(store: TaskStore) -> None:
    tasks = [
        rows.task(1, id="same"),
        rows.task(2, id="same", tenant="t"),
        rows.task(3, id="same", owner="o"),
        rows.task(4, id="same", agent="a"),
    ]
    await put(store, new_tasks=tasks)
    assert (await get(store, names={tasks[2].name})).names == {tasks[2].name: key(3)}


# Races


async def test_two_stores_that_count_on_one_row_lose_nothing(store: TaskStore, other: TaskStore) -> None:
    await put(store, new_tasks=[rows.task(1)], gates=[rows.gate("client:local")])

    def count(loaded: Loaded) -> Changes:
        row, gate = loaded.tasks[key(1)], loaded.gates["client:local"]
        return Changes(
            tasks=[rows.next_rev(row, last_n=row.last_n + 1)],
            events=[rows.status(1, row.last_n + 1)],
            gates=[gate._replace(used=gate.used + 1, rev=gate.rev + 1)],
        )

    await asyncio.gather(*(each.turn(Needs(tasks={key(1)}), count) for each in [store, other] * 40))
    assert await get_task(store, 1) == rows.task(1, last_n=81, rev=81)
    assert (await get(other, gates={"client:local"})).gates["client:local"].used == 80
    assert [event.n for event in await other.events(key(1), 0, 100, LIMIT)] == list(range(2, 82))


async def test_one_of_two_stores_makes_a_row_and_the_other_sees_it(store: TaskStore, other: TaskStore) -> None:
    async def send(each: TaskStore, number: int, message_id: str) -> SentRow | None:
        known: list[SentRow] = []

        def decide(loaded: Loaded) -> Changes:
            known[:] = loaded.sent.values()
            if known:
                assert known[0].task in loaded.tasks
                return Changes()
            return Changes(new_tasks=[rows.task(number)], sent=[rows.sent(number, message_id)])

        await each.turn(Needs(sent={rows.sent_key(message_id)}), decide)
        return known[0] if known else None

    for turn in range(20):
        found = await asyncio.gather(
            send(store, 100 + turn, f"m{turn}"),
            send(other, 200 + turn, f"m{turn}"),
            send(store, 300 + turn, f"m{turn}"),
        )
        (winner,) = [number for number, row in zip((100, 200, 300), found, strict=True) if row is None]
        assert [row.task for row in found if row] == [key(winner + turn)] * 2


async def test_one_of_two_stores_gives_a_name(store: TaskStore, other: TaskStore) -> None:
    async def submit(each: TaskStore, number: int, id: str) -> bool:
        made = False

        def decide(loaded: Loaded) -> Changes:
            nonlocal made
            made = not loaded.names
            return Changes(new_tasks=[rows.task(number, id=id)]) if made else Changes()

        await each.turn(Needs(names={rows.name(1)._replace(id=id)}), decide)
        return made

    for turn in range(20):
        made = await asyncio.gather(submit(store, 100 + turn, f"t{turn}"), submit(other, 200 + turn, f"t{turn}"))
        assert sorted(made) == [False, True]


async def test_two_stores_make_gates_fair_rows_and_counts_together(store: TaskStore, other: TaskStore) -> None:
    counted = rows.tally_key(rows.task(1))

    def decide(loaded: Loaded) -> Changes:
        gate = loaded.gates.get("g")
        return Changes(
            gates=[gate._replace(used=gate.used + 1, rev=gate.rev + 1) if gate else rows.gate("g", used=1)],
            fair={FAIR: loaded.fair.get(FAIR, 0) + 1},
            tally={("shard", counted): 1},
        )

    await asyncio.gather(*(each.turn(Needs(gates={"g"}, fair={FAIR}), decide) for each in [store, other] * 20))
    loaded = await get(store, gates={"g"}, fair={FAIR})
    assert (loaded.gates["g"].used, loaded.gates["g"].rev, loaded.fair[FAIR]) == (40, 40, 40)
    assert await store.totals(TallyQuery()) == {counted: 40}


async def test_a_burst_leaves_a_sound_database(database: Database, store: TaskStore, other: TaskStore) -> None:
    async def live(each: TaskStore, number: int) -> None:
        await put(
            each, new_tasks=[rows.task(number)], events=[rows.status(number, 1)], messages=[rows.message(number, 1)]
        )
        for n in (2, 3):
            row = await get_task(each, number)
            phase = Phase.LEASED if n == 2 else Phase.FINAL
            await put(
                each, tasks=[rows.next_rev(row, phase=phase, last_n=n)], events=[rows.status(number, n, b"x" * 5000)]
            )

    await asyncio.gather(*(live((store, other)[number % 2], number) for number in range(100)))
    await store.erase([key(number) for number in range(0, 100, 3)])
    assert len((await get(other, tasks={key(number) for number in range(100)})).tasks) == 66
    assert database.faults() == []


# Claims, heads, gates


async def test_claims_are_the_best_ready_tasks_of_their_queues(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, rank=9),
            rows.task(2, rank=3, queue="b"),
            rows.task(3, rank=3),
            rows.task(4, rank=50, lane=Lane.HIGH, queue="b"),
            rows.task(5, rank=0, lane=Lane.LOW),
            rows.task(6, lane=Lane.CRITICAL, queue="c"),
            rows.leased(7, key(90), lane=Lane.CRITICAL),
            rows.held(8, "x", lane=Lane.CRITICAL),
            rows.task(9, lane=Lane.CRITICAL, phase=Phase.SCHEDULED),
        ],
    )
    assert await claim(store, ClaimNeed(("echo",), 10)) == [(3, 1, 5)]
    assert await claim(store, ClaimNeed(("echo", "b"), 10)) == [(4, 2, 3, 1, 5)]
    assert await claim(store, ClaimNeed(("echo", "b"), 2)) == [(4, 2)]
    assert await claim(store, ClaimNeed(("b", "echo", "b"), 3)) == [(4, 2, 3)]
    assert await claim(store, ClaimNeed(("none",), 10), ClaimNeed(("c",), 10), ClaimNeed(("echo",), 1)) == [
        (),
        (6,),
        (3,),
    ]


async def test_hinted_tasks_are_candidates_if_they_are_ready_and_of_the_queues(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            *(rows.task(n, rank=n) for n in range(1, 6)),
            rows.task(6, queue="b", rank=0),
            rows.leased(7, key(90)),
            rows.task(8, rank=8, crashes=2),
            rows.task(9, rank=2, crashes=3),
        ],
    )
    hinted = tuple(key(n) for n in (404, 9, 8, 7, 6, 5, 2))
    assert await claim(store, ClaimNeed(("echo",), 2, hinted)) == [(1, 2, 5, 8)]
    assert await claim(store, ClaimNeed(("echo",), 2, hinted, max_crashes=1)) == [(1, 2, 5)]
    assert await claim(store, ClaimNeed(("b",), 2, hinted)) == [(6,)]
    assert await claim(store, ClaimNeed(("echo",), 0, hinted)) == [(2, 5, 8)]


async def test_tasks_that_crashed_too_often_are_left_out_before_the_limit(store: TaskStore) -> None:
    crashed = [rows.task(n, rank=n, crashes=n % 4) for n in range(12)]
    await put(store, new_tasks=crashed)
    assert await claim(store, ClaimNeed(("echo",), 5, max_crashes=0)) == [(0, 4, 8)]
    assert await claim(store, ClaimNeed(("echo",), 5, max_crashes=1)) == [(0, 1, 4, 5, 8)]
    assert await claim(store, ClaimNeed(("echo",), 50)) == [(0, 1, 2, 4, 5, 6, 8, 9, 10)]


async def test_rows_of_a_newer_format_are_left_out_before_the_limit(store: TaskStore) -> None:
    newer = [rows.task(n, rank=n, format=2) for n in range(5)]
    await put(store, new_tasks=[*newer, rows.task(9, rank=9)])
    assert await claim(store, ClaimNeed(("echo",), 1)) == [(9,)]
    assert await claim(store, ClaimNeed(("echo",), 1, (key(3),))) == [(9,)]
    assert await claim(store, ClaimNeed(("echo",), 2, max_format=2)) == [(0, 1)]


async def test_gates_of_all_loaded_tasks_are_loaded(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, gates=("named",)),
            rows.task(2, gates=("claimed", "rowless"), queue="b"),
            rows.task(3, gates=("sent",)),
            rows.task(4, gates=("by name",)),
            rows.task(5, gates=("unrelated",)),
            rows.task(6, gates=("hinted",), queue="b", rank=1),
        ],
        sent=[rows.sent(3)],
        gates=[
            rows.gate(name) for name in ("named", "claimed", "sent", "by name", "asked", "hinted", "unrelated", "takes")
        ],
    )
    loaded = await get(
        store,
        tasks={key(1)},
        names={rows.name(4)},
        sent={rows.sent_key()},
        gates={"asked"},
        claims=[ClaimNeed(("b",), 1, (key(6),))],
    )
    assert loaded.tasks.keys() == {key(n) for n in (1, 2, 3, 4, 6)}
    assert loaded.gates.keys() == {"named", "claimed", "sent", "by name", "asked", "hinted"}


@pytest.mark.parametrize("number", [1, 8, 9, 40])
async def test_gates_are_found_among_any_number_of_others(store: TaskStore, number: int) -> None:
    await put(store, gates=[rows.gate(f"g{n}", used=n) for n in range(number)])
    last = f"g{number - 1}"
    loaded = await get(store, gates={"g0", last, "unknown"})
    assert loaded.gates == {"g0": rows.gate("g0", used=0), last: rows.gate(last, used=number - 1)}


async def test_held_tasks_of_gates_come_best_first_with_their_own_gates(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.held(1, "a", rank=7),
            rows.held(2, "a", rank=2, gates=("a", "further")),
            rows.held(3, "a", rank=9, lane=Lane.HIGH),
            rows.held(4, "a", rank=8),
            rows.held(5, "rowless"),
            rows.held(6, "unrelated"),
            rows.task(7, gates=("a", "rowless", "b")),
        ],
        gates=[rows.gate(name) for name in ("a", "b", "further", "unrelated")],
    )
    loaded = await get(store, tasks={key(7)}, held=3)
    assert {gate: numbers(keys) for gate, keys in loaded.held.items()} == {"a": (3, 2, 1)}
    assert loaded.tasks.keys() == {key(n) for n in (1, 2, 3, 7)}
    assert loaded.gates.keys() == {"a", "b", "further"}
    loaded = await get(store, gates={"a"})
    assert (loaded.held, loaded.tasks) == ({}, {})


async def test_leased_tasks_of_a_gate_are_counted(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.leased(1, key(90), gates=("a", "b")),
            rows.leased(2, key(91), gates=("b",)),
            rows.leased(3, key(91), gates=()),
            rows.task(4, gates=("a",)),
            rows.held(5, "b"),
        ],
    )
    assert (await get(store, recount={"a", "b", "c"})).leased == {"a": 1, "b": 2, "c": 0}


async def test_heads_are_the_first_ranks_of_queues_and_lanes(store: TaskStore) -> None:
    await put(
        store,
        new_tasks=[
            rows.task(1, rank=9),
            rows.task(2, rank=4),
            rows.task(3, rank=7, lane=Lane.BACKLOG),
            rows.task(4, rank=1, lane=Lane.CRITICAL, phase=Phase.PAUSED),
            rows.task(5, rank=0, queue="b", lane=Lane.CRITICAL),
            rows.task(6, rank=0, queue="c"),
        ],
    )
    loaded = await get(store, queues={"echo", "b", "empty"})
    assert loaded.heads == {
        ("echo", Lane.NORMAL): 4,
        ("echo", Lane.BACKLOG): 7,
        ("b", Lane.CRITICAL): 0,
    }


async def test_takes_are_the_open_newest_ones(store: TaskStore) -> None:
    takes = [
        rows.artifact(1, id=0, take=1),  # a later run began again
        rows.artifact(1, id=0, take=2),
        rows.artifact(1, id=1, take=1),
        rows.artifact(1, id=2, take=1),
        rows.artifact(1, id=2, take=2, closed=True, last_n=9),
        rows.artifact(2, id=0, take=1, closed=True, last_n=9),
        rows.artifact(3, id=0, take=1),
    ]
    await put(store, new_tasks=[rows.task(n) for n in (1, 2, 3)], artifacts=takes)
    loaded = await get(store, takes={key(1), key(2)})
    assert loaded.takes == {key(1): (takes[1], takes[2])}
    assert loaded.tasks.keys() == {key(1), key(2)}


async def test_a_worker_is_declared_dead_for_ever(store: TaskStore) -> None:
    await store.register(rows.worker(8))
    seen = (await get(store, workers={key(8)})).workers[key(8)]
    await put(store, workers=[seen._replace(dead=True, seen_at=0, body=b"other")])
    assert (await get(store, workers={key(8)})).workers == {key(8): seen._replace(dead=True)}
    await put(store, workers=[seen])
    assert (await get(store, workers={key(8)})).workers[key(8)].dead


async def test_workers_that_are_forgotten_are_told_that_they_are_dead(store: TaskStore, other: TaskStore) -> None:
    for number in (1, 2):
        await store.register(rows.worker(number))
    await store.turn(Needs(workers={key(1), key(2)}), rows.writes(Changes(gone_workers=[key(1)])))
    assert (await other.turn(Needs(workers={key(1), key(2)}), rows.writes(Changes()))).workers.keys() == {key(2)}
    assert not await asyncio.to_thread(store.beat, key(1))
    assert await asyncio.to_thread(store.beat, key(2))
