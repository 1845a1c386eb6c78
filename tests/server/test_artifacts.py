"""Large content: inline where it is text, behind an address where it is a file, the same bytes everywhere."""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent, Artifact, File, TaskContext
from a2a_server.artifacts.filesystem import PIECE_BYTES, FilesystemArtifacts
from a2a_server.examples.workbench import agent as workbench
from a2a_server.model.rows import Key
from a2a_server.ports import TaskStore
from a2a_server.testing import Connection, connect
from tests.server.samples import content
from tests.server.test_crashes import assembled, phrase
from tests.server.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.backends]

INLINE = 65_536
SIZE = 300_001
MANY_PIECES = 64 << 20


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


async def test_a_large_text_of_one_piece_is_kept_once() -> None:
    agent = Agent("Whole")
    whole = "é" * (2 * INLINE)

    @agent.skill
    async def large(text: str) -> str:
        return whole

    async with connect(agent) as server:
        sent = await server.send("go")
        assert phrase(sent) == phrase(await server.get(sent["id"])) == whole
        assert assembled([pair async for pair in server.stream("go")]) == whole
        assert (await server.send("go", generation="0.1"))["artifacts"][0]["parts"] == [{"type": "text", "text": whole}]
        assert await server._system.engine.backends.artifacts.list("", 10) == []


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

    async def search(_store: TaskStore, _key: Key) -> AsyncIterator[File]:
        searched.append(name)
        for nothing in list[File]():
            yield nothing

    monkeypatch.setattr("a2a_server.service.files.streamed_files", search)
    names = ["x", "7/1", "files/2/1", "files/x/1", f"files/{'9' * 30}/1", "files/1", "files/1/1/1", "other/1/1"]
    for name in [*names, "files/1/99"]:
        assert (await http.get(f"{server.url}/artifacts/{key}/{name}")).status_code == 404
    assert searched == ["files/1/99"]


@pytest.mark.parametrize("name", ["nothing", "../tasks.db", "%2e%2e/tasks.db", "a/b/c", "0" * 32 + "/0/1", ""])
async def test_no_such_artifact(server: Connection, http: httpx2.AsyncClient, name: str) -> None:
    response = await http.get(f"{server.url}/artifacts/{name}")
    assert response.status_code == 404
    assert "tasks.db" not in response.text


RANGES = [
    ("bytes=0-0", 206, 0, 1),
    ("bytes=0-", 206, 0, SIZE),
    ("bytes=5-9", 206, 5, 10),
    ("Bytes=5-9", 206, 5, 10),
    ("bytes= 5-9", 206, 5, 10),
    ("bytes=262143-262145", 206, 262_143, 262_146),
    (f"bytes={SIZE - 1}-", 206, SIZE - 1, SIZE),
    (f"bytes={SIZE - 1}-{SIZE * 9}", 206, SIZE - 1, SIZE),
    ("bytes=-1", 206, SIZE - 1, SIZE),
    (f"bytes=-{SIZE}", 206, 0, SIZE),
    (f"bytes=-{SIZE * 9}", 206, 0, SIZE),
    (f"bytes={SIZE}-", 416, 0, 0),
    (f"bytes={SIZE}-{SIZE}", 416, 0, 0),
    ("bytes=-0", 416, 0, 0),
    ("bytes=99999999999999999999-", 416, 0, 0),
    ("bytes=0-1,5-9", 200, 0, SIZE),
    ("bytes=9-5", 200, 0, SIZE),
    ("bytes=", 200, 0, SIZE),
    ("bytes=-", 200, 0, SIZE),
    ("bytes=a-b", 200, 0, SIZE),
    ("bytes=\u0661-", 200, 0, SIZE),
    ("items=0-1", 200, 0, SIZE),
    ("bytes=0-" + "9" * 5000, 200, 0, SIZE),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kept(server: Connection) -> str:
    """The address of a file of `SIZE` bytes."""
    task = await server.send(f"blob {SIZE}")
    return str(task["artifacts"][0]["parts"][0]["url"])


@pytest.mark.parametrize("case", RANGES, ids=[asked[:30] for asked, *_ in RANGES])
async def test_a_range_of_bytes_can_be_had(
    kept: str, http: httpx2.AsyncClient, case: tuple[str, int, int, int]
) -> None:
    """RFC 9110 section 14: one range; several get everything, none that is there gets 416."""
    asked, status, start, end = case
    response = await http.get(kept, headers={b"Range": asked.encode()})
    assert response.status_code == status
    if status == 416:
        assert response.headers["content-range"] == f"bytes */{SIZE}"
        assert response.json()["error"]["status"] == "OUT_OF_RANGE"
        return
    assert response.content == content(SIZE)[start:end]
    assert response.headers["content-length"] == str(end - start)
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers.get("content-range") == (f"bytes {start}-{end - 1}/{SIZE}" if status == 206 else None)


async def test_a_range_of_another_version_is_the_whole(kept: str, http: httpx2.AsyncClient) -> None:
    """RFC 9110 section 13.1.5: If-Range compares strongly, and there is no date to compare with."""
    etag = (await http.head(kept)).headers["etag"]
    for condition, status in {
        etag: 206,
        f"W/{etag}": 200,
        '"other"': 200,
        "Sat, 29 Oct 2094 19:43:31 GMT": 200,
    }.items():
        response = await http.get(kept, headers={"Range": "bytes=1-2", "If-Range": condition})
        assert response.status_code == status, condition


async def test_the_head_alone_says_the_same(kept: str, http: httpx2.AsyncClient) -> None:
    whole, head = await http.get(kept), await http.head(kept, headers={"Range": "bytes=0-1"})
    changing = {"date"}
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in whole.headers.items() if k not in changing
    }
    assert (await http.head(f"{kept}9")).status_code == 404


