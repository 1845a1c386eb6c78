"""The agent that the benchmark runs on our server; it understands the same texts as the peers' agents.

`echo X`, `sleep S`, `blob B` (an artifact of so many bytes) go to the default skill, `N [gap]` to the skill `stream`.
`moment` answers with the machine's monotonic clock in nanoseconds, which all its processes share.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from a2a_server import Agent

agent = Agent("echo", description="Answers what a benchmark asks.", version="1")


@agent.skill(default=True)
async def echo(text: str) -> str:
    """Echo, sleep, make a blob, or tell the time."""
    command, _, argument = text.partition(" ")
    if command == "sleep":
        await asyncio.sleep(float(argument))
    elif command == "blob":
        return "x" * int(argument)
    elif command == "moment":
        return str(time.monotonic_ns())
    return text[:64]


@agent.skill
async def stream(text: str) -> AsyncIterator[str]:
    """Say `chunk 0`, `chunk 1` and so on; gap: seconds behind each."""
    count, _, gap = text.partition(" ")
    for number in range(int(count)):
        yield f"chunk {number}"
        if gap:
            await asyncio.sleep(float(gap))
