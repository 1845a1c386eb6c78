"""Large files through a real server: in constant memory both ways, whole after kill -9 in the middle of either."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.test_cli import Served, serving
from tests.acceptance.waiting import until
from tests.patience import PATIENCE

MIB = 1 << 20
SIZE_MIB = 100
MOST_GROWTH_MIB = 50
AGENT = '''
import asyncio
import hashlib
from a2a_server import Agent, File, TaskContext

agent = Agent("Files")

@agent.skill
async def make(task: TaskContext, pieces: int, kills: int = 0) -> None:
    """Write so many MiB. kills: so many runs stop in the middle, until they are killed."""
    async with task.artifact("film", "video/mp4") as writer:
        for number in range(pieces):
            await writer.write(bytes([number % 251]) * (1 << 20))
            if number == 15 and task.attempt <= kills:
                await asyncio.Event().wait()

@agent.skill
async def read(task: TaskContext, source: File) -> str:
    """The checksum of a file."""
    digest, size = hashlib.sha256(), 0
    async for piece in task.open(source):
        digest.update(piece)
        size += len(piece)
    return f"{size} {digest.hexdigest()}"
'''


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, AGENT) as served:
        yield served


def made(pieces: int) -> Iterator[bytes]:
    return (bytes([number % 251]) * MIB for number in range(pieces))


def checksum(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def call(served: Served, method: str, params: dict[str, Any]) -> dict[str, Any]:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"A2A-Version": "1.0"}
    answer = httpx2.post(f"{served.url}/", json=request, headers=headers, timeout=PATIENCE, trust_env=False).json()
    result: dict[str, Any] = answer["result"]
    return result


def send(served: Served, skill: str, part: dict[str, Any], **configuration: object) -> dict[str, Any]:
    message = {"messageId": os.urandom(8).hex(), "role": "ROLE_USER", "parts": [part]}
    options = {"urn:a2a-task-server:task-options:v1": {"skill": skill}}
    sent = {"message": message, "metadata": options, "configuration": configuration}
    task: dict[str, Any] = call(served, "SendMessage", sent)["task"]
    return task


def ended(served: Served, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = {}

    def done() -> bool:
        nonlocal task
        task = call(served, "GetTask", {"id": task_id, "historyLength": 0})
        return task["status"]["state"] in {"TASK_STATE_COMPLETED", "TASK_STATE_FAILED"}

    until(done)
    assert task["status"]["state"] == "TASK_STATE_COMPLETED", task["status"]
    return task


def downloaded(url: str) -> tuple[int, str, str]:
    digest, size = hashlib.sha256(), 0
    with httpx2.stream("GET", url, timeout=PATIENCE, trust_env=False) as response:
        assert response.status_code == 200
        for piece in response.iter_bytes():
            digest.update(piece)
            size += len(piece)
        return size, digest.hexdigest(), response.headers["etag"].strip('"')


def memory_mib(served: Served, field: str) -> float:
    assert served.process is not None
    lines = Path(f"/proc/{served.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{field}:")]
    return int(line.split()[1]) / 1024


def forget_peak(served: Served) -> float:
    """The memory that the server has now; its highest use counts from here."""
    assert served.process is not None
    Path(f"/proc/{served.process.pid}/clear_refs").write_text("5")
    return memory_mib(served, "VmRSS")


def visible(directory: Path) -> list[Path]:
    root = directory / "a2a-artifacts"
    return [path for path in root.rglob("*") if path.is_file() and path.parent.name != ".incoming"]


def growing(directory: Path) -> list[Path]:
    return list((directory / "a2a-artifacts" / ".incoming").iterdir())


def test_a_hundred_megabytes_in_constant_memory_both_ways(served: Served) -> None:
    expected = checksum(made(SIZE_MIB))
    send(served, "make", {"data": {"pieces": 1}})
    before = forget_peak(served)
    uploaded = httpx2.post(f"{served.url}/artifacts", content=made(SIZE_MIB), timeout=PATIENCE, trust_env=False).json()
    assert (uploaded["size"], uploaded["sha256"]) == (SIZE_MIB * MIB, expected)
    read = send(served, "read", {"url": uploaded["url"]})
    assert read["artifacts"][0]["parts"][0]["text"] == f"{SIZE_MIB * MIB} {expected}"
    task = send(served, "make", {"data": {"pieces": SIZE_MIB}})
    [part] = task["artifacts"][0]["parts"]
    for url in (uploaded["url"], part["url"]):
        assert downloaded(url) == (SIZE_MIB * MIB, expected, expected)
    again = send(served, "read", {"url": part["url"]})
    assert again["artifacts"][0]["parts"][0]["text"] == f"{SIZE_MIB * MIB} {expected}"
    grown = memory_mib(served, "VmHWM") - before
    assert grown < MOST_GROWTH_MIB, f"{grown:.0f} MiB"


def test_a_reader_that_stalls_pins_no_memory(served: Served) -> None:
    content = made(SIZE_MIB)
    url = httpx2.post(f"{served.url}/artifacts", content=content, timeout=PATIENCE, trust_env=False).json()["url"]
    before = forget_peak(served)
    readers = []
    for _ in range(20):
        reader = socket.create_connection(("127.0.0.1", served.port))
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(f"GET {url.removeprefix(served.url)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert reader.recv(12) == b"HTTP/1.1 200"
        readers.append(reader)
    assert downloaded(url)[0] == SIZE_MIB * MIB
    grown = memory_mib(served, "VmHWM") - before
    for reader in readers:
        reader.close()
    assert grown < MOST_GROWTH_MIB, f"{grown:.0f} MiB"


def test_nothing_of_an_upload_is_there_that_was_killed_in_the_middle(served: Served, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(f"POST /artifacts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {20 * MIB}\r\n\r\n".encode())
        threading.Thread(target=client.sendall, args=(bytes(10 * MIB),), daemon=True).start()
        until(lambda: any(path.stat().st_size > 5 * MIB for path in growing(tmp_path)))
        served.stop(signal.SIGKILL)
    assert visible(tmp_path) == []
    [left] = growing(tmp_path)
    os.utime(left, (0, time.time() - 90))
    served.start()
    assert growing(tmp_path) == []
    again = httpx2.post(f"{served.url}/artifacts", content=made(20), timeout=PATIENCE, trust_env=False).json()
    assert downloaded(again["url"]) == (20 * MIB, checksum(made(20)), again["sha256"])


@pytest.mark.parametrize("kills", [1, 2])
def test_an_artifact_is_whole_that_was_killed_in_the_middle(served: Served, tmp_path: Path, kills: int) -> None:
    pieces = 60
    task_id = send(served, "make", {"data": {"pieces": pieces, "kills": kills}}, returnImmediately=True)["id"]
    for kill in range(1, kills + 1):
        until(lambda: len(visible(tmp_path)) >= 10 * kill)  # noqa: B023 - asked before the next one
        served.stop(signal.SIGKILL)
        served.start()
    [part] = ended(served, task_id)["artifacts"][0]["parts"]
    expected = checksum(made(pieces))
    assert part["url"].endswith(f"/0/{kills + 1}"), "the run that ended it was killed, or none was"
    assert part["mediaType"] == "video/mp4"
    assert downloaded(part["url"]) == (pieces * MIB, expected, expected)
    assert assembled(served, task_id) == expected


def assembled(served: Served, task_id: str) -> str:
    """The checksum of what a client has that follows the stream from its first event and obeys `append`."""
    request = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
    headers = {"A2A-Version": "1.0", "Last-Event-ID": "0"}
    urls: list[str] = []
    with httpx2.stream(
        "POST", f"{served.url}/", json=request, headers=headers, timeout=PATIENCE, trust_env=False
    ) as response:
        for line in response.iter_lines():
            if line.startswith("data: ") and (update := json.loads(line[6:])["result"].get("artifactUpdate")):
                shown = [part["url"] for part in update["artifact"]["parts"] if "url" in part]
                urls = urls + shown if update.get("append") else shown
    digest = hashlib.sha256()
    for url in urls:
        digest.update(httpx2.get(url, timeout=PATIENCE, trust_env=False).content)
    return digest.hexdigest()
