"""Every row of the oracle against every method of every generation; and the rows that are no errors.

Of every answer: the HTTP status, the code, the id, the shape of the error, the field that it names, and nothing of our
insides in any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent
from a2a_server.testing import Connection, connect
from a2a_server.wire import versions
from a2a_server.wire.operations import Operation
from tests.server.asked import CONTEXT, JSON, METHODS, Json, Stage, call, good, put, said, set_up
from tests.server.oracle import EVERY, LIMIT_BYTES, PUSH, SENDS, STREAMS, Answer, product

pytestmark = pytest.mark.asyncio(loop_scope="module")

INSIDES = re.compile(
    r"Traceback|Error\(|(?-i:\b[A-Z][a-z]\w*(Error|Exception|Warning)\b)|\.py\b|/tmp|/usr/|/home/|site-packages|sqlite"
    r"|SELECT |INSERT |pydantic|orjson|jsonrpcserver|starlette|uvicorn|NoneType|object at 0x|<class|<function"
    r"|a2a_server|asyncio|codec",
    re.IGNORECASE,
)
REASONS = {
    -32700: "PARSE_ERROR",
    -32600: "INVALID_REQUEST",
    -32601: "METHOD_NOT_FOUND",
    -32602: "INVALID_PARAMS",
    -32001: "TASK_NOT_FOUND",
    -32002: "TASK_NOT_CANCELABLE",
    -32003: "PUSH_NOTIFICATION_NOT_SUPPORTED",
    -32004: "UNSUPPORTED_OPERATION",
    -32005: "CONTENT_TYPE_NOT_SUPPORTED",
    -32007: "EXTENDED_AGENT_CARD_NOT_CONFIGURED",
    -32009: "VERSION_NOT_SUPPORTED",
    -32050: "RESOURCE_EXHAUSTED",
}
ALL = [(generation, operation) for generation, methods in METHODS.items() for operation in methods]
TABLE = {
    (line, generation, operation): [one for *_, one in tries]
    for (line, generation, operation), tries in groupby(product(), key=lambda entry: entry[:3])
}
each_generation = pytest.mark.parametrize("generation", METHODS)
each_method = pytest.mark.parametrize(("generation", "operation"), ALL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stages(server: Connection, http: httpx2.AsyncClient) -> Stages:
    return Stages(server, http)


class Stages:
    """One stage for each generation, set up when it is asked for."""

    def __init__(self, server: Connection, http: httpx2.AsyncClient) -> None:
        self._server, self._http = server, http
        self._made: dict[str, Stage] = {}

    async def of(self, generation: str) -> Stage:
        if generation not in self._made:
            self._made[generation] = await set_up(self._server, self._http, generation)
        return self._made[generation]


async def post(
    server: Connection, http: httpx2.AsyncClient, body: object, headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = await http.post(server.url, content=content, headers={**JSON, **(headers or {})})
    found = INSIDES.search(response.text.replace("urn:a2a-task-server", "").replace("google.rpc.", ""))
    assert not found, (found, response.text)
    return response


def check(response: httpx2.Response, expected: Answer, generation: str) -> None:
    assert (response.status_code, response.headers["content-type"]) == (expected.http, "application/json")
    check_body(response.json(), expected, generation)


def check_body(body: Json, expected: Answer, generation: str) -> None:
    assert body.keys() == {"jsonrpc", "id", "error"}
    assert (body["jsonrpc"], body["id"], body["error"]["code"]) == ("2.0", expected.id, expected.code)
    error = dict(body["error"])
    text = error["message"]
    assert text
    assert expected.says in text
    assert len(text) < 600
    data = error.pop("data", None)
    assert error.keys() == {"code", "message"}
    if (expected.style or generation) != "1.0":
        assert data == ({"field": expected.field} if expected.field else None)
        return
    rpc = "type.googleapis.com/google.rpc."
    info = {"@type": f"{rpc}ErrorInfo", "reason": REASONS[expected.code], "domain": "a2a-protocol.org"}
    violation = {"field": expected.field, "description": text}
    bad = [{"@type": f"{rpc}BadRequest", "fieldViolations": [violation]}] if expected.field else []
    assert data == [info, *bad]


@pytest.mark.parametrize("row", TABLE, ids=" ".join)
async def test_bad_input(
    server: Connection, http: httpx2.AsyncClient, stages: Stages, row: tuple[str, str, Operation]
) -> None:
    _, generation, _ = row
    stage = await stages.of(generation)
    wrong: list[str] = []
    for one in TABLE[row]:
        response = await post(server, http, one.body(stage), one.headers)
        try:
            check(response, one.answer, generation)
        except AssertionError as error:
            wrong.append(f"{one.name}: {error}\n    {response.status_code} {response.text[:300]}")
    assert not wrong, "\n".join(wrong)


async def test_the_table_has_every_method_of_every_version() -> None:
    served = {key: route.operation for key, route in versions._ROUTES.items() if key[1]}
    expected = {
        (method, version): operation for version, methods in METHODS.items() for operation, method in methods.items()
    }
    assert served == expected
    assert set(METHODS) == set(versions.VERSIONS)
    assert set(Operation) == EVERY


# What is no error


async def answer(server: Connection, http: httpx2.AsyncClient, request: object, **headers: str) -> Any:  # noqa: ANN401 - JSON
    """The result of a request; of a streaming one that of its first event."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.stream("POST", server.url, content=json.dumps(request), headers={**JSON, **named}) as response:
        assert response.status_code == 200
        if response.headers["content-type"] == "application/json":
            return json.loads(await response.aread())
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                return json.loads(line.removeprefix("data:"))
    raise AssertionError("a stream without an event")


