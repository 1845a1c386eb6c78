"""Serving over HTTP: the listener, uvicorn, and the process around them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import cast

import uvicorn
from sse_starlette.sse import AppStatus
from starlette.applications import Starlette
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from a2a_server.agent import Agent
from a2a_server.errors import ConfigurationError
from a2a_server.settings import Settings, load
from a2a_server.settings.addresses import is_loopback
from a2a_server.telemetry import configure
from a2a_server.web.limits import ConnectionLimits
from a2a_server.web.protocol import Protocol
from a2a_server.wiring.running import run_until_over, spare_what_stays, stopped
from a2a_server.wiring.system import System, guard, in_url

LISTEN_BACKLOG = 2048
CLOSE_SECONDS = 10
LAST_REQUEST_SECONDS = 1.0
"""How long a server that stops lets clients ask once more on the connections that they have."""
RECENT_SECONDS = 5.0
"""Connections that were idle for longer are closed at once: hardly anybody asks on them at that very moment."""
_LOOK_SECONDS = 0.05
SPARE_DESCRIPTORS = 512
"""Files that the process opens beside its connections."""

_log = logging.getLogger("a2a_server.wiring")


class Server(uvicorn.Server):
    """uvicorn that lets clients ask once more and ends waits and streams when it is told to stop, and exits with 0.

    Theory of operation. A client may be asking on an idle connection at the moment at which it is closed, and cannot
    know whether it was heard. So the last answer on a connection says that it is closed. What comes meanwhile is
    answered as ever: only then waits and streams end, whose clients shall go on elsewhere. Connections that nobody has
    taken from the listener would be cut with it, so they are taken first.
    """

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
        """Let clients ask once more, blocking calls answer and streams end; then close connections."""
        accepted = [connection for listener in sockets or () for connection in _accepted(listener)]
        for server in self.servers:
            server.close()
        await self._drain(accepted)
        self._system.engine.hub.close()
        await super().shutdown(sockets)

    async def _drain(self, accepted: Sequence[socket.socket]) -> None:
        """Until every client knows that its connection closes, or has had its time. accepted: further connections."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + min(LAST_REQUEST_SECONDS, self._system.settings.drain_seconds)
        connections = cast("set[Protocol]", self.server_state.connections)
        for connection in accepted:
            with suppress(OSError):  # its client has gone
                await loop.connect_accepted_socket(self._protocol, connection)
        for protocol in list(connections):
            protocol.drain(RECENT_SECONDS)
        awaited = True
        while awaited and loop.time() < ends_at and not self.force_exit:
            await asyncio.sleep(_LOOK_SECONDS)
            awaited = any(protocol.awaits for protocol in connections)
        for protocol in list(connections):
            protocol.shutdown()
        await asyncio.sleep(_LOOK_SECONDS)  # what came last begins: waits that have begun are answered when they end

    def _protocol(self) -> asyncio.Protocol:
        made = cast("Callable[..., asyncio.Protocol]", self.config.http_protocol_class)
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

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
            system.base_url = f"http://{in_url(system.settings.host)}:{listener.getsockname()[1]}"
        await system.start()
        guard(system)
        server = Server(system, on_ready)

        def stop() -> None:
            server.should_exit = True

        def hurry() -> None:
            server.force_exit = True

        drain_seconds = system.settings.drain_seconds
        with stopped(system.engine, drain_seconds, stop, hurry) if signals else nullcontext():
            try:
                await server.serve([listener])
            finally:
                await system.stop()
    finally:
        listener.close()


def serve(agent: Agent, settings: Settings, *, on_ready: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit code. `on_ready` gets the base URL.

    Raises:
        ConfigurationError: the card, the address or the database cannot be used; the text says what to change.
    """
    configure(settings.log_level, settings.log_format)
    _allow_descriptors(settings.max_connections + SPARE_DESCRIPTORS)
    if not is_loopback(settings.host):
        _log.warning("Insecure: there is no authentication, and %s is reached from elsewhere.", settings.host)

    async def main() -> int:
        system = System(agent, settings)

        def ready(_: Server) -> None:
            spare_what_stays()
            on_ready(system.base_url)

        await serve_in_loop(system, ready, signals=True)
        return system.engine.running

    return run_until_over(main())


def run(agent: Agent, **settings: object) -> None:
    """See `a2a_server.run`."""
    serve(agent, load(None, **settings), on_ready=lambda url: _log.info("%s listens on %s", agent.name, url))


def asgi(agent: Agent, **settings: object) -> Starlette:
    """See `a2a_server.asgi`. Work begins with the application's lifespan, which a parent application has to run."""
    system = System(agent, load(None, **settings))
    if system.settings.allowed_hosts:  # otherwise the application around it says for whom it answers
        guard(system)
    return system.app


def connection_limits_of(settings: Settings) -> ConnectionLimits:
    """The connections' share of the settings."""
    return ConnectionLimits(
        settings.max_connections,
        settings.header_seconds,
        settings.body_stall_seconds,
        settings.body_bytes_per_second,
    )


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


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait at the listener."""
    with suppress(OSError):  # BlockingIOError: no more are there
        for _ in range(LISTEN_BACKLOG):
            yield listener.accept()[0]


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
