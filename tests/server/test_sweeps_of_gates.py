"""A sweep takes so many held tasks at once: those that do not fit yet keep no others from going on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from a2a_server import Agent
from a2a_server.engine import sweeper
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.model.objects import Phase
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import skill_gate
from tests.server.engines import Running, running

pytestmark = pytest.mark.backends
GATE = skill_gate("small")


async def widened(server: Running) -> None:
    """The gate has room, and whoever was to wake what it held has died."""

    def decide(loaded: Loaded) -> Changes:
        gate = loaded.gates[GATE]
        return Changes(gates=[gate._replace(capacity=5, rev=gate.rev + 1)])

    await server.store.inner.turn(Needs(gates={GATE}), decide)


async def test_tasks_that_need_too_much_keep_no_others_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "SWEEP_LIMIT", 4)
    agent, release = Agent("Gates"), asyncio.Event()

    @agent.skill
    async def big(text: str) -> str:
        await release.wait()
        return text

    @agent.skill
    async def small(text: str) -> str:
        return text

    async with running(agent, tmp_path, poll_seconds=0.05, resources={"memory": 1000}) as server:
        tasks = [await server.start(skill="big", requires={"resources": {"memory": 600}}) for _ in range(6)]
        await server.reached(tasks[0], Phase.LEASED)
        for task in tasks[1:]:
            await server.reached(task, Phase.HELD)
        await server.engine.submit(SetLimit(GATE, 0))
        held = await server.start(skill="small")
        await server.reached(held, Phase.HELD)
        await widened(server)
        await server.reached(held, Phase.FINAL)
        release.set()
        for task in tasks:
            await server.reached(task, Phase.FINAL)
