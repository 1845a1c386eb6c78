"""Files that come with messages: large ones leave the row, addresses of this server become what they stand for."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent, Artifact, File, TaskContext
from a2a_server.codec import decode, unpack_message
from a2a_server.model.objects import Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import MessageRow
from a2a_server.service.files import Files, own_name
from a2a_server.testing import Connection, RpcError, connect
from tests.contracts.artifact_stores import below
from tests.server.samples import content

pytestmark = pytest.mark.asyncio(loop_scope="module")

INLINE = 65_536


def reader() -> Agent:
    agent = Agent("Reader")

    @agent.skill(default=True)
    async def read(task: TaskContext, source: File) -> str:
        digest, size = hashlib.sha256(), 0
        async for piece in task.open(source):
            digest.update(piece)
            size += len(piece)
        return f"{source.filename} {source.media_type} {size} {digest.hexdigest()}"

    @agent.skill
    async def produce(size: int) -> Artifact:
        return Artifact("out", (File("out.bin", "application/x-out", raw=content(size)),))

    @agent.skill
    async def show(source: File) -> str:
        return source.url

    return agent


def told(name: str, media_type: str, data: bytes) -> str:
    return f"{name} {media_type} {len(data)} {hashlib.sha256(data).hexdigest()}"


def said(task: dict[str, object]) -> str:
    artifacts = task["artifacts"]
    assert isinstance(artifacts, list)
    return str(artifacts[0]["parts"][0]["text"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Connection, Path]]:
    directory = tmp_path_factory.mktemp("objects")
    async with connect(reader(), artifacts=f"file://{directory}") as connection:
        yield connection, directory


async def uploaded(server: Connection, http: httpx2.AsyncClient, data: bytes, name: str = "up.txt") -> str:
    headers = {"Content-Type": "text/plain"}
    response = await http.post(f"{server.url}/artifacts?filename={name}", content=data, headers=headers)
    return str(response.json()["url"])


def received(directory: Path) -> list[str]:
    return [name for name in below(directory) if ".in." in name]


async def stored_message(server: Connection, task_id: str) -> MessageRow:
    row = await server._system.engine.backends.store.find(Scope(), "", task_id)
    assert row is not None
    page = await server._system.engine.backends.store.rows(RowQuery(Table.MESSAGE, (row.key,)))
    [message] = page.rows
    assert isinstance(message, MessageRow)
    return message


@pytest.mark.parametrize("generation", ["1.0", "0.1"])
@pytest.mark.parametrize("size", [0, 1, INLINE - 1, INLINE, INLINE + 1, 3_000_000])
async def test_bytes_reach_the_skill_whatever_their_size(
    served: tuple[Connection, Path], http: httpx2.AsyncClient, generation: str, size: int
) -> None:
    server, _ = served
    sent = File("notes.txt", "text/plain", raw=content(size))
    task = await server.send(files=[sent], generation="1.0" if generation == "1.0" else "0.1")
    assert said(task) == told("notes.txt", "text/plain", content(size))
    row = await stored_message(server, task["id"])
    [file] = unpack_message(decode(row.body)).parts
    assert isinstance(file, File)
    assert (file.raw is None) == (size > INLINE)
    assert len(row.body) < 2 * INLINE
    [part] = (await server.get(task["id"]))["history"][0]["parts"]
    if size <= INLINE:
        assert b64decode(part["raw"]) == content(size)
    else:
        assert (part["filename"], part["mediaType"], "raw" in part) == ("notes.txt", "text/plain", False)
        response = await http.get(part["url"])
        assert (response.status_code, response.content) == (200, content(size))
        assert response.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("relative", [False, True])
async def test_an_upload_is_sent_by_its_address(
    served: tuple[Connection, Path], http: httpx2.AsyncClient, *, relative: bool
) -> None:
    server, _ = served
    url = await uploaded(server, http, content(100_000))
    given = url.removeprefix(server.url) if relative else url
    task = await server.send(files=[File(url=given)])
    assert said(task) == told("up.txt", "text/plain", content(100_000))
    task = await server.send(files=[File("mine.bin", "application/x-mine", url=given)])
    assert said(task) == told("mine.bin", "application/x-mine", content(100_000))
    old = await server.send(files=[File(url=given)], generation="0.1")
    assert said(old) == told("up.txt", "text/plain", content(100_000))
    [part] = (await server.get(task["id"]))["history"][0]["parts"]
    assert part == {"filename": "mine.bin", "mediaType": "application/x-mine", "url": url}


async def test_what_one_task_made_is_the_input_of_the_next(
    served: tuple[Connection, Path], http: httpx2.AsyncClient
) -> None:
    server, _ = served
    first = await server.send(data={"size": 200_000}, options={"skill": "produce"})
    url = first["artifacts"][0]["parts"][0]["url"]
    second = await server.send(files=[File(url=url)])
    assert said(second) == told("out.bin", "application/x-out", content(200_000))
    kept = (await server.get(second["id"]))["history"][0]["parts"][0]["url"]
    third = await server.send(files=[File(url=kept)])
    assert said(third) == said(second)
    assert (await http.get(kept)).content == content(200_000)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing",
        "../tasks.db",
        "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f/upload/0",
        "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f/in/0",
        "01938A6E-7B1C-7D3E-8F00-1A2B3C4D5E6F/0/1",
        "%2e%2e/x",
        "x" * 3000,
    ],
)
async def test_an_address_of_ours_without_a_file_is_refused(served: tuple[Connection, Path], name: str) -> None:
    server, directory = served
    before = below(directory)
    for generation, path in {"1.0": "message.parts[1].url", "0.1": "message.parts[1].file.uri"}.items():
        with pytest.raises(RpcError) as refused:
            await server.send(
                files=[File(raw=content(100_000)), File(url=f"{server.url}/artifacts/{name}")],
                generation="1.0" if generation == "1.0" else "0.1",
            )
        assert refused.value.code == -32602
        assert refused.value.message == (
            f"{path} is an address of this server, and there is no such file, or it is not yours; upload it again."
        )
    assert below(directory) == before


async def test_foreign_files_look_like_missing_ones(served: tuple[Connection, Path], http: httpx2.AsyncClient) -> None:
    server, _ = served
    url = await uploaded(server, http, b"mine")
    task = await server.send(data={"size": 200_000}, options={"skill": "produce"})
    sent = await server.send(files=[File(raw=content(100_000))])
    names = [
        address.removeprefix(f"{server.url}/artifacts/")
        for address in (
            url,
            task["artifacts"][0]["parts"][0]["url"],
            (await server.get(sent["id"]))["history"][0]["parts"][0]["url"],
        )
    ]
    files = Files(server._system.engine.backends.store)
    for name in names:
        assert await files.find(Scope(), name) is not None
        assert await files.find(Scope(owner="other"), name) is None
        assert await files.find(Scope(tenant="other"), name) is None


@pytest.mark.parametrize(
    "url",
    ["https://example.org/artifacts/x", "ftp://127.0.0.1/artifacts/x", "artifacts/x", "//h/artifacts/x", "http://[/x"],
)
async def test_any_other_address_stays_and_is_never_fetched(served: tuple[Connection, Path], url: str) -> None:
    server, _ = served
    task = await server.send(files=[File("a.txt", url=url)], options={"skill": "show"})
    assert said(task) == url
    assert (await server.get(task["id"]))["history"][0]["parts"][0]["url"] == url


@pytest.mark.parametrize(
    ("url", "base", "name"),
    [
        ("/artifacts/a/b/c", "http://h:8000", "a/b/c"),
        ("http://h:8000/artifacts/a", "http://h:8000", "a"),
        ("HTTP://H:8000/artifacts/a?x=1#y", "http://h:8000", "a"),
        ("https://h:443/p/artifacts/a", "https://h/p", "a"),
        ("https://h/artifacts/a", "https://h/p", None),
        ("http://h/artifacts/a", "https://h", None),
        ("http://h:8001/artifacts/a", "http://h:8000", None),
        ("http://u@h:8000/artifacts/a", "http://h:8000", None),
        ("http://h:x/artifacts/a", "http://h:8000", None),
        ("/artifactsx/a", "http://h:8000", None),
        ("", "http://h:8000", None),
    ],
)
async def test_which_addresses_are_ours(url: str, base: str, name: str | None) -> None:
    assert own_name(url, base) == name


@pytest.mark.embedded
async def test_a_send_that_does_not_come_to_be_keeps_no_object(tmp_path: Path) -> None:
    async with connect(reader(), artifacts=f"file://{tmp_path}") as server:
        message_id = str(uuid4())
        large = [File("a.txt", raw=content(100_000))]
        first = await server.send(files=large, message_id=message_id)
        kept = received(tmp_path)
        assert len(kept) == 1
        again = await server.send(files=large, message_id=message_id)
        assert again["id"] == first["id"]
        assert received(tmp_path) == kept
        with pytest.raises(RpcError):
            await server.send(files=large, task_id=first["id"])
        with pytest.raises(RpcError):
            await server.send(files=large, task_id="nope")
        assert received(tmp_path) == kept


async def test_bytes_beyond_what_an_artifact_may_have_are_refused() -> None:
    async with connect(reader(), artifact_limit_bytes=100_000) as server:
        with pytest.raises(RpcError) as refused:
            await server.send(files=[File(raw=content(100_001))])
        assert refused.value.code == -32602
        assert "artifact_limit_bytes" in refused.value.message
        assert said(await server.send(files=[File(raw=content(100_000))])).split()[0] == "100000"


async def test_files_survive_a_crash_of_the_worker() -> None:
    async with connect(reader()) as server:
        server.crash_worker(at_event=2)
        task = await server.send(files=[File("a.txt", "text/plain", raw=content(100_000))])
        assert said(task) == told("a.txt", "text/plain", content(100_000))


async def test_an_address_by_another_name_of_this_machine_is_one_of_ours(
    served: tuple[Connection, Path], http: httpx2.AsyncClient
) -> None:
    server, _ = served
    url = (await http.post(f"{server.url}/artifacts?filename=a.txt", content=b"hello")).json()["url"]
    other = url.replace("127.0.0.1", "localhost")
    assert other != url
    task = await server.send(files=[File(url=other)])
    assert said(task) == told("a.txt", "application/octet-stream", b"hello")
