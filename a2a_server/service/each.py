"""The same asked of many things, some of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

AT_ONCE: Final = 50
"""Things that are asked at a time."""

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


async def each(items: Sequence[ItemT], ask: Callable[[ItemT], Awaitable[FoundT]]) -> list[FoundT]:
    """What is found for each, in their order. Raises what asking raises."""
    found: list[FoundT] = []
    for start in range(0, len(items), AT_ONCE):
        found += await asyncio.gather(*(ask(one) for one in items[start : start + AT_ONCE]))
    return found
