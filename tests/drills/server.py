"""The real server as a process of its own: started on a free port, waited for, killed, started again on the same files.

Only the process that was started here is ever signalled, by its own id.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import httpx2

_ROOT = Path(__file__).resolve().parents[2]
_PORTS = range(20_000, 32_000)  # below the range from which the kernel takes clients' ports
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0
CARD = "/.well-known/agent-card.json"


class ServerFailure(Exception):
    """The server did not start, or stopped by itself; the text ends with its last words."""


class Server:
    """One server on 127.0.0.1 with its database, artifacts and log in `directory`. Not for two callers at once.

    settings: by their names in capitals.
    """

    def __init__(
        self,
        directory: Path,
        agent: str = "a2a_server/examples/workbench.py",
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.directory = directory
        self.database = directory / "tasks.db"
        self.log = directory / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._agent = agent
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the running server. Raises ServerFailure when there is none."""
        if self._process is None or self._process.returncode is not None:
            raise ServerFailure(f"no server runs; its last words:\n{self._last_words()}")
        return self._process.pid

    async def start(self) -> float:
        """The server answers; returns how many seconds that took. Raises ServerFailure."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                cwd=_ROOT,
                env={**os.environ, **{f"A2A_SERVER_{name}": value for name, value in self._settings.items()}},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await self._ready(begun + _START_SECONDS)
        except BaseException:
            await self.kill()
            raise
        return time.monotonic() - begun

    async def kill(self) -> None:
        """The process is gone without having been asked (SIGKILL). Idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()

    async def stop(self) -> int:
        """The process was asked to end (SIGTERM) and did; returns its exit code. Raises ServerFailure if it did not."""
        process = self._process
        if process is None:
            raise ServerFailure("no server runs")
        if process.returncode is None:
            process.terminate()
        try:
            code = await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            raise ServerFailure(f"SIGTERM was not obeyed in {_STOP_SECONDS:.0f} s\n{self._last_words()}") from None
        self._process = None
        return code

    def _command(self) -> list[str]:
        command = Path(sys.executable).with_name("a2a-server")
        store, artifacts = f"sqlite:///{self.database}", (self.directory / "artifacts").as_uri()
        options = {"--host": "127.0.0.1", "--port": str(self.port), "--store": store, "--artifacts": artifacts}
        return [str(command), "run", self._agent, *(word for option in options.items() for word in option)]

    async def _ready(self, deadline: float) -> None:
        async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
            while time.monotonic() < deadline:
                _ = self.pid
                try:
                    if (await http.get(self.url.rstrip("/") + CARD)).is_success:
                        return
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.02)
        raise ServerFailure(f"no card after {_START_SECONDS:.0f} s; the server's last words:\n{self._last_words()}")

    def _last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:] if self.log.exists() else ""


@asynccontextmanager
async def serving(directory: Path, settings: Mapping[str, str] = MappingProxyType({})) -> AsyncIterator[Server]:
    """A server that answers, and is gone afterwards. settings: by their names in capitals."""
    server = Server(directory, settings=settings)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on. Raises ServerFailure after 50 attempts."""
    for _ in range(50):
        port = random.choice(_PORTS)  # noqa: S311 - spreads drills that run side by side
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailure("no free port found")
