"""Steps, checkpoints, memory and resumed artifacts over the whole server, through questions and crashes at every event.

Source: core.md sections 6 and 8.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import pytest
from pydantic import BaseModel

from a2a_server import Agent, Message, Retry, Role, SyncTask, TaskContext, Text
from a2a_server.testing import Connection, connect
from tests.patience import PATIENCE
from tests.server.agent_talks import asked, assembled, crashing, log_of, made, reply, said, state, talk

LARGEST = 256 * 1024


def token() -> str:
    return uuid4().hex


async def async_token() -> str:
    return uuid4().hex


def nothing() -> int | None:
    return None


class Seen:
    """What the runs of each task got from their steps."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, set[str]]] = {}

    def see(self, task: TaskContext | SyncTask, name: str, value: object) -> None:
        self.values.setdefault(task.id, {}).setdefault(name, set()).add(str(value))

    def once(self, task_id: str) -> bool:
        return all(len(values) == 1 for values in self.values[task_id].values())


def stepping(seen: Seen) -> Agent:
    agent = Agent("Stepping")

    @agent.skill
    async def asynchronous(task: TaskContext) -> AsyncIterator[str]:
        for index in range(3):
            value = await (task.step("same", async_token) if index else task.step("same", token))
            await task.progress(note=value)
            seen.see(task, str(index), value)
        await task.checkpoint("half", {"way": 1})
        seen.see(task, "answer", await task.ask("On?"))
        assert task.checkpoints == {"half": {"way": 1}}
        value = await task.step("last", async_token)
        seen.see(task, "last", value)
        yield f"{value} "
        yield "done"

    @agent.skill
    def plain(task: SyncTask) -> str:
        for index in range(2):
            value = task.step("same", token)
            task.progress(note=value)
            seen.see(task, str(index), value)
        task.checkpoint("half", [1])
        seen.see(task, "answer", task.ask("On?"))
        assert task.checkpoints == {"half": [1]}
        seen.see(task, "last", task.step("last", token))
        return "done"

    @agent.skill
    async def nested(task: TaskContext) -> str:
        async def inner() -> list[str]:
            values = [await task.step("same", async_token), await task.step("same", async_token)]
            task.progress(note="inside")
            seen.see(task, "inner", values)
            return values

        seen.see(task, "outer", await task.step("outer", inner))
        await task.progress(note="between")
        seen.see(task, "later", await task.step("same", async_token))
        seen.see(task, "answer", await task.ask("On?"))
        return "done"

    @agent.skill
    async def together(task: TaskContext) -> str:
        first, second = await asyncio.gather(task.step("a", async_token), task.step("b", token))
        await task.progress(note="both")
        seen.see(task, "first", first)
        seen.see(task, "second", second)
        async with asyncio.TaskGroup() as group:
            group.create_task(task.step("c", async_token))
            answer = await task.ask("On?")
        seen.see(task, "answer", answer)
        return "done"

    return agent


@pytest.mark.parametrize("skill", ["asynchronous", "plain", "nested", "together"])
async def test_a_step_is_recorded_once_whatever_event_a_worker_dies_at(skill: str) -> None:
    seen = Seen()
    async with connect(stepping(seen)) as server:
        async for n, task in crashing(server, {"text": "go", "options": {"skill": skill}}, "yes"):
            assert state(task) == "completed", n
            assert made(task).endswith("done"), n
            assert seen.once(task["id"]), (n, seen.values[task["id"]])
            log = await log_of(server, task)
            assert asked(log) == ["On?"], n
            assert assembled(log) == made(task), n
            if skill == "nested":
                values = seen.values[task["id"]]
                assert not any(later in inner for later in values["later"] for inner in values["inner"]), n


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_step_is_executed_at_least_once(when: str) -> None:
    agent, runs = Agent("Steps"), list[str]()
    served: list[Connection] = []

    @agent.skill
    async def skill(task: TaskContext) -> str:
        async def work() -> str:
            if when == "after" or runs:
                runs.append(token())
            if len(runs) <= 1 and task.attempt == 1:
                with suppress(asyncio.CancelledError):
                    await served[0].crash_worker()
            if not runs:
                runs.append(token())
            return runs[-1]

        return await task.step("work", work)

    async with connect(agent) as server:
        served.append(server)
        task = await talk(server, "go")
    assert state(task) == "completed"
    assert made(task) == runs[-1]
    assert len(runs) == 2, "what a dead worker did not record is done again"


async def test_a_step_that_fails_is_not_remembered_and_one_that_worked_outlives_the_attempt() -> None:
    agent, calls = Agent("Steps"), list[str]()

    @agent.skill
    async def skill(task: TaskContext) -> str:
        def work(name: str) -> str:
            calls.append(name)
            if name == "second" and task.attempt < 3:
                raise Retry("not yet", after_seconds=0)
            return name.upper()

        return f"{await task.step('first', work, 'first')} {await task.step('second', work, name='second')}"

    async with connect(agent) as server:
        assert made(await talk(server, "go")) == "FIRST SECOND"
    assert calls == ["first", "second", "second", "second"]


