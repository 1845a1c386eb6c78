"""The stores that several files of this folder test, over every backend."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from a2a_server.notifiers import relay
from a2a_server.ports import TaskStore
from a2a_server.stores import mongodb_apart, mongodb_link, mongodb_turn, postgresql_beat, postgresql_link
from a2a_server.stores.postgresql import PostgresqlStore
from tests.contracts.postgresql_database import PostgresqlDatabase
from tests.contracts.stores import DATABASES, OPENED, Database
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What gives up after seconds takes its time: a machine may stand still for as long, and nothing be wrong."""
    monkeypatch.setattr(postgresql_beat, "BEAT_SECONDS", PATIENCE)
    monkeypatch.setattr(mongodb_apart, "QUIET_SECONDS", PATIENCE)
    for module in (mongodb_link, mongodb_turn):
        monkeypatch.setattr(module, "LOCK_SECONDS", PATIENCE)
    defaults = relay.Relay.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "pace", replace(relay.PACE, link=PATIENCE, send=PATIENCE, pulse=PATIENCE))


@pytest.fixture
def unhurried_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do queues at a broker, which lose a hint that is late; and SQS gives back by itself what no test waits for."""
    for module in ("rabbitmq", "redis", "remote", "sqs"):
        monkeypatch.setattr(f"a2a_server.queues.{module}.SEND_SECONDS", PATIENCE)
    monkeypatch.setattr("a2a_server.queues.remote._FLUSH_SECONDS", PATIENCE)
    monkeypatch.setattr("a2a_server.queues.sqs._HIDDEN_SECONDS", 3600)


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
