"""Processes of our own: started, waited for, killed, paused, started again. What they say goes into a file.

Only a process that was started here is ever signalled, by its own id.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.patience import PATIENCE
from tests.services.server import free_ports

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sys.executable).with_name("a2a-server"))


class ServerFailure(Exception):
    """A process did not start, or stopped by itself; the text ends with its last words."""


class Process:
    """One process. Not for two callers at once.

    log: gets what it says, appended. settings: of the server, by their names in capitals. environment: the rest.
    """

    def __init__(
        self,
        log: Path,
        settings: Mapping[str, str] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.log = log
        self._environment = {**environment, **{f"A2A_SERVER_{name}": value for name, value in settings.items()}}
        self._process: asyncio.subprocess.Process | None = None
        self.said_before = 0

    @property
    def pid(self) -> int:
        """Of the running process. Raises ServerFailure when there is none."""
        if self._process is None or self._process.returncode is not None:
            raise ServerFailure(f"nothing runs; its last words:\n{self.last_words()}")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> float:
        """It is ready; returns how many seconds that took. Raises ServerFailure."""
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.said_before = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                *self.command(),
                cwd=ROOT,
                env={**os.environ, **self._environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            await self._until_ready(begun + PATIENCE)
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
            raise ServerFailure("nothing runs")
        if process.returncode is None:
            process.terminate()
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            await self.kill()
            raise ServerFailure(f"SIGTERM was not obeyed in {PATIENCE:.0f} s\n{self.last_words()}") from None
        self._process = None
        return code

    def pause(self) -> None:
        """It stands still (SIGSTOP) until `resume`; its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    async def ready(self) -> bool:
        """Whether it does what it is for."""
        raise NotImplementedError

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:] if self.log.exists() else ""

    def said(self) -> str:
        """What it has said since it was started."""
        return self.log.read_bytes()[self.said_before :].decode(errors="replace")

    async def _until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            _ = self.pid
            if await self.ready():
                return
            await asyncio.sleep(0.02)
        raise ServerFailure(f"not ready after {PATIENCE:.0f} s; its last words:\n{self.last_words()}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that stays the caller's. Raises RuntimeError: there is none."""
    return free_ports(1)[0]
