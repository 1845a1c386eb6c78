"""Large content: inline where it is text, behind an address where it is a file, the same bytes everywhere."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator

import httpx2
import pytest

from a2a_server import Agent, Artifact, File, TaskContext
from a2a_server.examples.workbench import agent as workbench
from a2a_server.testing import Connection, connect
from a2a_server.web.artifacts import ArtifactPages
from tests.server.test_crashes import assembled, phrase

pytestmark = pytest.mark.asyncio(loop_scope="module")

INLINE = 65_536


def content(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def large_text() -> Agent:
    agent = Agent("Large")

    @agent.skill
    async def large(text: str) -> AsyncIterator[str]:
        for index in range(300):
            yield f"{index:04}é" * 100

    return agent


async def test_large_text_is_inline() -> None:
    whole = "".join(f"{index:04}é" * 100 for index in range(300))
    assert len(whole.encode()) > 2 * INLINE
    async with connect(large_text()) as server:
        items = [pair async for pair in server.stream("go")]
        task = await server.get(items[0][1]["task"]["id"])
        assert assembled(items) == phrase(task) == whole
        old = await server.send("go", generation="0.1")
        assert old["artifacts"][0]["parts"] == [{"type": "text", "text": whole}]


async def test_large_text_through_a_crash() -> None:
    async with connect(large_text()) as server:
        server.crash_worker(at_event=250)
        items = [pair async for pair in server.stream("go")]
        assert [n for n, _ in items] == list(range(1, len(items) + 1))
        task = await server.get(items[0][1]["task"]["id"])
        assert assembled(items) == phrase(task) == "".join(f"{index:04}é" * 100 for index in range(300))


@pytest.mark.parametrize("size", [0, 1, INLINE])
async def test_small_file_is_inline(server: Connection, size: int) -> None:
    task = await server.send(f"blob {size}")
    [part] = task["artifacts"][0]["parts"]
    assert b64decode(part["raw"]) == content(size)
    assert (part["filename"], part["mediaType"]) == ("blob.bin", "application/octet-stream")


@pytest.mark.parametrize("size", [INLINE + 1, 3_000_000])
async def test_large_file_is_an_address(server: Connection, http: httpx2.AsyncClient, size: int) -> None:
    task = await server.send(f"blob {size}")
    [part] = task["artifacts"][0]["parts"]
    assert "raw" not in part
    assert part["url"].startswith(f"{server.url}/artifacts/")
    response = await http.get(part["url"])
    assert (response.status_code, response.content == content(size)) == (200, True)
    headers = response.headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-length"] == str(size)
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert hashlib.sha256(response.content).hexdigest() in headers["etag"]
    streamed = [item async for _, item in server.stream(f"blob {size}")]
    [update] = [item["artifactUpdate"] for item in streamed if "artifactUpdate" in item]
    assert (await http.get(update["artifact"]["parts"][0]["url"])).content == content(size)
    old = await server.send(f"blob {size}", generation="0.1")
    file = old["artifacts"][0]["parts"][0]["file"]
    assert (file["name"], "bytes" in file) == ("blob.bin", False)
    assert (await http.get(file["uri"])).content == content(size)


async def test_a_file_of_several_parts_can_be_had() -> None:
    agent = Agent("Files")

    @agent.skill
    async def files(task: TaskContext, text: str) -> Artifact:
        return Artifact("two", (File("a.bin", raw=content(100_000)), File("b.bin", raw=content(200_000))))

    async with connect(agent) as server, httpx2.AsyncClient(trust_env=False) as http:
        task = await server.send("go")
        for part, size in zip(task["artifacts"][0]["parts"], (100_000, 200_000), strict=True):
            response = await http.get(part["url"])
            assert (response.status_code, response.content == content(size)) == (200, True)


async def test_every_address_that_was_streamed_can_be_had() -> None:
    agent = Agent("Pieces")

    @agent.skill
    async def pieces(task: TaskContext, text: str) -> None:
        async with task.artifact("film", "video/mp4") as writer:
            for index in range(3):
                await writer.write(bytes([index]) * 70_000)

    async with connect(agent) as server, httpx2.AsyncClient(trust_env=False) as http:
        updates = [item["artifactUpdate"] async for _, item in server.stream("go") if "artifactUpdate" in item]
        urls = [part["url"] for update in updates for part in update["artifact"]["parts"] if "url" in part]
        assert [(await http.get(url)).content for url in urls] == [bytes([index]) * 70_000 for index in range(3)]
        [part] = (await server.get(updates[0]["taskId"]))["artifacts"][0]["parts"]
        assert (await http.get(part["url"])).content == b"".join(bytes([index]) * 70_000 for index in range(3))


async def test_a_file_written_in_pieces_is_one_file() -> None:
    agent = Agent("Pieces")

    @agent.skill
    async def pieces(task: TaskContext, text: str) -> None:
        async with task.artifact("film", "video/mp4") as writer:
            for index in range(5):
                await writer.write(bytes([index]) * 40_000)

    async with connect(agent) as server, httpx2.AsyncClient(trust_env=False) as http:
        task = await server.send("go")
        [part] = task["artifacts"][0]["parts"]
        assert part["mediaType"] == "video/mp4"
        response = await http.get(part["url"])
        assert response.headers["content-type"] == "video/mp4"
        assert response.content == b"".join(bytes([index]) * 40_000 for index in range(5))


async def test_a_file_that_the_client_has_is_not_sent_again(server: Connection, http: httpx2.AsyncClient) -> None:
    task = await server.send("blob 70000")
    url = task["artifacts"][0]["parts"][0]["url"]
    first = await http.get(url)
    known = await http.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await http.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_log_is_not_searched_for_what_no_run_can_have_made(
    server: Connection, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await server.send("blob 70000")
    url = task["artifacts"][0]["parts"][0]["url"]
    key = url.removeprefix(f"{server.url}/artifacts/").partition("/")[0]
    searched: list[str] = []

    async def search(self: ArtifactPages, key: object, name: str) -> None:
        searched.append(name)

    monkeypatch.setattr(ArtifactPages, "_in_log", search)
    names = ["x", "7/1", "files/2/1", "files/x/1", f"files/{'9' * 30}/1", "files/1", "files/1/1/1", "other/1/1"]
    for name in [*names, "files/1/99"]:
        assert (await http.get(f"{server.url}/artifacts/{key}/{name}")).status_code == 404
    assert searched == [f"{key}/files/1/99"]


@pytest.mark.parametrize("name", ["nothing", "../tasks.db", "%2e%2e/tasks.db", "a/b/c", "0" * 32 + "/0/1", ""])
async def test_no_such_artifact(server: Connection, http: httpx2.AsyncClient, name: str) -> None:
    response = await http.get(f"{server.url}/artifacts/{name}")
    assert response.status_code == 404
    assert "tasks.db" not in response.text


async def test_files_reach_the_skill(server: Connection) -> None:
    agent = Agent("Reader")

    @agent.skill
    async def read(source: File) -> str:
        return f"{source.filename} {source.media_type} {len(source.raw or b'')}"

    sent = File("notes.txt", "text/plain", raw=content(100_000))
    async with connect(agent) as other:
        for generation in ("1.0", "0.1"):
            task = await other.send(files=[sent], generation=generation)
            assert task["artifacts"][0]["parts"][0]["text"] == "notes.txt text/plain 100000"


async def test_limit_of_an_artifact() -> None:
    async with connect(workbench, artifact_limit_bytes=100_000) as server:
        task = await server.send("blob 100001")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "artifact_limit_bytes" in task["status"]["message"]["parts"][0]["text"]
        assert (await server.send("blob 100000"))["status"]["state"] == "TASK_STATE_COMPLETED"