def refused(generation: str, operation: Operation) -> int | None:
    """What a good request is answered with where the agent's card declares nothing."""
    if operation in PUSH:
        return -32003
    if operation is Operation.EXTENDED_CARD:
        return -32007 if generation == "0.3" else -32004
    return None


async def fresh(server: Connection, http: httpx2.AsyncClient, generation: str) -> str:
    """A task at work that nobody else uses."""
    request = call(METHODS[generation][Operation.SEND], said(generation, "sleep 600", wait=False))
    result = (await answer(server, http, request))["result"]
    id: str = (result["task"] if generation == "1.0" else result)["id"]
    return id


@each_method
async def test_a_good_request_is_answered_under_its_id(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    expected = refused(generation, operation)
    for id in (None, 0, -5, 1.5, "", "text", "\u2028", 2**63 - 1, "x" * 1000):
        task = await fresh(server, http, generation)
        body = await answer(server, http, put(good(generation, operation, task), "/id", id))
        assert (body["id"], body.get("error", {}).get("code")) == (id, expected)
        assert type(body["id"]) is type(id)


@each_method
async def test_versions_that_have_the_method(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    for version in ("", generation, f"{generation}.7"):
        task = await fresh(server, http, generation)
        body = await answer(server, http, good(generation, operation, task), A2A_Version=version)
        assert body.get("error", {}).get("code") == refused(generation, operation)
    request = good(generation, operation, "nobody knows it")
    response = await http.post(f"{server.url}/?A2A-Version=9.9", content=json.dumps(request), headers=JSON)
    check(response, Answer(-32009, style="1.0"), generation)


@each_method
async def test_content_types_that_are_taken(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    for kind in ("application/a2a+json", "application/json; charset=utf-8", "APPLICATION/JSON"):
        task = await fresh(server, http, generation)
        body = await answer(server, http, good(generation, operation, task), Content_Type=kind)
        assert body.get("error", {}).get("code") == refused(generation, operation)


@each_method
async def test_a_body_of_the_limit_is_read(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    request = json.dumps(put(good(generation, operation, "x"), "/method", "none")).encode()
    check(await post(server, http, request.ljust(LIMIT_BYTES)), Answer(-32601, style="1.0"), generation)


@each_method
async def test_a_notification_is_executed_and_not_answered(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    if operation in STREAMS:
        return  # they need an id: a row of the oracle
    task = await fresh(server, http, generation)
    request = put(good(generation, operation, task), "/id", ...)
    context = f"of a notification of {generation}"
    if operation is Operation.SEND:
        request = put(request, CONTEXT[generation], context)
    for silent in (request, put(request, "/params", []), put(request, "/method", "none")):
        response = await post(server, http, silent)
        assert (response.status_code, response.content) == (204, b"")
    if operation is Operation.CANCEL:
        ended = await answer(server, http, good(generation, Operation.GET, task))
        assert ended["result"]["status"]["state"].lower().endswith("canceled")
    if operation is Operation.SEND:
        listed = await answer(server, http, call("ListTasks", {"contextId": context}))
        assert listed["result"]["totalSize"] == 1


@each_method
async def test_a_batch_answers_each_entry(
    server: Connection, http: httpx2.AsyncClient, generation: str, operation: Operation
) -> None:
    task = await fresh(server, http, generation)
    entry = good(generation, operation, task)
    silent = put(good(generation, operation, "nobody knows it"), "/id", ...)
    refuses = operation in STREAMS
    batch = [
        put(entry, "/id", "one"),
        *([] if refuses else [silent]),
        7,
        put(entry, "/jsonrpc", "1.0"),
        put(entry, "/method", "none"),
        put(entry, "/id", {}),
    ]
    response = await post(server, http, batch)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    first, *others = response.json()
    if refuses:
        check_body(first, Answer(-32600, id="one"), generation)
    else:
        assert (first["id"], first.get("error", {}).get("code")) == ("one", refused(generation, operation))
    expected = [
        Answer(-32600, id=None, style="1.0"),
        Answer(-32600, style="1.0"),
        Answer(-32601, style="1.0"),
        Answer(-32600, id=None, style="1.0"),
    ]
    for body, one in zip(others, expected, strict=True):
        check_body(body, one, generation)
    if not refuses:
        only = await post(server, http, [silent] * 3)
        assert (only.status_code, only.content) == (204, b"")
    full = (await post(server, http, [put(entry, "/id", n) for n in range(100)])).json()
    assert [body["id"] for body in full] == list(range(100))


@each_generation
async def test_a_batch_runs_in_order(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    task = await fresh(server, http, generation)
    read, cancel = good(generation, Operation.GET, task), good(generation, Operation.CANCEL, task)
    before, canceled, after, again = (await post(server, http, [read, cancel, read, cancel])).json()
    assert before["result"]["status"]["state"].lower().endswith(("working", "submitted"))
    assert canceled["result"]["status"] == after["result"]["status"] != before["result"]["status"]
    check_body(again, Answer(-32002), generation)


@pytest.mark.parametrize(
    "document", ["text", 1, None, True, [], {}, [[]], [{}], [7], [call("GetTask", {"id": "x"}, [])]]
)
async def test_json_that_is_no_request(server: Connection, http: httpx2.AsyncClient, document: object) -> None:
    response = await post(server, http, document)
    if isinstance(document, list) and document:
        [body] = response.json()
        check_body(body, Answer(-32600, id=None), "1.0")
    else:
        check(response, Answer(-32600, id=None), "1.0")


@each_generation
async def test_unknown_and_foreign_tasks_get_the_same_bytes(
    server: Connection, http: httpx2.AsyncClient, stages: Stages, generation: str
) -> None:
    stage = await stages.of(generation)
    for operation in (Operation.GET, Operation.CANCEL, Operation.SUBSCRIBE, Operation.SEND, Operation.STREAM):
        if operation in SENDS and generation == "0.1":
            continue  # its clients make the ids
        at = "message.taskId" if operation in SENDS else "id"
        answers = {
            (response.status_code, response.content, response.headers["content-type"])
            for task in (stage.foreign, "nobody knows it")
            for response in [await post(server, http, put(good(generation, operation, "x"), at, task))]
        }
        assert len(answers) == 1


@pytest.mark.parametrize("state", ["completed", "failed", "rejected", "canceled"])
async def test_v01_resubscribe_to_a_task_that_ended_is_its_last_status(
    server: Connection, http: httpx2.AsyncClient, stages: Stages, state: str
) -> None:
    request = good("0.1", Operation.SUBSCRIBE, (await stages.of("0.1")).ended[state])
    response = await post(server, http, request)
    assert response.headers["content-type"].startswith("text/event-stream")
    [data] = [line.removeprefix("data:") for line in response.text.splitlines() if line.startswith("data:")]
    result = json.loads(data)["result"]
    assert result["final"] is True
    assert result["status"]["state"] == ("failed" if state == "rejected" else state)


@each_generation
async def test_a_header_goes_before_a_member(
    server: Connection, http: httpx2.AsyncClient, stages: Stages, generation: str
) -> None:
    stage = await stages.of(generation)
    for request in (
        call(METHODS[generation][Operation.STREAM], stage.sent),
        good(generation, Operation.SUBSCRIBE, stage.ended["completed"]),
    ):
        named = await post(server, http, put(request, "metadata.afterEvent", 1), {"Last-Event-ID": "98"})
        check(named, Answer(-32602, "Last-Event-ID"), generation)


@each_generation
async def test_streams_that_the_card_does_not_declare(
    http: httpx2.AsyncClient, tmp_path: Path, generation: str
) -> None:
    path = tmp_path / "card.json"
    path.write_text('{"name": "Quiet", "capabilities": {"streaming": false}}')
    agent = Agent.from_card(path)

    @agent.skill
    async def quiet(text: str) -> str:
        return text

    async with connect(agent) as server:
        for operation in STREAMS:
            for request in (good(generation, operation, "x"), call(METHODS[generation][operation], {})):
                check(await post(server, http, request), Answer(-32004), generation)
        assert "result" in await answer(server, http, good(generation, Operation.SEND, "x"))


@each_generation
async def test_overload(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    writer = server._system.engine.writer
    most, writer._max_operations = writer._max_operations, 0
    try:
        for operation in SENDS:
            response = await post(server, http, good(generation, operation, "x"))
            assert response.status_code == 503
            seconds = int(response.headers["retry-after"])
            assert seconds >= 1
            error = response.json()["error"]
            assert (error["code"], response.json()["id"]) == (-32050, 7)
            if generation == "1.0":
                assert error["data"][0]["metadata"] == {"retryAfterSeconds": str(seconds)}
            else:
                assert error["data"] == {"retryAfterSeconds": seconds}
    finally:
        writer._max_operations = most
    assert "result" in await answer(server, http, good(generation, Operation.SEND, "x"))
