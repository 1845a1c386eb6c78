"""Several servers and workers on one PostgreSQL and one Redis, as real processes: `python -m tests.cluster [--check]`.

What docker/compose.yaml runs in containers; everything is gone when it ends.
"""
# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from tests.drills.server import free_port
from tests.patience import PATIENCE
from tests.services import Server, own

ROOT = Path(__file__).resolve().parents[1]
AGENT = "a2a_server/examples/workbench.py"


class ClusterError(Exception):
    """A process did not start or ended by itself; the text ends with its last words."""


class Member:
    """One process of the cluster; `url` is where a server listens, '' for a worker."""

    def __init__(self, name: str, words: Sequence[str], log: Path, settings: Mapping[str, str], url: str = "") -> None:
        self.name = name
        self.url = url
        self._words = words
        self._log = log
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process. Raises ClusterError."""
        if self._process is None or self._process.poll() is not None:
            raise ClusterError(f"{self.name} does not run; its last words:\n{self.words()}")
        return self._process

    def start(self) -> None:
        """It runs; `ready` waits until it works too."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "a2a_server", *self._words],
                cwd=ROOT,
                env={**os.environ, **{f"A2A_SERVER_{name}": value for name, value in self._settings.items()}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> None:
        """It answers that it is ready, or says so. Raises ClusterError."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            self.check()
            if self._is_ready():
                return
            time.sleep(0.05)
        raise ClusterError(f"{self.name} was not ready in time; its last words:\n{self.words()}")

    def check(self) -> None:
        """Raises ClusterError when it does not run."""
        _ = self.process

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended. Raises ClusterError."""
        if self._process is None:
            raise ClusterError(f"{self.name} was never started")
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{self.name} did not end; its last words:\n{self.words()}") from error

    def end(self) -> None:
        """It does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else ""

    def _is_ready(self) -> bool:
        if not self.url:
            return b"runs tasks of" in self._log.read_bytes()
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False


class Cluster:
    """Servers and workers of one agent over one set of backends."""

    def __init__(
        self, directory: Path, settings: Mapping[str, str], *, servers: int = 2, workers: int = 2, agent: str = AGENT
    ) -> None:
        self.directory = directory
        self.servers: list[Member] = []
        self.workers: list[Member] = []
        for number in range(1, servers + 1):
            port = free_port()
            words = ("run", agent, "--workers", "0", "--port", str(port))
            log, url = directory / f"server-{number}.log", f"http://127.0.0.1:{port}"
            self.servers.append(Member(f"server {number}", words, log, settings, url))
        for number in range(1, workers + 1):
            log = directory / f"worker-{number}.log"
            self.workers.append(Member(f"worker {number}", ("worker", agent), log, settings))

    @property
    def members(self) -> list[Member]:
        """Every process."""
        return [*self.servers, *self.workers]

    def start(self) -> None:
        """All of them work. Raises ClusterError."""
        for member in self.members:
            member.start()
        for member in self.members:
            member.ready()

    def end(self) -> None:
        """None of them runs."""
        for member in self.members:
            with contextlib.suppress(ClusterError):
                member.signal(signal.SIGTERM)
        for member in self.members:
            member.end()


@contextmanager
def cluster(
    directory: Path, settings: Mapping[str, str], *, servers: int = 2, workers: int = 2, agent: str = AGENT
) -> Iterator[Cluster]:
    """A cluster that runs while the context lasts."""
    made = Cluster(directory, settings, servers=servers, workers=workers, agent=agent)
    try:
        made.start()
        yield made
    finally:
        made.end()


@contextmanager
def backends(directory: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL and a Redis of its own, as settings; artifacts lie in `directory`."""
    with ExitStack() as stack:
        postgresql: Server = stack.enter_context(own("postgresql", durable=True))
        redis: Server = stack.enter_context(own("redis"))
        yield {"STORE": postgresql.url, "QUEUE": redis.url, "ARTIFACTS": f"file://{directory}/artifacts"}


def check(made: Cluster) -> None:
    """A message to the first server is answered, and the last one shows the task. Raises ClusterError."""
    sent = {"message": {"messageId": "check", "role": "ROLE_USER", "parts": [{"text": "echo hello"}]}}
    task = _called(made.servers[0].url, "SendMessage", sent)["task"]
    found = _called(made.servers[-1].url, "GetTask", {"id": task["id"]})
    if found["status"]["state"] != "TASK_STATE_COMPLETED":
        raise ClusterError(f"the task is {found['status']['state']}")
    print(f"{made.servers[0].url} answered, and {made.servers[-1].url} shows the task: {task['id']}")


def _called(url: str, method: str, params: Mapping[str, object]) -> dict[str, dict[str, str]]:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = httpx2.post(f"{url}/", json=request, headers={"A2A-Version": "1.0"}, timeout=PATIENCE).json()
    if "result" not in answer:
        raise ClusterError(f"{method} at {url}: {answer}")
    result: dict[str, dict[str, str]] = answer["result"]
    return result


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/cluster", description=__doc__)
    parser.add_argument("--check", action="store_true", help="send one message, read its answer elsewhere, and end")
    asked = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="a2a-cluster-") as home:
        directory = Path(home)
        with backends(directory) as settings, cluster(directory, settings) as made:
            if asked.check:
                check(made)
                return 0
            print(f"Servers: {', '.join(member.url for member in made.servers)}")
            print(f"Workers: {len(made.workers)}; store {settings['STORE']}, queue {settings['QUEUE']}")
            print(f"Logs: {directory}\nCtrl-C ends everything.", flush=True)
            while not ended.wait(1):
                for member in made.members:
                    member.check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
