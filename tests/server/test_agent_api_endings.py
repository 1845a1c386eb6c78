"""How skills end and which one runs, over the whole server: direct answers, retries, partial results, defaults.

Source: core.md sections 5, 7 and 13; design.md section 2.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from a2a_server import Agent, Message, Partial, Progress, Retry, Role, SyncTask, TaskContext, Text
from a2a_server.testing import Protocol, connect
from tests.server.agent_talks import GENERATIONS, Answer, Json, log_of, made, reply, said, state, talk, words


def answer(text: str) -> Message:
    return Message(Role.AGENT, (Text(text),))


def direct() -> Agent:
    agent = Agent("Direct")

    @agent.skill
    async def by_type(task: TaskContext, text: str) -> str | Message:
        match text:
            case "task":
                return "a result"
            case "ask":
                return answer(f"so {await task.ask('Well?')}")
            case "slow":
                await asyncio.sleep(0.5)
        return answer("42")

    @agent.skill(direct=True)
    async def by_option(text: str) -> AsyncIterator[object]:
        if text == "progress":
            yield Progress(0.5)
        yield answer("43")

    @agent.skill(direct=True)
    def plainly(task: SyncTask, text: str) -> object:
        return answer("44")

    return agent


@pytest.mark.parametrize("generation", ["1.0", "0.3"])
@pytest.mark.parametrize(("skill", "text"), [("by_type", "42"), ("by_option", "43"), ("plainly", "44")])
async def test_a_message_first_is_the_whole_answer(generation: Protocol, skill: str, text: str) -> None:
    async with connect(direct(), direct_seconds=60) as server:
        message = await server.send("hello", options={"skill": skill}, generation=generation)
        assert "status" not in message
        assert words(message["parts"]) == text
        items = [item async for _, item in server.stream("hello", options={"skill": skill}, generation=generation)]
        assert len(items) == 1
        assert words(items[0].get("message", items[0])["parts"]) == text


@pytest.mark.parametrize("skill", ["by_type", "by_option", "plainly"])
async def test_v01_knows_tasks_only(skill: str) -> None:
    async with connect(direct()) as server:
        task = await server.send("hello", options={"skill": skill}, generation="0.1")
        assert state(task) == "completed"
        assert said(task) in {"42", "43", "44"}


@pytest.mark.parametrize("generation", ["1.0", "0.3"])
@pytest.mark.parametrize(("skill", "text"), [("by_type", "task"), ("by_option", "progress"), ("by_type", "slow")])
async def test_anything_else_first_shows_the_task(generation: Protocol, skill: str, text: str) -> None:
    async with connect(direct(), direct_seconds=0.1) as server:
        task = await server.send(text, options={"skill": skill}, generation=generation)
        assert state(task) == "completed"
        assert (made(task), said(task)) in {("a result", ""), ("", "42"), ("", "43")}


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_direct_skill_may_ask(generation: Protocol) -> None:
    async with connect(direct()) as server:
        task = await talk(server, "ask", generation=generation)
        assert (state(task), said(task)) == ("input-required", "Well?")
        task = await reply(server, task, "it is", generation)
        assert (state(task), said(task)) == ("completed", "so it is")


def info(task: Json) -> Json:
    return dict(task["metadata"]["urn:a2a-task-server:task:v1"])


async def test_what_is_transient_is_tried_again() -> None:
    agent, began = Agent("Transient"), list[float]()

    class BusyError(Exception):
        pass

    @agent.skill(default=True, retry_on=BusyError, max_attempts=3)
    async def busy(task: TaskContext, text: str) -> str:
        began.append(time.monotonic())
        if task.attempt < 3:
            match text:
                case "listed":
                    raise BusyError
                case "disk":
                    raise OSError("disk")
                case "soon":
                    raise Retry("in a moment", after_seconds=0.2)
                case "bug":
                    raise ValueError("secret")
        return f"attempt {task.attempt}"

    async with connect(agent) as server:
        for text in ("listed", "disk"):
            task = await talk(server, text)
            assert (made(task), info(task)["attempt"]) == ("attempt 3", 3)
        began.clear()
        assert made(await talk(server, "soon")) == "attempt 3"
        assert [later - earlier >= 0.19 for earlier, later in itertools.pairwise(began)] == [True, True]
        task = await talk(server, "bug")
        assert (state(task), info(task)["attempt"]) == ("failed", 1)
        assert "secret" not in str(task)


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_partial_result_completes_and_says_why(generation: Protocol) -> None:
    agent = Agent("Partial")

    @agent.skill
    async def rows(text: str) -> Partial:
        return Partial("one row", "the archive was unreachable")

    async with connect(agent) as server:
        task = await talk(server, "hello", generation=generation)
    assert (state(task), made(task)) == ("completed", "one row")
    assert "the archive was unreachable" in str(task)


async def test_which_skill_runs() -> None:
    agent = Agent("Several")
    agent.skill(id="first")(saying("first"))
    agent.skill(id="second", default=True)(saying("second"))
    async with connect(agent) as server:
        assert made(await talk(server, "")) == "second"
        named: Answer = {"text": "", "options": {"skill": "first"}}
        task = await talk(server, named)
        assert made(task) == "first"
        assert [n for n, _ in await log_of(server, task)] == [1, 2, 3, 4]


def saying(text: str) -> Callable[[], Awaitable[str]]:
    async def skill() -> str:
        return text

    return skill
