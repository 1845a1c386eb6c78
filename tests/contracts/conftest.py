"""The stores that several files of this folder test, over every backend."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from a2a_server.ports import TaskStore
from a2a_server.stores import postgresql_link
from a2a_server.stores.postgresql import PostgresqlStore
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.stores import DATABASES, OPENED, Database


@pytest.fixture(params=sorted(DATABASES))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    database = (OPENED if "store" in request.fixturenames else DATABASES)[request.param](tmp_path)
    yield database
    database.drop()


@pytest.fixture
async def store(database: Database) -> AsyncIterator[TaskStore]:
    store = database.store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def other(database: Database) -> AsyncIterator[TaskStore]:
    """A second store on the same database, as another process would have it."""
    store = database.store()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[PostgresqlDatabase]:
    database = PostgresqlDatabase(tmp_path)
    yield database
    database.drop()


@pytest.fixture
async def stores(postgresql: PostgresqlDatabase) -> AsyncIterator[list[PostgresqlStore]]:
    """Two on one PostgreSQL database, as two processes have them."""
    stores = [PostgresqlStore(postgresql.url) for _ in range(2)]
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


@pytest.fixture
def conflicts(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What PostgreSQL itself broke off, before it was tried again."""
    seen: list[Exception] = []
    translate = postgresql_link._engine_error

    def see(where: str, error: Exception) -> Exception:
        if isinstance(error, asyncpg.TransactionRollbackError):
            seen.append(error)
        return translate(where, error)

    monkeypatch.setattr(postgresql_link, "_engine_error", see)
    return seen
