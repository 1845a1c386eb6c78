"""Artifacts that are closed, described, and written again: what was streamed is what is stored."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import httpx2
import pytest

from a2a_server import Agent, Artifact, File, TaskContext
from a2a_server.model.objects import Text
from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.test_crashes import DONE

SMALL, LARGE = 10, 40_000


async def content(http: httpx2.AsyncClient, parts: list[dict[str, Any]]) -> bytes:
    found = b""
    for part in parts:
        if "url" in part:
            found += (await http.get(part["url"])).raise_for_status().content
        else:
            found += b64decode(part["raw"]) if "raw" in part else part["text"].encode()
    return found


@pytest.mark.parametrize("size", [SMALL, LARGE, 2 * LARGE])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("closes_again", [False, True])
async def test_an_artifact_written_again_after_it_was_closed(size: int, binary: bool, closes_again: bool) -> None:
    agent = Agent("Again")

    @agent.skill
    async def again(task: TaskContext, text: str) -> None:
        for index, letter in enumerate("abc"):
            writer = task.artifact("doc", "application/x-doc" if binary else "text/plain")
            writer.write(letter.encode() * size if binary else letter * size)
            if index < 2 or closes_again:
                writer.close()
            if index == 1:
                await task.progress(0.5)

    async with connect(agent) as server, httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
        streamed, task_id = b"", ""
        async for _, item in server.stream("go"):
            if update := item.get("artifactUpdate"):
                task_id = update["taskId"]
                told = await content(http, update["artifact"]["parts"])
                streamed = streamed + told if update.get("append") else told
        task = await server.get(task_id)
        [artifact] = task["artifacts"]
        stored = await content(http, artifact["parts"])
        assert task["status"]["state"] == DONE
        assert len(stored) == len(streamed) == 3 * size
        assert stored == streamed == b"".join(letter.encode() * size for letter in "abc")


@pytest.mark.parametrize("size", [SMALL, 2 * LARGE])
@pytest.mark.parametrize("kind", ["text", "file", "pieces"])
async def test_description_and_metadata_survive_the_closing(size: int, kind: str) -> None:
    agent = Agent("Described")

    @agent.skill
    async def described(task: TaskContext, text: str) -> Artifact | None:
        if kind == "pieces":
            async with task.artifact("doc", description="for people") as writer:
                for _ in range(4):
                    await writer.write("x" * size)
            return None
        part = Text("x" * size) if kind == "text" else File("a.bin", raw=b"x" * size)
        return Artifact("doc", (part,), description="for people", metadata={"k": [1]})

    async with connect(agent) as server:
        task = await server.send("go")
        for seen in (task, await server.get(task["id"])):
            [artifact] = seen["artifacts"]
            assert artifact["description"] == "for people"
            assert artifact.get("metadata") == (None if kind == "pieces" else {"k": [1]})
