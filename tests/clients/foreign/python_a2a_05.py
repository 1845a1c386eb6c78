"""python-a2a 0.5.x: `python_a2a_05.py URL`, in an environment of its own.

Its exceptions and results show no JSON-RPC code: whatever goes wrong becomes a task of its own making.
"""
# mypy: ignore-errors
# (python-a2a is not in this environment)

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from python_a2a import A2AClient, Message, MessageRole, StreamingClient, Task, TextContent

from tests.clients.foreign.lines import Args, serve
from tests.patience import PATIENCE


class Operations:
    """The five operations, and what only this client has: ask, respond, stream_task, send_subscribe."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = A2AClient(url, timeout=PATIENCE)
        self._streaming = StreamingClient(url, timeout=PATIENCE)

    async def card(self, _args: Args) -> AsyncIterator[Any]:
        card = (await asyncio.to_thread(A2AClient, self._url, timeout=PATIENCE)).get_agent_card()
        yield {"name": card.name, "version": card.version, "skills": [skill.id for skill in card.skills]}

    async def send(self, args: Args) -> AsyncIterator[Any]:
        yield (await self._client.send_task_async(_task(args))).to_dict()

    async def get(self, args: Args) -> AsyncIterator[Any]:
        yield (await asyncio.to_thread(self._client.get_task, args["task"], args["history"] or 0)).to_dict()

    async def cancel(self, args: Args) -> AsyncIterator[Any]:
        yield (await asyncio.to_thread(self._client.cancel_task, args["task"])).to_dict()

    async def subscribe(self, args: Args) -> AsyncIterator[Any]:
        async with aclosing(self._streaming.tasks_resubscribe(args["task"])) as tasks:
            async for task in tasks:
                yield task.to_dict()

    async def stream(self, args: Args) -> AsyncIterator[Any]:
        async with aclosing(self._client.stream_task(_task(args))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def send_subscribe(self, args: Args) -> AsyncIterator[Any]:
        async with aclosing(self._streaming.tasks_send_subscribe(_task(args))) as tasks:
            async for task in tasks:
                yield task.to_dict()

    async def respond(self, args: Args) -> AsyncIterator[Any]:
        async with aclosing(self._client.stream_response(_message(args))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def ask(self, args: Args) -> AsyncIterator[Any]:
        yield await asyncio.to_thread(self._client.ask, args["text"])


def _message(args: Args) -> Message:
    return Message(content=TextContent(text=args["text"]), role=MessageRole.USER, message_id=args["id"])


def _task(args: Args) -> Task:
    return Task(
        id=args["task"] or args["id"],
        session_id=args["context"] or None,
        message=_message(args).to_dict(),
        metadata=args["metadata"],
    )


async def _main() -> None:
    operations = Operations(sys.argv[1])
    names = ("card", "send", "get", "cancel", "subscribe", "stream", "send_subscribe", "respond", "ask")
    await serve({name: getattr(operations, name) for name in names}, lambda _error: None)


if __name__ == "__main__":
    asyncio.run(_main())
