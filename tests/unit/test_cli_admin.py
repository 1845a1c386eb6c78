"""The command line over the management API: what it asks for, what it shows, how it ends."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from a2a_server.cli import main
from a2a_server.cli.board import Board, share_of
from a2a_server.cli.failures import Exit
from tests.unit.cli_servers import serve

Json = dict[str, Any]
TASK = {"id": "T", "state": "submitted", "status": "queued", "priority": "normal", "title": "Yearly\nreport"}


def answering(monkeypatch: pytest.MonkeyPatch, *answers: object, status: int = 200) -> list[httpx2.Request]:
    """Every request is answered with the next of these, the last one again and again."""
    left = list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = left.pop(0) if len(left) > 1 else left[0]
        return httpx2.Response(status, json=body) if body is not None else httpx2.Response(204)

    return serve(monkeypatch, answer)


def asked(request: httpx2.Request) -> tuple[str, str, object]:
    target = request.url.raw_path.decode()
    return request.method, target, json.loads(request.content) if request.content else None


@pytest.mark.parametrize(
    ("words", "request_", "body"),
    [
        (["task", "submit", "hello", "--skill", "echo", "--tag", "a", "--tag", "b"], "POST /api/v1/tasks", {
            "text": "hello", "skill": "echo", "tags": ["a", "b"],
        }),
        (["task", "submit", "x", "--options", '{"kind": "control"}', "--dry-run"], "POST /api/v1/tasks?dryRun=true", {
            "text": "x", "kind": "control",
        }),
        (["task", "show", "a/b?c"], "GET /api/v1/tasks/a%2Fb%3Fc", None),
        (["task", "cancel", "T", "--admin"], "POST /api/v1/tasks/T/cancel", None),
        (["task", "retry", "T", "--from-step", "fetch"], "POST /api/v1/tasks/T/retry", {"fromStep": "fetch"}),
        (["task", "requeue", "T"], "POST /api/v1/tasks/T/requeue", {}),
        (["task", "requeue", "T", "--delay", "90"], "POST /api/v1/tasks/T/requeue", {"delaySeconds": 90.0}),
        (["task", "bulk", "requeue", "T"], "POST /api/v1/tasks/bulk", {
            "action": "requeue", "dryRun": False, "ids": ["T"],
        }),
        (["task", "reprioritise", "T", "high"], "PATCH /api/v1/tasks/T", {"priority": "high"}),
        (["task", "feedback", "T", "--rating", "5", "--comment", "good"], "POST /api/v1/tasks/T/feedback", {
            "rating": 5, "comment": "good",
        }),
        (["task", "delete", "T", "--cancel"], "DELETE /api/v1/tasks/T?cancel=true", None),
        (["task", "explain", "T", "--admin"], "GET /api/v1/tasks/T/explain", None),
        (["task", "bulk", "cancel", "T", "U"], "POST /api/v1/tasks/bulk", {
            "action": "cancel", "dryRun": False, "ids": ["T", "U"],
        }),
        (["task", "bulk", "requeue", "--filter", "tag=a", "--filter", "skill=b", "--delay", "5"],
         "POST /api/v1/tasks/bulk", {
            "action": "requeue", "dryRun": False, "filter": {"tag": ["a"], "skill": ["b"]}, "delaySeconds": 5.0,
        }),
        (["task", "bulk", "retry", "--filter", "state=failed", "--filter", "state=canceled", "--filter", "batch=B"],
         "POST /api/v1/tasks/bulk", {
            "action": "retry", "dryRun": False, "filter": {"state": ["failed", "canceled"], "batch": "B"},
        }),
        (["batch", "show", "B"], "GET /api/v1/batches/B", None),
        (["schedule", "trigger", "S"], "POST /api/v1/schedules/S/trigger", None),
        (["schedule", "pause", "S"], "POST /api/v1/schedules/S/pause", None),
        (["schedule", "resume", "S"], "POST /api/v1/schedules/S/resume", None),
        (["schedule", "preview", "S", "--count", "3"], "GET /api/v1/schedules/S/preview?count=3", None),
        (["schedule", "delete", "S"], "DELETE /api/v1/schedules/S", None),
        (["template", "show", "M"], "GET /api/v1/templates/M", None),
        (["queue", "pause", "echo", "--reason", "jam"], "POST /api/v1/queues/echo/pause", {"reason": "jam"}),
        (["queue", "resume", "echo"], "POST /api/v1/queues/echo/resume", None),
        (["limit", "set", "skill:a/b", "--capacity", "7"], "PUT /api/v1/limits/skill%3Aa%2Fb", {"capacity": 7}),
        (["limit", "delete", "skill:a"], "DELETE /api/v1/limits/skill%3Aa", None),
        (["dead-letters", "retry"], "POST /api/v1/dead-letters/retry", {}),
        (["drain", "W", "--admin"], "POST /api/v1/workers/W/drain", None),
    ],
)  # fmt: skip
def test_what_a_command_asks_for(
    words: list[str], request_: str, body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    [*_] = requests = answering(monkeypatch, TASK)
    assert main(words) == Exit.OK
    [request] = requests
    method, target, given = asked(request)
    assert (f"{method} {target}", given) == (request_, body)


def test_a_task_for_people_and_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, TASK)
    assert main(["task", "show", "T"]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[:2] == ["task       T", "title      Yearly report"]
    assert main(["task", "show", "T", "-o", "json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == TASK


def test_a_send_that_was_made_before_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for state, more in (("working", "\n"), ("failed", "; a2a-server task retry T runs it once more, as a new task\n")):
        answering(monkeypatch, {**TASK, "state": state, "repeat": True})
        assert main(["task", "submit", "x", "--options", '{"uniqueKey": "k"}']) == Exit.OK
        out, err = capsys.readouterr()
        assert out == "T\n"
        assert err.startswith(f"an earlier send made this task, which is {state}")
        assert err.endswith(more)


def test_lists_go_on_from_page_to_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [{"tasks": [TASK], "next": "C"}, {"tasks": [{**TASK, "id": "U"}]}]
    requests = answering(monkeypatch, *pages)
    words = ["--state", "working", "--status", "blocked", "--phase", "held", "--filter", "tag=a", "--limit", "0"]
    assert main(["task", "list", "--admin", *words]) == Exit.OK
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        [name, "submitted", "queued"] for name in "TU"
    ]
    first, second = (dict(request.url.params.multi_items()) for request in requests)
    assert first == {"tag": "a", "state": "working", "status": "blocked", "phase": "held", "limit": "200"}
    assert second == {**first, "cursor": "C"}
    requests = answering(monkeypatch, {"queues": [{"name": "a", "depth": 2}], "next": "C"}, {"queues": [{"name": "b"}]})
    assert main(["queue", "list"]) == Exit.OK
    assert capsys.readouterr().out == "a  depth 2\nb\n"
    assert len(requests) == 2


@pytest.mark.parametrize(
    ("words", "thing", "line"),
    [
        (["queue", "list"], {"queues": [{"name": "a", "depth": 0, "held": 0, "paused": True, "reason": "tea"}]},
         "a  depth 0  paused  reason tea"),
        (["schedule", "list"], {"schedules": [{"id": "S", "cron": "0 9 * * *", "message": {}, "runs": 0}]},
         "S  cron 0 9 * * *  runs 0"),
        (["limit", "list"], {"limits": [{"key": "skill:a", "kind": "skill", "capacity": 1, "used": 0}]},
         "skill:a  capacity 1  used 0"),
        (["limit", "list"], {"limits": [{"key": "skill:a", "kind": "skill", "capacity": 0, "used": 0}]},
         "skill:a  capacity 0  used 0"),
        (["schedule", "trigger", "S"], {"taskId": "T", "contextId": "C"}, "T"),
        (["schedule", "preview", "S"], {"ticks": ["2026-05-28T10:00:00.000Z"]}, "2026-05-28T10:00:00.000Z"),
        (["schedule", "show", "S"], {"id": "S", "message": {"parts": [{"text": "clean up"}]}},
         "id                S\nmessage           clean up"),
        (["dead-letters", "retry", "T"], {"matched": 1, "done": 1, "items": [{"id": "T", "newId": "U"}]},
         "T  again as U"),
    ],
)  # fmt: skip
def test_what_is_shown_of_a_thing(
    words: list[str], thing: Json, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, thing)
    assert main(words) == Exit.OK
    assert capsys.readouterr().out == f"{line}\n"


def test_a_hyphen_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"cron": "0 9 * * *"}
    for words in (
        ["schedule", "create", "-"],
        ["schedule", "change", "S", "-"],
        ["template", "create", "-"],
        ["limit", "set", "rate:a", "--body", "-"],
    ):
        requests = answering(monkeypatch, TASK)
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(said)))
        assert main(words) == Exit.OK
        assert asked(requests[0])[2] == said
    requests = answering(monkeypatch, {"id": "B", "created": 1})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a"}\n')))
    assert main(["batch", "submit", "-"]) == Exit.OK
    assert requests[0].content == b'{"text": "a"}\n'


def test_a_dead_letter_that_stays_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"id": "T", "newId": "U"}, {"id": "V", "error": {"code": 404, "message": "Task not found."}}]
    answering(monkeypatch, {"matched": 2, "done": 1, "items": items})
    assert main(["dead-letters", "retry", "T", "V"]) == Exit.ERROR
    shown = capsys.readouterr()
    assert shown.out == "T  again as U\n"
    assert "1 failed, the first: task V: Task not found.\n" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task", "submit"], "nothing to submit"),
        (["task", "submit", "x", "--options", "{"], "--options is not JSON"),
        (["task", "submit", "x", "--parameters", "[]"], "--parameters must be a JSON object"),
        (["task", "feedback", "T"], "--rating"),
        (["task", "feedback", "T", "--rating", "6"], "--rating"),
        (["task", "bulk", "cancel"], "name tasks, or choose them"),
        (["task", "bulk", "cancel", "T", "--filter", "a=b"], "not both"),
        (["task", "bulk", "cancel", "--filter", "a"], "NAME=VALUE"),
        (["task", "list", "--filter", "a=b"], "needs --admin"),
        (["task", "watch", "T", "--batch", "B"], "not several"),
        (["batch", "submit", "/nowhere/there.jsonl"], "cannot be read"),
        (["limit", "set", "skill:a"], "--capacity or --body"),
        (["schedule", "create", "/nowhere/there.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_asked_for(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = answering(monkeypatch, TASK)
    assert main(words) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert not requests


def test_an_error_names_its_fields(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    details = [{"field": "dependsOn[1]", "rule": "names no task of yours"}]
    error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "It cannot be submitted.", "details": details}
    answering(monkeypatch, {"error": error}, status=400)
    assert main(["task", "submit", "x"]) == Exit.ERROR
    assert "It cannot be submitted. (dependsOn[1]: names no task of yours)" in capsys.readouterr().err
    answering(monkeypatch, {"error": {"code": 403, "message": "Only from its own machine."}}, status=403)
    assert main(["task", "show", "T"]) == Exit.UNAUTHORIZED


def test_a_batch_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b"}\n')
    answer: Json = {"id": "B", "created": 2, "failed": 0, "items": [{"index": 0, "id": "T"}]}
    requests = answering(monkeypatch, answer)
    assert main(["batch", "submit", str(file), "--unique-key", "k"]) == Exit.OK
    assert capsys.readouterr() == ("B\n", "2 of 2 tasks submitted\n")
    assert requests[0].url.raw_path == b"/api/v1/batches?atomic=true&uniqueKey=k"
    assert requests[0].headers["content-type"] == "application/jsonl"
    assert requests[0].content == file.read_bytes()
    answer |= {"created": 1, "items": [{"index": 1, "error": {"message": "text is missing"}}]}
    requests = answering(monkeypatch, answer)
    assert main(["batch", "submit", str(file), "--each"]) == Exit.ERROR
    assert requests[0].url.raw_path == b"/api/v1/batches?atomic=false"
    assert "1 tasks refused, the first: line 2: text is missing" in capsys.readouterr().err
    answering(monkeypatch, {"id": "B", "created": 0, "repeated": 2, "failed": 0, "items": []})
    assert main(["batch", "submit", str(file)]) == Exit.OK
    assert capsys.readouterr() == ("B\n", "2 of 2 tasks submitted, 2 of them before\n")
    file.write_text("\n")
    assert main(["batch", "submit", str(file)]) == Exit.USAGE


def test_a_bulk_that_failed_for_some(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answering(monkeypatch, {"matched": 2, "done": 1, "failed": [{"id": "U", "error": {"message": "it has ended"}}]})
    assert main(["task", "bulk", "cancel", "T", "U"]) == Exit.ERROR
    out, err = capsys.readouterr()
    assert out == "2 match, 1 done\n"
    assert "1 failed, the first: task U: it has ended" in err


def explanation(**more: object) -> Json:
    reasons = [{"kind": "limit", "text": "The limit of its skill is used up: 7 of 7."}]
    return {"id": "T", "state": "submitted", "phase": "held", "status": "blocked", "reasons": reasons, **more}


def test_why_a_task_waits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    guess = {"startsAt": "2026-05-28T10:00:00.000Z", "medianSeconds": 1.5, "p95Seconds": 9.0, "tasks": 40}
    answering(monkeypatch, explanation(estimate=guess))
    assert main(["task", "explain", "T", "--admin"]) == Exit.OK
    assert capsys.readouterr().out == (
        "task T is submitted, blocked\n"
        "  The limit of its skill is used up: 7 of 7.\n"
        "  may start at 2026-05-28T10:00:00.000Z (40 tasks waited 1.5 s (median), 9 s (p95))\n"
    )


@pytest.mark.parametrize("why", ["text is missing", "line 4: not JSON at column 1."])
def test_a_refused_line_is_named_as_the_file_has_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, why: str
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('\n\n{"text": "a"}\nno\n')
    items = [{"index": 0, "id": "A"}, {"index": 1, "error": {"code": 400, "message": why}}]
    answering(monkeypatch, {"id": "B", "created": 1, "failed": 1, "items": items})
    assert main(["batch", "submit", str(file), "--each"]) == Exit.ERROR
    assert f"the first: line 4: {why.removeprefix('line 4: ')}\n" in capsys.readouterr().err


def test_how_long_a_task_takes_that_waits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    takes = {"source": "given", "seconds": 3.0}
    answering(monkeypatch, explanation(estimatedDuration=takes, endsAt="2026-05-28T10:00:03.000Z"))
    assert main(["task", "explain", "T", "--admin"]) == Exit.OK
    assert capsys.readouterr().out.endswith("  takes 3 s, as its sender says; may end at 2026-05-28T10:00:03.000Z\n")


def test_why_a_task_waits_as_its_sender_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"reasons": [{"kind": "behind", "text": "It stands behind 3 tasks."}], "more": 1}
    about = {"urn:a2a-task-server:task:v1": {"status": "queued", "explain": told}}
    task = {"id": "T", "contextId": "C", "status": {"state": "TASK_STATE_SUBMITTED"}, "metadata": about}
    answering(monkeypatch, {"jsonrpc": "2.0", "id": 1, "result": task})
    assert main(["task", "explain", "T"]) == Exit.OK
    assert capsys.readouterr().out == (
        "task T is submitted\n  It stands behind 3 tasks.\n  and 1 more reasons; --admin shows all\n"
    )
    ended = {**task, "status": {"state": "TASK_STATE_COMPLETED"}, "metadata": {}}
    answering(monkeypatch, {"jsonrpc": "2.0", "id": 1, "result": ended})
    assert main(["task", "explain", "T"]) == Exit.OK
    assert "It has ended." in capsys.readouterr().out
    question = {"role": "ROLE_AGENT", "parts": [{"text": "Which colour?"}]}
    asking = {**ended, "status": {"state": "TASK_STATE_INPUT_REQUIRED", "message": question}}
    answering(monkeypatch, {"jsonrpc": "2.0", "id": 1, "result": asking})
    assert main(["task", "explain", "T"]) == Exit.OK
    assert capsys.readouterr().out == "task T is input-required\n  It asks its sender: Which colour?\n"


def event(kind: str, data: Json, cursor: str = "") -> str:
    return (f"id: {cursor}\n" if cursor else "") + f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def standing(task: str, state: str, **more: object) -> Json:
    return {"taskId": task, "state": state, **more}


def streams(monkeypatch: pytest.MonkeyPatch, *texts: str) -> list[httpx2.Request]:
    left = list(texts)

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, text=left.pop(0))

    return serve(monkeypatch, answer)


def test_a_batch_is_watched_in_one_stream_that_goes_on_where_it_broke(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("a2a_server.cli.admin.LONGEST_PAUSE_SECONDS", 0.0)
    first = event("task", standing("T", "working", progress={"done": 1, "total": 4, "note": "half"}))
    first += event("ready", {}, "17")
    second = event("task", standing("T", "completed"), "18") + event("end", {})
    requests = streams(monkeypatch, first, second)
    assert main(["task", "watch", "--batch", "B"]) == Exit.OK
    out, err = capsys.readouterr()
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()] == ["T  working  1/4  half", "T  completed"]
    assert "trying again" in err
    assert [dict(request.url.params) for request in requests] == [{"batch": "B"}, {"batch": "B", "after": "17"}]


def test_named_tasks_are_watched_and_bad_ends_are_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = event("task", standing("T", "failed")) + event("task", standing("U", "completed")) + event("end", {})
    [*_] = requests = streams(monkeypatch, text)
    assert main(["task", "watch", "T", "U", "--admin", "-o", "json"]) == Exit.ERROR
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {"task": standing("T", "failed")},
        {"task": standing("U", "completed")},
        {"end": {}},
    ]
    assert "task T failed" in err
    assert json.loads(requests[0].content) == {"ids": ["T", "U"]}


def test_the_table_shows_what_goes_on_first_and_obeys_no_agent() -> None:
    screen = io.StringIO()
    board = Board(Console(file=screen, width=100, height=7, force_terminal=False))
    board.show("ready", {})
    for number in range(3):
        board.show("task", standing(f"ended-{number}", "completed", title="[red]odd[/red]\x1b[2J"))
    board.show("task", standing("going", "working", progress={"done": 1, "total": 2, "note": "half\x07"}))
    board._console.print(board._render())
    shown = screen.getvalue()
    lines = shown.splitlines()
    assert lines[1].startswith("going")
    assert "half" in lines[1]
    assert "[red]odd[/red]" in lines[2]
    assert "4 tasks, 3 completed, 1 working, 1 not shown" in lines[-1]
    assert not {"\x1b", "\x07"} & set(shown)


@pytest.mark.parametrize(
    ("task", "share"),
    [
        ({}, None),
        ({"state": "completed"}, 1.0),
        ({"progress": {"done": 1, "total": 4}}, 0.25),
        ({"progress": {"done": 9, "total": 4}}, 1.0),
        ({"progress": {"fraction": 0.5}}, 0.5),
        ({"progress": {"note": "x"}}, None),
    ],
)
def test_how_far_a_task_is(task: Json, share: float | None) -> None:
    assert share_of(task) == share


def test_results_of_a_batch_page_by_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    one: Json = {"id": "T", "state": "completed", "artifacts": [{"parts": [{"text": "yes\nno"}]}]}
    other: Json = {"id": "U", "state": "failed", "artifacts": [], "message": {"parts": [{"text": "it broke"}]}}
    pages = [{"results": [one], "next": "c"}, {"results": [other]}]
    requests = answering(monkeypatch, *pages)
    assert main(["batch", "results", "B"]) == Exit.OK
    assert capsys.readouterr().out == "T  completed  yes no\nU  failed  it broke\n"
    assert [request.url.raw_path for request in requests] == [
        b"/api/v1/batches/B/results?limit=200",
        b"/api/v1/batches/B/results?limit=200&cursor=c",
    ]
    answering(monkeypatch, *pages)
    assert main(["batch", "results", "B", "-o", "json"]) == Exit.OK
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [one, other]


def test_a_batch_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failures = [{"id": "T", "title": "First", "error": {"reason": "failed", "text": "it\nbroke"}}]
    answering(monkeypatch, {"id": "B", "total": 2, "links": {"tasks": "x"}, "failures": failures})
    assert main(["batch", "show", "B"]) == Exit.OK
    words = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert words == [["id", "B"], ["total", "2"], ["failure", "First: it broke"]]


def test_a_bulk_for_all_or_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"matched": 2, "done": 0, "failed": [{"id": "U", "error": {"message": "it has ended"}}]}
    requests = answering(monkeypatch, answer)
    assert main(["task", "bulk", "cancel", "T", "U", "--atomic"]) == Exit.ERROR
    assert asked(requests[0])[2] == {"action": "cancel", "dryRun": False, "ids": ["T", "U"], "atomic": True}
    assert "1 cannot be done, so none was, the first: task U: it has ended" in capsys.readouterr().err
