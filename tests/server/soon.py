"""Moments that come soon, named to a server before they do, however slow the machine is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

SPANS = (1.5, 10.0, 40.0)
"""Seconds from now."""


class TooLate(Exception):
    """The server refuses a moment because it has passed."""


async def in_time(ask: Callable[[datetime], Awaitable[T]]) -> T:
    """What `ask` brings, called with a moment soon to come, and where it raises TooLate with one that comes later."""
    for seconds in SPANS[:-1]:
        with suppress(TooLate):
            return await ask(_moment_in(seconds))
    return await ask(_moment_in(SPANS[-1]))


def _moment_in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
