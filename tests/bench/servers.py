"""The servers that are compared: each a process of its own on a core of its own, watched from outside.

What a server costs is the processor time of its whole process tree; what it holds is the resident memory of that tree.
Only processes that were started here are ever signalled, by their own id.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

from tests.drills.server import free_port

ROOT = Path(__file__).resolve().parents[2]
AGENT = Path(__file__).with_name("agent.py")
PEERS = ROOT / ".cache/peers/python/bin/python"
PEER_PROGRAMS = Path(__file__).with_name("peers")
START_SECONDS = 60.0
STOP_SECONDS = 15.0


class Failed(Exception):
    """A server did not start or ended by itself; the text ends with its last words."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is started. program: of the peers, '' = our own server. environment: beside PORT and DB."""

    name: str
    program: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def command(self, port: int, directory: Path) -> list[str]:
        """What starts it. directory: its own, empty at first."""
        if self.program:
            return [str(PEERS), str(PEER_PROGRAMS / self.program)]
        store, artifacts = f"sqlite:///{directory / 'tasks.db'}", (directory / "artifacts").as_uri()
        options = {"--host": "127.0.0.1", "--port": str(port), "--store": store, "--artifacts": artifacts}
        ours = Path(sys.executable).with_name("a2a-server")
        return [str(ours), "run", str(AGENT), *(word for option in options.items() for word in option)]


OURS = Kind("ours")
OURS_AGAIN = Kind("ours again")
SDK_MEMORY = Kind("a2a-sdk in memory", "a2a_sdk_server.py", MappingProxyType({"STORE": "memory"}))
SDK_SQLITE = Kind("a2a-sdk on SQLite", "a2a_sdk_server.py", MappingProxyType({"STORE": "sqlite"}))
FASTA2A = Kind("fasta2a in memory", "fasta2a_server.py", MappingProxyType({"CONC": "1"}))
STARLETTE = Kind("Starlette, no work", "plain_server.py", MappingProxyType({"KIND": "starlette"}))
RAW = Kind("ASGI, no work", "plain_server.py", MappingProxyType({"KIND": "raw"}))


class Server:
    """One running server. port: on 127.0.0.1. directory: what it stores is there."""

    def __init__(self, kind: Kind, port: int, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.kind = kind
        self.port = port
        self.directory = directory
        self._process = process
        self._tree = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """User and system time of the process and of all that descend from it, since its start."""
        self._check()
        total = 0.0
        for process in self._family():
            times = process.cpu_times()
            total += times.user + times.system
            if process is self._tree:
                total += times.children_user + times.children_system
        return total

    def resident_bytes(self) -> int:
        """Resident memory of the process and of all that descend from it."""
        self._check()
        return sum(process.memory_info().rss for process in self._family())

    def _family(self) -> list[psutil.Process]:
        return [self._tree, *self._tree.children(recursive=True)]

    def _check(self) -> None:
        if self._process.poll() is not None:
            raise Failed(f"{self.kind.name} ended by itself; its last words:\n{last_words(self.directory)}")


def last_words(directory: Path) -> str:
    """The end of what the server in this directory said."""
    return (directory / "log").read_text(errors="replace")[-2000:]


def cores() -> tuple[Sequence[int], Sequence[int]]:
    """The processors for servers and for the load: different ones where the machine has two and says so."""
    if not hasattr(os, "sched_getaffinity"):
        return (), ()
    mine = sorted(os.sched_getaffinity(0))
    return (mine[:1], mine[1:2]) if len(mine) > 1 else (mine, mine)


def environment(kind: Kind, port: int, directory: Path) -> dict[str, str]:
    """What a server's process sees: no setting of whoever runs the benchmark reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("A2A_", "PYTHON", "LD_"))}
    return kept | dict(kind.environment) | {"PORT": str(port), "DB": str(directory / "peer.db")}


@asynccontextmanager
async def started(kind: Kind, directory: Path, core: Sequence[int]) -> AsyncIterator[Server]:
    """The server while it runs; it answers on its port. Raises Failed."""
    await asyncio.to_thread(directory.mkdir, parents=True)
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - short, and psutil wants its id
            kind.command(port, directory),
            cwd=ROOT,
            env=environment(kind, port, directory),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        if core:
            os.sched_setaffinity(process.pid, core)
        await _listening(kind, port, directory, process)
        yield Server(kind, port, directory, process)
    finally:
        await asyncio.to_thread(_end, process)


async def _listening(kind: Kind, port: int, directory: Path, process: subprocess.Popen[bytes]) -> None:
    loop = asyncio.get_running_loop()
    give_up = loop.time() + START_SECONDS
    while loop.time() < give_up:
        if process.poll() is not None:
            raise Failed(f"{kind.name} did not start:\n{last_words(directory)}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise Failed(f"{kind.name} did not listen within {START_SECONDS:.0f} s:\n{last_words(directory)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
