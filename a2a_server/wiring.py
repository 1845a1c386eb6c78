"""Settings and an agent put together into a running system; the only file that knows every part.

Reached by the command line, by `testing` and by the package's `run` and `asgi`, and by nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from typing import cast

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from a2a_server.agent import Agent
from a2a_server.agents.skill import SkillRunner
from a2a_server.artifacts.filesystem import FilesystemArtifacts
from a2a_server.engine.engine import Backends, Engine, wall_clock
from a2a_server.engine.limits import Limits
from a2a_server.engine.metering import MeteredArtifacts
from a2a_server.errors import ConfigurationError
from a2a_server.notifiers.local import LocalNotifier
from a2a_server.ports import AgentRunner, TaskStore
from a2a_server.queues.memory import MemoryQueue
from a2a_server.service.files import Files
from a2a_server.service.operations import Operations
from a2a_server.settings import Settings, load, local_path
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.telemetry import configure
from a2a_server.telemetry.metrics import Metrics
from a2a_server.web.app import Door, DoorLimits, application
from a2a_server.web.artifacts import ArtifactPages
from a2a_server.web.card import CardPages
from a2a_server.web.guards import HostCheck, allowed_names
from a2a_server.web.health import HealthPages
from a2a_server.web.limits import ConnectionLimits
from a2a_server.web.protocol import Protocol
from a2a_server.web.rpc import Dispatcher
from a2a_server.web.uploads import Uploads

LISTEN_BACKLOG = 2048
CLOSE_SECONDS = 10
SPARE_DESCRIPTORS = 512
"""Files that the process opens beside its connections."""
YOUNG_OBJECTS = 10_000
"""How many objects a process that only serves makes before it looks for cycles among them."""

_log = logging.getLogger("a2a_server.wiring")


class System:
    """One agent with its engine and its HTTP application. `base_url` is where clients reach it.

    store: used instead of the one that the settings name. around: what runs the agent, given what else would run it.
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
        self.base_url = settings.public_url or f"http://{_in_url(settings.host)}:{settings.port}"
        database = local_path(settings.store)
        self._lock = FileLock(database)
        self._starting = asyncio.Lock()
        self._started = False
        runner = around(SkillRunner(agent, threads=settings.threads))
        self.metrics = Metrics(skill.id for skill in runner.skills)
        self.engine = Engine(
            Backends(
                store or SqliteStore(database),
                MemoryQueue(),
                LocalNotifier(),
                MeteredArtifacts(FilesystemArtifacts(local_path(settings.artifacts)), self.metrics),
            ),
            runner,
            limits_of(settings),
            observer=self.metrics,
        )
        self.app = self._application(agent)

    async def start(self) -> None:
        """Take the database for this process and begin to work; only the first call does."""
        async with self._starting:
            if not self._started:
                self._lock.acquire()
                try:
                    await self.engine.start()
                except BaseException:
                    await self.engine.abandon()
                    self._lock.release()
                    raise
                self._started = True

    async def stop(self) -> None:
        """Drain, close everything, let the database go."""
        if self._started:
            self._started = False
            await self.engine.stop()
            self._lock.release()

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


class Server(uvicorn.Server):
    """uvicorn that ends waits and streams first when it is told to stop, and then exits with 0."""

    def __init__(self, system: System, on_ready: Callable[[Server], None]) -> None:
        super().__init__(
            uvicorn.Config(
                system.app,
                http=cast("type[asyncio.Protocol]", partial(Protocol, limits=connection_limits_of(system.settings))),
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=cast("int", system.settings.keep_alive_seconds),  # it takes fractions too
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )
        # Where it would stand by itself it would look through every request; what goes straight needs nothing of it.
        system.app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=self.config.forwarded_allow_ips)
        self._system = system
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready(self)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let blocking calls answer and streams end, so that clients come back later; then close connections."""
        self._system.engine.hub.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve_in_loop`: they also concern what comes after the last connection."""
        yield


