"""The collector: what nothing refers to goes after its time, what anything refers to stays, also in a race."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from uuid import UUID

import httpx2
import pytest

from a2a_server import Agent, Artifact, File, Retry, TaskContext
from a2a_server.engine.collector import Collector
from a2a_server.lifecycle.keeping import CONDEMNED, MARK, TOUCHED, UPLOADED, Keep, Note, object_scope
from a2a_server.model.objects import Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import StateRow
from a2a_server.policy import SECOND
from a2a_server.ports import ArtifactStore
from a2a_server.service.files import Files
from a2a_server.testing import Connection, RpcError, connect
from tests.clients.rpc import new_http
from tests.contracts.artifact_stores import names, put

pytestmark = pytest.mark.embedded

DAY = 86_400
KEY = "01938a6e-7b1c-7d3e-8f00-1a2b3c4d5e6f"


def worker() -> Agent:
    agent = Agent("Worker")

    @agent.skill(default=True)
    async def read(source: File) -> str:
        return source.stored

    @agent.skill
    async def produce(size: int, files: int = 1) -> Artifact:
        return Artifact("out", tuple(File(f"{number}.bin", raw=bytes(size)) for number in range(files)))

    @agent.skill
    async def film(task: TaskContext, pieces: int) -> None:
        async with task.artifact("film", "video/mp4") as writer:
            for _ in range(pieces):
                await writer.write(bytes(70_000))
            if task.attempt == 1:
                raise Retry("again")

    return agent


class Served:
    """A server, and collectors of it that live in the future."""

    def __init__(self, server: Connection, http: httpx2.AsyncClient) -> None:
        self.server = server
        self.http = http
        self.engine = server._system.engine
        self.store = self.engine.backends.store
        self.artifacts = self.engine.backends.artifacts

    def collector(self, name: str = "one", *, days: float = 2, artifacts: ArtifactStore | None = None) -> Collector:
        return Collector(
            self.store,
            artifacts or self.artifacts,
            self.engine.writer,
            id=name,
            collect_seconds=3600,
            unused_object_seconds=DAY,
            clock=lambda: time.time_ns() // 1000 + round(days * DAY * SECOND),
            random=Random(1),  # noqa: S311 - repeatable
        )

    async def collect(self, days: float = 2) -> int:
        return await self.collector(days=days).collect()

    async def upload(self, size: int = 10) -> tuple[str, str]:
        """The address and the object's name."""
        url = str((await self.http.post(f"{self.server.url}/artifacts", content=bytes(size))).json()["url"])
        return url, url.removeprefix(f"{self.server.url}/artifacts/")

    def age(self) -> None:
        """Let two days pass for every object, and for nothing else."""
        then = time.time() - 2 * DAY
        for path in Path(self.server._system.settings.artifacts.removeprefix("file://")).rglob("*.*.*"):
            os.utime(path, (then, then))

    async def marks(self, name: str) -> list[str]:
        page = await self.store.rows(RowQuery(Table.STATE, (object_scope(name), MARK)))
        return [row.name for row in page.rows if isinstance(row, StateRow) and row.body]

    async def has(self, url: str) -> bool:
        return (await self.http.get(url)).status_code == 200

    async def erase(self, task_id: str) -> None:
        row = await self.store.find(Scope(), "", task_id)
        assert row is not None
        assert await self.store.erase([row.key]) == 1


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    async with connect(worker()) as server, new_http() as http:
        yield Served(server, http)


async def test_an_upload_that_nobody_uses_goes_after_its_time() -> None:
    async with served() as here:
        url, name = await here.upload()
        assert await here.collect(days=0.9) == 0
        assert await here.has(url)
        assert await here.collect(days=1.1) == 1
        assert await names(here.artifacts) == []
        assert (await here.http.get(url)).status_code == 404
        assert await here.marks(name) == []
        with pytest.raises(RpcError):
            await here.server.send(files=[File(url=url)])
        assert await here.collect(days=1.1) == 0


async def test_what_a_message_refers_to_stays_as_long_as_its_task() -> None:
    async with served() as here:
        url, name = await here.upload()
        tasks = [await here.server.send(files=[File(url=url)]) for _ in range(2)]
        inline = await here.server.send(files=[File(raw=bytes(100_000))])
        assert await here.collect(days=400) == 0
        await here.erase(tasks[0]["id"])
        assert await here.collect(days=400) == 0
        await here.erase(tasks[1]["id"])
        await here.erase(inline["id"])
        assert await here.collect(days=0.9) == 0
        assert await here.collect(days=400) == 2
        assert not await here.has(url)
        assert await here.marks(name) == []


async def test_what_a_task_made_stays_as_long_as_anybody_uses_it() -> None:
    async with served() as here:
        first = await here.server.send(data={"size": 100_000}, options={"skill": "produce"})
        url = first["artifacts"][0]["parts"][0]["url"]
        second = await here.server.send(files=[File(url=url)])
        assert await here.collect(days=400) == 0
        await here.erase(first["id"])
        assert await here.collect(days=400) == 0
        assert await here.has(url)
        third = await here.server.send(files=[File(url=url)])
        await here.erase(second["id"])
        assert await here.collect(days=400) == 0
        await here.erase(third["id"])
        assert await here.collect(days=400) == 1


