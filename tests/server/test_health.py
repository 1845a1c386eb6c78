"""The probes: what is asked without a key, often, and while things are broken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from a2a_server import Agent
from a2a_server.errors import StoreUnavailable
from a2a_server.settings import load
from a2a_server.testing import Connection, connect
from a2a_server.web import health
from a2a_server.wiring import System
from tests.patience import PATIENCE
from tests.server.engines import LONG, running
from tests.server.waiting import until


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", PATIENCE)


FINE = {"store": "ok", "artifacts": "ok", "worker": "ok", "writer": "ok", "streams": "ok"}


def agent_of(begun: asyncio.Event, release: asyncio.Event) -> Agent:
    agent = Agent("Probed")

    @agent.skill
    async def works(text: str) -> str:
        begun.set()
        await release.wait()
        return text

    return agent


def plain() -> Agent:
    return agent_of(asyncio.Event(), asyncio.Event())


def client(system: System) -> httpx2.AsyncClient:
    """A client of the application itself, for servers that stop or never started."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(system.app), base_url="http://127.0.0.1")


async def asked(http: httpx2.AsyncClient) -> tuple[int, str, dict[str, str]]:
    response = await http.get("/readyz")
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert {*body} == {"status", "checks"}
    return response.status_code, body["status"], body["checks"]


async def test_a_server_that_works_lives_and_is_ready() -> None:
    async with connect(plain()) as server:
        live = await server._http.get("/livez")
        assert (live.status_code, live.text) == (200, "ok\n")
        assert await asked(server._http) == (200, "ready", FINE)
        for path in ("/livez", "/readyz"):
            head = await server._http.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert (await server._http.post(path)).status_code == 405


async def test_probes_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with connect(plain(), log_level="debug") as server:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "a2a_server"):
            for path in ("/livez", "/readyz", "/metrics"):
                await server._http.get(path)
        assert not [record for record in caplog.records if record.name.startswith(("a2a_server", "uvicorn"))]


async def test_before_the_start_nothing_is_ready_but_the_process_lives(tmp_path: Path) -> None:
    settings = load(None, store=f"sqlite:///{tmp_path}/tasks.db", artifacts=f"file://{tmp_path}/artifacts")
    async with client(System(plain(), settings)) as http:
        assert (await http.get("/livez")).status_code == 200
        status, word, checks = await asked(http)
    assert (status, word, checks["worker"], checks["store"]) == (503, "not ready", "failed", "failed")


async def test_a_store_that_fails_is_named_and_its_reason_is_not(tmp_path: Path) -> None:
    async with running(plain(), tmp_path, poll_seconds=LONG) as server, client(server.system) as http:
        server.store.down = True
        server.store.failure = StoreUnavailable(f"secret: {tmp_path}")
        response = await http.get("/readyz")
        assert await asked(http) == (503, "not ready", FINE | {"store": "failed"})
        assert "secret" not in response.text
        assert str(tmp_path) not in response.text
        assert (await http.get("/livez")).status_code == 200
        server.store.down = False
        assert await asked(http) == (200, "ready", FINE)


@pytest.mark.embedded
async def test_a_store_that_hangs_is_waited_for_briefly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(plain(), tmp_path, poll_seconds=LONG) as server, client(server.system) as http:
        answer = asyncio.Event()

        async def next_alarm(_: object = ()) -> None:
            await answer.wait()

        async def nothing(_: str) -> AsyncIterator[bytes]:
            yield b""  # at once, so that no time is too short for it

        server.store.next_alarm = next_alarm  # type: ignore[method-assign, assignment]  # misbehaves on purpose
        monkeypatch.setattr(server.engine.backends.artifacts, "read", nothing)
        monkeypatch.setattr(health, "CHECK_SECONDS", 0.1)
        async with asyncio.timeout(PATIENCE):
            assert await asked(http) == (503, "not ready", FINE | {"store": "timeout"})
        monkeypatch.setattr(health, "CHECK_SECONDS", PATIENCE)
        answer.set()
        assert await asked(http) == (200, "ready", FINE)


