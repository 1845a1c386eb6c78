"""Clients that are slow, silent, or still sending when they are refused: closed in time, with a readable answer."""

from __future__ import annotations

import asyncio

import pytest

from a2a_server.web import limits
from a2a_server.web.limits import ConnectionLimits
from tests.patience import PATIENCE
from tests.server.raw import Connection, dial, serving
from tests.server.waiting import pass_by, until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def drip(connection: Connection, piece: bytes, gap: float = 0.01) -> None:
    while not connection.reader.at_eof():
        await connection.say(piece)
        await asyncio.sleep(gap)


async def endlessly(connection: Connection) -> None:
    while True:
        connection.writer.write(b"more")
        await connection.writer.drain()
        await asyncio.sleep(0.01)


SLOW_HEADS = {
    "nothing more": (b"GET / HT", b""),
    "byte by byte": (b"GET / HTTP/1.1\r\nX: ", b"a"),
    "line by line": (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
    "only line ends": (b"\r\n", b"\r\n"),
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", SLOW_HEADS)
async def test_slow_headers(name: str, later: bool) -> None:
    begin, more = SLOW_HEADS[name]
    held = ConnectionLimits(header_seconds=1000)
    async with serving(held, timeout_keep_alive=10_000) as seen, dial(seen.port) as connection:
        if later:
            await connection.say(GET + b"\r\n")
            assert (await connection.answer()).status == 200
        await connection.say(begin)
        dripping = asyncio.create_task(drip(connection, more))
        await pass_by(900)
        assert connection.silent
        await pass_by(101)
        [answer] = await connection.answers()
        await dripping
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b"header_seconds" in answer.body


SLOW_BODIES = {
    "nothing": (POST, b""),
    "chunks, nothing": (CHUNKED, b""),
    "below the floor": (POST, b"a"),
    "chunks below the floor": (CHUNKED, b"1\r\na\r\n"),
    "only an extension": (CHUNKED + b"2;", b"a"),
}


@pytest.mark.parametrize("name", SLOW_BODIES)
async def test_slow_bodies(name: str) -> None:
    begin, more = SLOW_BODIES[name]
    held = ConnectionLimits(body_stall_seconds=1000, body_bytes_per_second=1)
    async with serving(held) as seen, dial(seen.port) as connection:
        await connection.say(begin)
        dripping = asyncio.create_task(drip(connection, more))
        await pass_by(900)
        assert connection.silent
        await pass_by(101)
        [answer] = await connection.answers()
        await dripping
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert b"body_stall_seconds" in answer.body
        await until(lambda: seen.gone == 1)
        assert not seen.bodies


async def test_a_body_above_the_floor_may_take_its_time() -> None:
    held = ConnectionLimits(body_stall_seconds=1000, body_bytes_per_second=1)
    async with serving(held) as seen, dial(seen.port) as connection:
        await connection.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n")
        for _ in range(40):
            await connection.say(b"a" * 1000)
            await pass_by(400)
        assert (await connection.answer()).body == b"40000"


async def test_a_body_that_the_application_does_not_take_is_not_late() -> None:
    held = ConnectionLimits(body_stall_seconds=1000, body_bytes_per_second=1)
    async with serving(held) as seen, dial(seen.port) as connection:
        seen.go_on.clear()
        sending = asyncio.create_task(
            connection.say(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n", b"a" * 20_000_000)
        )
        for _ in range(4):
            await pass_by(1000)
        seen.go_on.set()
        assert (await connection.answer()).body == b"20000000"
        await sending


async def test_who_goes_on_sending_after_a_refusal_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINGER_SECONDS", 0.2)
    async with serving() as seen, dial(seen.port) as connection:
        await connection.say(b"rubbish\r\n")
        assert [answer.status for answer in await connection.answers()] == [400]
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(ConnectionError):
                await endlessly(connection)


async def test_a_request_that_is_being_answered_is_in_no_hurry() -> None:
    held = ConnectionLimits(header_seconds=1000, body_stall_seconds=1000)
    async with serving(held, timeout_keep_alive=10_000) as seen, dial(seen.port) as connection:
        seen.go_on.clear()
        await connection.say(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await pass_by(3000)
        seen.go_on.set()
        assert (await connection.answer()).status == 200
        await pass_by(3000)  # idle: that is the keep-alive's time
        await connection.say(GET + b"\r\n")
        assert (await connection.answer()).status == 200


async def test_idle_connections_are_closed_without_a_word() -> None:
    async with serving(timeout_keep_alive=1) as seen, dial(seen.port) as connection:
        await connection.say(GET + b"\r\n")
        assert (await connection.answer()).status == 200
        assert await connection.answers() == []


async def test_a_body_that_breaks_off_wakes_the_application() -> None:
    async with serving() as seen:
        async with dial(seen.port) as connection:
            await connection.say(POST + b"a" * 50_000)
            await until(lambda: len(seen.requests) == 1)
        await until(lambda: seen.gone == 1)


async def test_who_is_answered_early_reads_it_though_the_body_goes_on() -> None:
    size = 30_000_000
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    async with serving() as seen, dial(seen.port) as connection:
        await connection.say(head + b"a" * size)
        assert [answer.status for answer in await connection.answers()] == [413]
    assert not seen.bodies


async def test_every_request_of_a_lost_connection_hears_of_it() -> None:
    ahead = b"GET /abort HTTP/1.1\r\nHost: x\r\n\r\n"
    async with serving() as seen, dial(seen.port) as connection:
        await connection.say(ahead + GET + b"\r\n" + GET + b"\r\n")
        assert await connection.everything() == b""
        await until(lambda: seen.gone == 1)
        assert [path for _, path, _ in seen.requests] == ["/abort"]


async def test_nobody_is_asked_for_the_rest_of_a_body_that_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The application asks for the body, and so says "100 Continue", when the answer has been given already."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    async with serving(ConnectionLimits()) as seen, dial(seen.port) as connection:
        await connection.say(head + b"no size\r\n")
        [answer] = await connection.answers()
        assert answer.status == 400
    assert caplog.records == []
