"""What goes along with a message, and what happens when a task asks."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import httpx2
import pytest

from a2a_server.cli import main
from a2a_server.cli.attachments import INLINE_BYTES
from tests.unit.cli_servers import Json, events, method, params, result, serve, status, task

URL = "http://127.0.0.1:8000/artifacts/uploads/1"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("size", "uploads"), [(0, 0), (INLINE_BYTES - 1, 0), (INLINE_BYTES, 0), (INLINE_BYTES + 1, 1), (3 << 20, 1)]
)
def test_files_travel_in_the_message_up_to_a_limit_and_are_uploaded_above_it(
    size: int, uploads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(number % 251 for number in range(size))
    path = tmp_path / "größe & mehr.pdf"
    path.write_bytes(content)

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/artifacts"):
            return httpx2.Response(201, json={"id": "1", "url": URL, "size": size})
        return result(request, {"task": task("T")})

    asked = serve(monkeypatch, answer)
    assert main(["send", "read it", "--no-wait", "--file", str(path)]) == 0
    assert len(asked) == 1 + uploads
    text, file = params(asked[-1])["message"]["parts"]
    assert text == {"text": "read it"}
    about = {"filename": "größe & mehr.pdf", "mediaType": "application/pdf"}
    if not uploads:
        assert file == {"raw": base64.b64encode(content).decode(), **about}
        return
    assert file == {"url": URL, **about}
    upload = asked[0]
    assert (upload.method, upload.content) == ("POST", content)
    assert upload.headers["content-length"] == str(size)
    assert upload.headers["content-type"] == "application/pdf"
    assert upload.headers["content-disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%26%20mehr.pdf"


@pytest.mark.parametrize(
    ("response", "code", "said"),
    [
        (httpx2.Response(404), 1, "takes no uploads"),
        (httpx2.Response(401), 4, "Give a token"),
        (httpx2.Response(413, json={"error": {"code": -32600, "message": "too large"}}), 1, "too large"),
        (httpx2.Response(201, json={}), 1, "has no url"),
    ],
)
def test_an_upload_that_is_refused(
    response: httpx2.Response, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    monkeypatch.setattr("a2a_server.cli.say", errors.append)
    (tmp_path / "big").write_bytes(b"x" * (INLINE_BYTES + 1))
    serve(monkeypatch, lambda _: response)
    assert main(["send", "hi", "--no-wait", "--file", str(tmp_path / "big")]) == code
    assert said in errors[0]


def asking(monkeypatch: pytest.MonkeyPatch, state: str = "INPUT_REQUIRED") -> list[Json]:
    """A task that asks twice and then tells what it was told; the messages, as they come."""
    told: list[Json] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if method(request) == "GetTask":
            asked = status("T", state, f"Question {len(told)}?")["statusUpdate"]["status"]
            done = task("T", artifacts=[{"artifactId": "a", "parts": [{"text": "done"}]}])
            return result(request, {**task("T"), "status": asked} if len(told) < 3 else done)
        told.append(params(request)["message"])
        end = status("T", state, f"Question {len(told)}?") if len(told) < 3 else status("T", "COMPLETED")
        return events(request, {"task": task("T", "WORKING")}, end)

    serve(monkeypatch, answer)
    return told


@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["wait", "stream"])
def test_a_question_is_shown_with_the_command_that_answers_it(
    stream: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = asking(monkeypatch)
    assert main(["send", "hi", *stream]) == 0
    out, err = capsys.readouterr()
    assert out == "Question 1?\n"
    assert err == 'The task waits for an answer. Give it with: a2a-server send --task T "…"\n'
    assert main(["task", "send", "--task", "T", "blue"]) == 0
    assert told[1] | {"messageId": ""} == {
        "messageId": "",
        "role": "ROLE_USER",
        "parts": [{"text": "blue"}],
        "taskId": "T",
    }
    assert main(["task", "get", "T"]) == 0
    assert "send --task T" in capsys.readouterr().err


def test_on_a_terminal_the_answer_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = asking(monkeypatch)
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("blue\ngreen\n"))
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["send", "hi"]) == 0
    assert [message["parts"] for message in told] == [[{"text": "hi"}], [{"text": "blue"}], [{"text": "green"}]]
    assert [message.get("taskId") for message in told] == [None, "T", "T"]
    assert screen.getvalue() == "Question 1?\nQuestion 2?\ndone\n"


def test_an_empty_answer_leaves_the_question_open(monkeypatch: pytest.MonkeyPatch) -> None:
    told = asking(monkeypatch)
    monkeypatch.setattr(sys, "stdin", Terminal("\n"))
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["send", "hi"]) == 0
    assert len(told) == 1


@pytest.mark.parametrize("words", [["-o", "json"], []], ids=["json", "auth"])
def test_nothing_is_asked_of_programs_and_no_secret_is_typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told = asking(monkeypatch, "INPUT_REQUIRED" if words else "AUTH_REQUIRED")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("never read\n"))
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["send", "hi", *words]) == 0
    assert len(told) == 1
    if words:
        assert json.loads(screen.getvalue())["task"]["id"] == "T"
