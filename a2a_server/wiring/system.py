"""One agent, settings and backends put together: a process that works, and one that serves as well."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from a2a_server.agent import Agent
from a2a_server.agents.skill import SkillRunner
from a2a_server.engine.engine import Engine, wall_clock
from a2a_server.engine.limits import Limits
from a2a_server.errors import ConfigurationError
from a2a_server.ports import AgentRunner, TaskStore
from a2a_server.service.files import Files
from a2a_server.service.operations import Operations
from a2a_server.settings import Settings, kind_of, local_path
from a2a_server.settings.services import shown
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.telemetry.metrics import Metrics
from a2a_server.web.app import Door, DoorLimits, application
from a2a_server.web.artifacts import ArtifactPages
from a2a_server.web.card import CardPages
from a2a_server.web.guards import HostCheck, allowed_names
from a2a_server.web.health import HealthPages
from a2a_server.web.rpc import Dispatcher
from a2a_server.web.uploads import Uploads
from a2a_server.wiring.backends import backends_of, shares

_log = logging.getLogger("a2a_server.wiring")


class Process:
    """One agent with its engine, in this process.

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
        self._starting = asyncio.Lock()
        self._started = False
        runner = around(SkillRunner(agent, threads=settings.threads))
        self.metrics = Metrics(skill.id for skill in runner.skills)
        self.engine = Engine(
            backends_of(settings, self.metrics, store),
            runner,
            limits_of(settings),
            working=bool(settings.workers),
            about={"host": socket.gethostname(), "pid": os.getpid(), "agent": agent.name},
            observer=self.metrics,
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
                    await self.engine.start()
                except BaseException:
                    await self.engine.abandon()
                    self._release()
                    raise
                self._started = True

    async def stop(self) -> None:
        """Drain, close everything, let the database go."""
        if self._started:
            self._started = False
            await self.engine.stop()
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


class System(Process):
    """A process that serves its agent: its HTTP application is `app`. `base_url` is where clients reach it."""

    def __init__(
        self,
        agent: Agent,
        settings: Settings,
        *,
        store: TaskStore | None = None,
        around: Callable[[AgentRunner], AgentRunner] = lambda runner: runner,
    ) -> None:
        super().__init__(agent, settings, store=store, around=around)
        self.base_url = settings.public_url or f"http://{in_url(settings.host)}:{settings.port}"
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

        return application(
            Door(
                Dispatcher(Operations(self.engine, base_url), base_url, agent.card.capabilities, self.metrics),
                base_url,
                DoorLimits(
                    settings.body_limit_bytes,
                    settings.bodies_bytes,
                    settings.heartbeat_seconds,
                    settings.write_stall_seconds,
                ),
            ),
            CardPages(agent.card, base_url, cache_seconds=settings.card_cache_seconds, changed_at=wall_clock),
            ArtifactPages(Files(backends.store), backends.artifacts, stall_seconds=settings.write_stall_seconds),
            Uploads(self.engine, base_url, stall_seconds=settings.write_stall_seconds),
            HealthPages(self.engine, self.metrics),
            lifespan=lifespan,
        )


def guard(system: System) -> None:
    """From now on requests must be meant for a host that is allowed. Before the first request."""
    settings = system.settings
    allowed = allowed_names(settings.host, settings.public_url, settings.allowed_hosts)
    system.app.add_middleware(HostCheck, allowed=allowed)


def limits_of(settings: Settings) -> Limits:
    """The engine's share of the settings."""
    names = Limits.__dataclass_fields__
    return Limits(**{name: value for name, value in settings.model_dump().items() if name in names})


def in_url(host: str) -> str:
    """A host as addresses spell it."""
    return f"[{host}]" if ":" in host else host
