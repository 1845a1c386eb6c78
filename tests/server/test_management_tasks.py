"""Tasks over the management API: made, read, changed, ended, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio

from a2a_server.errors import Changed
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.model.objects import Scope
from a2a_server.testing import Connection, connect
from tests.server.managed import Api, Json, agent, error_of
from tests.server.soon import TooLate, in_time

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00.000Z"
EVERYTHING = {
    "text": "hello",
    "skill": "echo",
    "title": "A title",
    "description": "What it is about",
    "kind": "analysis",
    "priority": "high",
    "tags": ["a", "b"],
    "deadline": "2036-01-01T00:00:00.000Z",
    "runAt": LATER,
    "timeoutSeconds": 12.5,
    "maxAttempts": 7,
    "parameters": {"x": None, "y": [1, {"z": None}]},
    "context": {"free": "json"},
    "metadata": {"mine": {"a": None}},
    "contextId": "conversation-1",
    "requires": {"durationSeconds": 3.5},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Connection]:
    async with connect(agent, cancel_grace_seconds=5.0) as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(served: Connection, http: httpx2.AsyncClient) -> Api:
    return Api(http, served.url)


async def test_a_task_is_made_and_read(api: Api, served: Connection) -> None:
    response = await api.ask("POST", "/tasks", EVERYTHING)
    assert response.status_code == 201
    made = response.json()
    assert response.headers["location"] == f"/api/v1/tasks/{made['id']}"
    assert response.headers["etag"] == f'"{made["revision"]}"'
    assert made == {
        "id": made["id"],
        "contextId": "conversation-1",
        "agent": "Managed",
        "skill": "echo",
        "title": "A title",
        "description": "What it is about",
        "kind": "analysis",
        "state": "submitted",
        "phase": "scheduled",
        "status": "created",
        "priority": "high",
        "tags": ["a", "b"],
        "attempt": 1,
        "maxAttempts": 7,
        "createdAt": made["createdAt"],
        "updatedAt": made["createdAt"],
        "runAt": LATER,
        "dueAt": LATER,
        "deadline": "2036-01-01T00:00:00.000Z",
        "timeoutSeconds": 12.5,
        "parameters": {"x": None, "y": [1, {"z": None}]},
        "context": {"free": "json"},
        "metadata": {"mine": {"a": None}},
        "requires": {"durationSeconds": 3.5},
        "estimatedDuration": {"source": "given", "seconds": 3.5},
        "owner": "local",
        "createdBy": {"type": "user", "id": "local"},
        "source": "api",
        "method": "POST /tasks",
        "generation": "1.0",
        "revision": 1,
    }
    assert await api.get(f"/tasks/{made['id']}") == made
    assert (await served.get(made["id"]))["contextId"] == "conversation-1"


async def test_what_ran_shows_when_and_what_came_out(api: Api) -> None:
    task = await api.done(text="hello")
    assert (task["state"], task["phase"], task["status"]) == ("completed", "final", "completed")
    assert task["createdAt"] <= task["startedAt"] <= task["updatedAt"]
    result = await api.get(f"/tasks/{task['id']}/result")
    assert (result["state"], result["artifacts"][0]["parts"]) == ("completed", [{"text": "hello"}])


async def test_what_failed_says_why(api: Api) -> None:
    task = await api.done(text="x", skill="fail")
    assert task["error"] == {"reason": "failed", "code": "failed", "text": "it cannot be done"}


async def test_a_message_of_the_protocol_begins_a_task(api: Api) -> None:
    message = {"parts": [{"text": "from"}, {"text": "parts"}], "contextId": "c-2", "metadata": {"m": 1}}
    task = await api.done(message=message)
    assert task["contextId"] == "c-2"
    found = (await api.get(f"/tasks/{task['id']}/messages"))["messages"]
    assert [one["message"]["role"] for one in found] == ["ROLE_USER"]
    assert found[0]["message"]["parts"] == message["parts"]


async def test_a_repeat_is_found_by_its_message_or_its_key(api: Api) -> None:
    message = {"messageId": "once", "parts": [{"text": "once"}]}
    made = await api.create(message=message)
    again = await api.post("/tasks", {"message": message}, 200)
    assert (again["id"], again["repeat"], "repeat" in made) == (made["id"], True, False)
    first = await api.create(text="1", uniqueKey="only-one")
    second = await api.post("/tasks", {"text": "2", "uniqueKey": "only-one"}, 200)
    assert (second["id"], second["repeat"]) == (first["id"], True)
    assert "repeat" not in await api.get(f"/tasks/{first['id']}")


async def test_a_rehearsal_checks_all_and_stores_nothing(api: Api) -> None:
    upstream, parent = await api.create(skill="wait"), await api.create(text="x", runAt=LATER)
    asked = {**EVERYTHING, "title": "rehearsed", "dependsOn": [upstream["id"]], "parentTaskId": parent["id"]}
    task = await api.post("/tasks?dryRun=true", asked, 200)
    assert (task["phase"], task["status"], task["unmet"]) == ("waiting", "blocked", 1)
    assert (task["title"], task["dependsOn"], task["parentTaskId"]) == (
        "rehearsed",
        [upstream["id"]],
        parent["id"],
    )
    assert await api.all(title="rehearsed") == []
    assert (await api.ask("GET", f"/tasks/{task['id']}")).status_code == 404
    assert (await api.get(f"/tasks/{parent['id']}/children"))["tasks"] == []
    for wrong, field in (
        ({"skill": "nope"}, "skill"),
        ({"dependsOn": ["nobody"]}, "dependsOn[0]"),
        ({"parentTaskId": "nobody"}, "parentTaskId"),
        ({"deadline": "2001-01-01T00:00:00Z"}, "deadline"),
        ({"dependsOn": [upstream["id"]], "parentTaskId": upstream["id"]}, "dependsOn[0]"),
    ):
        response = await api.ask("POST", "/tasks?dryRun=true", {"text": "x", **wrong})
        assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, field)
    await api.stop(upstream["id"])


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_rehearsed_change_answers_as_it_would_be_and_changes_nothing(api: Api, method: str) -> None:
    made = await api.create(text="x", runAt=LATER, title="old", tags=["a"])
    path, tag = f"/tasks/{made['id']}", f'"{made["revision"]}"'
    change = {"title": "new", "priority": "high", "runAt": "2036-01-01T00:00:00Z", "tags": ["a", "b"]}
    response = await api.ask(method, f"{path}?dryRun=true", change, headers={"If-Match": tag})
    would_be = response.json()
    assert (response.status_code, response.headers.get("etag"), would_be["revision"]) == (200, None, made["revision"])
    assert (await api.get(path))["title"] == "old"
    assert await api.all(tag="b", contextId=made["contextId"]) == []
    real = (await api.ask(method, path, change, headers={"If-Match": tag})).json()
    assert real | {"revision": made["revision"]} == would_be
    stale = await api.ask(method, f"{path}?dryRun=true", {"title": "newer"}, headers={"If-Match": tag})
    assert stale.status_code == 412
    for wrong, field in (({"deadline": "2001-01-01T00:00:00Z"}, "deadline"), ({"maxAttempts": 0}, "maxAttempts")):
        response = await api.ask(method, f"{path}?dryRun=true", wrong)
        assert (response.status_code, error_of(response)["details"][0]["field"]) == (400, field)
    await api.stop(made["id"])
    late = await api.ask("PATCH", f"{path}?dryRun=true", {"priority": "low"})
    assert (late.status_code, (await api.ask(method, "/tasks/none?dryRun=true", {})).status_code) == (409, 404)


async def test_a_rehearsed_deletion_says_whether_it_could_be_done(api: Api) -> None:
    ended, later = await api.done(text="x"), await api.create(text="x", runAt=LATER)
    works = await api.create(skill="wait")
    await api.reached(works["id"], "working")
    whole = await api.create(text="x", runAt=LATER, completeWhen="all")
    part = await api.create(text="x", runAt=LATER, parentTaskId=whole["id"])
    for task, query, status in (
        (ended, "", 200),
        (ended, "&cancel=true", 200),
        (later, "", 409),
        (later, "&cancel=true", 200),
        (works, "", 409),
        (works, "&cancel=true", 200),
        (part, "&cancel=true", 409),
        ({"id": "nothing"}, "", 404),
    ):
        response = await api.ask("DELETE", f"/tasks/{task['id']}?dryRun=true{query}")
        assert response.status_code == status, (task, query, response.text)
        if status == 200:
            found = await api.get(f"/tasks/{task['id']}")
            assert (response.json()["state"], response.json()["revision"]) == (found["state"], found["revision"])
    stale = await api.ask("DELETE", f"/tasks/{ended['id']}?dryRun=true", headers={"If-Match": '"99"'})
    assert stale.status_code == 412
    assert [(await api.get(f"/tasks/{one['id']}"))["state"] for one in (ended, later, works, part)] == [
        "completed",
        "submitted",
        "working",
        "submitted",
    ]
    for one in (works, whole):
        await api.stop(one["id"])


async def test_etags_say_whether_it_changed(api: Api) -> None:
    made = await api.create(text="x", runAt=LATER)
    path, tag = f"/tasks/{made['id']}", f'"{made["revision"]}"'
    response = await api.ask("GET", path, headers={"If-None-Match": tag})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    changed = await api.ask("PATCH", path, {"title": "new"}, headers={"If-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag
    for stale in (tag, f"W/{changed.headers['etag']}", '"x"', '"99", "100"'):
        for method, body in (("PATCH", {"title": "newer"}), ("PUT", {"title": "newer"}), ("DELETE", None)):
            response = await api.ask(method, path, body, headers={"If-Match": stale})
            assert response.status_code == 412, (stale, method)
            assert error_of(response)["status"] == "ABORTED"
    assert (await api.get(path))["title"] == "new"
    for good in ("*", changed.headers["etag"], f'"7777", {changed.headers["etag"]}'):
        assert (await api.ask("PATCH", path, {"title": "new"}, headers={"If-Match": good})).status_code == 200
    assert (await api.ask("GET", path, headers={"If-None-Match": tag})).status_code == 200


async def test_of_two_changes_from_one_revision_one_wins(api: Api) -> None:
    made = await api.create(text="x", runAt=LATER)
    headers = {"If-Match": f'"{made["revision"]}"'}
    asked = (api.ask("PATCH", f"/tasks/{made['id']}", {"title": f"{n}"}, headers=headers) for n in range(8))
    statuses = sorted(response.status_code for response in await asyncio.gather(*asked))
    assert statuses == [200] + [412] * 7


async def test_of_two_changes_in_one_turn_one_wins(api: Api, served: Connection) -> None:
    """What is posted at once is decided in one turn, where the row's revision does not grow in between."""
    made = await api.create(text="x", runAt=LATER)
    engine = served._system.engine
    row = await engine.backends.store.find(Scope(), "", made["id"])
    assert row is not None
    wanted = [replace(standing(row), title=f"title {n}") for n in range(3)]
    edits = [Edit(row, one, revisions=frozenset({row.rev})) for one in wanted]
    outcomes = await asyncio.gather(*(engine.submit(edit) for edit in edits), return_exceptions=True)
    assert [isinstance(outcome, Changed) for outcome in outcomes] == [False, True, True]
    assert (await api.get(f"/tasks/{made['id']}"))["title"] == "title 0"


