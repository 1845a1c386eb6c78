"""What a task leaves behind is freed when it ends; nothing waits for the collector of cycles."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from a2a_server import Agent
from a2a_server.testing import connect


@pytest.fixture
def unreachable() -> Iterator[list[object]]:
    """Objects that only the collector can free, from now on until it is called."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def test_a_task_makes_no_cycles(request: pytest.FixtureRequest) -> None:
    agent = Agent("Cycles")

    @agent.skill(id="echo", default=True)
    async def echo(text: str) -> str:
        return text

    @agent.skill(id="stream")
    async def stream(text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    async with connect(agent) as server:
        await server.send("warm")
        found: list[object] = request.getfixturevalue("unreachable")
        for _ in range(10):
            await server.send("a")
            await server.send("a b c", options={"skill": "stream"})
        gc.collect()
        ours = Counter(type(one).__qualname__ for one in found if type(one).__module__.startswith("a2a_server"))
    assert not ours
