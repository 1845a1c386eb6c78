"""An agent that uses every decorator and verb, as its author would write it: it has to pass a strict type checker.

Where `assert_type` stands, the checker knows exactly that type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import assert_type

import pytest
from pydantic import BaseModel

from a2a_server import (
    Agent,
    Answer,
    Artifact,
    Data,
    Fail,
    File,
    Happening,
    Message,
    Partial,
    Progress,
    Reject,
    Retry,
    Role,
    SyncTask,
    TaskContext,
    Text,
)
from a2a_server.agents.skill import SkillRunner
from a2a_server.errors import Paused
from a2a_server.model.objects import Json
from a2a_server.model.runs import Chunk, Completed
from tests.unit.attempts import RecordingAttempt, task_of

agent = Agent("Typed", description="Every decorator and verb.", version="1.0.0")


class Page(BaseModel):
    number: int
    words: list[str]


async def fetch(url: str, *, times: int = 1) -> str:
    return url * times


def count(text: str) -> int:
    return len(text)


async def page(number: int) -> Page:
    return Page(number=number, words=["a"])


@agent.lifespan
async def resources() -> AsyncIterator[dict[str, str]]:
    yield {"model": "small"}


@agent.skill
async def echo(text: str) -> str:
    return text


@agent.skill(id="everything", tags=["a"], timeout_seconds=60, max_attempts=2, retry_on=(KeyError,), priority="high")
async def everything(task: TaskContext, text: str, source: File | None = None, most: int = 3) -> AsyncIterator[object]:
    task.progress(0.5, "half")
    await task.progress(done=1, total=2)
    fetched = await task.step("fetch", fetch, text, times=2)
    assert_type(fetched, str)
    counted = await task.step("count", count, fetched)
    assert_type(counted, int)
    model = await task.step("page", page, most)
    assert_type(model, Json)
    sure = await task.ask("Sure?", name="sure")
    assert_type(sure, Answer)
    assert_type(await task.need_auth("https://sign.in", scope="mail"), Answer)
    await task.checkpoint("asked", {"sure": sure})
    assert_type(await task.memory.get("last", ""), Json)
    await task.memory.owner.set("last", text)
    assert_type(await task.memory.names("l"), Sequence[str])
    if source is not None:
        assert_type(await task.read(source), bytes)
        async for piece in task.open(source):
            assert_type(piece, bytes)
    async with task.artifact("notes", "text/markdown", resume=True) as writer:
        await writer.write("# notes")
    yield Progress(1.0)
    yield Artifact("pages", (Text("a"), Data(model), File("a.txt", raw=b"a")))
    yield f"{counted} {sure}"


@everything.validate
async def check(text: str, most: int) -> str | None:
    return None if most > 0 else f"nothing to do for {text}"


@everything.validate_result
def check_result(result: list[object]) -> bool:
    return bool(result)


@everything.rollback
async def undo(task: TaskContext, reason: str) -> None:
    await task.log("warning", f"{reason} {task.checkpoints}")


@agent.skill
def plainly(task: SyncTask, text: str) -> Iterator[str]:
    assert_type(task.ask("Sure?"), Answer)
    assert_type(task.step("count", count, text), int)
    assert_type(task.step("page", lambda: Page(number=1, words=[])), Json)
    task.progress(done=1, note="one")
    task.memory.set("last", task.memory.get("last"))
    yield from text


@plainly.rollback
def undo_plainly(task: SyncTask) -> None:
    task.log("info", "undone")


@agent.skill(direct=True)
async def answering(text: str) -> Message | Partial:
    match text:
        case "reject":
            raise Reject("no")
        case "fail":
            raise Fail("no")
        case "retry":
            raise Retry(after_seconds=30)
        case "partial":
            return Partial({"a": 1}, "the rest is missing")
    return Message(Role.AGENT, (Text("42"),))


@agent.on("completed", "failed")
async def tell(event: Happening) -> None:
    assert event.task.id


@agent.on("input-required")
def tell_plainly(event: Happening) -> None:
    assert event.text


async def test_the_agent_works_from_its_first_question_to_its_end() -> None:
    assert_type(await echo("a"), str)
    runner = SkillRunner(agent)
    await runner.open()
    attempt = RecordingAttempt(task_of("hello", files=(File("a.txt", raw=b"a"),), skill="everything"))
    for answer in ("yes", "done"):
        with pytest.raises(Paused):
            await runner.run(attempt)
        attempt = attempt.answered(Text(answer))
    assert await runner.run(attempt) == Completed()
    assert attempt.outputs[-1] == Chunk("text", (Text("10 yes"),))
    await runner.close()
