"""What only the PostgreSQL store can be asked of edges, tags, records and searches: locks in one order, plans."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.queries import DueKind, RowQuery, Search, Table
from a2a_server.model.rows import EdgeRow, Key, RecordRow
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.postgresql_schema import Schema, known_migrations
from tests.contracts import rows
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.rows import edge, get, key, put, record, tag, writes

DONE = int(State.COMPLETED)
STORED = 30_000


# Locks in one order


async def test_ends_and_settlements_of_the_same_edges_never_lock_each_other(
    stores: list[PostgresqlStore], conflicts: list[Exception]
) -> None:
    """Both ends of an edge change it: what ended goes along one side of the table, what is settled along the other."""
    many = range(1, 13)

    async def change(store: PostgresqlStore, order: list[EdgeRow], ends: list[int]) -> None:
        changes = Changes(settled=order, ended={key(n): DONE for n in ends}, tags=[tag(n, "x") for n in ends])
        changes.gone_tags = [tag(n, "y") for n in ends]
        await store.turn(Needs(), writes(changes))

    for turn in range(15):
        first = 100 * turn
        arrived = [edge(first + 50 + n, first + m, done=DONE) for n in many for m in many]
        await put(stores[0], edges=[*arrived, *(edge(first + n, first + 50 + m) for n in many for m in many)])
        await put(stores[0], tags=[tag(first + n, "y") for n in many])
        ends = [first + n for n in many]
        across = sorted(arrived, key=lambda each: each.downstream)
        await asyncio.gather(
            *(
                change(store, order[::step], ends[::step])
                for store in stores
                for order in (arrived, across)
                for step in (1, -1)
            )
        )
    assert conflicts == []
    every = (await stores[0].rows(RowQuery(Table.EDGE, limit=10_000))).rows
    assert {EdgeRow._make(row).done for row in every} == {DONE, -DONE}
    assert await stores[0].due(DueKind.SETTLE, 1_000) == [key(100 * t + 50 + n) for t in range(15) for n in many]


async def test_erasing_and_settling_never_lock_each_other(
    stores: list[PostgresqlStore], conflicts: list[Exception]
) -> None:
    many = range(1, 16)
    counted = rows.tally_key(rows.final(1))
    for turn in range(15):
        upstream = [1_000 * turn + n for n in many]
        downstream = [1_000 * turn + 500 + n for n in many]
        arrived = [edge(up, down, done=DONE) for up in upstream for down in downstream]
        await put(
            stores[0],
            new_tasks=[rows.final(n) for n in upstream],
            edges=arrived,
            tally={("", counted): len(upstream)},
        )
        settling = Changes(settled=arrived[::-1], tally={("", counted): 1})
        erased, *_ = await asyncio.gather(
            stores[0].erase([key(n) for n in upstream[::-1]]),
            *(store.turn(Needs(), writes(settling)) for store in stores * 2),
        )
        assert erased == len(upstream)
    assert conflicts == []
    assert (await stores[0].rows(RowQuery(Table.EDGE))).rows == []


@pytest.mark.parametrize("kind", ["edges", "tags", "records"])
async def test_what_is_made_and_changed_in_opposite_orders_never_locks_each_other(
    stores: list[PostgresqlStore], conflicts: list[Exception], kind: str
) -> None:
    async def count(store: PostgresqlStore, order: list[int]) -> None:
        def decide(loaded: Loaded) -> Changes:
            if kind == "edges":
                return Changes(edges=[edge(n, 1) for n in order])
            if kind == "tags":
                return Changes(tags=[tag(n) for n in order])
            new = [row for row in wanted if row.key not in loaded.records]
            old = [row._replace(rev=row.rev + 1) for row in loaded.records.values()]
            return Changes(records=[*new, *old])

        wanted = [record(f"{n:06}") for n in order] if kind == "records" else []
        await store.turn(Needs(records={row.key for row in wanted}), decide)

    for turn in range(10):
        many = list(range(1_000 * turn, 1_000 * turn + 400))
        await asyncio.gather(*(count(store, order) for store in stores for order in (many, many[::-1])))
    assert conflicts == []
    table = {"edges": Table.EDGE, "tags": Table.TAG_OF, "records": Table.RECORD}[kind]
    found = (await stores[0].rows(RowQuery(table, limit=10_000))).rows
    assert len(found) == 4_000
    if kind == "records":
        assert {RecordRow._make(row).rev for row in found} == {4}


async def test_a_gate_that_goes_away_is_waited_for(stores: list[PostgresqlStore]) -> None:
    await put(stores[0], gates=[rows.gate("a"), rows.gate("b")])
    seen: list[set[str]] = []

    async def forget(store: PostgresqlStore) -> None:
        def decide(loaded: Loaded) -> Changes:
            seen.append({*loaded.gates})
            return Changes(gone_gates=[*loaded.gates])

        await store.turn(Needs(gates={"a", "b"}), decide)

    await asyncio.gather(*(forget(store) for store in stores))
    assert seen == [{"a", "b"}, set()]


# Plans

# Half of the tasks are children of one parent, every one is `blue` and has two of a hundred tags that begin alike; of
# the edges five have just been done.
FILL = f"""
INSERT INTO task SELECT int8send(n) || int8send(n), 1, '', 'local', 'Echo', n::text, 'c', 10, true, 's',
  'q', 3, n, '', '', CASE WHEN n % 5 = 0 THEN 1 ELSE 3 END, CASE WHEN n % 5 = 0 THEN 3 ELSE 7 END,
  1, 0, 1, n, n, 0, 0, 0, '', 0, 0, 4, 0, 0, CASE WHEN n % 2 = 0 THEN '\\x09'::bytea ELSE '' END, 0, '', ''
  FROM generate_series(1, {STORED}) AS n;
