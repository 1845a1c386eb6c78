"""Commands that change a task, show what is known of one, or ask the server about itself: what is sent and shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import get_args

import httpx2
import pytest
from rich.console import Console

from a2a_server.cli import main
from a2a_server.cli.board import Board
from a2a_server.cli.changing import Kind, retagged
from a2a_server.cli.details import DEEPEST, tree
from a2a_server.cli.failures import Exit
from a2a_server.cli.managing import OnFailure
from a2a_server.cli.queues import Dead
from a2a_server.lifecycle import dead_letters
from a2a_server.model.options import OnDependencyFailure, TaskOptions
from tests.unit.cli_servers import Json, serve
from tests.unit.test_cli_admin import TASK, answering, asked


def test_the_words_are_the_server_s() -> None:
    assert get_args(Dead) == tuple(dead_letters.Dead)
    assert get_args(OnFailure) == tuple(OnDependencyFailure)
    assert ("", *get_args(Kind)) == get_args(TaskOptions.model_fields["kind"].annotation)


@pytest.mark.parametrize(
    ("words", "request_", "body"),
    [
        (["task", "change", "T", "--title", "", "--tag", "a", "--run-seconds", "5"], "PATCH /api/v1/tasks/T", {
            "title": "", "tags": ["a"], "timeoutSeconds": 5.0,
        }),
        (["task", "change", "T", "--remove", "run-at", "--remove", "tags", "--parameters", '{"a": null}'],
         "PATCH /api/v1/tasks/T", {"runAt": None, "tags": None, "parameters": {"a": None}}),
        (["task", "depend", "T", "--on", "A", "--on", "B"], "POST /api/v1/tasks/T/dependencies", {
            "dependsOn": ["A", "B"],
        }),
        (["task", "answer", "T", "three", "--data", "[3]"], "POST /api/v1/tasks/T/messages", {
            "parts": [{"text": "three"}, {"data": [3]}],
        }),
        (["task", "submit", "x", "--complete-when", "2"], "POST /api/v1/tasks", {"text": "x", "completeWhen": "2"}),
        (["task", "submit", "x", "--complete-when", '{"checks": ["a"]}', "--parent", "P"], "POST /api/v1/tasks", {
            "text": "x", "completeWhen": {"checks": ["a"]}, "parentTaskId": "P",
        }),
        (["task", "retry", "T", "--parameters", '{"a": 1}'], "POST /api/v1/tasks/T/retry", {"parameters": {"a": 1}}),
        (["task", "bulk", "delete", "--filter", "tag=a", "--limit", "5"], "POST /api/v1/tasks/bulk", {
            "action": "delete", "dryRun": False, "filter": {"tag": ["a"]}, "limit": 5,
        }),
        (["dead-letters", "retry", "--reason", "poison"], "POST /api/v1/dead-letters/retry", {"reason": "poison"}),
        (["retention", "run", "--admin", "--dry-run"], "POST /api/v1/retention", {"dryRun": True}),
        (["server", "about"], "GET /api/v1", None),
        (["workers", "--admin", "--dead"], "GET /api/v1/workers?dead=true", None),
        (["workers", "W", "--admin"], "GET /api/v1/workers/W", None),
    ],
)  # fmt: skip
def test_what_a_command_asks_for(
    words: list[str], request_: str, body: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = answering(monkeypatch, TASK)
    assert main(words) == Exit.OK
    [request] = requests
    method, target, given = asked(request)
    assert (f"{method} {target}", given) == (request_, body)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task", "change", "T"], "nothing to change"),
        (["task", "change", "T", "--replace", "--title", "a"], "--replace needs a file"),
        (["task", "change", "T", "--tag", "a", "--add-tag", "b"], "not both"),
        (["task", "change", "T", "--remove", "tags", "--remove-tag", "b"], "not both"),
        (["task", "change", "T", "--parameters", "[]"], "--parameters must be a JSON object"),
        (["task", "change", "T", "/nowhere/there.json"], "cannot be read"),
        (["task", "change", "T", "--remove", "state"], "--remove"),
        (["task", "depend", "T"], "--on"),
        (["task", "answer", "T"], "give a text or --data"),
        (["task", "submit", "x", "--complete-when", "{"], "--complete-when is not JSON"),
        (["task", "events", "T", "--limit", "-1"], "0 = all"),
        (["dead-letters", "retry", "T", "--reason", "poison"], "not both"),
        (["workers", "W"], "--admin"),
    ],
)
def test_what_cannot_be_asked_for(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requests = answering(monkeypatch, TASK)
    assert main(words) == Exit.USAGE
    assert said in capsys.readouterr().err
    assert not requests


def test_a_tag_is_added_to_those_that_are_there_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else changes the task in between: it is read again, and nothing of theirs is lost."""
    tags = [["a"], ["a", "theirs"]]
    patches = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json={**TASK, "tags": tags[0], "revision": 8 - len(tags)})
        patches.append((request.headers["if-match"], json.loads(request.content)))
        if len(tags) > 1:
            tags.pop(0)
            return httpx2.Response(412, json={"error": {"code": 412, "message": "Read it again."}})
        return httpx2.Response(200, json=TASK)

    serve(monkeypatch, answer)
    assert main(["task", "change", "T", "--title", "x", "--add-tag", "b", "--remove-tag", "a"]) == Exit.OK
    assert patches == [('"6"', {"title": "x", "tags": ["b"]}), ('"7"', {"title": "x", "tags": ["theirs", "b"]})]


