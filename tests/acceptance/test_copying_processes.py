"""`backup`, `restore` and `store copy` as commands, beside real servers, and killed in the middle."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2

from a2a_server.stores.sqlite_dump import PAGE_ROWS
from tests.acceptance.copied import entries, fill, keep, object_name, rows_of, settings_in
from tests.acceptance.test_cli import COMMAND, Served
from tests.acceptance.waiting import until
from tests.patience import PATIENCE

WORKBENCH = "a2a_server.examples.workbench:agent"
HELD = str(Path(__file__).with_name("held.py"))
KILLED = """
import os, signal, sys
from a2a_server.cli import main
from a2a_server.stores import sqlite

fill, pages = sqlite.fill, 0

def fill_until_half(db, table, records):
    global pages
    filled = fill(db, table, records)
    pages += table == "task"
    if pages == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return filled

sqlite.fill = fill_until_half
main(sys.argv[1:])
"""
"""The command line, killed when a copy has written its sixth page of tasks, and not committed it."""


def command(directory: Path, *words: str, program: tuple[str, ...] = (COMMAND,)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, *words], cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def done(directory: Path, *words: str) -> str:
    """What the command prints; it worked."""
    ended = command(directory, *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def refused(directory: Path, *words: str) -> str:
    """The one line in which the command says why not."""
    ended = command(directory, *words)
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


def asked(served: Served, method: str, **params: object) -> Any:  # noqa: ANN401 - JSON
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    headers = {"A2A-Version": "1.0"}
    return httpx2.post(served.url, json=request, headers=headers, timeout=PATIENCE, trust_env=False).json()


def task_of(served: Served, id: str) -> Any:  # noqa: ANN401 - JSON
    return asked(served, "GetTask", id=id)["result"]


def is_in(served: Served, id: str, state: str) -> bool:
    return bool(task_of(served, id)["status"]["state"] == f"TASK_STATE_{state}")


def sent(served: Served, text: str, task: str = "", skill: str = "workbench") -> str:
    message = {"messageId": f"{text} {task}", "role": "ROLE_USER", "parts": [{"text": text}]}
    named = {"taskId": task} if task else {}
    options = {"urn:a2a-task-server:task-options:v1": {} if task else {"skill": skill}}
    given = {"message": message | named, "metadata": options, "configuration": {"returnImmediately": True}}
    answer = asked(served, "SendMessage", **given)
    return str(answer["result"]["task"]["id"])


def text_of(task: Any) -> str:  # noqa: ANN401 - JSON
    return "".join(part["text"] for artifact in task["artifacts"] for part in artifact["parts"])


def test_a_running_server_is_backed_up_and_all_its_tasks_end_where_they_are_restored(tmp_path: Path) -> None:
    live, again = tmp_path / "live", tmp_path / "again"
    live.mkdir()
    again.mkdir()
    served = Served(live, "run", HELD)
    served.start()
    try:
        ended, large, asks = sent(served, "echo before"), sent(served, "blob 300000"), sent(served, "ask 1")
        until(lambda: is_in(served, ended, "COMPLETED") and is_in(served, large, "COMPLETED"))
        until(lambda: is_in(served, asks, "INPUT_REQUIRED"))
        runs = {sent(served, f"{number} {tmp_path}/go-on", skill="held"): number for number in (16, 18, 20)}
        until(lambda: all("chunk 1" in json.dumps(task_of(served, id)) for id in runs))
        before = task_of(served, ended)
        told = done(live, "backup", "../backup")
        assert re.fullmatch(r"\.\./backup holds 6 tasks \(.*\) and 1 object \(.*\)\.\n", told)
        assert all(is_in(served, id, "WORKING") for id in runs)
        later = sent(served, "echo later")
        assert "serves a2a.db: stop it first." in refused(live, "restore", "../backup")
        assert "stop it first; or, with --live" in refused(live, "store", "copy", "sqlite:///a2a.db", "sqlite:///b.db")
    finally:
        served.stop(signal.SIGKILL)
    done(again, "restore", "../backup", "--verify-only")
    assert entries(again) == []
    done(again, "restore", "../backup")
    served = Served(again, "run", HELD)
    served.start()
    try:
        assert relative(task_of(served, ended)) == relative(before)
        sent(served, "the answer", asks)
        (tmp_path / "go-on").touch()
        for id, number in runs.items():
            until(lambda id=id: is_in(served, id, "COMPLETED"))  # type: ignore[misc]  # bound at once
            assert text_of(task_of(served, id)).count("chunk") == number
        until(lambda: is_in(served, asks, "COMPLETED"))
        assert "error" in asked(served, "GetTask", id=later)
        (file,) = task_of(served, large)["artifacts"][0]["parts"]
        assert len(httpx2.get(file["url"], trust_env=False).content) == 300_000
    finally:
        assert served.stop() == 0


def relative(task: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(re.sub(r"http://127\.0\.0\.1:\d+", "", json.dumps(task)))


async def test_a_copy_that_was_killed_is_no_store_until_it_goes_on(tmp_path: Path) -> None:
    origin, goal = settings_in(tmp_path), settings_in(tmp_path, f"sqlite:///{tmp_path / 'goal.db'}")
    await fill(origin, 5000)
    words = ("store", "copy", "sqlite:///tasks.db", "sqlite:///goal.db")
    assert command(tmp_path, *words, program=(sys.executable, "-c", KILLED)).returncode == -signal.SIGKILL
    with closing(sqlite3.connect(tmp_path / "goal.db")) as db:
        rows = db.execute("SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM event)").fetchone()
    assert rows == (5 * PAGE_ROWS, 0)
    named = ("--store", "sqlite:///goal.db", "--port", "0")
    assert "this store holds a part of a copy of" in refused(tmp_path, "run", WORKBENCH, *named)
    assert "this store holds a part of a copy of" in refused(tmp_path, "backup", "b", "--store", "sqlite:///goal.db")
    assert done(tmp_path, *words).startswith("Copied 5,000 tasks (10,")
    assert await rows_of(goal) == await rows_of(origin, "worker")


async def test_commands_say_what_they_did(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await fill(settings)
    await keep(settings, a=b"aaa")
    named = ("--store", "sqlite:///tasks.db", "--artifacts", "file:artifacts")
    told = json.loads(done(tmp_path, "backup", "b", *named, "-o", "json"))
    assert (told["path"], told["tasks"], told["objects"]) == ("b", 5, {"count": 1, "bytes": 3, "missing": 0})
    assert told["tables"]["event"]["rows"] == 7
    assert json.loads(done(tmp_path, "restore", "b", "--verify-only", "-o", "json")) == told
    assert done(tmp_path, "restore", "b", "--store", "sqlite:///r.db", "--artifacts", "file:r") == (
        "Restored 5 tasks (30 rows in all) and 1 object (3 bytes); they were read back, and are the same.\n"
    )
    copied = done(tmp_path, "store", "copy", "sqlite:///r.db", "sqlite:///c.db")
    assert copied.splitlines() == [
        "Copied 5 tasks (30 rows in all); the copy was read back, and is the same.",
        "Large content was left where it is; --artifacts-from and --artifacts-to copy it too.",
    ]
    both = ("--artifacts-from", "file:r", "--artifacts-to", "file:d")
    assert "1 object (3 bytes)" in done(tmp_path, "store", "copy", "sqlite:///r.db", "sqlite:///d.db", *both)
    assert "give both of" in refused(tmp_path, "store", "copy", "sqlite:///r.db", "sqlite:///e.db", *both[:2])
    assert "store (flag): the scheme 'oracle'" in refused(tmp_path, "store", "copy", "oracle://r", "sqlite:///e.db")
    (tmp_path / "other").mkdir()
    warned = command(tmp_path, "backup", "w", "--store", "sqlite:///r.db", "--artifacts", "file:other")
    assert (warned.returncode, warned.stdout) == (0, "w holds 5 tasks (30 rows in all).\n")
    assert warned.stderr == (
        f"a2a-server: 1 object named by tasks, but not found in other (the first: {object_name('a')}); is this the "
        "artifact store of these tasks?\n"
    )
    (tmp_path / "b" / "event.jsonl.gz").unlink()
    damaged = command(tmp_path, "restore", "b", "--verify-only")
    assert (damaged.returncode, damaged.stdout) == (1, "")
    assert damaged.stderr == (
        "a2a-server: b/event.jsonl.gz is damaged: what is in it is not what was written. Use another backup.\n"
    )
