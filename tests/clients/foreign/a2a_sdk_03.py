"""a2a-sdk 0.3.x over JSON-RPC: `a2a_sdk_03.py URL`, in an environment of its own."""
# mypy: ignore-errors
# (this environment has a2a-sdk 1.x, which shares the import package)

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.client.errors import A2AClientJSONRPCError
from a2a.client.middleware import ClientCallContext
from a2a.types import Message, MessageSendConfiguration, Part, Role, TaskIdParams, TaskQueryParams, TextPart
from pydantic import BaseModel

from tests.clients.foreign.lines import Args, serve
from tests.patience import PATIENCE


class Operations:
    """`whole` answers a send with one task, `streaming` with its stream."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def connect(self) -> None:
        card = await A2ACardResolver(self._http, self._url).get_agent_card()
        self._whole, self._streaming = (
            ClientFactory(ClientConfig(streaming=streaming, httpx_client=self._http)).create(card)
            for streaming in (False, True)
        )

    async def card(self, args: Args) -> AsyncIterator[Any]:
        card = await A2ACardResolver(self._http, self._url).get_agent_card(relative_card_path=args["path"])
        yield _json(card)

    async def send(self, args: Args) -> AsyncIterator[Any]:
        async for item in _sent(self._whole, args):
            yield item

    async def stream(self, args: Args) -> AsyncIterator[Any]:
        async with aclosing(_sent(self._streaming, args)) as items:
            async for item in items:
                yield item

    async def get(self, args: Args) -> AsyncIterator[Any]:
        yield _json(await self._whole.get_task(TaskQueryParams(id=args["task"], history_length=args["history"])))

    async def cancel(self, args: Args) -> AsyncIterator[Any]:
        yield _json(await self._whole.cancel_task(TaskIdParams(id=args["task"])))

    async def subscribe(self, args: Args) -> AsyncIterator[Any]:
        events = self._streaming.resubscribe(TaskIdParams(id=args["task"]), context=_context(args["after"]))
        async with aclosing(events):
            async for task, update in events:
                yield _json(update or task)


async def _sent(client: Client, args: Args) -> AsyncIterator[Any]:
    message = Message(
        message_id=args["id"],
        role=Role.user,
        parts=[Part(root=TextPart(text=args["text"]))],
        task_id=args["task"] or None,
        context_id=args["context"] or None,
    )
    wanted = MessageSendConfiguration(blocking=args["wait"], history_length=args["history"])
    events = client.send_message(
        message, configuration=wanted, context=_context(args["after"]), request_metadata=args["metadata"] or None
    )
    async with aclosing(events):
        async for event in events:
            yield _json(event if isinstance(event, Message) else event[1] or event[0])


def _context(after: int | None) -> ClientCallContext | None:
    return (
        None if after is None else ClientCallContext(state={"http_kwargs": {"headers": {"Last-Event-ID": str(after)}}})
    )


def _json(thing: BaseModel) -> Args:
    return thing.model_dump(mode="json", by_alias=True, exclude_none=True)


def _code(error: Exception) -> int | None:
    return error.error.code if isinstance(error, A2AClientJSONRPCError) else None


async def _main() -> None:
    async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as http:
        operations = Operations(sys.argv[1], http)
        await operations.connect()
        names = ("card", "send", "stream", "get", "cancel", "subscribe")
        await serve({name: getattr(operations, name) for name in names}, _code)


if __name__ == "__main__":
    asyncio.run(_main())
