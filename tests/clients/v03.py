"""A thin JSON-RPC client for A2A 0.3 that hides nothing: event ids are seen, streams can be cut, results stay JSON.

It refuses what 0.3 does not know: an object without its `kind`, a state or a member that is not in its schema, a
missing required member. It sends no `A2A-Version`, as the clients of 0.2 and 0.3 do not, unless it is told to.

Source: A2A 0.3.0, specification/json/a2a.json.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from uuid import uuid4

import httpx2

from tests.clients import rpc
from tests.clients.rpc import Answer, BadAnswer, JsonObject
from tests.clients.v10 import Item, RpcError

STATES: Final = frozenset(
    {
        "submitted",
        "working",
        "input-required",
        "auth-required",
        "completed",
        "canceled",
        "failed",
        "rejected",
        "unknown",
    }
)

_SAID = {"metadata": dict, "extensions": list}
_NAMED = {"taskId": str, "contextId": str}
_REQUIRED: Final[dict[str, dict[str, type]]] = {
    "task": {"id": str, "contextId": str, "status": dict},
    "message": {"messageId": str, "role": str, "parts": list},
    "status-update": {**_NAMED, "status": dict, "final": bool},
    "artifact-update": {**_NAMED, "artifact": dict},
    "artifact": {"artifactId": str, "parts": list},
    "status": {"state": str},
    "text": {"text": str},
    "data": {"data": dict},
    "file": {"file": dict},
}
_OPTIONAL: Final[dict[str, dict[str, type]]] = {
    "task": {"artifacts": list, "history": list, "metadata": dict},
    "message": {**_NAMED, **_SAID, "referenceTaskIds": list},
    "status-update": {"metadata": dict},
    "artifact-update": {"append": bool, "lastChunk": bool, "metadata": dict},
    "artifact": {"name": str, "description": str, **_SAID},
    "status": {"message": dict, "timestamp": str},
    "text": {"metadata": dict},
    "data": {"metadata": dict},
    "file": {"metadata": dict},
}
_PARTS: Final = frozenset({"text", "data", "file"})


class Client:
    """Calls one agent at `url` over `http`. version: `A2A-Version`, '' = not said."""

    def __init__(self, url: str, http: httpx2.AsyncClient, *, version: str = "") -> None:
        self.url = url
        self._http = http
        self._headers = {"A2A-Version": version} if version else {}

    async def call(self, method: str, params: JsonObject | None) -> Any:  # noqa: ANN401 - any JSON
        """The result of any method, unchecked.

        Raises:
            RpcError: the server answered with an error.
        """
        return _result(Answer(await rpc.post(self._http, self.url, _request(method, params), self._headers)))

    async def items(self, method: str, params: JsonObject, last_event_id: int | None = None) -> AsyncGenerator[Item]:
        """The items of any streaming method; closing the iterator cuts the connection.

        Raises:
            RpcError: the server answered with an error, before the first item or later.
            BadAnswer: an item is none of 0.3.
        """
        named = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        body = _request(method, params)
        async with aclosing(rpc.post_stream(self._http, self.url, body, self._headers | named)) as answers:
            async for answer in answers:
                yield checked_item(_result(answer), answer.sse_id)


def text_message(text: str, message_id: str | None = None, **members: str) -> JsonObject:
    """A user's message of one text part."""
    parts = [{"kind": "text", "text": text}]
    return {"kind": "message", "messageId": message_id or uuid4().hex, "role": "user", "parts": parts, **members}


def checked_task(task: JsonObject) -> JsonObject:
    """The same object.

    Raises:
        BadAnswer: it is no task of 0.3.
    """
    if checked_item(task, None).kind != "task":
        raise BadAnswer(f"no task but {task['kind']!r}")
    return task


def checked_item(result: Any, sse_id: str | None) -> Item:  # noqa: ANN401 - any JSON
    """A stream item, or the result of a send.

    Raises:
        BadAnswer: it is none of 0.3.
    """
    kind = result.get("kind") if isinstance(result, dict) else None
    if kind not in {"task", "message", "status-update", "artifact-update"}:
        raise BadAnswer(f"no item of 0.3: {result!r:.200}")
    _check(str(kind), result, tagged=True)
    return Item(str(kind), result, sse_id)


def _check(kind: str, value: Any, *, tagged: bool = False) -> None:  # noqa: ANN401 - any JSON
    required, optional = _REQUIRED[kind], _OPTIONAL[kind]
    if not isinstance(value, dict) or (tagged and value.get("kind") != kind):
        raise BadAnswer(f"not a {kind}: {value!r:.200}")
    unknown = value.keys() - required.keys() - optional.keys() - ({"kind"} if tagged else set())
    if unknown or not required.keys() <= value.keys():
        raise BadAnswer(f"{kind} has {sorted(value)}")
    for name, member in value.items():
        if name != "kind" and not isinstance(member, {**required, **optional}[name]):
            raise BadAnswer(f"{name} of {kind}: {member!r:.200}")
    if kind == "status" and value["state"] not in STATES:
        raise BadAnswer(f"state {value['state']!r}")
    _check_members(kind, value)


def _check_members(kind: str, value: JsonObject) -> None:
    for part in value.get("parts", ()):
        if not isinstance(part, dict) or part.get("kind") not in _PARTS:
            raise BadAnswer(f"no part of 0.3: {part!r:.200}")
        _check(part["kind"], part, tagged=True)
    if kind == "file" and ("bytes" in value["file"]) == ("uri" in value["file"]):
        raise BadAnswer(f"a file with {sorted(value['file'])}")
    if "status" in value:
        _check("status", value["status"])
    for artifact in [*value.get("artifacts", ()), *([value["artifact"]] if "artifact" in value else ())]:
        _check("artifact", artifact)
    for message in [*value.get("history", ()), *([value["message"]] if "message" in value else ())]:
        _check("message", message, tagged=True)


def _request(method: str, params: JsonObject | None) -> JsonObject:
    request: JsonObject = {"jsonrpc": "2.0", "id": uuid4().hex, "method": method}
    return request if params is None else {**request, "params": params}


def _result(answer: Answer) -> Any:  # noqa: ANN401 - any JSON
    if "error" in answer.body:
        raise RpcError(answer.body["error"])
    return answer.body["result"]
