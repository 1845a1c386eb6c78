"""The agent that the benchmark runs on our server; it understands the same texts as the peers' agents.

`echo X`, `sleep S`, `blob B` (an artifact of so many bytes) go to the default skill, `N [gap]` to the skill `stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from a2a_server import Agent

agent = Agent("echo", description="Answers what a benchmark asks.", version="1")


@agent.skill(default=True)
async def echo(text: str) -> str:
    """Echo, sleep, or make a blob."""
    command, _, argument = text.partition(" ")
    if command == "sleep":
        await asyncio.sleep(float(argument))
    elif command == "blob":
        return "x" * int(argument)
    return text[:64]


@agent.skill
async def stream(text: str) -> AsyncIterator[str]:
    """Say `chunk 0`, `chunk 1` and so on; gap: seconds behind each."""
    count, _, gap = text.partition(" ")
    for number in range(int(count)):
        yield f"chunk {number}"
        if gap:
            await asyncio.sleep(float(gap))
