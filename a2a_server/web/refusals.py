"""Refusals of plain HTTP requests: a status and a small JSON object, the shape of A2A's HTTP+JSON errors.

`{"error": {"code": 404, "status": "NOT_FOUND", "message": "..."}}`; the codes' names are those of google.rpc.
Source: A2A 1.0.1 section 11.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson
from starlette.responses import Response

_STATUSES: Final = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        405: "UNIMPLEMENTED",
        408: "DEADLINE_EXCEEDED",
        409: "FAILED_PRECONDITION",
        412: "ABORTED",
        413: "OUT_OF_RANGE",
        415: "INVALID_ARGUMENT",
        416: "OUT_OF_RANGE",
        429: "RESOURCE_EXHAUSTED",
        503: "UNAVAILABLE",
    }
)
_HEADERS: Final = MappingProxyType({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


class Detail(NamedTuple):
    """A field of a request and the rule that it breaks."""

    field: str
    rule: str


def refusal(
    status: int,
    message: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    details: Sequence[Detail] = (),
) -> Response:
    """The answer with this status; `message` names the thing, the rule and the way out."""
    error: dict[str, object] = {"code": status, "status": _STATUSES[status], "message": message}
    if details:
        error["details"] = [detail._asdict() for detail in details]
    return Response(orjson.dumps({"error": error}), status, {**_HEADERS, **headers}, media_type="application/json")


def busy(message: str, retry_after_seconds: int) -> Response:
    """Not now: 503, and when to come back."""
    return refusal(503, message, {"Retry-After": str(max(1, retry_after_seconds))})
