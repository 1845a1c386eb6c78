"""The store away: runs go on up to their lease, requests are refused, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from a2a_server.errors import ClientError, StoreUnavailable
from a2a_server.model.objects import State
from tests.patience import PATIENCE
from tests.server.crew import SPOKEN, Crew, ended, shown, texts
from tests.server.engines import Running
from tests.server.fleet import fleet
from tests.server.waiting import until, until_asked
from tests.services import Server, needed, own
from tests.services.fresh import fresh_database
from tests.services.proxy import Proxy

pytestmark = pytest.mark.embedded

UNCOMMITTED = 50
SENT = {"message": {"messageId": "refused", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}


@dataclass(frozen=True)
class Away:
    """A PostgreSQL of the tests' own, and the way to it."""

    server: Server
    way: Proxy
    places: dict[str, object]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    with needed(), own("postgresql") as server:
        yield server


@pytest.fixture
def away(postgresql: Server) -> Iterator[Away]:
    with fresh_database(postgresql.url) as database, Proxy(database) as way:
        yield Away(postgresql, way, {"store": f"{way.url}?pool=4", "queue": "store://", "artifacts": "store://"})


@asynccontextmanager
async def cut(away: Away) -> AsyncIterator[None]:
    """Connections end, and new ones are refused."""
    away.way.refuse()
    away.way.reset()
    try:
        yield
    finally:
        away.way.heal()


@asynccontextmanager
async def silent(away: Away) -> AsyncIterator[None]:
    """Nothing passes."""
    away.way.stall()
    try:
        yield
    finally:
        away.way.heal()


@asynccontextmanager
async def stopped(away: Away) -> AsyncIterator[None]:
    """An immediate stop, and a start that recovers."""
    await asyncio.to_thread(away.server.stop, immediate=True)
    try:
        yield
    finally:
        await asyncio.to_thread(away.server.start)


Fault = Callable[[Away], AbstractAsyncContextManager[None]]
FAULTS = pytest.mark.parametrize("fault", [cut, silent, stopped])


@FAULTS
async def test_runs_go_on_while_the_store_is_away_for_less_than_a_lease(away: Away, fault: Fault) -> None:
    crew = Crew()
    limits = {"lease_seconds": 3600.0, "beat_seconds": 0.2, "poll_seconds": 0.1}
    async with fleet(crew.agent, away.places, fronts=1, workers=1, **limits) as made:
        [front] = made.fronts
        task_id = await front.start("go", skill="speak")
        await until(crew.halfway.is_set)
        async with fault(away):
            crew.go.set()
            await until(crew.spoken.is_set)
            late = asyncio.create_task(front.send("late"))
            await asyncio.wait({late}, timeout=0.2)
            assert not late.done()
        assert (await ended(front, task_id)).fence == 1
        assert texts(await shown(front, task_id)) == SPOKEN
        assert (await late).status.state is State.COMPLETED


async def test_what_was_acknowledged_is_there_after_an_immediate_stop(away: Away) -> None:
    crew = Crew()
    acknowledged: list[str] = []
    limits = {"lease_seconds": 3600.0, "beat_seconds": 0.2, "poll_seconds": 0.1}
    async with fleet(crew.agent, away.places, fronts=2, workers=2, **limits) as made:

        async def send(front: Running) -> None:
            while True:
                try:
                    acknowledged.append(await front.start(f"text {len(acknowledged)}"))
                except (ClientError, StoreUnavailable):  # said to the client, who may try again
                    await asyncio.sleep(0.01)

        sending = [asyncio.create_task(send(front)) for front in made.fronts for _ in range(4)]
        try:
            for stops in range(3):
                enough = len(acknowledged) + 20
                await until(lambda: len(acknowledged) > enough)  # noqa: B023 - awaited here
                if stops < 2:
                    async with stopped(away):
                        pass
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        for task_id in acknowledged:
            assert (await ended(made.fronts[0], task_id)).fence == 1


async def test_requests_are_refused_while_the_store_is_away(away: Away) -> None:
    crew = Crew()
    limits = {"lease_seconds": 3600.0, "beat_seconds": 0.2, "poll_seconds": 0.1}
    async with fleet(crew.agent, away.places, fronts=1, workers=1, **limits) as made:
        [front] = made.fronts
        front.engine.writer._patience = 0.6  # instead of the lease
        task = await front.send("before")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("SendMessage", SENT),
            ("SendStreamingMessage", SENT),
            ("GetTask", {"id": task.id}),
            ("ListTasks", {}),
            ("CancelTask", {"id": task.id}),
            ("SubscribeToTask", {"id": task.id}),
        ]
        async with asking(front) as http:
            async with cut(away):
                answers = await asyncio.gather(*(rpc(http, method, params) for method, params in calls))
                ready = await http.get("/readyz")
                upload = await http.post("/artifacts", content=b"bytes", params={"filename": "a"})
            for answer in answers:
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json()["id"] == 1
                assert answer.json()["error"]["code"] == -32050
                assert "127.0.0.1" not in answer.text
            assert ready.status_code == 503
            assert upload.status_code == 503
            assert int(upload.headers["retry-after"]) > 0

            async def taken() -> bool:
                return (await rpc(http, "SendMessage", SENT)).status_code == 200

            await until_asked(taken)
            again = await rpc(http, "SendMessage", SENT)
            assert again.json()["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            assert crew.ran["hello"] == 1


@FAULTS
async def test_runs_begin_again_after_the_store_was_away_for_longer(away: Away, fault: Fault) -> None:
    crew = Crew()
    limits = {"lease_seconds": 1.0, "beat_seconds": 0.2, "poll_seconds": 0.1, "uncommitted_events": UNCOMMITTED}
    async with fleet(crew.agent, away.places, fronts=1, workers=2, **limits) as made:
        [front] = made.fronts
        tasks = [await front.start("go", skill="chatter") for _ in range(3)]
        await until(lambda: set(tasks) == crew.words.keys() | set(crew.stopped))
        async with fault(away):
            before = crew.words.copy()
            await until(lambda: set(crew.stopped) == set(tasks))
            said = crew.words - before
            assert max(said.values(), default=0) <= 2 * UNCOMMITTED  # those on their way, and those after them
        for task_id in tasks:
            row = await ended(front, task_id)
            assert row.fence > 1
            assert texts(await shown(front, task_id)) == "again"


def asking(running: Running) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(running.system.app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE)


async def rpc(http: httpx2.AsyncClient, method: str, params: dict[str, Any]) -> httpx2.Response:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return await http.post("/", json=request, headers={"A2A-Version": "1.0"})
