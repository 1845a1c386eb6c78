"""What is made when it is first asked for: its modules take a while to be read, and many a process is never asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

ThingT = TypeVar("ThingT")


class Late(Generic[ThingT]):
    """One thing of one event loop. Concurrency: any number of callers in it.

    read: reads the modules and gives what makes the thing. It is called on a thread, for it takes longer than the event
    loop may stand still; what it gives is called in the loop.
    """

    def __init__(self, read: Callable[[], Callable[[], ThingT]]) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._made: list[ThingT] = []

    async def get(self) -> ThingT:
        """The thing, the same at every call. Raises what reading and making raise; the next call tries again."""
        if not self._made:
            async with self._reading:
                if not self._made:
                    make = await asyncio.to_thread(self._read)
                    self._made.append(make())
        return self._made[0]
