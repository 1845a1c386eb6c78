"""The command line against a real server: what it prints, how it ends, and that no text is lost when the server is."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.waiting import standing_still, until
from tests.patience import PATIENCE
from tests.services.server import free_ports

COMMAND = str(Path(sys.executable).with_name("a2a-server"))
AGENT = """
import asyncio
from pathlib import Path
from a2a_server import Agent, Fail, Reject, TaskContext

agent = Agent("Acceptance")

@agent.skill(default=True)
async def echo(text: str) -> str:
    return text

@agent.skill
async def fails(text: str) -> str:
    raise Fail("the disk is full")

@agent.skill
async def rejects(text: str) -> str:
    raise Reject("not on Sundays")

@agent.skill
async def counts(task: TaskContext, upto: int = 20, behind: int = 20, file: str = ""):
    for number in range(upto):
        while number >= behind and not Path(file).exists():
            await asyncio.sleep(0.02)
        task.progress(done=number, total=upto, note=f"number {number}")
        yield f"{number} "
        await asyncio.sleep(0.02)

@agent.skill
async def greets(name: str, greeting: str) -> str:
    return f"{greeting} {name}"
"""
WITHOUT_END = '{"upto": 20, "behind": 3, "file": "never"}'


class Served:
    """`a2a-server run` on one port and one directory, as often as it is started."""

    def __init__(self, directory: Path, *command: str) -> None:
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self.command = [COMMAND, *command, "--port", str(self.port)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.directory / "out.txt").open("ab") as out, (self.directory / "err.txt").open("ab") as err:
            self.process = subprocess.Popen(self.command, cwd=self.directory, stdout=out, stderr=err)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.directory / "err.txt").read_text()
            try:
                if httpx2.get(f"{self.url}/.well-known/agent-card.json", trust_env=False).is_success:
                    return
            except httpx2.TransportError:
                time.sleep(0.05)
        self.stop(signal.SIGKILL)
        pytest.fail(f"the server did not start: {(self.directory / 'err.txt').read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """How it ended; nothing of it is left."""
        if self.process is not None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The same, once it has been told to end or killed."""
        process, self.process = self.process, None
        if process is None:
            return 0
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()

    def client(self, *words: str) -> list[str]:
        return [COMMAND, *words, "--url", self.url]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.client(*words), capture_output=True, text=True, timeout=PATIENCE, check=False)


@contextmanager
def serving(directory: Path, agent: str) -> Iterator[Served]:
    """A server of this agent's code, which ends as it should."""
    (directory / "agent_here.py").write_text(agent)
    served = Served(directory, "run", "agent_here.py")
    served.start()
    try:
        yield served
    finally:
        code = served.stop()
    assert code == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), AGENT) as served:
        yield served


