"""The v0.1 client as the table of behaviours sees it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx2

from tests.clients import v01
from tests.clients.rpc import JsonObject
from tests.server.spoken import EVENT_URI, OPTIONS_URI, Event, Order, Refused, Seen


class Old:
    generation = "0.1"
    shows_all = True

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
