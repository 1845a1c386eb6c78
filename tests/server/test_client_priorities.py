"""The lane of a task that says nothing of it: its template's, its skill's, its client's, normal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from a2a_server import Agent, TaskContext
from tests.server.managing import Managed, managed

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00.000Z"


def agent() -> Agent:
    agent = Agent("Office")

    @agent.skill(default=True)
    async def silent(text: str) -> str:
        return text

    @agent.skill(priority="normal")
    async def normal(text: str) -> str:
        return text

    @agent.skill
    async def parent(task: TaskContext) -> str:
        child = await task.spawn("part", skill="silent")
        await task.join(child)
        return child.id

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    templates = {"slow": {"text": "slow", "options": {"priority": "backlog"}}, "plain": {"text": "plain"}}
    async with managed(agent(), templates=templates, client_priorities="local=high") as server:
        yield server


async def lane(office: Managed, **task: Any) -> str:  # noqa: ANN401 - members of a task
    made = await office.post("/tasks", {"text": "x", "runAt": LATER, **task})
    return str(made["priority"])


async def test_what_is_nearest_to_the_task_says_its_lane(office: Managed) -> None:
    assert await lane(office) == "high"
    assert await lane(office, template="plain") == "high"
    assert await lane(office, skill="normal") == "normal"
    assert await lane(office, skill="normal", template="slow") == "backlog"
    assert await lane(office, template="slow") == "backlog"
    assert await lane(office, template="slow", priority="critical") == "critical"
    assert await lane(office, priority="normal") == "normal"


async def test_every_way_to_make_a_task_takes_the_clients_lane(office: Managed) -> None:
    sent = await office.server.send("hello")
    batch = await office.post("/batches", {"tasks": [{"text": "one"}, {"text": "two", "priority": "low"}]})
    parent = await office.server.send("go", options={"skill": "parent"})
    child = parent["artifacts"][0]["parts"][0]["text"]
    ids = [sent["id"], *(item["id"] for item in batch["items"]), parent["id"], child]
    assert [(await office.get(f"/tasks/{one}"))["priority"] for one in ids] == ["high", "high", "low", "high", "high"]


async def test_a_change_that_takes_the_priority_away_makes_it_the_clients(office: Managed) -> None:
    for skill, priority in (("silent", "high"), ("normal", "normal")):
        made = await office.post("/tasks", {"text": "x", "runAt": LATER, "skill": skill, "priority": "low"})
        changed = await office.done("PATCH", f"/tasks/{made['id']}", {"priority": None})
        assert changed["priority"] == priority


async def test_who_is_not_named_and_the_task_manager_are_as_before() -> None:
    async with managed(agent(), client_priorities="other=high") as office:
        assert await lane(office) == "normal"
    async with managed(agent(), client_priorities="local=backlog") as office:
        assert await lane(office) == "backlog"
        _, manager = office.system.engine.engines
        assert manager.submissions.lane_of("local", None, None).name == "NORMAL"
