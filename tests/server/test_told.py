"""A send that waited is answered with what doorbells told: to the byte what the store would have given, unasked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import orjson
import pytest

from a2a_server import Agent, Artifact, Data, File, Message, Progress, Retry, TaskContext, Text
from a2a_server.examples.workbench import workbench
from a2a_server.model import objects
from a2a_server.model.objects import Generation, Role, Scope, State, Task
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import GetRequest, SendRequest
from a2a_server.wire import v01, v03, v10
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until

LARGE = 100_000
"""More bytes than an artifact row keeps."""

FEW = 20
"""Chunks that a ring has room for."""

NO_OPTIONS = TaskOptions()

_ids = count(1)


def agent_of() -> Agent:
    agent = Agent("Told")
    agent.skill(id="workbench", default=True)(workbench)
    add_writers(agent)

    @agent.skill(id="speaks")
    async def speaks(text: str) -> AsyncIterator[str | Message]:
        yield text
        yield Message(Role.AGENT, (Text("and that was it"),), metadata={"final": True})

    @agent.skill(id="answers", direct=True)
    async def answers(text: str) -> str:
        return text

    return agent


def add_writers(agent: Agent) -> None:

    @agent.skill(id="pieces")
    async def pieces(task: TaskContext, text: str) -> AsyncIterator[Artifact | Progress]:
        one = task.artifact("one", description="written by hand")
        two = task.artifact("two", "application/json")
        for index in range(FEW):
            one.write(f"{text} {index}")
            two.write({"index": index})
            yield Progress(done=index, total=FEW)
        one.close()
        two.close()
        yield Artifact("three", (Text("three", metadata={"a": 1}), Data([1, 2.5, None])), description="d", metadata={})
        task.artifact("left open").write("as it stands")

    @agent.skill(id="large")
    async def large(task: TaskContext, text: str) -> AsyncIterator[Artifact | str]:
        yield Artifact("text", (Text("é" * LARGE),))
        yield Artifact("file", (File("x.bin", "application/octet-stream", raw=b"x" * LARGE),))
        spilled = task.artifact("piece by piece")
        for _ in range(FEW):
            spilled.write("y" * (LARGE // FEW + 1))
        await spilled.close()

    @agent.skill(id="sprawling")
    async def sprawling(task: TaskContext, text: str) -> None:
        writer = task.artifact("of many kinds", "application/json")
        for index in range(FEW):
            await writer.write({"index": index, "filler": "x" * LARGE})

    @agent.skill(id="again")
    async def again(task: TaskContext, text: str) -> None:
        writer = task.artifact("kept", resume=True)
        writer.write(f"attempt {task.attempt} ")
        await task.artifact("replaced").write(f"by attempt {task.attempt}")
        if task.attempt == 1:
            raise Retry("once more")
        writer.close()


def of_workbench(*lines: str) -> list[tuple[str, str]]:
    return [("workbench", line) for line in lines]


KINDS = [
    *of_workbench("echo hé\u2028\0llo", "stream 0", f"stream {FEW}", "work 3", "blob 4", "flaky 2", "fail", "reject"),
    *of_workbench("ask 1", "unheard of"),
    ("pieces", "piece"),
    ("large", "go"),
    ("again", "go"),
    ("speaks", "so"),
    ("answers", "a task after all"),
]


def said(text: str, generation: Generation) -> objects.Message:
    id = "" if generation is Generation.V01 else f"told-{next(_ids)}"
    parts = (objects.Text(text, metadata={"z": 1}), objects.Data({"b": [1], "a": 1e300}))
    return objects.Message(Role.USER, parts, id, extensions=("urn:x",), metadata={"m": None})


async def send(
    server: Running,
    skill: str,
    text: str,
    generation: Generation,
    options: TaskOptions = NO_OPTIONS,
    **asked: object,
) -> Task:
    request = SendRequest(
        generation,
        said(text, generation),
        task_id=f"task-{next(_ids)}" if generation is Generation.V01 else "",
        metadata={"b": 1, "a": {"c": []}},
        options=options.model_copy(update={"skill": skill}),
        **asked,  # type: ignore[arg-type]  # fields of the request
    )
    async with asyncio.timeout(PATIENCE):
        answer = await server.operations.send(Scope(), request)
    assert isinstance(answer, Task)
    return answer


def shown(task: Task) -> list[bytes]:
    return [orjson.dumps(wire.render_task(task, "http://here")) for wire in (v01, v03, v10)]


@pytest.mark.parametrize("generation", list(Generation))
@pytest.mark.parametrize(("skill", "text"), KINDS)
async def test_an_answer_is_what_the_store_has(tmp_path: Path, skill: str, text: str, generation: Generation) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        for history in (None, 0, 1, 5):
            told = await send(server, skill, text, generation, history_length=history)
            stored = await server.operations.get(Scope(), GetRequest(told.id, history, Generation.V10))
            assert told == stored
            assert shown(told) == shown(stored)
        again = {"again": 1, "flaky 2": 2}  # a run that is not the task's first reads what came before
        assert server.store.snapshots == 4 * again.get(skill, again.get(text, 0))


async def test_what_is_too_large_to_be_kept_is_read_from_the_store(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        for skill, text in (("sprawling", "go"), ("workbench", "echo " + "x" * 2 * LARGE * 2)):
            before = server.store.snapshots
            told = await send(server, skill, text, Generation.V10)
            assert server.store.snapshots == before + 1
            assert told == await server.operations.get(Scope(), GetRequest(told.id))
        assert server.engine.hub._ring_bytes == 0


async def test_an_answer_to_a_question_is_read_from_the_store(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        asked = await send(server, "workbench", "ask 1", Generation.V10)
        assert asked.status.state is State.INPUT_REQUIRED
        told = await server.answer(asked, "because")
        assert told.status.state is State.COMPLETED
        assert told == await server.operations.get(Scope(), GetRequest(told.id))


async def test_who_does_not_wait_gets_the_task_as_it_was_accepted(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        for options in (NO_OPTIONS, TaskOptions(delaySeconds=60)):
            for history in (None, 0, 1):
                told = await send(
                    server,
                    "workbench",
                    "sleep 60",
                    Generation.V10,
                    blocking=False,
                    history_length=history,
                    options=options,
                )
                found = await server.operations.get(Scope(), GetRequest(told.id, history))
                assert ("explain" in found.info) == bool(options.delay_seconds)
                found.info.pop("explain", None)
                assert told == found
        assert server.store.snapshots == 0


async def test_lost_doorbells_are_made_up_for(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        sending = asyncio.create_task(send(server, "workbench", "sleep 60", Generation.V10))
        watches = server.engine.hub._watches
        await until(lambda: any(watch.last_n == 2 for watch in watches.values()))
        (row,) = [watch.told.row for watch in watches.values() if watch.told and watch.told.row]
        await server.engine.hub.on_silence()
        canceled = await server.cancel(row.id)
        before = server.store.snapshots
        told = await sending
        assert told == canceled
        assert told == await server.operations.get(Scope(), GetRequest(told.id))
        assert server.store.snapshots <= before + 1


async def test_a_stream_from_the_beginning_reads_nothing(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        message = said(f"stream {FEW}", Generation.V10)
        stream = await server.operations.stream(Scope(), SendRequest(Generation.V10, message))
        seen = [event.row.n async for batch in stream.batches for event in batch]
        assert seen == list(range(2, FEW + 4))
        assert (server.store.reads, server.store.snapshots, server.engine.hub.watched) == (0, 0, 0)


async def test_a_stream_that_nobody_reads_is_forgotten(tmp_path: Path) -> None:
    async with running(agent_of(), tmp_path, poll_seconds=LONG) as server:
        message = said("sleep 60", Generation.V10)
        stream = await server.operations.stream(Scope(), SendRequest(Generation.V10, message))
        assert server.engine.hub.watched == 1
        del stream
        await server.engine.hub.check()
        assert server.engine.hub.watched == 0
