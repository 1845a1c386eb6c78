"""Who in this process follows doorbells, its own and those of others, and who outside is told of its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from a2a_server.engine.duties import Duties
from a2a_server.engine.figures import Figures
from a2a_server.engine.stream import Hub
from a2a_server.engine.telling import Teller
from a2a_server.engine.worker import Worker
from a2a_server.errors import StoreUnavailable
from a2a_server.model.turns import Bell, Hint
from a2a_server.ports import Notifier, WorkQueue

_log = logging.getLogger("a2a_server.engine")


class Doorbells:
    """Of one process. Concurrency: belongs to the event loop.

    workers: of all its agents. check: has them look at the store, where bells may have been missed. fed: the queue
    hears of other processes' work by doorbells, not by a broker.
    """

    def __init__(
        self,
        *,
        notifier: Notifier,
        queue: WorkQueue,
        hub: Hub,
        duties: Duties,
        teller: Teller,
        figures: Figures,
        workers: Callable[[], Iterable[Worker]],
        check: Callable[[], Awaitable[None]],
        fed: bool,
    ) -> None:
        self._notifier = notifier
        self._queue = queue
        self._hub = hub
        self._duties = duties
        self._teller = teller
        self._figures = figures
        self._workers = workers
        self._check = check
        self._fed = fed
        self._theirs: AsyncIterator[Sequence[Bell]] | None = None

    async def tell(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        """Pass on what a turn of this process's writer tells."""
        self._figures.saw(bells)
        self._hear(bells)
        if alarm is not None:
            self._duties.sweeper.expect(alarm)
        if hints:
            await self._queue.offer(hints)
        await self._notifier.ring(bells, self._theirs)

    def listening(self) -> AsyncIterator[Sequence[Bell]]:
        """From now on no bell of another process is missed."""
        self._theirs = bells = self._notifier.listen()
        return bells

    async def listen(self, bells: AsyncIterator[Sequence[Bell]]) -> None:
        """Follow the bells of other processes, for ever."""
        async for batch in bells:
            if batch:
                self._hear(batch)
                if self._fed and (hints := [bell.hint for bell in batch if bell.hint is not None]):
                    await self._queue.offer(hints)
                continue
            try:
                await self._hub.on_silence()
                await self._check()
            except StoreUnavailable:
                _log.warning("The store did not answer; doorbells that were missed are found at the next poll.")
            except Exception:  # noqa: BLE001 - a bug here must not end all doorbells; it is logged each time
                _log.exception("What doorbells did not tell could not be looked up; the next poll finds it.")

    def _hear(self, bells: Sequence[Bell]) -> None:
        """Follow doorbells; this process's own come here straight from its writer, in the order of its turns."""
        try:
            self._hub.on_bells(bells)
            for worker in self._workers():
                worker.on_bells(bells)
            self._teller.on_bells(bells)
            self._duties.settler.on_bells(bells)
        except Exception:  # noqa: BLE001 - a bug here must not end all doorbells; it is logged each time
            _log.exception("A doorbell could not be followed; the next poll finds what it told.")
