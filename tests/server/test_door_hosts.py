"""Whom requests are meant for, where they may be posted, and what the paths and methods that do not exist get."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from a2a_server import asgi
from a2a_server.errors import ConfigurationError
from a2a_server.examples.workbench import agent
from a2a_server.settings import load
from a2a_server.testing import Connection, connect
from a2a_server.web.guards import HostCheck, LastResort, allowed_names
from tests.server.behaviours import new_id
from tests.server.raw import dial, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CARD = "/.well-known/agent-card.json"
OURS = ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:80", "localhost.", "[::1]", "[::1]:8000", "localhost:"]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "0.0.0.0",  # noqa: S104 - a name, nothing is bound
    "[::2]",
    "localhost:x",
    "localhost@evil.example",
    "evil.example, localhost",
    "",
    "*",
]


async def answer(server: Connection, head: bytes) -> tuple[int, bytes]:
    async with dial(urlsplit(server.url).port or 0) as connection:
        await connection.say(head)
        found = await connection.answer()
        return found.status, found.body


@pytest.mark.parametrize("host", OURS)
async def test_our_own_names(server: Connection, host: str) -> None:
    assert (await answer(server, f"GET {CARD} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()))[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_names(server: Connection, host: str) -> None:
    for path in (CARD, "/", "/nothing", "/artifacts/x"):
        status, body = await answer(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert (status, b"allowed_hosts" in body) == (400, True)


async def test_a_foreign_name_is_refused_before_the_body_is_read(server: Connection) -> None:
    head = b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    assert (await answer(server, head))[0] == 400


async def test_no_host_or_two(server: Connection) -> None:
    assert (await answer(server, f"GET {CARD} HTTP/1.1\r\n\r\n".encode()))[0] == 400
    two = f"GET {CARD} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"
    assert (await answer(server, two.encode()))[0] == 400
    assert (await answer(server, f"GET {CARD} HTTP/1.0\r\n\r\n".encode()))[0] == 200
    assert (await answer(server, f"GET {CARD} HTTP/1.0\r\nHost: evil.example\r\n\r\n".encode()))[0] == 400


@pytest.mark.parametrize(("client", "status"), [(("127.0.0.1", 1), 200), (("192.0.2.1", 1), 400), (None, 400)])
async def test_without_host_only_this_machine_is_served(client: object, status: int) -> None:
    sent: list[int] = []

    async def send(message: object) -> None:
        sent.append(message.get("status", 0) if isinstance(message, dict) else 0)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "http_version": "1.0", "method": "GET", "path": "/", "headers": [], "client": client}
    await HostCheck(Response(), allowed_names("127.0.0.1", "", ()))(scope, receive, send)
    assert sent[0] == status


async def test_names_by_settings(tmp_path: Path) -> None:
    named = {"public_url": "https://Agent.Example:8443/a", "allowed_hosts": "one.example, two.example"}
    async with connect(agent, **named) as server:
        for host, status in {"agent.example": 200, "one.example:80": 200, "two.example": 200, "three": 400}.items():
            head = f"GET {CARD} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            assert (await answer(server, head))[0] == status
    async with connect(agent, allowed_hosts=["*"]) as server:
        assert (await answer(server, f"GET {CARD} HTTP/1.1\r\nHost: any.example\r\n\r\n".encode()))[0] == 200
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    for hosts, status in ({}, 200), ({"allowed_hosts": "other.example"}, 400):
        mounted = asgi(agent, **places, **hosts)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(mounted), base_url="http://any.example") as http:
            assert (await http.get(CARD)).status_code == status


async def test_names_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_SERVER_ALLOWED_HOSTS", "one.example, two.example,")
    assert load(None).allowed_hosts == ("one.example", "two.example")
    with pytest.raises(ConfigurationError, match="bodies_bytes"):
        load(None, bodies_bytes=1024)


@pytest.mark.parametrize("path", ["/", "", "/tasks/send", "/a2a/tasks/send", "/tasks/send/", "/a2a/tasks/send/"])
async def test_paths_of_python_a2a(server: Connection, http: httpx2.AsyncClient, path: str) -> None:
    message = {"role": "user", "parts": [{"type": "text", "text": "echo hello"}]}
    request = {"jsonrpc": "2.0", "id": 1, "method": "tasks/send", "params": {"id": new_id(), "message": message}}
    sent = await http.post(server.url + path, json=request, follow_redirects=True)
    assert sent.json()["result"]["status"]["state"] == "completed"


@pytest.mark.parametrize("path", ["/nothing", "/tasks", "/v1/card", "/..%2f..%2fetc/passwd", "/%00", "/\u00e4", "//"])
async def test_unknown_paths(server: Connection, http: httpx2.AsyncClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = await http.request(method, server.url + path, json={})
        assert (response.status_code, response.text) == (404, "Not Found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", {"GET", "HEAD", "POST"}), (CARD, {"GET", "HEAD"}), ("/tasks/send", {"POST"})],
)
async def test_other_methods(server: Connection, http: httpx2.AsyncClient, path: str, allowed: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - allowed:
        origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        response = await http.request(method, server.url + path, json={}, headers=origin)
        assert (response.status_code, response.text) == (405, "Method Not Allowed")
        assert {name.strip() for name in response.headers["allow"].split(",")} == allowed
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_other_sites_pages_can_post_is_not_taken(
    server: Connection, http: httpx2.AsyncClient, kind: str
) -> None:
    headers = {"Content-Type": kind, "Origin": "https://evil.example"}
    response = await http.post(server.url, content=b"{}", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (415, -32005)
    assert response.headers["connection"] == "close"
    assert not [name for name in response.headers if name.startswith("access-control")]


async def breaks(_: Request) -> Response:
    raise ValueError("a secret")


async def breaks_later(_: Request) -> Response:
    async def content() -> object:
        yield b"begun"
        raise ValueError("a secret")

    return StreamingResponse(content())  # type: ignore[arg-type]  # bytes, but for what is raised


async def gone(_: Request) -> Response:
    raise ClientDisconnect


BROKEN = Starlette(routes=[Route("/", breaks), Route("/later", breaks_later), Route("/gone", gone)])


async def test_where_code_breaks_clients_learn_a_number(caplog: pytest.LogCaptureFixture) -> None:
    transport = httpx2.ASGITransport(guarded)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        response = await http.get("/")
    assert response.status_code == 500
    assert response.json() == {"error": "Internal error", "errorId": response.json()["errorId"]}
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert response.json()["errorId"] in record.getMessage()
    assert "a secret" in (record.exc_text or "")


async def test_where_code_breaks_in_the_middle_the_connection_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(application=guarded) as seen, dial(seen.port) as connection:
        await connection.say(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        raw = await connection.everything()
        assert raw.startswith(b"HTTP/1.1 200")
        assert not raw.endswith(b"0\r\n\r\n")
        assert b"secret" not in raw
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
    await LastResort(BROKEN.router)(scope, receive, send)


async def test_a_client_that_is_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/gone", "headers": []}
    await guarded(scope, receive, send)
    assert not sent
    assert not caplog.records


async def test_answers_are_json_all_the_same(server: Connection) -> None:
    """Oracle: a refused body has a JSON-RPC answer; connections are closed, for the rest of the body is not read."""
    head = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    status, body = await answer(server, head)
    assert (status, json.loads(body)["error"]["code"], json.loads(body)["id"]) == (413, -32600, None)
