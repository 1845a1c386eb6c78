"""What goes wrong in a history: each fault strikes and is over by itself; a seeded schedule strikes some at a time.

A fault begins by taking what it needs (a node, a service), so that two never have the same in hand: a node that stands
still is not killed, a database that is down is not stopped again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis.asyncio

from tests.drills.cluster import LEASE_SECONDS, Cluster, Node
from tests.drills.ledger import Violation
from tests.drills.processes import ServerFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.services import Server as Service

_LONG = LEASE_SECONDS * 1.6


@dataclass(slots=True)
class Faults:
    """The faults of one history.

    struck: how often each. drains: processes that were asked to end. told: what happened when, from the beginning.
    """

    cluster: Cluster
    rng: random.Random
    drains: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)
    problems: list[Violation] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)
    _database: asyncio.Lock = field(default_factory=asyncio.Lock)
    _broker: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def kinds(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What may strike this cluster."""
        found = {
            "kill-server": self._kill_server,
            "kill-worker": self._kill_worker,
            "pause-worker": self._pause_worker,
            "stop-database": self._stop_database,
        }
        if self.cluster.queue == "redis":
            found |= {"flush-redis": self._flush_redis, "kill-redis": self._kill_redis}
        if self.cluster.queue == "rabbitmq":
            found["stop-rabbitmq"] = self._stop_rabbitmq
        if any(node.proxies for node in self.cluster.nodes):
            found |= {"cut": self._cut, "cut-midway": self._cut_midway, "stall": self._stall}
        return found

    async def strike(self, seconds: float) -> None:
        """Every kind once and then some more, begun over so many seconds; returns when all are over."""
        for name, node in self.cluster.oddities.items():
            self.struck[name] += 1
            self.told.append(f"   0.00 {name} {node}")
        kinds = self.kinds
        names = [*kinds, *self.rng.choices(list(kinds), k=max(2, round(seconds / 2.5)))]
        self.rng.shuffle(names)
        gap = seconds / len(names)
        running: list[asyncio.Task[None]] = []
        for name in names:
            await asyncio.sleep(gap * self.rng.uniform(0.5, 1.5))
            running.append(asyncio.create_task(self._struck(name, kinds[name])))
        await asyncio.gather(*running)

    async def _struck(self, name: str, fault: Callable[[], Awaitable[None]]) -> None:
        try:
            await fault()
        except ServerFailure as failure:
            self.problems.append(Violation("died", "", f"{name}: {failure}"))
        else:
            self.struck[name] += 1

    def _say(self, text: str) -> None:
        self.told.append(f"{time.monotonic() - self._begun:7.2f} {text}")

    @asynccontextmanager
    async def _node(self, nodes: list[Node]) -> AsyncIterator[Node]:
        node = self.rng.choice([node for node in nodes if not node.busy.locked()] or nodes)
        async with node.busy:
            yield node

    async def _kill(self, nodes: list[Node]) -> None:
        down, graceful = self.rng.uniform(0, 1.5), self.rng.random()
        async with self._node(nodes) as node:
            if graceful < 0.15:
                self.drains += 1
                self._say(f"{node.name} is asked to end")
                code = await node.stop()
                if code:
                    self.problems.append(Violation("died", "", f"{node.name} ended with {code} after SIGTERM"))
            else:
                self._say(f"{node.name} is killed")
                await node.kill()
            await asyncio.sleep(down)
            await node.start()
            self._say(f"{node.name} is back")

    async def _kill_server(self) -> None:
        await self._kill(self.cluster.servers)

    async def _kill_worker(self) -> None:
        await self._kill(self.cluster.workers or self.cluster.servers)

    async def _pause_worker(self) -> None:
        seconds = _LONG * self.rng.uniform(1, 1.5)
        async with self._node(self.cluster.workers or self.cluster.servers) as node:
            self._say(f"{node.name} stands still for {seconds:.1f} s")
            node.process.pause()
            await asyncio.sleep(seconds)
            node.process.resume()
            self._say(f"{node.name} goes on")

    async def _stop_database(self) -> None:
        down = self.rng.uniform(0, LEASE_SECONDS * 1.2)
        async with self._database:
            await self._restarted(self.cluster.database, "postgresql", down, immediate=True)

    async def _stop_rabbitmq(self) -> None:
        async with self._broker:
            await self._restarted(self._broken, "rabbitmq", self.rng.uniform(0, 1), immediate=False)

    async def _kill_redis(self) -> None:
        async with self._broker:
            self._say("redis is killed")
            await asyncio.to_thread(self._broken.kill)
            await asyncio.sleep(self.rng.uniform(0, 2))
            await asyncio.to_thread(self._broken.start)
            self._say("redis is back")

    async def _flush_redis(self) -> None:
        async with self._broker:
            self._say("redis is flushed")
            client = redis.asyncio.Redis.from_url(self._broken.url)
            try:
                await client.flushall()
            finally:
                await client.aclose()

    async def _cut(self) -> None:
        async with self._proxied() as node:
            self._say(f"connections of {node.name} are cut")
            for proxy in node.proxies:
                proxy.reset()

    async def _cut_midway(self) -> None:
        after, seconds = self.rng.randint(1, 4000), self.rng.uniform(0.5, 1.5)
        async with self._proxied() as node:
            proxy = self.rng.choice(node.proxies)
            self._say(f"connections of {node.name} end after {after} bytes for {seconds:.1f} s")
            proxy.cut(after)
            await asyncio.sleep(seconds)
            proxy.heal()

    async def _stall(self) -> None:
        seconds = self.rng.uniform(0.3, _LONG)
        async with self._proxied() as node:
            chosen = self.rng.sample(node.proxies, self.rng.randint(1, len(node.proxies)))
            self._say(f"{len(chosen)} of {node.name}'s ways are silent for {seconds:.1f} s")
            for proxy in chosen:
                proxy.stall()
            await asyncio.sleep(seconds)
            for proxy in chosen:
                proxy.heal()
            self._say(f"{node.name} is heard again")

    @asynccontextmanager
    async def _proxied(self) -> AsyncIterator[Node]:
        async with self._node([node for node in self.cluster.nodes if node.proxies]) as node:
            yield node

    @property
    def _broken(self) -> Service:
        assert self.cluster.broker is not None
        return self.cluster.broker

    async def _restarted(self, service: Service, name: str, down: float, *, immediate: bool) -> None:
        self._say(f"{name} is stopped for {down:.1f} s")
        await asyncio.to_thread(service.stop, immediate)
        await asyncio.sleep(down)
        await asyncio.to_thread(service.start)
        self._say(f"{name} is back")
