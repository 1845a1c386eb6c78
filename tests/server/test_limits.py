"""Limits, rates, breakers and pauses, as tasks meet them: whole servers in one process, and no poll to wait for."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail
from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.limits import Pause, Resume
from a2a_server.model.objects import Phase, State, Task
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import GateRow
from a2a_server.policy import SECOND
from tests.server.engines import LONG, Running, running
from tests.server.soon import TooLate, in_time
from tests.server.waiting import until


class Crowd:
    """How many are at work, and the most that ever were. Nobody leaves before `least` have been there together."""

    def __init__(self, least: int = 1) -> None:
        self.now = self.most = self.begun = 0
        self.least = least
        self.together = asyncio.Event()

    async def __aenter__(self) -> None:
        self.now += 1
        self.begun += 1
        self.most = max(self.most, self.now)
        if self.now >= self.least:
            self.together.set()
        await self.together.wait()

    async def __aexit__(self, *_: object) -> None:
        self.now -= 1


async def gate(server: Running, key: str) -> GateRow | None:
    page = await server.store.inner.rows(RowQuery(Table.GATE, (key,)))
    return next((row for row in page.rows if isinstance(row, GateRow)), None)


def crowded(crowd: Crowd, **options: Any) -> Agent:  # noqa: ANN401 - any option of a skill
    agent = Agent("Crowded")

    @agent.skill(id="work", **options)
    async def work(text: str) -> str:
        async with crowd:
            for _ in range(20):
                await asyncio.sleep(0)
        return text

    return agent


@pytest.mark.parametrize(
    ("skill", "settings", "key"),
    [
        ({"max_concurrency": 2}, {}, "skill:work"),
        ({}, {"client_max_concurrency": 2}, "client:local"),
        ({}, {"client_skill_max_concurrency": 2}, "client+skill:local+work"),
        ({}, {"agent_max_concurrency": 2}, "agent:"),
    ],
)
async def test_a_limit_is_reached_and_never_exceeded(
    tmp_path: Path, skill: dict[str, Any], settings: dict[str, Any], key: str
) -> None:
    crowd = Crowd(least=2)
    async with running(crowded(crowd, **skill), tmp_path, poll_seconds=LONG, **settings) as server:
        tasks = await asyncio.gather(*(server.send(f"{number}") for number in range(12)))
        assert {task.status.state for task in tasks} == {State.COMPLETED}
        assert (crowd.most, crowd.begun) == (2, 12)
        left = await gate(server, key)
        assert left is None if key.startswith("client") else (left is not None and left.used == 0)


async def test_clients_have_limits_of_their_own(tmp_path: Path) -> None:
    begun: list[str] = []
    release = asyncio.Event()
    agent = Agent("Shared")

    @agent.skill
    async def work(text: str) -> str:
        begun.append(text)
        await release.wait()
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, client_max_concurrency=1) as server:
        tasks = [await server.start(f"{number}") for number in range(2)]
        held = await server.reached(tasks[1], Phase.HELD)
        assert (held.held_by, begun) == ("client:local", ["0"])
        row = await gate(server, "client:local")
        assert row is not None
        assert (row.capacity, row.used) == (1, 1)
        release.set()
        await server.reached(tasks[1], State.COMPLETED)
        await until(lambda: server.engine.worker.running == 0)
        assert await gate(server, "client:local") is None


async def test_a_resource_is_shared_by_amounts(tmp_path: Path) -> None:
    used: list[int] = [0]
    most: list[int] = [0]
    agent = Agent("Cards")

    @agent.skill(id="train")
    async def train(text: str) -> str:
        used[0] += int(text)
        most[0] = max(most[0], used[0])
        for _ in range(20):
            await asyncio.sleep(0)
        used[0] -= int(text)
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, resources={"gpu": 3}) as server:
        amounts = [1, 2, 3, 1, 2, 2, 1, 3]
        tasks = await asyncio.gather(
            *(server.send(f"{amount}", requires={"resources": {"gpu": amount}}) for amount in amounts)
        )
        assert {task.status.state for task in tasks} == {State.COMPLETED}
        assert most[0] == 3
        for wanted, word in (({"tpu": 1}, "the resources are: gpu"), ({"gpu": 4}, "there are 3 in all")):
            with pytest.raises(InvalidParams, match=word) as refused:
                await server.send("1", requires={"resources": wanted})
            assert str(refused.value.path).endswith(f"requires.resources.{next(iter(wanted))}")


async def test_a_rate_spreads_starts_and_wakes_on_time(tmp_path: Path) -> None:
    crowd = Crowd()
    async with running(crowded(crowd, rate=(3, 0.6)), tmp_path, poll_seconds=LONG) as server:
        tasks = await asyncio.gather(*(server.send(f"{number}") for number in range(8)))
        begun = []
        for task in tasks:
            row = await server.row(task.id)
            events = await server.store.inner.events(row.key, 0, 10, 1 << 20)
            begun.append(events[1].at)
        begun.sort()
        interval = SECOND * 6 // 30
        for size in range(4, 9):  # three at once, and one more for every token
            assert all(b - a >= (size - 3) * interval for a, b in zip(begun, begun[size - 1 :], strict=False))
        rate = await gate(server, "rate:work")
        assert rate is not None
        assert (rate.capacity, rate.used) == (3, 0)


async def test_a_breaker_opens_tries_and_closes(tmp_path: Path) -> None:
    broken, begun = [True], list[str]()
    release = asyncio.Event()
    agent = Agent("Fragile")

    @agent.skill(id="call", breaker=(2, 60.0), max_attempts=1)
    async def call(text: str) -> str:
        begun.append(text)
        if broken[0]:
            raise Fail("the service is gone")
        await release.wait()
        return text

    async with running(agent, tmp_path, poll_seconds=0.05, lease_seconds=3600) as server:
        for number in (1, 2):
            assert (await server.send(f"{number}")).status.state is State.FAILED
        opened = await gate(server, "breaker:call")
        assert opened is not None
        assert opened.reason == "Its runs failed 2 times in a row."
        first = await server.start("trial")
        assert (await server.reached(first, Phase.HELD)).held_by == "breaker:call"

        server.store.inner._offset += 61 * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        assert (await server.reached(first, State.FAILED)).fence == 1  # the trial fails: it rests twice as long
        opened = await gate(server, "breaker:call")
        assert opened is not None
        assert opened.reason == "The trial run failed as well."
        others = [await server.start(f"other-{number}") for number in range(3)]
        for other in others:
            await server.reached(other, Phase.HELD)
        server.store.inner._offset += 61 * SECOND  # type: ignore[attr-defined]  # as above
        broken[0] = False
        assert await server.engine.duties.sweeper.wake_held() == 0
        assert len(begun) == 3
        server.store.inner._offset += 61 * SECOND  # type: ignore[attr-defined]  # as above
        await until(lambda: len(begun) == 4)  # one at a time
        rows = [await server.row(other) for other in others]
        assert sorted(row.phase for row in rows) == [Phase.HELD, Phase.HELD, Phase.LEASED]
        release.set()
        for other in others:
            await server.reached(other, State.COMPLETED)
        closed = await gate(server, "breaker:call")
        assert closed is not None
        assert (closed.capacity, closed.reason) == (None, "")


async def test_a_deadline_says_nothing_of_the_skill(tmp_path: Path) -> None:
    agent = Agent("Slow")

    @agent.skill(id="call", breaker=(1, 60.0))
    async def call(text: str) -> str:
        await asyncio.Event().wait()
        return text

    async with running(agent, tmp_path, poll_seconds=LONG) as server:

        async def send(deadline: datetime) -> Task:
            try:
                return await server.send(deadline=deadline)
            except InvalidParams as error:
                raise TooLate from error

        late = await in_time(send)
        assert late.status.state is State.FAILED
        closed = await gate(server, "breaker:call")
        assert closed is not None
        assert (closed.capacity, closed.used) == (None, 0)
        assert (await server.send(timeoutSeconds=0.2)).status.state is State.FAILED
        opened = await gate(server, "breaker:call")
        assert opened is not None
        assert opened.reason == "Its runs failed 1 times in a row."


async def test_a_breaker_of_the_settings_counts_every_skill_apart(tmp_path: Path) -> None:
    agent = Agent("Two")

    @agent.skill(id="bad")
    async def bad(text: str) -> str:
        raise Fail(text)

    @agent.skill(id="good", breaker=0)
    async def good(text: str) -> str:
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, breaker_failures=1) as server:
        assert (await server.send(skill="bad")).status.state is State.FAILED
        held = await server.start(skill="bad")
        assert (await server.reached(held, Phase.HELD)).held_by == "breaker:bad"
        assert (await server.send(skill="good")).status.state is State.COMPLETED
        assert await gate(server, "breaker:good") is None
        await server.engine.submit(Resume("breaker:bad"))
        assert (await server.reached(held, State.FAILED)).fence == 1


async def test_a_paused_queue_starts_nothing_and_goes_on(tmp_path: Path) -> None:
    crowd = Crowd()
    async with running(crowded(crowd), tmp_path, poll_seconds=LONG) as server:
        await server.engine.submit(Pause("queue:work", reason="Upgrade of the model."))
        tasks = [await server.start(f"{number}") for number in range(3)]
        for task in tasks:
            assert (await server.reached(task, Phase.HELD)).held_by == "queue:work"
        assert crowd.begun == 0
        row = await gate(server, "queue:work")
        assert row is not None
        assert row.reason == "Upgrade of the model."
        await server.engine.submit(Resume("queue:work"))
        for task in tasks:
            await server.reached(task, State.COMPLETED)
        until_at = server.engine.clock() + SECOND // 5
        await server.engine.submit(Pause("queue:work", until_at))
        assert (await server.send()).status.state is State.COMPLETED  # it opens by itself, and nobody polls
        assert server.engine.clock() >= until_at


async def test_limits_that_are_gone_at_the_next_start_are_lifted(tmp_path: Path) -> None:
    crowd = Crowd()
    async with running(crowded(crowd, max_concurrency=1, rate="1/day", breaker=3), tmp_path) as server:
        await server.send()
        assert (await server.reached(await server.start(), Phase.HELD)).held_by == "rate:work"
    async with running(crowded(crowd), tmp_path, poll_seconds=0.05) as server:
        assert (await server.send()).status.state is State.COMPLETED
        await until(lambda: crowd.begun == 3)
        for key in ("skill:work", "rate:work", "breaker:work"):
            row = await gate(server, key)
            assert row is not None
            assert (row.capacity, row.tokens, row.closed_until) == (None, 0, 0)
        await server.engine.duties.sweeper._tidies[1]()
        assert await gate(server, "rate:work") is None
