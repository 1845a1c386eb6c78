"""Hints as brokers carry them in messages: up to 100 of one queue in a message, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint

MOST_HINTS: Final = 100
"""Hints in one message."""

_FORMAT: Final = 1


def packed(hints: Sequence[Hint]) -> Iterator[tuple[Hint, bytes]]:
    """Messages of these hints, which are of one queue: the best hint of each, and its body."""
    ordered = sorted(hints, key=lambda hint: hint[1:])
    for start in range(0, len(ordered), MOST_HINTS):
        some = ordered[start : start + MOST_HINTS]
        told = [[hint.lane, hint.rank, hint.key.hex()] for hint in some]
        yield some[0], orjson.dumps({"format": _FORMAT, "queue": some[0].queue, "hints": told})


def unpacked(body: bytes | str) -> list[Hint]:
    """The hints of a message; none for a body that is not ours or of newer code."""
    try:
        message: Any = orjson.loads(body)
        if message["format"] != _FORMAT:
            return []
        queue = str(message["queue"])
        return [Hint(queue, int(lane), int(rank), Key(bytes.fromhex(key))) for lane, rank, key in message["hints"]]
    except (ValueError, TypeError, KeyError):
        return []
