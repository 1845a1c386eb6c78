"""Limits over the management API: set, felt by tasks, read, lifted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from a2a_server import Agent, Fail
from tests.server.managing import Managed, ended, fields_of, managed, seen, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

GO: dict[str, asyncio.Event] = {}


def agent() -> Agent:
    agent = Agent("Office")

    @agent.skill(id="a*b")
    async def starred(text: str) -> str:
        return text

    @agent.skill
    async def wait(text: str) -> str:
        await GO.setdefault(text, asyncio.Event()).wait()
        return text

    @agent.skill(max_attempts=1)
    async def flaky(text: str) -> str:
        if text == "bad":
            raise Fail("no")
        return text

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent(), resources={"gpu": 2}, client_max_concurrency=50) as server:
        yield server


async def test_a_capacity_holds_tasks_until_it_is_lifted(office: Managed) -> None:
    shown = await office.done("PUT", "/limits/skill:wait", {"capacity": 1})
    assert (shown["kind"], shown["capacity"], shown["used"], shown["closed"]) == ("skill", 1, 0, False)
    ids = [await sent(office, "capacity", "wait") for _ in range(3)]
    await seen(lambda: office.get("/queues/wait"), lambda queue: (queue["running"], queue["held"]) == (1, 2))
    assert (await office.get("/limits/skill:wait"))["used"] == 1
    response = await office.ask("DELETE", "/limits/skill:wait")
    assert response.status_code == 204
    await seen(lambda: office.get("/queues/wait"), lambda queue: (queue["running"], queue["held"]) == (3, 0))
    GO["capacity"].set()
    for one in ids:
        assert await ended(office, one) == "TASK_STATE_COMPLETED"


async def test_a_rate_spreads_starts(office: Managed) -> None:
    shown = await office.done("PUT", "/limits/rate:flaky", {"rate": {"starts": 2, "seconds": 3600}})
    assert shown["rate"] == {"starts": 2, "seconds": 3600.0}
    assert "capacity" not in shown
    assert "used" not in shown
    for _ in range(2):
        assert await ended(office, await sent(office, "good", "flaky")) == "TASK_STATE_COMPLETED"
    third = await sent(office, "good", "flaky")
    await seen(lambda: office.get("/queues/flaky"), lambda queue: queue["held"] == 1)
    empty = await office.get("/limits/rate:flaky")
    assert (empty["closed"], "closedUntil" in empty) == (True, True)
    await office.ask("DELETE", "/limits/rate:flaky")
    assert await ended(office, third) == "TASK_STATE_COMPLETED"


async def test_a_breaker_opens_and_is_lifted(office: Managed) -> None:
    shown = await office.done("PUT", "/limits/breaker:flaky", {"breaker": {"failures": 2, "seconds": 3600}})
    assert shown["breaker"] == {"failures": 2, "seconds": 3600.0, "failed": 0, "state": "closed"}
    assert await ended(office, await sent(office, "bad", "flaky")) == "TASK_STATE_FAILED"
    assert (await office.get("/limits/breaker:flaky"))["breaker"]["failed"] == 1
    assert await ended(office, await sent(office, "bad", "flaky")) == "TASK_STATE_FAILED"
    opened = await office.get("/limits/breaker:flaky")
    assert (opened["breaker"]["state"], opened["breaker"]["failed"], opened["closed"]) == ("open", 2, True)
    assert opened["reason"]
    held = await sent(office, "good", "flaky")
    await seen(lambda: office.get("/queues/flaky"), lambda queue: queue["held"] == 1)
    await office.ask("DELETE", "/limits/breaker:flaky")
    assert await ended(office, held) == "TASK_STATE_COMPLETED"


async def test_resources_clients_and_agents_are_bounded(office: Managed) -> None:
    for key, kind in (
        ("resource:gpu", "resource"),
        ("client:local", "client"),
        ("client%2Bskill:local%2Bwait", "client+skill"),
        ("agent:", "agent"),
        ("queue:wait", "queue"),
    ):
        shown = await office.done("PUT", f"/limits/{key}", {"capacity": 7})
        assert (shown["kind"], shown["capacity"]) == (kind, 7)
        assert await office.get(f"/limits/{key}") == shown
        listed = (await office.get("/limits"))["limits"]
        assert shown in listed
        assert (await office.ask("DELETE", f"/limits/{key}")).status_code == 204


async def test_a_star_in_a_name_is_spelled_out(office: Managed) -> None:
    shown = await office.done("PUT", "/limits/skill:a%252Ab", {"capacity": 3})
    assert shown["key"] == "skill:a%2Ab"
    await office.refused(404, "PUT", "/limits/skill:a*b", {"capacity": 3})
    await office.ask("DELETE", "/limits/skill:a%252Ab")


UNKNOWN = (
    "nothing",
    "skill:",
    "skill:nobody",
    "rate:nobody",
    "resource:tpu",
    "resource:gpu*2",
    "client:somebody",
    "client%2Bskill:somebody%2Bwait",
    "agent:Other",
    "queue:nobody",
    "context:x",
    "colour:red",
    f"client:{'x' * 250}",
)


@pytest.mark.parametrize("key", UNKNOWN)
async def test_a_limit_that_no_task_could_name(office: Managed, key: str) -> None:
    before = await office.get("/limits")
    await office.refused(404, "PUT", f"/limits/{key}", {"capacity": 1})
    await office.refused(404, "GET", f"/limits/{key}")
    await office.refused(404, "DELETE", f"/limits/{key}")
    assert await office.get("/limits") == before


async def test_a_limit_that_was_never_set(office: Managed) -> None:
    await office.refused(404, "GET", "/limits/skill:flaky")
    await office.refused(404, "DELETE", "/limits/skill:flaky")


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("skill:flaky", {}, "capacity"),
    ("skill:flaky", {"capacity": -1}, "capacity"),
    ("skill:flaky", {"capacity": 1.5}, "capacity"),
    ("skill:flaky", {"capacity": "1"}, "capacity"),
    ("skill:flaky", {"capacity": True}, "capacity"),
    ("skill:flaky", {"capacity": 10**9}, "capacity"),
    ("skill:flaky", {"capacity": 1, "rate": {"starts": 1, "seconds": 1}}, "capacity"),
    ("skill:flaky", {"rate": {"starts": 1, "seconds": 1}}, "capacity"),
    ("rate:flaky", {"capacity": 1}, "rate"),
    ("rate:flaky", {"rate": {"starts": 0, "seconds": 1}}, "rate.starts"),
    ("rate:flaky", {"rate": {"starts": 1, "seconds": 0}}, "rate.seconds"),
    ("rate:flaky", {"rate": {"starts": 1}}, "rate.seconds"),
    ("breaker:flaky", {"capacity": 1}, "breaker"),
    ("breaker:flaky", {"breaker": {"failures": 0, "seconds": 1}}, "breaker.failures"),
    ("breaker:flaky", {"breaker": {"failures": 1, "seconds": 1e12}}, "breaker.seconds"),
    ("skill:flaky", {"colour": 1}, "colour"),
]


@pytest.mark.parametrize(("key", "body", "field"), BAD)
async def test_bad_input_is_refused_and_changes_nothing(
    office: Managed, key: str, body: dict[str, Any], field: str
) -> None:
    before = await office.get("/limits")
    error = await office.refused(400, "PUT", f"/limits/{key}", body)
    assert fields_of(error)[0] == field, error
    assert await office.get("/limits") == before