async def serve_in_loop(system: System, on_ready: Callable[[Server], None], *, signals: bool = False) -> None:
    """Serve until the server is told to stop: by `Server.should_exit`, or by SIGTERM and SIGINT where `signals` is set.

    A second signal waits neither for connections nor for running handlers, which are handed back.
    Raises ConfigurationError: the address or the database cannot be used.
    """
    # Streams end when the hub closes, not when sse-starlette sees a flag that stays set for the whole process.
    AppStatus.enable_automatic_graceful_drain = False
    listener = _listener(system.settings.host, system.settings.port)
    try:
        if not system.settings.public_url:
            system.base_url = f"http://{_in_url(system.settings.host)}:{listener.getsockname()[1]}"
        await system.start()
        guard(system)
        server = Server(system, on_ready)
        with _stopped_by_signals(server, system) if signals else nullcontext():
            try:
                await server.serve([listener])
            finally:
                await system.stop()
    finally:
        listener.close()


@contextmanager
def _stopped_by_signals(server: Server, system: System) -> Iterator[None]:
    def stop() -> None:
        worker = system.engine.worker
        if server.should_exit:
            server.force_exit = True
            worker.hurry()
        elif worker.running:
            _log.info(
                "Stopping: %d running tasks have up to %g s; a second signal hands them back at once.",
                worker.running,
                system.settings.drain_seconds,
            )
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def serve(agent: Agent, settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit code. `on_ready` gets the base URL.

    Raises:
        ConfigurationError: the card, the address or the database cannot be used; the text says what to change.
    """
    configure(settings.log_level, settings.log_format)
    _allow_descriptors(settings.max_connections + SPARE_DESCRIPTORS)

    async def main() -> int:
        system = System(agent, settings)

        def ready(_: Server) -> None:
            _spare_what_stays()
            on_ready(system.base_url)

        await serve_in_loop(system, ready, signals=True)
        return system.engine.worker.running

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        stuck = runner.run(main())
    if stuck:
        # The interpreter would wait for their threads; whatever they still say is refused.
        _log.warning("%d handlers did not stop; the process ends without them.", stuck)
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    return 0


def run(agent: Agent, **settings: object) -> None:
    """See `a2a_server.run`."""
    serve(agent, load(None, **settings), on_ready=lambda url: _log.info("%s listens on %s", agent.name, url))


def asgi(agent: Agent, **settings: object) -> Starlette:
    """See `a2a_server.asgi`. Work begins with the application's lifespan, which a parent application has to run."""
    system = System(agent, load(None, **settings))
    if system.settings.allowed_hosts:  # otherwise the application around it says for whom it answers
        guard(system)
    return system.app


def guard(system: System) -> None:
    """From now on requests must be meant for a host that is allowed. Before the first request."""
    settings = system.settings
    allowed = allowed_names(settings.host, settings.public_url, settings.allowed_hosts)
    system.app.add_middleware(HostCheck, allowed=allowed)


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """The connections' share of the settings."""
    return ConnectionLimits(
        settings.max_connections,
        settings.header_seconds,
        settings.body_stall_seconds,
        settings.body_bytes_per_second,
    )


def limits_of(settings: Settings) -> Limits:
    """The engine's share of the settings."""
    names = Limits.__dataclass_fields__
    return Limits(**{name: value for name, value in settings.model_dump().items() if name in names})


def _allow_descriptors(wanted: int) -> None:
    """Let the process open so many files and connections, as far as the system lets it."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    if allowed < wanted:
        _log.warning("This process may open %d files; max_connections would need %d (ulimit -n).", allowed, wanted)


def _spare_what_stays() -> None:
    """Hardly anything here is a cycle, and modules stay for ever: by default every request would pay for looking.

    Nor does the first request wait for a look at what the start left: it is little, and stays as well.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns off Nagle's algorithm only where it is: 40 ms an answer otherwise.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --port, or end what uses this one."
        ) from error
    listener.settimeout(0)
    return listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
