"""Workers that die: at every event of a task, several times, on their way out; and what a restart finds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, TaskContext
from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.waiting import until

pytestmark = pytest.mark.backends

WORDS = [f"word {index} " for index in range(4)]
WHOLE = "".join(WORDS)
DONE = "TASK_STATE_COMPLETED"


def writing(*, resume: bool) -> Agent:
    agent = Agent("Writer")

    @agent.skill
    async def write(task: TaskContext, text: str) -> None:
        async with task.artifact("text", resume=resume) as writer:
            for word in WORDS[writer.chunks :]:
                await writer.write(word)

    return agent


def assembled(items: list[tuple[int | None, dict[str, Any]]]) -> str:
    text = ""
    for _, item in items:
        if update := item.get("artifactUpdate"):
            said = "".join(part["text"] for part in update["artifact"]["parts"])
            text = text + said if update["append"] else said
    return text


def phrase(task: dict[str, Any]) -> str:
    [artifact] = task["artifacts"]
    [part] = artifact["parts"]
    return str(part["text"])


def info(task: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = task["metadata"]["urn:a2a-task-server:task:v1"]
    return found


def gapless(items: list[tuple[int | None, dict[str, Any]]]) -> bool:
    return [n for n, _ in items] == list(range(1, len(items) + 1))


@pytest.mark.parametrize("resume", [False, True])
async def test_crash_at_every_event(resume: bool) -> None:
    async with connect(writing(resume=resume)) as server:
        for n in range(1, 9):  # submitted, working, four words, the closing chunk, completed
            crash = server.crash_worker(at_event=n)
            items = [pair async for pair in server.stream("go")]
            async with asyncio.timeout(PATIENCE):
                await crash
            task = await server.get(items[0][1]["task"]["id"])
            assert gapless(items)
            assert assembled(items) == phrase(task) == WHOLE
            assert task["status"]["state"] == DONE
            assert info(task)["attempt"] == (1 if n == 8 else 2)
            chunks = sum("artifactUpdate" in item for _, item in items)
            before = min(max(n - 2, 0), 5)
            if n == 8:
                assert chunks == 5
            elif n == 7:  # closed: there is nothing to continue
                assert chunks == 10
            else:
                # Continued behind its last word, the artifact closes with the task; there is nothing to tell.
                assert chunks == ((4 if n == 6 else 5) if resume else before + 5)
            starts = [item["artifactUpdate"]["append"] for _, item in items if "artifactUpdate" in item].count(False)
            assert starts == (1 if n in {1, 2, 8} or (resume and n < 7) else 2)


@pytest.mark.parametrize("resume", [False, True])
async def test_crash_at_two_events(resume: bool) -> None:
    async with connect(writing(resume=resume)) as server:
        server.crash_worker(at_event=4)
        server.crash_worker(at_event=7)
        items = [pair async for pair in server.stream("go")]
        task = await server.get(items[0][1]["task"]["id"])
        assert gapless(items)
        assert assembled(items) == phrase(task) == WHOLE
        assert info(task)["attempt"] == 3


async def test_crash_of_a_plain_skill() -> None:
    agent = Agent("Plain")

    @agent.skill
    def write(text: str) -> Any:  # noqa: ANN401 - a generator
        yield from WORDS

    async with connect(agent) as server:
        for n in range(2, 7):
            server.crash_worker(at_event=n)
            items = [pair async for pair in server.stream("go")]
            assert gapless(items)
            assert assembled(items) == WHOLE


async def test_crash_of_a_named_task_and_now() -> None:
    agent = Agent("Waiter")
    open_now, begun = asyncio.Event(), list[str]()

    @agent.skill
    async def wait(text: str) -> str:
        begun.append(text)
        await open_now.wait()
        return text

    async with connect(agent) as server:
        tasks = [await server.send(f"{index}", blocking=False) for index in range(5)]
        await until(lambda: len(begun) == 5)
        async with asyncio.timeout(PATIENCE):
            await server.crash_worker()
        open_now.set()
        for index, task in enumerate(tasks):
            items = [pair async for pair in server.subscribe(task["id"], 2)]
            assert assembled(items) == str(index)
            assert info(await server.get(task["id"]))["attempt"] == 2
        server.crash_worker(at_event=3, task_id="named")
        other = await server.send("other")
        named = await server.send("named", task_id="named", generation="0.1")
        assert (info(other)["attempt"], info(named)["attempt"]) == (1, 2)


async def test_the_third_crash_is_poison() -> None:
    async with connect(writing(resume=True)) as server:
        for _ in range(3):
            server.crash_worker(at_event=2)
        task = await server.send("go")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        said = task["status"]["message"]["parts"][0]["text"]
        assert "3 times" in said
        assert (await server.send("another"))["status"]["state"] == DONE


async def test_at_most_once() -> None:
    runs = 0
    agent = Agent("Once")

    @agent.skill(max_attempts=1)
    async def once(text: str) -> str:
        nonlocal runs
        runs += 1
        return text

    async with connect(agent) as server:
        server.crash_worker(at_event=3)
        task = await server.send("go")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert runs == 1
        assert phrase(task) == "go"  # what it said before stays


async def test_suspects_run_one_at_a_time() -> None:
    agent = Agent("Suspects")
    running: set[str] = set()
    together = 0
    turn = asyncio.Event()

    @agent.skill
    async def work(task: TaskContext, text: str) -> str:
        nonlocal together
        running.add(text)
        if text.startswith("suspect") and task.attempt == 3:
            together = max(together, len({name for name in running if name.startswith("suspect")}))
            await asyncio.sleep(0)
        elif text != "clean":
            await turn.wait()
        running.discard(text)
        return text

    async with connect(agent) as server:
        tasks = [await server.send(f"suspect {index}", blocking=False) for index in range(3)]
        for _ in range(2):
            await until(lambda: len(running) == 3)
            running.clear()
            async with asyncio.timeout(PATIENCE):
                await server.crash_worker()
        turn.set()
        clean = await server.send("clean")
        assert clean["status"]["state"] == DONE
        for task in tasks:
            assert [n async for n, _ in server.subscribe(task["id"], 1)]
            assert (await server.get(task["id"]))["status"]["state"] == DONE
        assert together == 1


async def test_canceled_while_its_worker_dies() -> None:
    agent = Agent("Stubborn")
    begun, asked = asyncio.Event(), asyncio.Event()

    @agent.skill
    async def stubborn(text: str) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            asked.set()
            await asyncio.Event().wait()
        return text

    async with connect(agent, cancel_grace_seconds=3600) as server:
        task = await server.send("go", blocking=False)
        await begun.wait()
        canceling = asyncio.create_task(server.cancel(task["id"]))
        await asked.wait()
        await server.crash_worker()
        async with asyncio.timeout(PATIENCE):  # much shorter than the grace
            canceled = await canceling
        assert canceled["status"]["state"] == "TASK_STATE_CANCELED"


async def test_restart_finds_what_a_dead_process_left(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    async with connect(writing(resume=True), **places) as server:
        server.crash_worker(at_event=4)
        engine = server._system.engine
        crash, died = engine.worker.crash, asyncio.Event()

        async def die() -> None:  # the process with its worker: nobody takes over
            crash()
            died.set()

        engine.replace_worker = die  # type: ignore[method-assign]  # misbehaves on purpose
        task = await server.send("go", blocking=False)
        async with asyncio.timeout(PATIENCE):
            await died.wait()
        scheduled = await server.send("later", blocking=False, options={"delaySeconds": 0.3})
        left = await server.get(task["id"])
        assert (info(left)["phase"], info(left)["attempt"]) == ("leased", 1)
    async with connect(writing(resume=True), **places) as server:
        items = [pair async for pair in server.subscribe(task["id"], 1)]
        assert [n for n, _ in items] == list(range(2, 2 + len(items)))
        done = await server.get(task["id"])
        assert assembled(items) == phrase(done) == WHOLE
        assert (done["status"]["state"], info(done)["attempt"]) == (DONE, 2)
        assert [n async for n, _ in server.subscribe(scheduled["id"], 1)][-1] == 8


async def test_drain_hands_back_and_a_restart_runs_it_again(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    agent = Agent("Patient")
    runs: list[int] = []
    gate = asyncio.Event()

    @agent.skill(max_attempts=1)
    async def patient(task: TaskContext, text: str) -> str:
        runs.append(task.attempt)
        await task.progress(note="begun")
        await gate.wait()
        return text

    async with connect(agent, **places) as server:
        stream = server.stream("go")
        seen = [(await anext(stream)) for _ in range(3)]
        await stream.aclose()
    gate.set()
    async with connect(agent, **places) as server:
        task_id = seen[0][1]["task"]["id"]
        rest = [pair async for pair in server.subscribe(task_id, 3)]
        done = await server.get(task_id)
        assert (done["status"]["state"], phrase(done)) == (DONE, "go")
        assert gapless([*seen, *rest])
        assert runs == [1, 1]  # handing back is free, even for at most once


async def test_drain_lets_a_run_end(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    agent = Agent("Quick")

    @agent.skill
    async def quick(text: str) -> str:
        await asyncio.sleep(0.2)
        return text

    async with connect(agent, drain_seconds=3600, **places) as server:
        task = await server.send("go", blocking=False)
    async with connect(agent, **places) as server:
        done = await server.get(task["id"])
        assert (done["status"]["state"], info(done)["attempt"]) == (DONE, 1)