def test_text_is_printed_and_nothing_else(served: Served) -> None:
    for words in (["send", "hello"], ["task", "send", "hello"], ["send", "hello", "--stream"]):
        done = served.call(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_json_is_one_object_and_one_a_line_when_streaming(served: Served) -> None:
    task = json.loads(served.call("send", "hello", "-o", "json").stdout)["task"]
    assert task["status"]["state"] == "TASK_STATE_COMPLETED"
    lines = [json.loads(line) for line in served.call("send", "hello", "--stream", "-o", "json").stdout.splitlines()]
    assert "task" in lines[0]
    assert lines[-1]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"


def test_data_chooses_parameters_and_options_the_skill(served: Served) -> None:
    data = json.dumps({"name": "you", "greeting": "hail"})
    assert served.call("send", "--skill", "greets", "--data", data).stdout == "hail you\n"
    assert served.call("send", "--skill", "counts").stdout.endswith("18 19 \n")


@pytest.mark.parametrize(
    ("skill", "said"), [("fails", "failed: the disk is full"), ("rejects", "rejected: not on Sundays")]
)
@pytest.mark.parametrize("stream", [[], ["--stream"], ["-o", "json"]], ids=["wait", "stream", "json"])
def test_what_goes_wrong_ends_with_one_and_is_said(served: Served, skill: str, said: str, stream: list[str]) -> None:
    done = served.call("send", "x", "--skill", skill, *stream)
    assert done.returncode == 1
    assert done.stderr.endswith(f" {said}\n")


def test_a_task_is_started_read_followed_and_canceled(served: Served) -> None:
    started = served.call("send", "--no-wait", "--skill", "counts", "--data", WITHOUT_END)
    task = started.stdout.strip()
    until(lambda: '"0 ' in served.call("task", "get", task, "-o", "json").stdout)
    assert "working" in served.call("task", "get", task).stdout
    assert served.call("task", "cancel", task).stdout == f"task {task} is canceled\n"
    followed = served.call("task", "subscribe", task, "--after", "0")
    assert followed.returncode == 1
    assert followed.stdout.startswith("0 ")
    assert followed.stderr.endswith("canceled\n")
    assert served.call("task", "subscribe", task).returncode == 1
    again = served.call("task", "cancel", task)
    assert (again.returncode, again.stdout) == (1, "")


def test_errors_of_the_server_are_one_line(served: Served) -> None:
    for words in (["task", "get", "nope"], ["send", "x", "--skill", "nope"], ["send", "x", "--task-id", "nope"]):
        done = served.call(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), words
        assert "HTTP" not in done.stderr


def test_a_timeout_says_how_to_go_on(served: Served) -> None:
    data = json.dumps({"upto": 90, "file": "timed-out"})
    seconds, command = 2, None
    while command is None and seconds < PATIENCE / 2:  # on a busy machine it may not hear of its task before
        done = served.call("send", "--skill", "counts", "--data", data, "--timeout", str(seconds))
        assert done.returncode == 5
        command = re.search(r"Follow it with: (.*)", done.stderr)
        seconds *= 2
    assert command is not None
    (served.directory / "timed-out").touch()
    words = shlex.split(command[1])
    followed = subprocess.run([COMMAND, *words[1:]], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert followed.returncode == 0
    assert followed.stdout.endswith("88 89 \n")


def test_interrupting_leaves_the_task_running(served: Served) -> None:
    client = subprocess.Popen(
        served.client("send", "--stream", "--skill", "counts", "--data", WITHOUT_END),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stdout.read(2) == b"0 "
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=PATIENCE)
    assert client.returncode == 130
    assert b"The task goes on" in err
    task = err.decode().split("task subscribe ")[1].split()[0]
    assert "working" in served.call("task", "get", task).stdout
    assert served.call("task", "cancel", task).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "drained"])
def test_a_stream_survives_the_server(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "agent_here.py").write_text(AGENT)
    served = Served(tmp_path, "run", "agent_here.py")
    served.start()
    said, complained = tmp_path / "said.txt", tmp_path / "complained.txt"
    words = served.client("send", "--stream", "--skill", "counts", "--data", '{"upto": 60, "file": "go-on"}')
    with said.open("wb") as out, complained.open("wb") as err:
        client = subprocess.Popen(words, stdout=out, stderr=err)
    try:
        until(lambda: said.read_bytes().startswith(b"0 1 "))
        assert served.process is not None
        served.process.send_signal(number)
        until(lambda: complained.read_bytes() != b"")
        time.sleep(1)  # the client tries in vain; it would not for ever
        with standing_still(client):
            (tmp_path / "go-on").touch()
            served.ended()
            served.start()
        assert (client.wait(PATIENCE), complained.read_bytes()) == (0, b"connection lost, trying again\n")
        assert said.read_text().split() == [str(count) for count in range(60)]
    finally:
        client.kill()
        client.wait()
        served.stop()


def test_the_demo_runs_and_its_commands_can_be_pasted(tmp_path: Path) -> None:
    served = Served(tmp_path, "demo")
    served.start()
    try:
        welcome = (tmp_path / "out.txt").read_text()
        commands = re.findall(r"^  (curl .*|\S*a2a-server .*)$", welcome, re.MULTILINE)
        assert len(commands) == 3
        for command in commands:
            words = shlex.split(command)
            if words[0] == "curl":
                words[1:1] = ["--noproxy", "*"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert (done.returncode, "hello" in done.stdout) == (0, True), command
        assert (tmp_path / ".a2a-demo" / "tasks.db").is_file()
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ""] == [".a2a-demo"]
    finally:
        assert served.stop() == 0


def test_a_port_in_use_is_said(served: Served, tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "demo", "--port", str(served.port)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert str(served.port) in done.stderr.splitlines()[-1]
