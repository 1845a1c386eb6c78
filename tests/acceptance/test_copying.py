"""Stores copied into one another: the same rows, whatever kinds they are, or an error that says what differs."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from a2a_server.artifacts.filesystem import FilesystemArtifacts
from a2a_server.engine.unfinished import refuse_unfinished
from a2a_server.errors import ConfigurationError, Damaged
from a2a_server.examples.workbench import agent
from a2a_server.model.queries import RowQuery, Table
from a2a_server.settings import Settings, load
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.wiring import Process
from a2a_server.wiring.copying import Copied, check, copy_store, pour
from a2a_server.wiring.dumps import dumped, tables
from a2a_server.wiring.objects import AT_ONCE, copy_objects
from a2a_server.wiring.places import identity
from tests.acceptance.copied import (
    LARGE,
    database,
    entries,
    everything,
    fill,
    keep,
    kept,
    object_name,
    opened,
    rows_of,
    settings_in,
)
from tests.contracts.rows import chunk, key, status, task, worker
from tests.services import service
from tests.services.fresh import fresh_database, fresh_mongodb

FRESH = {"postgresql": fresh_database, "mongodb": fresh_mongodb}


class Interrupted(Exception):
    pass


def silent(_doing: str, _done: int, _total: int | None) -> None:
    pass


def interrupting(at: str) -> Callable[[str, int, int | None], None]:
    def tell(doing: str, _done: int, _total: int | None) -> None:
        if doing == at:
            raise Interrupted

    return tell


async def copy(
    origin: Settings,
    goal: Settings,
    tell: Callable[[str, int, int | None], None] = silent,
    *,
    live: bool = False,
    artifacts: bool = False,
) -> Copied:
    return await copy_store(origin, goal, artifacts=artifacts, live=live, tell=tell)


@pytest.fixture
def first(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "second")


@pytest.fixture(params=sorted(FRESH))
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """An empty store that processes share."""
    with FRESH[request.param](service(request.param)) as address:
        yield settings_in(tmp_path / "shared", address)


async def test_a_copy_has_every_row_but_those_of_workers(first: Settings, second: Settings) -> None:
    await fill(first)
    copied = await copy(first, second)
    wanted = {table: sorted(rows, key=repr) for table, rows in everything(5).items() if table != "worker"}
    assert await rows_of(second) == wanted
    assert {table: one.rows for table, one in copied.sums.items()} == {name: len(rows) for name, rows in wanted.items()}
    assert copied.tasks == 5


async def test_a_copy_through_another_kind_of_store_is_the_same(
    first: Settings, second: Settings, shared: Settings
) -> None:
    await fill(first, 1200)
    there = await copy(first, shared)
    back = await copy(shared, second)
    assert dict(back.sums) == dict(there.sums)
    assert await rows_of(second) == await rows_of(first, "worker")


async def test_an_empty_store_is_copied(first: Settings, second: Settings) -> None:
    async with opened(first):
        pass
    assert (await copy(first, second)).rows == 0


async def test_what_was_leased_is_nobodys_in_the_copy(first: Settings, second: Settings) -> None:
    await fill(first)
    async with opened(first) as store:
        await store.fill("worker", [worker(901)._replace(seen_at=1 << 60)])
    await copy(first, second)
    async with opened(second) as store:
        assert not (await store.rows(RowQuery(Table.WORKER))).rows
    found = await rows_of(second)
    assert found["task"][-1][25] == key(900)


@pytest.mark.parametrize("at", ["copying task", "copying event", "copying audit", "checking task", "checking audit"])
async def test_a_copy_that_was_interrupted_goes_on_and_no_server_works_with_half_of_it(
    first: Settings, second: Settings, at: str
) -> None:
    await fill(first)
    with pytest.raises(Interrupted):
        await copy(first, second, interrupting(at))
    process = Process(agent, second)
    with pytest.raises(
        ConfigurationError, match=r"this store holds a part of a copy of .*first/tasks.db: give the same"
    ):
        await process.start()
    await copy(first, second)
    assert await rows_of(second) == await rows_of(first, "worker")
    async with opened(second) as store:
        await refuse_unfinished(store)


async def test_a_source_that_changed_while_the_copy_was_interrupted_is_noticed(
    first: Settings, second: Settings
) -> None:
    await fill(first)
    with pytest.raises(Interrupted):
        await copy(first, second, interrupting("copying event"))
    async with opened(first) as store:
        assert await store.erase([key(1)]) == 0
        await store.fill("task", [task(77)])
    async with opened(second) as store:
        await store.fill("task", [task(78)])
    with pytest.raises(Damaged, match=r"second/tasks.db: the table task has 7 rows where 6 .*make the target anew"):
        await copy(first, second)
    with pytest.raises(ConfigurationError, match="part of a copy"):
        await Process(agent, second).start()


async def test_a_part_of_another_copy_is_refused(first: Settings, second: Settings, tmp_path: Path) -> None:
    await fill(first)
    other = settings_in(tmp_path / "other")
    await fill(other)
    with pytest.raises(Interrupted):
        await copy(first, second, interrupting("copying event"))
    with pytest.raises(ConfigurationError, match=r"holds a part of a copy of .*first/tasks.db: go on with that one"):
        await copy(other, second)
    with pytest.raises(ConfigurationError, match="this store holds a part of a copy"):
        await copy(second, settings_in(tmp_path / "third"))


async def test_only_an_empty_store_is_filled(first: Settings, second: Settings) -> None:
    await fill(first)
    async with opened(second) as store:
        await store.fill("worker", [worker(3)])
        await store.fill("gate", everything(1)["gate"])
    with pytest.raises(
        ConfigurationError, match=r"second/tasks.db is not empty, its table gate has rows: name an empty"
    ):
        await copy(first, second)
    assert set(await rows_of(second)) == {"gate", "worker"}


async def test_a_store_that_one_process_serves_is_not_filled_and_is_read_only_where_that_is_said(
    first: Settings, second: Settings
) -> None:
    await fill(first)
    lock = FileLock(database(first))
    lock.acquire()
    try:
        with pytest.raises(ConfigurationError, match=r"serves .*first/tasks.db: stop it first; or, with --live, copy"):
            await copy(first, second)
        await copy(first, second, live=True)
    finally:
        lock.release()
    lock = FileLock(database(second))
    lock.acquire()
    try:
        with pytest.raises(ConfigurationError, match=r"serves .*second/tasks.db: stop it first\.$"):
            await copy(first, second)
    finally:
        lock.release()


async def test_a_store_with_living_workers_is_refused(first: Settings, shared: Settings) -> None:
    await fill(first)
    async with opened(shared) as store:
        await store.register(worker(5))
    with pytest.raises(
        ConfigurationError, match=rf"is served, by 1 workers \({key(5).hex()}…\): stop all its processes"
    ):
        await copy(first, shared)
    with pytest.raises(ConfigurationError, match="is served, by 1 workers"):
        await copy(shared, first)


async def test_a_source_that_is_missing_is_not_made(first: Settings, second: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no database .*first/tasks.db; name another"):
        await copy(first, second)
    assert not database(first).exists()


async def test_a_store_is_not_copied_into_itself(first: Settings) -> None:
    await fill(first)
    with pytest.raises(ConfigurationError, match="is both the source and the target"):
        await copy(first, load(None, store=first.store.replace("/first/", "/x/../first/")))


class Forgetful(SqliteStore):
    """Misbehaves on purpose: says that it kept every row, and forgets or changes one."""

    change: Callable[[tuple[object, ...]], Sequence[tuple[object, ...]]] = lambda _: ()

    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        if table == "event":
            records = [*records[1:], *type(self).change(records[0])]
        await super().fill(table, records)
        return len(records)


@pytest.mark.parametrize("changes", [False, True])
async def test_a_row_that_is_lost_or_changed_is_found(
    first: Settings, tmp_path: Path, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(first)
    if changes:
        monkeypatch.setattr(Forgetful, "change", lambda row: [(*row[:-1], bytes(row[-1])[::-1])])
    store = Forgetful(tmp_path / "forgets.db")
    await store.open()
    try:
        chosen = tables(blobs=True)
        async with opened(first) as origin, dumped(origin, chosen) as pages:
            sums = await pour(pages, store, silent)
        what = "7 rows as expected, but not with the same" if changes else "6 rows where 7 are expected"
        with pytest.raises(Damaged, match=f"^it: the table event has {what}"):
            await check(sums, store, chosen, silent, where="it")
    finally:
        await store.close()


async def test_a_large_store_is_copied_in_little_memory(first: Settings, second: Settings) -> None:
    body = bytes(8 << 10)
    async with opened(first) as store:
        await store.fill("task", [task(1)])
        for page in range(20):
            await store.fill("event", [status(1, 1 + 500 * page + n, body) for n in range(500)])
        await store.fill("event", [chunk(1, 20_000 + n, body=LARGE) for n in range(20)])
    tracemalloc.start()
    try:
        copied = await copy(first, second)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert copied.sums["event"].rows == 10_020
    assert peak < 40 << 20  # the rows have 88 MiB


async def test_objects_come_along_where_that_is_asked_for(first: Settings, second: Settings) -> None:
    await fill(first)
    await keep(first, a=b"", b=LARGE, c=b"c")
    assert (await copy(first, second, artifacts=True)).missing == ()
    assert await kept(second) == await kept(first)
    assert "blob" not in await rows_of(second)


async def test_objects_move_into_the_store_and_out_of_it(first: Settings, second: Settings, tmp_path: Path) -> None:
    await fill(first)
    async with opened(first) as store:
        blobs = store.blobs()
        assert blobs is not None
        await blobs.delete(["object"])
    await keep(
        first, **{f"o{number}": bytes([number]) * 1000 * number for number in range(3 * AT_ONCE + 1)}, large=LARGE
    )
    inside = second.model_copy(update={"artifacts": "store://"})
    copied = await copy(first, inside, artifacts=True)
    assert copied.missing == (object_name("a"),)
    moved = copied.moved
    assert moved.objects == 3 * AT_ONCE + 2
    third = settings_in(tmp_path / "third")
    assert (await copy(inside, third, artifacts=True)).moved == moved
    assert await kept(third) == await kept(first) == await kept(inside)
    whole = settings_in(tmp_path / "whole").model_copy(update={"artifacts": "store://"})
    await copy(inside, whole)
    assert await kept(whole) == await kept(first)


async def test_objects_go_on_where_they_were_interrupted(first: Settings, second: Settings) -> None:
    await fill(first)
    await keep(first, **{f"o{number:02}": b"x" * number for number in range(3 * AT_ONCE)})
    with pytest.raises(Interrupted):
        await copy(first, second, interrupting("copying objects"), artifacts=True)
    assert len(await kept(second)) == AT_ONCE
    done: list[int] = []
    await copy(first, second, lambda doing, n, _: done.append(n) if "objects" in doing else None, artifacts=True)
    assert done == [2 * AT_ONCE, 3 * AT_ONCE, 3 * AT_ONCE]
    assert await kept(second) == await kept(first)


async def test_a_copy_with_objects_does_not_go_on_where_one_without_them_was_interrupted(
    first: Settings, second: Settings
) -> None:
    await fill(first)
    await keep(first, a=b"a")
    with pytest.raises(Interrupted):
        await copy(first, second, interrupting("checking task"))
    with pytest.raises(ConfigurationError, match=r"holds a part of a copy of .*/tasks.db: go on with that one"):
        await copy(first, second, artifacts=True)


def test_a_mark_names_the_database_and_nothing_secret() -> None:
    url = "postgresql://user:secret@host/tasks"
    assert identity(url) == identity("postgresql://host/tasks") == "postgresql://host/tasks"
    assert identity(f"{url}?schema=a") != identity(f"{url}?schema=b")
    assert "hidden" not in identity(f"{url}?password=hidden")


async def test_objects_of_another_store_are_not_mixed_in(first: Settings, second: Settings, tmp_path: Path) -> None:
    await fill(first)
    await keep(first, a=b"a")
    await keep(second.model_copy(update={"store": f"{second.store}.other"}), b=b"b")
    for _ in range(2):  # what was refused has changed nothing
        with pytest.raises(ConfigurationError, match=r"second/artifacts holds objects already.*name an empty place"):
            await copy(first, second, artifacts=True)
        assert await rows_of(second) == {}
    missing = first.model_copy(update={"artifacts": f"file:{tmp_path}/none"})
    with pytest.raises(ConfigurationError, match=r"there is no directory .*/none with the artifacts; name the one"):
        await copy(missing, second, artifacts=True)
    assert "none" not in entries(tmp_path)


class Cut(FilesystemArtifacts):
    """Misbehaves on purpose: its objects end early."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        return super().read(name, start, 5 if end is None else end)


async def test_an_object_that_does_not_come_whole_is_an_error(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await keep(settings, a=b"whole", b=b"more than that")
    source, target = Cut(tmp_path / "artifacts"), FilesystemArtifacts(tmp_path / "other")
    try:
        with pytest.raises(Damaged, match=f"the object {object_name('b')} came with 5 of 14 bytes"):
            await copy_objects(source, target)
    finally:
        await source.close()
        await target.close()
