"""Schedules over the management API: made, read, replaced, patched, paused, triggered, deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from a2a_server import Agent
from tests.server.managing import Managed, fields_of, managed

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2099-01-01T00:00:00Z"


def agent() -> Agent:
    agent = Agent("Clockwork")

    @agent.skill
    async def tell(text: str, times: int = 1) -> str:
        return text * times

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clock() -> AsyncIterator[Managed]:
    async with managed(agent()) as server:
        yield server


def name() -> str:
    return f"s-{uuid4().hex}"


async def made(clock: Managed, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return await clock.post("/schedules", {"id": name(), "intervalSeconds": 3600, "text": "tick", **body})


async def test_a_schedule_is_made_and_read(clock: Managed) -> None:
    id = name()
    body = {
        "id": id,
        "cron": "0 9 * * 1-5",
        "timeZone": "Europe/Berlin",
        "text": "report",
        "options": {"priority": "high", "tags": ["daily"]},
        "description": "Every morning.",
        "overlap": "forbid",
    }
    response = await clock.ask("POST", "/schedules", body)
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/schedules/{id}"
    shown = response.json()
    assert shown == await clock.get(f"/schedules/{id}")
    assert response.headers["etag"] == f'"{shown["revision"]}"'
    assert shown["message"] == {"parts": [{"text": "report"}]}
    assert (shown["cron"], shown["timeZone"], shown["overlap"], shown["runs"]) == (
        "0 9 * * 1-5",
        "Europe/Berlin",
        "forbid",
        0,
    )
    assert shown["upcoming"][0] == shown["nextAt"]
    assert "intervalSeconds" not in shown
    preview = await clock.get(f"/schedules/{id}/preview", count=20)
    assert len(preview["ticks"]) == 20
    assert preview["ticks"][:5] == shown["upcoming"]


async def test_the_same_one_again_is_no_other_and_another_is_refused(clock: Managed) -> None:
    body = {"id": name(), "cron": "0 9 * * *", "text": "a"}
    first = await clock.post("/schedules", body)
    assert await clock.post("/schedules", body) == first
    error = await clock.refused(409, "POST", "/schedules", {**body, "text": "b"})
    assert "another id" in error["message"]
    assert await clock.get(f"/schedules/{body['id']}") == first


async def test_a_list_comes_in_pages(clock: Managed) -> None:
    ids = sorted([(await made(clock))["id"] for _ in range(5)])
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await clock.get("/schedules", limit=2, **cursor)
        assert len(page["schedules"]) <= 2
        found += [one["id"] for one in page["schedules"]]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert found == sorted(set(found))
    assert set(ids) <= set(found)


async def test_put_replaces_and_patch_changes(clock: Managed) -> None:
    shown = await made(
        clock, options={"title": "one"}, metadata={"a": 1}, message={"parts": [{"data": {"x": 1}}]}, text=None
    )
    path = f"/schedules/{shown['id']}"
    patched = await clock.done("PATCH", path, {"metadata": {"a": None, "b": 2}, "maxRuns": 3})
    assert (patched["metadata"], patched["maxRuns"], patched["options"]) == ({"b": 2}, 3, {"title": "one"})
    assert patched["message"] == {"parts": [{"data": {"x": 1}}]}
    assert patched["nextAt"] == shown["nextAt"]
    assert patched["startsAt"] == shown["startsAt"]
    moved = await clock.done("PATCH", path, {"cron": "0 0 * * *", "text": "night"})
    assert (moved["cron"], moved["message"]) == ("0 0 * * *", {"parts": [{"text": "night"}]})
    assert "intervalSeconds" not in moved
    once = await clock.done("PATCH", path, {"runAt": LATER})
    assert (once["runAt"], "cron" in once) == ("2099-01-01T00:00:00.000Z", False)
    replaced = await clock.done("PUT", path, {"intervalSeconds": 60, "text": "new"})
    assert "options" not in replaced
    assert replaced["createdAt"] == shown["createdAt"]


async def test_a_patch_to_another_way_to_tick_keeps_the_start(clock: Managed) -> None:
    body = {"id": name(), "cron": "30 2 * * *", "timeZone": "Europe/Berlin", "text": "x", "startsAt": LATER}
    shown = await clock.post("/schedules", body)
    path = f"/schedules/{shown['id']}"
    await clock.refused(400, "PATCH", path, {"cron": None})
    every = await clock.done("PATCH", path, {"cron": None, "intervalSeconds": 60})
    assert every["startsAt"] == every["nextAt"] == shown["startsAt"]
    daily = await clock.done("PATCH", path, {"cron": "0 0 * * *"})
    assert (daily["startsAt"], daily["nextAt"]) == (shown["startsAt"], "2099-01-01T00:00:00.000Z")
    sooner = await clock.done("PATCH", path, {"cron": "0 0 * * *", "startsAt": "2098-01-01T00:00:00Z"})
    assert sooner["nextAt"] == "2098-01-01T00:00:00.000Z"
    once = await clock.done("PATCH", path, {"runAt": LATER})
    assert (once["nextAt"], "startsAt" in once) == ("2099-01-01T00:00:00.000Z", False)


async def test_who_names_a_revision_changes_that_or_nothing(clock: Managed) -> None:
    shown = await made(clock)
    path, tag = f"/schedules/{shown['id']}", f'"{shown["revision"]}"'
    assert (await clock.ask("GET", path, headers={"If-None-Match": tag})).status_code == 304
    changed = await clock.done("PATCH", path, {"description": "x"}, headers={"If-Match": tag})
    for method, body in (
        ("PATCH", {"description": "y"}),
        ("PUT", {"intervalSeconds": 9, "text": "y"}),
        ("DELETE", None),
    ):
        error = await clock.refused(412, method, path, body, headers={"If-Match": tag})
        assert "read it again" in error["message"]
        await clock.refused(412, method, path, body, headers={"If-Match": 'W/"1"'})
    assert await clock.get(path) == changed
    both = f'"99", "{changed["revision"]}"'
    assert (await clock.ask("DELETE", path, headers={"If-Match": both})).status_code == 204
    await clock.refused(404, "GET", path)


async def test_pause_resume_trigger_and_its_task(clock: Managed) -> None:
    shown = await made(clock, text="now ", options={"parameters": {"times": 2}})
    path = f"/schedules/{shown['id']}"
    paused = await clock.post(f"{path}/pause")
    assert (paused["paused"], "nextAt" in paused, "upcoming" in paused) == (True, False, False)
    resumed = await clock.post(f"{path}/resume")
    assert (resumed["paused"], "nextAt" in resumed) == (False, True)
    first = await clock.post(f"{path}/trigger", {"uniqueKey": "once"})
    assert await clock.post(f"{path}/trigger", {"uniqueKey": "once"}) == first
    second = await clock.post(f"{path}/trigger")
    assert second["taskId"] != first["taskId"]
    after = await clock.get(path)
    assert (after["runs"], after["lastTaskId"]) == (2, second["taskId"])
    async for _, item in clock.server.subscribe(first["taskId"], after=0):
        if item.get("statusUpdate", {}).get("status", {}).get("state") == "TASK_STATE_COMPLETED":
            break
    task = await clock.server.get(first["taskId"])
    assert task["artifacts"][0]["parts"] == [{"text": "now now "}]


async def test_what_is_not_there(clock: Managed) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
        ("GET", "/preview"),
    ):
        await clock.refused(404, method, f"/schedules/nobody{path}")
    await clock.refused(404, "PUT", "/schedules/nobody", {"intervalSeconds": 60, "text": "x"})
    await clock.refused(404, "PATCH", "/schedules/nobody", {"text": "x"})


GOOD: dict[str, Any] = {"intervalSeconds": 60, "text": "x"}
BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "cron"),
    ({**GOOD, "cron": "* * * * *"}, "cron"),
    ({"text": "x", "cron": "61 * * * *"}, "cron"),
    ({"text": "x", "cron": "0 0 * *"}, "cron"),
    ({"text": "x", "cron": "0 0 30 2 *"}, "cron"),
    ({"text": "x", "cron": "0 0 * * *", "timeZone": "Mars/Olympus"}, "timeZone"),
    ({**GOOD, "intervalSeconds": 0.5}, "intervalSeconds"),
    ({**GOOD, "intervalSeconds": 0}, "intervalSeconds"),
    ({**GOOD, "intervalSeconds": -1}, "intervalSeconds"),
    ({**GOOD, "intervalSeconds": 1e12}, "intervalSeconds"),
    ({**GOOD, "intervalSeconds": "60"}, "intervalSeconds"),
    ({"text": "x", "runAt": "tomorrow"}, "runAt"),
    ({"text": "x", "runAt": "2099-01-01T00:00:00"}, "runAt"),
    ({"text": "x", "runAt": LATER, "startsAt": LATER}, "startsAt"),
    ({**GOOD, "endsAt": "2001-01-01T00:00:00Z"}, "endsAt"),
    ({**GOOD, "maxRuns": -1}, "maxRuns"),
    ({**GOOD, "missed": "never"}, "missed"),
    ({**GOOD, "overlap": "queue"}, "overlap"),
    ({**GOOD, "paused": "yes"}, "paused"),
    ({**GOOD, "options": {"skill": "nobody"}}, "options.skill"),
    ({**GOOD, "options": {"requires": {"resources": {"tpu": 1}}}}, "options.requires.resources.tpu"),
    ({**GOOD, "options": {"parameters": {"times": "many"}}}, "options.parameters.times"),
    ({**GOOD, "options": {"colour": "red"}}, "options.colour"),
    ({**GOOD, "options": {"runAt": LATER}}, "options.runAt"),
    ({**GOOD, "options": {"template": "nobody"}}, "options.template"),
    ({**GOOD, "contextId": "x" * 257}, "contextId"),
    ({**GOOD, "message": {"parts": [{"text": "y"}]}}, "text"),
    ({"intervalSeconds": 60, "message": {}}, "message.parts"),
    ({"intervalSeconds": 60, "message": {"parts": [{}]}}, "message.parts[0]"),
    ({"intervalSeconds": 60, "message": {"parts": [{"text": "x"}], "metadata": 1}}, "message.metadata"),
    ({"intervalSeconds": 60, "message": {"parts": [{"text": "x"}], "role": "ROLE_USER"}}, "message"),
    ({"intervalSeconds": 60, "message": {"parts": [{"url": "/artifacts/x/upload/0"}]}}, "message.parts[0].url"),
    ({**GOOD, "text": "x" * 300_000}, "message"),
    ({**GOOD, "time_zone": "UTC"}, "time_zone"),
    ({**GOOD, "options": {"dependsOn": ["nobody"]}}, "options.dependsOn[0]"),
    ({**GOOD, "options": {"parentTaskId": "nobody"}}, "options.parentTaskId"),
    ({**GOOD, "cron": "0 0 * * *", "intervalSeconds": 0, "timeZone": "localtime"}, "timeZone"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_bad_input_is_refused_and_changes_nothing(clock: Managed, body: dict[str, Any], field: str) -> None:
    id, there = name(), await made(clock)
    for method, path, given in (
        ("POST", "/schedules", {**body, "id": id}),
        ("PUT", f"/schedules/{there['id']}", body),
    ):
        error = await clock.refused(400, method, path, given)
        assert fields_of(error)[0] == field, error
    await clock.refused(404, "GET", f"/schedules/{id}")
    assert await clock.get(f"/schedules/{there['id']}") == there


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"cron": "x"}, "cron"),
        ({"maxRuns": "many"}, "maxRuns"),
        ({"runs": 7}, "runs"),
        ({"id": "other"}, "id"),
        ({"text": 5}, "text"),
        ({"message": {"parts": []}}, "message.parts"),
        ({"intervalSeconds": None}, "cron"),
        ({"intervalSeconds": 0}, "intervalSeconds"),
        ({"runAt": LATER, "startsAt": LATER}, "startsAt"),
        ({"options": {"parameters": {"times": "many"}}}, "options.parameters.times"),
    ],
)
async def test_a_bad_patch_changes_nothing(clock: Managed, patch: dict[str, Any], field: str) -> None:
    there = await made(clock)
    error = await clock.refused(400, "PATCH", f"/schedules/{there['id']}", patch)
    assert fields_of(error)[0] == field, error
    assert await clock.get(f"/schedules/{there['id']}") == there


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/schedules?limit=0", "limit"),
        ("/schedules?limit=201", "limit"),
        ("/schedules?cursor=%01", "cursor"),
        ("/schedules?colour=red", "colour"),
        ("/schedules/x/preview?count=101", "count"),
    ],
)
async def test_a_bad_query_is_refused(clock: Managed, path: str, field: str) -> None:
    assert fields_of(await clock.refused(400, "GET", path))[0] == field


@pytest.mark.parametrize("id", ["a/b", "../x", "a b", "ü", "-x", "x" * 129])
async def test_a_bad_id_is_refused(clock: Managed, id: str) -> None:
    error = await clock.refused(400, "POST", "/schedules", {**GOOD, "id": id})
    assert fields_of(error)[0] == "id"
