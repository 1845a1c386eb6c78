"""Servers for the command line's tests: what answers is a function, and no socket is opened."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from a2a_server.cli.rpc import Connection

Json = dict[str, Any]
REAL = Connection.__init__
Answer = Callable[[httpx2.Request], httpx2.Response]


def serve(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[httpx2.Request]:
    """Every connection of the command line is answered by `answer`; the requests, as they come."""
    asked: list[httpx2.Request] = []

    async def noted(request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        asked.append(request)
        return answer(request)

    def replaced(self: Connection, url: str, token: str = "") -> None:
        REAL(self, url, token, httpx2.MockTransport(noted))

    monkeypatch.setattr(Connection, "__init__", replaced)
    return asked


def method(request: httpx2.Request) -> str:
    return str(json.loads(request.content)["method"]) if request.method == "POST" else request.method


def params(request: httpx2.Request) -> Json:
    found: Json = json.loads(request.content)["params"]
    return found


def result(request: httpx2.Request, result: object) -> httpx2.Response:
    return httpx2.Response(200, json={"jsonrpc": "2.0", "id": json.loads(request.content)["id"], "result": result})


def events(request: httpx2.Request, *items: Json) -> httpx2.Response:
    number = json.loads(request.content)["id"]
    lines = [
        f"id: {n}\ndata: {json.dumps({'jsonrpc': '2.0', 'id': number, 'result': item})}\n\n"
        for n, item in enumerate(items, 1)
    ]
    return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text="".join(lines))


def task(id: str, state: str = "COMPLETED", **more: object) -> Json:
    when = "2026-05-28T10:00:00.000Z"
    return {"id": id, "contextId": "C", "status": {"state": f"TASK_STATE_{state}", "timestamp": when}, **more}


def status(id: str, state: str, text: str = "", metadata: Json | None = None) -> Json:
    inner: Json = {"state": f"TASK_STATE_{state}"}
    if text:
        inner["message"] = {"role": "ROLE_AGENT", "parts": [{"text": text}]}
    return {"statusUpdate": {"taskId": id, "contextId": "C", "status": inner, "metadata": metadata or {}}}
