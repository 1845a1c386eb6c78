"""Many tasks at once over the management API: batches, and one thing done to many tasks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from a2a_server.testing import connect
from tests.server.managed import Api, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


async def test_a_batch_is_made_with_references_among_its_tasks(api: Api) -> None:
    tasks = [
        {"name": "last", "text": "c", "dependsOn": ["#first", "#1"], "title": "c"},
        {"text": "b", "dependsOn": ["#first"]},
        {"name": "first", "message": {"parts": [{"text": "a"}]}, "metadata": {"m": 1}},
    ]
    response = await api.ask("POST", "/batches", {"tasks": tasks})
    made = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/batches/{made['id']}"
    assert (made["created"], made["failed"], [item["index"] for item in made["items"]]) == (3, 0, [0, 1, 2])
    last, second, first = [await api.reached(item["id"], "final") for item in made["items"]]
    assert {task["state"] for task in (last, second, first)} == {"completed"}
    assert last["dependsOn"] == [first["id"], second["id"]]
    assert {task["batch"] for task in (last, second, first)} == {made["id"]}
    assert {task["id"] for task in await api.all(batch=made["id"])} == {last["id"], second["id"], first["id"]}
    assert await api.get(f"/batches/{made['id']}") == {
        "id": made["id"],
        "total": 3,
        "states": {"completed": 3},
        "progress": 1.0,
        "complete": True,
    }


async def test_an_atomic_batch_is_all_or_nothing(api: Api) -> None:
    for wrong, field in (
        ({"text": "x", "skill": "nope"}, "tasks[1].skill"),
        ({"text": "x", "maxAttempts": 0}, "tasks[1].maxAttempts"),
        ({"text": "x", "nonsense": 0}, "tasks[1].nonsense"),
        ({"text": "x", "dependsOn": ["nobody"]}, "tasks[1].dependsOn[0]"),
        ({"text": "x", "dependsOn": ["#5"]}, "tasks[1].dependsOn[0]"),
        ({"text": "x", "message": {"parts": [{"text": "x"}]}}, "tasks[1].text"),
        ({"message": {"parts": []}}, "tasks[1].message.parts"),
        ("x", "tasks[1]"),
    ):
        response = await api.ask("POST", "/batches", {"tasks": [{"text": "x", "title": "none"}, wrong]})
        assert response.status_code == 400, wrong
        assert error_of(response)["details"][0]["field"] == field
    circle = [{"name": "a", "text": "x", "dependsOn": ["#b"]}, {"name": "b", "text": "x", "dependsOn": ["#a"]}]
    response = await api.ask("POST", "/batches", {"tasks": circle})
    assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, "tasks")
    assert await api.all(title="none") == []


async def test_a_batch_that_is_not_atomic_says_of_each_what_came_of_it(api: Api) -> None:
    tasks = [
        {"text": "x", "skill": "nope"},
        {"text": "good"},
        {"text": "x", "dependsOn": ["#0"]},
        {"text": "x", "dependsOn": ["#1"]},
        {"name": "odd", "maxAttempts": "x"},
        {"text": "x", "dependsOn": ["#odd"]},
        17,
        {"text": "x", "dependsOn": ["nobody"]},
    ]
    made = await api.post("/batches", {"tasks": tasks, "atomic": False}, 201)
    assert (made["created"], made["failed"]) == (2, 6)
    errors = {item["index"]: item["error"] for item in made["items"] if "error" in item}
    assert sorted(errors) == [0, 2, 4, 5, 6, 7]
    assert {error["code"] for error in errors.values()} == {400}
    assert errors[0]["field"] == "tasks[0].skill"
    assert errors[2]["message"] == "tasks[2] needs #0, which was refused."
    assert errors[4]["field"] == "tasks[4].maxAttempts"
    assert errors[5]["message"] == "tasks[5] needs #odd, which was refused."
    assert errors[6]["field"] == "tasks[6]"
    assert errors[7]["field"] == "tasks[7].dependsOn[0]"
    assert len(await api.all(batch=made["id"])) == 2


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson"])
async def test_json_lines_are_a_batch(api: Api, media_type: str) -> None:
    lines = [{"name": "a", "text": "1"}, {"text": "2", "dependsOn": ["#a"]}]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\r\n"
    headers = {"Content-Type": media_type}
    made = await api.post("/batches", None, 201, content=body, headers=headers)
    assert made["created"] == 2
    broken = await api.ask("POST", "/batches", content=body + b"{", headers=headers)
    assert (broken.status_code, error_of(broken)["details"][0]["field"]) == (400, "line 4")
    some = await api.post("/batches?atomic=false", None, 201, content=body + b'{"x":1}', headers=headers)
    assert (some["created"], some["failed"]) == (2, 1)
    many = await api.ask("POST", "/batches", content=b"{}\n" * 10_001, headers=headers)
    assert (many.status_code, error_of(many)["details"][0]["field"]) == (400, "body")
    elsewhere = await api.ask("POST", "/tasks", content=body, headers=headers)
    assert elsewhere.status_code == 415


@pytest.mark.embedded
async def test_a_batch_has_at_most_ten_thousand_tasks(api: Api) -> None:
    for number in (0, 10_001):
        response = await api.ask("POST", "/batches", {"tasks": [{"text": "x"}] * number})
        assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, "tasks")
    made = await api.post("/batches", {"tasks": [{"text": "x", "runAt": LATER}] * 10_000}, 201)
    shown = await api.get(f"/batches/{made['id']}")
    assert (shown["total"], shown["states"], shown["progress"]) == (10_000, {"submitted": 10_000}, 0.0)
    bulk = {"filter": {"batch": made["id"]}, "limit": 9_999}
    assert await api.post("/tasks/bulk", {"action": "cancel", **bulk, "dryRun": True}) == {
        "matched": 9_999,
        "done": 0,
        "failed": [],
        "more": True,
    }
    assert (await api.post("/tasks/bulk", {"action": "cancel", **bulk}))["done"] == 9_999
    assert await api.post("/tasks/bulk", {"action": "delete", **bulk}) == {
        "matched": 9_999,
        "done": 9_999,
        "failed": [],
        "more": False,
    }
    assert (await api.get(f"/batches/{made['id']}"))["total"] == 1


async def test_a_batch_sent_again_makes_no_second_tasks(api: Api) -> None:
    tasks = [{"message": {"messageId": f"batch-{n}", "parts": [{"text": "x"}]}} for n in range(3)]
    first = await api.post("/batches", {"tasks": tasks}, 201)
    again = await api.post("/batches", {"tasks": tasks}, 201)
    assert [item["id"] for item in again["items"]] == [item["id"] for item in first["items"]]
    assert [item.get("repeat") for item in again["items"]] == [True] * 3


async def test_an_unknown_batch_is_not_found(api: Api) -> None:
    response = await api.ask("GET", "/batches/nope")
    assert (response.status_code, error_of(response)["status"]) == (404, "NOT_FOUND")


async def test_actions_on_ids_say_where_they_could_not_be_done(api: Api) -> None:
    later = [await api.create(text="x", runAt=LATER) for _ in range(2)]
    done = await api.done(text="x")
    ids = [later[0]["id"], done["id"], "nobody", later[1]["id"], later[0]["id"]]
    report = await api.post("/tasks/bulk", {"action": "reprioritise", "priority": "critical", "ids": ids})
    assert (report["matched"], report["done"], report["more"]) == (4, 2, False)
    assert [(one["id"], one["error"]["code"]) for one in report["failed"]] == [(done["id"], 409), ("nobody", 404)]
    assert (await api.get(f"/tasks/{later[1]['id']}"))["priority"] == "critical"
    report = await api.post("/tasks/bulk", {"action": "requeue", "delaySeconds": 0, "ids": ids[:1]})
    assert report["done"] == 1
    await api.reached(later[0]["id"], "final")
    report = await api.post("/tasks/bulk", {"action": "cancel", "ids": [later[1]["id"], done["id"]]})
    assert (report["done"], [one["id"] for one in report["failed"]]) == (1, [done["id"]])


async def test_a_filter_finds_only_what_the_action_is_for(api: Api) -> None:
    tag = {"tags": ["bulk"]}
    done, failed = await api.done(text="x", **tag), await api.done(text="x", skill="fail", **tag)
    later = await api.create(text="x", runAt=LATER, **tag)
    find = {"filter": {"tag": ["bulk"]}, "dryRun": True}
    matched = {
        action: (await api.post("/tasks/bulk", {"action": action, "priority": "low", **find}))["matched"]
        for action in ("cancel", "retry", "reprioritise", "requeue", "delete")
    }
    assert matched == {"cancel": 1, "retry": 2, "reprioritise": 1, "requeue": 1, "delete": 2}
    retried = await api.post("/tasks/bulk", {"action": "retry", "filter": {"tag": ["bulk"], "state": ["failed"]}})
    assert (retried["matched"], retried["done"]) == (1, 1)
    assert [task["retryOf"] for task in await api.all(tag="bulk") if "retryOf" in task] == [failed["id"]]
    deleted = await api.post("/tasks/bulk", {"action": "delete", "ids": [done["id"], failed["id"], later["id"]]})
    assert (deleted["done"], [one["id"] for one in deleted["failed"]]) == (2, [later["id"]])
