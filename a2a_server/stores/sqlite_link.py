"""A connection to a SQLite file on a thread of its own, transactions on it, and what its errors mean to the engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiosqlite

from a2a_server.errors import DataRejected, EngineError, StoreUnavailable
from a2a_server.stores.sqlite_schema import connect

T = TypeVar("T")


class Link(aiosqlite.Connection):
    """A connection that runs whole functions on its thread; `busy` are those that wait or run."""

    def __init__(self, path: Path, pragmas: tuple[str, ...]) -> None:
        super().__init__(partial(connect, path, pragmas), iter_chunk_size=64)
        self.busy = 0

    @classmethod
    async def connected(cls, path: Path, pragmas: tuple[str, ...]) -> Link:
        """A connection that is open. Raises sqlite3.Error."""
        link = cls(path, pragmas)
        await link
        return link

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns or raises. A cancelled caller does not stop it."""
        if not self._running or self._connection is None:
            raise StoreUnavailable("the store is closed")
        self.busy += 1
        try:
            result: T = await self._execute(function, self._connection)  # type: ignore[no-untyped-call]  # aiosqlite's
        finally:
            self.busy -= 1
        return result


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock, commit at the end, roll back on every exception."""
    if db.in_transaction:  # a ROLLBACK failed
        db.execute("ROLLBACK")
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if db.in_transaction:
                db.execute("ROLLBACK")
        raise


@contextmanager
def translated() -> Iterator[None]:
    """Raises StoreUnavailable and DataRejected instead of sqlite3's errors."""
    try:
        yield
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        raise _engine_error(error) from error


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(
            "SQLite does not answer: its file is locked or out of reach, or the disk full or broken"
        )
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError | OverflowError):
        return DataRejected("SQLite refused a value")
    if isinstance(error, UnicodeEncodeError):
        return DataRejected("a text holds half of a surrogate pair")
    if isinstance(error, sqlite3.ProgrammingError) and "binding" in str(error):  # Python 3.12: a type it cannot keep
        return DataRejected("SQLite refused a value")
    return StoreUnavailable("SQLite failed: the file is closed, damaged, or no database")