async def test_changes_of_different_members_do_not_lose_each_other(api: Api) -> None:
    made = await api.create(text="x", runAt=LATER)
    asked = (api.ask("PATCH", f"/tasks/{made['id']}", {"metadata": {f"m{n}": n}}) for n in range(4))
    assert [response.status_code for response in await asyncio.gather(*asked)] == [200] * 4
    assert (await api.get(f"/tasks/{made['id']}"))["metadata"] == {f"m{n}": n for n in range(4)}


async def test_a_merge_patch_changes_members_of_members(api: Api) -> None:
    """RFC 7396: null takes a member away, objects are merged, all else is replaced."""
    made = await api.create(text="x", runAt=LATER, metadata={"a": 1, "b": {"c": 2, "d": 3}}, tags=["x", "y"], title="t")
    patch = {"metadata": {"a": None, "b": {"c": None, "e": [1]}}, "tags": ["z"], "title": None}
    response = await api.ask(
        "PATCH", f"/tasks/{made['id']}", patch, headers={"Content-Type": "application/merge-patch+json"}
    )
    changed = response.json()
    assert changed["metadata"] == {"b": {"d": 3, "e": [1]}}
    assert changed["tags"] == ["z"]
    assert "title" not in changed
    assert made["id"] in [task["id"] for task in await api.all(tag="z")]
    assert made["id"] not in [task["id"] for task in await api.all(tag="x")]


