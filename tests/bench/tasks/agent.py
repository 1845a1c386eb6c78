"""The agent of the rows about task management.

`echo` answers at once; `fail` fails for good; `notes N S` waits S seconds and then says N times how far it is.
`BENCH_SKILL_LIMIT` in the environment bounds how many of `echo` run at once.
"""

from __future__ import annotations

import asyncio
import os

from a2a_server import Agent, Fail, TaskContext

_GAP_SECONDS = 0.1

agent = Agent("bench", description="Has tasks to manage.", version="1")


@agent.skill(default=True, max_concurrency=int(os.environ.get("BENCH_SKILL_LIMIT", "0")) or None)
async def echo(text: str) -> str:
    """Say it back."""
    return text


@agent.skill(max_attempts=1)
async def fail(text: str) -> str:
    """Fail."""
    raise Fail("it cannot be done")


@agent.skill
async def notes(task: TaskContext, text: str) -> str:
    """Say so many times how far it is, some seconds later."""
    times, _, seconds = text.partition(" ")
    await asyncio.sleep(float(seconds))
    count = int(times)
    for number in range(count):
        task.progress((number + 1) / count, f"note {number}")
        await asyncio.sleep(_GAP_SECONDS)
    return "done"
