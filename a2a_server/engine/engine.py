"""The engine put together: writer, hub, worker, sweeper around the ports, with one start and one stop.

Start: the store is opened, what earlier processes left is rescued, then work begins. Stop: streams and waits end, the
worker finishes or hands back, the writer commits what is left, the store is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

import uuid_utils

from a2a_server.codec import encode
from a2a_server.engine.clock import StoreClock
from a2a_server.engine.collector import Collector
from a2a_server.engine.figures import Figures
from a2a_server.engine.limits import Limits
from a2a_server.engine.reaching import reached
from a2a_server.engine.run import Workshop
from a2a_server.engine.stream import Hub
from a2a_server.engine.sweeper import Sweeper
from a2a_server.engine.telling import Teller
from a2a_server.engine.unfinished import refuse_unfinished
from a2a_server.engine.watchdog import Doing, Watchdog
from a2a_server.engine.worker import Worker
from a2a_server.engine.writer import Writer
from a2a_server.errors import StoreUnavailable
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.sweeping import Bury, SetGate
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import GateRow, Key, TaskRow
from a2a_server.model.turns import Bell, Hint
from a2a_server.policy import SUSPECT_CRASHES, skill_gate
from a2a_server.ports import AgentRunner, ArtifactStore, Notifier, TaskStore, WorkQueue
from a2a_server.telemetry.observer import SILENT, Observer

SHARDS: Final = 256
"""Processes on one store count under one of so many names, drawn at start: what they leave behind stays bounded, and
two that draw the same wait for each other now and then, but count right."""

_log = logging.getLogger("a2a_server.engine")


def new_key() -> Key:
    """A new time-ordered key (UUIDv7, 16 bytes). Source: RFC 9562 section 5.7."""
    return Key(uuid_utils.uuid7().bytes)


def new_id() -> str:
    """A new time-ordered id as clients read it: the text of a UUIDv7."""
    return str(uuid_utils.uuid7())


def wall_clock() -> int:
    """The host's time in microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Backends:
    """What the engine runs on. fed: the queue hears of other processes' work by doorbells, not by a broker."""

    store: TaskStore
    queue: WorkQueue
    notifier: Notifier
    artifacts: ArtifactStore
    fed: bool = False


