"""Parents and children: spawned once, joined without a slot, canceled together, and results put together."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail, Partial, SyncTask, TaskContext
from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Data, Phase, Scope, State, Task
from a2a_server.model.requests import GetRequest
from a2a_server.model.rows import Key
from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until, until_asked

pytestmark = pytest.mark.backends


async def seen(server: Running, task_id: str) -> Task:
    return await server.operations.get(Scope(), GetRequest(task_id))


def text_of(task: Task) -> str:
    return task.artifacts[0].parts[0].text  # type: ignore[union-attr]  # it is a text


def results_of(task: Task) -> Any:  # noqa: ANN401 - JSON
    [artifact] = task.artifacts
    assert artifact.name == "results"
    [part] = artifact.parts
    assert isinstance(part, Data)
    return part.data


def family() -> tuple[Agent, asyncio.Event, list[str]]:
    """`split` spawns a child for each word and joins them; `part` does a word, `wait…` only when told."""
    agent, go, ran = Agent("Family"), asyncio.Event(), list[str]()

    @agent.skill(default=True)
    async def split(task: TaskContext, text: str) -> str:
        ran.append(f"split {task.attempt}")
        handles = [await task.spawn(word, skill="part") for word in text.split()]
        found = await task.join(*handles)
        return " ".join(child.text if child.completed else child.state.name for child in found)

    @agent.skill
    async def part(task: TaskContext, text: str) -> str:
        ran.append(text)
        if text.startswith("wait"):
            await go.wait()
        if text.startswith("fail"):
            raise Fail("no")
        return text.upper()

    return agent, go, ran


async def test_a_parent_joins_its_children(tmp_path: Path) -> None:
    agent, go, ran = family()
    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        task_id = await server.start("one two fail wait")
        await server.reached(task_id, Phase.WAITING)
        go.set()
        await server.reached(task_id, State.COMPLETED)
        parent = await seen(server, task_id)
        assert text_of(parent) == "ONE TWO FAILED WAIT"
        runs = Counter(ran)
        # An end that meets the turn in which the parent begins to wait may wake it once too often.
        assert runs.pop("split 1") in range(2, 2 + len(runs))
        assert runs == Counter(["one", "two", "fail", "wait"])
        assert parent.info["attempt"] == 1
        rows = [row for row in await server.store.inner.oldest(Key(b""), 100) if row.parent]
        assert [row.parent for row in rows] == [(await server.row(parent.id)).key] * 4
        child = await seen(server, rows[0].id)
        assert child.info["parentTaskId"] == parent.id
        assert child.context_id == parent.context_id


async def test_a_parent_that_waits_holds_no_slot(tmp_path: Path) -> None:
    agent, go, _ = family()
    async with running(agent, tmp_path) as server:
        parent = await server.start("wait1 wait2")
        row = await server.reached(parent, Phase.WAITING)
        assert row.state is State.WORKING
        shown = (await seen(server, parent)).info
        assert (shown["unmet"], shown["status"]) == (2, "decomposed")
        go.set()
        await server.reached(parent, State.COMPLETED)


async def test_ten_parents_at_a_limit_of_ten_all_end(tmp_path: Path) -> None:
    agent = Agent("Same")

    @agent.skill(max_concurrency=10)
    async def same(task: TaskContext, text: str) -> str:
        if text == "child":
            return "done"
        await asyncio.sleep(0)
        (child,) = await task.join(await task.spawn("child"))
        return child.text

    async with running(agent, tmp_path, slots=10) as server:
        found = await asyncio.gather(*(server.send(f"parent {n}") for n in range(10)))
        assert {text_of(task) for task in found} == {"done"}


async def all_but_one_ended(server: Running) -> bool:
    rows = await server.store.inner.oldest(Key(b""), 9)
    return sum(row.phase is Phase.FINAL for row in rows) == 3


async def test_ends_before_the_join_are_not_lost(tmp_path: Path) -> None:
    agent = Agent("Late")
    ended = asyncio.Event()

    @agent.skill(default=True)
    async def late(task: TaskContext, text: str) -> str:
        handles = [await task.spawn(word, skill="quick") for word in text.split()]
        await ended.wait()
        first = await task.join(*handles[:1])
        rest = await task.join(*handles)
        return f"{len(first)} {len(rest)}"

    @agent.skill
    async def quick(text: str) -> str:
        return text

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        parent = await server.start("a b c")
        await until_asked(partial(all_but_one_ended, server))
        ended.set()
        await server.reached(parent, State.COMPLETED)
        assert text_of(await seen(server, parent)) == "1 3"


async def test_a_join_of_any_gives_the_same_in_every_run(tmp_path: Path) -> None:
    agent, go, runs = Agent("Any"), asyncio.Event(), list[list[str]]()

    @agent.skill(default=True)
    async def race(task: TaskContext, text: str) -> str:
        handles = [await task.spawn(word, skill="runner", name=word) for word in text.split()]
        first = await task.join(*handles, until="any")
        runs.append([child.text for child in first])
        await task.join(*handles)
        return first[0].text

    @agent.skill
    async def runner(text: str) -> str:
        if text == "slow":
            await go.wait()
        return text

    async with running(agent, tmp_path) as server:
        parent = await server.start("slow quick")
        await until(lambda: bool(runs))
        go.set()
        await server.reached(parent, State.COMPLETED)
        assert text_of(await seen(server, parent)) == "quick"
        assert set(map(tuple, runs)) == {("quick",)}


async def test_plain_skills_spawn_and_join(tmp_path: Path) -> None:
    agent = Agent("Plain")

    @agent.skill(default=True)
    def plain(task: SyncTask, text: str) -> dict[str, Any]:
        first = task.spawn("1", skill="double", parameters={"number": 1})
        second = task.spawn(
            "2", skill="double", parameters={"number": 2}, depends_on=[first], tags=["x"], priority="high"
        )
        found = [child.data for child in task.join(first, second)]
        return {"sum": sum(data["double"] for data in found if isinstance(data, dict))}

    @agent.skill
    async def double(number: int) -> dict[str, int]:
        return {"double": 2 * number}

    async with running(agent, tmp_path) as server:
        parent = await server.send("go")
        assert parent.artifacts[0].parts[0].data == {"sum": 6}  # type: ignore[union-attr]


async def test_canceling_a_parent_cancels_its_unfinished_children(tmp_path: Path) -> None:
    agent, _, ran = family()
    async with running(agent, tmp_path) as server:
        parent = await server.start("wait one")
        await server.reached(parent, Phase.WAITING)
        rows = [row for row in await server.store.inner.oldest(Key(b""), 9) if row.parent]
        await server.reached(rows[1].id, State.COMPLETED)
        waiting = await server.start("behind", skill="part", parentTaskId=parent, dependsOn=(rows[0].id,))
        assert (await server.cancel(parent)).status.state is State.CANCELED
        await server.reached(rows[0].id, State.CANCELED)
        await server.reached(waiting, State.CANCELED, State.FAILED)
        assert (await server.row(rows[1].id)).state is State.COMPLETED
        with pytest.raises(InvalidParams) as refused:
            await server.send("late", parentTaskId=parent)
        assert "has ended (canceled)" in refused.value.message
    assert "behind" not in ran


async def test_a_child_must_not_wait_for_its_parent(tmp_path: Path) -> None:
    agent, go, _ = family()
    async with running(agent, tmp_path) as server:
        parent = await server.start("wait")
        await server.reached(parent, Phase.WAITING)
        behind = await server.start("behind", skill="part", dependsOn=(parent,))
        for upstream in (parent, behind):
            with pytest.raises(InvalidParams) as refused:
                await server.send("x", skill="part", parentTaskId=parent, dependsOn=(upstream,))
            assert refused.value.path.endswith(".dependsOn[0]")
            assert "could ever go on" in refused.value.message
        (sibling,) = [row for row in await server.store.inner.oldest(Key(b""), 9) if row.parent]
        good = await server.start("good", skill="part", parentTaskId=parent, dependsOn=(sibling.id,))
        go.set()
        for task_id in (parent, behind, good):
            await server.reached(task_id, State.COMPLETED)


def criterion() -> tuple[Agent, asyncio.Event]:
    agent, go = Agent("Criterion"), asyncio.Event()

    @agent.skill(default=True)
    async def parts(task: TaskContext, text: str) -> Any:  # noqa: ANN401 - several kinds
        for word in text.split():
            await task.spawn(word, skill="part")
        if text.startswith("own"):
            return "my own"
        return Partial(None, "half of it") if text.startswith("half") else None

    @agent.skill
    async def part(text: str) -> Any:  # noqa: ANN401 - several kinds
        if text.startswith("wait"):
            await go.wait()
        if text.startswith("fail"):
            raise Fail("no")
        return {"word": text} if text.startswith("d") else text

    return agent, go


async def test_a_parent_completes_with_the_results_of_its_children(tmp_path: Path) -> None:
    agent, go = criterion()
    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        parent = await server.start("wait d half", completeWhen="all")
        row = await server.reached(parent, Phase.WAITING)
        assert row.state is State.WORKING
        go.set()
        await server.reached(parent, State.COMPLETED)
        task = await seen(server, parent)
        found = results_of(task)
        assert [(child["state"], child["result"]) for child in found] == [
            ("completed", "wait"), ("completed", {"word": "d"}), ("completed", "half"),
        ]  # fmt: skip
        assert task.info["completeWhen"] == "all"
        rows = [row for row in await server.store.inner.oldest(Key(b""), 9) if row.parent]
        assert [child["taskId"] for child in found] == [row.id for row in rows]
        own = await server.send("own two", completeWhen="all")
        assert text_of(own) == "my own"
        assert [artifact.name for artifact in own.artifacts] == ["result"]
        half = await server.send("half two", completeWhen="all")
        assert half.status.metadata == {"urn:a2a-task-server:task:v1": {"partial": "half of it"}}


async def test_a_parent_whose_criterion_cannot_be_met_fails_and_names_who(tmp_path: Path) -> None:
    agent, go = criterion()
    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        parent = await server.start("wait fail", completeWhen="all")
        await server.reached(parent, State.FAILED)
        failed = next(
            row for row in await server.store.inner.oldest(Key(b""), 9) if row.state is State.FAILED and row.parent
        )
        task = await seen(server, parent)
        assert task.status.message is not None
        assert f"Not completed: {failed.id} (failed)" in task.status.message.text
        anyway = await server.start("wait fail", completeWhen="any")
        await server.reached(anyway, Phase.WAITING)
        go.set()
        await server.reached(anyway, State.COMPLETED)
        two = await server.send("a b fail", completeWhen=2)
        assert [child["state"] for child in results_of(two)] == ["completed", "completed", "failed"]
        three = await server.send("a b fail", completeWhen="3")
        assert three.status.state is State.FAILED


async def test_a_parent_is_spawned_from_once_whatever_happens_to_its_worker() -> None:
    agent = Agent("Crashing")

    @agent.skill(default=True)
    async def parent(task: TaskContext, text: str) -> str:
        await task.progress(0.1, "began")
        handles = [await task.spawn(word, skill="child") for word in text.split()]
        await task.progress(0.5, "spawned")
        found = await task.join(*handles)
        await task.progress(0.9, "joined")
        return " ".join(child.text for child in found)

    @agent.skill
    async def child(text: str) -> str:
        return text

    async with connect(agent) as server:
        for n in range(1, 8):
            crash = server.crash_worker(at_event=n)
            task = await server.send("a b c")
            async with asyncio.timeout(PATIENCE):
                await crash
            assert task["artifacts"][0]["parts"][0]["text"] == "a b c"
            listed = await server.rpc("ListTasks", {"contextId": task["contextId"]})
            assert len(listed["result"]["tasks"]) == 4


async def test_a_run_that_lost_its_task_spawns_nothing(tmp_path: Path) -> None:
    agent, begun, lost, spawned = Agent("Zombie"), asyncio.Event(), asyncio.Event(), asyncio.Event()

    @agent.skill(default=True)
    async def parent(task: TaskContext, text: str) -> str:
        if task.attempt == 1:
            try:
                begun.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await lost.wait()
                try:
                    await task.spawn("zombie's", skill="child")
                finally:
                    spawned.set()
        return "done"

    @agent.skill
    async def child(text: str) -> str:
        return text

    async with running(agent, tmp_path) as server:
        task_id = await server.start("go")
        await begun.wait()
        await server.engine.replace_worker()
        await server.reached(task_id, State.COMPLETED)
        lost.set()
        async with asyncio.timeout(PATIENCE):
            await spawned.wait()
        assert [row.id for row in await server.store.inner.oldest(Key(b""), 9)] == [task_id]
