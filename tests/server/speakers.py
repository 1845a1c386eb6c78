"""The clients as the table of behaviours sees them: the same five operations and the same neutral answers.

The SDK's protobuf answers become ProtoJSON first, so that it and the thin client are read by one function.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

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

from tests.clients import sdk, v01, v10
from tests.clients.rpc import JsonObject

EVENT_URI = "urn:a2a-task-server:event:v1"
OPTIONS_URI = "urn:a2a-task-server:task-options:v1"


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"{code} {message}")


@dataclass(frozen=True)
class Order:
    """A message of one text part. after: continue the stream of a repeat behind this event."""

    text: str
    id: str
    task: str = ""
    context: str = ""
    history: int | None = None
    wait: bool = True
    options: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)

    @property
    def all_metadata(self) -> JsonObject:
        return {**self.metadata, **({OPTIONS_URI: self.options} if self.options else {})}


@dataclass(frozen=True)
class Seen:
    """A task. Parts are strings: text as it is, a file's bytes in hexadecimal, a link as it is."""

    id: str
    context: str
    state: str
    said: str = ""
    artifacts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()
    metadata: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """An item of a stream: kind is task, status or artifact. final: as v0.1 says it; None where nothing is said."""

    kind: str
    task: str
    n: int | None
    sse_id: str | None
    state: str = ""
    said: str = ""
    final: bool | None = None
    artifact: str = ""
    parts: tuple[str, ...] = ()
    append: bool = False
    last: bool = False
    metadata: JsonObject = field(default_factory=dict)
    snapshot: Seen | None = None


class Speaker(Protocol):
    """One client of one generation. Every method raises Refused for an error of the protocol."""

    generation: str

    async def send(self, order: Order) -> Seen: ...
    def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]: ...
    async def get(self, task: str, history: int | None = None) -> Seen: ...
    async def cancel(self, task: str) -> Seen: ...
    def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]: ...


class Old:
    generation = "0.1"

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._client = v01.A2AClient(url=url, http=http)

    async def send(self, order: Order) -> Seen:
        options = {} if order.wait else {"returnImmediately": True}
        metadata = {**order.all_metadata, **({OPTIONS_URI: {**order.options, **options}} if options else {})}
        return _old_task(await self._client.send_task(_old_payload(order, metadata)))

    async def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]:
        source = self._client.send_task_streaming(_old_payload(order, order.all_metadata), after)
        async with aclosing(_old_events(source)) as events:
            async for event in events:
                yield event

    async def get(self, task: str, history: int | None = None) -> Seen:
        return _old_task(await self._client.get_task({"id": task, "historyLength": history}))

    async def cancel(self, task: str) -> Seen:
        return _old_task(await self._client.cancel_task({"id": task}))

    async def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(_old_events(self._client.resubscribe_to_task({"id": task}, after))) as events:
            async for event in events:
                yield event


class New:
    generation = "1.0"

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

    generation = "sdk"

    def __init__(self, whole: Client, streaming: Client) -> None:
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


@asynccontextmanager
async def speaker(kind: str, url: str, http: httpx2.AsyncClient) -> AsyncIterator[Speaker]:
    if kind == "v0.1":
        yield Old(url, http)
    elif kind == "1.0":
        yield New(url, http)
    else:
        async with sdk.connect(url, streaming=False) as (_, whole), sdk.connect(url) as (_, streaming):
            yield Reference(whole, streaming)


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


def _task(task: JsonObject) -> Seen:
    v10.checked_task(task)
    status = task["status"]
    return Seen(
        task["id"],
        task["contextId"],
        _state(status),
        _said(status),
        {artifact["name"]: tuple(_part(part) for part in artifact["parts"]) for artifact in task.get("artifacts", ())},
        tuple((message["role"], _text(message)) for message in task.get("history", ())),
        task.get("metadata", {}),
    )


def _event(item: JsonObject, sse_id: str | None) -> Event:
    [(kind, value)] = item.items()
    metadata = value.get("metadata", {})
    n = int(metadata[EVENT_URI]["n"])
    if kind == "task":
        seen = _task(value)
        return Event("task", seen.id, n, sse_id, seen.state, seen.said, metadata=metadata, snapshot=seen)
    if kind == "statusUpdate":
        status = value["status"]
        return Event("status", value["taskId"], n, sse_id, _state(status), _said(status), metadata=metadata)
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
    return str(status["state"]).removeprefix("TASK_STATE_").lower()


def _said(status: JsonObject) -> str:
    return _text(status["message"]) if "message" in status else ""


def _text(message: JsonObject) -> str:
    return "".join(part.get("text", "") for part in message["parts"])


def _part(part: JsonObject) -> str:
    return b64decode(part["raw"]).hex() if "raw" in part else str(part.get("text", part.get("url")))


def _old_payload(order: Order, metadata: JsonObject) -> JsonObject:
    return {
        "id": order.task or order.id,
        "sessionId": order.context or f"session of {order.task or order.id}",
        "message": v01.text_message(order.text),
        "historyLength": order.history,
        "metadata": metadata or None,
    }


def _old_result(response: Any) -> Any:  # noqa: ANN401 - each response has its own result
    if response.error is not None:
        raise Refused(response.error.code, response.error.message)
    return response.result


def _old_task(response: v01.SendTaskResponse | v01.GetTaskResponse | v01.CancelTaskResponse) -> Seen:
    task: v01.Task = _old_result(response)
    return Seen(
        task.id,
        task.session_id or "",
        task.status.state.value,
        _old_said(task.status),
        {artifact.name or "": _old_parts(artifact) for artifact in task.artifacts or ()},
        tuple((message.role, _old_text(message)) for message in task.history or ()),
        task.metadata or {},
    )


async def _old_events(source: AsyncGenerator[v01.SendTaskStreamingResponse]) -> AsyncGenerator[Event]:
    async with aclosing(source) as responses:
        async for response in responses:
            item = _old_result(response)
            metadata = item.metadata or {}
            n = metadata[EVENT_URI]["n"] if EVENT_URI in metadata else None
            if isinstance(item, v01.TaskStatusUpdateEvent):
                state, said = item.status.state.value, _old_said(item.status)
                yield Event("status", item.id, n, response.sse_id, state, said, item.final, metadata=metadata)
            else:
                chunk = item.artifact
                yield Event(
                    "artifact",
                    item.id,
                    n,
                    response.sse_id,
                    artifact=chunk.name or "",
                    parts=_old_parts(chunk),
                    append=bool(chunk.append),
                    last=bool(chunk.last_chunk),
                    metadata=metadata,
                )


def _old_said(status: v01.TaskStatus) -> str:
    return _old_text(status.message) if status.message else ""


def _old_text(message: v01.Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, v01.TextPart))


def _old_parts(artifact: v01.Artifact) -> tuple[str, ...]:
    return tuple(_old_part(part) for part in artifact.parts)


def _old_part(part: v01.TextPart | v01.FilePart | v01.DataPart) -> str:
    if isinstance(part, v01.TextPart):
        return part.text
    if isinstance(part, v01.DataPart):
        return str(part.data)
    return b64decode(part.file.bytes).hex() if part.file.bytes is not None else str(part.file.uri)
