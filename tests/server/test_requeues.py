"""How long a requeued task waits, at every door that requeues: one task, many, and the task manager."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest_asyncio

from a2a_server.testing import connect
from tests.clients.rpc import new_http
from tests.server.managed import Api, agent
from tests.server.test_agents_mount import called, said

LATER = "2035-01-01T00:00:00.000Z"


@pytest_asyncio.fixture
async def api() -> AsyncIterator[tuple[Api, str]]:
    async with connect(agent) as server, new_http() as http:
        yield Api(http, server.url), server.url


async def waits(api: Api, task_id: str) -> list[float]:
    """How many seconds from its own moment each requeue made the task wait."""
    entries = (await api.get(f"/tasks/{task_id}/journal"))["entries"]
    told = [(entry["at"], entry["data"]["text"]) for entry in entries if entry["kind"] == "log"]
    moments = [(datetime.fromisoformat(at), datetime.fromisoformat(text.split()[-1].rstrip("."))) for at, text in told]
    return [round((starts - at).total_seconds(), 2) for at, starts in moments]


async def test_the_wait_doubles_unless_it_is_said(api: tuple[Api, str]) -> None:
    door, url = api
    task_id = (await door.create(text="x", runAt=LATER))["id"]
    for body in (None, {}, {"delaySeconds": 5}, {"delaySeconds": None}):
        await door.post(f"/tasks/{task_id}/requeue", body)
    assert await waits(door, task_id) == [60, 120, 5, 480]
    for atomic in (False, True):
        report = await door.post("/tasks/bulk", {"action": "requeue", "ids": [task_id], "atomic": atomic})
        assert report["done"] == 1
    await called(url, "SendMessage", said(f"requeue {task_id}"))
    assert (await waits(door, task_id))[4:] == [960, 1920, 3600]


async def test_many_tasks_wait_each_by_its_own_count(api: tuple[Api, str]) -> None:
    door, _ = api
    first, second = [(await door.create(text="x", runAt=LATER))["id"] for _ in range(2)]
    await door.post(f"/tasks/{first}/requeue")
    for atomic in (False, True):
        await door.post("/tasks/bulk", {"action": "requeue", "ids": [first, second], "atomic": atomic})
    assert [await waits(door, one) for one in (first, second)] == [[60, 120, 240], [60, 120]]
    await door.post("/tasks/bulk", {"action": "requeue", "ids": [first], "delaySeconds": 7})
    assert (await waits(door, first))[-1] == 7
