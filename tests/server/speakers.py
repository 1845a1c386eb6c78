"""The clients as the table of behaviours sees them: the same five operations and the same neutral answers.

The SDK's protobuf answers become ProtoJSON first, so that it and the thin clients are read by one function.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import httpx2
from a2a.client import Client
from a2a.client.client import ClientCallContext
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
)
from a2a.utils.errors import JSON_RPC_ERROR_CODE_MAP, A2AError
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.clients import sdk, v03, v10
from tests.clients.rpc import JsonObject
from tests.server.speaker_v01 import Old
from tests.server.spoken import EVENT_URI, Event, Order, Refused, Seen, Speaker


class Middle:
    generation = "0.3"
    shows_all = True

    def __init__(self, url: str, http: httpx2.AsyncClient, version: str = "") -> None:
        self._client = v03.Client(url, http, version=version)

    async def send(self, order: Order) -> Seen:
        return await self._task("message/send", _middle_params(order))

    async def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("message/stream", _middle_params(order), after)) as events:
            async for event in events:
                yield event

    async def get(self, task: str, history: int | None = None) -> Seen:
        return await self._task("tasks/get", _get_params(task, history))

    async def cancel(self, task: str) -> Seen:
        return await self._task("tasks/cancel", {"id": task})

    async def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("tasks/resubscribe", {"id": task}, after)) as events:
            async for event in events:
                yield event

    async def _task(self, method: str, params: JsonObject) -> Seen:
        try:
            return _seen(v03.checked_task(await self._client.call(method, params)))
        except v10.RpcError as error:
            raise Refused(error.code, error.message) from error

    async def _items(self, method: str, params: JsonObject, after: int | None) -> AsyncGenerator[Event]:
        kinds = {"status-update": "statusUpdate", "artifact-update": "artifactUpdate"}
        try:
            async with aclosing(self._client.items(method, params, after)) as items:
                async for item in items:
                    yield _event({kinds.get(item.kind, item.kind): item.value}, item.sse_id)
        except v10.RpcError as error:
            raise Refused(error.code, error.message) from error


class New:
    generation = "1.0"
    shows_all = True

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._client = v10.Client(url, http=http)

    async def send(self, order: Order) -> Seen:
        return _task((await self._call("SendMessage", _params(order)))["task"])

    async def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("SendStreamingMessage", _params(order), after)) as events:
            async for event in events:
                yield event

    async def get(self, task: str, history: int | None = None) -> Seen:
        return _task(await self._call("GetTask", _get_params(task, history)))

    async def cancel(self, task: str) -> Seen:
        return _task(await self._call("CancelTask", {"id": task}))

    async def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("SubscribeToTask", {"id": task}, after)) as events:
            async for event in events:
                yield event

    async def _call(self, method: str, params: JsonObject) -> JsonObject:
        try:
            return await self._client.call(method, params)
        except v10.RpcError as error:
            raise Refused(error.code, error.message) from error

    async def _items(self, method: str, params: JsonObject, after: int | None) -> AsyncGenerator[Event]:
        try:
            async with aclosing(self._client.items(method, params, after)) as items:
                async for item in items:
                    yield _event({item.kind: item.value}, item.sse_id)
        except v10.RpcError as error:
            raise Refused(error.code, error.message) from error


class Reference:
    """a2a-sdk: `whole` answers a send with one task, `streaming` with its stream."""

    shows_all = False

    def __init__(self, generation: str, whole: Client, streaming: Client) -> None:
        self.generation = generation
        self._whole = whole
        self._streaming = streaming

    async def send(self, order: Order) -> Seen:
        with _sdk_errors():
            answers = [answer async for answer in self._whole.send_message(_request(order))]
        [answer] = answers
        return _task(MessageToDict(answer.task))

    async def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]:
        with _sdk_errors():
            async for answer in self._streaming.send_message(_request(order), context=_context(after)):
                yield _event(MessageToDict(answer), None)

    async def get(self, task: str, history: int | None = None) -> Seen:
        with _sdk_errors():
            return _task(
                MessageToDict(await self._whole.get_task(ParseDict(_get_params(task, history), GetTaskRequest())))
            )

    async def cancel(self, task: str) -> Seen:
        with _sdk_errors():
            return _task(MessageToDict(await self._whole.cancel_task(CancelTaskRequest(id=task))))

    async def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]:
        with _sdk_errors():
            answers: AsyncIterator[StreamResponse] = self._streaming.subscribe(
                SubscribeToTaskRequest(id=task), context=_context(after)
            )
            async for answer in answers:
                yield _event(MessageToDict(answer), None)


KINDS = ("v0.1", "0.3", "0.3 said", "0.2 said", "1.0", "sdk 0.3", "sdk 1.0")
"""Clients by name. said: in `A2A-Version`, which clients of these generations leave out."""


@asynccontextmanager
async def speaker(kind: str, url: str, http: httpx2.AsyncClient) -> AsyncIterator[Speaker]:
    """One of `KINDS`."""
    match kind:
        case "v0.1":
            yield Old(url, http)
        case "0.3":
            yield Middle(url, http)
        case "0.3 said":
            yield Middle(url, http, "0.3")
        case "0.2 said":
            yield Middle(url, http, "0.2.6")
        case "1.0":
            yield New(url, http)
        case _:
            version = kind.removeprefix("sdk ")
            async with (
                sdk.connect(url, version=version, streaming=False) as (_, whole),
                sdk.connect(url, version=version) as (_, streaming),
            ):
                yield Reference(version, whole, streaming)


class _sdk_errors:  # noqa: N801 - used as a statement
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, A2AError) and type(error) in JSON_RPC_ERROR_CODE_MAP:
            raise Refused(JSON_RPC_ERROR_CODE_MAP[type(error)], error.message) from error


def _context(after: int | None) -> ClientCallContext | None:
    return None if after is None else ClientCallContext(service_parameters={"Last-Event-ID": str(after)})


def _request(order: Order) -> SendMessageRequest:
    request: SendMessageRequest = ParseDict(_params(order), SendMessageRequest())
    return request


def _get_params(task: str, history: int | None) -> JsonObject:
    return {"id": task} | ({} if history is None else {"historyLength": history})


def _params(order: Order) -> JsonObject:
    members = {name: value for name, value in (("taskId", order.task), ("contextId", order.context)) if value}
    options: v10.SendOptions = {"metadata": order.all_metadata}
    if not order.wait:
        options["return_immediately"] = True
    if order.history is not None:
        options["history_length"] = order.history
    return v10.send_params(v10.text_message(order.text, order.id, **members), **options)


def _middle_params(order: Order) -> JsonObject:
    members = {name: value for name, value in (("taskId", order.task), ("contextId", order.context)) if value}
    configuration: JsonObject = {} if order.wait else {"blocking": False}
    if order.history is not None:
        configuration["historyLength"] = order.history
    params: JsonObject = {"message": v03.text_message(order.text, order.id, **members)}
    return params | {
        name: value for name, value in (("configuration", configuration), ("metadata", order.all_metadata)) if value
    }


def _task(task: JsonObject) -> Seen:
    return _seen(v10.checked_task(task))


def _seen(task: JsonObject) -> Seen:
    status = task["status"]
    return Seen(
        task["id"],
        task["contextId"],
        _state(status),
        _said(status),
        {artifact["name"]: tuple(_part(part) for part in artifact["parts"]) for artifact in task.get("artifacts", ())},
        tuple((_role(message), _text(message)) for message in task.get("history", ())),
        task.get("metadata", {}),
    )


def _event(item: JsonObject, sse_id: str | None) -> Event:
    [(kind, value)] = item.items()
    metadata = value.get("metadata", {})
    n = int(metadata[EVENT_URI]["n"])
    if kind == "task":
        seen = _seen(value)
        return Event("task", seen.id, n, sse_id, seen.state, seen.said, metadata=metadata, snapshot=seen)
    if kind == "statusUpdate":
        status = value["status"]
        final = value.get("final")
        return Event("status", value["taskId"], n, sse_id, _state(status), _said(status), final, metadata=metadata)
    artifact = value["artifact"]
    return Event(
        "artifact",
        value["taskId"],
        n,
        sse_id,
        artifact=artifact["name"],
        parts=tuple(_part(part) for part in artifact["parts"]),
        append=value.get("append", False),
        last=value.get("lastChunk", False),
        metadata=metadata,
    )


def _state(status: JsonObject) -> str:
    return str(status["state"]).removeprefix("TASK_STATE_").lower().replace("_", "-")


def _role(message: JsonObject) -> str:
    return str(message["role"]).removeprefix("ROLE_").lower()


def _said(status: JsonObject) -> str:
    return _text(status["message"]) if "message" in status else ""


def _text(message: JsonObject) -> str:
    return "".join(part.get("text", "") for part in message["parts"])


def _part(part: JsonObject) -> str:
    file = part.get("file", {})
    raw = part.get("raw", file.get("bytes"))
    return b64decode(raw).hex() if raw is not None else str(part.get("text", part.get("url", file.get("uri"))))
