"""What the management API takes at its door: from whom, how, and how much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from starlette.types import Send

from a2a_server import asgi
from a2a_server.testing import connect
from a2a_server.web.management.application import BODY_BYTES
from tests.contracts.artifact_stores import pieces
from tests.patience import PATIENCE
from tests.server.managed import Api, agent, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


async def test_it_says_what_it_is(api: Api) -> None:
    about = await api.get("")
    assert about["agent"] == "Managed"
    assert (await api.ask("GET", "/")).json() == about
    head = await api.ask("HEAD", "")
    assert (head.status_code, head.content) == (200, b"")
    document = await api.get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    response = await api.ask("GET", "/openapi.json")
    again = await api.ask("GET", "/openapi.json", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/tasks/a/b/c", 404),
        ("GET", "/tasks//events", 404),
        ("GET", "/tasks/%00", 404),
        ("GET", "/tasks/%ff", 404),
        ("GET", "/tasks/" + "x" * 257, 404),
        ("DELETE", "/tasks", 405),
        ("POST", "/tasks/x", 405),
        ("GET", "/tasks/x/cancel", 405),
        ("OPTIONS", "/tasks", 405),
        ("PATCH", "", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(api: Api, method: str, path: str, status: int) -> None:
    response = await api.ask(method, path)
    assert response.status_code == status
    error_of(response)
    assert ("allow" in response.headers) == (status == 405)
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/tasks/nobody{rest}") for rest in ("", "/events", "/journal", "/checkpoints", "/steps")),
        *(("GET", f"/tasks/nobody{rest}") for rest in ("/messages", "/artifacts", "/children", "/graph", "/result")),
        *(("POST", f"/tasks/nobody/{verb}") for verb in ("cancel", "retry", "requeue", "messages", "dependencies")),
        ("PUT", "/tasks/nobody"),
        ("PATCH", "/tasks/nobody"),
        ("DELETE", "/tasks/nobody"),
        ("DELETE", "/tasks/nobody?cancel=true"),
    ],
)
async def test_an_unknown_task_is_not_found(api: Api, method: str, path: str) -> None:
    bodies: dict[str, Any] = {"messages": {"text": "x"}, "dependencies": {"dependsOn": ["other"]}}
    body = bodies.get(path.rpartition("/")[2]) if method == "POST" else {} if method in {"PUT", "PATCH"} else None
    response = await api.ask(method, path, body)
    assert (response.status_code, error_of(response)["message"]) == (404, "Task not found.")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/jsonl"}, 415),
        ({"Content-Type": "application/merge-patch+json"}, 415),
        ({"Content-Type": ""}, 415),
        ({}, 415),
        (JSON | {"Content-Encoding": "gzip"}, 415),
        (JSON | {"Origin": "http://elsewhere.example"}, 403),
        (JSON | {"Origin": "null"}, 403),
        (JSON | {"Sec-Fetch-Site": "cross-site"}, 403),
        (JSON | {"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "Application/JSON; charset=utf-8", "Sec-Fetch-Site": "same-origin"}, 201),
    ],
)
async def test_only_json_of_this_origin_is_taken(api: Api, headers: dict[str, str], status: int) -> None:
    body = json.dumps({"text": "x", "title": f"door {status}", "runAt": "2035-01-01T00:00:00Z"}).encode()
    response = await api.ask("POST", "/tasks", content=body, headers=headers)
    assert response.status_code == status
    assert len(await api.all(title="door")) == (status == 201)


async def test_pages_of_other_sites_cannot_do_what_needs_no_body(api: Api) -> None:
    task = await api.create(text="x", runAt="2035-01-01T00:00:00Z")
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        response = await api.ask("POST", f"/tasks/{task['id']}/cancel", headers=headers)
        assert (response.status_code, error_of(response)["status"]) == (403, "PERMISSION_DENIED")
    here = api.url.removesuffix("/api/v1")
    assert (await api.post(f"/tasks/{task['id']}/cancel", headers={"Origin": here}))["state"] == "canceled"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": NaN}',
        b'{"text": "x", "maxAttempts": 100000000000000000000000}',
        b'{"metadata": ' + b'{"a":' * 64 + b"1" + b"}" * 65,
        b'{"metadata": {"a": ' + b"[" * 1_000_001 + b"]" * 1_000_001 + b"}}",
        b'{"metadata": {"a": [' + b"[]," * 1_000_001 + b"1]}}",
        b'{"metadata": {"a": [' + b"0," * 1_000_001 + b"1]}}",
        b'{"text": "' + b"x" * (8 * 1024 * 1024 + 1) + b'"}',
    ],
    ids=range(14),
)
async def test_what_is_no_json_or_too_much_of_it_is_refused(api: Api, body: bytes) -> None:
    response = await api.ask("POST", "/tasks", content=body, headers=JSON)
    assert response.status_code == 400
    error_of(response)


async def test_bodies_are_counted_while_they_come(api: Api) -> None:
    whole = b'{"text": "x", "nothing": "' + b" " * BODY_BYTES + b'"}'
    middle = len(whole) // 2
    for body in (whole, pieces(whole[:middle], whole[middle:])):
        response = await api.ask("POST", "/tasks", content=body, headers=JSON)
        assert response.status_code == 413
        assert f"{BODY_BYTES} bytes" in error_of(response)["message"]
    spaces = b'{"text": "x", "runAt": "2035-01-01T00:00:00Z"' + b" " * (BODY_BYTES - 47) + b"}"
    assert len(spaces) <= BODY_BYTES
    assert (await api.ask("POST", "/tasks", content=spaces, headers=JSON)).status_code == 201


async def test_what_takes_no_body_says_so(api: Api) -> None:
    response = await api.ask("POST", "/tasks/x/cancel", {"a": 1})
    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")


async def test_only_this_machine_is_answered(tmp_path: Path) -> None:
    for host, server, status in (
        ("127.0.0.1", ("127.0.0.1", 80), 200),
        ("127.0.0.1", ("unix", None), 200),
        ("127.0.0.1", ("192.0.2.7", 80), 403),
        ("::1", ("::1", 80), 200),
        ("0.0.0.0", ("127.0.0.1", 80), 403),  # noqa: S104 - nothing is bound
        ("192.0.2.7", ("192.0.2.7", 80), 403),
    ):
        app = asgi(
            agent,
            host=host,
            insecure=True,
            store=f"sqlite:///{tmp_path}/tasks.db",
            artifacts=f"file:{tmp_path}/artifacts",
        )
        sent: list[Any] = []
        scope = {"type": "http", "method": "GET", "path": "/api/v1", "raw_path": b"/api/v1", "query_string": b""}
        more = {"headers": [(b"host", b"127.0.0.1")], "server": server, "http_version": "1.1", "root_path": ""}
        async with asyncio.timeout(PATIENCE):
            await app({**scope, **more, "scheme": "http", "client": ("127.0.0.1", 1)}, _nothing, _into(sent))
        assert sent[0]["status"] == status, (host, server)
        if status == 403:
            assert "127.0.0.1" in json.loads(sent[1]["body"])["error"]["message"]


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _into(sent: list[Any]) -> Send:
    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI
        sent.append(message)

    return send


@pytest.mark.embedded
async def test_a_store_that_is_away_is_said_so(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    async with connect(agent) as server:
        api = Api(http, server.url)
        await server._system.engine.backends.store.close()
        response = await api.ask("GET", "/tasks")
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert "sqlite" not in response.text.lower()
