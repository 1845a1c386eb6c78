"""A relay that stands before a server and keeps what clients sent: bytes go through as they are, both ways."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

BLOCK = 1 << 16


class Relay:
    """url: where clients find it. `target` must be set before the first of them comes."""

    def __init__(self) -> None:
        self.url = ""
        self.target = 0
        self._heard: list[bytearray] = []

    def forget(self) -> None:
        """Let go of what was sent until now."""
        for heard in self._heard:
            heard.clear()

    def methods(self) -> list[str]:
        """The JSON-RPC methods that were called, by connection and in order."""
        return [request["method"] for _, body in self._requests() if (request := _json(body))]

    def heads(self) -> list[str]:
        """The heads of all requests, in small letters."""
        return [head.lower() for head, _ in self._requests()]

    def _requests(self) -> list[tuple[str, bytes]]:
        found = []
        for heard in self._heard:
            rest = bytes(heard)
            while rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = re.search(rb"content-length: *([0-9]+)", head.lower())
                size = int(length[1]) if length else 0
                found.append((head.decode("latin-1"), rest[:size]))
                rest = rest[size:]
        return found

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both sides have ended it."""
        heard = bytearray()
        self._heard.append(heard)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(_pump(reader, there_writer, heard), _pump(there_reader, writer, bytearray()))


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """A relay on a free port of 127.0.0.1."""
    made = Relay()
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    try:
        while block := await reader.read(BLOCK):
            heard += block
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _json(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body) if body else {}
    return found
