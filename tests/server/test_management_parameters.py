"""Parameters that a skill would reject its task for: every request that gives some is refused alike."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from a2a_server.testing import connect
from tests.server.managed import Api, Json, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00.000Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


async def refused(api: Api, method: str, path: str, body: Json, field: str = "parameters.number") -> None:
    response = await api.ask(method, path, body)
    [detail] = error_of(response)["details"]
    assert (response.status_code, detail["field"]) == (400, field)
    assert error_of(response)["message"] == f"{field} must be a valid integer, as the skill remember takes it."


async def test_parameters_that_a_skill_does_not_take_are_refused_before_it_runs(api: Api) -> None:
    wrong = {"skill": "remember", "parameters": {"number": "many"}, "title": "unfit"}
    for method, path, body, field in (
        ("POST", "/tasks?dryRun=true", wrong, "parameters.number"),
        ("POST", "/tasks", wrong, "parameters.number"),
        ("POST", "/batches", {"tasks": [{"text": "x", "title": "unfit"}, wrong]}, "tasks[1].parameters.number"),
    ):
        response = await api.ask(method, path, body)
        [detail] = error_of(response)["details"]
        assert (response.status_code, detail["field"]) == (400, field)
        assert error_of(response)["message"].startswith(f"{field} must be a valid integer")
    assert await api.all(title="unfit") == []
    each = await api.post("/batches", {"tasks": [wrong], "atomic": False})
    assert each["items"][0]["error"]["field"] == "tasks[0].parameters.number"
    data = {"parts": [{"data": {"number": 4}}]}  # stands instead of the parameter
    for fine in ({"parameters": {"number": 3, "unknown": "x"}}, {"parameters": {"number": "x"}, "message": data}):
        await api.create(skill="remember", **fine)


async def test_of_a_task_that_is_tried_again(api: Api) -> None:
    ended = await api.done(skill="remember", parameters={"number": 3})
    path = f"/tasks/{ended['id']}/retry"
    await refused(api, "POST", path, {"parameters": {"number": "many"}})
    await refused(api, "POST", path, {"parameters": {"number": "many"}, "fromStep": "double:2"})
    await refused(api, "POST", path, {"parameters": {"number": "many"}, "uniqueKey": "key"})
    made = await api.post(path, {"parameters": {"number": 5}, "uniqueKey": "key"}, 201)
    assert (await api.post(path, {"parameters": {"number": "many"}, "uniqueKey": "key"}, 201))["id"] == made["id"]
    data = await api.done(skill="remember", message={"parts": [{"data": {"number": 4}}]})
    await api.post(f"/tasks/{data['id']}/retry", {"parameters": {"number": "many"}}, 201)


async def test_of_a_task_that_is_changed_before_it_starts(api: Api) -> None:
    waiting = await api.create(skill="remember", parameters={"number": 3}, runAt=LATER)
    path = f"/tasks/{waiting['id']}"
    await refused(api, "PATCH", path, {"parameters": {"number": "many"}})
    whole = {"runAt": LATER, "parameters": {"number": "many"}}
    await refused(api, "PUT", path, whole)
    assert (await api.get(path))["parameters"] == {"number": 3}
    response = await api.ask("PATCH", path, {"parameters": {"number": 7}})
    assert (response.status_code, response.json()["parameters"]) == (200, {"number": 7})
