"""A connection to a SQLite file on a thread of its own, transactions on it, and what its errors mean to the engine."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import aiosqlite

from a2a_server.errors import DataRejected, EngineError, StoreUnavailable
from a2a_server.stores.sqlite_schema import connect

T = TypeVar("T")

_SQLITE_ERRORS: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError)


class Link(aiosqlite.Connection):
    """A connection that runs whole functions on its thread; `busy` are those that wait or run."""

    def __init__(self, path: Path, pragmas: tuple[str, ...]) -> None:
        super().__init__(partial(connect, path, pragmas), iter_chunk_size=64)
        self.busy = 0

    @classmethod
    async def connected(cls, path: Path, pragmas: tuple[str, ...]) -> Link:
        """A connection that is open. Raises sqlite3.Error."""
        link = cls(path, pragmas)
        try:
            await link
        except BaseException:
            await asyncio.to_thread(link._thread.join)  # else its last word may come to a loop that is closed
            raise
        return link

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """What the function returns or raises, sqlite3's errors translated. A cancelled caller does not stop it."""
        if not self._running or self._connection is None:
            raise StoreUnavailable("the store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, partial(function, self._connection)))  # as aiosqlite's `_execute`, in one frame
        self.busy += 1
        try:
            return await future
        except _SQLITE_ERRORS as error:
            raise _engine_error(error) from error
        finally:
            self.busy -= 1


def committed(db: sqlite3.Connection, work: Callable[[], T]) -> T:
    """What `work` returns, done under the write lock and committed; rolled back on every exception.

    Raises StoreUnavailable and DataRejected instead of sqlite3's errors, and what `work` raises.
    """
    try:
        if db.in_transaction:  # a ROLLBACK failed
            db.execute("ROLLBACK")
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            raise
    except _SQLITE_ERRORS as error:
        raise _engine_error(error) from error
    return result


@contextmanager
def translated() -> Iterator[None]:
    """Raises StoreUnavailable and DataRejected instead of sqlite3's errors."""
    try:
        yield
    except _SQLITE_ERRORS as error:
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
