"""Whole conversations with a served agent, alike in every generation, and what a client reads of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

from a2a_server.testing import Connection, Protocol
from tests.patience import PATIENCE

Json: TypeAlias = dict[str, Any]
Answer: TypeAlias = str | Json
"""A text, or what `Connection.send` takes: text, data, files."""

GENERATIONS: tuple[Protocol, ...] = ("1.0", "0.3", "0.1")
_WAITING = {"input-required", "auth-required"}


def state(task: Json) -> str:
    """The state's name as in 0.3."""
    return str(task["status"]["state"]).removeprefix("TASK_STATE_").lower().replace("_", "-")


def waits(task: Json) -> bool:
    return state(task) in _WAITING


def parts_of(task: Json) -> list[Json]:
    """The parts of the status message."""
    return list(task["status"].get("message", {}).get("parts", []))


def words(parts: Sequence[Json]) -> str:
    return "".join(part["text"] for part in parts if "text" in part)


def said(task: Json) -> str:
    return words(parts_of(task))


def told(task: Json) -> Json:
    """The data part of the status message."""
    [data] = [part["data"] for part in parts_of(task) if "data" in part]
    return dict(data)


def made(task: Json) -> str:
    """The text of all artifacts."""
    return "".join(words(artifact["parts"]) for artifact in task.get("artifacts", []))


def questions(task: Json) -> list[str]:
    """What the agent said, in the history of a 1.0 or 0.3 task."""
    return [words(one["parts"]) for one in task["history"] if one["role"] in {"ROLE_AGENT", "agent"}]


async def reply(server: Connection, task: Json, answer: Answer, generation: Protocol = "1.0") -> Json:
    content = {"text": answer} if isinstance(answer, str) else answer
    async with asyncio.timeout(PATIENCE):
        return await server.send(**content, task_id=task["id"], generation=generation)


async def talk(server: Connection, opening: Answer, *answers: Answer, generation: Protocol = "1.0") -> Json:
    """The task after its last answer; every answer but the last is followed by a question."""
    content = {"text": opening} if isinstance(opening, str) else opening
    async with asyncio.timeout(PATIENCE):
        task = await server.send(**content, generation=generation)
    for answer in answers:
        assert waits(task), task
        task = await reply(server, task, answer, generation)
    return task


async def log_of(server: Connection, task: Json) -> list[tuple[int | None, Json]]:
    """All events of a finished task, as 1.0 shows them."""
    async with asyncio.timeout(PATIENCE):
        return [pair async for pair in server.subscribe(task["id"], after=0)]


async def crashing(server: Connection, opening: Answer, *answers: Answer) -> AsyncIterator[tuple[int, Json]]:
    """The same conversation again and again, each with a worker that dies at the next event, the last one too."""
    length = len(await log_of(server, await talk(server, opening, *answers)))
    assert length > 2
    for n in range(1, length + 1):
        crash = server.crash_worker(at_event=n)
        task = await talk(server, opening, *answers)
        async with asyncio.timeout(PATIENCE):
            await crash
        yield n, task


def asked(log: list[tuple[int | None, Json]]) -> list[str]:
    """The questions in a log, in their order."""
    updates = [item["statusUpdate"]["status"] for _, item in log if "statusUpdate" in item]
    return [words(one["message"]["parts"]) for one in updates if waits({"status": one})]


def assembled(log: list[tuple[int | None, Json]]) -> str:
    """The text of the only artifact, by obeying `append`."""
    text = ""
    for _, item in log:
        if update := item.get("artifactUpdate"):
            piece = words(update["artifact"]["parts"])
            text = text + piece if update.get("append") else piece
    return text
