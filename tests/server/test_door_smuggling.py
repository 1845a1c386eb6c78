"""Requests whose end two servers could see in different places: refused, or read one way. RFC 9112 section 11.2.

Behind each stands another request, as a smuggler would hide it; it must not be answered where the first is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.raw import Seen, dial, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
SIX = b"Content-Length: 6\r\n"
NOTHING = b"0\r\n\r\n"

REFUSED = {
    "CL.TE": POST + SIX + b"Transfer-Encoding: chunked\r\n\r\n" + NOTHING + b"X",
    "TE.CL": CHUNKED + SIX + b"\r\n" + NOTHING + b"X",
    "TE.TE identity last": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + NOTHING,
    "TE.TE identity first": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + NOTHING,
    "TE.TE twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n" + NOTHING,
    "TE list": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + NOTHING,
    "TE gzip": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + NOTHING,
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + NOTHING,
    "TE identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + NOTHING,
    "TE quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + NOTHING,
    "TE empty": POST + b"Transfer-Encoding:\r\n\r\n" + NOTHING,
    "TE vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + NOTHING,
    "TE space": POST + b"Transfer-Encoding : chunked\r\n\r\n" + NOTHING,
    "TE folded": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + NOTHING,
    "TE in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + NOTHING,
    "CL.CL different": POST + SIX + b"Content-Length: 3\r\n\r\nabcdef",
    "CL.CL same": POST + SIX + SIX + b"\r\nabcdef",
    "CL list": POST + b"Content-Length: 6, 6\r\n\r\nabcdef",
    "CL plus": POST + b"Content-Length: +6\r\n\r\nabcdef",
    "CL minus": POST + b"Content-Length: -6\r\n\r\nabcdef",
    "CL hex": POST + b"Content-Length: 0x6\r\n\r\nabcdef",
    "CL two": POST + b"Content-Length: 6 6\r\n\r\nabcdef",
    "CL huge": POST + b"Content-Length: 99999999999999999999\r\n\r\nabcdef",
    "CL empty": POST + b"Content-Length:\r\n\r\nabcdef",
    "CL space": POST + b"Content-Length : 6\r\n\r\nabcdef",
    "folded": POST + b"X: a\r\n b\r\n" + SIX + b"\r\nabcdef",
    "folded first": b"POST / HTTP/1.1\r\n Host: x\r\n\r\n",
    "bare LF after the request line": b"POST / HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF after a header": POST + b"X: y\n" + SIX + b"\r\nabcdef",
    "bare LF at the end": POST + b"\n",
    "two bare LF": POST + b"X: y\n\n",
    "bare CR": POST + b"X: a\rb\r\n\r\n",
    "NUL in a value": POST + b"X: a\0b\r\n\r\n",
    "NUL in a name": POST + b"X\0: a\r\n\r\n",
    "control in a value": POST + b"X: a\x01b\r\n\r\n",
    "space in a name": POST + b"X Y: a\r\n\r\n",
    "no colon": POST + b"XY\r\n\r\n",
    "no name": POST + b": a\r\n\r\n",
    "name not ASCII": POST + b"\xc3\xa4: a\r\n\r\n",
    "chunk size no number": CHUNKED + b"\r\nzz\r\nab\r\n" + NOTHING,
    "chunk size 0x": CHUNKED + b"\r\n0x2\r\nab\r\n" + NOTHING,
    "chunk size negative": CHUNKED + b"\r\n-2\r\nab\r\n" + NOTHING,
    "chunk size of 17 digits": CHUNKED + b"\r\nfffffffffffffffff\r\nab\r\n" + NOTHING,
    "chunk with LF": CHUNKED + b"\r\n2\nab\n0\n\n",
    "chunk data with LF": CHUNKED + b"\r\n2\r\nab\n" + NOTHING,
    "chunk size with space": CHUNKED + b"\r\n2 \r\nab\r\n" + NOTHING,
    "chunk longer than it says": CHUNKED + b"\r\n2\r\nabc\r\n" + NOTHING,
    "chunk extension with LF": CHUNKED + b"\r\n2;a\nab\r\n" + NOTHING,
    "trailer that says a length": CHUNKED + b"\r\n2\r\nab\r\n0\r\nContent-Length: 5\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case http": b"GET / http/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tabs": b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "target not ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}
READ_ONE_WAY: dict[str, tuple[bytes, bytes]] = {
    "chunked": (CHUNKED + b"\r\n2\r\nab\r\n" + NOTHING, b"ab"),
    "chunked after a tab": (POST + b"Transfer-Encoding:\tchunked\r\n\r\n2\r\nab\r\n" + NOTHING, b"ab"),
    "chunk extension": (CHUNKED + b"\r\n2;a=b\r\nab\r\n" + NOTHING, b"ab"),
    "spaces around a length": (POST + b"Content-Length:   6  \r\n\r\nabcdef", b"abcdef"),
    "GET with a body": (b"GET / HTTP/1.1\r\nHost: x\r\n" + SIX + b"\r\nabcdef", b"abcdef"),
    "GET with chunks": (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" + NOTHING, b"ab"),
    "no length": (POST + b"\r\n", b""),
    "line ends before it": (b"\r\n\r\n" + POST + SIX + b"\r\nabcdef", b"abcdef"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen() -> AsyncIterator[Seen]:
    async with serving() as given:
        yield given


@pytest.mark.parametrize("pieces", ["one packet", "every byte"])
@pytest.mark.parametrize("name", REFUSED)
async def test_refused(seen: Seen, name: str, pieces: str) -> None:
    seen.requests.clear()
    whole = REFUSED[name] + EVIL
    packets = [whole] if pieces == "one packet" else [bytes([byte]) for byte in whole]
    async with dial(seen.port) as connection:
        await connection.say(*packets)
        answers = await connection.answers()
    assert [answer.status for answer in answers] == [400]
    assert answers[0].headers["connection"] == "close"
    assert len(answers[0].body) < 200
    assert "/evil" not in [path for _, path, _ in seen.requests]


@pytest.mark.parametrize("name", READ_ONE_WAY)
async def test_read_one_way(seen: Seen, name: str) -> None:
    seen.requests.clear()
    seen.bodies.clear()
    request, body = READ_ONE_WAY[name]
    async with dial(seen.port) as connection:
        await connection.say(request + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.answer()).body == b"%d" % len(body)
        assert (await connection.answer()).status == 200
    assert [path for _, path, _ in seen.requests] == ["/", "/next"]
    assert seen.bodies == [body, b""]


async def test_what_follows_the_last_request_of_a_connection_is_not_read(seen: Seen) -> None:
    seen.requests.clear()
    async with dial(seen.port) as connection:
        await connection.say(POST + b"Connection: close\r\n" + SIX + b"\r\nabcdef" + EVIL)
        assert [answer.status for answer in await connection.answers()] == [200]
    assert [path for _, path, _ in seen.requests] == ["/"]


async def test_trailers_are_no_headers(seen: Seen) -> None:
    seen.requests.clear()
    async with dial(seen.port) as connection:
        await connection.say(CHUNKED + b"\r\n2\r\nab\r\n", b"0\r\nHost: evil\r\nX-Late: 1\r\n\r\n")
        assert (await connection.answer()).body == b"2"
    assert seen.requests[0][2] == {"host": "x", "transfer-encoding": "chunked"}


async def test_a_refusal_waits_for_the_answers_before_it(seen: Seen) -> None:
    seen.requests.clear()
    seen.go_on.clear()
    async with dial(seen.port) as connection:
        await connection.say(
            b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + POST + SIX + b"\r\nabcdef" + b"rubbish\r\n" + EVIL
        )
        await connection.say(EVIL)
        seen.go_on.set()
        answers = await connection.answers()
    assert [(answer.status, answer.body) for answer in answers[:2]] == [(200, b"0"), (200, b"6")]
    assert [answer.status for answer in answers[2:]] == [400]
    assert [path for _, path, _ in seen.requests] == ["/wait", "/"]


async def test_a_queued_request_whose_body_breaks_is_not_begun(seen: Seen) -> None:
    seen.requests.clear()
    seen.go_on.clear()
    async with dial(seen.port) as connection:
        await connection.say(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + CHUNKED + b"\r\n2\r\nab\r\nzz\r\n" + EVIL)
        seen.go_on.set()
        assert [answer.status for answer in await connection.answers()] == [200, 400]
    assert [path for _, path, _ in seen.requests] == ["/wait"]
