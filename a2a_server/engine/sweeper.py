"""What nobody else would do: alarms, orphans, gates whose wake-up was lost.

Every process sweeps; each duty asks the store for candidates and decides them again in a turn, so any number of
sweepers is as good as one. Alarms ring on time because the sweeper sleeps only until the next one; the rest is done at
every poll. Gates that open by themselves let go on time what they hold, where this process saw them close. Methods are
named by duty: `ring_alarms`, `rescue_orphans`, `wake_held`. What only looks (`checks`) goes on
beside them: a turn that waits for a row that somebody keeps locked must not keep those waiting whose task has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from random import Random
from typing import Final, TypeAlias

from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, EngineError
from a2a_server.lifecycle.sweeping import FORGOTTEN_AFTER, Alarms, Bury, Forget, Rescue, Wake
from a2a_server.model.queries import DueKind, RowQuery, Table
from a2a_server.model.rows import WorkerRow
from a2a_server.policy import SECOND
from a2a_server.ports import TaskStore
from a2a_server.telemetry.observer import SILENT, Observer

SWEEP_LIMIT: Final = 500
"""Tasks per sweep of one duty; more are left for the next round, which follows at once."""

TIDY_SECONDS: Final = 600.0
"""How often counts are checked, and rows that nobody needs are looked for, about."""

MOST_OPENINGS: Final = 1000
"""Gates that are waited for one by one; what others hold goes on at the next poll."""

Duty: TypeAlias = Callable[[], Awaitable[object]]

_log = logging.getLogger("a2a_server.engine.sweeper")


class Sweeper:
    """Sweeps until it is canceled.

    checks: what else has to look at the store at every poll, each by itself. first: duties before each look at alarms;
    more: further duties of every poll; tidies: of every `TIDY_SECONDS`. kinds: of records whose alarms are waited for.
    """

    def __init__(
        self,
        store: TaskStore,
        writer: Writer,
        *,
        poll_seconds: float,
        random: Random,
        checks: tuple[Callable[[], Awaitable[None]], ...],
        first: tuple[Duty, ...] = (),
        more: tuple[Duty, ...] = (),
        tidies: tuple[Duty, ...] = (),
        kinds: Callable[[], Collection[str]] = tuple,
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._writer = writer
        self._poll = poll_seconds
        self._random = random
        self._checks = checks
        self._first = first
        self._polled = (self.rescue_orphans, self.wake_held, *more)
        self._tidies = (self.forget_workers, *tidies)
        self._kinds = kinds
        self._openings: dict[str, float] = {}
        self._observer = observer
        self._alarm_at: float | None = None
        self._sooner = asyncio.Event()

    def expect(self, wait: int) -> None:
        """An alarm rings in `wait` microseconds, by whatever clock: do not sleep longer."""
        at = asyncio.get_running_loop().time() + wait / SECOND
        if self._alarm_at is None or at < self._alarm_at:
            self._alarm_at = at
            self._sooner.set()

    def expect_openings(self, waits: Mapping[str, int]) -> None:
        """These gates hold tasks and open in so many microseconds: let the tasks go on then."""
        now = asyncio.get_running_loop().time()
        first = min(self._openings.values(), default=math.inf)
        for gate, wait in waits.items():
            if gate in self._openings or len(self._openings) < MOST_OPENINGS:
                self._openings[gate] = now + wait / SECOND
        if min(self._openings.values(), default=math.inf) < first:
            self._sooner.set()

    async def run(self) -> None:
        """Sweep for ever."""
        loop = asyncio.get_running_loop()
        next_poll = loop.time()
        next_tidy = next_poll + TIDY_SECONDS * self._random.random()
        while True:
            for early in self._first:
                await self._duty(early)
            await self._duty(self.ring_alarms)
            if loop.time() >= next_poll:
                next_poll = loop.time() + self._poll * self._random.uniform(0.8, 1.2)
                for duty in self._polled:
                    await self._duty(duty)
            elif self._opened(loop.time()):
                await self._duty(self.wake_held)
            if loop.time() >= next_tidy:
                next_tidy = loop.time() + TIDY_SECONDS * self._random.uniform(0.8, 1.2)
                for duty in self._tidies:
                    await self._duty(duty)
            self._sooner.clear()
            wait = next_poll - loop.time()
            if self._alarm_at is not None:
                wait = min(wait, self._alarm_at - loop.time())
            wait = min(wait, min(self._openings.values(), default=math.inf) - loop.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, wait)):  # not wait_for: on 3.11 it swallows cancellations
                    await self._sooner.wait()

    async def look(self) -> None:
        """Do every check at every poll, for ever."""
        await asyncio.gather(*map(self._looking, self._checks))

    async def recover(self, *, alone: bool) -> int:
        """At start, before this process has a worker: rescue what earlier ones left. Returns how many tasks that were.

        alone: no other process serves this store, so every worker is dead.
        """
        if alone:
            workers = await self._workers()
            await self._writer.submit(Bury(tuple(row.id for row in workers), certain=True))
        return await self.rescue_orphans()

    async def ring_alarms(self) -> int:
        """Act on every alarm that is past."""
        keys = await self._store.due(DueKind.ALARM, SWEEP_LIMIT)
        rung = await self._writer.submit(Alarms(tuple(keys))) if keys else 0
        self._alarm_at = None
        if (wait := await self._store.next_alarm(self._kinds())) is not None:
            self.expect(wait)
        return rung

    async def rescue_orphans(self) -> int:
        """Take tasks from workers that are dead, gone or silent. Returns how many."""
        rescued = 0
        while count := await self._rescue():
            rescued += count
            if count < SWEEP_LIMIT:
                break
        return rescued

    async def _rescue(self) -> int:
        keys = await self._store.due(DueKind.ORPHAN, SWEEP_LIMIT)
        if not keys:
            return 0
        heads = await self._store.heads(keys)
        workers = await self._workers()
        silent = tuple(row.id for row in workers if not row.dead)
        await self._writer.submit(Bury(silent))
        orphans = {key: head.fence for key, head in heads.items()}
        count = await self._writer.submit(Rescue(orphans, tuple(row.id for row in workers)))
        if count:
            self._observer.rescued(count)
            _log.warning("Rescued %d tasks of workers that died.", count)
        return count

    async def forget_workers(self) -> int:
        """Delete the rows of workers that are long gone, so that those that live are few. Returns how many."""
        workers = await self._workers()
        latest = max((row.seen_at for row in workers), default=0)
        old = [row.id for row in workers if row.seen_at + row.ttl + FORGOTTEN_AFTER < latest]
        return await self._writer.submit(Forget(tuple(old[:SWEEP_LIMIT]))) if old else 0

    async def wake_held(self) -> int:
        """Let held tasks go on whose gate has room."""
        woken = 0
        while keys := await self._store.due(DueKind.HELD, SWEEP_LIMIT):
            count = await self._writer.submit(Wake(tuple(keys)))
            woken += count
            if not count:  # what does not fit yet
                break
        return woken

    def _opened(self, now: float) -> bool:
        over = [gate for gate, at in self._openings.items() if at <= now]
        for gate in over:
            del self._openings[gate]
        return bool(over)

    async def _workers(self) -> list[WorkerRow]:
        page = await self._store.rows(RowQuery(Table.WORKER, limit=10_000))
        return [row for row in page.rows if isinstance(row, WorkerRow)]

    async def _looking(self, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._duty(check)
            await asyncio.sleep(self._poll * self._random.uniform(0.8, 1.2))

    async def _duty(self, duty: Callable[[], Awaitable[object]]) -> None:
        done = False
        try:
            await duty()
            done = True
        except (EngineError, ClientError) as error:
            _log.warning("A sweep failed (%s); it is tried again.", type(error).__name__)
            await asyncio.sleep(0.05)
        except Exception:  # noqa: BLE001 - a bug in one duty must not end the others; it is logged each time
            _log.exception("A sweep failed; it is tried again.")
            await asyncio.sleep(self._poll)
        finally:
            self._observer.swept(duty.__name__.lstrip("_"), done=done)
