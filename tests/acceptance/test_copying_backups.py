"""Backups: what they hold, that damage is found before anything is restored, and that nothing half-done looks done."""

from __future__ import annotations

import gzip
import hashlib
import json
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest

from a2a_server.codec import canonical
from a2a_server.engine.unfinished import unfinished
from a2a_server.errors import ConfigurationError, Damaged
from a2a_server.settings import Settings
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.wiring.backup import back_up, restore, verify
from a2a_server.wiring.backup_files import TABLES, BackupReader
from a2a_server.wiring.copying import Copied
from tests.acceptance.copied import LARGE, database, entries, everything, fill, keep, kept, opened, rows_of, settings_in
from tests.contracts.rows import key, worker
from tests.services import service
from tests.services.fresh import fresh_database, fresh_mongodb

FRESH = {"postgresql": fresh_database, "mongodb": fresh_mongodb}
Change = Callable[[bytes], bytes]


class Interrupted(Exception):
    pass


def silent(_doing: str, _done: int, _total: int | None) -> None:
    pass


async def backed_up(settings: Settings, path: Path) -> Copied:
    return await back_up(settings, path, version="1.2.3", tell=silent)


@pytest.fixture
def origin(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "origin")


@pytest.fixture
def goal(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "goal")


@pytest.fixture
async def backup(origin: Settings, tmp_path: Path) -> Path:
    """Of a store with something in every table, and of three objects."""
    await fill(origin)
    await keep(origin, a=b"", b=LARGE, c=b"c")
    await backed_up(origin, tmp_path / "backup")
    return tmp_path / "backup"


async def test_what_is_restored_is_what_was_backed_up(backup: Path, origin: Settings, goal: Settings) -> None:
    copied = await restore(goal, backup, silent)
    assert await rows_of(goal) == await rows_of(origin, "worker", "blob")
    assert await kept(goal) == await kept(origin)
    assert copied.tasks == 5
    assert copied.moved == (3, len(LARGE) + 1)
    async with opened(goal) as store:
        assert await unfinished(store) == ""


async def test_a_backup_goes_into_another_kind_of_store_with_its_objects(
    backup: Path, origin: Settings, tmp_path: Path
) -> None:
    with fresh_database(service("postgresql")) as address:
        shared = settings_in(tmp_path / "shared", address).model_copy(update={"artifacts": "store://"})
        await restore(shared, backup, silent)
        assert await kept(shared) == await kept(origin)
        again = tmp_path / "again"
        await backed_up(shared, again)
    assert BackupReader(again).sums == BackupReader(backup).sums
    assert (again / "objects.bin").read_bytes() == (backup / "objects.bin").read_bytes()


