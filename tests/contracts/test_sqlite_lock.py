"""One process at a time serves a SQLite file."""

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from a2a_server.errors import ConfigurationError
from a2a_server.stores.sqlite_lock import FileLock
from tests.patience import PATIENCE


def hold(database: Path, held: Event) -> None:
    FileLock(database).acquire()
    held.set()
    signal.pause()


def test_only_one_holds_it_until_it_is_released(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "tasks.db"), FileLock(tmp_path / "tasks.db")
    first.acquire()
    first.acquire()
    with pytest.raises(ConfigurationError, match=r"another server process serves .*tasks\.db"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()
    assert not (tmp_path / "tasks.db").exists()


def test_two_databases_have_two_locks(tmp_path: Path) -> None:
    locks = [FileLock(tmp_path / name) for name in ("a.db", "b.db")]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold, args=(tmp_path / "tasks.db", held))
    process.start()
    assert held.wait(PATIENCE)
    lock = FileLock(tmp_path / "tasks.db")
    with pytest.raises(ConfigurationError):
        lock.acquire()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    lock.acquire()
    lock.release()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file.* name another --store"):
        FileLock(tmp_path / "file" / "tasks.db").acquire()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0")
    with pytest.raises(ConfigurationError, match="passwd is no SQLite database; name another file"):
        FileLock(tmp_path / "passwd").acquire()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["passwd"]


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "new" / "place" / "tasks.db")
    lock.acquire()
    lock.release()
    assert (tmp_path / "new" / "place").is_dir()
