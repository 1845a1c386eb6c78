"""JSON-RPC bodies at each limit: one below, at it, one above, a thousand times. The oracle: `errors.md`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from starlette.routing import Route

from a2a_server import Agent
from a2a_server.testing import Connection, connect
from a2a_server.web.app import RPC_PATHS
from a2a_server.web.bodies import Bodies
from a2a_server.wire import fields, jsonrpc
from tests.server.behaviours import new_id
from tests.server.raw import dial
from tests.server.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

AROUND = (-1, 0, 1)
MIB = 1024 * 1024
BODY = 10 * MIB
Json = dict[str, Any]


async def post(server: Connection, http: httpx2.AsyncClient, body: bytes) -> tuple[int, Any]:
    response = await http.post(server.url, content=body, headers={"Content-Type": "application/json"})
    return response.status_code, response.json()


def call(method: str, params: object, id: object = 7) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def send(generation: str, **members: Any) -> Json:  # noqa: ANN401 - any JSON
    """A good send whose message, or else params, has the given members."""
    part, role = (
        ({"text": "echo x"}, "ROLE_USER") if generation == "1.0" else ({"type": "text", "text": "echo x"}, "user")
    )
    message: Json = {"role": role, "parts": [part]}
    if generation == "1.0":
        return call("SendMessage", {"message": {"messageId": new_id()} | message | members})
    own = {name: members.pop(name) for name in ("id", "sessionId") if name in members}
    return call("tasks/send", {"id": new_id(), "message": message | members} | own)


def keys(count: int) -> Json:
    return call("GetTask", {"id": "nobody", "metadata": {str(n): 0 for n in range(count - 6)}})


def values(count: int) -> Json:
    return call("GetTask", {"id": "nobody", "x": [0] * (count - 6)})


def text(size: int) -> Json:
    return call("GetTask", {"id": "nobody", "x": "a" * size})


def name(size: int) -> Json:
    return call("GetTask", {"id": "nobody", "a" * size: 0})


def depth(levels: int) -> bytes:
    inner = levels - 2  # the request and its params
    opened = b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"id":"nobody","x":'
    return opened + b"[" * inner + b"]" * inner + b"}}"


def integer(value: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"id":"nobody","x":%d}}' % value


def batch(count: int) -> list[Json]:
    return [call("GetTask", {"id": "nobody"}) for _ in range(count)]


LIMITS: dict[str, tuple[Callable[[int], Any], int, int, str]] = {
    "members": (keys, jsonrpc.MAX_KEYS, -32602, "metadata"),
    "values": (values, jsonrpc.MAX_VALUES, -32602, "x"),
    "string": (text, jsonrpc.MAX_STRING_BYTES, -32602, "x"),
    "member's name": (name, jsonrpc.MAX_STRING_BYTES, -32602, "params"),
    "depth": (depth, jsonrpc.MAX_DEPTH, -32700, ""),
    "integer": (integer, 2**64 - 1, -32700, ""),
    "batch": (batch, jsonrpc.MAX_BATCH, -32600, ""),
}


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("what", LIMITS)
async def test_around_a_limit(server: Connection, http: httpx2.AsyncClient, what: str, by: int) -> None:
    build, limit, code, path = LIMITS[what]
    built = build(limit + by)
    status, body = await post(server, http, built if isinstance(built, bytes) else json.dumps(built).encode())
    assert status == 200
    if by <= 0:
        entries = body if isinstance(body, list) else [body]
        assert {entry["error"]["code"] for entry in entries} == {-32001}
        return
    assert body["error"]["code"] == code
    if path:
        assert body["error"]["data"][1]["fieldViolations"][0]["field"] == path
        assert (str(limit) in body["error"]["message"], body["id"]) == (True, 7)
    else:
        assert body["id"] is None


FAR: dict[str, tuple[Callable[[], bytes], int, int]] = {
    "members": (lambda: b"{" + b'"":0,' * (10_000 * 199) + b'"":0}', 200, -32600),
    "different members": (lambda: json.dumps(keys(10_000 * 60)).encode(), 200, -32602),
    "values": (lambda: b'{"x":[' + b"0," * 5_000_000 + b"0]}", 200, -32600),
    "arrays": (lambda: b"[" + b"[]," * 3_000_000 + b"[]]", 200, -32700),
    "depth": (lambda: b"[" * (64 * 1000), 200, -32700),
    "closed depth": (lambda: b"[" * (64 * 1000) + b"]" * (64 * 1000), 200, -32700),
    "integer": (lambda: integer(2**64 * 1000), 200, -32700),
    "digits": (lambda: b"[" + b"9" * 9_000_000 + b"]", 200, -32700),
    "batch": (lambda: json.dumps(batch(100)[:1] * 100_000).encode()[:BODY], 200, -32700),
    "string": (lambda: b'"' + b"a" * (BODY - 2) + b'"', 200, -32600),
    "escapes": (lambda: b'"' + b"\\u0061" * (BODY // 6 - 2) + b'"', 200, -32600),
}


@pytest.mark.parametrize("what", FAR)
async def test_far_beyond_a_limit(server: Connection, http: httpx2.AsyncClient, what: str) -> None:
    build, code, error = FAR[what]
    content = build()
    before = psutil.Process().memory_info().rss
    status, body = await post(server, http, content)
    assert psutil.Process().memory_info().rss - before < 400 * MIB
    assert (status, body["error"]["code"]) == (code, error)


async def test_a_batch_of_a_hundred_thousand(server: Connection, http: httpx2.AsyncClient) -> None:
    body = b"[" + b",".join([b'{"jsonrpc":"2.0","id":1}'] * 100_000) + b"]"
    assert (await post(server, http, body))[1]["error"]["code"] in {-32600, -32700}


@pytest.mark.parametrize("generation", ["1.0", "0.1"])
@pytest.mark.parametrize("by", [*AROUND, 999 * fields.MAX_PARTS])
async def test_parts_around_their_limit(server: Connection, http: httpx2.AsyncClient, generation: str, by: int) -> None:
    part = {"text": ""} if generation == "1.0" else {"type": "text", "text": ""}
    request = send(generation, parts=[part] * (fields.MAX_PARTS + by))
    status, body = await post(server, http, json.dumps(request, separators=(",", ":")).encode())
    if by <= 0:
        assert "result" in body
    elif by == 1:
        data = body["error"]["data"]
        field = data["field"] if isinstance(data, dict) else data[1]["fieldViolations"][0]["field"]
        assert (body["error"]["code"], field) == (-32602, "message.parts")
        assert str(fields.MAX_PARTS) in body["error"]["message"]
    else:
        assert (status, body["error"]["code"]) == (413, -32600)


IDS = {
    "message id": lambda id: send("1.0", messageId=id),
    "context id": lambda id: send("1.0", contextId=id),
    "old task id": lambda id: send("0.1", id=id),
    "old session id": lambda id: send("0.1", sessionId=id),
}


@pytest.mark.parametrize("by", [*AROUND, 999 * fields.MAX_ID])
@pytest.mark.parametrize("what", IDS)
async def test_ids_around_their_limit(server: Connection, http: httpx2.AsyncClient, what: str, by: int) -> None:
    id = (new_id() * 8000)[: fields.MAX_ID + by]
    _, body = await post(server, http, json.dumps(IDS[what](id)).encode())
    assert "result" in body if by <= 0 else body["error"]["code"] == -32602


def padded(size: int) -> bytes:
    body = json.dumps(call("GetTask", {"id": "nobody"})).encode()
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("by", AROUND)
async def test_bodies_around_the_limit(server: Connection, http: httpx2.AsyncClient, by: int, chunked: bool) -> None:
    body = padded(BODY + by)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sent = (
        [b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)]
        if chunked
        else [b"Content-Length: %d\r\n\r\n" % len(body), body]
    )
    async with dial(urlsplit(server.url).port or 0) as connection:
        await connection.say(head, *sent)
        answer = await connection.answer()
    error = json.loads(answer.body)["error"]
    if by <= 0:
        assert (answer.status, error["code"]) == (200, -32001)
    else:
        assert (answer.status, error["code"], answer.headers["connection"]) == (413, -32600, "close")
        assert str(BODY) in error["message"]


async def test_a_body_a_thousand_times_too_large_is_refused_before_it_comes(server: Connection) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with dial(urlsplit(server.url).port or 0) as connection:
        await connection.say(head % (BODY * 1000))
        assert (await connection.answer()).status == 413


async def test_chunks_without_end_take_no_memory(server: Connection) -> None:
    before = psutil.Process().memory_info().rss
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with dial(urlsplit(server.url).port or 0) as connection:
        await connection.say(head, *[chunk] * 1600)  # ten times the limit
        assert [answer.status for answer in await connection.answers()] == [413]
    assert psutil.Process().memory_info().rss - before < 100 * MIB


async def test_all_bodies_together() -> None:
    """Bytes count while they are read, and until the answer is there; then there is room again."""
    bench = Agent("Bench")
    go_on = asyncio.Event()

    @bench.skill
    async def wait(text: str) -> str:
        await go_on.wait()
        return text[:1]

    async with connect(bench, body_limit_bytes=100_000, bodies_bytes=150_000) as server:
        port = urlsplit(server.url).port or 0
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        bodies = bodies_of(server)
        async with dial(port) as reading, dial(port) as other:
            await reading.say(head, b" " * 60_000)
            await until(lambda: bodies.held == 60_000)
            waiting = asyncio.create_task(server.send("a" * 60_000))
            await until(lambda: bodies.held > 120_000)
            await other.say(head, b" " * 60_000)
            answer = await other.answer()
            assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
            error = json.loads(answer.body)
            assert (error["error"]["code"], error["id"]) == (-32050, None)
            assert (await server.rpc("GetTask", {"id": "nobody"}))["error"]["code"] == -32001
        go_on.set()
        assert (await waiting)["status"]["state"] == "TASK_STATE_COMPLETED"
        await until(lambda: bodies.held == 0)


def bodies_of(server: Connection) -> Bodies:
    [route] = [route for route in server._system.app.routes if isinstance(route, Route) and route.path == RPC_PATHS[0]]
    bodies: Bodies = route.endpoint.__self__._bodies  # type: ignore[attr-defined]  # a bound method
    return bodies