async def test_put_says_all_anew(api: Api) -> None:
    made = await api.create(**{**EVERYTHING, "contextId": "put"})
    changed = (await api.ask("PUT", f"/tasks/{made['id']}", {"title": "Only this", "runAt": LATER})).json()
    gone = {"description", "kind", "tags", "deadline", "parameters", "context", "metadata"}
    assert gone.isdisjoint(changed)
    assert (changed["title"], changed["priority"], changed["phase"]) == ("Only this", "normal", "scheduled")
    assert (changed["timeoutSeconds"], changed["maxAttempts"]) == (1800.0, 4)
    assert changed["requires"] == made["requires"]
    assert [task["id"] for task in await api.all(title="only THIS")] == [made["id"]]


async def test_without_its_time_it_starts(api: Api) -> None:
    made = await api.create(text="now", runAt=LATER)
    assert (await api.ask("PATCH", f"/tasks/{made['id']}", {"runAt": None})).status_code == 200
    assert (await api.reached(made["id"], "final"))["state"] == "completed"


async def test_a_new_time_is_heeded(api: Api) -> None:
    made = await api.create(text="soon", runAt=LATER)
    late = await api.create(text="late", runAt=LATER)

    async def overtake(deadline: datetime) -> None:
        response = await api.ask("PATCH", f"/tasks/{late['id']}", {"deadline": deadline.isoformat()})
        if response.status_code == 400:
            raise TooLate
        assert response.status_code == 200

    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    moved = (await api.ask("PATCH", f"/tasks/{made['id']}", {"runAt": soon})).json()
    assert moved["runAt"] < LATER
    await in_time(overtake)
    assert (await api.reached(made["id"], "final"))["state"] == "completed"
    assert (await api.reached(late["id"], "final"))["state"] == "failed"


