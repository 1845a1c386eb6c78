"""What lists and reads of the management API cost: an index for each, and nothing beside the store's bounded reads."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from a2a_server.stores.sqlite import SqliteStore
from a2a_server.testing import connect
from tests.server.managed import Api, agent

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.embedded]

SHORT = ("CONSTANT", "VALUES", "SCAN settling", "SCAN holding", "SCAN want", "SCAN lanes")
"""What is scanned beside tables: lists that stand in the statement, and what sweeps at the same time make."""
TRIES = 5
READS = (
    "/tasks",
    "/tasks?state=completed&limit=1",
    "/tasks?status=blocked&status=created",
    "/tasks?skill=echo&priority=high&owner=local",
    "/tasks?tag=a&tag=b",
    "/tasks?tag=a&title=x",
    "/tasks?title=x&state=failed",
    "/tasks?contextId=c&phase=final",
    "/tasks?batch=b",
    "/tasks?schedule=s",
    "/tasks?template=t",
    "/tasks?parentTaskId=ID",
    "/tasks?createdFrom=2026-01-01T00:00:00Z&createdTo=2036-01-01T00:00:00Z",
    "/tasks?updatedFrom=2026-01-01T00:00:00Z&updatedTo=2036-01-01T00:00:00Z",
    "/tasks/ID",
    "/tasks/ID/events?after=1",
    "/tasks/ID/journal?after=1",
    "/tasks/ID/checkpoints?after=x",
    "/tasks/ID/steps",
    "/tasks/ID/messages?after=1",
    "/tasks/ID/artifacts",
    "/tasks/ID/result",
    "/tasks/ID/children",
    "/tasks/ID/graph",
)


class Watched:
    """Every statement that the readers of a store execute, as SQLite expands it."""

    def __init__(self, store: SqliteStore) -> None:
        self.statements: list[str] = []
        for link in store._readers:
            link._conn.set_trace_callback(self.statements.append)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(place: Path, http: httpx2.AsyncClient) -> AsyncIterator[tuple[Api, Watched, str]]:
    async with connect(agent, store=f"sqlite:///{place}/tasks.db") as server:
        api = Api(http, server.url)
        task = await api.done(skill="remember", tags=["a", "b"], title="x", contextId="c")
        await api.create(text="x", parentTaskId=(await api.create(skill="wait"))["id"], dependsOn=[task["id"]])
        store = server._system.engine.backends.store
        assert isinstance(store, SqliteStore)
        yield api, Watched(store), task["id"]


@pytest.mark.parametrize("read", READS)
async def test_every_read_uses_an_index(watched: tuple[Api, Watched, str], place: Path, read: str) -> None:
    api, watch, task_id = watched
    watch.statements.clear()
    response = await api.ask("GET", read.replace("ID", task_id))
    assert response.status_code == 200
    statements = [one for one in watch.statements if one.lstrip().startswith(("SELECT", "WITH"))]
    assert statements
    with closing(sqlite3.connect(place / "tasks.db")) as db:
        for statement in statements:
            for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {statement}"):
                scans = detail.startswith("SCAN") and not any(part in detail for part in SHORT)
                assert not scans, (detail, statement)
                assert "TEMP B-TREE FOR ORDER BY" not in detail, (detail, statement)


@pytest.mark.parametrize("read", [read for read in READS if "graph" not in read])
async def test_a_read_costs_the_same_in_a_larger_store(
    watched: tuple[Api, Watched, str], place: Path, read: str
) -> None:
    """Statements are counted, where nothing else happens to be done at the same time: the fewest of some tries."""
    api, watch, task_id = watched
    path = read.replace("ID", task_id)

    async def fewest() -> int:
        counts = []
        for _ in range(TRIES):
            watch.statements.clear()
            assert (await api.ask("GET", path)).status_code == 200
            counts.append(len(watch.statements))
        return min(counts)

    before = await fewest()
    tasks = [{"text": "x", "runAt": "2035-01-01T00:00:00Z", "tags": ["a", "b"], "title": "x"}] * 50
    await api.post("/batches", {"tasks": tasks}, 201)
    assert await fewest() <= before
