"""The workbench's lines that ask and remember, as the crash drill relies on them."""

from __future__ import annotations

from pathlib import Path

from a2a_server.examples import workbench
from a2a_server.model.objects import Scope, State, StatusEvent, Task, Text
from a2a_server.model.requests import GetRequest, SubscribeRequest
from tests.drills.conversations import Item, plan, questions
from tests.server.engines import Running, running


def lines(task: Task) -> list[str]:
    [artifact] = task.artifacts
    [part] = artifact.parts
    assert isinstance(part, Text)
    return part.text.split("\n")


async def told(served: Running, task: Task) -> list[tuple[float | None, str]]:
    stream = await served.operations.subscribe(Scope(), SubscribeRequest(task.id, after=0))
    events = [logged.event async for batch in stream.batches for logged in batch]
    notes = [event.progress for event in events if isinstance(event, StatusEvent) and event.progress]
    return [(note.done, note.note) for note in notes]


async def converse(served: Running, line: str) -> tuple[Task, list[str]]:
    """The ended task, and what it asked."""
    task, asked = await served.send(line), []
    while task.status.state is State.INPUT_REQUIRED and task.status.message:
        asked.append(task.status.message.text)
        task = await served.answer(task, f"answer {len(asked)}")
    assert task.status.state is State.COMPLETED
    return await served.operations.get(Scope(), GetRequest(task.id)), asked


async def test_questions(tmp_path: Path) -> None:
    async with running(workbench.agent, tmp_path) as served:
        task, asked = await converse(served, "ask 2 0.001")
        assert asked == questions("ask 2") == ["question 1 of 2", "question 2 of 2"]
        assert lines(task) == ["answer 1", "answer 2"]


async def test_steps(tmp_path: Path) -> None:
    async with running(workbench.agent, tmp_path) as served:
        task, asked = await converse(served, "steps 3 0.001")
        assert asked == []
        assert len(set(lines(task))) == 3
        assert await told(served, task) == list(enumerate(lines(task), 1))


async def test_questions_between_steps(tmp_path: Path) -> None:
    async with running(workbench.agent, tmp_path) as served:
        task, asked = await converse(served, "talk 2")
        assert asked == questions("talk 2")
        first, one, second, two, third = lines(task)
        assert (one, two) == ("answer 1", "answer 2")
        assert [len(token) == 32 for token in lines(task)] == [item is Item.STEP for item in plan("talk 2")]
        runs = [(1, first)], [(1, first), (2, second)], [(1, first), (2, second), (3, third)]
        assert await told(served, task) == [note for run in runs for note in run]
