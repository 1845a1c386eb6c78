"""The real server as a process of its own, on a free port and on files that outlive it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import httpx2

from tests.drills.processes import PROGRAM, Process, ServerFailure, free_port

__all__ = ["CARD", "Listener", "Server", "ServerFailure", "free_port", "serving"]

CARD = "/.well-known/agent-card.json"
_CARD_SECONDS = 2.0


class Listener(Process):
    """A process that serves an agent on a port of 127.0.0.1, the same after every start."""

    def __init__(
        self,
        log: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(log, settings, environment)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"

    async def ready(self) -> bool:
        """Whether it shows its card."""
        async with httpx2.AsyncClient(timeout=_CARD_SECONDS, trust_env=False) as http:
            try:
                return (await http.get(self.url.rstrip("/") + CARD)).is_success
            except httpx2.TransportError:
                return False


class Server(Listener):
    """One server with its database, artifacts and log in `directory`. settings: by their names in capitals."""

    def __init__(
        self,
        directory: Path,
        agent: str = "a2a_server/examples/workbench.py",
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(directory / "server.log", settings)
        self.directory = directory
        self.database = directory / "tasks.db"
        self._agent = agent

    def command(self) -> list[str]:
        """`a2a-server run` on files."""
        store, artifacts = f"sqlite:///{self.database}", (self.directory / "artifacts").as_uri()
        options = {"--host": "127.0.0.1", "--port": str(self.port), "--store": store, "--artifacts": artifacts}
        return [PROGRAM, "run", self._agent, *(word for option in options.items() for word in option)]


@asynccontextmanager
async def serving(directory: Path, settings: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[Server]:
    """A server that answers, and is gone afterwards. settings: by their names in capitals."""
    server = Server(directory, settings=settings)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
