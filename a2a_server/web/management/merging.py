"""Merge patches (RFC 7396) of things that are kept whole, and pages of lists that are short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from a2a_server.errors import InvalidParams, Overloaded

TRIES: Final = 20
"""How often a patch is made anew because the thing changed meanwhile; so many may patch it side by side."""
T = TypeVar("T")


def merged(value: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """The value behind the patch. Source: RFC 7396 section 2."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for name, one in patch.items():
        if one is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), one)
    return result


def contended() -> Overloaded:
    """How a patch is refused that names no revision and came too late for each that it was made from."""
    return Overloaded("Too many change this at the moment; try again.", retry_after_seconds=1)


def paged(things: Sequence[T], name: Callable[[T], str], limit: int, cursor: str) -> tuple[Sequence[T], str | None]:
    """Those behind `cursor`, the name of the last one before, and the cursor of the next page; None = nothing follows.

    things: all of them, by name. Raises InvalidParams: the cursor is no name.
    """
    if cursor and not cursor.isprintable():
        raise InvalidParams("cursor must be one that a page gave.", path="cursor")
    behind = [one for one in things if name(one) > cursor]
    page = behind[:limit]
    return page, name(page[-1]) if len(behind) > limit else None
