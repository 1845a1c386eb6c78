"""The OpenAPI document against the server that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.managed import Api, Json, agent

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.embedded]

EXAMPLES = 8
SAY_OF_EACH = {"/api/v1/batches"}
"""Wrong items are answered one by one here, beside those that were taken."""
OPERATIONS = 23
EVENTS = "text/event-stream"
KNOWN = {"Error", "Problem", "Detail", "NewTask", "TaskShown"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(api: Api) -> Json:
    return await api.get("/openapi.json")


async def test_the_document_is_sound(document: Json) -> None:
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) >= OPERATIONS
    assert document["components"]["schemas"].keys() >= KNOWN
    for operation in operations:
        assert operation["summary"].endswith(".")
        assert {"400", "403", "503"} <= operation["responses"].keys()
    text = str(document)
    assert all(f"'#/components/schemas/{name}'" in text for name in KNOWN)


async def test_every_parameter_is_described(document: Json) -> None:
    parameters = [
        (path, one["in"], one["name"], one.get("description", ""))
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for one in operation["parameters"]
    ]
    assert {where for _, where, _, _ in parameters} == {"path", "query", "header"}
    assert not [one for one in parameters if not one[-1].endswith((".", ")"))]


@pytest.mark.parametrize("kind", ["application/jsonl", "application/x-ndjson", "application/json"])
async def test_the_results_of_a_batch_come_as_the_document_says(api: Api, document: Json, kind: str) -> None:
    told = document["paths"]["/api/v1/batches/{id}/results"]["get"]["responses"]["200"]
    batch = await api.post("/batches", {"tasks": [{"text": "a"}, {"text": "b"}]}, 201)
    path = f"/batches/{batch['id']}/results"
    response = await api.ask("GET", path, headers={"Accept": kind}, params={"limit": 1})
    found = response.headers["content-type"].partition(";")[0]
    assert found == kind
    assert found in told["content"]
    assert ("link" in response.headers) is (kind != "application/json")
    assert told["headers"].keys() == {"Link"}


async def test_what_is_made_is_where_the_document_says(api: Api, document: Json) -> None:
    failed = await api.done(text="x", skill="fail")
    making: dict[str, Json] = {
        "/tasks": {"text": "x"},
        f"/tasks/{failed['id']}/retry": {},
        "/batches": {"tasks": [{"text": "x"}]},
        "/schedules": {"id": "made", "cron": "0 3 * * *", "text": "x"},
        "/schedules/made/trigger": {},
        "/templates": {"name": "made", "text": "x"},
        "/workers": {"skills": ["echo"]},
    }
    made = {
        path.removeprefix("/api/v1"): answers["201"].get("headers", {})
        for path, operations in document["paths"].items()
        for answers in (operation["responses"] for operation in operations.values())
        if "201" in answers
    }
    assert made.keys() == {path.replace(failed["id"], "{id}").replace("/made/", "/{id}/") for path in making}
    assert [path for path, headers in made.items() if not headers.get("Location", {}).get("required")] == []
    for path, body in making.items():
        response = await api.ask("POST", path, body)
        assert response.status_code == 201, (path, response.text)
        found = await api.ask("GET", response.headers["location"].removeprefix("/api/v1"))
        assert found.status_code == 200, path
    again = [await api.ask("POST", "/tasks", {"text": "x", "uniqueKey": "made"}) for _ in range(2)]
    assert [one.status_code for one in again] == [201, 200]
    assert again[0].headers["location"] == again[1].headers["location"]
    for path in ("/tasks", "/batches"):
        known = document["paths"][f"/api/v1{path}"]["post"]["responses"]["200"]["headers"]["Location"]
        assert "required" not in known, "a dry run has none"


async def test_the_server_does_what_the_document_says(api: Api, document: Json) -> None:
    """Whatever the document allows is understood, what it does not is refused, and every answer is as described."""
    task = await api.done(text="x", skill="remember")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = api.url.removesuffix("/api/v1")
    # Streams of events say something at once, and then may be silent for long. Of what they say the document knows
    # nothing, so nothing of it is checked here; test_many_events.py does.
    schema.config.max_stream_events = 1
    streams = [content for content in answers_of(document) if EVENTS in content]
    assert streams == [{EVENTS: {}}] * 2
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        await asyncio.to_thread(tries, operation, task["id"], GenerationMode.POSITIVE)
        if len(operation.query) or len(operation.body):
            await asyncio.to_thread(tries, operation, task["id"], GenerationMode.NEGATIVE)
        tried += 1
    assert tried >= OPERATIONS


def answers_of(document: Json) -> list[Json]:
    """What each answer of each operation may contain, by its media types."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    return [answer.get("content", {}) for answer in answers]


def tries(operation: APIOperation[Any, Any, Any, Any], task_id: str, mode: GenerationMode) -> None:
    """Requests of one kind for one operation; those for a task are for one that is there, every other time."""
    there = False

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def one(case: schemathesis.Case[Any]) -> None:
        nonlocal there
        there = not there
        if there and "id" in case.path_parameters and "tasks" in operation.path and operation.method != "delete":
            case.path_parameters["id"] = task_id
        response = case.call(timeout=PATIENCE)
        if response.status_code != 414:  # said of the request line, before there is a resource
            case.validate_response(response, checks=checks)

    checks: list[Any] = [CHECKS.get_one(name) for name in WANTED]
    if mode is GenerationMode.NEGATIVE and operation.path not in SAY_OF_EACH:
        checks.append(CHECKS.get_one("negative_data_rejection"))
    one()


WANTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
