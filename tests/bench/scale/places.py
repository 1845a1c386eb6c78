"""Where the rows about scaling run: services and processes of their own, all on 127.0.0.1, and what each of them costs.

A service belongs to the whole run of the benchmark, a database or prefix to one row. The processor time of a service is
that of its whole family of processes, those that have ended among them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import psutil

from tests.bench.servers import AGENT, Failed
from tests.cluster import ClusterError, Member
from tests.drills.server import free_port
from tests.services import Missing, NotReady, Server, own
from tests.services.fresh import fresh_database, fresh_name

REGION = "eu-west-1"
_AWS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}


class Family:
    """A process and all below it.

    Where the system counts a thread's time in nanoseconds, that is used: else it is in hundredths of a second, which is
    little for one of PostgreSQL's many processes. A thread that has ended is not counted then.
    """

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self._leader = psutil.Process(pid)

    def cpu_seconds(self) -> float:
        """User and system time since its start, of those too that have ended. Raises Failed."""
        try:
            times = self._leader.cpu_times()
            total = times.children_user + times.children_system + _busy_seconds(self._leader)
            for process in self._leader.children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # ended just now: its time is its parent's
                    total += _busy_seconds(process)
        except psutil.NoSuchProcess:
            raise Failed(f"{self.name} ended by itself") from None
        return total

    def use(self, cores: Sequence[int]) -> None:
        """All of them run on these processors from now on; none given = wherever they do."""
        for process in [self._leader, *self._leader.children(recursive=True)] if cores else ():
            with suppress(psutil.NoSuchProcess):
                process.cpu_affinity(list(cores))


class Services:
    """Servers of this run's own, each started when a row first asks for it. `close` ends them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[str, Server] = {}

    async def get(self, name: str, cores: Sequence[int]) -> Server:
        """The running server, on these processors; what PostgreSQL acknowledges is on disk.

        Raises Failed where there is no program for it.
        """
        if name not in self._servers:
            try:
                made = own(name, durable=name == "postgresql")
                self._servers[name] = await asyncio.to_thread(self._stack.enter_context, made)
            except (Missing, NotReady) as error:
                raise Failed(str(error)) from error
        self.family(name).use(cores)
        return self._servers[name]

    def family(self, name: str) -> Family:
        """The processes of a server that runs."""
        return Family(name, self._servers[name].pid)

    def close(self) -> None:
        """None of them runs any more."""
        self._servers.clear()
        self._stack.close()


@contextmanager
def database(server: Server) -> Iterator[str]:
    """The address of a new database on the server."""
    with fresh_database(server.url) as url:
        yield url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection. Raises Failed where a commit does not wait for the disk."""
    connection = await asyncpg.connect(url, timeout=10, command_timeout=600)
    try:
        for name in ("fsync", "synchronous_commit"):
            if await connection.fetchval(f"SHOW {name}") != "on":
                raise Failed(f"PostgreSQL runs with {name} off, so nothing that it keeps is durable")
        yield connection
    finally:
        connection.terminate()


async def broker_settings(services: Services, kind: str, cores: Sequence[int]) -> dict[str, str]:
    """Settings of queue and notifier, under a prefix of their own.

    kind: store (LISTEN/NOTIFY), redis, rabbitmq, sqs (and LISTEN/NOTIFY), poll (nothing but looks at the store).
    """
    if kind in ("store", "poll"):
        return {"QUEUE": "store://", **({"NOTIFIER": "poll://"} if kind == "poll" else {})}
    url, prefix = (await services.get(kind, cores)).url, fresh_name()
    if kind == "sqs":
        queue = f"sqs://{REGION}?endpoint={url}&prefix={prefix}"
        return {"QUEUE": queue, "CREATE_MISSING": "true"}
    return {"QUEUE": f"{url}?prefix={prefix}"}


@asynccontextmanager
async def running(
    directory: Path,
    settings: Mapping[str, str],
    cores: Sequence[int],
    *,
    servers: int,
    fronts: int = 0,
    workers: int = 0,
) -> AsyncIterator[list[Member]]:
    """So many processes that serve and work, then those that only serve, then those that only work.

    cores: the processors they use; none = as this process. Raises Failed.
    """
    await asyncio.to_thread(directory.mkdir, parents=True)
    given = {**settings, "ARTIFACTS": f"file://{directory}/artifacts"}
    roles = [("run",)] * servers + [("run", "--workers", "0")] * fronts + [("worker",)] * workers
    members = []
    for number, (verb, *options) in enumerate(roles, 1):
        port = free_port() if verb == "run" else 0
        words = (verb, str(AGENT), *options, *(("--port", str(port)) if port else ()))
        url = f"http://127.0.0.1:{port}" if port else ""
        members.append(Member(f"{verb} {number}", words, directory / f"{number}.log", given, url))
    try:
        for member in members:
            with _simulated_aws():
                await asyncio.to_thread(member.start)
            Family(member.name, member.process.pid).use(cores)
        for member in members:
            await asyncio.to_thread(member.ready)
        yield members
    except ClusterError as error:
        raise Failed(str(error)) from error
    finally:
        await asyncio.to_thread(_end, members)


def port_of(member: Member) -> int:
    """Where a server listens."""
    return int(member.url.rpartition(":")[2])


@contextmanager
def spread(cores: Sequence[int]) -> Iterator[None]:
    """This process may run on these processors, as those that it measures do."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _simulated_aws() -> Iterator[None]:
    """Processes that are started here find credentials, which the simulator does not look at."""
    before = {name: os.environ.get(name) for name in _AWS}
    os.environ.update(_AWS)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _busy_seconds(process: psutil.Process) -> float:
    total = 0
    try:
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended just now
                total += int((thread / "schedstat").read_text().split()[0])
    except OSError:
        total = 0
    if total:
        return total / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def _end(members: Sequence[Member]) -> None:
    for member in members:
        member.end()
