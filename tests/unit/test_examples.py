"""The agents that the documentation quotes do what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from a2a_server import (
    Agent,
    Data,
    Fail,
    File,
    Progress,
    Reject,
    Retry,
    Text,
)
from a2a_server.agents.skill import SkillRunner
from a2a_server.errors import Paused
from a2a_server.examples import demo, travel, workbench
from a2a_server.model.objects import Message
from a2a_server.model.runs import Chunk, Completed, Output
from tests.patience import PATIENCE
from tests.unit.attempts import RecordingAttempt, task_of


def whole(name: str, *parts: Text | Data | File) -> Chunk:
    return Chunk(name, parts, last=True)


async def example(agent: Agent, text: str, skill: str, number: int = 1, **data: Any) -> list[Output]:  # noqa: ANN401 - JSON
    attempt = RecordingAttempt(task_of(text, data=data or None, skill=skill), number=number)
    assert await asyncio.wait_for(SkillRunner(agent).run(attempt), PATIENCE) == Completed()
    return attempt.outputs


def text_of(outputs: list[Output]) -> list[str]:
    chunks = [output for output in outputs if isinstance(output, Chunk)]
    return [part.text for chunk in chunks for part in chunk.parts if isinstance(part, Text)]


async def test_the_demo_agent() -> None:
    assert await example(demo.agent, "hello", "echo") == [whole("result", Text("hello"))]
    assert await example(demo.agent, "", "count", steps=2, seconds=0) == [
        Progress(done=1, total=2, note="step 1 of 2"),
        Progress(done=2, total=2, note="step 2 of 2"),
        whole("result", Data({"steps": 2})),
    ]
    words = text_of(await example(demo.agent, "", "story", about="a cat", gap_seconds=0))
    assert len(words) > 10
    assert "".join(words).startswith("Once there was a cat. Every")
    with pytest.raises(Retry):
        await example(demo.agent, "", "flaky")
    assert text_of(await example(demo.agent, "", "flaky", number=2)) == ["succeeded on attempt 2"]


async def test_the_workbench() -> None:
    async def do(line: str, number: int = 1) -> list[Output]:
        return await example(workbench.agent, line, "workbench", number)

    assert text_of(await do("echo  a b\n")) == [" a b\n"]
    assert text_of(await do("echo")) == [""]
    assert await do("stream 2 0.001") == [Chunk("text", (Text("chunk 0"),)), Chunk("text", (Text("chunk 1"),))]
    assert text_of(await do("sleep 0")) == ["slept"]
    assert await do("blob 300") == [
        whole(
            "blob",
            File("blob.bin", "application/octet-stream", raw=bytes(range(256)) + bytes(range(44))),
        )
    ]
    assert (await do("work 2"))[0] == Progress(done=1, total=2, note="step 1 of 2")
    assert text_of(await do("flaky 2", number=3)) == ["succeeded on attempt 3"]
    with pytest.raises(Retry):
        await do("flaky 2", number=2)
    with pytest.raises(Fail):
        await do("fail")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("reject", "Rejected as asked."),
        ("dance", "Unknown command. Send one line of: echo X; stream N [gap_seconds]; work N [gap_seconds]; sleep"),
        ("", "Unknown command."),
        ("stream", "Write stream N [gap_seconds]."),
        ("stream x", "Write stream N [gap_seconds]."),
        ("sleep -1", "Write sleep SECONDS; -1 is not from 0 to 86400."),
        ("blob 1e12", "Write blob BYTES; 1e12 is not from 0 to"),
        ("sleep nan", "Write sleep SECONDS; nan is not from"),
        ("ask", "Write ask N [gap_seconds]."),
        ("steps x", "Write steps N [gap_seconds]."),
        ("talk 1 2 3", "Write talk N [gap_seconds]."),
        ("ask 101", "Write ask N [gap_seconds]; 101 is not from 0 to 100."),
    ],
)
async def test_what_the_workbench_rejects(line: str, said: str) -> None:
    with pytest.raises(Reject) as caught:
        await example(workbench.agent, line, "workbench")
    assert caught.value.text.startswith(said)


async def asked(runner: SkillRunner, attempt: RecordingAttempt) -> Message:
    with pytest.raises(Paused):
        await asyncio.wait_for(runner.run(attempt), PATIENCE)
    assert attempt.paused is not None
    return attempt.paused.message


async def test_the_travel_agent() -> None:
    runner = SkillRunner(travel.agent)
    await runner.open()
    wishes = File("wishes.txt", raw=b"a balcony")
    attempt = RecordingAttempt(task_of("Lisbon", files=(wishes,), skill="trip"))
    assert '"nights"' in (await asked(runner, attempt)).text
    attempt = attempt.answered(Text("3"))
    assert (await asked(runner, attempt)).text == "3 nights in Lisbon cost 270 €, traveller. Book them?"
    no = attempt.answered(Text("no"))
    with pytest.raises(Reject):
        await runner.run(no)
    attempt = attempt.answered(Text("yes"))
    assert (await asked(runner, attempt)).text == "Room Lisbon-1 is yours. On what name?"
    named = attempt.answered(Text("Ada"))
    await runner.run(named)
    assert text_of(named.outputs) == ["Noted: a balcony\n", "Booked Lisbon-1 for Ada."]
    again = RecordingAttempt(task_of("Rome", data={"nights": 1}, skill="trip"))
    again.kept = {key: value for key, value in named.kept.items() if key[1] == "memory"}
    assert (await asked(runner, again)).text == "1 nights in Rome cost 110 €, Ada. Book them?"
    assert isinstance(runner.resources, travel.Hotels)
    assert list(runner.resources.booked.values()) == ["Lisbon-1"]
    await runner.roll_back(attempt, "canceled")
    assert runner.resources.booked == {}
    with pytest.raises(Reject, match=r"^No hotels in Paris, only in Lisbon, Oslo, Rome\.$"):
        await runner.run(RecordingAttempt(task_of("Paris", data={"nights": 1}, skill="trip")))
    await runner.close()
