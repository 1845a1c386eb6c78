"""Revisions that callers name, in the words of the services that know one `rev` at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from a2a_server.errors import Changed, InvalidParams

ANY: Final = 0
"""The rev of whoever does not care."""


def expected(revisions: frozenset[int] | None, rev: int) -> int:
    """The rev that a change is to find, of those that its caller takes (None = any), the thing being at `rev`.

    Raises Changed: it is at none of them.
    """
    if revisions is None:
        return ANY
    if rev not in revisions:
        raise Changed
    return rev


@contextmanager
def as_changed() -> Iterator[None]:
    """Turn what the services raise when the rev is another one by now into Changed."""
    try:
        yield
    except InvalidParams as error:
        if error.path == "rev":
            raise Changed from None
        raise
