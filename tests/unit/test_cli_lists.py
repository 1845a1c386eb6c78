"""`task list` and `task watch`: filters, pages, lines, and how they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import get_args

import httpx2
import pytest

from a2a_server.cli import main
from a2a_server.cli.listing import Phase, State, Status, filters_of
from a2a_server.cli.target import Target
from a2a_server.cli.watching import MOST_WATCHED, Lines
from a2a_server.model.management import PHASE_WORDS, STATE_WORDS, STATUS_WORDS
from a2a_server.model.objects import PROGRESS_URI
from tests.unit.cli_servers import Json, events, method, params, result, serve, status, task

NOW = datetime(2026, 5, 28, 12, 0, 0, tzinfo=UTC)


def pages(monkeypatch: pytest.MonkeyPatch, total: int) -> list[httpx2.Request]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = params(request)
        begin = int(asked.get("pageToken") or 0)
        end = min(total, begin + asked["pageSize"])
        tasks = [task(f"t{number}") for number in range(begin, end)]
        following = str(end) if end < total else ""
        return result(request, {"tasks": tasks, "nextPageToken": following, "pageSize": len(tasks), "totalSize": total})

    return serve(monkeypatch, answer)


@pytest.mark.parametrize(
    ("limit", "shown", "sizes"), [("0", 230, [100, 100, 100]), ("150", 150, [100, 50]), ("3", 3, [3])]
)
def test_pages_are_followed_to_the_limit(
    limit: str, shown: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = pages(monkeypatch, 230)
    assert main(["task", "list", "--limit", limit]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == [f"t{number}" for number in range(shown)]
    assert [params(request)["pageSize"] for request in asked] == sizes
    assert err == ("" if shown == 230 else f"{shown} of 230 tasks; --limit 0 lists all\n")


def test_a_list_as_json_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pages(monkeypatch, 2)
    assert main(["task", "list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"tasks": [task("t0"), task("t1")], "totalSize": 2}


def test_filters_go_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pages(monkeypatch, 0)
    words = ["--context", "C", "--state", "input-required", "--since", "2026-05-28T10:00:00+02:00"]
    assert main(["task", "list", *words]) == 0
    assert params(asked[0]) == {
        "contextId": "C",
        "status": "TASK_STATE_INPUT_REQUIRED",
        "statusTimestampAfter": "2026-05-28T08:00:00.000Z",
        "pageSize": 50,
        "historyLength": 0,
    }


@pytest.mark.parametrize(
    ("since", "at"),
    [
        ("90s", "2026-05-28T11:58:30.000Z"),
        ("15m", "2026-05-28T11:45:00.000Z"),
        ("2h", "2026-05-28T10:00:00.000Z"),
        ("7d", "2026-05-21T12:00:00.000Z"),
    ],
)
def test_since_may_be_a_time_ago(since: str, at: str) -> None:
    assert filters_of("", None, since, now=lambda: NOW) == {"statusTimestampAfter": at}


@pytest.mark.parametrize("words", [["--since", "soon"], ["--since", "999999999d"], ["--limit", "-1"], ["--state", "x"]])
def test_filters_that_cannot_be_are_usage_errors(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "list", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_words_are_the_management_apis_own() -> None:
    assert set(get_args(State)) == STATE_WORDS.keys()
    assert set(get_args(Status)) == set(STATUS_WORDS)
    assert set(get_args(Phase)) == PHASE_WORDS.keys()


@pytest.mark.parametrize("words", [["--status", "failed"], ["--phase", "held"], ["--filter", "tag=a"]])
def test_what_only_operators_filter_by_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["task", "list", *words]) == 2
    assert (
        capsys.readouterr().err == f"a2a-server: {words[0]} needs --admin; without it there is --state, an A2A state\n"
    )


def test_pages_that_go_in_a_circle_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve(
        monkeypatch,
        lambda request: result(request, {"tasks": [task("t")], "nextPageToken": "same", "totalSize": 9}),
    )
    assert main(["task", "list", "--limit", "0"]) == 1
    assert "do not go on" in capsys.readouterr().err


def streams(monkeypatch: pytest.MonkeyPatch, listed: list[list[Json]], **items: list[Json]) -> list[httpx2.Request]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if method(request) == "ListTasks":
            tasks = listed.pop(0) if len(listed) > 1 else listed[0]
            return result(request, {"tasks": tasks, "nextPageToken": "", "totalSize": len(tasks)})
        return events(request, *items[params(request)["id"]])

    return serve(monkeypatch, answer)


def test_several_tasks_are_watched_to_their_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = {PROGRESS_URI: {"done": 1, "total": 4, "note": "reading"}}
    streams(
        monkeypatch,
        [[]],
        a=[{"task": task("a", "WORKING")}, status("a", "WORKING", metadata=note), status("a", "COMPLETED")],
        b=[{"task": task("b", "WORKING")}, status("b", "FAILED", "the disk\nis full")],
    )
    assert main(["task", "watch", "a", "b", "a"]) == 1
    out, err = capsys.readouterr()
    lines = [line[10:] for line in out.splitlines()]
    assert [line for line in lines if line.startswith("a")] == ["a  working", "a  working  1/4 reading", "a  completed"]
    assert [line for line in lines if line.startswith("b")] == ["b  working", "b  failed  the disk is full"]
    assert err == "a2a-server: task b failed\n"


def test_watching_as_json_is_one_line_an_event(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [{"task": task("a", "WORKING")}, status("a", "COMPLETED")]
    streams(monkeypatch, [[]], a=items)
    assert main(["task", "watch", "a", "-o", "json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == items


def test_a_conversation_is_watched_with_the_tasks_that_begin_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, first, second = task("old"), task("a", "WORKING"), task("b", "WORKING")
    listed = [[ended, first], [first, second], [second]]
    asked = streams(
        monkeypatch,
        listed,
        a=[{"task": first}, status("a", "COMPLETED")],
        b=[{"task": second}, status("b", "COMPLETED")],
    )
    assert main(["task", "watch", "--context", "C"]) == 0
    out = capsys.readouterr().out
    assert out.count("  completed") == 2
    assert "old" not in out
    lists = [params(request) for request in asked if method(request) == "ListTasks"]
    assert lists[0].get("statusTimestampAfter") is None
    assert lists[1]["statusTimestampAfter"] == "2026-05-28T10:00:00.000Z"


def test_a_conversation_without_tasks_or_with_ended_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streams(monkeypatch, [[]])
    assert main(["task", "watch", "--context", "C"]) == 1
    streams(monkeypatch, [[task("a")], []])
    assert main(["task", "watch", "--context", "C"]) == 0
    assert "every task of the conversation has ended" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["a", "--context", "C"], [f"t{number}" for number in range(MOST_WATCHED + 1)]])
def test_what_cannot_be_watched(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streams(monkeypatch, [[]], **{f"t{number}": [{"task": task("t")}] for number in range(MOST_WATCHED + 1)})
    assert main(["task", "watch", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    if len(words) <= MOST_WATCHED:
        assert all(way in said for way in ("--batch", "--filter", "--context"))


def test_a_question_is_a_line_with_the_command_that_answers_it() -> None:
    lines = Lines(Target(url="http://agent.example"), lambda: NOW)
    line = lines.of(status("t", "INPUT_REQUIRED", "Which?"))
    assert line == (
        '12:00:00  t  input-required  Which?  answer with: a2a-server send --task t --url http://agent.example "…"'
    )
    chunk = {"artifactUpdate": {"taskId": "t", "artifact": {"artifactId": "a", "parts": [{"text": "one\ntwo"}]}}}
    assert lines.of(chunk) == "12:00:00  t  artifact a  one two"
