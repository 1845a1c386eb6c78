"""What connections and request heads are held to; `protocol` enforces it, and bodies of JSON-RPC are `bodies`' matter.

Source: RFC 9110 section 15.5, RFC 6585 section 5, RFC 9112.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

from a2a_server.values import value_class

KIB: Final = 1024
MAX_TARGET_BYTES: Final = 8 * KIB
"""Longest request target (path and query): 414 beyond."""
MAX_HEADERS: Final = 64
"""Header lines of a request, and as many trailer lines: 431 beyond."""
MAX_HEADER_BYTES: Final = 8 * KIB
"""Longest header line, without what ends it: 431 beyond."""
MAX_HEAD_BYTES: Final = 64 * KIB
"""All header lines of a request together: 431 beyond."""
MAX_PIPELINED: Final = 16
"""Requests that may wait on one connection behind the one that is answered: 400 beyond."""
LINGER_SECONDS: Final = 5.0
"""How long a client that was refused may go on sending before it is cut; what it sends is dropped."""


@value_class(frozen=True, slots=True)
class ConnectionLimits:
    """What one process grants to connections.

    connections: open at once. header_seconds: from the connection, or a later request's first byte, to the end of its
    head. body_stall_seconds: the window in which a body has to bring `body_bytes_per_second` on average.
    """

    connections: int = 10_000
    header_seconds: float = 10.0
    body_stall_seconds: float = 30.0
    body_bytes_per_second: int = 1024


class Refusal(NamedTuple):
    """The answer to what is no request, or no longer one: the status, and one sentence.

    `retry_after_seconds`: 0 = not said.
    """

    status: HTTPStatus
    text: str
    retry_after_seconds: int = 0


MALFORMED = Refusal(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request.")
NOT_ONE_LENGTH = Refusal(HTTPStatus.BAD_REQUEST, "Say the body's length once: Content-Length, or chunked.")
WRONG_VERSION = Refusal(HTTPStatus.BAD_REQUEST, "This server speaks HTTP/1.1 and HTTP/1.0.")
TOO_MANY_AT_ONCE = Refusal(
    HTTPStatus.BAD_REQUEST, f"Wait for answers: at most {MAX_PIPELINED} requests may be sent ahead on a connection."
)
TARGET_TOO_LONG = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG, f"The request target is longer than {MAX_TARGET_BYTES} bytes."
)
HEAD_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"Send at most {MAX_HEADERS} header lines of {MAX_HEADER_BYTES} bytes, and {MAX_HEAD_BYTES} bytes together.",
)
HEAD_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "The request's headers took too long (header_seconds).")
BODY_TOO_SLOW = Refusal(
    HTTPStatus.REQUEST_TIMEOUT, "The request's body came too slowly (body_stall_seconds, body_bytes_per_second)."
)
TOO_MANY_CONNECTIONS = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections (max_connections); try again.", retry_after_seconds=1
)
