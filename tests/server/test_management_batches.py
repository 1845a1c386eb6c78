"""Many tasks at once over the management API: batches, and one thing done to many tasks."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server.service import batching
from a2a_server.testing import Connection, connect
from tests.server.managed import Api, Json, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00Z"
OF_ACTION: dict[str, dict[str, Any]] = {"reprioritise": {"priority": "high"}, "requeue": {"delaySeconds": 5000}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Connection]:
    async with connect(agent) as connection:
        yield connection


@pytest.fixture
def api(http: httpx2.AsyncClient, served: Connection) -> Api:
    return Api(http, served.url)


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
    shown = await api.get(f"/batches/{made['id']}")
    assert shown == {
        "id": made["id"],
        "total": 3,
        "ended": 3,
        "states": {"completed": 3},
        "progress": 1.0,
        "createdAt": first["createdAt"],
        "updatedAt": last["updatedAt"],
        "endedAt": last["updatedAt"],
        "complete": True,
        "links": {
            "tasks": f"/api/v1/tasks?batch={made['id']}",
            "results": f"/api/v1/batches/{made['id']}/results",
            "events": f"/api/v1/events?batch={made['id']}",
        },
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


async def test_a_rehearsed_batch_says_what_would_come_of_it_and_makes_nothing(api: Api) -> None:
    there = await api.create(text="x", uniqueKey="there before the batch")
    tasks: list[Json] = [
        {"name": "last", "text": "c", "dependsOn": ["#first", "#1"], "title": "rehearsed"},
        {"text": "x", "uniqueKey": "there before the batch"},
        {"name": "first", "text": "a", "title": "rehearsed", "parentTaskId": "#last"},
    ]
    response = await api.ask("POST", "/batches?dryRun=true", {"tasks": [*tasks[:2], {**tasks[2], "parentTaskId": ""}]})
    assert (response.status_code, response.headers.get("location")) == (200, None)
    assert response.json() == {
        "created": 2,
        "repeated": 1,
        "failed": 0,
        "items": [{"index": 0}, {"index": 1, "id": there["id"], "repeat": True}, {"index": 2}],
    }
    circle = await api.ask("POST", "/batches?dryRun=true", {"tasks": tasks, "atomic": False})
    assert (circle.status_code, error_of(circle)["details"][0]["field"]) == (400, "tasks")
    wrong = [{"text": "x", "title": "rehearsed"}, {"text": "x", "dependsOn": ["nobody"]}, {"text": "x", "skill": "no"}]
    refused = await api.ask("POST", "/batches?dryRun=true", {"tasks": wrong[:2]})
    assert (refused.status_code, error_of(refused)["details"][0]["field"]) == (400, "tasks[1].dependsOn[0]")
    each = await api.post("/batches?dryRun=true", {"tasks": wrong, "atomic": False})
    assert (each["created"], each["failed"], each["items"][0]) == (1, 2, {"index": 0})
    assert [item["error"]["field"] for item in each["items"][1:]] == ["tasks[1].dependsOn[0]", "tasks[2].skill"]
    assert await api.all(title="rehearsed") == []


async def test_items_of_a_rehearsed_batch_may_wait_for_any_other_one(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TOGETHER", 2)
    tasks = [{"text": "x", "title": "chained", **({"dependsOn": [f"#{n - 1}"]} if n else {})} for n in range(7)]
    body = {"tasks": tasks, "atomic": False, "uniqueKey": "chain"}
    assert (await api.post("/batches?dryRun=true", body))["created"] == 7
    assert await api.all(title="chained") == []
    made = await api.post("/batches", body, 201)
    assert made["created"] == 7
    again = await api.post("/batches?dryRun=true", body)
    assert (again["id"], again["created"], again["repeated"]) == (made["id"], 0, 7)
    assert [item["id"] for item in again["items"]] == [item["id"] for item in made["items"]]


async def test_a_rehearsed_batch_keeps_no_files(api: Api, served: Connection) -> None:
    store = served._system.engine.backends.artifacts
    before = await store.list("", 1000)
    file = {"raw": base64.b64encode(b"x" * 300_000).decode(), "filename": "a.bin"}
    await api.post("/batches?dryRun=true", {"tasks": [{"message": {"parts": [file]}}]})
    assert await store.list("", 1000) == before


@pytest.mark.parametrize("media_type", ["application/jsonl", "application/x-ndjson"])
async def test_json_lines_are_a_batch(api: Api, media_type: str) -> None:
    lines = [{"name": "a", "text": "1"}, {"text": "2", "dependsOn": ["#a"]}]
    body = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n\r\n"
    headers = {"Content-Type": media_type}
    made = await api.post("/batches", None, 201, content=body, headers=headers)
    assert made["created"] == 2
    broken = await api.ask("POST", "/batches", content=body + b"{", headers=headers)
    assert (broken.status_code, error_of(broken)["details"][0]["field"]) == (400, "line 4")
    lines_of = b'{"text": "1"}\n\n{"text": \n{"text": "2", "dependsOn": ["#1"]}\n{"text": "3"}\n'
    each = await api.post("/batches?atomic=false", None, 201, content=lines_of, headers=headers)
    assert (each["created"], each["failed"]) == (2, 2)
    wrong = {item["index"]: item["error"] for item in each["items"] if "error" in item}
    assert (wrong[1]["code"], wrong[1]["field"]) == (400, "line 3")
    assert wrong[1]["message"].startswith("line 3: not JSON at column ")
    assert wrong[2]["message"] == "tasks[2] needs #1, which was refused."
    some = await api.post("/batches?atomic=false", None, 201, content=body + b'{"x":1}', headers=headers)
    assert (some["created"], some["failed"]) == (2, 1)
    many = await api.ask("POST", "/batches", content=b"{}\n" * 10_001, headers=headers)
    assert (many.status_code, error_of(many)["details"][0]["field"]) == (400, "body")
    for nothing in (b"", b"\n", b" \n\r\n"):
        empty = await api.ask("POST", "/batches", content=nothing, headers=headers)
        said = "The body has no line; it must have one, a JSON object, for each task."
        assert (empty.status_code, error_of(empty)["message"]) == (400, said)
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
    again = await api.post("/batches", {"tasks": tasks})
    assert (again["id"], again["created"], again["repeated"]) == (first["id"], 0, 3)
    assert [item["id"] for item in again["items"]] == [item["id"] for item in first["items"]]
    assert [item.get("repeat") for item in again["items"]] == [True] * 3
    more = await api.post("/batches", {"tasks": [*tasks, {"text": "new"}]}, 201)
    assert (more["created"], more["repeated"], more["id"] != first["id"]) == (1, 3, True)
    assert (await api.get(f"/batches/{more['id']}"))["total"] == 1


async def test_a_batch_of_which_nothing_is_made_has_no_id(api: Api) -> None:
    response = await api.ask("POST", "/batches", {"tasks": [{"text": "x", "skill": "nope"}], "atomic": False})
    assert (response.status_code, "location" in response.headers) == (200, False)
    assert response.json().keys() == {"created", "failed", "items"}
    alone = [await api.create(message={"messageId": f"alone-{n}", "parts": [{"text": "x"}]}) for n in range(2)]
    tasks = [{"message": {"messageId": f"alone-{n}", "parts": [{"text": "x"}]}} for n in range(2)]
    again = await api.post("/batches", {"tasks": tasks})
    assert ([item["id"] for item in again["items"]], again.get("id")) == ([task["id"] for task in alone], None)


@pytest.mark.parametrize("atomic", [True, False])
async def test_a_unique_key_is_that_of_one_batch(api: Api, atomic: bool) -> None:
    tasks = [{"name": "a", "text": "1", "title": f"keyed {atomic}"}, {"text": "2", "dependsOn": ["#a"]}]
    wrong = [] if atomic else [{"text": "x", "skill": "nope"}, {"maxAttempts": "x"}]
    body = {"tasks": [*tasks, *wrong], "atomic": atomic, "uniqueKey": f"night {atomic}"}
    first = await api.post("/batches", body, 201)
    assert (first["created"], first["failed"]) == (2, len(wrong))
    again = await api.ask("POST", "/batches", body)
    assert (again.status_code, again.headers["location"]) == (200, f"/api/v1/batches/{first['id']}")
    repeats = [item | {"repeat": True} if "id" in item else item for item in first["items"]]
    assert again.json() == first | {"created": 0, "repeated": 2, "items": repeats}
    lines = b"\n".join(json.dumps(task).encode() for task in [{"text": "other"}] * 5)
    headers = {"Content-Type": "application/jsonl"}
    path = f"/batches?atomic={str(atomic).lower()}&uniqueKey=night%20{atomic}"
    assert await api.post(path, None, 200, content=lines, headers=headers) == again.json()
    assert len(await api.all(batch=first["id"])) == 2
    assert len(await api.all(title=f"keyed {atomic}")) == 1


async def test_results_come_in_the_order_of_the_items(api: Api) -> None:
    texts = [f"text {n}" for n in range(25)]
    tasks = [{"text": text, "title": text, "priority": "high" if n % 2 else "low"} for n, text in enumerate(texts)]
    made = await api.post("/batches", {"tasks": [*tasks, {"text": "x", "skill": "fail", "title": "bad"}]}, 201)
    for item in made["items"]:
        await api.reached(item["id"], "final")
    path = f"/batches/{made['id']}/results"
    found: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get(path, limit=10, **cursor)
        assert len(page["results"]) <= 10
        found += page["results"]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert [one["id"] for one in found] == [item["id"] for item in made["items"]]
    assert [one["artifacts"][0]["parts"][0]["text"] for one in found[:-1]] == texts
    assert (found[-1]["state"], found[-1]["title"], found[-1]["artifacts"]) == ("failed", "bad", [])
    assert found[-1]["message"]["parts"][0]["text"] == "it cannot be done"
    lines = await api.ask("GET", path + "?limit=20", headers={"Accept": "application/jsonl"})
    assert lines.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line) for line in lines.text.splitlines()] == found[:20]
    following = lines.headers["link"].removeprefix("</api/v1").partition(">")[0]
    rest = await api.ask("GET", following, headers={"Accept": "application/x-ndjson"})
    assert ([json.loads(line) for line in rest.text.splitlines()], "link" in rest.headers) == (found[20:], False)
    shown = await api.get(f"/batches/{made['id']}")
    assert shown["states"] == {"completed": 25, "failed": 1}
    [failure] = shown["failures"]
    assert failure["error"] == {"reason": "failed", "code": "failed", "text": "it cannot be done"}
    assert (failure["id"], failure["title"]) == (made["items"][-1]["id"], "bad")
    wrong = await api.ask("GET", f"{path}?cursor=x")
    assert (wrong.status_code, error_of(wrong)["details"][0]["field"]) == (400, "cursor")
    assert (await api.ask("GET", "/batches/nope/results")).status_code == 404


@pytest.mark.parametrize("atomic", [False, True])
async def test_what_has_not_ended_is_not_deleted_with_others_and_the_error_fits_there(api: Api, atomic: bool) -> None:
    later = await api.create(text="x", runAt=LATER)
    report = await api.post("/tasks/bulk", {"action": "delete", "ids": [later["id"]], "atomic": atomic})
    [failed] = report["failed"]
    assert failed["error"]["message"].startswith(
        "The task has not ended; cancel it first. Where it is deleted by itself"
    )
    await api.stop(later["id"])


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/batches", {"tasks": []}, "tasks must have at least 1 item, not 0."),
        ("/batches", {"tasks": [{"tags": ["x"] * 33}]}, "tasks[0].tags must have at most 32 items, not 33."),
        ("/batches", {"tasks": [{}], "uniqueKey": "\n"}, "uniqueKey must be text without control characters."),
        ("/tasks/bulk", {"action": "cancel", "ids": []}, "ids must have at least 1 item, not 0."),
        ("/tasks/bulk", {"action": "cancel", "ids": [""]}, "ids[0] must have at least 1 character."),
    ],
)
async def test_refusals_name_field_and_rule_in_plain_words(api: Api, path: str, body: object, says: str) -> None:
    response = await api.ask("POST", path, body)
    assert (response.status_code, error_of(response)["message"].startswith(says)) == (400, True), response.text


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


@pytest.mark.parametrize("action", ["cancel", "delete", "retry", "requeue", "reprioritise"])
async def test_a_member_of_another_action_is_refused(api: Api, action: str) -> None:
    own = OF_ACTION.get(action, {})
    for name, value in (("priority", "low"), ("delaySeconds", 5)):
        response = await api.ask(
            "POST", "/tasks/bulk", json={"action": action, **own, name: value, "ids": ["x"], "dryRun": True}
        )
        assert (response.status_code, name in own) in {(200, True), (400, False)}
        if name not in own:
            assert error_of(response)["details"][0]["field"] == name


async def test_a_filter_finds_only_what_the_action_is_for(api: Api) -> None:
    tag = {"tags": ["bulk"]}
    done, failed = await api.done(text="x", **tag), await api.done(text="x", skill="fail", **tag)
    later = await api.create(text="x", runAt=LATER, **tag)
    find = {"filter": {"tag": ["bulk"]}, "dryRun": True}
    matched = {
        action: (await api.post("/tasks/bulk", {"action": action, **OF_ACTION.get(action, {}), **find}))["matched"]
        for action in ("cancel", "retry", "reprioritise", "requeue", "delete")
    }
    assert matched == {"cancel": 1, "retry": 2, "reprioritise": 1, "requeue": 1, "delete": 2}
    retried = await api.post("/tasks/bulk", {"action": "retry", "filter": {"tag": ["bulk"], "state": ["failed"]}})
    assert (retried["matched"], retried["done"]) == (1, 1)
    assert [task["retryOf"] for task in await api.all(tag="bulk") if "retryOf" in task] == [failed["id"]]
    deleted = await api.post("/tasks/bulk", {"action": "delete", "ids": [done["id"], failed["id"], later["id"]]})
    assert (deleted["done"], [one["id"] for one in deleted["failed"]]) == (2, [later["id"]])


async def test_one_thing_is_done_to_all_or_to_none(api: Api) -> None:
    later = [await api.create(text="x", runAt=LATER, tags=["together"]) for _ in range(3)]
    done, ids = await api.done(text="x"), [task["id"] for task in later]

    async def standing() -> list[tuple[str, str, str]]:
        tasks = [await api.get(f"/tasks/{task_id}") for task_id in ids]
        return [(task["state"], task["priority"], task["dueAt"]) for task in tasks]

    before = await standing()
    for action in ("cancel", "reprioritise", "requeue"):
        bulk = {"action": action, **OF_ACTION.get(action, {}), "atomic": True}
        for rehearsed in (False, True):
            some = [ids[0], "nobody", done["id"], *ids[1:]]
            report = await api.post("/tasks/bulk", {**bulk, "ids": some, "dryRun": rehearsed})
            assert (report["matched"], report["done"]) == (5, 0)
            codes = {one["id"]: one["error"]["code"] for one in report["failed"]}
            assert codes == {"nobody": 404, done["id"]: 409}
        report = await api.post("/tasks/bulk", {**bulk, "ids": [*ids, done["id"]]})  # only the turn knows that it ended
        assert (report["done"], [one["id"] for one in report["failed"]]) == (0, [done["id"]])
        dry = await api.post("/tasks/bulk", {**bulk, "ids": ids, "dryRun": True})
        assert dry == {"matched": 3, "done": 0, "failed": [], "more": False}
        assert await standing() == before
    told: Json = {"filter": {"tag": ["together"]}, "atomic": True}
    for action in ("reprioritise", "requeue", "cancel"):
        report = await api.post("/tasks/bulk", {"action": action, **OF_ACTION.get(action, {}), **told})
        assert report == {"matched": 3, "done": 3, "failed": [], "more": False}
        if action != "cancel":
            now = await standing()
            assert all(was != one for was, one in zip(before, now, strict=True))
            before = now
    assert {(await api.get(f"/tasks/{task_id}"))["state"] for task_id in ids} == {"canceled"}


async def test_a_filter_takes_times_and_priorities_as_lists_do(api: Api) -> None:
    made = [await api.create(text="x", runAt=LATER, tags=["when"], priority=number) for number in (1, 3, 5)]
    ids, times = [task["id"] for task in made], [task["createdAt"] for task in made]
    found: list[tuple[Json, list[str]]] = [
        ({"createdFrom": times[1], "createdTo": times[2]}, ids[1:2]),
        ({"updatedFrom": times[1], "updatedTo": "2199-01-01t00:00:00+01:00"}, ids[1:]),
        ({"priority": [1, "backlog"]}, [ids[0], ids[2]]),
        ({"priority": ["medium", "3"]}, [ids[1]]),
    ]
    for members, wanted in found:
        bulk: Json = {"action": "cancel", "filter": {"tag": ["when"], **members}, "dryRun": True}
        assert (await api.post("/tasks/bulk", bulk))["matched"] == len(wanted)
        listed = await api.all(tag="when", **members)
        assert sorted(task["id"] for task in listed) == sorted(wanted)


async def test_all_are_deleted_or_none(api: Api) -> None:
    ended = [(await api.done(text="x", tags=["away"]))["id"] for _ in range(3)]
    later = (await api.create(text="x", runAt=LATER, tags=["away"]))["id"]
    bulk = {"action": "delete", "atomic": True}
    for rehearsed in (False, True):
        some = [ended[0], "nobody", later, *ended[1:]]
        report = await api.post("/tasks/bulk", {**bulk, "ids": some, "dryRun": rehearsed})
        codes = {one["id"]: one["error"]["code"] for one in report["failed"]}
        assert (report["matched"], report["done"], codes) == (5, 0, {"nobody": 404, later: 409})
    dry = await api.post("/tasks/bulk", {**bulk, "ids": ended, "dryRun": True})
    assert dry == {"matched": 3, "done": 0, "failed": [], "more": False}
    assert len(await api.all(tag="away")) == 4
    report = await api.post("/tasks/bulk", {**bulk, "filter": {"tag": ["away"]}})
    assert report == {"matched": 3, "done": 3, "failed": [], "more": False}
    assert [task["id"] for task in await api.all(tag="away")] == [later]
    assert (await api.post("/tasks/bulk", {**bulk, "filter": {"tag": ["away"]}}))["matched"] == 0
    again = await api.post("/tasks/bulk", {**bulk, "ids": ended})
    assert (again["done"], [one["error"]["code"] for one in again["failed"]]) == (0, [404] * 3)


@pytest.mark.parametrize("atomic", [False, True])
async def test_chains_that_are_tried_again_stay_chains(api: Api, *, atomic: bool) -> None:
    tag = f"chain {atomic}"
    tasks = [
        {"name": "a", "text": "x", "runAt": LATER, "tags": [tag]},
        {"name": "b", "text": "x", "dependsOn": ["#a"], "tags": [tag]},
        {"text": "x", "dependsOn": ["#b"], "tags": [tag]},
    ]
    made = await api.post("/batches", {"tasks": tasks}, 201)
    ids = [item["id"] for item in made["items"]]
    await api.stop(ids[0])
    for task_id in ids:
        await api.reached(task_id, "final")
    report = await api.post("/tasks/bulk", {"action": "retry", "filter": {"tag": [tag]}, "atomic": atomic})
    assert (report["matched"], report["done"]) == (3, 3)
    new = {task["retryOf"]: task for task in await api.all(tag=tag) if "retryOf" in task}
    assert [new[one].get("dependsOn") for one in ids] == [None, [new[ids[0]]["id"]], [new[ids[1]]["id"]]]
    for task in new.values():
        assert (await api.reached(task["id"], "final"))["state"] == "completed"


async def test_all_are_tried_again_or_none(api: Api) -> None:
    failed = [await api.done(text="x", skill="fail", tags=["again"]) for _ in range(3)]
    later = await api.create(text="x", runAt=LATER, tags=["again"])
    ids = [task["id"] for task in failed]
    report = await api.post("/tasks/bulk", {"action": "retry", "ids": [*ids, later["id"]], "atomic": True})
    assert (report["done"], [one["id"] for one in report["failed"]]) == (0, [later["id"]])
    assert len(await api.all(tag="again")) == 4
    report = await api.post("/tasks/bulk", {"action": "retry", "ids": ids, "atomic": True})
    assert (report["done"], report["failed"]) == (3, [])
    assert sorted(task["retryOf"] for task in await api.all(tag="again") if "retryOf" in task) == sorted(ids)


@pytest.mark.embedded
async def test_so_many_are_done_together_and_no_more(api: Api) -> None:
    made = await api.post("/batches", {"tasks": [{"text": "x", "runAt": LATER}] * 1_001}, 201)
    bulk = {"action": "cancel", "filter": {"batch": made["id"]}, "atomic": True}
    response = await api.ask("POST", "/tasks/bulk", bulk)
    assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, "atomic")
    assert "takes 1000 tasks in one turn, and these are 1001" in error_of(response)["message"]
    assert (await api.get(f"/batches/{made['id']}"))["states"] == {"submitted": 1_001}
    report = await api.post("/tasks/bulk", {**bulk, "limit": 1_000})
    assert (report["matched"], report["done"], report["failed"], report["more"]) == (1_000, 1_000, [], True)
    assert (await api.get(f"/batches/{made['id']}"))["states"] == {"submitted": 1, "canceled": 1_000}
