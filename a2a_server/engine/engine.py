"""The engine put together: writer, hub, worker, sweeper around the ports, with one start and one stop.

A process may serve several agents: the first one's engine has what a process needs once (writer, hub, sweeper,
collector), those of the others are mounted on it and bring a runner and a worker with slots of its own, so that no
agent's tasks wait for another's. They begin and end with it.

Start: the store is opened, what earlier processes left is rescued, then work begins. Stop: streams and waits end, the
worker finishes or hands back, the writer commits what is left, the store is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, Final

import uuid_utils

from a2a_server.codec import encode
from a2a_server.engine.admitting import Admitting
from a2a_server.engine.bounds import Bounds
from a2a_server.engine.clock import StoreClock
from a2a_server.engine.closing import all_ended, all_of, closed
from a2a_server.engine.deadline import over_within
from a2a_server.engine.doorbells import Doorbells
from a2a_server.engine.duties import Duties
from a2a_server.engine.figures import Figures
from a2a_server.engine.limits import Limits
from a2a_server.engine.reaching import reached
from a2a_server.engine.stream import Hub
from a2a_server.engine.submitting import Submissions
from a2a_server.engine.telling import Teller
from a2a_server.engine.unfinished import refuse_unfinished
from a2a_server.engine.watchdog import Doing, Watchdog
from a2a_server.engine.worker import Worker
from a2a_server.engine.workshop import Workshop
from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.sweeping import Bury
from a2a_server.model.rows import Key, TaskRow
from a2a_server.model.templates import Template
from a2a_server.model.turns import Bell, Hint
from a2a_server.policy import SUSPECT_CRASHES, queue_of
from a2a_server.ports import ArtifactStore, Notifier, TaskStore, WorkQueue
from a2a_server.running import AgentRunner
from a2a_server.telemetry.observer import SILENT, Observer
from a2a_server.values import value_class

SHARDS: Final = 256
"""Processes on one store count under one of so many names, drawn at start: what they leave behind stays bounded, and
two that draw the same wait for each other now and then, but count right."""

DRAINED_SECONDS: Final = 3.0
"""What a drain may take beyond `drain_seconds` and `cancel_grace_seconds`: a store that is silent must not hold it."""
LEFT_SECONDS: Final = 12.0
"""What everything behind the drain may take together, but for the agent's own end: the first half for what is
still to be written, none of which was acknowledged, the last third for the store's own end."""

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