INSERT INTO tag SELECT '', 'local', label, int8send(n) || int8send(n) FROM generate_series(1, {STORED}) AS n
  CROSS JOIN LATERAL (VALUES ('blue'), ('env:' || n % 100), ('env:' || (n + 7) % 100)) AS labels (label);
INSERT INTO edge SELECT int8send(n) || int8send(n), int8send(n % 100) || int8send(n), 1,
  CASE WHEN n < 6 THEN 3 ELSE -3 END FROM generate_series(1, {STORED}) AS n;
INSERT INTO record SELECT 'schedule', '', 'local', n::text, 1, CASE WHEN n < 6 THEN n ELSE 0 END, ''
  FROM generate_series(1, {STORED}) AS n
"""  # noqa: S608 - a number of our own
EVERY = Search("", "local", "Echo", limit=5, scan=200)
DRIVEN = {
    "parent": replace(EVERY, parent=Key(b"\x09")),
    "tag": replace(EVERY, tag="blue"),
    "prefix": replace(EVERY, tag_prefix="env:"),
    "context": replace(EVERY, context="c"),
    "status": replace(EVERY, created_from=2),
    "states": replace(EVERY, stands=frozenset({(State.SUBMITTED, Phase.READY), (State.COMPLETED, Phase.FINAL)})),
}
Work = Callable[[PostgresqlStore], Awaitable[object]]


class Figures:
    """Rows that were fetched by each index, or without one, by what a store is asked to do."""

    def __init__(self, postgresql: PostgresqlDatabase) -> None:
        self._postgresql = postgresql
        self.store = PostgresqlStore(postgresql.url)

    async def read(self, work: Work) -> dict[str, int]:
        before = self._totals()
        await self.store.open()
        await work(self.store)
        await self.store.close()  # hands its figures in
        after = self._totals()
        return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}

    def _totals(self) -> dict[str, int]:
        found = self._postgresql.run(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname <> 'meta' "
            "UNION ALL SELECT relname || ' itself', seq_tup_read FROM pg_stat_user_tables WHERE relname <> 'meta'"
        )
        return {name: int(count) for name, count in found}


@pytest.fixture
async def filled(postgresql: PostgresqlDatabase) -> Figures:
    figures = Figures(postgresql)
    await figures.store.open()
    await figures.store.close()
    postgresql.run(FILL)
    return figures


@pytest.mark.parametrize("name", sorted(DRIVEN))
async def test_a_search_walks_its_range_as_far_as_it_may(filled: Figures, name: str) -> None:
    walks = {
        "parent": "task_parent",
        "tag": "tag_pkey",
        "prefix": "tag_pkey",
        "context": "task_context",
        "status": "task_list",
        "states": "task_list",
    }
    query, walked = DRIVEN[name], walks[name]
    found = await filled.read(lambda store: store.search(query))
    assert {walked} <= found.keys() <= {walked, "task_pkey", "tag_task"}
    assert sum(found.values()) < 100, found
    read = await searched(filled, replace(query, skills=frozenset({"none"})), 3)
    assert {walked} <= read.keys() <= {walked, "task_pkey"}
    assert 3 * query.scan <= read[walked] <= 3 * (query.scan + 10), read


async def searched(filled: Figures, query: Search, pages: int) -> dict[str, int]:
    """What some pages from the first on read."""

    async def walk(store: PostgresqlStore) -> None:
        following = query
        for _ in range(pages):
            found = await store.search(following)
            assert found.after
            following = replace(following, after=found.after)

    read = await filled.read(walk)
    assert max(read.values()) <= pages * 3 * (query.scan + 10), read
    return read


async def test_filters_by_tags_look_at_those_of_one_task(filled: Figures) -> None:
    for query in (
        replace(EVERY, tags=("env:1", "none")),
        replace(DRIVEN["parent"], tag="blue", tag_prefix="none"),
        replace(DRIVEN["tag"], tag_prefix="none", tags=("env:1",)),
        replace(DRIVEN["prefix"], tags=("none",)),
    ):
        read = await searched(filled, query, 2)
        assert read.keys() <= {"task_list", "task_parent", "task_pkey", "tag_pkey", "tag_task"}, query


async def test_what_is_due_is_found_among_all_that_is_not(filled: Figures) -> None:
    async def sweep(store: PostgresqlStore) -> None:
        assert len(await store.due(DueKind.SETTLE, 10)) == 5
        assert len(await store.due_records(("schedule",), 10)) == 5
        assert await store.next_alarm(("schedule",)) == 0
        assert len(await store.oldest(key(0), 5)) == 5

    read = await filled.read(sweep)
    assert read.keys() <= {"edge_arrived", "record_due", "task_due", "task_pkey"}
    assert sum(read.values()) < 50, read


async def test_edges_of_a_task_and_lanes_of_a_queue_are_ranges(filled: Figures) -> None:
    one, low = Key((1).to_bytes(8, "big") * 2), (Lane.LOW, Lane.CRITICAL)

    async def turn(store: PostgresqlStore) -> None:
        await put(store, new_tasks=[rows.task(1, queue="q", lane=Lane.LOW), rows.task(2, queue="p", lane=Lane.LOW)])
        loaded = await get(store, waits={one}, claims=[ClaimNeed(("q",), 5, lanes=(Lane.LOW,))])
        assert loaded.claims == [(key(1),)]
        loaded = await get(store, claims=[ClaimNeed(("q", "p"), 5, (key(2),), lanes=low)])
        assert loaded.claims == [(key(1), key(2))]
        loaded = await get(store, claims=[ClaimNeed(("q",), 5, lanes=(Lane.NORMAL,))])
        assert len(loaded.claims[0]) == 5
        loaded = await get(store, claims=[ClaimNeed(("q", "p"), 5, lanes=(Lane.NORMAL, Lane.BACKLOG))])
        assert len(loaded.claims[0]) == 5
        await put(store, ended={one: DONE}, settled=[EdgeRow(one, one, 1, DONE)])
        await store.rows(RowQuery(Table.EDGE_TO, (one,), limit=5))
        await store.rows(RowQuery(Table.TAG_OF, (one,), limit=5))

    read = await filled.read(turn)
    assert read.keys() <= {"edge_arrived", "edge_downstream", "edge_pkey", "tag_task", "task_pkey", "task_ready"}
    assert sum(read.values()) < 50, read


async def test_plans_are_made_for_large_tables_while_these_are_empty(postgresql: PostgresqlDatabase) -> None:
    """As a new server has them: planned once, with nothing known of what will be stored."""
    figures = Figures(postgresql)
    store = figures.store
    await store.open()

    async def every() -> None:
        for query in DRIVEN.values():
            await store.search(replace(query, skills=frozenset({"none"})))

    await every()
    postgresql.run(FILL)
    before = figures._totals()
    await every()
    await store.close()
    after = figures._totals()
    read = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert not [name for name in read if name.endswith(" itself")]
    assert sum(read.values()) < 20 * EVERY.scan, read


async def test_the_first_schema_answers_searches_too(postgresql: PostgresqlDatabase) -> None:
    store = PostgresqlStore(postgresql.url, schema=Schema(known_migrations()[:1]))
    await store.open()
    postgresql.run(FILL)
    for query in DRIVEN.values():
        assert len((await store.search(query)).rows) == query.limit
    await store.close()
