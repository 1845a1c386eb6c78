"""An agent, settings and backends put together: a process that works, and one that serves as well."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from a2a_server.agent import Agent
from a2a_server.agents.skill import SkillRunner
from a2a_server.engine.engine import Engine, wall_clock
from a2a_server.engine.late import Late
from a2a_server.engine.limits import Limits
from a2a_server.engine.reaching import reached
from a2a_server.engine.usage import Usage
from a2a_server.errors import ClientError, ConfigurationError, EngineError
from a2a_server.ports import TaskStore
from a2a_server.running import AgentRunner
from a2a_server.service.files import Files
from a2a_server.service.operations import Operations
from a2a_server.settings import Settings, kind_of, knobs, local_path, value_of
from a2a_server.settings.addresses import is_loopback
from a2a_server.settings.services import shown
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.telemetry.metrics import Metrics
from a2a_server.web.app import AGENTS, Door, DoorLimits, Site, application
from a2a_server.web.artifacts import ArtifactPages
from a2a_server.web.bodies import Bodies
from a2a_server.web.card import CardPages
from a2a_server.web.guards import HostCheck, allowed_names
from a2a_server.web.health import HealthPages
from a2a_server.web.rpc import Dispatcher
from a2a_server.web.uploads import Uploads
from a2a_server.wiring.backends import ALONE, backends_of, shares
from a2a_server.wiring.monitored import ledger_address, ledger_of, metered, monitor_of, optimiser_of
from a2a_server.wiring.mounting import Desk, mounted, mounts_of, told_of
from a2a_server.wiring.scheduled import serve_schedules
from a2a_server.wiring.templates import templates_of

if TYPE_CHECKING:
    from a2a_server.web.management.application import ManagementApi
    from a2a_server.web.management.table import Route

LAST_WORDS_SECONDS = 1.0
"""How long a stop waits for what runs took to be written."""

_log = logging.getLogger("a2a_server.wiring")


class Process:
    """One agent with its engine, and further ones mounted beside it, in this process.

    store: used instead of the one that the settings name. around: what runs the agent, given what else would run it.
    Raises ConfigurationError: a backend or the agent cannot work like this.
    """

    def __init__(
        self,
        agent: Agent,
        settings: Settings,
        *,
        store: TaskStore | None = None,
        around: Callable[[AgentRunner], AgentRunner] = lambda runner: runner,
    ) -> None:
        self.settings = settings
        shared = shares(settings)
        if not (shared or settings.workers):
            raise ConfigurationError(
                f"{shown(settings.store)} is served by one process alone, so workers=0 would run nothing; name a "
                "--store that processes share (postgresql://, mongodb://)."
            )
        self._lock = None if shared else FileLock(local_path(settings.store))
        apart = ledger_address(settings)
        self._ledger_lock = FileLock(local_path(apart)) if kind_of(apart) == ALONE else None
        self._starting = asyncio.Lock()
        self._started = False
        runner = around(SkillRunner(agent, threads=settings.threads))
        desk = Desk()
        mounts = mounts_of(settings, desk)
        self.metrics = Metrics(
            skill.id for one in (runner, *(mount.runner for mount in mounts)) for skill in one.skills
        )
        limits = limits_of(settings)
        about = {"host": socket.gethostname(), "pid": os.getpid()}
        backends, self._ledger = backends_of(settings, self.metrics, store), ledger_of(settings)
        ledger = self._ledger or backends.store
        self.usage = Usage(ledger, Random())  # noqa: S311 - spreads writes, guards nothing
        self.engine = Engine(
            backends,
            metered(runner, self.usage, settings),
            limits,
            working=bool(settings.workers),
            about=told_of(limits, agent=agent.name, **about),
            observer=self.metrics,
            templates=templates_of(settings, runner.skills),
        )
        serve_schedules(self.engine)
        self.mounted = mounted(self.engine, mounts, limits, about)
        self.monitor = monitor_of(self.engine, settings, ledger, self.metrics)
        for work in (self.monitor.run, self.usage.run):
            self.engine.also(work)
        if settings.optimise_slots and settings.workers:
            self.engine.also(optimiser_of(self.engine, limits, self.metrics).run)
        self.base_url = settings.public_url or f"http://{in_url(settings.host)}:{settings.port}"
        self._name = agent.name
        self._routes = Late(self._read_routes)
        desk.opened(self.engine, self.routes, settings, ledger, self.usage)

    async def routes(self) -> Sequence[Route]:
        """The rows of the management API. Its modules are read at the first call: many a server is never asked."""
        return await self._routes.get()

    def _read_routes(self) -> Callable[[], Sequence[Route]]:
        from a2a_server.service.sizing import Sizing
        from a2a_server.web.management.routes import all_routes

        settings = self.settings
        return lambda: all_routes(
            self.engine,
            lambda: self.base_url,
            agent=self._name,
            heartbeat_seconds=settings.heartbeat_seconds,
            write_stall_seconds=settings.write_stall_seconds,
            settings={knob.name: (value_of(settings, knob), knob.description) for knob in knobs()},
            sizing=Sizing(self.usage),
        )

    def _warn(self) -> None:
        if self._lock is None and kind_of(self.settings.artifacts) == "file":
            _log.warning(
                "Artifacts go to %s: every process on this store must see that directory (or name s3://, store://).",
                self.settings.artifacts,
            )

    async def start(self) -> None:
        """Take the database for this process and begin to work; only the first call does."""
        async with self._starting:
            if not self._started:
                self._warn()
                if self._lock is not None:
                    self._lock.acquire()
                try:
                    if self._ledger_lock is not None:
                        self._ledger_lock.acquire()
                    if self._ledger is not None:
                        await reached(self._ledger.open, seconds=self.settings.start_seconds, random=Random())  # noqa: S311
                    await self.engine.start()
                except BaseException:
                    await self.engine.abandon()
                    await self._release()
                    raise
                self._started = True

    async def stop(self) -> None:
        """Drain, close everything, let the database go."""
        if self._started:
            self._started = False
            with suppress(EngineError, ClientError, TimeoutError):  # what runs took is no promise
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self.usage.write()
            await self.engine.stop()
            await self._release()

    async def _release(self) -> None:
        if self._ledger is not None:
            await self._ledger.close()
        for lock in (self._lock, self._ledger_lock):
            if lock is not None:
                lock.release()


class System(Process):
    """A process that serves its agents: its HTTP application is `app`. `base_url` is where clients reach it."""

    def __init__(
        self,
        agent: Agent,
        settings: Settings,
        *,
        store: TaskStore | None = None,
        around: Callable[[AgentRunner], AgentRunner] = lambda runner: runner,
    ) -> None:
        super().__init__(agent, settings, store=store, around=around)
        self.app = self._application(agent)

    def _application(self, agent: Agent) -> Starlette:
        settings, backends = self.settings, self.engine.backends

        def base_url() -> str:
            return self.base_url

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await self.start()
            try:
                yield
            finally:
                await self.stop()

        limits = DoorLimits(
            settings.body_limit_bytes,
            settings.bodies_bytes,
            settings.heartbeat_seconds,
            settings.write_stall_seconds,
        )
        bodies = Bodies(limits.body_bytes, limits.bodies_bytes)

        def site(agent: Agent, engine: Engine, path: str) -> Site:
            card = agent.card
            dispatcher = Dispatcher(Operations(engine, base_url), base_url, card.capabilities, self.metrics)
            seconds = settings.card_cache_seconds
            pages = CardPages(card, base_url, cache_seconds=seconds, changed_at=wall_clock, path=path)
            return Site(Door(dispatcher, base_url, limits, bodies), pages)

        return application(
            site(agent, self.engine, "/"),
            ArtifactPages(Files(backends.store), backends.artifacts, stall_seconds=settings.write_stall_seconds),
            Uploads(self.engine, base_url, stall_seconds=settings.write_stall_seconds),
            HealthPages(self.engine, self.metrics),
            management=Late(self._read_management).get,
            agents={mount.name: site(mount.agent, engine, AGENTS + mount.name) for mount, engine in self.mounted},
            lifespan=lifespan,
        )

    def _read_management(self) -> Callable[[], ManagementApi]:
        from a2a_server.web.management.application import ManagementApi

        return lambda: ManagementApi(self.routes, local=lambda: is_loopback(self.settings.host))


def guard(system: System) -> None:
    """From now on requests must be meant for a host that is allowed. Before the first request."""
    settings = system.settings
    allowed = allowed_names(settings.host, settings.public_url, settings.allowed_hosts)
    system.app.add_middleware(HostCheck, allowed=allowed)


def limits_of(settings: Settings) -> Limits:
    """The engine's share of the settings."""
    names = Limits.__dataclass_fields__
    given = {name: value for name, value in settings.model_dump().items() if name in names}
    return Limits(**given, scheduling_seconds=settings.task_manager.scheduling_interval_seconds)


def in_url(host: str) -> str:
    """A host as addresses spell it."""
    return f"[{host}]" if ":" in host else host
