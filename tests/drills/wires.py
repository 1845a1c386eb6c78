"""The generations as drills see them: the same five operations, the same neutral items, JSON and models behind.

Contents become strings: text as it is, inline bytes one character a byte, a link or data in its JSON spelling.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

import httpx2

from tests.clients import v01, v03, v10
from tests.clients.rpc import BadAnswer, JsonObject
from tests.drills.ledger import Order, Seen, View

EVENT_URI = "urn:a2a-task-server:event:v1"
OPTIONS_URI = "urn:a2a-task-server:task-options:v1"

_WHOLE_HISTORY = 1_000

LOST = (httpx2.TransportError,)
"""What a client meets when the server dies or is not there."""


class Refused(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{code} {text}")


@dataclass(frozen=True, slots=True)
class After:
    """Continue behind event `n`, said by the Last-Event-ID header or by `metadata.afterEvent`."""

    n: int
    by_header: bool

    @property
    def header(self) -> int | None:
        return self.n if self.by_header else None

    @property
    def metadata(self) -> JsonObject:
        return {} if self.by_header else {"afterEvent": self.n}


class Wire(Protocol):
    """One generation. Raises Refused, BadAnswer or A2AClientError, and what `LOST` lists.

    repeats_answers: an answer sent again is the same answer, whatever the task has asked since. keeps_following: a
    subscription goes on where the task asks.
    """

    generation: str
    repeats_answers: bool
    keeps_following: bool

    async def send(self, order: Order, *, wait: bool) -> View: ...
    def stream(self, order: Order, after: After | None = None) -> AsyncGenerator[Seen]: ...
    async def get(self, task: str) -> View: ...
    async def cancel(self, task: str) -> View: ...
    def subscribe(self, task: str, after: After | None = None) -> AsyncGenerator[Seen]: ...


class OldWire:
    """v0.1, through the client that is written after its sample."""

    generation = "v0.1"
    repeats_answers = False
    keeps_following = False

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._client = v01.A2AClient(url=url, http=http)

    async def send(self, order: Order, *, wait: bool) -> View:
        metadata = _options(order, **({} if wait else {"returnImmediately": True}))
        return _old_view(await self._client.send_task(_old_order(order, metadata or None)))

    async def get(self, task: str) -> View:
        return _old_view(await self._client.get_task({"id": task, "historyLength": _WHOLE_HISTORY}))

    async def cancel(self, task: str) -> View:
        return _old_view(await self._client.cancel_task({"id": task}))

    async def stream(self, order: Order, after: After | None = None) -> AsyncGenerator[Seen]:
        metadata = {**_options(order), **(after.metadata if after else {})}
        payload = _old_order(order, metadata or None)
        source = self._client.send_task_streaming(payload, after.header if after else None)
        async with aclosing(_old_items(source)) as items:
            async for seen in items:
                yield seen

    async def subscribe(self, task: str, after: After | None = None) -> AsyncGenerator[Seen]:
        payload: JsonObject = {"id": task, "metadata": (after.metadata or None) if after else None}
        source = self._client.resubscribe_to_task(payload, after.header if after else None)
        async with aclosing(_old_items(source)) as items:
            async for seen in items:
                yield seen


class NewWire:
    """1.0 over JSON-RPC."""

    generation = "1.0"
    repeats_answers = True
    keeps_following = True

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._client = v10.Client(url, http=http)

    async def send(self, order: Order, *, wait: bool) -> View:
        options = _new_options(order)
        options["return_immediately"] = not wait
        with _refusals():
            result = await self._client.send(_new_message(order), **options)
        if "task" not in result:
            raise BadAnswer("a task was expected, not a message")
        return _new_view(result["task"])

    async def get(self, task: str) -> View:
        with _refusals():
            return _new_view(await self._client.get(task))

    async def cancel(self, task: str) -> View:
        with _refusals():
            return _new_view(await self._client.cancel(task))

    async def stream(self, order: Order, after: After | None = None) -> AsyncGenerator[Seen]:
        options = _new_options(order, after)
        source = self._client.stream(_new_message(order), last_event_id=after.header if after else None, **options)
        async with aclosing(_new_items(source)) as items:
            async for seen in items:
                yield seen

    async def subscribe(self, task: str, after: After | None = None) -> AsyncGenerator[Seen]:
        metadata = after.metadata or None if after else None
        source = self._client.subscribe(task, last_event_id=after.header if after else None, metadata=metadata)
        async with aclosing(_new_items(source)) as items:
            async for seen in items:
                yield seen


class MiddleWire:
    """0.3 over JSON-RPC."""

    generation = "0.3"
    repeats_answers = True
    keeps_following = False

    def __init__(self, url: str, http: httpx2.AsyncClient) -> None:
        self._client = v03.Client(url, http)

    async def send(self, order: Order, *, wait: bool) -> View:
        params = {"message": _middle_message(order), "configuration": {"blocking": wait}, **_metadata(None, order)}
        return await self._view("message/send", params)

    async def get(self, task: str) -> View:
        return await self._view("tasks/get", {"id": task})

    async def cancel(self, task: str) -> View:
        return await self._view("tasks/cancel", {"id": task})

    async def stream(self, order: Order, after: After | None = None) -> AsyncGenerator[Seen]:
        params: JsonObject = {"message": _middle_message(order), **_metadata(after, order)}
        async with aclosing(self._items("message/stream", params, after)) as items:
            async for seen in items:
                yield seen

    async def subscribe(self, task: str, after: After | None = None) -> AsyncGenerator[Seen]:
        async with aclosing(self._items("tasks/resubscribe", {"id": task, **_metadata(after)}, after)) as items:
            async for seen in items:
                yield seen

    async def _view(self, method: str, params: JsonObject) -> View:
        with _refusals():
            return _middle_view(v03.checked_task(await self._client.call(method, params)))

    async def _items(self, method: str, params: JsonObject, after: After | None) -> AsyncGenerator[Seen]:
        with _refusals():
            async with aclosing(self._client.items(method, params, after.header if after else None)) as items:
                async for item in items:
                    yield _middle_seen(item)


def wires(url: str, http: httpx2.AsyncClient) -> Sequence[Wire]:
    """Every generation over the same connections, the oldest first."""
    return OldWire(url, http), MiddleWire(url, http), NewWire(url, http)


class _refusals:  # noqa: N801 - used as a statement
    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, v10.RpcError):
            raise Refused(error.code, error.message) from error
        if isinstance(error, httpx2.HTTPStatusError):
            raise BadAnswer(f"HTTP status {error.response.status_code}") from error


def _old_order(order: Order, metadata: JsonObject | None) -> JsonObject:
    return {
        "id": order.task or order.id,
        "sessionId": order.session or order.id,
        "message": v01.text_message(order.line),
        "metadata": metadata,
    }


def _old_view(response: v01.SendTaskResponse | v01.GetTaskResponse | v01.CancelTaskResponse) -> View:
    if response.error is not None:
        raise Refused(response.error.code, response.error.message)
    task = response.result
    if task is None:
        raise BadAnswer("no task in the result")
    artifacts = tuple((str(artifact.index), _old_content(artifact)) for artifact in task.artifacts or ())
    history = tuple((message.role, _old_text(message)) for message in task.history or ())
    return View(task.id, task.status.state.value, artifacts, _old_text(task.status.message), history)


def _old_text(message: v01.Message | None) -> str:
    return "".join(_old_part(part) for part in message.parts) if message else ""


async def _old_items(source: AsyncGenerator[v01.SendTaskStreamingResponse]) -> AsyncGenerator[Seen]:
    async with aclosing(source) as responses:
        async for response in responses:
            if response.error is not None:
                raise Refused(response.error.code, response.error.message)
            item, sse_id = response.result, response.sse_id
            if item is None:
                raise BadAnswer("no item in the result")
            n = _number(item.metadata)
            if isinstance(item, v01.TaskStatusUpdateEvent):
                state, text = item.status.state.value, _old_text(item.status.message)
                yield Seen(item.id, n, "status", state, item.final, sse_id=sse_id, text=text)
            else:
                artifact = item.artifact
                content, append = _old_content(artifact), bool(artifact.append)
                key = str(artifact.index)
                yield Seen(item.id, n, "artifact", artifact=key, content=content, append=append, sse_id=sse_id)


def _old_content(artifact: v01.Artifact) -> str:
    return "".join(_old_part(part) for part in artifact.parts)


def _old_part(part: v01.TextPart | v01.FilePart | v01.DataPart) -> str:
    if isinstance(part, v01.TextPart):
        return part.text
    if isinstance(part, v01.DataPart):
        return json.dumps(part.data, sort_keys=True)
    if part.file.bytes is not None:
        return b64decode(part.file.bytes, validate=True).decode("latin-1")
    return json.dumps(part.file.uri)


async def _new_items(source: AsyncGenerator[v10.Item]) -> AsyncGenerator[Seen]:
    with _refusals():
        async with aclosing(source) as items:
            async for item in items:
                yield _new_seen(item)


def _new_seen(item: v10.Item) -> Seen:
    value, n = item.value, _number(item.value.get("metadata"))
    if item.kind == "task":
        view = _new_view(value)
        return Seen(view.id, n, "task", view.state, artifacts=view.artifacts, sse_id=item.sse_id, text=view.text)
    if item.kind == "statusUpdate":
        status = value["status"]
        return Seen(value["taskId"], n, "status", _new_state(status), sse_id=item.sse_id, text=_new_said(status))
    if item.kind == "artifactUpdate":
        artifact = value["artifact"]
        content, append = _new_content(artifact), bool(value.get("append"))
        key = artifact["artifactId"]
        return Seen(value["taskId"], n, "artifact", artifact=key, content=content, append=append, sse_id=item.sse_id)
    raise BadAnswer("a message in the stream of a task")


def _new_view(task: JsonObject) -> View:
    artifacts = tuple((artifact["artifactId"], _new_content(artifact)) for artifact in task.get("artifacts", ()))
    history = tuple((_new_role(message), _new_content(message)) for message in task.get("history", ()))
    return View(task["id"], _new_state(task["status"]), artifacts, _new_said(task["status"]), history)


def _new_message(order: Order) -> JsonObject:
    return v10.text_message(order.line, order.id, **({"taskId": order.task} if order.task else {}))


def _new_role(message: JsonObject) -> str:
    return str(message["role"]).removeprefix("ROLE_").lower()


def _new_said(status: JsonObject) -> str:
    return _new_content(status["message"]) if "message" in status else ""


def _new_state(status: JsonObject) -> str:
    return str(status["state"]).removeprefix("TASK_STATE_").lower().replace("_", "-")


def _new_content(holder: JsonObject) -> str:
    return "".join(_new_part(part) for part in holder["parts"])


def _new_part(part: JsonObject) -> str:
    if "text" in part:
        return str(part["text"])
    if "raw" in part:
        return b64decode(part["raw"], validate=True).decode("latin-1")
    if "url" in part or "data" in part:
        return json.dumps(part["url"] if "url" in part else part["data"], sort_keys=True)
    raise BadAnswer(f"a part of no kind: {sorted(part)}")


def _middle_message(order: Order) -> JsonObject:
    return v03.text_message(order.line, order.id, **({"taskId": order.task} if order.task else {}))


def _metadata(after: After | None, order: Order | None = None) -> JsonObject:
    metadata = {**(_options(order) if order else {}), **(after.metadata if after else {})}
    return {"metadata": metadata} if metadata else {}


def _new_options(order: Order, after: After | None = None) -> v10.SendOptions:
    metadata = {**_options(order), **(after.metadata if after else {})}
    return {"metadata": metadata} if metadata else {}


def _options(order: Order, **options: object) -> JsonObject:
    if not order.task:
        options |= order.options
    if order.skill and not order.task:
        options["skill"] = order.skill
    return {OPTIONS_URI: options} if options else {}


def _middle_view(task: JsonObject) -> View:
    artifacts = tuple((artifact["artifactId"], _middle_content(artifact)) for artifact in task.get("artifacts", ()))
    history = tuple((message["role"], _middle_content(message)) for message in task.get("history", ()))
    status = task["status"]
    return View(task["id"], status["state"], artifacts, _middle_said(status), history)


def _middle_seen(item: v10.Item) -> Seen:
    value, n = item.value, _number(item.value.get("metadata"))
    if item.kind == "task":
        view = _middle_view(value)
        return Seen(view.id, n, "task", view.state, artifacts=view.artifacts, sse_id=item.sse_id, text=view.text)
    if item.kind == "status-update":
        status, final = value["status"], value["final"]
        text = _middle_said(status)
        return Seen(value["taskId"], n, "status", status["state"], final, sse_id=item.sse_id, text=text)
    if item.kind == "artifact-update":
        artifact = value["artifact"]
        content, append = _middle_content(artifact), bool(value.get("append"))
        key = artifact["artifactId"]
        return Seen(value["taskId"], n, "artifact", artifact=key, content=content, append=append, sse_id=item.sse_id)
    raise BadAnswer("a message in the stream of a task")


def _middle_said(status: JsonObject) -> str:
    return _middle_content(status["message"]) if "message" in status else ""


def _middle_content(holder: JsonObject) -> str:
    return "".join(_middle_part(part) for part in holder["parts"])


def _middle_part(part: JsonObject) -> str:
    if part["kind"] == "text":
        return str(part["text"])
    if part["kind"] == "data":
        return json.dumps(part["data"], sort_keys=True)
    file = part["file"]
    if "bytes" in file:
        return b64decode(file["bytes"], validate=True).decode("latin-1")
    return json.dumps(file["uri"])


def _number(metadata: JsonObject | None) -> int | None:
    said = (metadata or {}).get(EVENT_URI)
    if said is None:
        return None
    if not isinstance(said, dict) or type(said.get("n")) is not int:
        raise BadAnswer(f"event metadata {said!r}")
    return int(said["n"])
