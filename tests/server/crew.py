"""What handlers of several systems do in tests of services that go away, and how the logs of their tasks are judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from a2a_server import Agent, File, TaskContext
from a2a_server.codec import decode_event
from a2a_server.errors import StoreUnavailable
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Scope, State, StatusEvent, Task
from a2a_server.model.requests import GetRequest
from a2a_server.model.rows import EventRow, TaskRow
from tests.patience import PATIENCE
from tests.server.engines import Running

HALF = 20
LARGE_BYTES = 200_000


class Crew:
    """What the handlers of all systems share, as processes would share a file.

    ran: how often each text was echoed, and each task of the other skills begun. halfway: a `speak` waits for `go`.
    spoken: one said its last word. words: how many a task's `chatter` has said. stopped: tasks whose `chatter` was.
    """

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.stopped: list[str] = []
        self.go = asyncio.Event()
        self.halfway = asyncio.Event()
        self.spoken = asyncio.Event()

    def agent(self, _number: int) -> Agent:
        """The agent of one system."""
        agent = Agent("Crew")
        crew = self

        @agent.skill(default=True)
        async def echo(text: str) -> str:
            crew.ran[text] += 1
            return text.upper()

        @agent.skill
        async def speak(task: TaskContext) -> AsyncIterator[str]:
            crew.ran[task.id] += 1
            for word in range(2 * HALF):
                if word == HALF:
                    crew.halfway.set()
                    await crew.go.wait()
                yield f"{word} "
            crew.spoken.set()

        @agent.skill
        async def chatter(task: TaskContext) -> AsyncIterator[str]:
            crew.ran[task.id] += 1
            if crew.ran[task.id] > 1:
                yield "again"
                return
            try:
                while True:
                    yield "word "
                    crew.words[task.id] += 1
                    await asyncio.sleep(0.001)
            finally:
                crew.stopped.append(task.id)

        self._large(agent)
        return agent

    def _large(self, agent: Agent) -> None:
        crew = self

        @agent.skill
        async def large(task: TaskContext) -> File:
            crew.ran[task.id] += 1
            return File("large.bin", "application/octet-stream", raw=bytes(LARGE_BYTES))

        @agent.skill
        async def verbose(task: TaskContext) -> AsyncIterator[str]:
            crew.ran[task.id] += 1
            for _ in range(2):
                yield "a" * (LARGE_BYTES // 2)


SPOKEN = "".join(f"{word} " for word in range(2 * HALF))


async def ended(running: Running, task_id: str) -> TaskRow:
    """The task once it is completed, found to have one end and a log without a gap, written under rising fences.

    A store that does not answer is asked again.
    """
    row, events = await _story(running, task_id)
    assert [event.n for event in events] == list(range(1, row.last_n + 1))
    fences = [event.fence for event in events]
    assert fences == sorted(fences)
    told = ((event.n, decode_event(event)) for event in events)
    ends = [n for n, event in told if isinstance(event, StatusEvent) and event.status.state in TERMINAL]
    assert ends == [row.last_n]
    return row


async def _story(running: Running, task_id: str) -> tuple[TaskRow, Sequence[EventRow]]:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                row = await running.reached(task_id, State.COMPLETED)
                return row, await running.store.inner.events(row.key, 0, 1_000_000, 1 << 30)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def shown(running: Running, task_id: str) -> Task:
    """The task as a client reads it."""
    async with asyncio.timeout(PATIENCE):
        return await running.operations.get(Scope(), GetRequest(task_id))


def texts(task: Task) -> str:
    """All that a task said."""
    return "".join(getattr(part, "text", "") for artifact in task.artifacts for part in artifact.parts)
