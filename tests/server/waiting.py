"""Waiting for what nobody announces: bounded, and asked often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return when `condition` holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


async def until_asked(condition: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Return when `condition` says so. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
