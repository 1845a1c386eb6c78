"""What the command line says and does at its edges: hints that can be pasted, stdin, redirects, lost connections."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from a2a_server.cli import main
from a2a_server.cli.failures import CommandError
from a2a_server.cli.follow import Follower
from a2a_server.cli.invoked import command
from a2a_server.cli.rpc import Connection
from tests.unit.cli_servers import result

URL = "http://agent.example:8000/mounted"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / ".venv" / "bin" / "a2a-server"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(path), "send"])
    monkeypatch.setenv("PATH", "/nowhere")
    return path


def test_commands_name_the_program_as_it_was_started(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command("send", "a b") == f"{program} send 'a b'"
    monkeypatch.chdir(program.parents[2])
    assert command("demo") == ".venv/bin/a2a-server demo"
    monkeypatch.chdir(program.parent)
    assert command("demo") == "./a2a-server demo"
    monkeypatch.setenv("PATH", str(program.parent))
    assert command("demo") == "a2a-server demo"


def test_commands_of_a_module_and_of_anything_else(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "argv", ["/somewhere/a2a_server/__main__.py"])
    monkeypatch.setattr(sys, "executable", "/opt/bin/python3")
    assert command("demo") == "opt/bin/python3 -m a2a_server demo"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert command("demo") == "a2a-server demo"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("send hello wide world", "quote the text: a2a-server send 'hello wide world'"),
        ("run", "name an agent, for example echo.py: a2a-server run echo.py"),
        ("run --bogus", "unknown option --bogus; --help lists all"),
        ("run --prot=3", "unknown option --prot; did you mean --port?"),
        ("send x --straem", "unknown option --straem; did you mean --stream?"),
        ("send", "there is nothing to send; give a text, --data or --file: a2a-server send hello"),
    ],
)
def test_usage_errors_say_the_way_out(
    words: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(words.split()) == 2
    assert capsys.readouterr().err == f"a2a-server: {said}\n"


@pytest.mark.parametrize(
    ("words", "described"),
    [
        ("", ["Serve an agent until", "Check settings, queues"]),
        ("--help", ["Serve an agent until", "Send a message and show"]),
        ("task", ["Cancel a task.", "List tasks,", "Follow several tasks"]),
        ("task --help", ["Cancel a task.", "List tasks,", "Follow several tasks"]),
        ("card -h", ["Show the agent card", "Check an agent card"]),
    ],
)
def test_help_describes_every_command(words: str, described: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in described)


def served(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
    real = Connection.__init__

    def replaced(self: Connection, url: str, token: str = "") -> None:
        real(self, url, token, httpx2.MockTransport(answer))

    monkeypatch.setattr(Connection, "__init__", replaced)


@pytest.mark.parametrize("skill", [[], ["--skill", "echo"]], ids=["default", "skill"])
def test_a_text_may_come_on_stdin(
    skill: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content)["params"]["message"]["parts"])
        return result(request, {"task": {"id": "t"}})

    served(monkeypatch, answer)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("grüße\nan alle\n".encode())))
    assert main(["send", "--no-wait", *skill]) == 0
    assert main(["send", "--no-wait", "--data", "1"]) == 0
    assert sent == [[{"text": "grüße\nan alle"}], [{"data": 1}]]


def test_what_is_no_text_on_stdin_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["send"]) == 2
    assert "--file" in capsys.readouterr().err


async def test_a_redirect_to_the_same_origin_is_followed_once_for_all() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if request.url.path == "/mounted":
            return httpx2.Response(307, headers={"Location": f"{URL}/"})
        return result(request, {"id": "t"})

    async with Connection(URL, transport=httpx2.MockTransport(answer)) as connection:
        assert await connection.call("GetTask", {"id": "t"}) == {"id": "t"}
        assert await connection.call("GetTask", {"id": "t"}) == {"id": "t"}
    assert asked == ["/mounted", "/mounted/", "/mounted/"]


@pytest.mark.parametrize(
    "location", ["http://evil.example:8000/", "https://agent.example:8000/", "http://agent.example/", "/mounted", ""]
)
async def test_other_redirects_are_not(location: str) -> None:
    asked: list[httpx2.URL] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url)
        return httpx2.Response(308, headers={"Location": location})

    async with Connection(URL, "secret", httpx2.MockTransport(answer)) as connection:
        with pytest.raises(CommandError, match="does not answer as an A2A server"):
            await connection.call("GetTask", {"id": "t"})
    assert {url.host for url in asked} == {"agent.example"}
    assert len(asked) <= 3


async def test_a_lost_connection_is_told_once_each_time() -> None:
    event = {"taskId": "t", "status": {"state": "TASK_STATE_WORKING"}}
    streams = [[1, 2], None, None, [3], [4, 5]]
    said: list[str] = []

    async def pause(seconds: float) -> None:
        pass

    def answer(request: httpx2.Request) -> httpx2.Response:
        numbers = streams.pop(0)
        if numbers is None:
            raise httpx2.ConnectError("refused")
        items = [
            {"statusUpdate": {**event, "status": {"state": "TASK_STATE_COMPLETED" if n == 5 else "TASK_STATE_WORKING"}}}
            for n in numbers
        ]
        lines = [
            f"id: {n}\ndata: {json.dumps({'jsonrpc': '2.0', 'id': 1, 'result': item})}\n\n"
            for n, item in zip(numbers, items, strict=True)
        ]
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text="".join(lines))

    async with Connection(URL, transport=httpx2.MockTransport(answer)) as connection:
        follower = Follower(connection, task_id="t", pause=pause, notice=said.append)
        assert len([item async for item in follower.items()]) == 5
    assert said == ["connection lost, trying again"] * 2


@pytest.mark.parametrize("flag", ["--task", "--context"])
def test_an_empty_id_is_no_id(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "x", flag, ""]) == 2
    assert f"{flag} is empty" in capsys.readouterr().err