def test_a_backup_is_its_owners_and_tells_what_it_holds(backup: Path) -> None:
    assert stat.S_IMODE(backup.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in backup.iterdir()} == {0o600}
    assert {entry.name for entry in backup.parent.iterdir()} == {"origin", "backup"}
    manifest = json.loads((backup / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"]) == (1, "1.2.3")
    assert manifest["at"].startswith("20")
    lines = gzip.decompress((backup / "task.jsonl.gz").read_bytes()).splitlines()
    assert manifest["tables"]["task"]["rows"] == len(lines) == 5
    named = dict(zip(manifest["tables"]["task"]["columns"], json.loads(lines[0]), strict=True))
    assert named["id"] == "task-1"
    assert named["status"] == {"b": "c3RhdHVz"}
    total = sum(int(hashlib.sha256(line).hexdigest(), 16) for line in lines) % 2**256
    assert manifest["tables"]["task"]["sha256"] == f"{total:064x}"
    assert manifest["objects"]["bytes"] == (backup / "objects.bin").stat().st_size


def flipped(at: float) -> Change:
    def change(body: bytes) -> bytes:
        place = int(len(body) * at)
        return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]

    return change


def cut(body: bytes) -> bytes:
    return body[: len(body) // 2]


def without_a_line(body: bytes) -> bytes:
    return gzip.compress(b"".join(gzip.decompress(body).splitlines(keepends=True)[1:]))


def with_other_line(body: bytes) -> bytes:
    return gzip.compress(gzip.decompress(body).replace(b"task-1", b"task-9"))


def with_rubbish(body: bytes) -> bytes:
    return gzip.compress(gzip.decompress(body) + b"{}\n")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("event.jsonl.gz", flipped(0.5)),
        ("message.jsonl.gz", flipped(0.9)),
        ("state.jsonl.gz", cut),
        ("audit.jsonl.gz", lambda _: b""),
        ("task.jsonl.gz", without_a_line),
        ("task.jsonl.gz", with_other_line),
        ("tally.jsonl.gz", with_rubbish),
        ("objects.jsonl.gz", flipped(0.5)),
        ("objects.jsonl.gz", without_a_line),
        ("objects.bin", flipped(0.3)),
        ("objects.bin", cut),
        ("manifest.json", flipped(0.5)),
        ("manifest.json", cut),
    ],
)
async def test_damage_is_found_and_nothing_is_restored(
    backup: Path, goal: Settings, file: str, change: Change, tmp_path: Path
) -> None:
    place = backup / file
    place.write_bytes(change(place.read_bytes()))
    with pytest.raises(Damaged, match=rf"backup/{file} is damaged: .* Use another backup\.$"):
        verify(backup, silent)
    with pytest.raises(Damaged, match=file):
        await restore(goal, backup, silent)
    assert entries(tmp_path / "goal") == []


@pytest.mark.parametrize("table", [*TABLES, "objects"])
def test_a_table_that_is_missing_is_found(backup: Path, table: str) -> None:
    (backup / f"{table}.jsonl.gz").unlink()
    with pytest.raises(Damaged, match=rf"{table}.jsonl.gz is damaged"):
        verify(backup, silent)


def test_every_part_of_the_manifest_counts(backup: Path) -> None:
    place = backup / "manifest.json"
    whole = place.read_bytes()
    for at in range(0, len(whole), 13):
        place.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises((Damaged, ConfigurationError)):
            BackupReader(backup)
    place.write_bytes(whole)
    verify(backup, silent)


def rewritten(backup: Path, **members: object) -> None:
    manifest = orjson.loads((backup / "manifest.json").read_bytes()) | members
    del manifest["sha256"]
    manifest["sha256"] = hashlib.sha256(canonical(manifest)).hexdigest()
    (backup / "manifest.json").write_bytes(orjson.dumps(manifest))


def test_another_format_is_refused_with_the_version_that_wrote_it(backup: Path) -> None:
    rewritten(backup, format=2, version="9.9")
    with pytest.raises(ConfigurationError, match=r"made by version 9\.9 in a format that this one does not read"):
        BackupReader(backup)
    rewritten(backup, format=1, tables={"task": {"columns": ["key", "more"]}})
    with pytest.raises(ConfigurationError, match=r"made by version 9\.9"):
        BackupReader(backup)


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty directory"])
def test_what_is_no_backup_is_said_to_be_none(tmp_path: Path, what: str) -> None:
    path = tmp_path / "backup"
    if what == "a file":
        path.touch()
    elif what != "nothing":
        path.mkdir()
    with pytest.raises(ConfigurationError, match=r"is no backup|Not a directory; name a backup"):
        verify(path, silent)


async def test_a_backup_is_a_new_directory(backup: Path, origin: Settings) -> None:
    before = (backup / "manifest.json").read_bytes()
    with pytest.raises(ConfigurationError, match="backup exists; a backup is a new directory: give it another name"):
        await backed_up(origin, backup)
    assert (backup / "manifest.json").read_bytes() == before
    with pytest.raises(ConfigurationError, match="Not a directory; name another place"):
        await backed_up(origin, backup / "manifest.json" / "x" / "y")


@pytest.mark.parametrize("at", ["copying task", "copying audit", "copying objects"])
async def test_a_backup_that_was_interrupted_leaves_nothing(origin: Settings, tmp_path: Path, at: str) -> None:
    await fill(origin)
    await keep(origin, a=b"a")

    def tell(doing: str, _done: int, _total: int | None) -> None:
        if doing == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        await back_up(origin, tmp_path / "backup", version="1", tell=tell)
    assert entries(tmp_path) == ["origin"]


