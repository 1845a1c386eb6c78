"""PostgreSQL databases for tests, on the server that all tests share.

A run of tests makes one database and empties it for each test: to make one and drop it again costs the server two
checkpoints, which every other test waits for, too. Its tables stay from one test to the next where both only open
stores on it (`keeping`): to make them takes longer than most tests.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from a2a_server.ports import TaskStore
from a2a_server.stores.postgresql import PostgresqlStore
from tests.services import service

T = TypeVar("T")
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'meta'"
_kept: set[str] = set()
"""Databases that have the tables of the newest schema and nothing else, but for rows."""


class PostgresqlDatabase:
    """An empty database. Everything but `store` is blocking, also in a test's event loop.

    A test that wants two at once gives the second one a directory called `target`. keeping: all that the test does is
    to open a store, which finds the tables that an earlier test of the kind left.
    """

    def __init__(self, directory: Path, *, keeping: bool = False) -> None:
        self._server = service("postgresql")
        second = "_target" if directory.name == "target" else ""
        self.name = _made(self._server, f"a2a_test_{os.getpid()}{second}")
        # A power cut is not what is tested here; thousands of commits need not wait for the disk.
        own = urlsplit(self._server)._replace(path=f"/{self.name}", query="synchronous_commit=off")
        self.url = urlunsplit(own)
        self._unlinked = False
        self._keeping = keeping
        self.cut()
        if keeping and self.name in _kept:
            if tables := run(self.url, _TABLES):
                run(self.url, "; ".join(f"DELETE FROM {table}" for (table,) in tables))  # noqa: S608 - names of our own
        else:
            run(self.url, "DROP EXTENSION IF EXISTS amcheck; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        _kept.discard(self.name)

    def store(self, clock_offset_us: int = 0) -> TaskStore:
        return PostgresqlStore(self.url, clock_offset_us=clock_offset_us)

    def make_newer(self) -> None:
        self.run("UPDATE meta SET value = '9999' WHERE name = 'schema'")

    def make_foreign(self) -> None:
        self.run("CREATE TABLE meta (name text, value text)")

    def faults(self) -> list[str]:
        """Rows that an index does not find, by the server's own checker where it has one, else by making them anew."""
        if not self.run("SELECT FROM pg_available_extensions WHERE name = 'amcheck'"):
            self.run("REINDEX SCHEMA public;")
            return []
        self.run("CREATE EXTENSION IF NOT EXISTS amcheck")
        try:
            self.run(
                "SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid "
                "WHERE relnamespace = 'public'::regnamespace"
            )
        except asyncpg.PostgresError as error:
            return [str(error)]
        return []

    def unlink(self) -> None:
        # As an operator does it for a while; a database that is gone for ever is a mistake in the address.
        run(self._server, f"ALTER DATABASE {self.name} WITH ALLOW_CONNECTIONS false")
        self._unlinked = True

    def drop(self) -> None:
        if self._unlinked:
            run(self._server, f"ALTER DATABASE {self.name} WITH ALLOW_CONNECTIONS true")
        elif self._keeping:
            _kept.add(self.name)

    def run(self, sql: str, *arguments: object) -> list[Any]:
        self._keeping = False  # whatever it is
        return run(self.url, sql, *arguments)

    def cut(self) -> int:
        """End every connection to it, and say how many there were."""
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        return len(run(self._server, ends, self.name))


def run(url: str, sql: str, *arguments: object) -> list[Any]:
    """What a statement answers, on a connection of its own; without arguments also several ones, and then nothing."""

    async def fetched() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            if ";" not in sql:
                return list(await connection.fetch(sql, *arguments))
            await connection.execute(sql)
            return []
        finally:
            await connection.close()

    return blocking(fetched())


def blocking(work: Coroutine[Any, Any, T]) -> T:
    """What the work returns, in a loop of its own; from any thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@cache
def _made(server: str, name: str) -> str:
    # Copied through the log: the other way makes a checkpoint.
    run(server, f"CREATE DATABASE {name} TEMPLATE template0 STRATEGY wal_log")
    atexit.register(_dropped, server, name)
    return name


def _dropped(server: str, name: str) -> None:
    async def dropped() -> None:
        connection = await asyncpg.connect(server)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()

    with contextlib.suppress(OSError):  # a server that the run started is gone with all that it had
        asyncio.run(dropped())
