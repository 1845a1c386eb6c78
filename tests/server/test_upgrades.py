"""Requests that ask for another protocol, as Java's HttpClient does, are answered in this one. RFC 9110 section 7.8."""

from __future__ import annotations

import asyncio
import json
import logging
from urllib.parse import urlsplit

import pytest

from a2a_server.testing import Connection
from tests.patience import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "GetTask", "params": {"id": "nobody knows it"}}).encode()
WATCHDOG = "a2a_server.engine.watchdog"
"""Its log tells of a machine that stood still too, which is no matter here."""

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (9, BODY[:9], len(BODY) - 9, BODY[9:])
PLAIN = HEAD + LENGTH + BODY

PACKETS = {
    "one packet": [HEAD + H2C + LENGTH + BODY],
    "head, then body": [HEAD + H2C + LENGTH, BODY],
    "body in pieces": [HEAD + H2C + LENGTH + BODY[:5], BODY[5:40], BODY[40:]],
    "head in pieces": [HEAD + H2C[:50], H2C[50:] + LENGTH[:-2], LENGTH[-2:] + BODY],
    "every byte": [bytes([byte]) for byte in HEAD + H2C + LENGTH + BODY],
    "chunked": [HEAD + H2C + CHUNKED + CHUNKS],
    "chunked later": [HEAD + H2C + CHUNKED, CHUNKS],
    "websocket": [HEAD + WEBSOCKET + LENGTH, BODY],
}


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(PATIENCE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.split("\r\n") if line.startswith("content-length:"))
        return int(head.split()[1]), await reader.readexactly(int(length.partition(":")[2]))


@pytest.mark.parametrize("name", PACKETS)
async def test_the_body_is_read_and_the_connection_goes_on(
    server: Connection, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    target = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    for packets in (PACKETS[name], [PLAIN], PACKETS[name]):
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0)
        status, body = await answer(reader)
        assert (status, json.loads(body)["error"]["code"], json.loads(body)["id"]) == (200, -32001, 7)
    writer.close()
    await writer.wait_closed()
    loud = [record for record in caplog.records if record.levelno > logging.INFO]
    assert not [record for record in loud if record.name != WATCHDOG]


async def test_requests_behind_it_in_one_packet(server: Connection) -> None:
    target = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(HEAD + H2C + LENGTH + BODY + PLAIN + HEAD + H2C + LENGTH + BODY)
    for _ in range(3):
        assert (await answer(reader))[0] == 200
    writer.close()
    await writer.wait_closed()


async def test_a_request_without_a_body(server: Connection) -> None:
    target = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + H2C + b"\r\n")
    assert (await answer(reader))[0] == 200
    writer.write(b"CONNECT x:80 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        assert (await reader.readline()).startswith(b"HTTP/1.1 4")
    writer.close()
    await writer.wait_closed()
