"""An agent that a test holds as long as it needs: the workbench, and a skill that goes on when a file is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from a2a_server import Agent, TaskContext
from a2a_server.examples import workbench as bench

agent = Agent("Held", description="The workbench, and what waits for a file.", version="1.0.0")


@agent.skill(default=True)
async def workbench(task: TaskContext, text: str) -> AsyncIterator[bench.Item]:
    """Do what one line of text says."""
    async for item in bench.workbench(task, text):
        yield item


@agent.skill
async def held(text: str) -> AsyncIterator[str]:
    """`N path`: yield N chunks; behind the second one, wait until the file is there."""
    number, _, path = text.partition(" ")
    for index in range(int(number)):
        while index == 2 and not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - nobody says when a test makes it
            await asyncio.sleep(0.02)
        yield f"chunk {index}"
