"""What only SQLite's dump can be asked: that it is one moment, whatever is written meanwhile, and a page of memory."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from a2a_server.errors import DataRejected
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.stores.sqlite_dump import PAGE_BYTES, PAGE_ROWS
from tests.contracts import rows
from tests.contracts.artifact_stores import below
from tests.contracts.rows import key, put

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


async def test_a_dump_is_one_moment(store: SqliteStore) -> None:
    """A writer adds a task with its event and count in one turn; the dump has all three or none."""
    await put(store, new_tasks=[rows.task(n) for n in range(2_000)])
    done = asyncio.Event()

    async def write() -> None:
        for n in range(10_000, 20_000):
            if done.is_set():
                break
            counted = {("shard", rows.tally_key(rows.task(n))): 1}
            await put(store, new_tasks=[rows.task(n)], events=[rows.status(n, 1)], tally=counted)

    writing = asyncio.create_task(write())
    moments: list[int] = []
    for _ in range(5):
        sizes = {"task": 0, "event": 0, "tally": 0}
        async for table, page in store.dump():
            sizes[table] += int(str(page[0][2])) if table == "tally" else len(page)
        assert sizes["task"] - 2_000 == sizes["event"] == sizes["tally"]
        moments.append(sizes["event"])
        heads = await store.heads([key(10_000 + sizes["event"])])
        while not heads:  # somebody did write meanwhile, or does so now
            heads = await store.heads([key(10_000 + sizes["event"])])
            await asyncio.sleep(0)
    done.set()
    await writing
    assert moments == sorted(set(moments))


async def test_a_page_is_small(store: SqliteStore) -> None:
    await put(store, new_tasks=[rows.task(n) for n in range(2_000)])
    await put(store, events=[rows.chunk(1, n, body=b"x" * 400_000) for n in range(1, 20)])
    tasks: list[int] = []
    bodies: list[int] = []
    async for table, page in store.dump():
        if table == "task":
            tasks.append(len(page))
        else:
            bodies.append(sum(len(bytes(row[-1])) for row in page if isinstance(row[-1], bytes)))
    assert tasks == [PAGE_ROWS] * 4
    assert max(bodies) < PAGE_BYTES + 400_000
    assert sum(bodies) == 19 * 400_000


async def test_large_bodies_that_are_filled_in_lie_aside_and_once(store: SqliteStore, path: Path) -> None:
    large: Sequence[tuple[object, ...]] = [rows.chunk(1, 1, body=b"x" * 100_000), rows.chunk(1, 2)]
    spoken = [rows.message(1, 1)._replace(body=b"y" * 100_000)]
    for inserted in (2, 0):
        assert await store.fill("event", large) == inserted
        assert await store.fill("message", spoken) == inserted // 2
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*), sum(length(body)) FROM content").fetchone() == (2, 200_000)
        assert db.execute("SELECT sum(length(body)) FROM event").fetchone() == (5,)


async def test_what_is_filled_in_at_once_is_all_or_nothing(store: SqliteStore) -> None:
    with pytest.raises(DataRejected):
        await store.fill("task", [rows.task(1), rows.task(2), rows.task(3, id="\ud800")])
    with pytest.raises(DataRejected):
        await store.fill("task", [rows.task(1), rows.task(2, id="task-1")])
    with pytest.raises(DataRejected):
        await store.fill("edge", [(key(1), key(2), 0, 1), (key(1), key(3))])
    assert [page async for page in store.dump()] == []


async def test_a_table_that_no_dump_has_is_refused(store: SqliteStore) -> None:
    for table in ("meta", "content", "task; DROP TABLE task"):
        with pytest.raises(ValueError, match="no dump has a table"):
            await store.fill(table, [("schema", "1")])


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="descriptors are counted in /proc")
async def test_a_dump_leaves_no_connection(store: SqliteStore) -> None:
    await put(store, new_tasks=[rows.task(1)])
    assert len([page async for page in store.dump()]) == 1
    before = len(below(DESCRIPTORS))
    for _ in range(3):
        assert len([page async for page in store.dump()]) == 1
    assert len(below(DESCRIPTORS)) == before
