"""The store's time in this process: what the last turn said, carried on by a clock that nobody sets.

A host whose own clock is wrong must not end runs too early, so nothing in the engine that concerns a task asks it.
Good to some milliseconds: the time that an answer of the store took.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from a2a_server.policy import SECOND


class StoreClock:
    """Microseconds since the epoch. wall: what is believed until the store has said anything."""

    def __init__(self, wall: Callable[[], int]) -> None:
        self._wall = wall
        self._told: int | None = None
        self._told_at = 0.0

    def __call__(self) -> int:
        """The time now."""
        if self._told is None:
            return self._wall()
        return self._told + round((time.monotonic() - self._told_at) * SECOND)

    def learn(self, now: int) -> None:
        """Take in what the store just said."""
        self._told, self._told_at = now, time.monotonic()
