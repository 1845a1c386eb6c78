"""How long a task waits for its next attempt: by its skill's back-off, else by the server's."""

from __future__ import annotations

from pathlib import Path

from a2a_server import Agent, Retry, TaskContext
from a2a_server.model.objects import Phase, State
from a2a_server.policy import SECOND
from tests.server.engines import running
from tests.server.managing import managed
from tests.server.pullers import asked, puller, row_of

HOUR = 3600.0


async def test_a_skill_of_ours_waits_as_it_says(tmp_path: Path) -> None:
    agent = Agent("Site")

    @agent.skill(default=True, backoff_seconds=(0, 0))
    async def quick(task: TaskContext) -> int:
        if task.attempt < 3:
            raise Retry("The site is away.")
        return task.attempt

    @agent.skill
    async def patient(task: TaskContext) -> int:
        raise Retry("The site is away.")

    async with running(agent, tmp_path, backoff_base_seconds=HOUR, backoff_limit_seconds=HOUR) as server:
        task = await server.send("go")
        assert task.status.state is State.COMPLETED
        waiting = await server.start("go", skill="patient")
        await server.reached(waiting, Phase.SCHEDULED)


async def test_a_pulled_skill_waits_as_it_says() -> None:
    agent = Agent("Office")
    agent.pulled_skill("own", backoff_seconds=(7, 10))
    agent.pulled_skill("servers")
    waits = {"own": [7, 10, 10], "servers": [1000, 1500, 1500]}
    async with managed(agent, backoff_base_seconds=1000, backoff_limit_seconds=1500) as office:
        for skill, expected in waits.items():
            worker = await puller(office, skill)
            task = await asked(office, skill=skill)
            found = []
            for _ in expected:
                await worker.end(await worker.one(), "fail", text="Away.", retry=True)
                row = await row_of(office, task["id"])
                found.append((row.due_at - row.status_at) // SECOND)
                await office.post(f"/tasks/{task['id']}/requeue", {"delaySeconds": 0})
            assert found == expected
