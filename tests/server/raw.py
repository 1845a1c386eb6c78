"""Bytes on a connection, and a server of one small application that says which requests it was given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, cast

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from a2a_server.web.limits import ConnectionLimits
from a2a_server.web.protocol import Protocol, abort_of
from tests.patience import PATIENCE


class Answer(NamedTuple):
    """One HTTP response: its status, its headers by lower-case names, its body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Connection:
    """A client that is nothing but a socket."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def silent(self) -> bool:
        """Whether the server has neither said anything that is unread nor closed."""
        return not self.reader._buffer and not self.reader._eof  # type: ignore[attr-defined]  # what it shows of neither

    async def say(self, *packets: bytes) -> None:
        """The packets are sent, each by itself; a server that has gone does not matter."""
        with contextlib.suppress(ConnectionError):
            for packet in packets:
                self.writer.write(packet)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def answer(self) -> Answer:
        """The next response. Raises IncompleteReadError if the server closes instead."""
        async with asyncio.timeout(PATIENCE):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return Answer(int(status.split()[1]), headers, body)

    async def answers(self) -> list[Answer]:
        """All responses until the server closes. Raises TimeoutError if it does not within `PATIENCE`."""
        found = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                found.append(await self.answer())
        return found

    async def everything(self) -> bytes:
        """All bytes until the server closes or cuts. Raises TimeoutError if it does not within `PATIENCE`."""
        pieces = []
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while piece := await self.reader.read(65536):
                    pieces.append(piece)
        return b"".join(pieces)

    async def close(self) -> None:
        """The connection is closed from this side."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def dial(port: int) -> AsyncIterator[Connection]:
    """A connection to 127.0.0.1."""
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield connection
    finally:
        await connection.close()


@dataclass
class Seen:
    """What the application was given: method, path and headers of each request, and its body once it was whole.

    `go_on`: unset it and requests for `/wait` are answered, and bodies for `/slow` read on, only when it is set again.
    """

    port: int = 0
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    gone: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body and answers with its length; `/early` does not read it, `/abort` cuts the connection."""
        request = Request(scope, receive)
        self.requests.append((request.method, request.url.path, dict(request.headers)))
        if request.url.path == "/abort":
            abort_of(scope)()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.gone += 1
            return
        if request.url.path == "/early":
            await Response("early", 413)(scope, receive, send)
            return
        try:
            pieces = []
            async for piece in request.stream():
                pieces.append(piece)
                if request.url.path == "/slow":
                    await self.go_on.wait()
            self.bodies.append(b"".join(pieces))
        except ClientDisconnect:
            self.gone += 1
            return
        if request.url.path == "/wait":
            await self.go_on.wait()
        await Response(str(len(self.bodies[-1])))(scope, receive, send)


@asynccontextmanager
async def serving(
    limits: ConnectionLimits | None = None,
    application: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None,
    **config: Any,  # noqa: ANN401 - uvicorn's own
) -> AsyncIterator[Seen]:
    """The application behind `Protocol`, on a free port."""
    seen = Seen()
    seen.go_on.set()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        listener.settimeout(0)
        seen.port = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                cast("Any", application or seen.application),
                http=cast("type[asyncio.Protocol]", partial(Protocol, limits=limits or ConnectionLimits())),
                interface="asgi3",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
                **config,
            )
        )
        running = asyncio.create_task(server._serve([listener]))
        try:
            yield seen
        finally:
            seen.go_on.set()
            server.should_exit = True
            await running
