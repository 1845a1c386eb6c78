"""Every field of every request to the management API wrong once: 400 that names it, and nothing stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server.testing import connect
from tests.server.managed import Api, Json, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00Z"
LONG = "x" * 10_001
OPTIONS: list[tuple[str, object, str]] = [
    ("title", "x" * 256, "title"),
    ("title", 1, "title"),
    ("description", LONG, "description"),
    ("kind", "other", "kind"),
    ("tags", "x", "tags"),
    ("tags", ["a", "b\n"], "tags[1]"),
    ("tags", [str(n) for n in range(33)], "tags"),
    ("priority", "urgent", "priority"),
    ("priority", 0, "priority"),
    ("priority", 6, "priority"),
    ("deadline", "2001-01-01T00:00:00Z", "deadline"),
    ("deadline", "tomorrow", "deadline"),
    ("deadline", "2035-01-01T00:00:00", "deadline"),
    ("timeoutSeconds", 0, "timeoutSeconds"),
    ("timeoutSeconds", "1", "timeoutSeconds"),
    ("timeoutSeconds", 1e9, "timeoutSeconds"),
    ("maxAttempts", 0, "maxAttempts"),
    ("maxAttempts", 1.5, "maxAttempts"),
    ("maxAttempts", True, "maxAttempts"),
    ("context", [], "context"),
    ("metadata", "x", "metadata"),
    ("parameters", [], "parameters"),
    ("nonsense", 1, "nonsense"),
    ("max_attempts", 1, "max_attempts"),
]
NEW: list[tuple[str, object, str]] = [
    *OPTIONS,
    ("text", 1, "text"),
    ("message", "x", "message"),
    ("message", {}, "text"),
    ("contextId", "x" * 257, "contextId"),
    ("contextId", "a\nb", "contextId"),
    ("contextId", 7, "contextId"),
    ("skill", "nope", "skill"),
    ("skill", 1, "skill"),
    ("runAt", "soon", "runAt"),
    ("delaySeconds", -1, "delaySeconds"),
    ("delaySeconds", 1e9, "delaySeconds"),
    ("dependsOn", "x", "dependsOn"),
    ("dependsOn", ["nobody"], "dependsOn[0]"),
    ("dependsOn", [""], "dependsOn[0]"),
    ("dependsOn", ["x"] * 1001, "dependsOn"),
    ("onDependencyFailure", "ignore", "onDependencyFailure"),
    ("parentTaskId", "nobody", "parentTaskId"),
    ("parentTaskId", "x" * 257, "parentTaskId"),
    ("completeWhen", "some", "completeWhen"),
    ("completeWhen", {}, "completeWhen"),
    ("completeWhen", {"children": "all", "parts": 1}, "completeWhen.parts"),
    ("completeWhen", {"children": "none"}, "completeWhen.children"),
    ("completeWhen", {"checks": []}, "completeWhen.checks"),
    ("completeWhen", {"checks": "format"}, "completeWhen.checks"),
    ("completeWhen", {"checks": ["a"] * 101}, "completeWhen.checks"),
    ("completeWhen", {"checks": ["x" * 129]}, "completeWhen.checks[0]"),
    ("completeWhen", {"checks": [1]}, "completeWhen.checks[0]"),
    ("requires", [], "requires"),
    ("requires", {"cpu": -1}, "requires.cpu"),
    ("requires", {"memory": 1}, "requires.memory"),
    ("requires", {"resources": {"gpu": 0}}, "requires.resources.gpu"),
    ("requires", {"resources": {"a b": 1}}, "requires.resources.a b"),
    ("requires", {"resources": {"": 1}}, "requires.resources.''"),
    ("requires", {"tags": ["a", 1]}, "requires.tags[1]"),
    ("uniqueKey", "x" * 257, "uniqueKey"),
    ("template", "x" * 257, "template"),
    ("returnImmediately", "yes", "returnImmediately"),
    ("metadata", {"urn:a2a-task-server:task-options:v1": {}}, "metadata"),
]
MESSAGES: list[tuple[object, str]] = [
    ({"parts": []}, "message.parts"),
    ({"parts": "x"}, "message.parts"),
    ({"parts": [{"text": 1}]}, "message.parts[0].text"),
    ({"parts": [{}]}, "message.parts[0]"),
    ({"parts": [{"text": "x", "url": "y"}]}, "message.parts[0]"),
    ({"parts": [{"raw": "?"}]}, "message.parts[0].raw"),
    ({"parts": [{"text": "x"}], "role": "ROLE_AGENT"}, "message.role"),
    ({"parts": [{"text": "x"}], "messageId": ""}, "message.messageId"),
    ({"parts": [{"text": "x"}], "taskId": "y"}, "message.taskId"),
    ({"parts": [{"text": "x"}], "referenceTaskIds": ["nobody"]}, "message.referenceTaskIds[0]"),
    ({"parts": [{"text": "x"}], "metadata": 1}, "message.metadata"),
    ({"parts": [{"url": "/artifacts/01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f/upload/0"}]}, "message.parts[0].url"),
]
QUERIES: list[tuple[str, str, str]] = [
    *(("/tasks", f"{name}=", name) for name in ("limit", "createdFrom", "batch", "owner", "title")),
    *(("/tasks", f"{name}=nope", f"{name}[0]") for name in ("state", "phase", "status", "priority")),
    ("/tasks", "state=TASK_STATE_WORKING", "state[0]"),
    ("/tasks", "tag=a%00b", "tag[0]"),
    ("/tasks", "&".join(f"tag={n}" for n in range(33)), "tag"),
    ("/tasks", "title=" + "x" * 257, "title"),
    ("/tasks", "createdFrom=2035-01-01T00:00:00", "createdFrom"),
    ("/tasks", "createdTo=5", "createdTo"),
    ("/tasks", "updatedFrom=yesterday", "updatedFrom"),
    ("/tasks", "updatedTo=2035-13-01T00:00:00Z", "updatedTo"),
    ("/tasks", "limit=0", "limit"),
    ("/tasks", "limit=201", "limit"),
    *(("/tasks", f"limit={text}", "limit") for text in ("1.0", "%2B5", "5_0", "%205", "5%20", "%D9%A5", "1e1")),
    ("/tasks", "=1", "''"),
    ("/tasks", "limit=5&limit=6", "limit"),
    ("/tasks", "cursor=x", "cursor"),
    ("/tasks", "nonsense=1", "nonsense"),
    ("/tasks", "context_id=1", "context_id"),
    ("/tasks/ID/events", "after=-1", "after"),
    ("/tasks/ID/events", f"after={2**53 + 1}", "after"),
    ("/tasks/ID/events", "limit=1001", "limit"),
    ("/tasks/ID/journal", "after=x", "after"),
    ("/tasks/ID/messages", "limit=0", "limit"),
    ("/tasks/ID/steps", "after=", "after"),
    ("/tasks/ID/checkpoints", "limit=x", "limit"),
    ("/tasks/ID/children", "cursor=x", "cursor"),
    ("/tasks/ID/children", "limit=201", "limit"),
    ("/tasks/ID/graph", "limit=10001", "limit"),
    ("/tasks/ID", "x=1", "x"),
]
BODIES: list[tuple[str, Json, str]] = [
    ("/retry", {"fromStep": 1}, "fromStep"),
    ("/retry", {"text": 1}, "text"),
    ("/retry", {"parameters": []}, "parameters"),
    ("/retry", {"uniqueKey": "x" * 257}, "uniqueKey"),
    ("/requeue", {"delaySeconds": -1}, "delaySeconds"),
    ("/requeue", {"delaySeconds": 31_622_401}, "delaySeconds"),
    ("/requeue", {"delay": 1}, "delay"),
    ("/messages", {}, "text"),
    ("/messages", {"text": "x", "parts": [{"text": "x"}]}, "text"),
    ("/messages", {"parts": []}, "parts"),
    ("/messages", {"parts": [{}]}, "message.parts[0]"),
    ("/messages", {"text": "x", "messageId": ""}, "messageId"),
    ("/dependencies", {}, "dependsOn"),
    ("/dependencies", {"dependsOn": []}, "dependsOn"),
    ("/dependencies", {"dependsOn": ["nobody"]}, "dependsOn[0]"),
    ("/dependencies", {"dependsOn": ["ID"]}, "dependsOn[0]"),
    ("/dependencies", {"dependsOn": ["x"], "onDependencyFailure": "x"}, "onDependencyFailure"),
]
BULK: list[tuple[Json, str]] = [
    ({}, "action"),
    ({"action": "explode", "ids": ["x"]}, "action"),
    ({"action": "cancel"}, "ids"),
    ({"action": "cancel", "ids": []}, "ids"),
    ({"action": "cancel", "ids": ["x"] * 10_001}, "ids"),
    ({"action": "cancel", "ids": ["x", ""]}, "ids[1]"),
    ({"action": "cancel", "ids": ["x"], "filter": {"state": ["working"]}}, "ids"),
    ({"action": "cancel", "filter": {}}, "filter"),
    ({"action": "cancel", "filter": {"title": None, "createdTo": None}}, "filter"),
    *(({"action": "delete", "filter": {name: []}}, f"filter.{name}") for name in ("state", "phase", "status", "tag")),
    ({"action": "delete", "filter": {"skill": [], "priority": []}}, "filter.skill"),
    ({"action": "cancel", "filter": {"createdTo": "2026-05-28"}}, "filter.createdTo"),
    ({"action": "cancel", "filter": {"createdTo": "2026-05-28T10:00:00"}}, "filter.createdTo"),
    ({"action": "cancel", "filter": {"updatedFrom": 5}}, "filter.updatedFrom"),
    ({"action": "cancel", "filter": {"priority": [9]}}, "filter.priority[0]"),
    ({"action": "cancel", "filter": {"state": ["nope"]}}, "filter.state[0]"),
    ({"action": "cancel", "filter": {"nonsense": 1}}, "filter.nonsense"),
    ({"action": "reprioritise", "ids": ["x"]}, "priority"),
    ({"action": "reprioritise", "ids": ["x"], "priority": "x"}, "priority"),
    ({"action": "requeue", "ids": ["x"], "delaySeconds": -1}, "delaySeconds"),
    ({"action": "cancel", "ids": ["x"], "limit": 0}, "limit"),
    ({"action": "cancel", "ids": ["x"], "dryRun": "yes"}, "dryRun"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def task(api: Api) -> Json:
    return await api.create(text="x", runAt=LATER, title="unharmed")


async def refused(api: Api, task: Json, asked: tuple[str, str, object], field: str) -> None:
    before = await api.all()
    response = await api.ask(*asked)
    assert response.status_code == 400, (response.status_code, response.text)
    error = error_of(response)
    assert error["details"][0]["field"] == field, error
    assert field in error["message"]
    assert await api.all() == before
    assert (await api.get(f"/tasks/{task['id']}"))["title"] == "unharmed"


@pytest.mark.parametrize("wrong", NEW)
@pytest.mark.parametrize("query", ["", "?dryRun=true"])
async def test_of_a_new_task(api: Api, task: Json, wrong: tuple[str, object, str], query: str) -> None:
    name, value, field = wrong
    await refused(api, task, ("POST", f"/tasks{query}", {"text": "x", name: value}), field)


@pytest.mark.parametrize(("message", "field"), MESSAGES)
async def test_of_a_message(api: Api, task: Json, message: object, field: str) -> None:
    await refused(api, task, ("POST", "/tasks", {"message": message}), field)


@pytest.mark.parametrize("wrong", OPTIONS)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_of_a_change(api: Api, task: Json, method: str, wrong: tuple[str, object, str]) -> None:
    name, value, field = wrong
    await refused(api, task, (method, f"/tasks/{task['id']}", {name: value}), field)


@pytest.mark.parametrize(("path", "query", "field"), QUERIES)
async def test_of_a_query(api: Api, task: Json, path: str, query: str, field: str) -> None:
    await refused(api, task, ("GET", f"{path.replace('ID', task['id'])}?{query}", None), field)


@pytest.mark.parametrize(("path", "body", "field"), BODIES)
async def test_of_what_is_done_to_a_task(api: Api, task: Json, path: str, body: Json, field: str) -> None:
    given: Any = {name: [task["id"] if one == "ID" else one for one in value] if isinstance(value, list) else value
                  for name, value in body.items()}  # fmt: skip
    await refused(api, task, ("POST", f"/tasks/{task['id']}{path}", given), field)


@pytest.mark.parametrize(("body", "field"), BULK)
async def test_of_a_bulk_operation(api: Api, task: Json, body: Json, field: str) -> None:
    await refused(api, task, ("POST", "/tasks/bulk", body), field)


async def test_every_fault_is_named_at_once(api: Api) -> None:
    wrong = {"title": 1, "kind": "x", "tags": ["", "ok", 3], "priorty": 1}
    error = error_of(await api.ask("POST", "/tasks", wrong))
    assert sorted(detail["field"] for detail in error["details"]) == ["kind", "priorty", "tags[0]", "tags[2]", "title"]
    assert error["message"].endswith("(4 more in details.)")
    assert {"field": "priorty", "rule": "is not known here (did you mean priority?)"} in error["details"]
