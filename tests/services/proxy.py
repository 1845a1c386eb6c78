"""A TCP proxy with faults: slow, silent, cut or refused connections in front of any server.

Theory of operation. A thread runs an event loop; the methods change what it does, from any thread, and have taken
effect when they return. Each direction of a connection is a bounded queue between a reader, which notes when a piece is
due, and a writer, which waits for that time and for the stall to end; so latency costs no throughput, and a stalled
connection fills its buffers and then holds back its sender, as a dead network does.

Weaknesses: it knows nothing about protocols. A driver that asks its server where to connect (MongoDB's replica sets,
SQS's queue addresses) goes past it: use `directConnection=true`, or the proxy's address for every call.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE
from tests.services.server import free_ports

PIECE_BYTES = 64 * 1024
PIECES = 16  # in flight in one direction of a connection
CONNECTIONS = 1000


class _Cut(Exception):
    """The bytes that a connection had left are through."""


class _Piece(NamedTuple):
    due: float
    body: bytes | None  # empty: the sender has ended; None: it has reset


class Proxy:
    """A proxy on a free port of 127.0.0.1 in front of the server of a URL, as a context manager.

    A fault holds until another method changes it; `heal` ends them all.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"{target!r} names no host and port")
        self._target = (parts.hostname, parts.port)
        [self.port] = free_ports(1)
        login = parts.netloc.rpartition("@")
        self.url = parts._replace(netloc=f"{login[0]}{login[1]}127.0.0.1:{self.port}").geturl()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._latency = 0.0
        self._left: int | None = None
        self._cut: dict[asyncio.StreamWriter, int] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many are open through it."""
        return len(self._connections)

    def latency(self, seconds: float) -> None:
        """Bytes arrive so much later, in each direction; those on their way keep their time."""
        self._do(self._change(latency=seconds))

    def stall(self) -> None:
        """No byte passes any more, new connections included; they stay open."""
        self._do(self._change(flowing=False))

    def cut(self, after_bytes: int) -> None:
        """Each connection, open or new, ends after so many more bytes from its server, which do arrive (0: instead of
        the next one)."""
        self._do(self._change(left=after_bytes))

    def reset(self) -> None:
        """Every open connection has been reset (RST); new ones are served."""
        self._do(self._reset())

    def refuse(self) -> None:
        """New connections are refused; open ones go on."""
        self._do(self._refuse())

    def heal(self) -> None:
        """All faults are over; what was held back is on its way."""
        self._do(self._heal())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=PIECE_BYTES)

    async def _refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    async def _change(self, *, latency: float | None = None, flowing: bool = True, left: int | None = None) -> None:
        if latency is not None:
            self._latency = latency
        if not flowing:
            self._flowing.clear()
        if left is not None:
            self._left = left
            self._cut.clear()

    async def _heal(self) -> None:
        self._latency, self._left = 0.0, None
        self._cut.clear()
        self._flowing.set()
        await self._listen()

    async def _reset(self) -> None:
        ended = tuple(self._connections)
        for connection in ended:
            connection.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        await asyncio.sleep(0)  # sockets close in the loop's next round

    async def _close(self) -> None:
        await self._refuse()
        await self._reset()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            if len(self._connections) <= CONNECTIONS:
                await self._serve(reader, writer)
        except asyncio.CancelledError:  # reset; asyncio would report a handler that ends so
            pass
        finally:
            _abort(writer)
            self._cut.pop(writer, None)
            self._connections.discard(connection)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target, limit=PIECE_BYTES)
        except OSError:
            return  # its client sees a reset, as from a server that dies
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, to_server, counted=False))
                both.create_task(self._pass(from_server, writer, counted=True))
            await _end(to_server)
            await _end(writer)
        except* _Cut:
            _abort(to_server)
            await _end(writer)
        except* OSError:
            pass
        finally:
            _abort(to_server)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        pieces: asyncio.Queue[_Piece] = asyncio.Queue(PIECES)
        reading = asyncio.create_task(self._read(reader, pieces))
        try:
            while True:
                piece = await pieces.get()
                await asyncio.sleep(piece.due - self._loop.time())
                await self._flowing.wait()
                if piece.body is None:
                    raise ConnectionResetError
                left = self._spend(writer, len(piece.body)) if counted else None
                writer.write(piece.body[:left])
                await writer.drain()
                if left is not None and left <= len(piece.body):
                    raise _Cut
                if not piece.body:
                    return writer.write_eof()
        finally:
            reading.cancel()

    async def _read(self, reader: asyncio.StreamReader, pieces: asyncio.Queue[_Piece]) -> None:
        body: bytes | None = b"-"
        while body:
            try:
                body = await reader.read(PIECE_BYTES)
            except OSError:
                body = None
            await pieces.put(_Piece(self._loop.time() + self._latency, body))

    def _spend(self, writer: asyncio.StreamWriter, size: int) -> int | None:
        if self._left is None:
            return None
        left = self._cut.get(writer, self._left)
        self._cut[writer] = max(0, left - size)
        return left


async def _end(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()


def _abort(writer: asyncio.StreamWriter) -> None:
    connected: socket.socket | None = writer.get_extra_info("socket")
    if connected is not None and not writer.transport.is_closing():
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
