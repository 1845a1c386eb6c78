"""What only the PostgreSQL store can be asked of its turns: locks in one order, copies, plans."""

import asyncio

import asyncpg
import pytest

from a2a_server.model.objects import Scope
from a2a_server.model.queries import DueKind, TaskQuery
from a2a_server.model.rows import DUMPED, EventRow, Key, StateRow, TaskRow
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.postgresql_load import _claim
from tests.contracts import rows
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.rows import get, get_task, key, put, writes
from tests.contracts.test_store import FAIR
from tests.patience import PATIENCE

# Locks in one order


async def test_turns_on_the_same_tasks_in_opposite_orders_never_lock_each_other(
    stores: list[PostgresqlStore], conflicts: list[Exception]
) -> None:
    """Source: core.md section 2, "unsorted 30 batches and 7 deadlocks; sorted 937 and 0"."""
    many = [key(n) for n in range(40)]
    await put(stores[0], new_tasks=[rows.task(n, gates=(f"g{n % 7}",)) for n in range(40)])
    await put(stores[0], gates=[rows.gate(f"g{n}") for n in range(7)])

    async def work(store: PostgresqlStore, keys: list[Key]) -> None:
        def touch(loaded: Loaded) -> Changes:
            return Changes(
                tasks=[rows.next_rev(loaded.tasks[each], last_n=loaded.tasks[each].last_n + 1) for each in keys],
                gates=[gate._replace(used=gate.used + 1, rev=gate.rev + 1) for gate in loaded.gates.values()],
            )

        for _ in range(15):
            await store.turn(Needs(tasks=set(keys)), touch)

    await asyncio.gather(
        *(work(store, order) for store in stores for order in (many, many[::-1], many[10:30], many[30:10:-1]))
    )
    assert conflicts == []
    assert (await get_task(stores[0], 20)).last_n == 1 + 15 * 8
    assert (await get(stores[0], gates={"g1"})).gates["g1"].used == 15 * 8


async def test_turns_that_make_the_same_keys_in_opposite_orders_never_lock_each_other(
    stores: list[PostgresqlStore], conflicts: list[Exception]
) -> None:
    """Source: core.md section 2, "two PostgreSQL turns inserting two keys in opposite order: deadlock"."""

    async def make(store: PostgresqlStore, first: int, turn: int, ids: list[str]) -> list[str]:
        made: list[str] = []

        def decide(loaded: Loaded) -> Changes:
            made[:] = [each for each in ids if rows.sent_key(each) not in loaded.sent]
            tasks = [rows.task(first + n, id=f"{turn}-{each}") for n, each in enumerate(ids) if each in made]
            scope = StateRow(b"shared", "space", "", 1, 1, b"x")
            return Changes(
                new_tasks=tasks,
                sent=[rows.sent(0, str(task.id.partition("-")[2]))._replace(task=task.key) for task in tasks],
                gates=[rows.gate(f"{turn}{each}") for each in ids if f"{turn}{each}" not in loaded.gates],
                states=[scope._replace(name=each) for each in ids],
                fair={FAIR._replace(owner=f"{turn}{each}"): 1 for each in ids},
                tally={("shard", replaced): 1 for replaced in (rows.tally_key(task) for task in tasks)},
            )

        needs = Needs(
            sent={rows.sent_key(each) for each in ids},
            gates={f"{turn}{each}" for each in ids},
            fair={FAIR._replace(owner=f"{turn}{each}") for each in ids},
        )
        await store.turn(needs, decide)
        return made

    for turn in range(10):
        ids = [f"{turn}m{n:02}" for n in range(20)]
        orders = (ids, ids[::-1], ids[5:] + ids[:5])
        made = await asyncio.gather(
            *(
                make(store, 10_000 * turn + 1_000 * (3 * which + other), turn, order)
                for which, store in enumerate(stores)
                for other, order in enumerate(orders)
            )
        )
        assert sorted(each for some in made for each in some) == ids
    assert conflicts == []