def test_a_task_that_never_stands_still(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": {"code": 412, "message": "Read it again."}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=TASK) if request.method == "GET" else httpx2.Response(412, json=error)

    serve(monkeypatch, answer)
    assert main(["task", "change", "T", "--add-tag", "b"]) == Exit.ERROR
    assert "say all its tags with --tag" in capsys.readouterr().err


def test_tags_are_there_once() -> None:
    assert retagged(["a", "b"], ["b", "c", "c"], ["a"]) == ["b", "c"]


def test_a_revision_is_named_as_it_is_matched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "change.json"
    file.write_text('{"description": null}')
    for words, method in (
        (["task", "change", "T", str(file)], "PATCH"),
        (["task", "change", "T", str(file), "--replace"], "PUT"),
        (["task", "delete", "T"], "DELETE"),
        (["schedule", "change", "T", str(file)], "PATCH"),
        (["template", "change", "T", str(file), "--replace"], "PUT"),
        (["template", "delete", "T"], "DELETE"),
    ):
        [*_] = requests = answering(monkeypatch, TASK)
        assert main([*words, "--revision", "7"]) == Exit.OK
        assert (requests[0].method, requests[0].headers["if-match"]) == (method, '"7"')
        if method != "DELETE":
            assert json.loads(requests[0].content) == {"description": None}


def test_numbered_lists_go_on_behind_the_last_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status: Json = {"n": 1, "at": "10:00", "type": "status", "state": "working", "progress": {"done": 1, "total": 4}}
    chunk: Json = {
        "n": 2,
        "at": "10:01",
        "type": "artifact",
        "artifact": {"artifactId": "a", "parts": [{"text": "x\n"}]},
    }
    requests = answering(monkeypatch, {"events": [status], "next": 1}, {"events": [chunk]})
    assert main(["task", "events", "T", "--after", "0"]) == Exit.OK
    assert capsys.readouterr().out == "1  10:00  working  1/4\n2  10:01  artifact a  x\n"
    assert [dict(request.url.params) for request in requests] == [{"limit": "1000"}, {"limit": "1000", "after": "1"}]
    requests = answering(monkeypatch, {"events": [status], "next": 1}, {"events": [chunk], "next": 2})
    assert main(["task", "events", "T", "--limit", "2", "-o", "json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"events": [status, chunk]}
    assert [dict(request.url.params)["limit"] for request in requests] == ["2", "1"]
    entry = {"n": 4, "at": "10:02", "kind": "crash", "data": {"worker": "w"}}
    answering(monkeypatch, {"entries": [entry]})
    assert main(["task", "journal", "T"]) == Exit.OK
    assert capsys.readouterr().out == "4  10:02  crash  worker w\n"
    answering(monkeypatch, {"entries": []})
    assert main(["task", "journal", "T"]) == Exit.OK
    assert capsys.readouterr().err == "there are no journal entries\n"


def node(id: str) -> Json:
    return {"id": id, "skill": "echo", "state": "submitted", "status": "queued"}


def edge(lower: str, upper: str, kind: str = "fail") -> Json:
    return {"from": lower, "to": upper, "kind": kind}


def test_a_graph_is_a_tree_that_says_everything_once() -> None:
    """D waits for B and C, which both wait for A; A is a part of P."""
    graph = {
        "tasks": [node(id) for id in "ABCDP"],
        "edges": [edge("A", "B"), edge("A", "C"), edge("B", "D"), edge("C", "D", "run"), edge("P", "A", "child")],
    }
    rest = "  submitted  queued  echo"
    assert list(tree(graph, "C")) == [
        f"D{rest}",
        f"  after: B{rest}",
        f"    after: A{rest}",
        f"  after, however it ends: C{rest}  (this task)",
        f"    after: A{rest}",
        f"P{rest}",
        f"  part: A{rest}",
    ]
    lines = list(tree({"tasks": graph["tasks"], "edges": [*graph["edges"], edge("P", "C")]}, ""))
    assert [line.strip() for line in lines].count(f"part: A{rest}") == 1


def test_a_long_chain_stays_on_the_screen() -> None:
    ids = [str(number) for number in range(5000)]
    ties = [edge(lower, upper) for lower, upper in zip(ids[1:], ids[:-1], strict=True)]
    lines = list(tree({"tasks": [node(id) for id in ids], "edges": ties}, "0"))
    assert len(lines) == len(ids)
    assert max(len(line) - len(line.lstrip()) for line in lines) == 2 * DEEPEST


def told(state: str, *parts: Json, text: str = "") -> Json:
    status = {"state": f"TASK_STATE_{state}", "message": {"role": "ROLE_AGENT", "parts": [{"text": text}]}}
    task = {"id": "M", "contextId": "C", "status": status, "artifacts": [{"artifactId": "a", "parts": list(parts)}]}
    return {"jsonrpc": "2.0", "id": 1, "result": {"task": task}}


def test_alerts_come_from_the_task_manager(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    alert = {"text": "Too many fail.", "active": True, "since": "10:00"}
    data = {"alerts": [alert, {**alert, "active": False}]}
    requests = answering(monkeypatch, told("COMPLETED", {"data": data}, {"text": "Too many."}))
    assert main(["server", "alerts", "--active"]) == Exit.OK
    assert capsys.readouterr().out == "10:00  active  Too many fail.\n10:00  over    Too many fail.\n"
    assert requests[0].url.path == "/agents/task-manager"
    [part] = json.loads(requests[0].content)["params"]["message"]["parts"]
    assert part == {"data": {"operation": "listAlerts", "active": True}}
    answering(monkeypatch, told("FAILED", text="What concerns the server is told on its own machine."))
    assert main(["server", "alerts"]) == Exit.ERROR
    assert "on its own machine" in capsys.readouterr().err


def test_counts_and_sizes_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    needing = [{"skill": "echo", "requires": {"tags": ["gpu"]}, "phases": {"ready": 1}}]
    counts = {"states": {"working": 2}, "queues": {"echo": {"leased": 2, "ready": 1}}, "needing": needing}
    answering(monkeypatch, told("COMPLETED", {"data": counts}))
    assert main(["server", "counts"]) == Exit.OK
    assert [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()] == [
        ["all", "working 2"],
        ["echo", "leased 2, ready 1"],
        ["echo", "ready 1, needing tags gpu"],
    ]
    size = {"skill": "echo", "runs": 9, "durationSeconds": {"median": 1.0, "p95": 2.5}, "suggested": {"cpu": 1.5}}
    answering(monkeypatch, told("COMPLETED", {"data": {"skills": [size]}}))
    assert main(["server", "sizing"]) == Exit.OK
    assert capsys.readouterr().out == "echo  9 runs, 1 s (median), 2.5 s (p95); suggested: cpu 1.5\n"


def test_what_a_server_s_retention_did(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    states = {"failed": {"retired": 3, "waiting": 1, "oldestDays": 91.4}}
    answering(monkeypatch, {"dryRun": False, "archived": 0, "states": states})
    assert main(["retention", "run", "--admin"]) == Exit.OK
    assert capsys.readouterr().out.splitlines() == [
        "failed            3  the oldest ended 91 days ago, 1 more wait for others",
        "3 tasks were deleted.",
    ]
    one = {"failed": {"retired": 1, "waiting": 0, "oldestDays": 91.4}}
    answering(monkeypatch, {"dryRun": False, "archived": 0, "states": one})
    assert main(["retention", "run", "--admin"]) == Exit.OK
    assert capsys.readouterr().out.endswith("\n1 task was deleted.\n")


def test_the_table_has_a_bar_for_all_where_their_number_is_known() -> None:
    screen = io.StringIO()
    board = Board(Console(file=screen, width=100, height=20, force_terminal=False))
    board.show("task", {"taskId": "T", "state": "completed"})
    board.show("ready", {"totals": {"total": 1200, "ended": 1}})
    board.show("totals", {"total": 1200, "ended": 300})
    board.show("task", {"taskId": "U", "state": "working"})
    board._console.print(board._render())
    lines = screen.getvalue().splitlines()
    assert lines[-2].startswith("all ")
    assert lines[-2].rstrip().endswith("300 of 1,200 have ended")
    assert lines[-1].startswith("2 tasks")
