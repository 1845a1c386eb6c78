"""Several processes of one server on services of their own: PostgreSQL, a broker, front ends and workers.

Every process is a `Node`: a server (`a2a-server run`) or a worker (`a2a-server worker`). One of them may reach its
services through fault proxies, one may hear of others only by polling, and the clock of one may be off. Everything
belongs to this drill alone, so it may be stopped, flushed and killed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from a2a_server.settings import Settings, load
from a2a_server.wiring import operating
from tests.drills.processes import PROGRAM, Process
from tests.drills.report import say
from tests.drills.server import Listener
from tests.services import Missing, Server as Service, own
from tests.services.proxy import Proxy

AGENT = "tests/drills/agent.py"
LEASE_SECONDS = 2.0
SETTINGS = {
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "BEAT_SECONDS": "0.5",
    "POLL_SECONDS": "0.3",
    "BACKOFF_BASE_SECONDS": "0.2",
    "BACKOFF_LIMIT_SECONDS": "1",
    "CANCEL_GRACE_SECONDS": "1",
    "DRAIN_SECONDS": "3",
    "HEARTBEAT_SECONDS": "1",
    "LOG_LEVEL": "info",
    "START_SECONDS": "120",
}
"""Short, so that things happen while a drill looks; but a process waits long for a service that is started again."""
BROKERS: Mapping[str, str] = MappingProxyType({"redis": "redis", "rabbitmq": "rabbitmq"})
"""Which service each queue needs beside the store; `store` needs none."""


class NodeWorker(Process):
    """`a2a-server worker`."""

    def command(self) -> list[str]:
        """All its settings are in the environment."""
        return [PROGRAM, "worker", AGENT]

    async def ready(self) -> bool:
        """Whether it says that it runs tasks."""
        return "runs tasks of" in self.said()


class NodeServer(Listener):
    """`a2a-server run`."""

    def command(self) -> list[str]:
        """All its settings but the port are in the environment."""
        return [PROGRAM, "run", AGENT, "--host", "127.0.0.1", "--port", str(self.port)]


@dataclass(slots=True, eq=False)
class Node:
    """One process. `busy`: a fault has it; only one at a time may. wanted: it should run now."""

    name: str
    process: NodeServer | NodeWorker
    proxies: tuple[Proxy, ...] = ()
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: bool = False

    async def start(self) -> None:
        """It is ready. Raises ServerFailure."""
        await self.process.start()
        self.wanted = True

    async def kill(self) -> None:
        """It is gone."""
        self.wanted = False
        await self.process.kill()

    async def stop(self) -> int:
        """It has ended by itself after SIGTERM; its exit code. Raises ServerFailure."""
        self.wanted = False
        return await self.process.stop()


@dataclass(slots=True)
class Cluster:
    """What runs. broker: None where the store is the queue. oddities: nodes that are not like the others, by what."""

    directory: Path
    queue: str
    database: Service
    broker: Service | None
    settings: Settings
    nodes: list[Node] = field(default_factory=list)
    oddities: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> list[Node]:
        """Those that clients can call."""
        return [node for node in self.nodes if isinstance(node.process, NodeServer)]

    @property
    def workers(self) -> list[Node]:
        """Those that only run tasks."""
        return [node for node in self.nodes if isinstance(node.process, NodeWorker)]

    @property
    def urls(self) -> list[str]:
        """Of the servers that run."""
        processes = [node.process for node in self.nodes]
        return [process.url for process in processes if isinstance(process, NodeServer) and process.running]

    @property
    def notes(self) -> Path:
        """What narrow runs noted."""
        return self.directory / "notes"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. working: of each server, whether it has a worker too. Nodes are named s0, s1, w0, w1, …

    proxied, polling, skewed: the node that has fault proxies, the one without doorbells, and the one whose clock is off
    by `skew` ('' = none). settings: beside `SETTINGS`.
    """

    queue: str
    working: Sequence[bool] = (False, True)
    workers: int = 3
    proxied: str = ""
    polling: str = ""
    skewed: str = ""
    skew: str = "+1h"
    settings: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def running(directory: Path, plan: Plan, broker: Service | None = None) -> AsyncIterator[Cluster]:
    """The cluster, every process of it ready; nothing of it is there afterwards but its files in `directory`.

    broker: of the plan's queue, already running and the caller's; else one is started. Raises ServerFailure, and what
    `tests.services.own` raises.
    """
    async with AsyncExitStack() as stack:
        database = await _entered(stack, "postgresql")
        if plan.queue in BROKERS and broker is None:
            broker = await _entered(stack, BROKERS[plan.queue])
        cluster = Cluster(directory, plan.queue, database, broker, _settings(directory, plan, database.url, broker))
        await operating.migrate(cluster.settings)
        names = [f"s{number}" for number in range(len(plan.working))] + [f"w{n}" for n in range(plan.workers)]
        for name in names:
            cluster.nodes.append(_node(stack, cluster, plan, name))
        stack.push_async_callback(_end, cluster)
        await asyncio.gather(*(node.start() for node in cluster.nodes))
        yield cluster


