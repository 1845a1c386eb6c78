"""Skills that may answer with a message instead of a task. Source: core.md section 7; A2A 1.0.1 section 3.1.1."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from a2a_server.errors import TaskNotFound
from a2a_server.model.objects import File, Generation, Message, Progress, Role, Scope, State, Task, Text
from a2a_server.model.queries import TaskQuery
from a2a_server.model.requests import GetRequest, SendRequest
from a2a_server.model.runs import Chunk, Completed, Pause, Want
from a2a_server.running import Attempt
from a2a_server.service.files import Files
from tests.server.engines import Running, running
from tests.server.scripted import Scripted, ask, idle_agent, message
from tests.server.waiting import until


async def by_its_words(attempt: Attempt) -> Completed:
    match attempt.task.message.text:
        case "artifact":
            attempt.emit(Chunk("text", (Text("a"),), last=True))
        case "progress":
            attempt.emit(Progress(0.5))
            await attempt.flush()
        case "slow":
            await asyncio.sleep(0.8)
        case "ask":
            await ask(attempt, "Well?")
        case "nothing":
            return Completed()
    return Completed(message("42"))


def serving(directory: Path, **settings: object) -> AbstractAsyncContextManager[Running]:
    script = Scripted(by_its_words, direct=True)
    return running(idle_agent(), directory, script.around, **settings)


def request(text: str, generation: Generation = Generation.V10, *, blocking: bool = True) -> SendRequest:
    task_id = "mine" if generation is Generation.V01 else ""
    said = Message(Role.USER, (Text(text),), id="" if task_id else f"m-{text}")
    return SendRequest(generation, said, task_id, blocking=blocking)


@pytest.mark.parametrize("generation", [Generation.V03, Generation.V10], ids=["0.3", "1.0"])
@pytest.mark.parametrize("blocking", [True, False])
async def test_a_message_first_is_the_whole_answer(tmp_path: Path, generation: Generation, blocking: bool) -> None:
    async with serving(tmp_path, direct_seconds=60) as served:
        answer = await served.operations.send(Scope(), request("hello", generation, blocking=blocking))
        assert isinstance(answer, Message)
        assert (answer.text, answer.role, answer.task_id) == ("42", Role.AGENT, "")
        assert answer.context_id
        again = await served.operations.send(Scope(), request("hello", generation, blocking=blocking))
        assert again == answer, "a repeat is answered likewise"
        page = await served.store.page(TaskQuery("", "local", ""))
        assert list(page.rows) == [], "there is no task to be seen"


@pytest.mark.parametrize("text", ["artifact", "progress", "slow", "ask", "nothing"])
async def test_anything_else_first_is_a_task(tmp_path: Path, text: str) -> None:
    async with serving(tmp_path, direct_seconds=0.1) as served:
        answer = await served.operations.send(Scope(), request(text))
        assert isinstance(answer, Task)
        assert answer.status.state is (State.INPUT_REQUIRED if text == "ask" else State.COMPLETED)
        if text not in {"ask", "nothing"}:
            assert answer.status.message is not None
            assert answer.status.message.text == "42", "a later message is the final status message"
        assert (await served.operations.get(Scope(), GetRequest(answer.id))).id == answer.id
        page = await served.store.page(TaskQuery("", "local", ""))
        assert len(page.rows) == 1


async def test_v01_knows_tasks_only(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answer = await served.operations.send(Scope(), request("hello", Generation.V01))
        assert isinstance(answer, Task)
        assert (answer.id, answer.status.state) == ("mine", State.COMPLETED)


async def test_a_stream_is_the_message_or_the_task_and_its_events(tmp_path: Path) -> None:
    async with serving(tmp_path, direct_seconds=60) as served:
        stream = await served.operations.stream(Scope(), request("hello"))
        assert isinstance(stream.start, Message)
        assert [batch async for batch in stream.batches] == []
        again = await served.operations.stream(Scope(), request("hello"))
        assert again.start == stream.start
        stream = await served.operations.stream(Scope(), request("artifact"))
        assert isinstance(stream.start, Task)
        assert stream.start.status.state is State.SUBMITTED
        assert sum([len(batch) async for batch in stream.batches]) == 3


async def test_an_undecided_task_is_nobodys_to_find(tmp_path: Path) -> None:
    async with serving(tmp_path, direct_seconds=60) as served:
        sending = asyncio.create_task(served.operations.send(Scope(), request("slow")))
        await until(lambda: bool(served.engine.worker.running))
        [run] = served.engine.worker._live
        with pytest.raises(TaskNotFound):
            await served.operations.get(Scope(), GetRequest(run.row.id))
        assert isinstance(await sending, Message)


async def test_a_worker_that_dies_undecided_still_answers(tmp_path: Path) -> None:
    async with serving(tmp_path, direct_seconds=60) as served:
        sending = asyncio.create_task(served.operations.send(Scope(), request("slow")))
        await until(lambda: bool(served.engine.worker.running))
        await served.engine.replace_worker()
        answer = await sending
        assert isinstance(answer, (Task, Message))


async def test_a_large_file_of_a_message_is_kept_as_an_object_that_its_owner_can_read(tmp_path: Path) -> None:
    raw = bytes(range(256)) * 1024

    async def handler(attempt: Attempt) -> Completed:
        if attempt.task.message.text == "ask" and len(attempt.task.history) == 1:
            question = Message(Role.AGENT, (Text("See?"), File("q.bin", raw=raw)))
            attempt.pause(Pause(Want.INPUT, question, "1", b"\x01{}"))
        return Completed(Message(Role.AGENT, (File("a.bin", raw=raw),), id="said"))

    async with running(idle_agent(), tmp_path, Scripted(handler, direct=True).around, direct_seconds=60) as served:
        answer = await served.operations.send(Scope(), request("hello"))
        assert isinstance(answer, Message)
        [file] = answer.parts
        assert isinstance(file, File)
        assert (file.raw, file.size, bool(file.stored)) == (None, len(raw), True)
        found = await Files(served.store).find(Scope(), file.stored)
        assert found is not None
        assert await Files(served.store).find(Scope("", "somebody"), file.stored) is None
        assert b"".join([piece async for piece in served.engine.backends.artifacts.read(file.stored)]) == raw
        asked = await served.operations.send(Scope(), request("ask"))
        assert isinstance(asked, Task)
        assert asked.status.message is not None
        question = asked.status.message.parts[1]
        assert isinstance(question, File)
        assert question.stored
        assert await Files(served.store).find(Scope(), question.stored) is not None