async def test_a_store_that_cannot_be_read_leaves_no_backup(origin: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no database"):
        await backed_up(origin, tmp_path / "backup")
    async with opened(origin):
        pass
    with pytest.raises(ConfigurationError, match=r"there is no directory .*artifacts with the artifacts"):
        await backed_up(origin, tmp_path / "backup")
    assert entries(tmp_path) == ["origin"]


@pytest.mark.parametrize("at", ["copying task", "copying audit", "checking task", "copying objects"])
async def test_a_restore_that_was_interrupted_goes_on(backup: Path, origin: Settings, goal: Settings, at: str) -> None:
    def tell(doing: str, _done: int, _total: int | None) -> None:
        if doing == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        await restore(goal, backup, tell)
    async with opened(goal) as store:
        assert (await unfinished(store)).startswith("the backup of 20")
    await restore(goal, backup, silent)
    assert await rows_of(goal) == await rows_of(origin, "worker", "blob")
    assert await kept(goal) == await kept(origin)


async def test_only_an_empty_store_is_restored_into(backup: Path, origin: Settings, goal: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"origin/tasks.db is not empty, its table task has rows"):
        await restore(origin, backup, silent)
    async with opened(goal) as store:
        await store.fill("sent", everything(2)["sent"])
    with pytest.raises(ConfigurationError, match="its table sent has rows"):
        await restore(goal, backup, silent)


async def test_a_store_that_is_served_is_not_restored_into(backup: Path, goal: Settings) -> None:
    lock = FileLock(database(goal))
    lock.acquire()
    try:
        with pytest.raises(ConfigurationError, match=r"a server process serves .*goal/tasks.db: stop it first\.$"):
            await restore(goal, backup, silent)
    finally:
        lock.release()


async def test_a_served_store_is_backed_up_as_it_is(origin: Settings, goal: Settings, tmp_path: Path) -> None:
    await fill(origin)
    await keep(origin, a=b"a")
    lock = FileLock(database(origin))
    lock.acquire()
    try:
        async with opened(origin) as store:
            await store.register(worker(901))
            await backed_up(origin, tmp_path / "backup")
    finally:
        lock.release()
    await restore(goal, tmp_path / "backup", silent)
    found = await rows_of(goal)
    assert "worker" not in found
    assert found["task"][-1][25] == key(900)


@pytest.mark.parametrize("name", sorted(FRESH))
async def test_a_store_that_gives_no_one_moment_is_backed_up_only_while_nobody_serves_it(
    tmp_path: Path, name: str
) -> None:
    with FRESH[name](service(name)) as address:
        shared = settings_in(tmp_path / "shared", address)
        await fill(shared)
        await keep(shared, a=b"a")
        await backed_up(shared, tmp_path / "quiet")
        async with opened(shared) as store:
            await store.register(worker(901))
        if name == "postgresql":
            await backed_up(shared, tmp_path / "served")
            assert BackupReader(tmp_path / "served").sums == BackupReader(tmp_path / "quiet").sums
        else:
            with pytest.raises(
                ConfigurationError, match=r"is served, by 1 workers .* `a2a-server workers` lists them\.$"
            ):
                await backed_up(shared, tmp_path / "served")


async def test_progress_is_told_with_the_whole_where_it_is_known(backup: Path, goal: Settings) -> None:
    told: list[tuple[str, int, int | None]] = []
    await restore(goal, backup, lambda doing, done, total: told.append((doing, done, total)))
    assert ("reading event", 7, 7) in told
    assert ("copying event", 7, 7) in told
    assert ("checking event", 7, 7) in told
    assert told[-1] == ("copying objects", 3, 3)
    order: Sequence[str] = list(dict.fromkeys(doing.split()[0] for doing, _, _ in told))
    assert order == ["reading", "copying", "checking"]
