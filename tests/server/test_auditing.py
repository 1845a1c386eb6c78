"""What tasks took of what they asked for, what they used of it, and how long they may take."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx2
import pytest

from a2a_server import Agent, Retry, TaskContext
from a2a_server.engine.residence import resident
from a2a_server.lifecycle.sweeping import Bury
from a2a_server.model.objects import Phase, State
from a2a_server.model.runs import Used
from a2a_server.service.auditing import MOST_RUNS, Allocation, Auditing
from a2a_server.service.sizing import FEWEST, MEBIBYTE, Duration, Sizing
from a2a_server.testing import connect
from tests.server.engines import Running, running
from tests.server.managed import Api

pytestmark = pytest.mark.backends

GROWTH = 48 * MEBIBYTE
LARGE = 300_000


def taking() -> tuple[Agent, asyncio.Event]:
    """An agent whose skills take something, and what lets those go on that wait."""
    agent, go = Agent("Taking"), asyncio.Event()

    @agent.skill(default=True)
    async def works(task: TaskContext, text: str) -> None:
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        held = bytearray(GROWTH)
        del held
        async with task.artifact("small") as small:
            await small.write("é" * 4)
            await small.write("é" * 6)
        async with task.artifact("large", "application/octet-stream") as large:
            await large.write(b"x" * LARGE)

    @agent.skill
    async def waits(text: str) -> str:
        await go.wait()
        return text

    @agent.skill
    async def asks(task: TaskContext, text: str) -> str:
        return await task.ask("Which?")

    @agent.skill
    async def flaky(task: TaskContext, text: str) -> str:
        if task.attempt < 3:
            raise Retry("again", after_seconds=0)
        return text

    return agent, go


async def audit(server: Running, task_id: str) -> list[Allocation]:
    return list(await Auditing(server.engine).of(await server.row(task_id)))


async def test_what_a_run_had_and_used(tmp_path: Path) -> None:
    agent, _ = taking()
    async with running(agent, tmp_path, measure_usage=True, resources={"gpu": 2}) as server:
        needs = {"cpu": 0.5, "memoryBytes": 1 << 20, "storageBytes": 1 << 20, "resources": {"gpu": 2}}
        task = await server.send(requires=needs)
        assert task.status.state is State.COMPLETED
        [run] = await audit(server, task.id)
        assert (run.run, run.cpu, run.memory_bytes, run.storage_bytes) == (1, 0.5, 1 << 20, 1 << 20)
        assert run.resources == {"gpu": 2}
        assert run.worker == server.engine.worker.id.hex()
        row = await server.row(task.id)
        assert row.created_at <= run.allocated_at <= run.released_at <= row.status_at
        assert run.used["storage"] == 20 + LARGE
        assert run.used["cpu"] >= 0.01
        assert run.used["seconds"] > 0
        if resident() is not None:
            assert run.used["memory"] > GROWTH * 0.9
            assert run.used["shared"] == 0


async def test_without_the_setting_only_what_is_written_is_known(tmp_path: Path) -> None:
    agent, _ = taking()
    async with running(agent, tmp_path) as server:
        task = await server.send(requires={"cpu": 0.1})
        [run] = await audit(server, task.id)
        assert run.used == {"storage": 20 + LARGE}
        assert await audit(server, (await server.send()).id) == []


async def test_each_run_is_told_by_itself(tmp_path: Path) -> None:
    agent, _ = taking()
    async with running(agent, tmp_path) as server:
        tried = await server.send("x", skill="flaky", requires={"cpu": 0.1})
        runs = await audit(server, tried.id)
        assert [run.run for run in runs] == [1, 2, 3]
        assert [run.used for run in runs] == [{"storage": 0}, {"storage": 0}, {"storage": 1}]
        assert all(run.released_at for run in runs)
        asked = await server.send("x", skill="asks", requires={"cpu": 0.1})
        await server.reached(asked.id, Phase.PAUSED)
        [first] = await audit(server, asked.id)
        assert first.released_at, "a task that asks takes nothing"
        await server.answer(asked, "blue")
        assert [run.run for run in await audit(server, asked.id)] == [1, 2]


async def test_a_run_whose_worker_died_gave_back_and_used_nobody_knows_what(tmp_path: Path) -> None:
    agent, go = taking()
    async with running(agent, tmp_path, lease_seconds=3600.0) as server:
        task_id = await server.start("x", skill="waits", requires={"cpu": 0.1})
        await server.reached(task_id, Phase.LEASED)
        [held] = await audit(server, task_id)
        assert not held.released_at
        assert not held.used
        dead = server.engine.worker.id
        server.engine.worker.crash()
    go.set()
    async with running(agent, tmp_path, poll_seconds=0.2) as server:
        await server.engine.submit(Bury((dead,), certain=True))  # whoever waits for its lease to end finds it so
        await server.reached(task_id, State.COMPLETED)
        first, second = await audit(server, task_id)
        assert (first.run, second.run) == (1, 2)
        assert first.allocated_at < first.released_at <= second.allocated_at
        assert not first.used
        assert second.used == {"storage": 1}


async def test_of_very_many_runs_the_newest_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_server.service.auditing.MOST_RUNS", 2)
    assert MOST_RUNS > 2
    agent, _ = taking()
    async with running(agent, tmp_path) as server:
        task = await server.send("x", skill="flaky", requires={"cpu": 0.1})
        assert [run.run for run in await audit(server, task.id)] == [2, 3]


async def test_a_duration_that_was_not_given_is_that_of_past_runs(tmp_path: Path) -> None:
    agent, go = taking()
    async with running(agent, tmp_path) as server:
        sizing = Sizing(server.system.usage)
        task_id = await server.start("x", skill="waits")
        given_id = await server.start("x", skill="waits", requires={"durationSeconds": 7.5})
        row = await server.row(task_id)
        assert await sizing.duration(row) is None
        for _ in range(FEWEST):
            server.system.usage.note("waits", Used(2.0))
        await server.system.usage.write()
        assert await sizing.duration(row) == Duration("past runs", 2.0, 2.0, FEWEST)
        assert await sizing.duration(await server.row(given_id)) == Duration("given", 7.5)
        go.set()
        assert await sizing.duration(await server.reached(task_id, State.COMPLETED)) is None
        assert await sizing.duration(await server.reached(given_id, State.COMPLETED)) == Duration("given", 7.5)


async def test_memory_and_storage_are_sized_by_runs_that_were_measured(tmp_path: Path) -> None:
    agent, _ = taking()
    async with running(agent, tmp_path) as server:
        usage = server.system.usage
        for _ in range(FEWEST):
            usage.note("works", Used(1.0, 0.5, 10 * MEBIBYTE), 3 * MEBIBYTE)
            usage.note("crowded", Used(1.0, 0.5, 10 * MEBIBYTE, shared=1), 0)
        await usage.write()
        crowded, works = await Sizing(usage).report()
        assert (crowded.memory, crowded.requires_memory_bytes, crowded.requires_storage_bytes) == (None, None, None)
        assert crowded.storage is not None
        assert works.memory is not None
        assert works.memory.runs == FEWEST
        memory, storage = works.requires_memory_bytes, works.requires_storage_bytes
        assert memory is not None
        assert storage is not None
        assert 12 * MEBIBYTE <= memory <= 14 * MEBIBYTE
        assert 4 * MEBIBYTE <= storage <= 5 * MEBIBYTE


@pytest.mark.asyncio(loop_scope="module")
async def test_the_management_api_tells_it(http: httpx2.AsyncClient) -> None:
    agent, go = taking()
    async with connect(agent, measure_usage=True) as served:
        api = Api(http, served.url)
        task = await api.done(text="x", requires={"cpu": 0.5, "memoryBytes": 1000})
        [run] = task["resources"]
        assert {name: run[name] for name in ("run", "cpu", "memoryBytes", "storagePeakBytes")} == {
            "run": 1, "cpu": 0.5, "memoryBytes": 1000, "storagePeakBytes": 20 + LARGE
        }  # fmt: skip
        assert task["createdAt"] <= run["allocatedAt"] <= run["releasedAt"] <= task["updatedAt"]
        assert run["cpuSeconds"] >= 0.01
        assert ("memoryPeakBytes" in run) is (resident() is not None)
        assert run.get("measured", "process") == "process"
        assert "estimatedDuration" not in task

        made = await api.create(text="x", skill="waits", requires={"cpu": 0.5, "durationSeconds": 3.5})
        held = await api.reached(made["id"], "leased")
        assert held["estimatedDuration"] == {"source": "given", "seconds": 3.5}
        assert "releasedAt" not in held["resources"][0]
        explained = await api.get(f"/tasks/{made['id']}/explain")
        assert explained["estimatedDuration"] == held["estimatedDuration"]
        assert explained["endsAt"] > held["resources"][0]["allocatedAt"]
        go.set()
        await api.reached(made["id"], "final")

        for _ in range(FEWEST):
            await api.done(text="x", skill="waits")
        later = await api.create(text="x", skill="waits", delaySeconds=3600)
        shown = await api.get(f"/tasks/{later['id']}")
        assert shown["estimatedDuration"]["source"] == "past runs"
        assert shown["estimatedDuration"]["runs"] >= FEWEST
        assert shown["estimatedDuration"]["seconds"] <= shown["estimatedDuration"]["p95Seconds"]
        assert "resources" not in shown
        [listed] = [one for one in await api.all() if one["id"] == later["id"]]
        assert "estimatedDuration" not in listed
        await api.stop(later["id"])
