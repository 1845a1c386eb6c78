"""Slots, claims and time limits: who may run, for how long, and without waiting for a poll."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from a2a_server import Agent, TaskContext
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase, State, Task, Text
from a2a_server.model.rows import Key
from a2a_server.model.runs import Stopping
from a2a_server.model.turns import Needs
from tests.patience import PATIENCE
from tests.server.engines import LONG, Suspect, running
from tests.server.waiting import until


@dataclass(frozen=True)
class Ring:
    """An operation: the alarms of the tasks have come, all at once."""

    keys: tuple[Key, ...]
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.update(self.keys)

    def decide(self, turn: Turn) -> None:
        for key in self.keys:
            turn.put(turn.rows[key]._replace(due_at=turn.now))


def said(task: Task) -> str:
    assert task.status.message is not None
    return task.status.message.text


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_thread_that_ignores_its_timeout_keeps_its_slot(tmp_path: Path) -> None:
    agent = Agent("Stuck")
    release = threading.Event()
    begun: list[str] = []

    @agent.skill(id="plain")
    def plain(text: str) -> str:
        begun.append(text)
        if text == "stuck":
            release.wait(PATIENCE)
        return text

    @agent.skill(id="clock", timeout_seconds=0.5)
    async def clock(text: str) -> None:
        await forever()

    async with running(agent, tmp_path, threads=1, cancel_grace_seconds=0.05, poll_seconds=0.05) as server:
        try:
            sending = asyncio.create_task(server.send("stuck", skill="plain"))
            await until(lambda: begun == ["stuck"])
            [run] = server.engine.worker._live
            run.stop(Stopping.DEADLINE)  # its time is over, however slowly it began
            assert (await sending).status.state is State.FAILED
            following = await server.start("following", skill="plain")
            assert (await server.send(skill="clock")).status.state is State.FAILED  # it would have begun by then
            row = await server.row(following)
            assert (row.state, row.phase, begun) == (State.SUBMITTED, Phase.READY, ["stuck"])
        finally:
            release.set()
        row = await server.reached(following, State.COMPLETED, State.FAILED)
        assert (row.state, row.fence, begun) == (State.COMPLETED, 1, ["stuck", "following"])


async def test_the_whole_grace_is_for_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_server.lifecycle.runs.SWEEP_SLACK", 50_000)
    agent = Agent("Tidy")

    @agent.skill(timeout_seconds=0.1)
    async def tidy(task: TaskContext, text: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0.5)  # much longer than the sweeper's slack
            await task.progress(note="saved")
            async with task.artifact("kept") as writer:
                await writer.write("what there was")

    async with running(agent, tmp_path, cancel_grace_seconds=20, poll_seconds=0.05) as server:
        task = await server.send()
        assert (task.status.state, "timeoutSeconds" in said(task)) == (State.FAILED, True)
        assert [(artifact.name, artifact.parts) for artifact in task.artifacts] == [("kept", (Text("what there was"),))]
        assert (await server.row(task.id)).last_n >= 5  # the note among them


async def test_suspects_never_run_side_by_side(tmp_path: Path) -> None:
    agent = Agent("Suspects")
    lock = threading.Lock()
    at_work = most = 0

    def enter(step: int) -> None:
        nonlocal at_work, most
        with lock:
            at_work += step
            most = max(most, at_work)

    @agent.skill(id="coroutine")
    async def coroutine(text: str) -> str:
        enter(1)
        await asyncio.sleep(0.02)
        enter(-1)
        return text

    @agent.skill(id="plain")
    def plain(text: str) -> str:
        enter(1)
        threading.Event().wait(0.02)
        enter(-1)
        return text

    async with running(agent, tmp_path, poll_seconds=0.02) as server:
        skills = ("coroutine", "plain")
        tasks = [await server.start(skill=skill, delaySeconds=3600) for skill in skills for _ in range(3)]
        keys = tuple([(await server.row(task)).key for task in tasks])
        await server.engine.submit(Suspect(keys))
        await server.engine.submit(Ring(keys))
        for task in tasks:
            row = await server.reached(task, State.COMPLETED)
            assert (row.fence, row.crashes) == (1, 2)
        assert most == 1


async def test_instant_tasks_of_a_mixed_agent_wait_for_no_poll(tmp_path: Path) -> None:
    agent = Agent("Mixed")

    @agent.skill(id="coroutine")
    async def coroutine(text: str) -> str:
        return text

    @agent.skill(id="plain")
    def plain(text: str) -> str:
        return text

    async with running(agent, tmp_path, threads=1, poll_seconds=LONG) as server:
        async with asyncio.timeout(PATIENCE):
            tasks = await asyncio.gather(*(server.send(f"{index}", skill="plain") for index in range(6)))
        assert {task.status.state for task in tasks} == {State.COMPLETED}


async def test_a_short_run_is_two_turns(tmp_path: Path) -> None:
    agent = Agent("Echo")

    @agent.skill
    async def echo(text: str) -> str:
        return text

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        server.store.turns.clear()
        task = await server.send()
        assert (task.status.state, (await server.row(task.id)).last_n) == (State.COMPLETED, 4)
        await until(lambda: server.engine.worker.running == 0)
        assert [size for size in server.store.turns if size] == [1, 1]


async def test_a_cancel_while_the_run_is_restored(tmp_path: Path) -> None:
    agent = Agent("Restored")
    begun: list[str] = []

    @agent.skill
    async def restored(text: str) -> str:
        begun.append(text)
        return text

    async with running(agent, tmp_path, poll_seconds=LONG, cancel_grace_seconds=3600) as server:
        server.store.held_snapshots = 1
        server.store.holds = lambda _: False
        server.store.gate.clear()
        task_id = await server.start(delaySeconds=0.2)  # so it is claimed, and read, in a turn of its own
        await asyncio.wait_for(server.store.held.wait(), PATIENCE)
        # This is long before the grace is over.
        assert (await server.cancel(task_id)).status.state is State.CANCELED
        await until(lambda: server.engine.worker.running == 0)
        assert not begun