@value_class(frozen=True, slots=True)
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
    templates: those of its configuration, by name. first: the engine that it is mounted on (`mount`), None = it is the
    process's first.
    """

    told_to_drain: asyncio.Event
    clock: StoreClock
    writer: Writer
    hub: Hub
    duties: Duties
    templates: Mapping[str, Template]

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
        templates: Mapping[str, Template] | None = None,
        first: Engine | None = None,
    ) -> None:
        self.agent = agent
        self.limits = limits
        self.backends = backends
        self.runner = runner
        self.working = working
        self._alone = alone = not backends.store.capabilities.many_writers
        self._about = dict(about or {})
        self._observer = observer
        self._random = random or Random()  # noqa: S311 - spreads retries, guards nothing
        self._mounted: list[Engine] = []
        self._also: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._writing: asyncio.Task[None] | None = None
        self._opened: list[AgentRunner] = []
        self._watchdog: Watchdog | None = None
        self.bounds = Bounds(agent, runner.skills, limits)
        self.standing = self.bounds.standing
        admitting = Admitting(backends.store, agent, limits)
        self.submissions = Submissions(agent, runner.listens_for, limits, admitting, self.standing)
        self._about |= self.bounds.about
        if first is not None:
            self.told_to_drain, self.clock, self.writer = first.told_to_drain, first.clock, first.writer
            self.hub, self.duties, self.templates = first.hub, first.duties, {}
            self.worker = self._new_worker()
            return
        self.templates = dict(templates or {})
        self.told_to_drain = asyncio.Event()
        self.clock = StoreClock(clock)
        figures = Figures(observer, time.monotonic, most=2 * (limits.slots + limits.threads))
        self.writer = Writer(
            backends.store,
            self._tell,
            shard="0" if alone else str(self._random.randrange(SHARDS)),
            max_operations=limits.writer_operations,
            max_bytes=limits.writer_bytes,
            patience_seconds=limits.lease_seconds,
            observer=observer,
            learn=self.clock.learn,
            opens=self._expect,
        )
        self.hub = Hub(backends.store, limits, observer)
        self.worker = self._new_worker()
        self._teller = Teller(backends.store, self.writer, {agent: runner}, limits, self._random, alone=alone)
        self.duties = Duties(
            backends.store,
            backends.artifacts,
            self.writer,
            limits,
            name=new_key().hex(),
            checks=(self.hub.check, self._check_worker),
            queues=self._queues if working else None,
            clock=self.clock,
            random=self._random,
            observer=observer,
        )
        self._doorbells = Doorbells(
            notifier=backends.notifier,
            queue=backends.queue,
            hub=self.hub,
            duties=self.duties,
            teller=self._teller,
            figures=figures,
            workers=lambda: [engine.worker for engine in self.engines],
            check=self._check_worker,
            fed=backends.fed,
        )
        observer.reads("active_tasks", lambda: self.running)
        observer.reads("a2a_worker_slots", lambda: self.worker.used[False][1])
        observer.reads("a2a_worker_threads", lambda: self.worker.used[True][1])
        observer.reads("a2a_writer_queue_operations", lambda: self.writer.waiting)
        observer.reads("a2a_writer_queue_bytes", lambda: self.writer.waiting_bytes)

    def mount(self, agent: str, runner: AgentRunner, limits: Limits, *, about: Mapping[str, object]) -> Engine:
        """The engine of a further agent, which begins and ends with this one. Before `start`.

        limits: of its slots and threads; what the process has once keeps this engine's.
        """
        engine = Engine(
            self.backends,
            runner,
            limits,
            agent=agent,
            working=self.working,
            about=about,
            random=self._random,
            observer=self._observer,
            first=self,
        )
        self._mounted.append(engine)
        self._teller.tells(agent, runner)
        return engine

    def also(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this too from `start` on, until the stop. Before `start`."""
        self._also.append(work)

    @property
    def engines(self) -> Sequence[Engine]:
        """This one, and those that are mounted on it."""
        return self, *self._mounted

    @property
    def running(self) -> int:
        """How many handlers of any agent hold a slot in this process."""
        return sum(engine.worker.running for engine in self.engines)

    def hurry(self) -> None:
        """Let a drain wait no longer: runs that still go on are handed back now."""
        for engine in self.engines:
            engine.worker.hurry()

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
        self._tasks = [loop.create_task(self._doorbells.listen(self._doorbells.listening()))]
        await self._reach(self._recover)
        self._watchdog = Watchdog(self._observer, self._doing, block_seconds=self.limits.block_seconds)
        self._watchdog.start()
        endless = (*self.duties.endless(), *(work() for work in self._also))
        self._tasks += [loop.create_task(work) for work in endless]
        if not self.working:
            return
        for engine in self.engines:
            await engine.runner.open()
            self._opened.append(engine.runner)
        for engine in self.engines:
            await self._reach(engine.worker.start)
        if any(engine.runner.listens_for for engine in self.engines):
            self._tasks.append(loop.create_task(self._teller.run()))

    async def stop(self) -> None:
        """Drain and close everything. Call once, after `start`.

        It ends within `drain_seconds`, `cancel_grace_seconds` and about 15 s whatever the store does; what the agent's
        own end takes comes on top.
        """
        self.hub.close()
        limits = self.limits
        seconds = limits.drain_seconds + limits.cancel_grace_seconds + DRAINED_SECONDS
        if not await over_within(all_of(engine.worker.drain() for engine in self.engines), seconds):
            _log.warning(
                "The store does not answer, so %d tasks could not be handed back; they run again when the lease ends.",
                self.running,
            )
            self._crash()
        await self._close()

    async def abandon(self) -> None:
        """Close what a `start` that failed had opened."""
        self._crash()
        await self._close()

    def _crash(self) -> None:
        for engine in self.engines:
            engine.worker.crash()

    async def _close(self) -> None:
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        for task in self._tasks:
            task.cancel()
        loop, backends = asyncio.get_running_loop(), self.backends
        ends_at = loop.time() + LEFT_SECONDS
        await over_within(all_ended(self._tasks), LEFT_SECONDS / 4)
        while self._opened:
            began_at = loop.time()
            await closed(self._opened.pop())
            ends_at += loop.time() - began_at
        self.writer.close()
        written = ends_at - LEFT_SECONDS / 2
        if self._writing is not None and not await over_within(all_ended([self._writing]), written - loop.time()):
            _log.warning("The store does not answer; what was still to be written to it is given up.")
        left = ends_at - LEFT_SECONDS / 3 - loop.time()
        await asyncio.gather(*(closed(part, left) for part in (backends.queue, backends.notifier, backends.artifacts)))
        await closed(backends.store, ends_at - loop.time())

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
        await self.duties.sweeper.rescue_orphans()
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
            self.submissions,
            self._observer,
        )
        about = encode(self._about) if self._about else b""
        return Worker(
            self.agent,
            shop,
            backends.queue,
            about=about,
            offer=self.bounds.offer,
            standing=self.standing,
            drain=self.told_to_drain.set,
        )

    def _awaited(self, row: TaskRow) -> bool:
        alone = self.bounds.bound(row) or row.crashes >= SUSPECT_CRASHES  # others may be held until it ends
        return alone or self.hub.watches(row.key) or self.worker.scarce

    def _expect(self, openings: Mapping[str, int]) -> None:
        self.duties.sweeper.expect_openings(openings)

    def _queues(self) -> Sequence[str]:
        return [
            queue
            for engine in self.engines
            for queue in (
                *(queue_of(engine.agent, skill.id) for skill in engine.runner.skills),
                *engine.worker.classes,
            )
        ]

    def _doing(self, task: asyncio.Task[Any]) -> Doing | None:
        return next((doing for engine in self.engines if (doing := engine.worker.doing(task))), None)

    async def _check_worker(self) -> None:
        await all_of(engine.worker.check() for engine in self.engines)

    async def _reach(self, step: Callable[[], Awaitable[None]]) -> None:
        """A step of the start; a file of this process alone is there or is not, and is not waited for."""
        await reached(step, seconds=0 if self._alone else self.limits.start_seconds, random=self._random)

    async def _recover(self) -> None:
        """May begin again from the start: the store may go away, and come back, between any two of these."""
        await self.duties.sweeper.recover(alone=self._alone)
        await self._set_gates()

    async def _set_gates(self) -> None:
        for engine in self.engines:
            await engine.bounds.set(self.backends.store, self.writer)

    async def _tell(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        await self._doorbells.tell(bells, hints, alarm)
