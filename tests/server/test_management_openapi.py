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
from tests.server.managed import Api, Json, agent

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.embedded]

EXAMPLES = 8
SAY_OF_EACH = {"/api/v1/batches"}
"""Wrong items are answered one by one here, beside those that were taken."""
OPERATIONS = 23
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


@pytest.mark.timeout(300)
async def test_the_server_does_what_the_document_says(api: Api, document: Json) -> None:
    """Whatever the document allows is understood, what it does not is refused, and every answer is as described."""
    task = await api.done(text="x", skill="remember")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.base_url = api.url.removesuffix("/api/v1")
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        await asyncio.to_thread(tries, operation, task["id"], GenerationMode.POSITIVE)
        if len(operation.query) or len(operation.body):
            await asyncio.to_thread(tries, operation, task["id"], GenerationMode.NEGATIVE)
        tried += 1
    assert tried >= OPERATIONS


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
        response = case.call()
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
