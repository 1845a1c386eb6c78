"""The same tests over other backends: `A2A_TEST_BACKENDS=postgresql+redis+s3 scripts/test tests/server`.

Wherever a test names a SQLite file, its tasks then live in a place of the named backends that belongs to that file: one
file, one place. A test marked `embedded` looks into files, or chooses its backends itself, and is left out; of other
sets of backends than the first only tests marked `backends` are run.
"""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Final

from a2a_server.settings import Settings, kind_of
from tests.services import service

SETS: Final = ("postgresql+redis+s3", "mongodb+rabbitmq+store", "postgresql+sqs+store")
CHOSEN: Final = os.environ.get("A2A_TEST_BACKENDS", "")

_used: set[str] = set()
_schemas: dict[str, str] = {}
"""The schemas of PostgreSQL that are in use, by the names of the places."""
_made: list[str] = []
_empty: list[str] = []
"""Schemas without a row, for the next ones: to make one takes longer than most tests."""


def moved(settings: Settings) -> Settings:
    """The settings with the backends that were chosen in place of the embedded ones."""
    if not CHOSEN or kind_of(settings.store) != "sqlite":
        return settings
    name = f"t{hashlib.sha256(settings.store.encode()).hexdigest()[:16]}"
    _used.add(name)
    store, queue, artifacts = CHOSEN.split("+")
    places = {
        "store": _STORES[store](name),
        "queue": _QUEUES[queue](name),
        "artifacts": _ARTIFACTS[artifacts](name),
        "create_missing": True,
    }
    return settings.model_copy(update=places)


def _postgresql(name: str) -> str:
    if name not in _schemas:
        _schemas[name] = _empty.pop() if _empty else _new_schema()
    return f"{service('postgresql')}?schema={_schemas[name]}&pool=4"


def _new_schema() -> str:
    if not _made:
        atexit.register(_dropped, service("postgresql"))
    _made.append(f"t{os.getpid()}_{len(_made)}")
    return _made[-1]


def _mongodb(name: str) -> str:
    head, _, query = service("mongodb").partition("?")
    return f"{head.rstrip('/')}/{name}{'?' if query else ''}{query}"


def _redis(name: str) -> str:
    return f"{service('redis')}?prefix={name}"


def _rabbitmq(name: str) -> str:
    return f"{service('rabbitmq')}?prefix={name}"


def _sqs(name: str) -> str:
    return f"sqs://us-east-1?prefix={name}&endpoint={service('sqs')}"


def _s3(name: str) -> str:
    return f"s3://{BUCKET}/{name}?region=us-east-1&endpoint={service('s3')}&path_style=true&links=false"


BUCKET: Final = "a2a-tests"
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'meta'"
_STORES: Final[dict[str, Callable[[str], str]]] = {"postgresql": _postgresql, "mongodb": _mongodb}
_QUEUES: Final[dict[str, Callable[[str], str]]] = {"redis": _redis, "rabbitmq": _rabbitmq, "sqs": _sqs}
_ARTIFACTS: Final[dict[str, Callable[[str], str]]] = {"s3": _s3, "store": lambda _: "store://"}


@contextmanager
def cleared() -> Iterator[None]:
    """What was used first in this context is removed at its end."""
    before = set(_used)
    try:
        yield
    finally:
        names = set(_used) - before
        _used.difference_update(names)
        if names:
            with ThreadPoolExecutor(1) as thread:  # a loop may be running here
                thread.submit(asyncio.run, _removed(names)).result()


async def _removed(names: set[str]) -> None:
    if CHOSEN.startswith("postgresql"):
        import asyncpg  # noqa: PLC0415 - only where it is there

        connection = await asyncpg.connect(service("postgresql"))
        try:
            for name in names:
                schema = _schemas.pop(name)
                tables = await connection.fetch(_TABLES, schema)
                emptied = (f"DELETE FROM {schema}.{table}" for (table,) in tables)  # noqa: S608 - names of our own
                if tables:  # the place was named, and perhaps nobody opened it
                    await connection.execute("; ".join(emptied))
                _empty.append(schema)
        finally:
            await connection.close()
    else:
        from pymongo import AsyncMongoClient  # noqa: PLC0415 - only where it is there

        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(service("mongodb"))
        for name in names:
            await client.drop_database(name)
        await client.close()


def _dropped(server: str) -> None:
    async def dropped() -> None:
        import asyncpg  # noqa: PLC0415 - only where it is there

        connection = await asyncpg.connect(server)
        for schema in _made:
            await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        await connection.close()

    with suppress(OSError):  # a server that the run started is gone with all that it had
        asyncio.run(dropped())
