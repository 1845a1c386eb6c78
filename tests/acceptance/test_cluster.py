"""Two servers and two workers as real processes over a PostgreSQL and a Redis of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.test_cli import COMMAND
from tests.clients.rpc import new_http
from tests.cluster import Cluster, backends, check, cluster
from tests.patience import PATIENCE
from tests.server.speakers import speaker
from tests.server.spoken import Order, Speaker
from tests.server.waiting import until_asked
from tests.services import needed

AGENT = "tests/acceptance/held.py"
TASKS = 20


class Served:
    """The cluster, and the command line over its settings."""

    def __init__(self, cluster: Cluster, settings: Mapping[str, str]) -> None:
        self.servers = cluster.servers
        self.workers = cluster.workers
        self.cluster = cluster
        self._settings = {f"A2A_SERVER_{name}": value for name, value in settings.items()}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return command(*words, **self._settings)

    def living(self) -> dict[int, str]:
        """The ids of the workers that live, by their processes."""
        done = self.call("workers", "-o", "json")
        assert (done.returncode, done.stderr) == (0, "")
        return {worker["pid"]: worker["id"] for worker in json.loads(done.stdout)["workers"]}


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("cluster")
    with needed(), backends(directory) as places:
        settings = {**places, "DRAIN_SECONDS": "0.2", "LEASE_SECONDS": "3600"}
        with cluster(directory, settings, agent=AGENT) as made:
            yield Served(made, settings)


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_http() as client:
        yield client


def test_any_server_shows_what_another_took(served: Served) -> None:
    check(served.cluster)


@pytest.mark.parametrize(("kind", "first"), [("v0.1", 0), ("0.3", 1), ("1.0", 0)])
async def test_clients_of_every_generation_use_any_server(
    served: Served, http: httpx2.AsyncClient, kind: str, first: int
) -> None:
    here, there = served.servers[first].url, served.servers[1 - first].url
    async with speaker(kind, f"{here}/", http) as one, speaker(kind, f"{there}/", http) as other:
        sent = await one.send(Order("echo hello", f"cluster-{kind}"))
        assert sent.state == "completed"
        seen = await other.get(sent.id)
        assert (seen.state, seen.artifacts) == ("completed", {"text": ("hello",)})


def test_the_cluster_can_be_checked(served: Served) -> None:
    done = served.call("check", "store", "queues")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a hint that was sent came back" in done.stdout


async def test_a_worker_that_drains_hands_over(served: Served, http: httpx2.AsyncClient, tmp_path: Path) -> None:
    first, second = served.workers
    told = served.call("drain", served.living()[second.process.pid][:12])
    assert (told.returncode, told.stderr) == (0, "")
    assert await asyncio.to_thread(second.wait) == 0
    async with speaker("1.0", f"{served.servers[0].url}/", http) as one:
        text, options = f"4 {tmp_path}/go-on", {"skill": "held"}
        orders = [Order(text, f"drain-{number}", wait=False, options=options) for number in range(TASKS)]
        tasks = [sent.id for sent in await asyncio.gather(*map(one.send, orders))]
        await all_in(one, tasks, "working")
        first.signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait) == 0
        assert f"Stopping: {TASKS} running tasks" in first.words()
        (tmp_path / "go-on").touch()
        second.start()
        await all_in(one, tasks, "completed")  # long before a lease would have ended


async def all_in(client: Speaker, tasks: list[str], state: str) -> None:
    async def there() -> bool:
        return {seen.state for seen in await asyncio.gather(*map(client.get, tasks))} == {state}

    await until_asked(there, PATIENCE)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "a2a_server/examples/workbench.py", "--workers", "0"), "workers=0 would run nothing"),
        (("worker", "a2a_server/examples/workbench.py"), "needs a store that processes share"),
    ],
)
def test_one_file_of_sqlite_is_no_cluster(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = command(*words, A2A_SERVER_STORE=f"sqlite:///{tmp_path}/tasks.db")
    assert done.returncode != 0
    assert told in " ".join(done.stderr.split())
    assert "postgresql://" in done.stderr


def test_an_unknown_worker_cannot_be_drained(served: Served) -> None:
    done = served.call("drain", "ffffffff")
    assert done.returncode != 0
    assert "no worker has such an id" in done.stderr
