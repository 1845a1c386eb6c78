"""How long the machine held a drill's process up: what others may need more than a bound says while it is busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class HeldUp:
    """seconds: the longest time for which this process's loop did not go on, until now."""

    seconds: float = 0.0

    async def watch(self) -> None:
        """Without end."""
        while True:
            due = time.monotonic() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            self.seconds = max(self.seconds, time.monotonic() - due)


@asynccontextmanager
async def held_up() -> AsyncIterator[HeldUp]:
    """It is watched while the context lasts."""
    found = HeldUp()
    watching = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
