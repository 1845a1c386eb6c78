"""A thin JSON-RPC client for A2A 1.0 that hides nothing: event ids are seen, streams can be cut, results stay JSON.

It refuses what 1.0 does not allow (unknown states, an item that is not exactly one of task, message, statusUpdate and
artifactUpdate, a missing required member), so a drill that goes through has been read strictly.

Source: A2A 1.0.1, specification/a2a.proto and section 3.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Self, TypedDict, Unpack
from uuid import uuid4

import httpx2

from tests.clients import rpc
from tests.clients.rpc import Answer, BadAnswer, JsonObject
from tests.patience import PATIENCE

STATES = frozenset(
    f"TASK_STATE_{name}"
    for name in (
        "SUBMITTED",
        "WORKING",
        "COMPLETED",
        "FAILED",
        "CANCELED",
        "INPUT_REQUIRED",
        "REJECTED",
        "AUTH_REQUIRED",
    )
)
KINDS = frozenset({"task", "message", "statusUpdate", "artifactUpdate"})


class SendOptions(TypedDict, total=False):
    """What a send may say beside its message."""

    return_immediately: bool
    history_length: int
    metadata: JsonObject


class RpcError(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")
        super().__init__(f"{self.code} {self.message}")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stream: its `kind`, the object under that name, and the id line of its event."""

    kind: str
    value: JsonObject
    sse_id: str | None


class Client:
    """Calls one agent at `url`. Give `http` to share connections; without it, use as a context manager."""

    def __init__(self, url: str, *, timeout_seconds: float = PATIENCE, http: httpx2.AsyncClient | None = None) -> None:
        self.url = url
        self._http = http or rpc.new_http(timeout_seconds)
        self._owned = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owned:
            await self._http.aclose()

    async def send(self, message: JsonObject, **options: Unpack[SendOptions]) -> JsonObject:
        """`SendMessage`; the result is `{"task": …}` or `{"message": …}`. `options`: see `send_params`."""
        result = await self.call("SendMessage", send_params(message, **options))
        item = checked_item(result, None)
        if item.kind not in {"task", "message"}:
            raise BadAnswer(f"SendMessage answered with {item.kind}")
        return result

    async def get(self, task_id: str, history_length: int | None = None) -> JsonObject:
        """`GetTask`: the task."""
        params: JsonObject = {"id": task_id}
        if history_length is not None:
            params["historyLength"] = history_length
        return checked_task(await self.call("GetTask", params))

    async def cancel(self, task_id: str) -> JsonObject:
        """`CancelTask`: the task."""
        return checked_task(await self.call("CancelTask", {"id": task_id}))

    def stream(
        self, message: JsonObject, *, last_event_id: int | None = None, **options: Unpack[SendOptions]
    ) -> AsyncGenerator[Item]:
        """`SendStreamingMessage`; closing the iterator cuts the connection."""
        return self.items("SendStreamingMessage", send_params(message, **options), last_event_id)

    def subscribe(
        self, task_id: str, *, last_event_id: int | None = None, metadata: JsonObject | None = None
    ) -> AsyncGenerator[Item]:
        """`SubscribeToTask`; closing the iterator cuts the connection."""
        params: JsonObject = {"id": task_id}
        if metadata is not None:
            params["metadata"] = metadata
        return self.items("SubscribeToTask", params, last_event_id)

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of any method.

        Raises:
            RpcError: the server answered with an error.
        """
        return _result(Answer(await rpc.post(self._http, self.url, _request(method, params), _headers(None))))

    async def items(self, method: str, params: JsonObject, last_event_id: int | None) -> AsyncGenerator[Item]:
        """The items of any streaming method.

        Raises:
            RpcError: the server answered with an error, before the first item or later.
        """
        body = _request(method, params)
        async with aclosing(rpc.post_stream(self._http, self.url, body, _headers(last_event_id))) as answers:
            async for answer in answers:
                yield checked_item(_result(answer), answer.sse_id)


def text_message(text: str, message_id: str | None = None, **members: str) -> JsonObject:
    """A user's message of one text part."""
    return {"messageId": message_id or uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}], **members}


def send_params(
    message: JsonObject,
    **options: Unpack[SendOptions],
) -> JsonObject:
    """Params of a send; options not given are left out."""
    configuration: JsonObject = {}
    if "return_immediately" in options:
        configuration["returnImmediately"] = options["return_immediately"]
    if "history_length" in options:
        configuration["historyLength"] = options["history_length"]
    params: JsonObject = {"message": message}
    if configuration:
        params["configuration"] = configuration
    if options.get("metadata"):
        params["metadata"] = options["metadata"]
    return params


def checked_task(task: JsonObject) -> JsonObject:
    """The same object.

    Raises:
        BadAnswer: it is no task of 1.0.
    """
    _need(task, "Task", id=str, contextId=str, status=dict)
    _checked_status(task["status"])
    for artifact in task.get("artifacts", ()):
        _need(artifact, "Artifact", artifactId=str, parts=list)
    for message in task.get("history", ()):
        _need(message, "Message", messageId=str, role=str, parts=list)
    return task


def checked_item(result: JsonObject, sse_id: str | None) -> Item:
    """The one member that a stream item or a send result must have.

    Raises:
        BadAnswer: none, several, or one that is not as 1.0 has it.
    """
    if len(result) != 1 or not result.keys() <= KINDS:
        raise BadAnswer(f"a stream item has exactly one of {sorted(KINDS)}, not {sorted(result)}")
    [(kind, value)] = result.items()
    if kind == "task":
        checked_task(value)
    elif kind == "message":
        _need(value, "Message", messageId=str, role=str, parts=list)
    else:
        _need(value, kind, taskId=str, contextId=str)
        if kind == "statusUpdate":
            _need(value, kind, status=dict)
            _checked_status(value["status"])
        else:
            _need(value, kind, artifact=dict)
            _need(value["artifact"], "Artifact", artifactId=str, parts=list)
    return Item(kind, value, sse_id)


def _checked_status(status: JsonObject) -> None:
    if status.get("state") not in STATES:
        raise BadAnswer(f"state {status.get('state')!r}")


def _need(value: JsonObject, what: str, **members: type) -> None:
    for name, kind in members.items():
        if not isinstance(value.get(name), kind) or not value[name]:
            raise BadAnswer(f"{what} needs {name} as a non-empty {kind.__name__}, not {value.get(name)!r}")


def _headers(last_event_id: int | None) -> dict[str, str]:
    headers = {"A2A-Version": "1.0"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    return headers


def _request(method: str, params: JsonObject) -> JsonObject:
    return {"jsonrpc": "2.0", "id": uuid4().hex, "method": method, "params": params}


def _result(answer: Answer) -> JsonObject:
    if "error" in answer.body:
        raise RpcError(answer.body["error"])
    result = answer.body["result"]
    if not isinstance(result, dict):
        raise BadAnswer(f"result {result!r}")
    return result
