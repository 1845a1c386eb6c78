"""Work that may wait for a store that never answers, and must end all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

CANCELED_SECONDS: Final = 0.5
"""What is canceled has so long to let go; beyond, the event loop's end takes it."""


async def over_within(work: Awaitable[Any], seconds: float | None) -> bool:
    """Whether `work` has ended by then (None = it has all the time); else it is canceled, and left behind if need be.

    Raises what `work` raises in time. A caller that is canceled cancels it too.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=None if seconds is None else max(0.0, seconds))
        over = task.done()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCELED_SECONDS)
        if task.done() and not task.cancelled():
            task.exception()  # what ended too late, or by being canceled, is nobody's news
    if over:
        task.result()
    return over
