"""Conditional requests: whether a client has what it asks for already. Source: RFC 9110 section 13."""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime

from starlette.requests import Request


def has_it(request: Request, etag: str, changed_at: datetime | None = None) -> bool:
    """Whether 304 answers the request.

    Args:
        request: a GET or HEAD.
        etag: of what would be sent, in its quotes.
        changed_at: when that changed last, in whole seconds and with a time zone; None = the ETag alone counts.
    """
    named = request.headers.get("if-none-match")
    if named is not None:
        tags = [tag.strip().removeprefix("W/") for tag in named.split(",")]
        return etag in tags or "*" in tags
    since = request.headers.get("if-modified-since")
    if since is None or changed_at is None:
        return False
    try:
        said = parsedate_to_datetime(since)
    except ValueError:  # what is no date counts as absent (section 13.1.3)
        return False
    return said.tzinfo is not None and changed_at <= said  # "-0000" gives a date without a zone
