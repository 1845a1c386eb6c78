"""Whole databases: every row out, every row in, and the schema brought up to date."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from a2a_server.errors import DataRejected, SchemaMismatch, StoreUnavailable
from a2a_server.model.objects import Generation, Lane, Phase, State
from a2a_server.model.rows import (
    DUMPED,
    ArtifactRow,
    EdgeKind,
    EdgeRow,
    EventKind,
    EventRow,
    FairKey,
    GateRow,
    JournalKind,
    JournalRow,
    MessageRow,
    PushRow,
    RecordRow,
    SentRow,
    StateRow,
    TagRow,
    TallyKey,
    TaskRow,
    WorkerRow,
)
from a2a_server.ports import TaskStore
from tests.contracts import rows
from tests.contracts.rows import get_task, key, put
from tests.contracts.stores import DATABASES, OPENED, Database
from tests.patience import PATIENCE

LARGE = b"large" * 200_000
TASKS = 1_200
"""More than a page of any store."""

Rows = dict[str, list[tuple[object, ...]]]


class Pair(NamedTuple):
    """Two stores on databases of one backend."""

    source: TaskStore
    target: TaskStore


@pytest.fixture(params=sorted(DATABASES))
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    stores, databases = [], []
    for name in Pair._fields:
        directory = tmp_path / name
        directory.mkdir()
        databases.append(OPENED[request.param](directory))
        stores.append(databases[-1].store())
        await stores[-1].open()
    yield Pair(*stores)
    for store in stores:
        await store.close()
    for database in databases:
        database.drop()


async def dumped(store: TaskStore) -> Rows:
    found: Rows = {}
    async for table, page in store.dump():
        found.setdefault(table, []).extend(page)
    return found


async def fill(store: TaskStore, every: Rows) -> dict[str, int]:
    return {table: await store.fill(table, records) for table, records in every.items()}


PLAIN: Rows = {
    "edge": [rows.edge(1, 2, done=3), rows.edge(1, 3, EdgeKind.CHILD, done=-4)],
    "tag": [rows.tag(1), rows.tag(2), rows.tag(1, "naïve 🎈")],
    "record": [rows.record("nightly", rev=3, due_at=9_000, body=b"\0record")],
    "audit": [("chain", 1, 1_000, b"\0hash", b"one"), ("chain", 2, 1_000, b"\1hash", LARGE)],
    "blob": [("object", 0, b"\0\xff"), ("object", 1, b"x" * 262_144), ("object", 10, b""), ("object", 2, b"y")],
}


async def write_every_kind(store: TaskStore) -> None:
    """Rows of every table, some of which are long, odd, or many."""
    await put(store, new_tasks=[rows.task(n, rank=n) for n in range(1, TASKS)])
    await put(
        store,
        new_tasks=[
            rows.leased(5_000, key(7), gates=("a", "b*2"), visible=False, rank=2**53 - 1, status=b"\0\xff", due_at=5),
            rows.held(5_001, "gate", lane=Lane.LOW, generation=Generation.V01, parent=key(9), context="naïve 🎈"),
        ],
        events=[
            rows.status(1, 1),
            rows.chunk(1, 2, body=LARGE),
            rows.chunk(1, 3, artifact=2, body=b""),
            rows.status(2, 1),
        ],
        journal=[JournalRow(key(1), 1, JournalKind.LEASED, 7, b""), JournalRow(key(1), 3, JournalKind.LOG, 8, b"\0")],
        messages=[rows.message(1, 1), rows.message(1, 2)._replace(body=LARGE)],
        artifacts=[rows.artifact(1), rows.artifact(1, take=2, closed=True, name="naïve 🎈", size=5, body=b"\0take")],
        states=[StateRow(key(1), "step", "first", 1, 1, b"value"), StateRow(b"\0scope", "space", "", 0, 0, b"\0")],
        sent=[rows.sent(1), rows.sent(2, "other")],
        gates=[rows.gate("a", capacity=3), rows.gate("b")],
        fair={FairKey("shard", "echo", Lane.HIGH, "", "local"): 2**53 - 1},
        tally={("b", rows.tally_key(rows.task(1))): 3, ("a", rows.tally_key(rows.leased(1, key(7)))): 1},
        workers=[rows.worker(7), rows.worker(8, dead=True)],
        pushes=[PushRow(key(1), "push", 3, 2, 0, 1, True, b"\0push"), PushRow(key(1), "agent", 0, 0, 5, 0, False, b"")],
    )
    await fill(store, PLAIN)


async def test_a_copy_has_every_row(pair: Pair) -> None:
    await write_every_kind(pair.source)
    every = await dumped(pair.source)
    counts = await fill(pair.target, every)
    assert counts == {table: len(records) for table, records in every.items()}
    assert counts == {
        "task": TASKS + 1,
        "event": 4,
        "journal": 2,
        "message": 2,
        "artifact": 2,
        "state": 2,
        "sent": 2,
        "gate": 2,
        "fair": 1,
        "tally": 2,
        "worker": 2,
        "push": 2,
        **{table: len(records) for table, records in PLAIN.items()},
    }
    assert await dumped(pair.target) == every
    assert await get_task(pair.target, 5_001) == await get_task(pair.source, 5_001)
    assert await pair.target.events(key(1), 0, 10, 1 << 30) == await pair.source.events(key(1), 0, 10, 1 << 30)


async def test_nothing_is_filled_in_twice(pair: Pair) -> None:
    await write_every_kind(pair.source)
    every = await dumped(pair.source)
    assert set((await fill(pair.source, every)).values()) == {0}
    assert await dumped(pair.source) == every
    one = rows.task(9_000)
    assert await pair.source.fill("task", [one, *every["task"][:3]]) == 1
    large = rows.chunk(1, 2, body=b"other" * 100_000)
    assert await pair.source.fill("event", [large, rows.chunk(1, 4, body=LARGE)]) == 1
    found = {(row[0], row[1]): row for row in (await dumped(pair.source))["event"]}
    assert found[key(1), 2][-1] == LARGE


async def test_tables_come_in_their_order_and_rows_by_their_key(pair: Pair) -> None:
    await write_every_kind(pair.source)
    order: list[str] = []
    last: dict[str, tuple[Any, ...]] = {}
    widths = {
        "task": 1,
        "event": 2,
        "journal": 2,
        "message": 2,
        "artifact": 3,
        "blob": 2,
        "audit": 2,
        "tag": 4,
        "edge": 2,
    }
    async for table, page in pair.source.dump():
        assert page
        if table not in order:
            order.append(table)
        assert order[-1] == table
        for row in page if table in widths else ():
            assert row[: widths[table]] > last.get(table, ()), table
            last[table] = row[: widths[table]]
    assert order == list(DUMPED)


async def test_rows_are_those_of_the_model(pair: Pair) -> None:
    await write_every_kind(pair.source)
    every = await dumped(pair.source)
    classes = {
        "task": TaskRow,
        "event": EventRow,
        "journal": JournalRow,
        "message": MessageRow,
        "artifact": ArtifactRow,
        "state": StateRow,
        "sent": SentRow,
        "gate": GateRow,
        "worker": WorkerRow,
        "push": PushRow,
        "edge": EdgeRow,
        "tag": TagRow,
        "record": RecordRow,
    }
    for table, row_class in classes.items():
        assert {type(row) for row in every[table]} == {row_class}
    assert {type(value) for row in every["task"] for value in row[:1]} == {bytes}
    task = next(row for row in every["task"] if row[0] == key(5_000))
    assert isinstance(task, TaskRow)
    kinds = (task.generation, task.visible, task.lane, task.gates, task.state, task.phase)
    assert list(map(type, kinds)) == [Generation, bool, Lane, tuple, State, Phase]
    assert {type(row[2]) for row in every["event"]} == {EventKind}
    assert {type(row[2]) for row in every["journal"]} == {JournalKind}
    assert [type(row[5]) for row in every["artifact"]] == [bool, bool]
    assert [type(row[3]) for row in every["worker"]] == [bool, bool]
    assert [type(row[6]) for row in every["push"]] == [bool, bool]
    [(fair, vt)] = every["fair"]
    assert (type(fair), vt) == (FairKey, 2**53 - 1)
    assert {(type(shard), type(counted), type(count)) for shard, counted, count in every["tally"]} == {
        (str, TallyKey, int)
    }


async def test_an_empty_database_has_no_rows(pair: Pair) -> None:
    assert await dumped(pair.source) == {}
    assert await pair.source.fill("task", []) == 0


async def test_a_dump_that_nobody_reads_on_is_given_up(pair: Pair) -> None:
    await write_every_kind(pair.source)
    dump = pair.source.dump()
    await anext(dump)
    assert isinstance(dump, AsyncGenerator)
    await dump.aclose()
    await put(pair.source, new_tasks=[rows.task(9_000)])
    assert len((await dumped(pair.source))["task"]) == TASKS + 2


async def test_a_dump_does_not_keep_a_writer(pair: Pair) -> None:
    await write_every_kind(pair.source)
    dump = pair.source.dump()
    await anext(dump)
    async with asyncio.timeout(PATIENCE):
        await put(pair.source, new_tasks=[rows.task(9_000)])
    assert len([page async for page in dump]) > len(DUMPED) - 1


async def test_a_value_that_cannot_be_kept_is_rejected(pair: Pair) -> None:
    with pytest.raises(DataRejected):
        await pair.target.fill("task", [rows.task(1, rank=2**80)])


async def test_a_closed_store_is_not_dumped(pair: Pair) -> None:
    await pair.source.close()
    with pytest.raises(StoreUnavailable):
        await dumped(pair.source)
    with pytest.raises(StoreUnavailable):
        await pair.source.fill("task", [rows.task(1)])


# The schema


async def test_an_empty_database_gets_the_newest_schema_once(database: Database) -> None:
    before, newest = await database.store().migrate()
    assert before == 0
    assert newest > 0
    assert await database.store().migrate() == (newest, newest)
    store = database.store()
    await store.open()
    await put(store, new_tasks=[rows.task(1)])
    await store.close()
    assert await database.store().migrate() == (newest, newest)
    assert database.faults() == []


async def test_a_database_that_was_served_keeps_its_rows(database: Database) -> None:
    store = database.store()
    await store.open()
    await put(store, new_tasks=[rows.task(1)])
    await store.close()
    await store.migrate()
    await store.open()
    assert await get_task(store, 1) == rows.task(1)
    await store.close()


async def test_many_processes_migrate_at_once(database: Database) -> None:
    found: Sequence[tuple[int, int]] = await asyncio.gather(*(database.store().migrate() for _ in range(8)))
    [newest] = {after for _, after in found}
    assert min(before for before, _ in found) == 0
    assert await database.store().migrate() == (newest, newest)


async def test_only_a_known_database_is_migrated(database: Database) -> None:
    await database.store().migrate()
    database.make_newer()
    with pytest.raises(SchemaMismatch, match=r"9999.*start the newer server"):
        await database.store().migrate()


async def test_a_database_of_another_program_is_not_migrated(database: Database) -> None:
    database.make_foreign()
    with pytest.raises(SchemaMismatch, match="another program"):
        await database.store().migrate()


async def test_a_database_out_of_reach_is_not_migrated(database: Database) -> None:
    database.unlink()
    with pytest.raises(StoreUnavailable):
        await database.store().migrate()
