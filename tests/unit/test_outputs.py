"""What results and yielded items become: outputs of the attempt, and how the run completes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel

from a2a_server import (
    Agent,
    Artifact,
    Data,
    Fail,
    File,
    Message,
    Partial,
    Progress,
    Text,
)
from a2a_server.agents.skill import SkillRunner
from a2a_server.model.objects import Role
from a2a_server.model.runs import Chunk, Completed, Output
from tests.unit.attempts import RecordingAttempt, task_of


class Order(BaseModel):
    item: str


@dataclass
class Point:
    x: int


class Odd:
    pass


async def run(function: Callable[..., Any]) -> tuple[list[Output], Completed]:
    agent = Agent("A")
    agent.skill(id="s")(function)
    attempt = RecordingAttempt(task_of(skill="s"))
    return attempt.outputs, await SkillRunner(agent).run(attempt)


async def given(result: object) -> tuple[list[Output], Completed]:
    async def skill() -> object:
        return result

    return await run(skill)


async def yielded(*items: object) -> tuple[list[Output], Completed]:
    async def skill() -> AsyncIterator[object]:
        for item in items:
            yield item

    return await run(skill)


def whole(name: str, *parts: Text | Data | File) -> Chunk:
    return Chunk(name, parts, last=True)


# results


@pytest.mark.parametrize(
    ("result", "part"),
    [
        ("hi", Text("hi")),
        ("", Text("")),
        ({"a": (1, 2)}, Data({"a": [1, 2]})),
        ([], Data([])),
        (3, Data(3)),
        (0.5, Data(0.5)),
        (float("nan"), Data(None)),
        (True, Data(data=True)),
        (Order(item="tea"), Data({"item": "tea"})),
        (Point(1), Data({"x": 1})),
        (date(2026, 1, 2), Data("2026-01-02")),
        (b"\x00", File(media_type="application/octet-stream", raw=b"\x00")),
        (File("a", raw=b"a"), File("a", raw=b"a")),
        (Text("a", "text/html"), Text("a", "text/html")),
    ],
    ids=[
        "text",
        "empty text",
        "dict",
        "list",
        "int",
        "float",
        "nan",
        "bool",
        "model",
        "dataclass",
        "date",
        "bytes",
        "file part",
        "text part",
    ],
)
async def test_a_result_is_one_closed_artifact(result: object, part: Text | Data | File) -> None:
    assert await given(result) == ([whole("result", part)], Completed())


async def test_none_is_no_artifact() -> None:
    assert await given(None) == ([], Completed())


async def test_artifacts_as_they_are() -> None:
    report = Artifact("report", (Text("r"),), description="d", metadata={"k": 1})
    extra = Artifact("extra", (Data({"a": 1}),))
    first = Chunk("report", (Text("r"),), last=True, description="d", metadata={"k": 1})
    assert await given(report) == ([first], Completed())
    assert await given([report, extra]) == ([first, whole("extra", Data({"a": 1}))], Completed())
    assert await given([Text("a"), File(url="https://x/")]) == (
        [whole("result", Text("a"), File(url="https://x/"))],
        Completed(),
    )


async def test_a_message_is_the_final_one_and_the_agents() -> None:
    outputs, completed = await given(Message(Role.USER, (Text("done"),)))
    assert outputs == []
    said = Message(Role.AGENT, (Text("done"),), id="t-1-1", context_id="c-1", task_id="t-1")
    assert completed == Completed(message=said)


async def test_a_partial_result_says_why() -> None:
    assert await given(Partial({"rows": 3}, "the archive was down")) == (
        [whole("result", Data({"rows": 3}))],
        Completed(partial="the archive was down"),
    )
    with pytest.raises(ValueError, match="why"):
        Partial("x", "")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (Odd(), "of type Odd that cannot be written as JSON"),
        ({"a": Odd()}, "of type dict that cannot be written as JSON"),
        (2**70, "of type int that cannot be written as JSON"),
        ("\ud800", "lone surrogate"),
        (Progress(0.5), "returned a Progress"),
        ([Artifact("a", ()), 1], "mixes artifacts"),
        (Artifact("", (Text("x"),)), "a name is 1 to 256 printable characters"),
        (Artifact("a", ()), "an artifact without parts"),
        (File("a", 5, raw=b""), "a int where a text belongs"),  # type: ignore[arg-type]  # the wrong ones
        (Artifact("a", ("x",)), "a str where a Text, Data or File part belongs"),  # type: ignore[arg-type]  # the wrong ones
        (File("a"), "a file with none, or more than one"),
    ],
    ids=[
        "object",
        "nested",
        "large int",
        "surrogate",
        "progress",
        "mixed list",
        "no name",
        "no parts",
        "media type",
        "no part",
        "empty file",
    ],
)
async def test_a_result_that_cannot_be_sent_fails_the_task(result: object, said: str) -> None:
    with pytest.raises(Fail, match=said):
        await given(result)


# generators


async def test_each_yield_is_one_output() -> None:
    rows = {"n": 1}
    outputs, completed = await yielded("a", "", Progress(0.5), rows, "b", {"n": 2}, b"x", b"y", None, 3)
    assert outputs == [
        Chunk("text", (Text("a"),)),
        Chunk("text", (Text(""),)),
        Progress(0.5),
        whole("data", Data({"n": 1})),
        Chunk("text", (Text("b"),)),
        whole("data-2", Data({"n": 2})),
        whole("file", File(media_type="application/octet-stream", raw=b"x")),
        whole("file-2", File(media_type="application/octet-stream", raw=b"y")),
        whole("data-3", Data(3)),
    ]
    assert completed == Completed()


async def test_yielded_artifacts_messages_and_partials() -> None:
    said = Message(Role.AGENT, (Text("bye"),), id="own", context_id="c-1", task_id="t-1")
    outputs, completed = await yielded(Artifact("a", (Text("x"),)), Partial("half", "no time"), said)
    assert outputs == [whole("a", Text("x")), Chunk("text", (Text("half"),))]
    assert completed == Completed(message=said, partial="no time")
    with pytest.raises(Fail, match="yield them one by one"):
        await yielded([Artifact("a", ())])
