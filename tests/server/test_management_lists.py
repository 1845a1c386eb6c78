"""Tasks found by filters and read in all their parts, over the management API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from a2a_server.testing import connect
from tests.server.managed import Api, Json, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALONE = {"queuedAt", "assignedAt"}
"""What lists do not tell."""
LATER = "2035-01-01T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tasks(api: Api) -> dict[str, Json]:
    """One task of each kind, by its title."""
    upstream = await api.create(skill="wait", title="Working", tags=["a", "b"], priority="critical")
    await api.reached(upstream["id"], "leased")
    made = {
        "Working": upstream,
        "Blocked": await api.create(text="x", title="Blocked", dependsOn=[upstream["id"]], tags=["a"]),
        "Created": await api.create(text="x", title="Created", runAt=LATER, contextId="context", tags=["c"]),
        "Asking": await api.create(text="x", title="Asking", skill="ask", parentTaskId=upstream["id"]),
        "Done": await api.done(text="x", title="Done", tags=["a", "c"], contextId="context"),
        "Failed": await api.done(text="x", title="Failed", skill="fail", priority=5),
        "Canceled": await api.create(text="x", title="Canceled", runAt=LATER),
    }
    await api.post(f"/tasks/{made['Canceled']['id']}/cancel")
    await api.reached(made["Asking"]["id"], "paused")
    return {title: await api.get(f"/tasks/{task['id']}") for title, task in made.items()}


@pytest.mark.parametrize(
    ("filters", "titles"),
    [
        ({}, "Working Blocked Created Asking Done Failed Canceled"),
        ({"state": "working"}, "Working"),
        ({"state": ["submitted", "input-required"]}, "Blocked Created Asking"),
        ({"phase": "final"}, "Done Failed Canceled"),
        ({"phase": ["waiting", "scheduled"], "state": "submitted"}, "Blocked Created"),
        ({"phase": "final", "state": "working"}, ""),
        ({"status": "in_progress"}, "Working"),
        ({"status": "blocked"}, "Blocked Asking"),
        ({"status": "created"}, "Created"),
        ({"status": ["completed", "canceled"]}, "Done Canceled"),
        ({"status": "failed"}, "Failed"),
        ({"status": "decomposed"}, ""),
        ({"status": "assigned"}, ""),
        ({"skill": "ask"}, "Asking"),
        ({"skill": ["ask", "fail"]}, "Asking Failed"),
        ({"skill": "nope"}, ""),
        ({"agent": "Managed", "state": "working"}, "Working"),
        ({"agent": "Somebody"}, ""),
        ({"owner": "local", "state": "working"}, "Working"),
        ({"owner": "others"}, ""),
        ({"tag": "a"}, "Working Blocked Done"),
        ({"tag": ["a", "c"]}, "Done"),
        ({"tag": ["a", "nope"]}, ""),
        ({"tag": "a", "state": "completed"}, "Done"),
        ({"priority": "critical"}, "Working"),
        ({"priority": ["backlog", "critical"]}, "Working Failed"),
        ({"contextId": "context"}, "Created Done"),
        ({"contextId": "context", "tag": "a"}, "Done"),
        ({"title": "c"}, "Created Canceled"),
        ({"title": "CREA"}, "Created"),
        ({"title": "Created and more"}, ""),
        ({"title": "c", "phase": "final"}, "Canceled"),
        ({"batch": "nope"}, ""),
        ({"schedule": "nope"}, ""),
        ({"template": "nope"}, ""),
        ({"parentTaskId": "nobody"}, ""),
        ({"createdFrom": "2001-01-01T00:00:00Z", "createdTo": "2100-01-01T00:00:00+02:00", "tag": "c"}, "Created Done"),
        ({"createdTo": "2001-01-01T00:00:00Z"}, ""),
        ({"updatedFrom": "2100-01-01T00:00:00Z"}, ""),
        ({"updatedTo": "2100-01-01T00:00:00Z", "status": "failed"}, "Failed"),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_every_filter_finds_what_it_says(
    api: Api, tasks: dict[str, Json], filters: dict[str, object], titles: str, limit: int
) -> None:
    found = await api.all(**filters, limit=limit)
    assert sorted(task["title"] for task in found) == sorted(titles.split())
    for task in found:
        whole = tasks[task["title"]]
        assert task == {name: value for name, value in whole.items() if name not in ALONE}


async def test_parts_are_found_below_their_parent(api: Api, tasks: dict[str, Json]) -> None:
    parent, child = tasks["Working"], tasks["Asking"]
    assert [task["id"] for task in await api.all(parentTaskId=parent["id"])] == [child["id"]]
    assert (await api.get(f"/tasks/{parent['id']}/children"))["tasks"][0]["id"] == child["id"]
    assert child["parentTaskId"] == parent["id"]
    other = await api.create(text="x", runAt=LATER)
    made = [await api.create(text="x", parentTaskId=other["id"], tags=["part"], runAt=LATER) for _ in range(3)]
    for filters in ({"tag": "part"}, {"tag": "part", "state": "submitted"}):
        found = await api.all(parentTaskId=other["id"], limit=1, **filters)
        assert [task["id"] for task in found] == [task["id"] for task in reversed(made)]


async def test_a_part_is_kept_until_the_whole_has_ended(api: Api) -> None:
    whole = await api.create(text="x", runAt=LATER)
    part = await api.create(text="x", parentTaskId=whole["id"], runAt=LATER)
    await api.stop(part["id"])
    refused = await api.ask("DELETE", f"/tasks/{part['id']}")
    assert (refused.status_code, "part of one that has not ended" in error_of(refused)["message"]) == (409, True)
    for atomic in (False, True):
        bulk = {"action": "delete", "ids": [part["id"]], "atomic": atomic}
        assert [one["id"] for one in (await api.post("/tasks/bulk", bulk))["failed"]] == [part["id"]]
    await api.stop(whole["id"])
    both = {"action": "delete", "ids": [whole["id"], part["id"]], "atomic": True}
    assert (await api.post("/tasks/bulk", both))["done"] == 2


async def test_a_long_title_is_told_from_one_that_begins_so(api: Api) -> None:
    long = "T" * 70
    one, two = await api.create(text="x", title=long + "1"), await api.create(text="x", title=long + "2")
    assert {task["id"] for task in await api.all(title=long)} == {one["id"], two["id"]}
    assert [task["id"] for task in await api.all(title=long.lower() + "1")] == [one["id"]]


async def test_a_parent_that_waits_for_its_parts_is_decomposed(api: Api) -> None:
    upstream = await api.create(text="x", runAt=LATER)
    parent = await api.create(text="x", dependsOn=[upstream["id"]], title="Parent")
    await api.create(text="x", parentTaskId=parent["id"], runAt=LATER)
    found = await api.all(status="decomposed")
    assert [(task["id"], task["status"]) for task in found] == [(parent["id"], "decomposed")]
    assert parent["id"] not in [task["id"] for task in await api.all(status="blocked")]
    await api.post(f"/tasks/{parent['id']}/cancel")


@pytest.mark.parametrize("other", [{"tag": "a"}, {"tag": "b"}, {"title": "c"}, {"state": "completed"}, {}])
async def test_a_cursor_belongs_to_its_search(api: Api, tasks: dict[str, Json], other: dict[str, str]) -> None:
    page = await api.get("/tasks", limit=1, phase="final")
    assert "next" in page
    for cursor in (page["next"], page["next"][:-2], "x" + page["next"], "AAAA", "ü", "=", "x" * 1000):
        response = await api.ask("GET", "/tasks", params={**other, "cursor": cursor})
        assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, "cursor"), cursor


async def test_events_are_read_page_by_page(api: Api, tasks: dict[str, Json]) -> None:
    path = f"/tasks/{tasks['Done']['id']}/events"
    whole = await api.get(path)
    assert "next" not in whole
    assert [event["n"] for event in whole["events"]] == list(range(1, len(whole["events"]) + 1))
    assert [event.get("state") for event in whole["events"] if event["type"] == "status"] == [
        "submitted",
        "working",
        "completed",
    ]
    chunk = next(event for event in whole["events"] if event["type"] == "artifact")
    assert (chunk["artifact"]["parts"], chunk["append"], chunk["lastChunk"]) == ([{"text": "x"}], False, True)
    events: list[Json] = []
    page = await api.get(path, limit=2)
    while True:
        events += page["events"]
        if "next" not in page:
            break
        page = await api.get(path, limit=2, after=page["next"])
    assert events == whole["events"]
    assert (await api.get(path, after=10_000))["events"] == []


async def test_what_a_task_remembers_is_read(api: Api) -> None:
    task = await api.done(skill="remember", parameters={"number": 5})
    path = f"/tasks/{task['id']}"
    assert (await api.get(path + "/checkpoints"))["values"] == [{"name": "half way", "run": 1, "value": {"first": 10}}]
    steps = (await api.get(path + "/steps"))["values"]
    assert [(step["name"], step["value"], step["run"]) for step in steps] == [("double:1", 10, 1), ("double:2", 20, 1)]
    first = await api.get(path + "/steps", limit=1)
    assert (await api.get(path + "/steps", after=first["next"]))["values"] == steps[1:]


async def test_the_audit_trail_is_read(api: Api) -> None:
    task = await api.create(text="x", runAt=LATER)
    for _ in range(3):
        await api.post(f"/tasks/{task['id']}/requeue")
    page = await api.get(f"/tasks/{task['id']}/journal", limit=2)
    rest = await api.get(f"/tasks/{task['id']}/journal", after=page["next"])
    entries = page["entries"] + rest["entries"]
    assert [(entry["n"], entry["kind"]) for entry in entries] == [(1, "log"), (2, "log"), (3, "log")]
    assert entries[0]["data"]["text"].startswith("Requeued to start at ")


async def test_artifacts_are_listed_without_content(api: Api, tasks: dict[str, Json]) -> None:
    (artifact,) = (await api.get(f"/tasks/{tasks['Done']['id']}/artifacts"))["artifacts"]
    assert (artifact["id"], artifact["closed"], artifact["run"], artifact["sizeBytes"]) == ("artifact-1", True, 1, 1)
    assert (artifact["inline"], "url" in artifact) == (True, False)


async def test_a_graph_has_all_that_is_tied(api: Api, tasks: dict[str, Json]) -> None:
    working, blocked, asking = (tasks[title]["id"] for title in ("Working", "Blocked", "Asking"))
    for start in (working, blocked, asking):
        graph = await api.get(f"/tasks/{start}/graph")
        assert {node["id"] for node in graph["tasks"]} == {working, blocked, asking}
        assert sorted((edge["from"], edge["to"], edge["kind"]) for edge in graph["edges"]) == sorted(
            [(working, blocked, "fail"), (working, asking, "child")]
        )
        assert graph["complete"]
    small = await api.get(f"/tasks/{blocked}/graph", limit=2)
    assert {node["id"] for node in small["tasks"]} == {working, blocked}
    assert not small["complete"]
    alone = await api.get(f"/tasks/{tasks['Failed']['id']}/graph")
    assert (len(alone["tasks"]), alone["edges"], alone["complete"]) == (1, [], True)
    assert alone["tasks"][0]["status"] == "failed"


async def test_a_wide_graph_is_read_whole(api: Api) -> None:
    root = await api.create(text="x", runAt=LATER, title="Root")
    batch = await api.post("/batches", {"tasks": [{"text": "x", "dependsOn": [root["id"]]} for _ in range(1500)]}, 201)
    graph = await api.get(f"/tasks/{root['id']}/graph", limit=10_000)
    assert graph["complete"]
    assert {node["id"] for node in graph["tasks"]} == {root["id"], *(item["id"] for item in batch["items"])}
    assert len(graph["edges"]) == 1500
    assert not (await api.get(f"/tasks/{root['id']}/graph"))["complete"]
    await api.post(f"/tasks/{root['id']}/cancel")
