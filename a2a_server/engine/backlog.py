"""What a run has said and no turn has committed yet: how much it is, and whoever waits for that to change."""

from __future__ import annotations

import asyncio


class Backlog:
    """Concurrency: belongs to the event loop.

    count, size: outputs that are not committed, and their bytes; committed: outputs that are. reported: of
    the former, how many are on their way, and their bytes.
    """

    __slots__ = ("_waiters", "committed", "count", "reported", "size")

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self.committed = 0
        self.reported = (0, 0)
        self._waiters: set[asyncio.Future[None]] = set()

    def settle(self, count: int, size: int) -> None:
        """Note that so many outputs were committed, or given up. `wake` has to follow."""
        self.count -= count
        self.size -= size
        self.committed += count

    async def changed(self) -> None:
        """Wait for the next `wake`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def wake(self) -> None:
        """Let everybody look again who waits."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
