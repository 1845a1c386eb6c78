"""Answers that take long end when their client goes away.

A client is listened to only from `SECONDS` to twice as long after its request: most answers are there before. One timer
serves all of them, and runs only while somebody waits.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive

SECONDS: Final = 1.0


class Wait:
    """One request that is being answered by the current task. gone: its client went away, and the task was canceled."""

    __slots__ = ("_answering", "_listening", "_receive", "gone")

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self.gone = False
        self._receive = receive
        self._answering = asyncio.current_task(loop)
        self._listening: asyncio.Task[None] | None = None

    def listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the answering task once the client is gone."""
        self._listening = loop.create_task(self._listen())

    def end(self) -> None:
        """The answer is there, or the client is gone."""
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._answering is not None:
            self.gone = True
            self._answering.cancel()


class Waits:
    """All requests that are being answered. Concurrency: belongs to the running event loop."""

    def __init__(self) -> None:
        self._new: set[Wait] = set()
        self._older: set[Wait] = set()
        self._ticks_in: asyncio.AbstractEventLoop | None = None

    def begin(self, receive: Receive) -> Wait:
        """The current task begins to answer; `end` must follow."""
        loop = asyncio.get_running_loop()
        wait = Wait(receive, loop)
        self._new.add(wait)
        if self._ticks_in is not loop:
            self._ticks_in = loop
            loop.call_later(SECONDS, self._tick, loop)
        return wait

    def end(self, wait: Wait) -> None:
        """The answer is there, or the client is gone."""
        self._new.discard(wait)
        self._older.discard(wait)
        wait.end()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        for wait in self._older:
            wait.listen(loop)
        self._older, self._new = self._new, set()
        if self._older:
            loop.call_later(SECONDS, self._tick, loop)
        else:
            self._ticks_in = None