async def test_attempts_that_are_due_cannot_be_taken_away(api: Api) -> None:
    made = await api.create(skill="flaky", maxAttempts=3)
    await api.reached(made["id"], "scheduled")
    path = f"/tasks/{made['id']}"
    response = await api.ask("PATCH", path, {"maxAttempts": 1})
    error = error_of(response)
    assert (response.status_code, error["details"][0]["field"]) == (400, "maxAttempts")
    assert "at least 2" in error["message"]
    assert "cancel the task" in error["message"]
    assert (await api.ask("PATCH", path, {"maxAttempts": 2})).json()["maxAttempts"] == 2
    await api.stop(made["id"])


async def test_what_is_too_late_to_change_is_refused(api: Api) -> None:
    working = await api.create(skill="wait", metadata={"a": 1})
    await api.reached(working["id"], "leased")
    path = f"/tasks/{working['id']}"
    changes: tuple[Json, ...] = ({"metadata": {"b": 1}}, {"parameters": {"x": 1}}, {"context": {}}, {"runAt": LATER})
    for late in changes:
        response = await api.ask("PATCH", path, late)
        assert (response.status_code, error_of(response)["details"][0]["field"]) == (409, next(iter(late)))
    put = await api.ask("PUT", path, {"title": "at work", "priority": "low", "deadline": LATER})
    assert (put.status_code, put.json()["metadata"], put.json()["priority"]) == (200, {"a": 1}, "low")
    assert (await api.ask("PATCH", path, {"maxAttempts": 1})).status_code == 200
    await api.stop(working["id"])
    await api.reached(working["id"], "final")
    changes = ({"priority": "high"}, {"deadline": None}, {"timeoutSeconds": 3}, {"maxAttempts": 2})
    for late in changes:
        assert (await api.ask("PATCH", path, late)).status_code == 409, late
    assert (await api.ask("PATCH", path, {"title": "over", "tags": ["old"]})).json()["title"] == "over"
    assert (await api.ask("PUT", path, {"kind": "control"})).json()["priority"] == "low"


