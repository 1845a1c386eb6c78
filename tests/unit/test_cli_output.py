"""What the client shows: text once and in order, reports, errors and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from a2a_server.cli import main, output
from a2a_server.cli.live import LiveView
from a2a_server.cli.packages import refuse_foreign_package
from a2a_server.cli.serving import welcome
from a2a_server.errors import ConfigurationError
from a2a_server.model.objects import OPTIONS_URI, PROGRESS_URI, TASK_URI
from tests.patience import PATIENCE

Json = dict[str, Any]


def artifact(*parts: Json, id: str = "a") -> Json:
    return {"artifactId": id, "parts": list(parts)}


def update(text: str, *, append: bool = True, id: str = "a") -> Json:
    return {"artifactUpdate": {"taskId": "T", "artifact": artifact({"text": text}, id=id), "append": append}}


def status(state: str, text: str = "", progress: Json | None = None) -> Json:
    inner: Json = {"state": f"TASK_STATE_{state}"}
    if text:
        inner["message"] = {"role": "ROLE_AGENT", "parts": [{"text": text}]}
    return {"statusUpdate": {"taskId": "T", "status": inner, "metadata": {PROGRESS_URI: progress} if progress else {}}}


def shown(*items: Json) -> tuple[str, list[str]]:
    written: list[str] = []
    notes: list[str] = []
    with output.Plain(written.append, notes.append) as view:
        for item in items:
            view.show(item)
    return "".join(written), notes


def test_chunks_run_on_and_the_last_line_is_ended() -> None:
    assert shown(update("one ", append=False), update("two"), status("COMPLETED")) == ("one two\n", [])


def test_text_that_begins_again_is_shown_once() -> None:
    first = [update("one ", append=False), update("two "), update("thr")]
    again = [update("one", append=False), update(" two thr"), update("ee")]
    assert shown(*first, *again) == ("one two three\n", [])


@pytest.mark.parametrize("again", [["one ", "four"], ["one "]], ids=["other", "shorter"])
def test_another_text_is_shown_whole_with_a_note(again: list[str]) -> None:
    head, *tail = again
    text, notes = shown(update("one two", append=False), update(head, append=False), *map(update, tail))
    assert text == f"one two\n{''.join(again)}\n"
    assert notes == [output.AGAIN]


def test_a_snapshot_repeats_nothing() -> None:
    task = {
        "task": {"id": "T", "status": {"state": "TASK_STATE_WORKING"}, "artifacts": [artifact({"text": "one two"})]}
    }
    assert shown(update("one ", append=False), task, update("!")) == ("one two!\n", [])


def test_artifacts_and_parts_other_than_text_stand_on_lines_of_their_own() -> None:
    data = {"artifactUpdate": {"artifact": artifact({"data": {"é": 1}}, id="b"), "append": False}}
    assert shown(update("one", append=False), data, update("two", append=False, id="c"))[0] == 'one\n{"é": 1}\ntwo\n'
    mixed = artifact({"text": "see"}, {"url": "http://x/y", "filename": "y.pdf", "mediaType": "application/pdf"})
    assert output.artifact_text(mixed) == "see\n[file: y.pdf, application/pdf, http://x/y]\n"
    assert output.part_text({"raw": "aGVsbG8=", "filename": "h"}) == "[file: h, 5 bytes]"


def test_questions_are_shown_and_errors_left_to_stderr() -> None:
    assert shown(status("INPUT_REQUIRED", "Which?"))[0] == "Which?\n"
    assert shown(status("WORKING", "busy"), status("FAILED", "broken"))[0] == ""
    assert shown({"message": {"parts": [{"text": "yo"}]}})[0] == "yo\n"


def test_a_report_of_a_task() -> None:
    task = {
        "id": "T",
        "contextId": "C",
        "status": {"state": "TASK_STATE_COMPLETED", "timestamp": "2026-05-28T10:00:00.000Z"},
        "history": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}],
        "artifacts": [artifact({"text": "ho"})],
    }
    assert output.task_report(task).splitlines() == [
        "task     T",
        "context  C",
        "state    completed",
        "since    2026-05-28T10:00:00.000Z",
        "user     hi",
        "",
        "a",
        "ho",
    ]
    assert output.task_text(task) == "ho\n"


def test_what_could_drive_a_terminal_is_taken_out() -> None:
    assert output.safe("a\x1b[31mb\r\n\tc\x9b\r") == "a�[31mb\n\tc��"


def test_the_live_view_ends_with_the_whole_text_on_the_screen() -> None:
    console = Console(force_terminal=True, width=60, record=True, color_system=None)
    with LiveView(console) as view:
        view.show({"task": {"id": "T", "status": {"state": "TASK_STATE_SUBMITTED"}}})
        view.show(status("WORKING", progress={"progress": 0.25, "note": "reading"}))
        for piece in ("one [b]", "two\nthree", " four"):
            view.show(update(piece, append=piece != "one [b]"))
        view.show(status("WORKING", progress={"done": 3, "total": 4}))
        bar = view._progress.tasks[0]
        assert (bar.completed, bar.total) == (3, 4)
        view.show(status("COMPLETED"))
    text = console.export_text()
    assert "one [b]two\n" in text
    assert "three four\n" in text


def test_the_welcome_has_commands_that_can_be_pasted() -> None:
    text = welcome("Demo", "http://127.0.0.1:8123", "it's")
    assert "http://127.0.0.1:8123/.well-known/agent-card.json" in text
    assert "a2a-server send 'it'\"'\"'s' --stream --url http://127.0.0.1:8123" in text
    assert "tasks/send" in text
    assert "curl -sN" in text


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["send", "hi", "--data", "{"], 2, "--data is not JSON"),
        (["send", "hi", "--file", "missing.bin"], 2, "missing.bin"),
        (["send", "hi", "--stream", "--no-wait"], 2, "--no-wait"),
        (["send", "hi", "--priority", "urgent"], 2, "urgent"),
        (["send", "hi", "--timeout", "0"], 2, "--timeout"),
        (["send", "hi", "--url", "localhost:8000"], 2, "--url"),
        (["send", "hi", "--url", "http://127.0.0.1:1"], 3, "cannot reach http://127.0.0.1:1"),
        (["task", "get", "T", "--url", "http://127.0.0.1:1"], 3, "a2a-server demo"),
        (["nonsense"], 2, "nonsense"),
        (["send", "hi", "--nonsense"], 2, "--nonsense"),
        (["run", "missing_file.py"], 2, "there is no file missing_file.py"),
        (["run"], 2, "name an agent"),
    ],
)
def test_errors_are_one_line_and_a_code(
    line: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--debug", "run"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["send"], ["task", "send"]):
        assert main([*command, "--help"]) == 0
        text = capsys.readouterr().out
        for flag in ("--url", "--stream", "--no-wait", "--context", "--timeout", "--output", "A2A_URL"):
            assert flag in text


def test_the_client_starts_without_the_servers_imports() -> None:
    code = (
        "import sys; from a2a_server.cli import main; main(['send', 'hi', '--url', 'http://127.0.0.1:1']);"
        "print(sorted({'uvicorn', 'starlette', 'a2a_server.settings', 'aiosqlite'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_a_server_starts_without_what_it_may_never_need() -> None:
    code = (
        "import sys; from a2a_server import wiring, settings; settings.load();"
        "print(sorted({'pydantic_settings', 'prometheus_client', 'yaml', 'boto3'} & set(sys.modules)))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("A2A_SERVER_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE, env=environment
    )
    assert done.stdout == "[]\n"


def test_options_travel_in_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Json] = []

    async def call(_connection: object, _method: str, params: Json) -> Json:
        sent.append(params)
        return {"task": {"id": "T"}}

    monkeypatch.setattr("a2a_server.cli.rpc.Connection.call", call)
    assert main(["send", "hi", "--no-wait", "--skill", "s", "--priority", "high", "--context", "C"]) == 0
    assert sent[0]["metadata"] == {OPTIONS_URI: {"skill": "s", "priority": "high"}}
    assert sent[0]["message"]["contextId"] == "C"
    assert sent[0]["configuration"] == {"returnImmediately": True}


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["task", "--help"], ["run", "--help"], ["check", "--help"], ["nonsense"]]
)
def test_help_imports_no_server(words: list[str]) -> None:
    code = (
        f"import sys; from a2a_server.cli import main; main({words!r}); print();"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in {'uvicorn', 'starlette', 'aiosqlite',"
        " 'pydantic_settings', 'yaml', 'jsonrpcserver', 'boto3'} or name.startswith(('a2a_server.web',"
        " 'a2a_server.engine', 'a2a_server.settings',"
        " 'a2a_server.wiring', 'a2a_server.stores', 'a2a_server.service'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_foreign_distribution_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "a2a_server"
    package.mkdir()
    refuse_foreign_package(package, tmp_path)
    metadata = tmp_path / "a2a_server-0.6.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: a2a-server\nVersion: 0.6.1\n")
    with pytest.raises(ConfigurationError, match=r"a2a-server 0\.6\.1, another project.*pip uninstall a2a-server"):
        refuse_foreign_package(package, tmp_path)
    refuse_foreign_package(tmp_path / "elsewhere" / "a2a_server", tmp_path)


def test_why_a_result_is_not_whole_is_said() -> None:
    task = {
        "id": "t-1",
        "status": {"state": "TASK_STATE_COMPLETED"},
        "artifacts": [{"artifactId": "artifact-1", "parts": [{"text": "half"}]}],
        "metadata": {TASK_URI: {"partial": "the archive is closed"}},
    }
    assert output.task_text(task) == "half\n(not the whole result: the archive is closed)\n"
    assert "partial  the archive is closed\n" in output.task_report(task)


def test_a_question_for_parameters_is_its_words() -> None:
    asked = {"parts": [{"text": "How many?"}, {"data": {"missing": ["count"], "wrong": [], "schema": {}}}]}
    assert output.message_text(asked) == "How many?"
    assert output.message_text({"parts": [{"data": {"missing": 1}}]}) == '{"missing": 1}'
