"""What only the SQLite store can be asked: its file locked, its disk full, its threads, its query plans."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from a2a_server.errors import StoreUnavailable
from a2a_server.model.objects import Lane, Phase, Scope, State
from a2a_server.model.queries import (
    DueKind,
    RowQuery,
    Search,
    SearchCursor,
    Table,
    TallyQuery,
    TaskCursor,
    TaskQuery,
)
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.stores import sqlite_schema
from a2a_server.stores.sqlite import SqliteStore
from tests.contracts import rows
from tests.contracts.rows import get, get_task, key, put
from tests.contracts.test_store import FAIR
from tests.patience import PATIENCE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


async def pragma(store: SqliteStore, text: str) -> None:
    assert store._writer is not None
    await store._writer.call(lambda db: db.execute(f"PRAGMA {text}").fetchall())


async def test_a_commit_waits_for_the_disk(store: SqliteStore) -> None:
    """Promise: "acknowledged is durable", through a power cut too: WAL with `synchronous` FULL (2)."""
    assert store._writer is not None
    names = ("synchronous", "journal_mode")
    found = await store._writer.call(lambda db: [db.execute(f"PRAGMA {name}").fetchone() for name in names])
    assert found == [(2,), ("wal",)]


async def test_large_bodies_do_not_stand_between_rows_that_are_looked_for(store: SqliteStore) -> None:
    """A table without rowid compares whole entries: ten megabytes there make each step beside them dear."""
    large = [rows.chunk(1, n, body=b"x" * 100_000) for n in (1, 2)]
    spoken = rows.message(1, 1)._replace(body=b"y" * 100_000)
    await put(store, new_tasks=[rows.final(1, last_n=2)], events=large, messages=[spoken])
    assert await _sizes(store) == [(2, 0), (1, 0), (3, 300_000)]
    assert await store.erase([key(1)]) == 1
    assert await _sizes(store) == [(0, 0), (0, 0), (0, 0)]


async def test_a_database_of_an_older_version_keeps_its_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = sqlite_schema._migrations()
    with monkeypatch.context() as older, closing(sqlite_schema.connect(path, ())) as db:
        older.setattr(sqlite_schema, "_migrations", lambda: known[:2])
        sqlite_schema.migrate(db, path)
        body = b"x" * 100_000
        db.execute("INSERT INTO event VALUES (?, 1, 2, 1000, 1, 0, ?)", (key(1), body))
        db.execute("INSERT INTO edge VALUES (?, ?, 1, 3)", (key(1), key(2)))
        db.execute("INSERT INTO tag VALUES ('', 'local', 'blue', ?)", (key(1),))
    store = SqliteStore(path)
    await store.open()
    assert list(await store.events(key(1), 0, 10, 1 << 20)) == [rows.chunk(1, 1, body=body)]
    assert list((await store.rows(RowQuery(Table.EDGE_TO, (key(2),)))).rows) == [rows.edge(1, 2, done=3)]
    assert list((await store.rows(RowQuery(Table.TAG_OF, (key(1),)))).rows) == [rows.tag(1)]
    assert await store.due(DueKind.SETTLE, 9) == [key(2)]
    await store.close()


async def _sizes(store: SqliteStore) -> list[tuple[int, int]]:
    assert store._writer is not None
    sql = "SELECT count(*), coalesce(sum(length(body)), 0) FROM {}"
    return await store._writer.call(
        lambda db: [db.execute(sql.format(table)).fetchone() for table in ("event", "message", "content")]
    )


@contextmanager
def plans(store: SqliteStore) -> Iterator[set[str]]:
    """Every statement that the store runs meanwhile."""
    seen: set[str] = set()
    links = [*store._readers, *([store._writer] if store._writer else [])]
    for link in links:
        link._conn.set_trace_callback(seen.add)
    yield seen
    for link in links:
        link._conn.set_trace_callback(None)


async def test_a_file_that_stays_locked_is_unavailable(path: Path, store: SqliteStore) -> None:
    await pragma(store, "busy_timeout = 10")
    with closing(sqlite3.connect(path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await put(store, new_tasks=[rows.task(1)])
        assert await store.find(Scope(), "Echo", "task-1") is None
    await put(store, new_tasks=[rows.task(1)])


async def test_a_full_disk_is_unavailable_and_writes_nothing(store: SqliteStore) -> None:
    await put(store, new_tasks=[rows.task(1)])
    await pragma(store, "max_page_count = 1")
    with pytest.raises(StoreUnavailable):
        await put(store, tasks=[rows.next_rev(rows.task(1))], events=[rows.status(1, 1, b"x" * 1_000_000)])
    assert await get_task(store, 1) == rows.task(1)
    await pragma(store, "max_page_count = 1000000")
    await put(store, tasks=[rows.next_rev(rows.task(1))], events=[rows.status(1, 1, b"x" * 1_000_000)])


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"no database" * 1000)
    with pytest.raises(StoreUnavailable):
        await SqliteStore(path).open()


async def test_reads_do_not_wait_for_a_turn_and_see_nothing_of_it(store: SqliteStore) -> None:
    await put(store, new_tasks=[rows.task(1)])
    deciding, go_on = threading.Event(), threading.Event()

    def decide(loaded: Loaded) -> Changes:
        deciding.set()
        assert go_on.wait(PATIENCE)
        return Changes(tasks=[rows.next_rev(rows.task(1), last_n=2)])

    turn = asyncio.create_task(store.turn(Needs(tasks={key(1)}), decide))
    assert await asyncio.to_thread(deciding.wait, PATIENCE)
    assert (await store.heads([key(1)]))[key(1)].last_n == 1
    go_on.set()
    await turn
    assert (await store.heads([key(1)]))[key(1)].last_n == 2


async def test_the_clock_is_passed_in_and_never_goes_back(path: Path) -> None:
    times = iter([1_000, 5_000, 3_000])
    store = SqliteStore(path, clock=lambda: next(times), clock_offset_us=7)
    await store.open()
    assert [(await get(store)).now for _ in range(3)] == [1_007, 5_007, 5_007]
    await store.close()


EVERYTHING = Search(
    *("", "local", "Echo"),
    tags=("red", "green"),
    stands=frozenset({(State.WORKING, Phase.LEASED), (State.WORKING, Phase.PAUSED), (State.FAILED, Phase.FINAL)}),
    skills=frozenset({"echo", "other"}),
    queues=frozenset({"echo"}),
    lanes=frozenset({Lane.HIGH, Lane.LOW}),
    parents=False,
    created_from=1,
    created_to=9_999,
    status_from=1,
    status_to=9_999,
)
WALKED: list[tuple[dict[str, Any], SearchCursor]] = [
    ({}, SearchCursor(50, key(1))),
    ({"context": "context"}, SearchCursor(50, key(1))),
    ({"parent": key(9)}, SearchCursor(0, key(1_000))),
    ({"parent": key(9), "tag": "blue", "tag_prefix": "bl"}, SearchCursor(0, key(1_000))),
    ({"tag": "blue"}, SearchCursor("blue", key(1_000))),
    ({"tag": "blue", "tag_prefix": "bl"}, SearchCursor("blue", key(1_000))),
    ({"tag_prefix": "bl"}, SearchCursor("blue", key(1_000))),
]
"""What decides where a search walks, and a place on the way."""
SEARCHES = [
    replace(search, after=after, **driving)
    for driving, cursor in WALKED
    for search in (Search("", "local", "Echo"), EVERYTHING)
    for after in (None, cursor)
]


async def test_no_statement_reads_a_whole_table(path: Path, store: SqliteStore) -> None:
    await put(store, new_tasks=[rows.task(1), rows.held(2, "a")], gates=[rows.gate("a")], sent=[rows.sent(1)])
    await put(
        store, new_tasks=[rows.final(3)], artifacts=[rows.artifact(1)], tally={("a", rows.tally_key(rows.task(1))): 1}
    )
    query = TaskQuery("", "local", "Echo", context="x", status_from=1, after=TaskCursor(9, key(9)))
    with plans(store) as statements:
        await get(
            store,
            tasks={key(1)},
            names={rows.name(1)},
            sent={rows.sent_key()},
            queues={"echo"},
            fair={FAIR},
            claims=[ClaimNeed(("echo", "b"), 9, (key(1),))],
            held=2,
            recount={"a"},
            workers={key(8)},
            takes={key(1)},
            waits={key(1), key(2)},
            records={rows.record("a").key},
        )
        await get(store, claims=[ClaimNeed(("echo", "b"), 9, (key(1),), lanes=(Lane.HIGH, Lane.LOW))])
        await put(
            store,
            edges=[rows.edge(1, 2), rows.edge(3, 1)],
            ended={key(1): 3},
            settled=[rows.edge(3, 1, done=3)],
            tags=[rows.tag(1)],
            gone_tags=[rows.tag(2)],
            records=[rows.record("a")],
            gone_gates=["never"],
            gone_fair=[FAIR],
        )
        await put(store, records=[rows.record("a", rev=2)])
        await put(store, gone_records=[(rows.record("a").key, 2)])
        await put(store, tasks=[rows.next_rev(rows.task(1))], fair={FAIR: 1}, gates=[rows.gate("a", rev=2)])
        await store.find(Scope(), "Echo", "task-1")
        await store.snapshot(key(1), 3)
        await store.find_snapshot(Scope(), "Echo", "task-1", 3)
        await store.events(key(1), 0, 9, 9)
        await store.heads([key(1)])
        await store.page(query)
        await store.page(TaskQuery("", "local", "Echo"))
        await store.page(TaskQuery("", "local", "Echo", state=State.WORKING, history=1, artifacts=True))
        await store.count(query, 9)
        await store.count(TaskQuery("", "local", "Echo", status_from=1), 9)
        for kind in DueKind:
            await store.due(kind, 9)
        await store.next_alarm(("schedule",))
        await store.totals(TallyQuery(tenant="", owner="local", agent="Echo"))
        await store.rows(RowQuery(Table.STATE, (key(1),), (key(1), "a", "b")))
        await store.rows(RowQuery(Table.RECORD, ("schedule", ""), rows.record("a").key))
        for table, last in ((Table.EDGE, key(2)), (Table.EDGE_TO, key(2)), (Table.TAG_OF, "blue")):
            await store.rows(RowQuery(table, (key(1),), (key(1), last)))
        await store.due_records(("schedule",), 9)
        await store.oldest(key(1), 9)
        await store.leased([key(1)], 9)
        for search in SEARCHES:
            await store.search(search)
        await store.erase([key(3)])
    # Lists of our own making, tables of a few rows, and what a count adds up, cut by its limit.
    short = (
        "CONSTANT ROW",
        "SCAN want",
        "SCAN lanes",
        "SCAN holding",
        "SCAN settling",
        "INDEX task_leased",
        "SCAN worker",
        "SCAN (sub",
    )
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            if statement.lstrip().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
                for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                    scans = detail.startswith("SCAN") and not any(part in detail for part in short)
                    sorts = "TEMP B-TREE" in detail and "FROM tally" not in statement
                    assert not scans, (detail, statement)
                    assert not sorts, (detail, statement)


async def test_searches_do_not_cost_more_in_a_larger_store(store: SqliteStore) -> None:
    """From the beginning as from the middle, with any filters: a search looks at `scan` rows and no more."""
    searches = [replace(search, scan=40, limit=5) for search in SEARCHES]
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    async def cost() -> list[int]:
        nonlocal steps
        found = []
        for search in searches:
            steps = 0
            await store.search(search)
            found.append(steps)
        return found

    async def fill(numbers: range) -> None:
        await put(
            store,
            new_tasks=[rows.task(n, status_at=n % 100, parent=key(9), state=State(1 + n % 8)) for n in numbers],
            tags=[rows.tag(n) for n in numbers],
        )

    for link in store._readers:
        link._conn.set_progress_handler(step, 1)
    await fill(range(900, 1_700))
    before = await cost()
    await fill(range(1_700, 5_000))
    after = await cost()
    assert all(now <= then * 1.5 for then, now in zip(before, after, strict=True)), (before, after)


async def test_what_is_to_be_settled_is_found_by_its_number(store: SqliteStore) -> None:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    for link in store._readers:
        link._conn.set_progress_handler(step, 1)
    await put(store, edges=[rows.edge(n, 9, done=3) for n in (1, 2)])
    assert await store.due(DueKind.SETTLE, 5) == [key(9)]
    before, steps = steps, 0
    await put(store, edges=[rows.edge(n, 9, done=3 if n % 2 else 0) for n in range(10, 3_000)])
    assert await store.due(DueKind.SETTLE, 5) == [key(9)]
    assert steps <= before * 1.5


async def test_lists_do_not_cost_more_in_a_larger_store(store: SqliteStore) -> None:
    lists = [
        TaskQuery("", "local", "Echo", limit=5),
        TaskQuery("", "local", "Echo", state=State.WORKING),
        TaskQuery("", "local", "Echo", context="context", state=State.WORKING),
        TaskQuery("", "local", "Echo", context="context", after=TaskCursor(50, key(1)), limit=5),
        TaskQuery("", "local", "Echo", status_from=1, after=TaskCursor(50, key(1)), limit=5),
    ]
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    async def cost() -> list[int]:
        nonlocal steps
        found = []
        for query in lists:
            for read in (store.page(query), store.count(query, 5)):
                steps = 0
                await read
                found.append(steps)
        return found

    for link in store._readers:
        link._conn.set_progress_handler(step, 1)
    first = range(1, 11)
    await put(store, new_tasks=[rows.task(n, status_at=n) for n in first])
    await put(store, new_tasks=[rows.task(90, state=State.WORKING)])
    before = await cost()
    await put(store, new_tasks=[rows.task(n, status_at=n % 100) for n in range(100, 2_100)])
    after = await cost()
    assert all(now <= then * 1.5 for then, now in zip(before, after, strict=True)), (before, after)
