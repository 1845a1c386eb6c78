"""A large graph of tasks in one batch: accepted for little more than as many tasks that have nothing to do with each
other, and run to its end in its order.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from a2a_server import Agent
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Message, Phase, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import DueKind
from a2a_server.model.rows import Key
from a2a_server.service.batching import TOGETHER, Batching, Item
from a2a_server.service.sending import Sending
from a2a_server.settings import load
from a2a_server.wiring import System
from tests.drills.counts import Counts
from tests.drills.dumped import dumped
from tests.drills.kin import check_kin
from tests.drills.ledger import Violation
from tests.drills.report import Report
from tests.patience import PATIENCE

MOST_RATIO = 3.0
MOST_UPSTREAMS = 3
ROUNDS = 3
_NEAR = 200
_SECONDS_A_NODE = 0.05


async def graph(directory: Path, counts: Counts, seed: int) -> Report:
    """A graph of so many nodes; judged by CPU time only where `counts.timed`."""
    begun = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    agent = Agent("Graph")

    @agent.skill
    async def work(text: str) -> str:
        return text

    files = (directory / "artifacts").as_uri()
    system = System(agent, load(None, store=f"sqlite:///{directory}/graph.db", artifacts=files, drain_seconds=0))
    await system.start()
    found: list[Violation] = []
    apart, tied = list[float](), list[float]()
    try:
        for number in range(ROUNDS if counts.timed else 1):
            for costs, shape in ((apart, [()] * counts.nodes), (tied, edges(rng, counts.nodes))):
                cpu, keys = await _accepted(system, shape, f"{len(apart)}-{number}")
                costs.append(cpu)
                await _over(system, keys, counts.nodes * _SECONDS_A_NODE + PATIENCE)
        rows = (await dumped(system.engine.backends.store)).rows
    finally:
        await system.stop()
    found += check_kin(rows, {})
    found += [Violation("wrong-end", row.id, row.state) for row in rows.tasks.values() if row.state != "completed"]
    ratio = statistics.median(tied) / max(statistics.median(apart), 1e-9)
    if counts.timed and ratio > MOST_RATIO:
        found.append(Violation("costs", "", f"a graph took {ratio:.2f} times the CPU of tasks apart, not {MOST_RATIO}"))
    figures: dict[str, object] = {
        "seed": seed,
        "nodes": counts.nodes,
        "edges": len(rows.edges),
        "cpu_apart_seconds": round(statistics.median(apart), 3),
        "cpu_graph_seconds": round(statistics.median(tied), 3),
        "ratio": round(ratio, 2),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Report("graph", figures, found)


def edges(rng: random.Random, nodes: int) -> list[tuple[int, ...]]:
    """Of each node, the nodes before it that it follows: up to three of the two hundred before."""
    found: list[tuple[int, ...]] = []
    for position in range(nodes):
        near = range(max(0, position - _NEAR), position)
        found.append(tuple(rng.sample(near, min(len(near), rng.randint(1, MOST_UPSTREAMS)))))
    return found


async def _accepted(system: System, shape: Sequence[tuple[int, ...]], name: str) -> tuple[float, list[Key]]:
    """The CPU seconds until the batch was stored, and its tasks; nothing of it runs before."""
    engine = system.engine
    items = [
        Item(
            Message(Role.USER, (Text("x"),), id=f"{name}-{position}"),
            options=TaskOptions(delaySeconds=1.0, dependsOn=tuple(f"#{one}" for one in after)),
        )
        for position, after in enumerate(shape)
    ]
    batching = Batching(engine, Sending(engine, str))
    cpu = time.process_time()
    made = (await batching.submit(Scope(), items)).outcomes
    cpu = time.process_time() - cpu
    keys = [one.row.key for one in made if isinstance(one, Submitted) and one.row.state is State.SUBMITTED]
    assert len(keys) == len(shape)
    return cpu, keys


async def _over(system: System, keys: Sequence[Key], seconds: float) -> None:
    """All have ended and all followers have heard of it, or so many seconds have passed: the rows tell what is left."""
    deadline = time.monotonic() + seconds
    store, left = system.engine.backends.store, list(keys)
    while time.monotonic() < deadline and (left or await store.due(DueKind.SETTLE, 1)):
        found: list[Key] = []
        for start in range(0, len(left), TOGETHER):
            heads = await store.heads(left[start : start + TOGETHER])
            found += [key for key, head in heads.items() if head.phase is not Phase.FINAL]
        left = found
        await asyncio.sleep(0.1)
