"""The command line's tools on a real server: lists, watches, files both ways, cards, checks, and `run --reload`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_cli import COMMAND, Served, serving
from tests.acceptance.waiting import until
from tests.patience import PATIENCE

AGENT = """
import hashlib
from a2a_server import Agent, File

agent = Agent("Tools")

@agent.skill(default=True)
async def echo(text: str) -> str:
    return text

@agent.skill
async def sums(source: File) -> str:
    if source.raw is None:
        return f"{source.filename} {source.size} {source.sha256}"
    return f"{source.filename} {len(source.raw)} {hashlib.sha256(source.raw).hexdigest()}"

@agent.skill
async def large(size: int = 1000) -> bytes:
    return bytes(range(256)) * (size // 256)
"""
SEED = """\
port: 0
task_manager:
  name: "TaskManager"
  relationships: ["orchestrator", "all_agents"]
  databases: {tasks: "tasks_db", execution: "execution_db"}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("tools"), AGENT) as served:
        yield served


def test_tasks_of_a_conversation_are_listed_and_watched(served: Served) -> None:
    first = json.loads(served.call("send", "one", "-o", "json").stdout)["task"]
    served.call("send", "two", "--context", first["contextId"])
    listed = json.loads(served.call("task", "list", "--context", first["contextId"], "-o", "json").stdout)
    assert (len(listed["tasks"]), listed["totalSize"]) == (2, 2)
    ids = [task["id"] for task in listed["tasks"]]
    lines = served.call("task", "list", "--context", first["contextId"], "--limit", "1").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[ids[0], "completed"]]
    assert served.call("task", "list", "--state", "failed", "--since", "1h").stdout == ""
    watched = served.call("task", "watch", *ids)
    assert (watched.returncode, watched.stdout.count("completed")) == (0, 2)


def test_a_card_is_shown_and_is_right(served: Served) -> None:
    assert json.loads(served.call("card", "get").stdout)["name"] == "Tools"
    validated = served.call("card", "validate")
    assert (validated.returncode, validated.stdout) == (0, "OK\n")


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 5_000_000])
def test_a_file_goes_along_whatever_its_size(served: Served, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "größe.bin").write_bytes(content)
    done = served.call("send", "--skill", "sums", "--file", str(tmp_path / "größe.bin"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"größe.bin {size} {hashlib.sha256(content).hexdigest()}\n"


@pytest.mark.parametrize("size", [256, 3_000_064])
def test_what_a_task_made_is_downloaded(served: Served, tmp_path: Path, size: int) -> None:
    sent = served.call("send", "--skill", "large", "--data", json.dumps({"size": size}), "-o", "json")
    task = json.loads(sent.stdout)["task"]["id"]
    done = served.call("task", "download", task, "--to", str(tmp_path / "to"))
    assert (done.returncode, done.stderr) == (0, "")
    (path,) = map(Path, done.stdout.splitlines())
    assert path.parent == tmp_path / "to"
    assert path.read_bytes() == bytes(range(256)) * (size // 256)
    again = served.call("task", "download", task, "--to", str(tmp_path / "to"))
    assert (again.returncode, "--force" in again.stderr) == (1, True)


def test_a_database_that_is_served_can_be_checked(served: Served) -> None:
    done = subprocess.run(
        [COMMAND, "check", "store"], cwd=served.directory, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, "a server process serves it now" in done.stdout) == (0, True)


def until_it_runs_and(what: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    def so() -> bool:
        assert process.poll() is None, log.read_text()
        return what()

    try:
        until(so)
    except AssertionError:
        pytest.fail(log.read_text())


def test_the_documents_settings_start_a_server_that_says_what_they_do(tmp_path: Path) -> None:
    (tmp_path / "agent_here.py").write_text(AGENT)
    (tmp_path / "seed.yaml").write_text(SEED)
    log = tmp_path / "out.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [COMMAND, "run", "agent_here.py", "--config", "seed.yaml"], cwd=tmp_path, stdout=out, stderr=out
        )
    try:
        until_it_runs_and(lambda: "Ctrl-C stops the server" in log.read_text(), process, log)
        text = log.read_text()
        assert "Log lines and resource samples (execution_db) are kept in the tasks' database." in text
        assert "Recorded, without effect yet: task_manager.relationships." in text
        assert (tmp_path / "tasks_db").is_file()
        assert not (tmp_path / "a2a.db").exists()
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_a_change_starts_the_server_again_and_a_signal_ends_both(tmp_path: Path) -> None:
    source = tmp_path / "agent_here.py"
    source.write_text(AGENT)
    served = Served(tmp_path, "run", "agent_here.py", "--reload")
    served.start()
    process = served.process
    assert process is not None
    log = tmp_path / "err.txt"
    try:
        assert served.call("send", "hello").stdout == "hello\n"
        source.write_text(AGENT.replace("return text", "return text.upper()"))
        until_it_runs_and(lambda: served.call("send", "hello").stdout == "HELLO\n", process, log)
        assert "agent_here.py changed: starting again" in log.read_text()
        source.write_text("def (\n")
        until_it_runs_and(lambda: "starts again when a .py file changes" in log.read_text(), process, log)
        source.write_text(AGENT)
        until_it_runs_and(lambda: served.call("send", "hello").stdout == "hello\n", process, log)
    finally:
        code = served.stop(signal.SIGTERM)
    assert code == 0
    assert served.call("send", "hello").returncode == 3  # the child is gone too


def test_ctrl_c_ends_a_reloading_server(tmp_path: Path) -> None:
    (tmp_path / "agent_here.py").write_text(AGENT)
    served = Served(tmp_path, "run", "agent_here.py", "--reload")
    served.start()
    assert served.stop(signal.SIGINT) == 0
    assert served.call("card", "get").returncode == 3
