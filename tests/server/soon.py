"""Moments that come soon, named to a server before they do, however slow the machine is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

SPANS = (1.5, 10.0, 40.0)
"""Seconds from now."""


class TooLate(Exception):
    """The server refuses a moment because it has passed."""


async def in_time(ask: Callable[[datetime], Awaitable[T]]) -> T:
    """What `ask` brings, called with a moment soon to come, and where that passed meanwhile with one that comes later.

    Raises TooLate where the moment had not passed when it was refused.
    """
    for seconds in SPANS[:-1]:
        moment = _moment_in(seconds)
        try:
            return await ask(moment)
        except TooLate:
            if datetime.now(UTC) < moment:
                raise
    return await ask(_moment_in(SPANS[-1]))


def _moment_in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