async def test_an_empty_file_has_no_range(http: httpx2.AsyncClient) -> None:
    async with connect(workbench, inline_bytes=0) as server:
        sent = (await http.post(f"{server.url}/artifacts", content=b"")).json()
        response = await http.get(sent["url"])
        assert (response.status_code, response.content, response.headers["content-length"]) == (200, b"", "0")
        ranged = await http.get(sent["url"], headers={"Range": "bytes=0-"})
        assert (ranged.status_code, ranged.headers["content-range"]) == (416, "bytes */0")


@pytest.mark.embedded
async def test_an_object_store_may_serve_it_itself(
    kept: str, server: Connection, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def link(_self: object, name: str, filename: str, media_type: str, expires_seconds: int) -> str:
        return f"https://objects.example/{name}?{filename}&{media_type}&{expires_seconds}"

    monkeypatch.setattr(FilesystemArtifacts, "link", link)
    response = await http.get(kept, follow_redirects=False)
    name = kept.removeprefix(f"{server.url}/artifacts/")
    assert response.status_code == 307
    assert response.headers["location"] == (f"https://objects.example/{name}?blob.bin&application/octet-stream&300")
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.embedded
async def test_a_reader_that_reads_nothing_is_cut(http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    open_then, read = set[int](), os.pread

    def noted(file: int, size: int, start: int) -> bytes:
        open_then.add(opened())
        return read(file, size, start)

    async with connect(workbench, write_stall_seconds=0.2) as server:
        url = (await http.post(f"{server.url}/artifacts", content=bytes(MANY_PIECES))).json()["url"]
        port = int(server.url.rpartition(":")[2])
        monkeypatch.setattr("a2a_server.artifacts.filesystem.os.pread", noted)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(f"GET {url.removeprefix(server.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert await reader.readexactly(12) == b"HTTP/1.1 200"
        await until(lambda: opened() == 0)
        assert open_then == {1}
        writer.close()
        assert (await http.get(url, headers={"Range": "bytes=0-9"})).status_code == 206


@pytest.mark.embedded
async def test_no_more_is_read_for_a_reader_that_goes_away(
    http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = 0
    read = os.pread

    def counted(file: int, size: int, start: int) -> bytes:
        nonlocal pieces
        pieces += 1
        return read(file, size, start)

    async with connect(workbench) as server:
        url = (await http.post(f"{server.url}/artifacts", content=bytes(MANY_PIECES))).json()["url"]
        monkeypatch.setattr("a2a_server.artifacts.filesystem.os.pread", counted)
        async with http.stream("GET", url) as response:
            assert await anext(response.aiter_bytes())
            assert opened() == 1
        await until(lambda: opened() == 0)
        assert pieces < MANY_PIECES // PIECE_BYTES // 2


def opened() -> int:
    """How many uploads this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += descriptor.readlink().name.endswith(".upload.0")
    return found


async def test_limit_of_an_artifact() -> None:
    async with connect(workbench, artifact_limit_bytes=100_000) as server:
        task = await server.send("blob 100001")
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        assert "artifact_limit_bytes" in task["status"]["message"]["parts"][0]["text"]
        assert (await server.send("blob 100000"))["status"]["state"] == "TASK_STATE_COMPLETED"
