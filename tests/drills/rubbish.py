"""Bytes that no client would send: bodies that are hardly JSON, and heads that are hardly HTTP."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.drills.mutations import OTHERS, encode, tree

_GET = b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"nobody knows it"}}'
_ALPHABET = b'{}[]",:0123456789.eE+-truefalsn \\u\x00\xff\xc3\xa4\n'
_METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"BREW",
    b"PRI",
    b"get",
    b"M-SEARCH",
    b"",
)
_TARGETS = (
    b"/",
    b"/tasks/send",
    b"*",
    b"http://127.0.0.1/",
    b"//x",
    b"/%00",
    b"/%zz",
    b"/?A2A-Version=9",
    b"?",
    b"",
    b"x",
)
_VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/9.9",
    b"HTTP/1.",
    b"http/1.1",
    b"RTSP/1.0",
    b"",
    b"HTTP/1.1 x",
)
_LINES = (
    *(b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 5", b"Content-Length: 1e3", b"Content-Length:"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"),
    *(b"Connection: close", b"Connection: upgrade", b"Upgrade: h2c", b"Upgrade: websocket", b"Expect: 100-continue"),
    *(
        b"Expect: x",
        b"Host: evil.example",
        b"Host: ",
        b"X: " + b"a" * 9000,
        b" folded",
        b"no colon",
        b"X\0: y",
        b"X: \xff",
    ),
    *(b"Content-Type: text/plain", b"Content-Encoding: gzip", b"A2A-Version: \xff", b"Last-Event-ID: \xff", b": x"),
    *(
        b"Accept: text/event-stream",
        b"Range: bytes=-",
        b"Cookie: " + b"a=b; " * 500,
        b"Content-Type: application/json; x",
    ),
)
_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\n\r\n", b"\0\r\n")


@dataclass(frozen=True, slots=True)
class Wire:
    """What is written to a socket, packet by packet. slow: then nothing more comes, and the server has to close."""

    packets: tuple[bytes, ...]
    slow: bool = False


def body(rng: random.Random, good: bytes) -> bytes:
    """A body: noise, odd JSON, or a good one that is cut, bent or repeated."""
    return rng.choice((_noise, _odd, _nested, _batch, _cut, _bent, _bent, _doubled))(rng, good)


def wire(rng: random.Random, good: bytes) -> Wire:
    """What is written to a socket."""
    head = _head(rng, good)
    kinds: tuple[Callable[[], Wire], ...] = (
        lambda: Wire((rng.randbytes(rng.randint(1, 2000)),)),
        lambda: Wire((head, good)),
        lambda: Wire((head + good,)),
        lambda: Wire((_bent(rng, _plain(good)),)),
        lambda: Wire((_bent(rng, _chunked(rng, good)),)),
        lambda: Wire((_cut(rng, _plain(good)),)),
        lambda: Wire(tuple(bytes([byte]) for byte in _cut(rng, _plain(good))[:300])),
        lambda: Wire((_plain(good) * rng.randint(2, 30) + rng.randbytes(rng.randint(0, 50)),)),
        lambda: Wire((_plain(good) + head + _plain(good),)),
    )
    return rng.choice(kinds)()


def slow(rng: random.Random, good: bytes) -> Wire:
    """A request that never ends."""
    whole = rng.choice((_plain(good), _chunked(rng, good)))
    return Wire((whole[: rng.randint(1, len(whole) - 1)],), slow=True)


def _plain(good: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(good) + good


def _chunked(rng: random.Random, good: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    at = rng.randint(1, len(good) - 1)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (good[:at], good[at:]))
    return head + chunks + b"0\r\n\r\n"


def _head(rng: random.Random, good: bytes) -> bytes:
    end = rng.choice(_ENDS)
    start = [b" ".join((rng.choice(_METHODS), rng.choice(_TARGETS), rng.choice(_VERSIONS)))]
    if rng.random() < 0.7:  # most of it is right, so that the rest is reached
        start = [b"POST / HTTP/1.1", b"Host: localhost", b"Content-Type: application/json"]
        start += [b"Content-Length: %d" % len(good)] if rng.random() < 0.5 else []
    lines = [*start, *rng.sample(_LINES, rng.randint(0, 4)), *([b"X: y"] * rng.choice((0, 0, 0, 80)))]
    return b"".join(line + (end if rng.random() < 0.3 else b"\r\n") for line in lines) + b"\r\n"


def _noise(rng: random.Random, _good: bytes) -> bytes:
    if rng.random() < 0.5:
        return rng.randbytes(rng.randint(0, 500))
    return bytes(rng.choices(_ALPHABET, k=rng.randint(1, 300)))


def _odd(rng: random.Random, _good: bytes) -> bytes:
    return encode(tree(rng.choice(OTHERS)))


def _nested(rng: random.Random, _good: bytes) -> bytes:
    depth = rng.choice((10, 63, 65, 1000, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opened * depth + b"1" + closed * rng.choice((depth, depth - 1, 0))


def _batch(rng: random.Random, good: bytes) -> bytes:
    few = [
        rng.choice((good, _GET, encode(tree(rng.choice(OTHERS))) or b"0")) for _ in range(rng.choice((0, 1, 3, 101)))
    ]
    return b"[" + b",".join(few) + b"]"


def _cut(rng: random.Random, good: bytes) -> bytes:
    return good[: rng.randint(0, len(good) - 1)]


def _bent(rng: random.Random, good: bytes) -> bytes:
    bent = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(bent))
        if rng.random() < 0.5:
            bent[at] = rng.randrange(256)
        else:
            bent[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(bent)


def _doubled(rng: random.Random, good: bytes) -> bytes:
    return good + rng.choice((b"", b" ", b",", b"\n", b"\0")) + rng.choice((good, json.dumps("x").encode()))
