"""Acts on the ends of tasks that others wait for: at once after the commit, and again at every poll.

Theory of operation: edges are the outbox (`lifecycle.dependencies`). A turn that ends such a task marks its edges; a
doorbell tells of it, and one question to the store gives the tasks that follow, of however many ends together. They are
settled in groups, group after group until nothing is left. A process that dies in between leaves marked edges, which
the next poll of any process finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, EngineError
from a2a_server.lifecycle.dependencies import Settle, Settled
from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import DueKind
from a2a_server.model.rows import Interest, Key
from a2a_server.model.turns import Bell
from a2a_server.ports import TaskStore

TOGETHER: Final = 500
"""Tasks that are settled in one operation."""
MOST_NAMES: Final = 10_000
"""Ended upstreams whose names are kept until those who follow are settled; others are read from the store."""

_log = logging.getLogger("a2a_server.engine.settling")


class Settler:
    """Settles for one process. Concurrency: belongs to the event loop; `run` is called once.

    grace: how long the run of a task that is canceled may take to stop, microseconds. end: ends a task that was left to
    its children, as they say.
    """

    def __init__(
        self,
        store: TaskStore,
        writer: Writer,
        *,
        poll_seconds: float,
        grace: int,
        random: Random,
        end: Callable[[Key], Awaitable[None]],
    ) -> None:
        self._store = store
        self._end = end
        self._writer = writer
        self._poll = poll_seconds
        self._grace = grace
        self._random = random
        self._news = asyncio.Event()
        self._names: dict[Key, str] = {}

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Look at once when a task ended that others follow."""
        for bell in bells:
            row = bell.row
            if row is not None and row.phase is Phase.FINAL and row.pushes & Interest.WAITED:
                if row.state is not State.COMPLETED and len(self._names) < MOST_NAMES:
                    self._names[row.key] = row.id
                self._news.set()

    async def run(self) -> None:
        """Settle what is due, until canceled."""
        while True:
            self._news.clear()
            try:
                await self.settle()
            except (EngineError, ClientError) as error:
                kind = type(error).__name__
                _log.warning("Followers of ended tasks could not be settled (%s); the next poll does.", kind)
            except Exception:  # noqa: BLE001 - a bug here must not end it for good; it is logged each time
                _log.exception("Followers of ended tasks could not be settled; the next poll tries again.")
            await self._rest()

    async def settle(self) -> int:
        """Settle until nothing is due. Returns how many tasks that were."""
        count = 0
        while keys := await self._store.due(DueKind.SETTLE, TOGETHER):
            settled = await self._settled(tuple(keys))
            count += settled
            if not settled or len(keys) < TOGETHER:
                break
        self._names.clear()
        return count

    async def _settled(self, keys: tuple[Key, ...]) -> int:
        first: Settled = await self._writer.submit(Settle(keys, self._grace, self._names))
        ripe, count = first.ripe, first.count
        if first.unnamed:
            names = {key: await self._name(key) for key in first.unnamed}
            again: Settled = await self._writer.submit(Settle(keys, self._grace, self._names | names))
            ripe, count = (*ripe, *again.ripe), count + again.count
        for key in dict.fromkeys(ripe):
            await self._ended(key)
        return count

    async def _ended(self, key: Key) -> None:
        try:
            await self._end(key)
        except Exception:  # noqa: BLE001 - one that cannot be ended must not keep others waiting; it is logged each time
            _log.exception("A task could not be ended by its children; the next poll tries again.")

    async def _name(self, key: Key) -> str:
        snapshot = await self._store.snapshot(key, 0, artifacts=False)
        return "" if snapshot is None else snapshot.task.id

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._poll * self._random.uniform(0.8, 1.2)):
                await self._news.wait()
        except TimeoutError:
            return