class Engine:
    """One process's engine for one agent.

    working: whether it runs tasks, or only takes and shows them. about: what its worker says of itself to operators.
    """

    def __init__(
        self,
        backends: Backends,
        runner: AgentRunner,
        limits: Limits,
        *,
        agent: str = "",
        working: bool = True,
        about: Mapping[str, object] | None = None,
        clock: Callable[[], int] = wall_clock,
        random: Random | None = None,
        observer: Observer = SILENT,
    ) -> None:
        self.agent = agent
        self.limits = limits
        self.backends = backends
        self.runner = runner
        self.working = working
        self._alone = alone = not backends.store.capabilities.many_writers
        self._about = dict(about or {})
        self.told_to_drain = asyncio.Event()
        self.clock = StoreClock(clock)
        self._observer = observer
        self._figures = Figures(observer, time.monotonic, most=2 * (limits.slots + limits.threads))
        self._random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self.writer = Writer(
            backends.store,
            self._tell,
            shard="0" if alone else str(self._random.randrange(SHARDS)),
            max_operations=limits.writer_operations,
            max_bytes=limits.writer_bytes,
            patience_seconds=limits.lease_seconds,
            observer=observer,
            learn=self.clock.learn,
        )
        self.hub = Hub(backends.store, limits, observer)
        self._limited = frozenset(skill.id for skill in runner.skills if skill.max_concurrency is not None)
        self.worker = self._new_worker()
        self._teller = Teller(backends.store, self.writer, runner, limits, self._random, alone=alone)
        self.sweeper = Sweeper(
            backends.store,
            self.writer,
            poll_seconds=limits.poll_seconds,
            random=self._random,
            checks=(self.hub.check, self._check_worker),
            observer=observer,
        )
        self.collector = Collector(
            backends.store,
            backends.artifacts,
            self.writer,
            id=new_key().hex(),
            collect_seconds=limits.collect_seconds,
            unused_object_seconds=limits.unused_object_seconds,
            clock=self.clock,
            random=self._random,
        )
        self._tasks: list[asyncio.Task[Any]] = []
        self._writing: asyncio.Task[None] | None = None
        self._opened = False
        self._bells: AsyncIterator[Sequence[Bell]] | None = None
        self._watchdog: Watchdog | None = None
        observer.reads("active_tasks", lambda: self.worker.running)
        observer.reads("a2a_writer_queue_operations", lambda: self.writer.waiting)
        observer.reads("a2a_writer_queue_bytes", lambda: self.writer.waiting_bytes)

    async def start(self) -> None:
        """Open the backends and the agent, recover, and begin to work.

        Raises ConfigurationError for a service that is not there within `start_seconds`, SchemaMismatch, and what the
        agent raises.
        """
        backends = self.backends
        for part in (backends.store, backends.queue, backends.notifier, backends.artifacts):
            await self._reach(part.open)
        await self._reach(partial(refuse_unfinished, backends.store))
        loop = asyncio.get_running_loop()
        self._writing = loop.create_task(self.writer.run())
        self._bells = bells = self.backends.notifier.listen()
        self._tasks = [loop.create_task(self._listen(bells))]
        await self._reach(self._recover)
        self._watchdog = Watchdog(self._observer, self._doing, block_seconds=self.limits.block_seconds)
        self._watchdog.start()
        endless = (self.sweeper.run(), self.sweeper.look(), self.collector.run())
        self._tasks += [loop.create_task(work) for work in endless]
        if not self.working:
            return
        await self.runner.open()
        self._opened = True
        await self._reach(self.worker.start)
        if self.runner.listens_for:
            self._tasks.append(loop.create_task(self._teller.run()))

    async def stop(self) -> None:
        """Drain and close everything. Call once, after `start`."""
        self.hub.close()
        await self.worker.drain()
        await self._close()

    async def abandon(self) -> None:
        """Close what a `start` that failed had opened."""
        self.worker.crash()
        await self._close()

    async def _close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._opened:
            self._opened = False
            await _closed(self.runner)
        self.writer.close()
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        backends = self.backends
        for backend in (backends.queue, backends.notifier, backends.artifacts, backends.store):
            await _closed(backend)

    async def submit(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 - the operation's result
        """Have an operation decided and committed."""
        return await self.writer.submit(operation)

    async def replace_worker(self) -> None:
        """Crash the worker and start another, as after a killed process. For tests."""
        dead = self.worker
        worker = dead.id
        dead.crash()
        self.worker = self._new_worker()
        await self.worker.start()
        await self.writer.submit(Bury((worker,), certain=True))
        await self.sweeper.rescue_orphans()
        _log.info("Worker %s was replaced.", worker.hex())

    def _new_worker(self) -> Worker:
        backends = self.backends
        shop = Workshop(
            self.runner,
            backends.store,
            self.writer,
            backends.artifacts,
            self.limits,
            new_key,
            self.clock,
            self._random,
            self._awaited,
            self._observer,
        )
        about = encode(self._about) if self._about else b""
        return Worker(self.agent, shop, backends.queue, about=about, drain=self.told_to_drain.set)

    def _awaited(self, row: TaskRow) -> bool:
        alone = row.skill in self._limited or row.crashes >= SUSPECT_CRASHES  # others may be held until it ends
        return alone or self.hub.watches(row.key) or self.worker.scarce

    def _doing(self, task: asyncio.Task[Any]) -> Doing | None:
        return self.worker.doing(task)

    async def _check_worker(self) -> None:
        await self.worker.check()

    async def _reach(self, step: Callable[[], Awaitable[None]]) -> None:
        """A step of the start; a file of this process alone is there or is not, and is not waited for."""
        await reached(step, seconds=0 if self._alone else self.limits.start_seconds, random=self._random)

    async def _recover(self) -> None:
        """May begin again from the start: the store may go away, and come back, between any two of these."""
        await self.sweeper.recover(alone=self._alone)
        await self._set_gates()

    async def _set_gates(self) -> None:
        wanted = {skill_gate(skill.id): skill.max_concurrency for skill in self.runner.skills}
        page = await self.backends.store.rows(RowQuery(Table.GATE, limit=10_000))
        known = {row.key for row in page.rows if isinstance(row, GateRow)}
        for gate, capacity in wanted.items():
            if capacity is not None or gate in known:
                await self.writer.submit(SetGate(gate, capacity))

    async def _tell(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        self._figures.saw(bells)
        self._hear(bells)
        if alarm is not None:
            self.sweeper.expect(alarm)
        if hints:
            await self.backends.queue.offer(hints)
        await self.backends.notifier.ring(bells, self._bells)

    def _hear(self, bells: Sequence[Bell]) -> None:
        """Follow doorbells; this engine's own come here straight from its writer, in the order of its turns."""
        try:
            self.hub.on_bells(bells)
            self.worker.on_bells(bells)
            self._teller.on_bells(bells)
        except Exception:  # noqa: BLE001 - a bug here must not end all doorbells; it is logged each time
            _log.exception("A doorbell could not be followed; the next poll finds what it told.")

    async def _listen(self, bells: AsyncIterator[Sequence[Bell]]) -> None:
        async for batch in bells:
            if batch:
                self._hear(batch)
                if self.backends.fed and (hints := [bell.hint for bell in batch if bell.hint is not None]):
                    await self.backends.queue.offer(hints)
                continue
            try:
                await self.hub.on_silence()
                await self.worker.check()
            except StoreUnavailable:
                _log.warning("The store did not answer; doorbells that were missed are found at the next poll.")
            except Exception:  # noqa: BLE001 - a bug here must not end all doorbells; it is logged each time
                _log.exception("What doorbells did not tell could not be looked up; the next poll finds it.")


async def _closed(part: AgentRunner | WorkQueue | Notifier | ArtifactStore | TaskStore) -> None:
    """Close a part; one that cannot be closed must not keep the others open, and with them the process alive."""
    try:
        await part.close()
    except Exception:  # noqa: BLE001 - an agent's lifespan may raise anything; it is logged here
        _log.exception("%s could not be closed.", type(part).__name__)
