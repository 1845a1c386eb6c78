"""One request and its answer on a connection: uvicorn's cycle, whose answers take fewer steps and fewer writes.

Theory of operation. The head of an answer waits for the first piece of its body, as ASGI says it must; so an answer
that is there as a whole is one write, and so are a stream's head and its first events. Header lines are few and come
again and again, so what was checked and written once is remembered, and the same holds for request targets. All else,
errors of applications included, is as uvicorn does it.

Source: ASGI HTTP specification 2.3, "Response Start".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

if TYPE_CHECKING:
    from a2a_server.web.protocol import Protocol

_REMEMBERED: Final = 256
_SHORT_BYTES: Final = 256  # of a target that is remembered
_NO_CONTENT: Final = frozenset({204, 304})
_COPIED_BYTES: Final = 16 * 1024  # up to here, pieces are copied into one


class Target(NamedTuple):
    """What a request target names: the path as it came and decoded, and the query without its question mark."""

    path: str
    raw_path: bytes
    query: bytes


def target(url: bytes) -> Target:
    """A request target. Raises httptools.HttpParserInvalidURLError, UnicodeDecodeError."""
    return _short_target(url) if len(url) <= _SHORT_BYTES else _target(url)


def _target(url: bytes) -> Target:
    parsed = parse_url(url)
    path = parsed.path.decode("ascii")
    return Target(unquote(path) if "%" in path else path, parsed.path, parsed.query or b"")


_short_target = lru_cache(_REMEMBERED)(_target)


class _Meaning(NamedTuple):
    """What a header line of an answer says of its body (length: None = nothing), and of the connection."""

    length: int | None
    chunked: bool
    closes: bool


_NOTHING_MEANT: Final = _Meaning(None, chunked=False, closes=False)


@lru_cache(_REMEMBERED)
def _line(name: bytes, value: bytes) -> tuple[bytes, _Meaning | None]:
    if HEADER_RE.search(name):
        raise RuntimeError("Invalid HTTP header name.")
    if HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header value.")
    name = name.lower()
    meaning = _Meaning(
        int(value) if name == b"content-length" else None,
        chunked=name == b"transfer-encoding" and value.lower() == b"chunked",
        closes=name == b"connection" and b"close" in [token.lower().strip() for token in value.split(b",")],
    )
    return b"%s: %s\r\n" % (name, value), None if meaning == _NOTHING_MEANT else meaning


class Cycle(RequestResponseCycle):
    """One request and its answer, made by `Protocol`."""

    _head: bytes = b""  # of the answer, until its body begins

    async def send(self, message: Any) -> None:  # noqa: ANN401 - an ASGI message, whoever's types it has
        """A piece of the answer. Waits while the client reads too slowly; does nothing once it is gone."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            self._begin(message["status"], message.get("headers", ()))
        elif self.response_complete:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' sent, after response already completed.")
        elif kind != "http.response.body":
            raise RuntimeError(f"Expected ASGI message 'http.response.body', but got '{kind}'.")
        else:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        if self.access_log:
            target, version = get_path_with_query_string(self.scope), self.scope["http_version"]
            asked = get_client_addr(self.scope), self.scope["method"], target, version
            self.access_logger.info('%s - "%s %s HTTP/%s" %d', *asked, status)
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in (*self.default_headers, *headers):
            line, meaning = _line(name, value)
            lines.append(line)
            if meaning is None:
                continue
            if meaning.closes:
                closes = True
                self.keep_alive = False
            elif meaning.chunked:
                self.chunked_encoding, self.expected_content_length = True, 0
            elif meaning.length is not None and self.chunked_encoding is None:
                self.chunked_encoding, self.expected_content_length = False, meaning.length
        if not (self.keep_alive or closes):
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and status not in _NO_CONTENT and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _go_on(self, body: bytes, *, more: bool) -> None:
        pieces = [self._head] if self._head else []
        self._head = b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if body:
                pieces += (b"%x\r\n" % len(body), body, b"\r\n")
            if not more:
                pieces.append(b"0\r\n\r\n")
        else:
            if len(body) > self.expected_content_length:
                raise RuntimeError("Response content longer than Content-Length")
            self.expected_content_length -= len(body)
            pieces.append(body)
        self._write(pieces if len(body) > _COPIED_BYTES else (b"".join(pieces),))
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.transport.write(piece)


class Closer:
    """The transport as a request's answer sees it: closing waits for a client that is still sending."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.write = protocol.transport.write

    def is_closing(self) -> bool:
        """Part of asyncio's transports."""
        return self._protocol.lingers or self._protocol.transport.is_closing()

    def close(self) -> None:
        """Close politely."""
        if self._protocol.cycle.more_body:
            self._protocol.linger()
        else:
            self._protocol.transport.close()
