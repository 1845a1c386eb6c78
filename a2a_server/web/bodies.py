"""Bodies of JSON-RPC requests on their way in: their form, their size, and the memory that all of them take together.

What is in them, `wire.jsonrpc` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from a2a_server.errors import ClientError, ContentTypeNotSupported, InvalidRequest, Overloaded

MEDIA_TYPES = frozenset({"application/json", "application/a2a+json"})
RETRY_SECONDS = 1


class Refused(Exception):
    """The body is not taken: the HTTP status, and the error that its JSON-RPC answer carries."""

    def __init__(self, status: int, error: ClientError) -> None:
        self.status = status
        self.error = error
        super().__init__(status)


class Share:
    """What one request takes of the memory for all bodies, until it is given back."""

    __slots__ = ("_bodies", "size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    def grow(self, size: int) -> None:
        """More came. Raises Refused (413, 503) where one body, or all of them, would be too large."""
        if self.size + size > self._bodies.largest:
            limit = self._bodies.largest
            raise Refused(413, InvalidRequest(f"The request is larger than {limit} bytes (body_limit_bytes)."))
        if self._bodies.held + size > self._bodies.together:
            text = "Too many requests are being read or answered (bodies_bytes); try again."
            raise Refused(503, Overloaded(text, retry_after_seconds=RETRY_SECONDS))
        self.size += size
        self._bodies.held += size

    def give_back(self) -> None:
        """The request is answered, or refused."""
        self._bodies.held -= self.size
        self.size = 0


class Bodies:
    """Counts bytes while they come, whatever `Content-Length` says.

    largest: bytes of one body. together: of all that are being read or answered. held: how many that are now.
    """

    def __init__(self, largest: int, together: int) -> None:
        self.largest = largest
        self.together = together
        self.held = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive, share: Share) -> bytes:
        """The whole body.

        Args:
            headers: of the request, by lower-case names.
            receive: as in ASGI.
            share: grows by the body's size.

        Raises:
            Refused: a content type or encoding that is not taken (415), or too large (413, 503).
            ClientDisconnect: the client went away.
        """
        if _media_type(headers.get(b"content-type", b"")) not in MEDIA_TYPES:
            raise Refused(415, ContentTypeNotSupported("The content type must be application/json."))
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refused(415, ContentTypeNotSupported("Encoded bodies are not taken; send plain JSON."))
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced[:20]) > self.largest:
            share.grow(self.largest + 1)  # refused before it comes
        pieces: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            share.grow(len(piece))
            if not message.get("more_body", False):
                return b"".join((*pieces, piece)) if pieces else piece
            pieces.append(piece)


@lru_cache(maxsize=64)  # clients say the same few
def _media_type(header: bytes) -> str:
    return header.decode("latin-1").partition(";")[0].strip().lower()
