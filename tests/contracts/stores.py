"""Every task store that the contract suite runs over: one class and one line each."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

from a2a_server.ports import TaskStore
from a2a_server.stores.sqlite import SqliteStore
from tests.contracts.mongodb_database import MongodbDatabase
from tests.contracts.postgresql_database import PostgresqlDatabase


class Database(Protocol):
    """An empty database of one backend, on which any number of stores may work at once."""

    def store(self, clock_offset_us: int = 0) -> TaskStore:
        """A store on it that is not open yet."""
        ...

    def make_newer(self) -> None:
        """Its schema says that a later version of this server made it. A store has opened it before."""
        ...

    def make_foreign(self) -> None:
        """It has tables of another program. No store has opened it before."""
        ...

    def faults(self) -> list[str]:
        """What the backend's own check finds wrong with it."""
        ...

    def unlink(self) -> None:
        """Take it away, so that the next store that is opened cannot reach it."""
        ...

    def drop(self) -> None:
        """Leave nothing of it behind, after the test."""
        ...


class SqliteDatabase:
    def __init__(self, directory: Path) -> None:
        self._path = directory / "database" / "tasks.db"
        self._path.parent.mkdir()

    def store(self, clock_offset_us: int = 0) -> TaskStore:
        return SqliteStore(self._path, clock_offset_us=clock_offset_us)

    def make_newer(self) -> None:
        self._run("UPDATE meta SET value = '9999' WHERE name = 'schema'")

    def make_foreign(self) -> None:
        self._run("CREATE TABLE meta (name TEXT, value TEXT)")

    def faults(self) -> list[str]:
        return [fault for (fault,) in self._run("PRAGMA integrity_check") if fault != "ok"]

    def unlink(self) -> None:
        for file in self._path.parent.iterdir():
            file.unlink()
        self._path.parent.rmdir()

    def drop(self) -> None:
        pass  # it is in the test's own directory

    def _run(self, sql: str) -> list[tuple[str]]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            return db.execute(sql).fetchall()


DATABASES: dict[str, Callable[[Path], Database]] = {
    "mongodb": MongodbDatabase,
    "postgresql": PostgresqlDatabase,
    "sqlite": SqliteDatabase,
}
OPENED: dict[str, Callable[[Path], Database]] = {**DATABASES, "postgresql": partial(PostgresqlDatabase, keeping=True)}
"""The same for tests that open a store on it first of all: its tables may be there already."""
