"""Waiting for what nobody announces, bounded and asked often; and letting time pass without waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.patience import PATIENCE


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return when `condition` holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.005)


async def until_asked(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Return when `condition` says so. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def pass_by(seconds: float) -> None:
    """Let so many seconds pass on the clock of the event loop, at once.

    What was on its way has arrived before that, and what became due has happened after it. Timeouts that are waiting
    end too, so enter them afterwards. For tests with a loop of their own: it stays ahead.
    """
    loop = asyncio.get_running_loop()
    now = loop.time
    await _settled()
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]  # the clock that tests set
    await _settled()


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0.001)
