"""Range requests: which bytes of a representation a client asks for. Source: RFC 9110 section 14."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request

from a2a_server.values import value_class

# More digits than any object has bytes; a header that does not look so is ignored, as the specification allows.
_RANGE: Final = re.compile(
    r"bytes=[ \t]*(?:([0-9]{1,20})-([0-9]{0,20})|-([0-9]{1,20}))[ \t]*", re.ASCII | re.IGNORECASE
)


class UnsatisfiableRangeError(Exception):
    """No byte of the representation is in the range: 416 with `Content-Range: bytes */{size}`."""


@value_class(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` to before `end`."""

    start: int
    end: int

    def of(self, size: int) -> str:
        """What Content-Range says."""
        return f"bytes {self.start}-{self.end - 1}/{size}"


def asked_range(request: Request, size: int, etag: str) -> ByteRange | None:
    """The one range that the request asks for, cut to the size; None = everything.

    Several ranges in one request get everything, and so does whoever has another version (If-Range).

    Args:
        request: only GET has ranges (section 14.2).
        size: of the representation, in bytes.
        etag: strong, in its quotes; there is no date to compare with.

    Raises:
        UnsatisfiableRangeError: the range begins behind the last byte, or has no length.
    """
    if request.method != "GET" or len(named := request.headers.getlist("range")) != 1:
        return None
    if request.headers.get("if-range", etag).strip() != etag:
        return None
    found = _RANGE.fullmatch(named[0].strip())
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):  # no range at all (section 14.1.1)
            return None
    if start >= end:
        raise UnsatisfiableRangeError
    return ByteRange(start, end)