async def test_the_result_of_a_step_is_json_in_the_first_run_too() -> None:
    agent = Agent("Steps")

    class Room(BaseModel):
        number: int

    @agent.skill(default=True)
    async def skill(task: TaskContext) -> str:
        found = [
            await task.step("model", lambda: Room(number=1)),
            await task.step("tuple", lambda: (1, "2")),
            await task.step("nothing", nothing),
        ]
        return repr(found)

    @agent.skill
    async def large(task: TaskContext, size: int) -> int:
        return len(await task.step("large", lambda: "x" * size))

    @agent.skill
    async def strange(task: TaskContext) -> None:
        await task.step("strange", object)

    @agent.skill
    async def called(task: TaskContext) -> None:
        await task.step("called", async_token())  # type: ignore[call-overload]  # the mistake that is tried

    async with connect(agent) as server:
        assert made(await talk(server, "go")) == "[{'number': 1}, [1, '2'], None]"
        task = await talk(server, {"data": {"size": LARGEST - 100}, "options": {"skill": "large"}})
        assert state(task) == "completed"
        task = await talk(server, {"data": {"size": LARGEST + 1}, "options": {"skill": "large"}})
        assert state(task) == "failed"
        assert said(task) == (
            'The value of step "large" is larger than 262144 bytes; keep it in an artifact or a file.'
        )
        task = await talk(server, {"text": "", "options": {"skill": "strange"}})
        assert (state(task), said(task)) == (
            "failed",
            'The value of step "strange" is of type object, which cannot be written as JSON.',
        )
        task = await talk(server, {"text": "", "options": {"skill": "called"}})
        assert state(task) == "failed"


async def test_memory_is_shared_by_context_and_by_owner() -> None:
    agent = Agent("Memory")

    @agent.skill(default=True)
    async def count(task: TaskContext) -> dict[str, object]:
        here, everywhere = task.memory, task.memory.owner
        for memory in (here, everywhere):
            value = await memory.get("count", 0)
            assert isinstance(value, int)
            await memory.set("count", value + 1)
        return {"here": await here.get("count"), "everywhere": await everywhere.get("count")}

    @agent.skill
    def forget(task: SyncTask) -> list[str]:
        task.memory.set("a/1", 1)
        task.memory.set("a/2", 2)
        task.memory.delete("count")
        assert task.memory.get("count", "none") == "none"
        return [*task.memory.names(), *task.memory.names("a/"), *task.memory.owner.names()]

    def found(task: dict[str, object]) -> object:
        artifacts = task["artifacts"]
        assert isinstance(artifacts, list)
        return artifacts[0]["parts"][0]["data"]

    async with connect(agent) as server:
        said_there = {"text": "go", "context_id": "there"}
        assert found(await talk(server, said_there)) == {"here": 1, "everywhere": 1}
        await server.crash_worker()
        assert found(await talk(server, said_there)) == {"here": 2, "everywhere": 2}
        assert found(await talk(server, {"text": "go", "context_id": "elsewhere"})) == {"here": 1, "everywhere": 3}
        task = await talk(server, said_there | {"options": {"skill": "forget"}})
        assert found(task) == ["a/1", "a/2", "a/1", "a/2", "count"]


async def test_two_tasks_at_once_keep_apart_what_they_ask_and_step() -> None:
    agent, both = Agent("Two"), asyncio.Barrier(2)

    @agent.skill
    async def skill(task: TaskContext, text: str) -> str:
        value = await task.step("same", lambda: text)
        if len(task.history) == 1:
            async with asyncio.timeout(PATIENCE):
                await both.wait()
        await task.checkpoint("same", value)
        return f"{value} {task.checkpoints['same']} {await task.ask('Well?')}"

    async with connect(agent) as server:
        first, second = await asyncio.gather(talk(server, "one"), talk(server, "two"))
        assert made(await reply(server, second, "B")) == "two two B"
        assert made(await reply(server, first, "A")) == "one one A"


async def test_a_resumed_artifact_goes_on_behind_a_question_and_a_crash_at_any_event() -> None:
    agent = Agent("Writer")
    pieces = ["one ", "two ", "three ", "four "]

    @agent.skill
    async def write(task: TaskContext) -> None:
        async with task.artifact("text", resume=True) as writer:
            for index, piece in list(enumerate(pieces))[writer.chunks :]:
                if index == 2:
                    await task.ask("On?")
                await writer.write(piece)
        assert writer.offset in {0, *(len("".join(pieces[:count])) for count in range(5))}

    async with connect(agent) as server:
        plain = await talk(server, "go", "yes")
        events = [item for _, item in await log_of(server, plain) if "artifactUpdate" in item]
        assert [item["artifactUpdate"].get("append", False) for item in events] == [False, True, True, True, True]
        async for n, task in crashing(server, "go", "yes"):
            log = await log_of(server, task)
            assert state(task) == "completed", n
            assert asked(log) == ["On?"], n
            assert assembled(log) == made(task) == "".join(pieces), n
            starts = [item["artifactUpdate"].get("append", False) for _, item in log if "artifactUpdate" in item]
            assert starts.count(False) <= 2, n


async def test_a_replaced_artifact_begins_anew_behind_a_question() -> None:
    agent = Agent("Writer")

    @agent.skill
    async def write(task: TaskContext) -> Message | None:
        writer = task.artifact("text")
        await writer.write(f"run {len(task.history)} ")
        writer.write(await task.ask("On?"))
        writer.close()
        return Message(Role.AGENT, (Text("written"),))

    async with connect(agent) as server:
        task = await talk(server, "go", "yes")
        assert (made(task), said(task)) == ("run 3 yes", "written")
        assert assembled(await log_of(server, task)) == "run 3 yes"