async def test_claims_of_two_stores_never_overlap_and_leave_nothing(stores: list[PostgresqlStore]) -> None:
    await put(stores[0], new_tasks=[rows.task(n, queue=f"q{n % 3}", rank=n) for n in range(300)])
    every = ("q0", "q1", "q2")
    taken: list[TaskRow] = []

    async def claim(store: PostgresqlStore, need: ClaimNeed) -> None:
        empty = 0
        while empty < 3:  # what another one looks at is passed over, not empty
            found: list[TaskRow] = []

            def lease(loaded: Loaded, found: list[TaskRow] = found) -> Changes:
                found[:] = [rows.next_rev(loaded.tasks[each], phase=5, worker=key(9)) for each in loaded.claims[0]]
                return Changes(tasks=found)

            await store.turn(Needs(claims=[need]), lease)
            taken.extend(found)
            empty = 0 if found else empty + 1

    needs = [ClaimNeed(every, 7, (key(298), key(299))), ClaimNeed(("q1",), 5), ClaimNeed(("q2", "q0"), 11)]
    await asyncio.gather(*(claim(store, need) for store in stores for need in needs))
    assert len(taken) == len({row.key for row in taken}) == 300
    assert await stores[0].due(DueKind.ORPHAN, 1000) != []


async def test_a_claim_passes_over_what_another_turn_has(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    await put(stores[0], new_tasks=[rows.task(n, queue=f"q{n % 2}", rank=n) for n in range(8)])
    connection = await asyncpg.connect(postgresql.url)
    async with connection.transaction():
        await connection.execute("SELECT FROM task WHERE rank IN (0, 1, 4) FOR UPDATE")
        loaded = await get(stores[0], claims=[ClaimNeed(("q0", "q1"), 3), ClaimNeed(("q0",), 2, (key(0), key(6)))])
    await connection.close()
    assert loaded.claims == [(key(2), key(3), key(5)), (key(2), key(6))]


async def test_held_tasks_whose_other_gate_is_taken_are_left_for_another_turn(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    both = rows.held(1, "a", gates=("a", "b"))
    await put(stores[0], new_tasks=[both, rows.held(2, "a")], gates=[rows.gate("a"), rows.gate("b")])
    connection = await asyncpg.connect(postgresql.url)
    async with connection.transaction():
        await connection.execute("SELECT FROM gate WHERE key = 'b' FOR UPDATE")
        loaded = await get(stores[0], gates={"a"}, held=5)
        assert loaded.held == {"a": (key(2),)}
        assert (set(loaded.gates), set(loaded.tasks)) == ({"a"}, {key(2)})
    await connection.close()
    loaded = await get(stores[0], gates={"a"}, held=5)
    assert loaded.held == {"a": (key(1), key(2))}
    assert set(loaded.gates) == {"a", "b"}


async def test_reads_do_not_wait_for_turns_however_many_wait(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    await put(stores[0], new_tasks=[rows.task(1)])
    connection = await asyncpg.connect(postgresql.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT FROM task FOR UPDATE")
    waiting = [asyncio.create_task(get(stores[0], tasks={key(1)})) for _ in range(30)]
    async with asyncio.timeout(PATIENCE):
        assert await stores[0].find(Scope(), "Echo", "task-1") == rows.task(1)
        assert await asyncio.to_thread(stores[0].beat, key(8)) is False
    assert not any(task.done() for task in waiting)
    await transaction.rollback()
    await connection.close()
    await asyncio.gather(*waiting)


# Copies


async def test_what_is_dumped_fills_another_database(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    large = [rows.chunk(1, n, body=bytes([n]) * 300_000) for n in range(1, 9)]
    await put(
        stores[0],
        new_tasks=[rows.task(n, gates=("a", "b")) for n in range(1200)],
        events=large,
        messages=[rows.message(1, 1)],
        artifacts=[rows.artifact(1)],
        states=[StateRow(key(1), "a", "b", 1, 1, b"x")],
        sent=[rows.sent(1)],
        gates=[rows.gate("a", capacity=2), rows.gate("b")],
        fair={FAIR: 7},
        tally={("one", rows.tally_key(rows.task(1))): 3},
        workers=[rows.worker(8)],
    )
    blobs = stores[0].blobs()
    assert blobs is not None
    await blobs.write("object", 0, b"head")
    pages = [page async for page in stores[0].dump()]
    sizes = [sum(len(EventRow._make(row).body) for row in found) for table, found in pages if table == "event"]
    assert len(sizes) > 1
    assert max(sizes) <= 1_300_000
    assert [table for table in DUMPED if table in dict(pages)] == list(dict(pages))
    other = PostgresqlStore(f"{postgresql.url}&schema=other")
    await other.open()
    for table, found in pages:
        assert await other.fill(table, found) == len(found)
        assert await other.fill(table, found[::-1]) == 0
    assert [page async for page in other.dump()] == pages
    with pytest.raises(ValueError, match="meta"):
        await other.fill("meta", [])
    await other.close()
    postgresql.run("DROP SCHEMA other CASCADE")


async def test_parts_of_objects_are_kept_listed_and_deleted(stores: list[PostgresqlStore]) -> None:
    blobs = stores[0].blobs()
    assert blobs is not None
    for name in ("b", "a/1", "c"):
        for part in range(3):
            await blobs.write(name, part, f"{name}{part}".encode())
    await blobs.write("a/1", 2, b"\0new")
    assert await blobs.read("a/1", 2) == b"\0new"
    assert await blobs.read("a/1", 3) is None
    assert await blobs.list("", 2) == [("a/1", b"a/10"), ("b", b"b0")]
    assert await blobs.list("b", 2) == [("c", b"c0")]
    await blobs.delete(["a/1", "unknown", "c"])
    assert await blobs.list("", 9) == [("b", b"b0")]
    assert await blobs.read("a/1", 1) is None


# Plans


FILL = (
    "INSERT INTO task SELECT int8send(n) || int8send(n), 1, '', 'local', 'Echo', n::text, 'c', 10, true, 's', "
    "'q' || n % 3, 3, n, '', '', CASE WHEN n % 5 = 0 THEN 1 ELSE 3 END, CASE WHEN n % 5 = 0 THEN 3 ELSE 7 END, "
    "1, 0, 1, n, n, 0, 0, 0, '', 0, 0, 4, 0, 0, '', 0, '', '' FROM generate_series(1, {}) AS n"
)
"""So many tasks of three queues; every fifth waits in one."""


async def test_claims_and_lists_walk_their_indexes_whatever_the_figures_say(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    store = stores[0]
    needs = Needs(claims=[ClaimNeed(("q0", "q1"), 5, (key(1),)), ClaimNeed(("q2",), 5)], queues={"q0"})

    async def used() -> dict[str, int]:
        """Rows that were fetched by each index, or without one."""
        await store.page(TaskQuery("", "local", "Echo", limit=5))
        await store.count(TaskQuery("", "local", "Echo", context="c"), 5)
        await store.find(Scope(), "Echo", "17")
        await store.turn(needs, writes(Changes()))
        await store.close()  # hands its figures in
        found = postgresql.run(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = 'task' "
            "UNION ALL SELECT 'none', seq_tup_read FROM pg_stat_user_tables WHERE relname = 'task'"
        )
        await store.open()
        return dict(found)

    await used()  # plans are made while the table is empty
    postgresql.run(FILL.format(50_000))
    before = await used()
    after = await used()
    postgresql.run("ANALYZE")
    at_last = await used()
    for earlier, later in ((before, after), (after, at_last)):
        read = {name: later[name] - earlier[name] for name in later if later[name] != earlier[name]}
        assert sum(read.values()) < 200, read
        assert read.keys() <= {"task_list", "task_context", "task_ready", "task_name", "task_pkey"}


async def test_a_claim_reads_no_queue_anew_for_what_other_claims_changed_meanwhile(
    postgresql: PostgresqlDatabase, stores: list[PostgresqlStore]
) -> None:
    """PostgreSQL looks again at every row that changed behind a statement's snapshot; that must cost no more each."""
    postgresql.run(FILL.format(5_000))
    queues, changed, limit = ["q0", "q1", "q2"], 1_000, 10
    options = dict.fromkeys(("enable_seqscan", "enable_sort", "enable_hashjoin", "enable_mergejoin"), "off")
    reader = await asyncpg.connect(postgresql.url, server_settings=options)
    other = await asyncpg.connect(postgresql.url)
    try:
        async with reader.transaction():
            ranges = [value for queue in queues for value in (queue, 9, 9)]
            sql = _claim(len(queues), lanes=False, hinted=False)
            claim = await reader.cursor(sql, *ranges, queues, 9, 9, limit)  # sees what is there now
            await other.execute("UPDATE task SET phase = 4, held_by = 'g' WHERE phase = 3 AND rank <= $1", changed)
            assert [row["rank"] for row in await claim.fetch(limit)] == [changed + 5 * n for n in range(1, limit + 1)]
            scans = await reader.fetchval("SELECT idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'task'")
        assert scans < 2 * (changed / 5 + limit)
    finally:
        await reader.close()
        await other.close()
