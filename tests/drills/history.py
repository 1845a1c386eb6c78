"""The history checker: random load and random faults on several processes, and then the logs are read like a judge.

Theory of operation. One history has a cluster of its own: PostgreSQL, a broker, 2 servers, 3 workers, and 4 clients,
each of which speaks every generation to both servers. Once there are enough tasks, faults strike for some seconds by a
schedule that the seed decides; beside them an office submits graphs of tasks and keeps schedules. Then the faults are
over, the clients end what they began, and every task must end within a bound. What is checked comes from three sides
that know nothing of each other: what clients were told (`ledger`), what the store holds (`dumped`, and what tasks are
to each other, `kin`), and a witness inside the database that saw every change in the order of commits (`witness`,
`laws`).

A history that breaks a promise leaves its directory: what each process said, and `violations.txt` with everything that
is known of each task at fault. The same seed makes the same choices again; what the machine makes of them differs.

Weaknesses: one machine, so no two clocks drift and no network is cut between databases; and handlers are not watched,
only what they wrote (see `laws`).
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.rpc import new_http
from tests.drills.cluster import Plan, may_skew, running, shared
from tests.drills.counts import ENDS_SECONDS, Counts
from tests.drills.either import Calls, ClusterLoad, EitherWire, either
from tests.drills.faults import Faults
from tests.drills.kin import check_made
from tests.drills.ledger import Ledger, Violation
from tests.drills.office import Office, office
from tests.drills.report import Report, say
from tests.drills.verdict import Verdict, all_ended
from tests.drills.witness import Witness
from tests.patience import PATIENCE
from tests.server.waiting import until
from tests.services import Server as Service

QUEUES = ("redis", "rabbitmq", "store")
CLIENTS = 4
_LEAST_TASKS = 40
GRAPH_NODES = 30
SCHEDULES = 2
TICKS = 8
TICK_SECONDS = 1.0


async def history(directory: Path, counts: Counts, seed: int) -> Report:
    """So many histories, with the queues in turn. Raises ServerFailure, and what `tests.services.own` raises."""
    begun = time.monotonic()
    told = History(directory, seed)
    async with AsyncExitStack() as stack:
        rabbitmq: Service | None = None
        for number in range(counts.histories):
            queue = QUEUES[number % len(QUEUES)]
            if queue == "rabbitmq" and rabbitmq is None:
                service = shared(queue)
                rabbitmq = await asyncio.to_thread(service.__enter__)
                stack.push_async_callback(asyncio.to_thread, service.__exit__, None, None, None)
            await told.one(number, queue, counts.history_seconds, rabbitmq if queue == "rabbitmq" else None)
    figures: dict[str, object] = {
        "seed": seed,
        "histories": counts.histories,
        **told.figures,
        "faults": dict(sorted(told.struck.items())),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Report("history", figures, told.violations)


@dataclass(slots=True)
class History:
    """All histories of one run: what was found in them, and how much of everything there was."""

    directory: Path
    seed: int
    violations: list[Violation] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    figures: dict[str, object] = field(default_factory=dict)
    _sums: Counter[str] = field(default_factory=Counter)
    _longest: float = 0.0

    async def one(self, number: int, queue: str, seconds: float, broker: Service | None) -> None:
        """History `number`."""
        seed = self.seed + number
        directory = self.directory / f"h{number}-{queue}-{seed}"
        directory.mkdir(parents=True)
        trial = Trial(directory, seed, plan(queue, seed), seconds)
        await trial.run(broker)
        self.violations += [
            violation._replace(text=f"[{directory.name}] {violation.text}") for violation in trial.found
        ]
        self.struck += trial.struck
        self._sums.update(trial.sums)
        self._longest = max(self._longest, trial.ended_after)
        self.figures = {**self._sums, "ended_longest_seconds": round(self._longest, 1)}
        say(
            f"history {number + 1}, queue {queue}, seed {seed}: {len(trial.found)} violations, "
            f"{trial.sums['tasks']} tasks, {sum(trial.struck.values())} faults, ended {trial.ended_after:.1f} s later"
        )
        if not trial.found:
            shutil.rmtree(directory)


def plan(queue: str, seed: int) -> Plan:
    """Which node is odd in which way."""
    rng = random.Random(f"{seed}/plan")  # noqa: S311 - repeatable, not secret
    nodes = ["s0", "s1", "w0", "w1", "w2"]
    proxied, polling = rng.sample(nodes, 2)
    return Plan(
        queue,
        working=(False, rng.random() < 0.5),
        proxied=proxied,
        polling=polling,
        skewed=rng.choice(nodes[2:]) if may_skew() else "",
        skew=rng.choice(("+1h", "-1h")),
    )


@dataclass(slots=True)
class Trial:
    """One history."""

    directory: Path
    seed: int
    plan: Plan
    seconds: float
    found: list[Violation] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    ended_after: float = 0.0
    made: list[str] = field(default_factory=list)

    async def _work(self, desk: Office) -> None:
        """Batches of tasks now and then, beside schedules that end before the faults do or soon after."""
        for number in range(SCHEDULES):
            await desk.schedule(f"every-{number}", TICKS, TICK_SECONDS)
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            self.made += await desk.graph(GRAPH_NODES)
            await asyncio.sleep(desk.rng.uniform(0.5, 2.0))
        await desk.ticked(TICKS, ENDS_SECONDS)

    async def run(self, broker: Service | None) -> None:
        """From the first process to the verdict."""
        async with running(self.directory, self.plan, broker) as cluster, AsyncExitStack() as stack:
            witness = Witness(cluster.database.url)
            await witness.watch()
            calls, ledger = Calls(), Ledger()
            clients: list[list[EitherWire]] = []
            for number in range(CLIENTS):
                http = await stack.enter_async_context(new_http(PATIENCE))
                rng = random.Random(f"{self.seed}/client {number}")  # noqa: S311 - repeatable, not secret
                clients.append(either(cluster.urls, http, rng, calls))
            faults = Faults(cluster, random.Random(f"{self.seed}/faults"))  # noqa: S311 - repeatable, not secret
            load = ClusterLoad(clients, ledger, self.seed, drains=lambda: faults.drains, calls=calls)
            settings = cluster.settings.model_copy(update={"workers": 0})
            rng = random.Random(f"{self.seed}/office")  # noqa: S311 - repeatable, not secret
            desk = await stack.enter_async_context(
                office(settings, rng, f"{self.seed}-graph", self.directory / "office.log")
            )
            stack.push_async_callback(load.finish, 0)
            load.start()
            with suppress(TimeoutError):  # then they are judged to be too few
                await until(lambda: len(ledger.tasks) >= _LEAST_TASKS, PATIENCE)
            working = asyncio.create_task(self._work(desk))
            try:
                await faults.strike(self.seconds)
                over = time.monotonic()
                await asyncio.gather(working, load.finish(ENDS_SECONDS))
                self.found += await all_ended(witness, max(1.0, over + ENDS_SECONDS - time.monotonic()))
                self.ended_after = time.monotonic() - over
            finally:
                working.cancel()
            verdict = Verdict(cluster, witness, ledger, load, self.seed, [str(self.plan), *faults.told])
            verdict.found += [*self.found, *faults.problems]
            await verdict.reach()
            verdict.found += check_made(verdict.dump.rows, self.made, SCHEDULES, TICKS)
            if verdict.sums["tasks"] < _LEAST_TASKS:
                text = f"only {verdict.sums['tasks']} tasks were acknowledged"
                verdict.found.append(Violation("load", "", text))
            if verdict.found:
                verdict.keep(self.directory)
            self.found, self.sums, self.struck = verdict.found, verdict.sums, faults.struck
