"""Answers on the connection: what an application sends, byte for byte, whatever it does wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from a2a_server.web.limits import ConnectionLimits
from tests.server.raw import dial, serving
from tests.server.waiting import pass_by

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEADERS = [(b"Content-Type", b"text/plain")]
LARGE = b"0123456789abcdef" * 16_384

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def sends(*pieces: bytes, headers: list[tuple[bytes, bytes]] | None = None, status: int = 200) -> Application:
    """An application that answers with these pieces of a body, the last of them said to be the last."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": status, "headers": HEADERS if headers is None else headers}
        await send(start)
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})

    return application


async def said(application: Application, *asked: bytes) -> tuple[list[bytes], bytes]:
    """The head's lines without the date, and everything behind them."""
    config: dict[str, Any] = {"server_header": False, "date_header": False}
    async with serving(application=application, **config) as seen, dial(seen.port) as connection:
        await connection.say(*(asked or (LAST,)))
        head, _, rest = (await connection.everything()).partition(b"\r\n\r\n")
        return head.split(b"\r\n"), rest


async def test_a_body_of_known_length_follows_its_head() -> None:
    head, body = await said(sends(b"whole", headers=[(b"Content-Length", b"5")]))
    assert head == [b"HTTP/1.1 200 OK", b"content-length: 5", b"connection: close"]
    assert body == b"whole"


async def test_a_body_of_unknown_length_comes_in_chunks_and_its_last_piece_ends_it() -> None:
    head, body = await said(sends(b"one", b"", b"two"))
    assert head[1:] == [b"content-type: text/plain", b"connection: close", b"transfer-encoding: chunked"]
    assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize("headers", [HEADERS, [(b"content-length", b"%d" % len(LARGE))]])
async def test_large_pieces_come_whole(headers: list[tuple[bytes, bytes]]) -> None:
    _, body = await said(sends(LARGE, headers=headers))
    size = b"%x\r\n" % len(LARGE)
    assert body == (size + LARGE + b"\r\n0\r\n\r\n" if headers is HEADERS else LARGE)


async def test_head_is_answered_with_a_head_alone() -> None:
    head, body = await said(sends(b"whole", headers=[(b"content-length", b"5")]), LAST.replace(b"GET", b"HEAD"))
    assert head[:2] == [b"HTTP/1.1 200 OK", b"content-length: 5"]
    assert body == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_no_length(status: int) -> None:
    head, body = await said(sends(b"", headers=[], status=status))
    assert head[1:] == [b"connection: close"]
    assert body == b""


async def test_an_application_may_close_the_connection() -> None:
    head, _ = await said(sends(b"", headers=[(b"Connection", b"x, Close"), (b"content-length", b"0")]), ASKED)
    assert head[1:] == [b"connection: x, Close", b"content-length: 0"]


async def test_1_0_is_answered_once() -> None:
    head, _ = await said(sends(b"x", headers=[(b"content-length", b"1")]), ASKED.replace(b"1.1", b"1.0"))
    assert head[1:] == [b"content-length: 1", b"connection: close"]


@pytest.mark.parametrize(
    "headers",
    [[(b"a name", b"value")], [(b"name", b"a\r\nvalue")], [(b"content-length", b"4")]],
    ids=["name", "value", "length"],
)
async def test_nothing_is_sent_of_an_answer_that_cannot_be(headers: list[tuple[bytes, bytes]]) -> None:
    assert await said(sends(b"longer", headers=headers), ASKED) == ([b""], b"")


async def test_a_body_that_falls_short_ends_with_the_connection() -> None:
    _, body = await said(sends(b"short", headers=[(b"content-length", b"6")]), ASKED)
    assert body == b"short"


async def test_a_head_without_a_body_is_no_answer() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken")

    assert await said(breaks, ASKED) == ([b""], b"")


async def test_a_connection_rests_from_its_last_answer_on() -> None:
    held = ConnectionLimits(header_seconds=10_000)
    async with serving(held, timeout_keep_alive=1000) as seen, dial(seen.port) as connection:
        for _ in range(4):
            await pass_by(400)  # together longer than it may rest
            await connection.say(ASKED)
            assert (await connection.answer()).status == 200
        await pass_by(990)
        assert not connection.reader.at_eof()
        await pass_by(11)
        assert await connection.answers() == []
