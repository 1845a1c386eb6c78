"""Joins of what is no part of the task."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from a2a_server import Agent, TaskContext
from a2a_server.context.family import TaskHandle
from a2a_server.model.objects import State
from tests.server.engines import running

pytestmark = pytest.mark.backends


async def test_a_task_that_is_no_part_cannot_be_joined(tmp_path: Path) -> None:
    agent, release = Agent("Family"), asyncio.Event()
    runs: list[str] = []

    @agent.skill(default=True)
    async def waits(text: str) -> str:
        await release.wait()
        return text

    @agent.skill
    async def joins(task: TaskContext, text: str) -> str:
        runs.append(text)
        await task.join(TaskHandle(text))
        return "joined"

    async with running(agent, tmp_path) as server:
        other = await server.start("other")
        row = await server.reached(await server.start(other, skill="joins"), State.FAILED, State.COMPLETED)
        release.set()
        assert row.state is State.FAILED
        assert len(runs) == 1
