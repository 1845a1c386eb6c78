"""The stores that several files of this folder test, over every backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from a2a_server.ports import TaskStore
from tests.contracts.stores import DATABASES, Database


@pytest.fixture(params=sorted(DATABASES))
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return DATABASES[request.param](tmp_path)


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
