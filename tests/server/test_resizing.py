"""Slots that change while tasks run, and the setting that has them tuned."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from a2a_server import Agent
from a2a_server.engine.optimising import Measured, Optimiser
from a2a_server.model.objects import State
from a2a_server.telemetry.metrics import Metrics
from tests.server.engines import LONG, running
from tests.server.waiting import until


class Stage:
    """An agent whose runs are counted and held."""

    def __init__(self) -> None:
        self.agent = Agent("Stage")
        self.go = asyncio.Event()
        self.now = 0

        @self.agent.skill
        async def hold(text: str) -> str:
            self.now += 1
            try:
                await self.go.wait()
            finally:
                self.now -= 1
            return text


async def test_a_worker_takes_more_at_once_when_it_gets_more_slots(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path, slots=2, poll_seconds=LONG) as server:
        tasks = [await server.start() for _ in range(5)]
        await until(lambda: stage.now == 2)
        assert server.engine.worker.used[False] == (2, 2)
        server.engine.worker.resize(4, threaded=False)
        await until(lambda: stage.now == 4)
        assert server.engine.worker.used[False] == (4, 4)
        stage.go.set()
        for task_id in tasks:
            await server.reached(task_id, State.COMPLETED)


async def test_a_worker_with_fewer_slots_lets_what_runs_end_and_takes_fewer(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path, slots=4, poll_seconds=LONG) as server:
        tasks = [await server.start() for _ in range(4)]
        await until(lambda: stage.now == 4)
        worker = server.engine.worker
        worker.resize(1, threaded=False)
        assert worker.used[False] == (4, 1)
        assert not worker.reserve("hold")
        late = await server.start()
        stage.go.set()
        for task_id in (*tasks, late):
            await server.reached(task_id, State.COMPLETED)
        await until(lambda: worker.running == 0)
        stage.go.clear()
        more = [await server.start() for _ in range(3)]
        await until(lambda: stage.now == 1)
        assert worker.used[False] == (1, 1)
        stage.go.set()
        for task_id in more:
            await server.reached(task_id, State.COMPLETED)


async def test_a_decision_resizes_the_worker_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage, metrics = Stage(), Metrics(())
    async with running(stage.agent, tmp_path, slots=100, threads=8) as server:
        worker = server.engine.worker
        optimiser = Optimiser(lambda: worker, slots=100, threads=8, cores=2, observer=metrics)
        with caplog.at_level(logging.INFO, "a2a_server.engine.optimising"):
            optimiser.apply(Measured(1.0, 1.0, 0.0), threaded=False)
            optimiser.apply(Measured(1.0, 0.1, 0.0), threaded=True)  # as many as there may be already
        assert (worker.used[False][1], worker.used[True][1]) == (70, 8)
        told = [record for record in caplog.records if record.name == "a2a_server.engine.optimising"]
        assert [record.message for record in told] == ["The worker has 70 slots instead of 100: the processor is busy."]
        assert 'a2a_slot_changes_total{change="shrunk",kind="slots"} 1' in metrics.exposition("")[0].decode()


async def test_the_setting_begins_with_few_slots(tmp_path: Path) -> None:
    stage = Stage()
    least = (os.cpu_count() or 1) + 1
    async with running(stage.agent, tmp_path, optimise_slots=True, threads=1) as server:
        await until(lambda: server.engine.worker.used == {False: (0, least), True: (0, 1)})
    async with running(stage.agent, tmp_path) as server:
        assert server.engine.worker.used == {False: (0, 1000), True: (0, 32)}
