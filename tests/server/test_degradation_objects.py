"""S3 away: what needs it waits for it by the back-off, and nothing else notices."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator

import httpx2
import pytest

from a2a_server.model.objects import File, State
from tests.patience import PATIENCE
from tests.server.crew import LARGE_BYTES, Crew, ended, shown
from tests.server.fleet import fleet
from tests.server.waiting import until_asked
from tests.services import service
from tests.services.fresh import fresh_bucket, fresh_database
from tests.services.proxy import Proxy

pytestmark = pytest.mark.embedded

BACK_OFF = {"backoff_base_seconds": 0.05, "backoff_limit_seconds": 0.2, "poll_seconds": 0.2, "lease_seconds": 3600.0}


@pytest.fixture
def way() -> Iterator[Proxy]:
    with Proxy(service("s3")) as way:
        yield way


@pytest.fixture
def places(way: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with fresh_database(service("postgresql")) as database, fresh_bucket(service("s3")) as bucket:
        yield {
            "store": f"{database}?pool=4",
            "queue": "store://",
            "artifacts": f"s3://{bucket}?region=us-east-1&endpoint={way.url}&path_style=true&links=false",
        }


async def test_large_artifacts_wait_for_s3_and_nothing_else_does(places: dict[str, object], way: Proxy) -> None:
    crew = Crew()
    async with fleet(crew.agent, places, fronts=1, workers=1, max_attempts=1000, **BACK_OFF) as made:
        [front] = made.fronts
        way.refuse()
        way.reset()
        task_id = await front.start("go", skill="large")
        transport = httpx2.ASGITransport(front.system.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE) as http:
            upload = await http.post("/artifacts", content=b"bytes", params={"filename": "a"})
        assert upload.status_code == 503
        assert int(upload.headers["retry-after"]) > 0

        async def tried() -> bool:
            return (await front.row(task_id)).attempt > 0

        await until_asked(tried)
        assert (await front.send("small")).status.state is State.COMPLETED
        assert (await front.row(task_id)).state is State.WORKING
        way.heal()
        row = await ended(front, task_id)
        assert row.attempt > 0
        assert crew.ran[task_id] == row.attempt + 1
        [artifact] = (await shown(front, task_id)).artifacts
        [file] = artifact.parts
        assert isinstance(file, File)
        pieces = [piece async for piece in made.workers[0].engine.backends.artifacts.read(file.stored)]
        assert b"".join(pieces) == bytes(LARGE_BYTES)


async def test_what_s3_keeps_cannot_be_read_while_it_is_away(places: dict[str, object], way: Proxy) -> None:
    crew = Crew()
    async with fleet(crew.agent, places, fronts=1, workers=1, **BACK_OFF) as made:
        [front] = made.fronts
        file, text = await front.send("go", skill="large"), await front.send("go", skill="verbose")
        [part] = file.artifacts[0].parts
        assert isinstance(part, File)
        transport = httpx2.ASGITransport(front.system.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=PATIENCE) as http:

            def get(task_id: str) -> Awaitable[httpx2.Response]:
                request = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task_id}}
                return http.post("/", json=request, headers={"A2A-Version": "1.0"})

            way.refuse()
            way.reset()
            download = await http.get(f"/artifacts/{part.stored}")
            assert (await get(file.id)).status_code == 200  # it shows an address
            whole = await get(text.id)  # it shows all of the text
            for refused in (download, whole):
                assert refused.status_code == 503
                assert int(refused.headers["retry-after"]) > 0
            way.heal()
            assert (await http.get(f"/artifacts/{part.stored}")).content == bytes(LARGE_BYTES)
            assert "a" * LARGE_BYTES in (await get(text.id)).text


async def test_a_task_gives_up_where_s3_stays_away(places: dict[str, object], way: Proxy) -> None:
    crew = Crew()
    async with fleet(crew.agent, places, fronts=1, workers=1, max_attempts=2, **BACK_OFF) as made:
        [front] = made.fronts
        way.refuse()
        way.reset()
        task = await front.send("go", skill="large")
        assert task.status.state is State.FAILED
        assert crew.ran[task.id] == 2
        way.heal()
