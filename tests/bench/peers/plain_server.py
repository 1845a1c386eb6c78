"""No A2A server: what uvicorn and Python cost without one, a limit that none on them can pass.

Environment: PORT; KIND, `raw` for a bare ASGI application (the default) or `starlette` for the same behind one route of
Starlette.

A request's JSON is parsed, nothing of it is checked or kept, and the answer is ready-made but for its length: always to
the request `"1"`, in the objects of 1.0. `GetTask` and `tasks/get` are answered with a finished task, `ListTasks` with
fifty, streaming sends with events, and everything else as a blocking send.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

STREAMING = {"SendStreamingMessage", "message/stream", "tasks/sendSubscribe"}
READING = {"GetTask", "tasks/get"}


def task(text: str, task_id: str = "t1") -> dict[str, Any]:
    """A finished one, with this text as its artifact."""
    return {
        "id": task_id,
        "contextId": "c1",
        "status": {"state": "TASK_STATE_COMPLETED", "timestamp": "2026-01-01T00:00:00Z"},
        "artifacts": [{"artifactId": "a", "parts": [{"text": text}]}],
        "history": [{"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "echo hi"}]}],
    }


def response(result: dict[str, Any]) -> bytes:
    """JSON-RPC around it."""
    return json.dumps({"jsonrpc": "2.0", "id": "1", "result": result}).encode()


def status(state: str) -> dict[str, Any]:
    """An update of the task's state."""
    return {"statusUpdate": {"taskId": "t1", "contextId": "c1", "status": {"state": f"TASK_STATE_{state}"}}}


def chunk(number: int, count: int) -> dict[str, Any]:
    """An update of the task's artifact."""
    artifact = {"artifactId": "a", "parts": [{"text": f"chunk {number}"}]}
    place = {"append": number > 0, "lastChunk": number == count - 1}
    return {"artifactUpdate": {"taskId": "t1", "contextId": "c1", **place, "artifact": artifact}}


SENT = response({"task": task("echo hi")})
READ = response(task("echo hi"))
LISTED = response(
    {
        "tasks": [task("echo hi", f"t{number}") for number in range(50)],
        "nextPageToken": "x",
        "totalSize": 10_000,
        "pageSize": 50,
    }
)


@cache
def blob(size: int) -> bytes:
    """A send's answer with an artifact of so many bytes."""
    return response({"task": task("x" * size)})


@cache
def events(count: int) -> list[bytes]:
    """A stream of so many chunks: the task, `working`, the chunks, and the end."""
    submitted = {"task": {"id": "t1", "contextId": "c1", "status": {"state": "TASK_STATE_SUBMITTED"}}}
    chunks = [chunk(number, count) for number in range(count)]
    results = [submitted, status("WORKING"), *chunks, status("COMPLETED")]
    return [b"data: " + response(result) + b"\r\n\r\n" for result in results]


async def answer(body: bytes) -> bytes | AsyncIterator[bytes]:
    """One body, or the events of a stream."""
    request = orjson.loads(body)
    method = request["method"]
    if method in READING:
        return READ
    if method == "ListTasks":
        return LISTED
    command, _, argument = request["params"]["message"]["parts"][0]["text"].partition(" ")
    if method in STREAMING:
        count, _, gap = argument.partition(" ")
        return stream(int(count), float(gap or 0))
    if command == "sleep":
        await asyncio.sleep(float(argument))
    return blob(int(argument)) if command == "blob" else SENT


async def stream(count: int, gap: float) -> AsyncIterator[bytes]:
    """The events, with so many seconds behind each chunk."""
    for number, event in enumerate(events(count)):
        yield event
        if gap and 1 < number < count + 2:
            await asyncio.sleep(gap)


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    """The bare ASGI application."""
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    result = await answer(b"".join(pieces))
    start: dict[str, Any] = {"type": "http.response.start", "status": 200}
    if isinstance(result, bytes):
        length = (b"content-length", str(len(result)).encode())
        await send(start | {"headers": [(b"content-type", b"application/json"), length]})
        await send({"type": "http.response.body", "body": result})
        return
    await send(start | {"headers": [(b"content-type", b"text/event-stream")]})
    async for event in result:
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body"})


async def endpoint(request: Request) -> Response:
    """The same on Starlette."""
    result = await answer(await request.body())
    if isinstance(result, bytes):
        return Response(result, media_type="application/json")
    return StreamingResponse(result, media_type="text/event-stream")


def main() -> None:
    """Serve."""
    on_starlette = os.environ.get("KIND", "raw") == "starlette"
    app: ASGIApp = Starlette(routes=[Route("/", endpoint, methods=["POST"])]) if on_starlette else raw
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        lifespan="off",
        loop="uvloop",
        http="httptools",
        backlog=4096,
        timeout_keep_alive=3600,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