async def test_files_of_several_parts_and_streamed_pieces_stay() -> None:
    async with served() as here:
        several = await here.server.send(data={"size": 100_000, "files": 3}, options={"skill": "produce"})
        urls = [part["url"] for part in several["artifacts"][0]["parts"]]
        updates = [
            item["artifactUpdate"]
            async for _, item in here.server.stream(data={"pieces": 3}, options={"skill": "film"})
            if "artifactUpdate" in item
        ]
        urls += [part["url"] for update in updates for part in update["artifact"]["parts"] if "url" in part]
        assert len(urls) >= 6
        before = await names(here.artifacts)
        collector = here.collector(days=400)
        assert [await collector.collect(), await collector.collect()] == [0, 0]
        assert await names(here.artifacts) == before
        assert all([await here.has(url) for url in urls])


async def test_what_a_lost_attempt_left_goes_and_its_task_keeps_the_rest() -> None:
    async with served() as here:
        task = await here.server.send(data={"size": 100_000}, options={"skill": "produce"})
        row = await here.store.find(Scope(), "", task["id"])
        assert row is not None
        key = str(UUID(bytes=row.key))
        lost = [f"{key}/files/1/7", f"{key}/0/9", f"{key}/0/9/1", f"{key}/in/0", f"{KEY}/0/1", f"{KEY}/in/0"]
        before = await names(here.artifacts)
        for name in lost:
            await put(here.artifacts, name, b"x")
        assert await here.collect(days=0.9) == 0
        assert await here.collect() == len(lost)
        assert await names(here.artifacts) == before


class Racing:
    """The artifact store; whatever wants to happen at the last moment happens before a deletion."""

    def __init__(self, inner: ArtifactStore, before: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._before = before

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def delete(self, deleted: list[str]) -> None:
        await self._before()
        await self._inner.delete(deleted)


async def test_a_send_behind_the_sentence_is_refused_and_one_before_it_is_seen() -> None:
    async with served() as here:
        url, _ = await here.upload()
        refused: list[RpcError] = []

        async def send() -> None:
            with pytest.raises(RpcError) as error:
                await here.server.send(files=[File(url=url)])
            refused.append(error.value)

        racing = Racing(here.artifacts, send)
        assert await here.collector(artifacts=racing).collect() == 1  # type: ignore[arg-type]  # it passes the rest on
        assert [error.code for error in refused] == [-32602]


async def test_sends_that_race_with_collectors_never_lose() -> None:
    async with served() as here:
        for _ in range(20):
            url, name = await here.upload()
            here.age()
            collectors = [here.collector(id_, days=0) for id_ in ("one", "two")]
            results = await asyncio.gather(
                *(collector.collect() for collector in collectors),
                *(here.server.send(files=[File(url=url)]) for _ in range(3)),
                return_exceptions=True,
            )
            sent = [result for result in results if isinstance(result, dict)]
            assert all(isinstance(result, (int, dict, RpcError)) for result in results)
            if sent:
                assert name in await names(here.artifacts)
                assert await here.has(url)


async def test_a_touched_object_is_spared() -> None:
    async with served() as here:
        url, name = await here.upload()
        here.age()
        await here.engine.submit(Keep((Note(name, MARK, TOUCHED, {}),)))
        assert await here.collect(days=0.9) == 0
        assert await here.has(url)
        assert await here.collect(days=1.1) == 1
        assert not await here.has(url)


async def test_marks_of_a_collector_that_died_are_taken_off_where_the_object_is_used() -> None:
    async with served() as here:
        url, name = await here.upload()
        await here.server.send(files=[File(url=url)])
        for mark in (f"{CONDEMNED}:dead", f"{CONDEMNED}:one"):
            await here.engine.submit(Keep((Note(name, MARK, mark, {}),)))
        with pytest.raises(RpcError):
            await here.server.send(files=[File(url=url)])
        assert await here.has(url)
        assert await here.collect(days=0.9) == 0
        assert await here.marks(name) == [f"{CONDEMNED}:dead", f"{CONDEMNED}:one", TOUCHED, UPLOADED]
        assert await here.collect(days=1.1) == 0
        assert await here.marks(name) == [TOUCHED, UPLOADED]
        await here.server.send(files=[File(url=url)])


async def test_many_objects_are_walked_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_server.engine.collector.PAGE_OBJECTS", 3)
    monkeypatch.setattr("a2a_server.engine.collector.PAUSE_SECONDS", 0)
    async with served() as here:
        kept = [await here.upload() for _ in range(4)]
        for url, _ in kept:
            await here.server.send(files=[File(url=url)])
        for _ in range(10):
            await here.upload()
        assert await here.collect() == 10
        assert await names(here.artifacts) == sorted(name for _, name in kept)


async def test_an_object_that_nobody_can_name_is_no_obstacle(tmp_path: Path) -> None:
    async with connect(worker(), artifacts=f"file://{tmp_path}") as server, new_http() as http:
        here = Served(server, http)
        await put(here.artifacts, "no-uuid/0/1", b"x")
        assert await Files(here.store).find(Scope(), "no-uuid/0/1") is None
        assert await here.collect() == 1
