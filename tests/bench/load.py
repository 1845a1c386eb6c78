"""The load: keep-alive connections that send ready-made requests and count what comes back, as cheaply as can be.

It knows HTTP and the outer form of server-sent events, nothing of A2A: what is asked and what an answer must hold, the
`speech` of each server says. Every wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import httptools

ANSWER_SECONDS = 60.0


class Broken(Exception):
    """A server did not answer as it must; the text says how."""


class Connection(asyncio.Protocol):
    """One connection to a server; one request at a time.

    events: how many server-sent events came on it so far. latest: monotonic time of the last one, seconds.
    """

    def __init__(self) -> None:
        self.events = 0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._tail = b""
        self._keeps = True
        self._waiter: asyncio.Future[bytes] | None = None

    async def ask(self, request: bytes, seconds: float = ANSWER_SECONDS) -> bytes:
        """The body of the answer. Raises Broken for a status other than 2xx, silence, or a closed connection."""
        return await self._asked(request, seconds, keeps=True)

    async def follow(self, request: bytes, seconds: float = ANSWER_SECONDS) -> int:
        """How many events the answer's stream held. Raises as `ask` does."""
        before = self.events
        await self._asked(request, seconds, keeps=False)
        return self.events - before

    async def _asked(self, request: bytes, seconds: float, *, keeps: bool) -> bytes:
        if self._transport is None or self._transport.is_closing():
            raise Broken("the connection is closed")
        loop = asyncio.get_running_loop()
        self._keeps = keeps
        self._body.clear()
        self._tail = b""
        self._waiter = loop.create_future()
        self._transport.write(request)
        timer = loop.call_later(seconds, self._fail, f"no answer in {seconds:.0f} s")
        try:
            return await self._waiter
        finally:
            timer.cancel()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, text: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Broken(text))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Part of asyncio.Protocol."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio.Protocol."""
        self._fail("the server closed the connection")

    def on_body(self, body: bytes) -> None:
        """Part of httptools' protocol."""
        if self._keeps:
            self._body.append(body)
            return
        seen = self._tail + body
        self.events += seen.count(b"data: ")
        self._tail = seen[-5:]  # shorter than what is counted

    def on_message_complete(self) -> None:
        """Part of httptools' protocol."""
        status = self._parser.get_status_code()
        if not 200 <= status < 300:
            self._fail(f"status {status}: {b''.join(self._body)[:500]!r}")
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(b"".join(self._body))


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncIterator[list[Connection]]:
    """So many open connections to 127.0.0.1."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            made.append(connection)
        yield made
    finally:
        for connection in made:
            connection.close()


async def work_off(clients: list[Connection], total: int, job: Callable[[Connection, int], Awaitable[object]]) -> None:
    """`job(client, number)` for every number below `total`, each client doing one after the other.

    The first failure ends all.
    """
    numbers = iter(range(total))

    async def work(client: Connection, numbers: Iterator[int]) -> None:
        for number in numbers:
            await job(client, number)

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client, numbers))
