"""Running skills: generators, threads, errors and cancellation."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, model_serializer

from a2a_server import (
    Agent,
    Data,
    Fail,
    File,
    Progress,
    Reject,
    Retry,
    SyncTask,
    TaskContext,
    Text,
)
from a2a_server.agents.skill import SkillRunner
from a2a_server.errors import ConfigurationError, LeaseLost
from a2a_server.examples import demo
from a2a_server.model.runs import Chunk, Completed, Output, Stopping
from tests.patience import PATIENCE
from tests.unit.attempts import RecordingAttempt, task_of


class Odd:
    pass


def runner_of(function: Callable[..., Any]) -> SkillRunner:
    agent = Agent("A")
    agent.skill(id="s")(function)
    return SkillRunner(agent)


async def run(function: Callable[..., Any], text: str = "hi") -> tuple[list[Output], Completed]:
    attempt = RecordingAttempt(task_of(text, skill="s"))
    runner = runner_of(function)
    try:
        completed = await asyncio.wait_for(runner.run(attempt), PATIENCE)
    finally:
        await runner.close()
    return attempt.outputs, completed


def whole(name: str, *parts: Text | Data | File) -> Chunk:
    return Chunk(name, parts, last=True)


# generators


async def test_an_async_generator_is_held_when_there_is_no_room() -> None:
    steps: list[int] = []

    async def skill() -> AsyncIterator[str]:
        for index in range(3):
            steps.append(index)
            yield str(index)

    attempt = RecordingAttempt(task_of(skill="s"), limit=1)
    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    await asyncio.sleep(0)
    assert steps == [0]
    for _ in range(3):
        attempt.emitted.clear()
        await attempt.commit()
        if len(attempt.outputs) < 3:
            await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    assert await asyncio.wait_for(running, PATIENCE) == Completed()
    assert steps == [0, 1, 2]


async def test_a_generator_is_closed_on_every_way_out() -> None:
    closed: list[str] = []

    async def asynchronous() -> AsyncGenerator[object, None]:
        try:
            yield Odd()
        finally:
            closed.append("async")

    def plain() -> Generator[object, None, None]:
        try:
            yield Odd()
        finally:
            closed.append("plain")

    for function in (asynchronous, plain):
        with pytest.raises(Fail):
            await run(function)
    assert closed == ["async", "plain"]


# threads


async def test_plain_functions_run_in_a_thread_of_the_runner_with_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("seen")

    def skill(task: SyncTask, text: str) -> str:
        task.progress(0.5)
        return f"{text} {variable.get()} {threading.current_thread().name.split('_')[0]}"

    outputs, _ = await run(skill)
    assert outputs == [Progress(0.5), whole("result", Text("hi seen a2a-skill"))]


class Threaded(BaseModel):
    """Says in which thread it was written as JSON."""

    @model_serializer
    def written(self) -> str:
        return threading.current_thread().name.split("_")[0]


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("streams", [False, True])
async def test_what_a_plain_skill_returns_is_written_in_a_thread_never_on_the_loop(
    checked: bool, streams: bool
) -> None:
    def skill() -> Threaded:
        return Threaded()

    def generator() -> Generator[str, None, Threaded]:
        yield "a"
        return Threaded()

    agent = Agent("A")
    function = agent.skill(id="s")(generator if streams else skill)  # type: ignore[type-var,unused-ignore]  # either
    if checked:

        @function.validate_result
        async def fine(result: object) -> bool:
            return result is not None

    attempt = RecordingAttempt(task_of(skill="s"))
    await asyncio.wait_for(SkillRunner(agent).run(attempt), PATIENCE)
    assert attempt.outputs[-1] == whole("result", Data("a2a-skill"))


async def test_a_plain_generator_emits_at_each_yield_and_its_return_is_a_result() -> None:
    emitted: list[int] = []
    attempt = RecordingAttempt(task_of(skill="s"))

    def skill() -> Generator[str, None, dict[str, int]]:
        yield "a"
        emitted.append(len(attempt.outputs))
        yield "b"
        emitted.append(len(attempt.outputs))
        return {"n": 2}

    assert await asyncio.wait_for(runner_of(skill).run(attempt), PATIENCE) == Completed()
    assert emitted == [1, 2]
    assert attempt.outputs == [
        Chunk("text", (Text("a"),)),
        Chunk("text", (Text("b"),)),
        whole("result", Data({"n": 2})),
    ]


@pytest.mark.parametrize("error", [Reject("no"), Fail("bad"), Retry("later"), OSError("disk"), KeyError("bug")])
async def test_what_a_skill_raises_comes_out(error: Exception) -> None:
    async def asynchronous() -> None:
        raise error

    def plain() -> None:
        raise error

    for function in (asynchronous, plain):
        with pytest.raises(type(error)) as caught:
            await run(function)
        assert caught.value is error


async def test_no_skill_ends_the_process_or_hangs_it() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    def leave_thread() -> None:
        raise SystemExit(3)

    def stop() -> None:
        raise StopIteration

    for function in (leave, leave_thread):
        with pytest.raises(Fail, match="tried to end the server's process"):
            await run(function)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await run(stop)


# cancellation


async def test_a_canceled_coroutine_gets_cancelled_error() -> None:
    seen = asyncio.Event()

    async def skill(task: TaskContext) -> None:
        task.progress(0.1)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.set()
            raise

    attempt = RecordingAttempt(task_of(skill="s"))
    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert seen.is_set()


async def test_a_canceled_thread_is_waited_for_and_its_result_dropped() -> None:
    attempt = RecordingAttempt(task_of(skill="s"))

    def skill(task: SyncTask) -> str:
        task.progress(0.1)
        while task.stopping is None:
            threading.Event().wait(0.001)
        release.wait(PATIENCE)
        return "too late"

    release = threading.Event()
    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    attempt.stopping = Stopping.CANCELED
    running.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)
    assert attempt.outputs == [Progress(0.1)]


async def test_a_thread_that_stops_before_its_run_is_canceled_has_no_result() -> None:
    attempt = RecordingAttempt(task_of(skill="s"))

    def skill(task: SyncTask) -> str:
        attempt.stopping = Stopping.CANCELED  # told here, before the loop comes to cancel the run
        return f"stopped: {task.stopping}"

    await asyncio.wait_for(runner_of(skill).run(attempt), PATIENCE)
    assert attempt.outputs == []


async def test_a_second_cancellation_gives_a_thread_up() -> None:
    attempt = RecordingAttempt(task_of(skill="s"))
    release = threading.Event()

    def skill(task: SyncTask) -> None:
        task.progress(0.1)
        release.wait()
        raise KeyError

    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, PATIENCE)
    finally:
        release.set()


async def test_a_canceled_run_that_never_got_a_thread_ends_at_once() -> None:
    def skill(task: SyncTask) -> None:
        task.progress(0.1)
        release.wait()

    release = threading.Event()
    agent = Agent("A")
    agent.skill(id="s")(skill)
    runner = SkillRunner(agent, threads=1)
    busy, waiting = RecordingAttempt(task_of(skill="s")), RecordingAttempt(task_of(skill="s"))
    first = asyncio.create_task(runner.run(busy))
    await asyncio.wait_for(busy.emitted.wait(), PATIENCE)
    second = asyncio.create_task(runner.run(waiting))
    await asyncio.sleep(0)
    second.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(second, PATIENCE)
    finally:
        release.set()
    await asyncio.wait_for(first, PATIENCE)
    assert waiting.outputs == []


async def test_a_canceled_plain_generator_is_closed_behind_its_next_yield() -> None:
    closed = threading.Event()
    go_on = threading.Event()

    def skill() -> Iterator[str]:
        try:
            yield "a"
            go_on.wait(PATIENCE)
            yield "b"
            yield "c"
        finally:
            closed.set()

    attempt = RecordingAttempt(task_of(skill="s"))
    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    running.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, PATIENCE)
    assert closed.is_set()
    assert attempt.outputs[-1] != Chunk("text", (Text("c"),))


async def test_a_lost_lease_ends_a_generator() -> None:
    closed = asyncio.Event()

    async def skill() -> AsyncIterator[str]:
        try:
            while True:
                yield "more"
        finally:
            closed.set()

    attempt = RecordingAttempt(task_of(skill="s"), limit=1)
    running = asyncio.create_task(runner_of(skill).run(attempt))
    await asyncio.wait_for(attempt.emitted.wait(), PATIENCE)
    await attempt.lose()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(running, PATIENCE)
    assert closed.is_set()


# the runner


async def test_the_runner_knows_the_agents_skills() -> None:
    runner = SkillRunner(demo.agent)
    assert [skill.id for skill in runner.skills] == ["echo", "count", "story", "flaky"]
    assert [skill.default for skill in runner.skills] == [True, False, False, False]
    with pytest.raises(Fail, match='no skill "gone" any more'):
        await runner.run(RecordingAttempt(task_of("x", skill="gone")))
    with pytest.raises(ConfigurationError, match="has no skill"):
        SkillRunner(Agent("Empty"))
