"""Parameters and files over the whole server: what is missing is asked for, files of every origin reach the skill.

Source: design.md section 2; core.md section 6.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent, File, SyncTask, TaskContext
from a2a_server.testing import Connection, Protocol, connect
from tests.patience import PATIENCE
from tests.server.agent_talks import (
    GENERATIONS,
    Answer,
    asked,
    crashing,
    log_of,
    made,
    reply,
    said,
    state,
    talk,
    told,
    waits,
)
from tests.server.samples import content

pytestmark = pytest.mark.asyncio(loop_scope="module")

INLINE = 65_536


def shown(file: File, data: bytes) -> str:
    return f"{file.filename} {file.media_type} {len(data)} {hashlib.sha256(data).hexdigest()}"


def parametric() -> Agent:
    agent = Agent("Parameters")

    @agent.skill(default=True)
    async def stay(city: str, nights: int) -> str:
        return f"{nights} nights in {city}"

    @agent.skill
    async def read(task: TaskContext, source: File) -> str:
        whole = await task.read(source)
        assert b"".join([piece async for piece in task.open(source)]) == whole
        assert (source.raw is None) is (len(whole) > INLINE or bool(source.stored))
        return shown(source, whole)

    @agent.skill
    def read_plainly(task: SyncTask, source: File) -> str:
        whole = task.read(source)
        assert b"".join(task.open(source)) == whole
        return shown(source, whole)

    @agent.skill
    async def read_all(task: TaskContext, sources: list[File]) -> list[str]:
        return [shown(source, await task.read(source)) for source in sources]

    @agent.skill
    async def glance(task: TaskContext, source: File | None = None) -> str:
        if source is None:
            return "nothing"
        return shown(source, await task.read(source, limit_bytes=10))

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Connection]:
    async with connect(parametric()) as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        yield client


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("answer", ["3", {"data": {"nights": 3}}, {"text": "", "data": {"nights": "3"}}])
async def test_what_is_missing_is_asked_for_and_answered_by_text_or_data(
    server: Connection, generation: Protocol, answer: Answer
) -> None:
    task = await talk(server, "Lisbon", generation=generation)
    assert state(task) == "input-required"
    assert '"nights"' in said(task)
    assert told(task)["missing"] == ["nights"]
    assert told(task)["schema"]["properties"].keys() == {"city", "nights"}
    task = await reply(server, task, answer, generation)
    assert (state(task), made(task)) == ("completed", "3 nights in Lisbon")


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_missing_file_is_asked_for(server: Connection, generation: Protocol) -> None:
    task = await talk(server, {"options": {"skill": "read"}, "text": "here"}, generation=generation)
    assert state(task) == "input-required"
    assert told(task)["missing"] == ["source"]
    file = File("a.txt", "text/plain", raw=b"abc")
    task = await reply(server, task, {"files": [file]}, generation)
    assert made(task) == shown(file, b"abc")


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_wrong_value_at_first_rejects_the_task(server: Connection, generation: Protocol) -> None:
    task = await talk(server, {"data": {"city": "Lisbon", "nights": "many"}}, generation=generation)
    assert state(task) == ("failed" if generation == "0.1" else "rejected")
    assert '"nights"' in said(task)


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_wrong_answer_is_asked_again(server: Connection, generation: Protocol) -> None:
    task = await talk(server, "Lisbon", "many", generation=generation)
    assert waits(task)
    assert '"nights"' in said(task)
    task = await reply(server, task, "4", generation)
    assert made(task) == "4 nights in Lisbon"


async def test_what_is_missing_is_asked_for_once_whatever_event_a_worker_dies_at() -> None:
    async with connect(parametric()) as own:
        async for n, task in crashing(own, "Lisbon", "many", "5"):
            assert (state(task), made(task)) == ("completed", "5 nights in Lisbon"), n
            assert len(asked(await log_of(own, task))) == 2, n


@pytest.mark.parametrize("skill", ["read", "read_plainly"])
@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("size", [0, 1, INLINE, INLINE + 1, 1_000_000])
async def test_the_bytes_of_a_file_reach_the_skill(
    server: Connection, generation: Protocol, size: int, skill: str
) -> None:
    file = File("a.bin", "application/x-a", raw=content(size))
    task = await talk(server, {"files": [file], "options": {"skill": skill}}, generation=generation)
    assert made(task) == shown(file, content(size)), task


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("size", [3, INLINE + 1])
async def test_an_uploaded_file_is_named_by_its_address(
    server: Connection, http: httpx2.AsyncClient, generation: Protocol, size: int
) -> None:
    response = await http.post(
        f"{server.url}/artifacts?filename=up.bin", content=content(size), headers={"Content-Type": "application/x-up"}
    )
    sent = File(url=response.json()["url"])
    task = await talk(server, {"files": [sent], "options": {"skill": "read"}}, generation=generation)
    assert made(task) == shown(File("up.bin", "application/x-up"), content(size)), task


@pytest.mark.parametrize("skill", ["read", "read_plainly"])
async def test_an_address_elsewhere_is_never_fetched(server: Connection, skill: str) -> None:
    asked_for = list[object]()
    elsewhere = await asyncio.start_server(lambda *streams: asked_for.append(streams), "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    sent = File("far.txt", url=f"http://127.0.0.1:{port}/far.txt")
    task = await talk(server, {"files": [sent], "options": {"skill": skill}})
    assert (state(task), said(task)) == (
        "failed",
        "The file far.txt is only an address; this server fetches none. Send its bytes, or upload it.",
    )
    elsewhere.close()
    await elsewhere.wait_closed()
    assert asked_for == []


async def test_a_list_takes_every_file_and_a_limit_holds(server: Connection) -> None:
    files = [File("a", raw=b"1"), File("b", "text/plain", raw=content(INLINE + 1))]
    task = await talk(server, {"files": files, "options": {"skill": "read_all"}})
    assert task["artifacts"][0]["parts"][0]["data"] == [
        shown(files[0], b"1"),
        shown(files[1], content(INLINE + 1)),
    ]
    assert made(await talk(server, {"text": "", "options": {"skill": "glance"}})) == "nothing"
    task = await talk(server, {"files": [files[1]], "options": {"skill": "glance"}})
    assert (state(task), said(task)) == (
        "failed",
        "The file b is larger than the 10 bytes that this skill reads at once.",
    )
