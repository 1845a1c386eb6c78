"""Workers over the management API: listed with what they take, told to drain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from a2a_server import Agent
from tests.server.managing import Managed, fields_of, managed, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")


def agent() -> Agent:
    agent = Agent("Office")

    @agent.skill
    async def here(text: str) -> str:
        return text

    agent.pulled_skill("there")
    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent(), worker_tags=("gpu",), lanes=("high", "normal")) as server:
        yield server


async def test_the_server_s_own_worker_says_what_it_takes(office: Managed) -> None:
    processes = [one for one in (await office.get("/workers"))["workers"] if one["kind"] == "process"]
    assert [one.get("serves") for one in processes] == [None, "task-manager"]
    own = processes[0]
    assert own["id"] == office.system.engine.worker.id.hex()
    assert (own["alive"], own["draining"], own["running"], own["leaseSeconds"]) == (True, False, 0, 8.0)
    assert own["offers"] == {"tags": ["gpu"]}
    assert own["lanes"] == ["high", "normal"]
    assert own["host"]
    assert own["pid"]
    shown = await office.get(f"/workers/{own['id']}")
    assert {**shown, "seenAt": ""} == {**own, "seenAt": ""}


async def test_agents_that_pull_are_listed_until_they_leave(office: Managed) -> None:
    body = {"skills": ["there"], "name": "box-7", "lanes": ["low"], "tools": ["sh"], "leaseSeconds": 20}
    id = (await office.post("/workers", body))["id"]
    shown = await office.get(f"/workers/{id}")
    assert (shown["kind"], shown["host"], shown["skills"], shown["lanes"], shown["leaseSeconds"]) == (
        "pulling",
        "box-7",
        ["there"],
        ["low"],
        20.0,
    )
    assert shown["offers"] == {"tools": ["sh"]}
    assert shown in (await office.get("/workers"))["workers"]
    await office.ask("DELETE", f"/workers/{id}")
    assert id not in {one["id"] for one in (await office.get("/workers"))["workers"]}
    [gone] = [one for one in (await office.get("/workers", dead="true"))["workers"] if one["id"] == id]
    assert gone["alive"] is False


async def test_an_agent_that_is_told_to_drain_gets_nothing_more(office: Managed) -> None:
    id = (await office.post("/workers", {"skills": ["there"]}))["id"]
    response = await office.ask("POST", f"/workers/{id}/drain")
    assert response.status_code == 202
    assert response.json()["draining"] is True
    assert (await office.post(f"/workers/{id}/drain"))["draining"] is True
    task = await sent(office, "x", "there")
    assert await office.post(f"/workers/{id}/claim", {"limit": 5}) == {"tasks": []}
    assert (await office.post(f"/workers/{id}/heartbeat"))["draining"] is True
    heir = (await office.post("/workers", {"skills": ["there"]}))["id"]
    claimed = (await office.post(f"/workers/{heir}/claim", {"limit": 5}))["tasks"]
    assert [one["id"] for one in claimed] == [task]
    await office.ask("DELETE", f"/workers/{id}")
    error = await office.refused(409, "POST", f"/workers/{id}/drain")
    assert "dead" in error["message"]


@pytest.mark.embedded
async def test_the_only_process_of_a_store_is_not_drained_so(office: Managed) -> None:
    own = office.system.engine.worker.id.hex()
    error = await office.refused(409, "POST", f"/workers/{own}/drain")
    assert "SIGTERM" in error["message"]
    assert (await office.get(f"/workers/{own}"))["draining"] is False


@pytest.mark.parametrize("id", ["nobody", "0" * 32, "F" * 32, "00", "%2F"])
async def test_a_worker_that_is_not_there(office: Managed, id: str) -> None:
    await office.refused(404, "GET", f"/workers/{id}")
    await office.refused(404, "POST", f"/workers/{id}/drain")
    await office.refused(404, "DELETE", f"/workers/{id}")


@pytest.mark.parametrize(
    ("path", "field"),
    [("/workers?dead=maybe", "dead"), ("/workers?dead=true&dead=true", "dead"), ("/workers?x=1", "x")],
)
async def test_bad_input_is_refused(office: Managed, path: str, field: str) -> None:
    assert fields_of(await office.refused(400, "GET", path))[0] == field