@pytest.mark.embedded
async def test_a_store_that_hangs_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined = 0
    ask = health._Shared.__call__

    async def joining(shared: health._Shared[object]) -> object:
        nonlocal joined
        joined += 1
        return await ask(shared)

    monkeypatch.setattr(health._Shared, "__call__", joining)
    async with running(plain(), tmp_path, poll_seconds=LONG) as server, client(server.system) as http:
        waiting, answer = 0, asyncio.Event()

        async def next_alarm(_: object = ()) -> None:
            nonlocal waiting
            waiting += 1
            await answer.wait()

        server.store.next_alarm = next_alarm  # type: ignore[method-assign, assignment]  # misbehaves on purpose
        asking = asyncio.gather(*(asked(http) for _ in range(20)))
        await until(lambda: joined == 20)
        assert waiting <= 2, "one for all, and one of the sweeper's"
        answer.set()
        assert await asyncio.wait_for(asking, PATIENCE) == [(200, "ready", FINE)] * 20


async def test_a_client_that_goes_away_takes_the_answer_from_nobody(tmp_path: Path) -> None:
    async with running(plain(), tmp_path, poll_seconds=LONG) as server, client(server.system) as http:
        begun, answer = asyncio.Event(), asyncio.Event()

        async def next_alarm(_: object = ()) -> None:
            begun.set()
            await answer.wait()

        server.store.next_alarm = next_alarm  # type: ignore[method-assign, assignment]  # misbehaves on purpose
        first = asyncio.create_task(asked(http))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        second = asyncio.create_task(asked(http))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        answer.set()
        assert await asyncio.wait_for(second, PATIENCE) == (200, "ready", FINE)


async def test_a_full_writer_is_not_ready(tmp_path: Path) -> None:
    async with (
        running(plain(), tmp_path, poll_seconds=LONG, writer_operations=1) as server,
        client(server.system) as http,
    ):
        await server.hold(lambda _: True)
        first = asyncio.create_task(server.start("a"))
        await asyncio.wait_for(server.store.held.wait(), PATIENCE)
        second = asyncio.create_task(server.start("b"))
        await until(lambda: server.engine.writer.waiting == 1)
        assert await asked(http) == (503, "not ready", FINE | {"writer": "failed"})
        server.store.gate.set()
        await asyncio.gather(first, second)
        assert await asked(http) == (200, "ready", FINE)


async def test_a_draining_server_is_not_ready(tmp_path: Path) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    agent = agent_of(begun, release)
    async with (
        running(agent, tmp_path, poll_seconds=LONG, drain_seconds=3600.0) as server,
        client(server.system) as http,
    ):
        await server.start()
        await asyncio.wait_for(begun.wait(), PATIENCE)
        assert await asked(http) == (200, "ready", FINE)
        stopping = asyncio.create_task(server.system.stop())
        await until(lambda: server.engine.worker._stopping)
        try:
            assert await asked(http) == (503, "not ready", FINE | {"worker": "failed", "streams": "failed"})
            assert (await http.get("/livez")).status_code == 200
        finally:
            release.set()
            await asyncio.wait_for(stopping, PATIENCE)


async def test_a_worker_that_lost_its_lease_is_not_ready_until_it_has_a_new_one(tmp_path: Path) -> None:
    async with running(plain(), tmp_path, poll_seconds=0.05) as server, client(server.system) as http:
        server.store.down = True
        worker = server.engine.worker
        worker._retire(worker.id)
        assert (await asked(http))[2]["worker"] == "failed"
        server.store.down = False
        await until(lambda: worker.ready)
        assert await asked(http) == (200, "ready", FINE)
        body, _ = server.system.metrics.exposition("")
    assert b"a2a_lease_losses_total 1.0" in body


async def test_broken_artifacts_are_named() -> None:
    async with connect(plain()) as server:
        assert await broken(server) == (503, "not ready", FINE | {"artifacts": "failed"})


async def broken(server: Connection) -> tuple[int, str, dict[str, str]]:
    def read(name: str, start: int = 0, end: int | None = None) -> object:
        raise OSError("secret")

    server._system.engine.backends.artifacts.read = read  # type: ignore[method-assign,assignment]  # misbehaves on purpose
    return await asked(server._http)