async def test_a_cancel_is_seen_at_once_or_asked_for(api: Api) -> None:
    later = await api.create(text="x", runAt=LATER)
    assert (await api.post(f"/tasks/{later['id']}/cancel"))["state"] == "canceled"
    working = await api.create(skill="wait")
    await api.reached(working["id"], "leased")
    asked = await api.post(f"/tasks/{working['id']}/cancel", None, 202)
    assert asked["cancelRequestedAt"] >= asked["createdAt"]
    assert (await api.reached(working["id"], "final"))["state"] == "canceled"
    again = await api.ask("POST", f"/tasks/{working['id']}/cancel")
    assert (again.status_code, error_of(again)["status"]) == (409, "FAILED_PRECONDITION")


@pytest.mark.embedded
async def test_an_ended_task_is_deleted_with_its_objects(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with connect(agent, artifacts=f"file://{tmp_path}/objects", inline_bytes=1000) as server:
        api = Api(http, server.url)
        raw = "QUJD" * 1000
        message = {"parts": [{"raw": raw, "filename": "a.bin"}, {"text": "x"}]}
        task = await api.done(message=message, uniqueKey="gone")
        kept = await api.done(message=message)
        assert len(_files(tmp_path)) == 2
        assert (await api.ask("DELETE", f"/tasks/{task['id']}")).status_code == 204
        for path in ("", "/events", "/journal", "/messages", "/graph", "/result"):
            assert (await api.ask("GET", f"/tasks/{task['id']}{path}")).status_code == 404, path
        assert (await api.ask("DELETE", f"/tasks/{task['id']}")).status_code == 404
        assert [str(path) for path in _files(tmp_path) if kept["id"] in str(path)] == [str(p) for p in _files(tmp_path)]
        assert [one["id"] for one in await api.all()] == [kept["id"]]
        assert (await api.create(text="x", uniqueKey="gone"))["id"] != task["id"]


async def test_a_file_that_another_task_uses_outlives_its_task(tmp_path: Path, http: httpx2.AsyncClient) -> None:
    async with connect(agent, artifacts=f"file://{tmp_path}/objects", inline_bytes=1000) as server:
        api = Api(http, server.url)
        first = await api.done(message={"parts": [{"raw": "QUJD" * 1000}, {"text": "x"}]})
        url = (await api.get(f"/tasks/{first['id']}/messages"))["messages"][0]["message"]["parts"][0]["url"]
        await api.done(message={"parts": [{"url": url}, {"text": "x"}]})
        assert (await api.ask("DELETE", f"/tasks/{first['id']}")).status_code == 204
        assert len((await http.get(url)).content) == 3000


async def test_an_unfinished_task_is_not_deleted(api: Api) -> None:
    working = await api.create(skill="wait")
    path = f"/tasks/{working['id']}"
    await api.reached(working["id"], "leased")
    assert (await api.ask("DELETE", path)).status_code == 409
    assert (await api.ask("DELETE", path, params={"cancel": "true"})).status_code in {202, 204}
    later = await api.create(text="x", runAt=LATER)
    stale = await api.ask("DELETE", f"/tasks/{later['id']}?cancel=true", headers={"If-Match": '"7"'})
    assert stale.status_code == 412
    assert (await api.get(f"/tasks/{later['id']}"))["state"] == "submitted"
    assert (await api.ask("DELETE", f"/tasks/{later['id']}?cancel=true")).status_code == 204
    assert (await api.ask("GET", f"/tasks/{later['id']}")).status_code == 404


async def test_a_direct_answer_is_a_task_here(api: Api) -> None:
    task = await api.done(text="x", skill="direct")
    said = (await api.get(f"/tasks/{task['id']}/result"))["message"]
    assert said["parts"] == [{"text": "directly"}]


async def test_an_ended_task_is_tried_again_as_a_new_one(api: Api) -> None:
    old = await api.done(text="x", skill="fail", title="try")
    new = await api.post(f"/tasks/{old['id']}/retry", None, 201)
    assert (new["retryOf"], new["skill"], new["title"]) == (old["id"], "fail", "try")
    one = await api.post(f"/tasks/{old['id']}/retry", {"uniqueKey": "k", "text": "y"}, 201)
    assert (await api.post(f"/tasks/{old['id']}/retry", {"uniqueKey": "k", "text": "y"}, 201))["id"] == one["id"]
    steps = await api.done(skill="remember", parameters={"number": 3})
    fork = await api.post(f"/tasks/{steps['id']}/retry", {"fromStep": "double:2", "parameters": {"number": 9}}, 201)
    assert fork["forkedFrom"] == "double:2"
    await api.reached(fork["id"], "final")
    parts = (await api.get(f"/tasks/{fork['id']}/result"))["artifacts"][0]["parts"]
    assert parts[0]["data"] == {"result": 12}
    wrong = await api.ask("POST", f"/tasks/{steps['id']}/retry", {"fromStep": "nope"})
    assert (wrong.status_code, error_of(wrong)["details"][0]["field"]) == (400, "fromStep")
    working = await api.create(skill="wait")
    assert (await api.ask("POST", f"/tasks/{working['id']}/retry")).status_code == 409
    await api.stop(working["id"])


async def test_a_task_that_waits_for_its_time_is_requeued(api: Api) -> None:
    later = await api.create(text="x", runAt=LATER)
    moved = await api.post(f"/tasks/{later['id']}/requeue")
    assert moved["runAt"] < LATER
    await api.post(f"/tasks/{later['id']}/requeue", {"delaySeconds": 0})
    await api.reached(later["id"], "final")
    assert (await api.ask("POST", f"/tasks/{later['id']}/requeue")).status_code == 409


async def test_a_question_is_answered(api: Api) -> None:
    made = await api.create(text="go", skill="ask")
    asking = await api.reached(made["id"], "input-required")
    assert asking["status"] == "blocked"
    await api.post(f"/tasks/{made['id']}/messages", {"text": "three", "messageId": "a-1"})
    await api.reached(made["id"], "final")
    result = await api.get(f"/tasks/{made['id']}/result")
    assert result["artifacts"][0]["parts"] == [{"text": "three"}]
    page = await api.get(f"/tasks/{made['id']}/messages", limit=2)
    texts = [one["message"]["parts"][0]["text"] for one in page["messages"]]
    page = await api.get(f"/tasks/{made['id']}/messages", after=page["next"])
    assert texts + [one["message"]["parts"][0]["text"] for one in page["messages"]] == ["go", "how many?", "three"]
    late = await api.ask("POST", f"/tasks/{made['id']}/messages", {"text": "four"})
    assert late.status_code == 409


async def test_dependencies_are_added_as_long_as_nothing_runs(api: Api) -> None:
    first, second = await api.create(skill="wait"), await api.create(text="x", runAt=LATER)
    tied = await api.post(f"/tasks/{second['id']}/dependencies", {"dependsOn": [first["id"]]})
    assert (tied["dependsOn"], tied["unmet"], tied["phase"]) == ([first["id"]], 1, "waiting")
    circle = await api.ask("POST", f"/tasks/{first['id']}/dependencies", {"dependsOn": [second["id"]]})
    assert circle.status_code in {400, 409}
    unknown = await api.ask("POST", f"/tasks/{second['id']}/dependencies", {"dependsOn": [first["id"], "nobody"]})
    assert (unknown.status_code, error_of(unknown)["details"][0]["field"]) == (400, "dependsOn[1]")
    twice = await api.create(text="x", dependsOn=[first["id"], second["id"], first["id"]])
    assert (twice["dependsOn"], twice["unmet"]) == ([first["id"], second["id"]], 2)
    await api.stop(first["id"])
    assert (await api.reached(second["id"], "final"))["state"] == "failed"


async def test_an_id_with_a_slash_can_be_named(api: Api, served: Connection) -> None:
    task_id = "team/a?b #1%2F"
    await served.send("x", generation="0.1", task_id=task_id)
    task = await api.get(f"/tasks/{quote(task_id, safe='')}")
    assert (task["id"], task["generation"]) == (task_id, "0.1")
    assert (await api.get(f"/tasks/{quote(task_id, safe='')}/events"))["events"]


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())
