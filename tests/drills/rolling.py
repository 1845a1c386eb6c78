"""Every process of a cluster replaced one by one under load, as a new version is brought in: hardly a call may fail.

Theory of operation: 2 servers and 2 workers; each is asked to end (SIGTERM), ends by itself and is started again before
the next one is asked. Clients do what clients of two addresses may: a connection that is refused is tried at the other
server. Everything else that is not an answer counts as a failed call: a connection that was cut, a 503, a wait without
end. A stream that ends before its task, and a blocking send that is answered early, are answers; clients go on there.

| rule | the promise |
|---|---|
| calls | 99.9 % of all calls succeed |
| crash | nothing is taken for dead: what a process cannot end in time it hands back |
| lost and all others | as in `checker`, `laws` and `verdict` |
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.clients.rpc import new_http
from tests.drills.cluster import Cluster, Node, Plan, running
from tests.drills.counts import ENDS_SECONDS, MOST_FAILED_CALLS, Counts
from tests.drills.either import Calls, ClusterLoad, EitherWire, either
from tests.drills.ledger import Ledger, Violation
from tests.drills.report import Report, say
from tests.drills.verdict import Verdict, all_ended
from tests.drills.witness import Witness
from tests.patience import PATIENCE
from tests.server.waiting import until

_CLIENTS = 4
_READERS = 2
_BETWEEN_SECONDS = 6.0
"""Of load between two restarts; each may cost a call that comes at the last moment."""
_LEAST_CALLS = 1_000
"""For each process that is replaced, as that may cost one: with fewer, one would be more than may fail."""


async def rolling(directory: Path, counts: Counts, seed: int) -> Report:
    """Replace every process so many times. Raises ServerFailure, and what `tests.services.own` raises."""
    begun = time.monotonic()
    plan = Plan(
        "store", working=(False, False), workers=2, settings={"LEASE_SECONDS": "8"}
    )  # a busy machine is no crash
    async with running(directory, plan) as cluster, AsyncExitStack() as stack:
        witness = Witness(cluster.database.url)
        await witness.watch()
        calls, ledger, roll = Calls(), Ledger(), Roll(cluster)
        clients: list[list[EitherWire]] = []
        for number in range(_CLIENTS):
            http = await stack.enter_async_context(new_http(PATIENCE))
            rng = random.Random(f"{seed}/client {number}")  # noqa: S311 - repeatable, not secret
            clients.append(either(cluster.urls, http, rng, calls))
        load = ClusterLoad(clients, ledger, seed, drains=lambda: roll.drains, calls=calls, readers=_READERS)
        load.start()
        try:
            for _ in range(counts.rolls):
                await roll.all_replaced()
            await asyncio.sleep(_BETWEEN_SECONDS)
            with suppress(TimeoutError):  # then they are judged to be too few
                await until(lambda: calls.made >= _LEAST_CALLS * roll.drains, PATIENCE * roll.drains)
            await load.finish(ENDS_SECONDS)
            left = await all_ended(witness, ENDS_SECONDS)
        finally:
            await load.finish(0)
        verdict = Verdict(cluster, witness, ledger, load, seed, roll.told)
        verdict.found += left + roll.problems + _calls(calls, _LEAST_CALLS * roll.drains)
        await verdict.reach()
        if verdict.sums["crashes"]:
            verdict.found.append(Violation("crash", "", f"{verdict.sums['crashes']} runs were taken for dead"))
        if verdict.found:
            verdict.keep(directory)
        figures: dict[str, object] = {
            "seed": seed,
            "replaced": roll.drains,
            "calls": calls.made,
            "failed_calls": calls.failed.total(),
            "failed": dict(calls.failed),
            "succeeded_percent": round(100 * calls.succeeded, 3),
            "refused_and_repeated": calls.refused,
            "drain_longest_seconds": round(roll.longest, 2),
            **verdict.sums,
            "seconds": round(time.monotonic() - begun, 1),
        }
        return Report("rolling", figures, verdict.found)


def _calls(calls: Calls, least: int) -> list[Violation]:
    found = []
    if calls.failed.total() > MOST_FAILED_CALLS * calls.made:
        found.append(Violation("calls", "", f"{calls.failed.total()} of {calls.made} failed: {dict(calls.failed)}"))
    if calls.made < least:
        found.append(Violation("load", "", f"{calls.made} calls are too few"))
    return found


class Roll:
    """Replaces processes. drains: how many were asked to end. longest: seconds from SIGTERM to the end."""

    def __init__(self, cluster: Cluster) -> None:
        self.drains = 0
        self.longest = 0.0
        self.told: list[str] = []
        self.problems: list[Violation] = []
        self._cluster = cluster
        self._begun = time.monotonic()

    async def all_replaced(self) -> None:
        """Each process has been replaced once. Raises ServerFailure."""
        for node in self._cluster.nodes:
            await asyncio.sleep(_BETWEEN_SECONDS)
            await self.replace(node)

    async def replace(self, node: Node) -> None:
        """It has ended by itself and runs again. Raises ServerFailure."""
        self.drains += 1
        asked = time.monotonic()
        code = await node.stop()
        took = time.monotonic() - asked
        self.longest = max(self.longest, took)
        started = await node.process.start()
        self.told.append(f"{asked - self._begun:7.2f} {node.name} ended in {took:.2f} s, back in {started:.2f} s")
        say(self.told[-1])
        if code:
            self.problems.append(Violation("died", "", f"{node.name} ended with {code} after SIGTERM"))
