"""What the artifact store in a directory does beyond the contract: planted links, a failing disk, what stays behind."""

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import pytest

from a2a_server.artifacts.filesystem import INCOMING, FilesystemArtifacts
from a2a_server.errors import ConfigurationError, ObjectMissing, StoreUnavailable, TooLarge
from tests.contracts.artifact_stores import KEY, NAME, below, content, names, put
from tests.patience import PATIENCE

OUTER, INNER, FILE = KEY[:6], KEY[:8], f"{KEY}.1.1"
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FilesystemArtifacts]:
    store = FilesystemArtifacts(tmp_path / "objects")
    yield store
    await store.close()


async def test_files_are_for_their_owner_only(files: FilesystemArtifacts, tmp_path: Path) -> None:
    await put(files, NAME, b"x")
    root = tmp_path / "objects"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, root / INCOMING, root / OUTER, root / OUTER / INNER)}
    assert modes == {0o700}
    assert stat.S_IMODE((root / OUTER / INNER / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("planted", [OUTER, f"{OUTER}/{INNER}"])
async def test_a_planted_directory_link_is_not_followed(
    files: FilesystemArtifacts, tmp_path: Path, planted: str
) -> None:
    outside = tmp_path / "outside"
    (outside / INNER).mkdir(parents=True)
    (outside / FILE).write_bytes(b"secret")
    (outside / INNER / FILE).write_bytes(b"secret")
    link = tmp_path / "objects" / planted
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(StoreUnavailable):
        await put(files, NAME, b"evil")
    with pytest.raises(ObjectMissing):
        await content(files, NAME)
    await files.delete([NAME])
    assert await names(files) == []
    assert {path.read_bytes() for path in outside.rglob("*") if path.is_file()} == {b"secret"}
    assert below(outside) == sorted([FILE, f"{INNER}/{FILE}"])


async def test_a_planted_object_link_is_neither_read_nor_written_through(
    files: FilesystemArtifacts, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    link = tmp_path / "objects" / OUTER / INNER / FILE
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(ObjectMissing):
        await content(files, NAME)
    assert await names(files) == []
    await put(files, NAME, b"ours")
    assert await content(files, NAME) == b"ours"
    assert outside.read_bytes() == b"secret"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
async def test_what_is_no_file_is_no_object(
    files: FilesystemArtifacts, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "objects" / OUTER / INNER / FILE
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(ObjectMissing):
        await content(files, NAME)
    assert await names(files) == []


async def test_bytes_are_synced_before_the_name_and_the_directories_after(
    files: FilesystemArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def watched_sync(file: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        sync(file)

    def watched_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        done.append("rename")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "rename", watched_rename)
    await put(files, NAME, b"x")
    assert done == ["file", "rename", "directory", "directory", "directory"]


@pytest.mark.parametrize("function", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT], ids=errno.errorcode.get)
async def test_a_failing_disk_is_unavailable_and_keeps_nothing(
    files: FilesystemArtifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    def failing(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, function, failing)
        with pytest.raises(StoreUnavailable):
            await put(files, NAME, b"x" * 600_000)
    assert below(tmp_path) == []
    assert (await put(files, NAME, b"x")).size == 1


async def test_empty_directories_are_removed_under_running_puts(files: FilesystemArtifacts, tmp_path: Path) -> None:
    async def come_and_go(number: int) -> None:
        for fence in range(10):
            await put(files, f"{KEY}/{number}/{fence}", b"x")
            await files.delete([f"{KEY}/{number}/{fence}"])

    await asyncio.gather(*(come_and_go(number) for number in range(8)))
    assert [path.name for path in (tmp_path / "objects").iterdir()] == [INCOMING]


def leave(incoming: Path, **ages_seconds: float) -> None:
    incoming.mkdir(parents=True, exist_ok=True)
    for name, age in ages_seconds.items():
        (incoming / name).write_bytes(b"x")
        os.utime(incoming / name, times=(0, time.time() - age))


async def test_what_a_kill_left_is_removed_at_start_and_when_a_walk_begins(tmp_path: Path) -> None:
    incoming = tmp_path / "objects" / INCOMING
    leave(incoming, old=90, young=30)
    store = FilesystemArtifacts(tmp_path / "objects")
    assert below(incoming) == ["young"]
    leave(incoming, old=90)
    await store.list(NAME, 10)
    assert below(incoming) == ["old", "young"]
    assert await names(store) == []
    assert below(incoming) == ["young"]
    await store.close()


async def test_an_upload_that_takes_its_time_is_no_leftover(files: FilesystemArtifacts, tmp_path: Path) -> None:
    incoming = tmp_path / "objects" / INCOMING
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        reached.set()
        await go_on.wait()
        yield b"y"

    putting = asyncio.create_task(files.put(NAME, chunks(), limit_bytes=1 << 30, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    [growing] = below(incoming)
    os.utime(incoming / growing, times=(0, time.time() - 9000))
    other = FilesystemArtifacts(tmp_path / "objects")
    assert await names(other) == []
    assert below(incoming) == [growing]
    await other.close()
    go_on.set()
    await putting
    assert len(await content(files, NAME)) == 1_000_001


async def test_closing_ends_a_put_and_keeps_nothing(files: FilesystemArtifacts, tmp_path: Path) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        reached.set()
        await go_on.wait()

    putting = asyncio.create_task(files.put(NAME, chunks(), limit_bytes=1 << 30, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    await files.close()
    go_on.set()
    with pytest.raises(StoreUnavailable):
        await putting
    assert below(tmp_path) == []


async def test_no_file_is_left_of_a_canceled_put(files: FilesystemArtifacts, tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(1_000_000):
            if number == 2:
                reached.set()
            yield b"x" * 300_000

    putting = asyncio.create_task(files.put(NAME, chunks(), limit_bytes=1 << 40, media_type=""))
    async with asyncio.timeout(PATIENCE):
        await reached.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert below(tmp_path) == []


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="descriptors are counted in /proc")
async def test_no_descriptor_is_left_open(files: FilesystemArtifacts) -> None:
    async def use() -> None:
        await put(files, NAME, b"x" * 600_000)
        reading = files.read(NAME)
        await anext(reading)
        assert isinstance(reading, AsyncGenerator)
        await reading.aclose()
        with pytest.raises(TooLarge):
            await put(files, NAME, b"x" * 300_000, b"x", limit_bytes=300_000)
        await names(files)
        await files.delete([NAME])

    await use()
    before = len(below(DESCRIPTORS))
    await use()
    assert len(below(DESCRIPTORS)) == before


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="file"):
        FilesystemArtifacts(tmp_path / "file")
    with pytest.raises(ConfigurationError, match="below"):
        FilesystemArtifacts(tmp_path / "file" / "below")
