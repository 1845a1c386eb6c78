"""The tests' own 0.3 client reads strictly, by the schema of its generation."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.clients import v03
from tests.clients.rpc import BadAnswer
from tests.clients.v10 import Item, RpcError

STATUS: dict[str, Any] = {"state": "working", "timestamp": "2025-08-01T10:00:00Z"}
TEXT: dict[str, Any] = {"kind": "text", "text": "hi"}
TASK: dict[str, Any] = {"kind": "task", "id": "T", "contextId": "C", "status": STATUS}
MESSAGE: dict[str, Any] = {"kind": "message", "messageId": "m", "role": "agent", "parts": [TEXT]}
UPDATE: dict[str, Any] = {"kind": "status-update", "taskId": "T", "contextId": "C", "status": STATUS, "final": False}
ARTIFACT: dict[str, Any] = {"artifactId": "a", "parts": [TEXT]}
CHUNK: dict[str, Any] = {"kind": "artifact-update", "taskId": "T", "contextId": "C", "artifact": ARTIFACT}


def without(item: dict[str, Any], name: str) -> dict[str, Any]:
    return {member: value for member, value in item.items() if member != name}


@pytest.mark.parametrize("item", [TASK, MESSAGE, UPDATE, CHUNK], ids=lambda item: str(item["kind"]))
def test_items_of_0_3_are_read(item: dict[str, Any]) -> None:
    assert v03.checked_item(item, "3") == Item(item["kind"], item, "3")


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"task": TASK},
        *(without(item, name) for item in (TASK, MESSAGE, UPDATE, CHUNK) for name in item),
        *({**item, "type": "x"} for item in (TASK, MESSAGE, UPDATE, CHUNK)),
        {**TASK, "sessionId": "C"},
        {**TASK, "status": {"state": "TASK_STATE_WORKING"}},
        {**TASK, "status": {"state": "waiting"}},
        {**TASK, "status": {**STATUS, "message": without(MESSAGE, "kind")}},
        {**TASK, "history": [without(MESSAGE, "kind")]},
        {**TASK, "artifacts": [{**ARTIFACT, "index": 0}]},
        {**MESSAGE, "parts": [{"text": "hi"}]},
        {**MESSAGE, "parts": [{"kind": "text", "text": 5}]},
        {**MESSAGE, "parts": [{"kind": "data", "data": [1]}]},
        {**MESSAGE, "parts": [{"kind": "file", "file": {}}]},
        {**MESSAGE, "parts": [{"kind": "file", "file": {"bytes": "", "uri": ""}}]},
        {**CHUNK, "append": "no"},
        {**CHUNK, "artifact": {**ARTIFACT, "parts": [{"raw": "AA=="}]}},
    ],
    ids=repr,
)
def test_what_the_schema_does_not_allow_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        v03.checked_item(item, None)


@pytest.mark.parametrize("version", ["", "0.3"])
async def test_it_sends_what_clients_of_0_3_send(version: str) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        error = {"code": -32001, "message": "Task not found"}
        return httpx2.Response(200, json={"jsonrpc": "2.0", "id": json.loads(request.content)["id"], "error": error})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        with pytest.raises(RpcError, match="-32001 Task not found"):
            await v03.Client("http://agent/", http, version=version).call("tasks/get", {"id": "T"})
    [request] = seen
    assert request.headers.get("a2a-version", "") == version
    assert json.loads(request.content).items() >= {"method": "tasks/get", "params": {"id": "T"}}.items()