async def _end(cluster: Cluster) -> None:
    await asyncio.gather(*(node.kill() for node in cluster.nodes))


async def _entered(stack: AsyncExitStack, name: str) -> Service:
    """The service, in a thread: its start and its end wait."""
    service = own(name)
    found = await asyncio.to_thread(service.__enter__)
    stack.push_async_callback(asyncio.to_thread, service.__exit__, None, None, None)
    return found


def _settings(directory: Path, plan: Plan, store: str, broker: Service | None) -> Settings:
    given = {name.lower(): value for name, value in {**SETTINGS, **plan.settings}.items()}
    return load(None, **given, **_addresses(directory, plan.queue, store, broker.url if broker else ""))


def _addresses(directory: Path, queue: str, store: str, broker: str) -> dict[str, str]:
    prefix = f"?prefix={directory.name.replace('_', '-')}"
    return {
        "store": store,
        "queue": f"{broker}{prefix}" if queue in BROKERS else "store://",
        "artifacts": (directory / "artifacts").as_uri(),
    }


def _node(stack: AsyncExitStack, cluster: Cluster, plan: Plan, name: str) -> Node:
    store, broker = cluster.database.url, cluster.broker.url if cluster.broker else ""
    proxies: list[Proxy] = []
    if name == plan.proxied:
        cluster.oddities["proxied"] = name
        proxies += [stack.enter_context(Proxy(url)) for url in (store, broker) if url]
        store, broker = proxies[0].url, proxies[-1].url if broker else ""
    addresses = _addresses(cluster.directory, plan.queue, store, broker)
    settings = {**SETTINGS, **plan.settings, **{each.upper(): value for each, value in addresses.items()}}
    if name == plan.polling:
        cluster.oddities["polling"] = name
        settings["NOTIFIER"] = "poll://"
    environment = {"A2A_DRILL_NOTES": str(cluster.notes)}
    if name == plan.skewed:
        cluster.oddities["clock"] = f"{name} {plan.skew}"
        environment |= skewed(plan.skew)
    log = cluster.directory / f"{name}.log"
    if name.startswith("w"):
        return Node(name, NodeWorker(log, settings, environment), tuple(proxies))
    settings["WORKERS"] = str(int(plan.working[int(name[1:])]))
    return Node(name, NodeServer(log, settings, environment), tuple(proxies))


def faketime() -> Path | None:
    """The library that sets a process's clock; None = there is none. Debian: `libfaketime`."""
    given = os.environ.get("A2A_TEST_FAKETIME_LIBRARY")
    found = [Path(given)] if given else sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return found[0] if found and found[0].exists() else None


def may_skew() -> bool:
    """Whether clocks can be set here. Raises Missing where tests must have everything that they need."""
    if faketime() is not None:
        return True
    if os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1":
        raise Missing("no libfaketime is installed here; scripts/services setup does it")
    say("no libfaketime is installed here (scripts/services setup does it), so no clock is off")
    return False


def skewed(by: str) -> dict[str, str]:
    """The environment of a process whose clock is off, but goes as fast as everybody's."""
    library = faketime()
    assert library is not None
    return {"LD_PRELOAD": str(library), "FAKETIME": by, "DONT_FAKE_MONOTONIC": "1"}


@contextmanager
def shared(name: str) -> Iterator[Service]:
    """A service for several clusters, one after the other; for those that are slow to start."""
    with own(name) as service:
        yield service
