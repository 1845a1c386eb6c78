"""Heads of requests at each limit: one below, at it, one above, a thousand times; and too many of anything at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psutil
import pytest
import pytest_asyncio

from a2a_server.web import limits
from a2a_server.web.limits import ConnectionLimits
from tests.patience import PATIENCE
from tests.server.raw import Seen, dial, serving
from tests.server.waiting import pass_by, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
AROUND = (-1, 0, 1)
MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen() -> AsyncIterator[Seen]:
    async with serving() as given:
        yield given


def target(size: int) -> bytes:
    return b"GET /" + b"a" * (size - 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"


def lines(count: int) -> bytes:
    return GET + b"X: y\r\n" * (count - 1) + b"\r\n"


def line(size: int) -> bytes:
    return GET + b"X-Long: " + b"a" * (size - len(b"X-Long: ")) + b"\r\n\r\n"


def together(size: int) -> bytes:
    """Header lines that together have `size` bytes, each within its own limit."""
    size -= len(b"Host: x")
    pieces = [GET]
    while size:
        piece = min(size, limits.MAX_HEADER_BYTES - 100)
        piece -= 10 if 0 < size - piece < 10 else 0  # so that no rest is shorter than a name
        pieces.append(b"X: " + b"a" * (piece - 3) + b"\r\n")
        size -= piece
    return b"".join(pieces) + b"\r\n"


HEADS = {
    "target": (target, limits.MAX_TARGET_BYTES, 414),
    "header lines": (lines, limits.MAX_HEADERS, 431),
    "header line": (line, limits.MAX_HEADER_BYTES, 431),
    "all header lines": (together, limits.MAX_HEAD_BYTES, 431),
}


async def status(seen: Seen, *packets: bytes) -> int:
    async with dial(seen.port) as connection:
        await connection.say(*packets)
        answer = await connection.answer()
        if answer.status != 200:
            assert answer.headers["connection"] == "close"
            assert await connection.answers() == []
        return answer.status


@pytest.mark.parametrize("by", AROUND)
@pytest.mark.parametrize("name", HEADS)
async def test_heads_around_a_limit(seen: Seen, name: str, by: int) -> None:
    build, limit, code = HEADS[name]
    head = build(limit + by)
    assert await status(seen, head) == (200 if by <= 0 else code)
    pieces = [head[at : at + 1000] for at in range(0, len(head), 1000)]
    assert await status(seen, *pieces) == (200 if by <= 0 else code)


@pytest.mark.parametrize("name", HEADS)
async def test_heads_far_beyond_a_limit(seen: Seen, name: str) -> None:
    build, limit, code = HEADS[name]
    head = build(limit * 1000)
    packets = [head[at : at + 65536] for at in range(0, len(head), 65536)]
    before = psutil.Process().memory_info().rss
    assert await status(seen, *packets) == code
    assert psutil.Process().memory_info().rss - before < 50 * MIB


@pytest.mark.parametrize("by", AROUND)
async def test_trailers_around_their_limit(seen: Seen, by: int) -> None:
    trailers = b"X: y\r\n" * (limits.MAX_HEADERS + by)
    chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"
    assert await status(seen, chunked + trailers + b"\r\n") == (200 if by <= 0 else 431)


@pytest.mark.parametrize("endless", [b"2;" + b"a" * 500_000, b"2\r\nab\r\n0\r\nX: " + b"a" * 500_000])
async def test_chunk_extensions_and_trailers_without_end(seen: Seen, endless: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await status(seen, head, *(endless[at : at + 5000] for at in range(0, len(endless), 5000))) == 431


@pytest.mark.parametrize("by", AROUND)
async def test_requests_sent_ahead(seen: Seen, by: int) -> None:
    ahead = limits.MAX_PIPELINED + by
    seen.go_on.clear()
    async with dial(seen.port) as connection:
        await connection.say(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + (GET + b"\r\n") * ahead)
        seen.go_on.set()
        expected = [200] * (limits.MAX_PIPELINED + 1 + min(by, 0)) + [400] * (by > 0)
        assert [(await connection.answer()).status for _ in expected] == expected
        if by > 0:
            assert await connection.answers() == []


async def test_ten_thousand_requests_sent_ahead(seen: Seen) -> None:
    seen.requests.clear()
    async with dial(seen.port) as connection:
        await connection.say((GET + b"\r\n") * 10_000)
        answers = await connection.answers()
    assert len(answers) == limits.MAX_PIPELINED + 2
    assert [answer.status for answer in answers[-2:]] == [200, 400]
    assert len(seen.requests) == limits.MAX_PIPELINED + 1


async def test_too_many_connections() -> None:
    async with serving(ConnectionLimits(connections=2)) as seen, AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(dial(seen.port)) for _ in range(2)]
        for connection in (first, second):
            await connection.say(GET + b"\r\n")
            assert (await connection.answer()).status == 200
        third = await stack.enter_async_context(dial(seen.port))
        [answer] = await third.answers()
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert b'"code":-32050' in answer.body
        await first.say(GET + b"\r\n")
        assert (await first.answer()).status == 200
        await second.close()

        async def admitted() -> bool:
            async with dial(seen.port) as connection:
                await connection.say(GET + b"\r\n")
                return (await connection.answer()).status == 200

        async with asyncio.timeout(PATIENCE):
            while not await admitted():  # noqa: ASYNC110 - nobody sets an event for it
                await asyncio.sleep(0.01)


@pytest.mark.asyncio(loop_scope="function")  # whose clock is set
async def test_a_thousand_idle_connections_are_closed_and_harm_nobody() -> None:
    process = psutil.Process()
    async with serving(ConnectionLimits(header_seconds=1000)) as seen, AsyncExitStack() as stack:
        before = process.memory_info().rss
        idle = [await stack.enter_async_context(dial(seen.port)) for _ in range(1000)]
        async with dial(seen.port) as connection:
            await connection.say(GET + b"\r\n")
            assert (await connection.answer()).status == 200
        assert process.memory_info().rss - before < 100 * MIB
        await pass_by(1001)
        await until(lambda: all(connection.reader.at_eof() for connection in idle))
        assert [await connection.answers() for connection in idle[:10]] == [[]] * 10
