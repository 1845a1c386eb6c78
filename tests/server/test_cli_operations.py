"""The command line against a server: each operation of the management API has a command, and each command works."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a2a_server import Agent, Retry, TaskContext
from a2a_server.cli import main
from a2a_server.cli.failures import Exit
from a2a_server.cli.rpc import Connection
from a2a_server.model.commands import OPERATIONS
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.table import Route
from tests.server.managing import Managed, managed, seen

pytestmark = pytest.mark.embedded

Json = dict[str, Any]
FOR_PROGRAMS = {
    "registerWorker": "agents that pull their work say it themselves",
    "removeWorker": "as above",
    "beatWorker": "as above",
    "claimTasks": "as above",
    "reportEvents": "as above",
    "completeTask": "as above",
    "failTask": "as above",
    "releaseTask": "as above",
}
"""Operations without a command, and why."""


def office() -> Agent:
    agent = Agent("Office")

    @agent.skill(default=True)
    async def echo(text: str) -> str:
        return text

    @agent.skill
    async def ask(task: TaskContext, text: str) -> str:
        return f"{await task.ask('how many?')} of {text}"

    @agent.skill(max_attempts=1)
    async def breaks(text: str) -> str:
        raise Retry("the site is away")

    @agent.skill
    async def remember(task: TaskContext, text: str) -> str:
        doubled = await task.step("double", _double, len(text))
        await task.checkpoint("half way", {"doubled": doubled})
        return str(doubled)

    agent.pulled_skill("elsewhere")
    return agent


def _double(number: int) -> int:
    return 2 * number


class Shell:
    """Runs commands against a server, beside its event loop, and notes what they ask it for."""

    def __init__(self, office: Managed, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
        self.office = office
        self.asked: list[tuple[str, str, bytes]] = []
        self.directory = directory
        self.err = ""
        self._capsys = capsys

    async def __call__(self, *words: str, code: int = Exit.OK) -> str:
        """What a command prints."""
        self._capsys.readouterr()
        found = await asyncio.to_thread(main, [*words, "--url", self.office.server.url])
        out, self.err = self._capsys.readouterr()
        assert found == code, (words, out, self.err)
        return out

    async def json(self, *words: str) -> Json:
        """What a command prints for programs."""
        found: Json = json.loads(await self(*words, "-o", "json"))
        return found

    async def made(self, *words: str) -> str:
        """The id of a task that `task submit` makes."""
        return (await self("task", "submit", *words)).strip()

    async def reached(self, task: str, phase: str) -> None:
        """Until the task is in the phase."""
        await seen(lambda: self.office.get(f"/tasks/{task}"), lambda found: found["phase"] == phase)

    def file(self, *things: Json) -> str:
        """The name of a file that holds them, a line each."""
        path = self.directory / f"{len(list(self.directory.iterdir()))}.json"
        path.write_text("".join(f"{json.dumps(thing)}\n" for thing in things))
        return str(path)


@pytest.fixture
async def shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    files = tmp_path / "files"
    files.mkdir()
    async with managed(office()) as server:
        found = Shell(server, capsys, files)
        real = Connection.__init__

        class Noting(httpx2.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                content = await request.aread()
                response = await super().handle_async_request(request)
                if response.status_code < 300:
                    found.asked.append((request.method, request.url.raw_path.decode().partition("?")[0], content))
                return response

        def noting(self: Connection, url: str, token: str = "") -> None:
            real(self, url, token, Noting())

        monkeypatch.setattr(Connection, "__init__", noting)
        yield found


async def test_each_operation_has_a_command(shell: Shell) -> None:
    """Everything is done once; the server's own table says whether anything was left out."""
    await _tasks(shell)
    await _detail(shell)
    await _batches(shell)
    await _kept(shell)
    await _server(shell)
    routes: list[Route] = list(await shell.office.system.routes())
    reached = {_operation(routes, method, path) for method, path, _ in shell.asked}
    for _, path, content in shell.asked:
        if path.endswith("/agents/task-manager"):
            reached.add(json.loads(content)["params"]["message"]["parts"][0]["data"]["operation"])
    operations = {route.operation for route in routes} | {"describe", *OPERATIONS}
    # What is left over has no command, or has one in spite of its reason.
    assert operations - reached == FOR_PROGRAMS.keys()


def _operation(routes: list[Route], method: str, path: str) -> str:
    if path == f"{PREFIX}/openapi.json":
        return "describe"
    fits = [
        route
        for route in routes
        if route.method == method and re.fullmatch(PREFIX + re.sub(r"\{\w+\}", "[^/]+", route.path), path)
    ]
    fits.sort(key=lambda route: len(route.variables))
    return fits[0].operation if fits else ""


async def _tasks(shell: Shell) -> None:
    await shell("queue", "pause", "echo", "--reason", "tea")
    first, other = await shell.made("one"), await shell.made("two", "--run-at", "2098-01-01T00:00:00Z")
    await _changes(shell, other)
    await _ties(shell, first, other)
    await shell("task", "explain", first, "--admin")
    await shell("task", "reprioritise", first, "low")
    await shell("task", "list", "--admin")
    await shell("task", "result", other)
    assert shell.err == "the task is submitted\n"
    never = await shell.made("three", "--run-at", "2098-01-01T00:00:00Z")
    assert await shell("task", "cancel", never, "--admin") == f"task {never} is canceled\n"
    await shell("task", "bulk", "delete", never)
    await shell("queue", "resume", "echo")
    await shell("task", "watch", "--admin", first)
    await shell("task", "feedback", first, "--rating", "4")
    again = (await shell("task", "retry", first, "--text", "anew", "--unique-key", "k")).strip()
    assert (await shell("task", "retry", first, "--text", "anew", "--unique-key", "k")).strip() == again
    await shell.reached(again, "final")
    await shell("task", "delete", again)


async def _changes(shell: Shell, other: str) -> None:
    await shell("task", "change", other, "--title", "Old", "--tag", "a")
    for words in (["--title", "Dry"], ["--add-tag", "dry"], [shell.file({"title": "Dry"}), "--replace"]):
        shown = await shell.json("task", "change", other, *words, "--dry-run")
        assert "Dry" in shown["title"] or "dry" in shown["tags"]
        shown = await shell.json("task", "show", other)
        assert (shown["title"], shown["tags"]) == ("Old", ["a"])
    assert await shell("task", "delete", other, "--cancel", "--dry-run") == (
        f"task {other} would be canceled and then deleted\n"
    )
    await shell("task", "delete", other, "--dry-run", code=Exit.ERROR)
    shown = await shell.json("task", "change", other, "--title", "New", "--add-tag", "b", "--remove-tag", "a")
    assert (shown["title"], shown["tags"]) == ("New", ["b"])
    shown = await shell.json("task", "change", other, "--add-tag", "c", "--remove", "title", "--priority", "high")
    assert (shown.get("title"), shown["tags"], shown["priority"]) == (None, ["b", "c"], "high")
    await shell("task", "requeue", other, "--delay", "9999")
    moments = ["--run-at", "2099-01-01T00:00:00Z", "--deadline", "2099-02-01T00:00:00Z", "--max-attempts", "2"]
    words = ["--description", "Why", "--kind", "control", "--run-seconds", "7", "--metadata", '{"mine": 1}']
    shown = await shell.json("task", "change", other, *moments, *words, "--context", '{"where": "here"}')
    assert shown["runAt"].startswith("2099-01-01")
    assert (shown["description"], shown["kind"]) == ("Why", "control")
    assert (shown["timeoutSeconds"], shown["maxAttempts"]) == (7.0, 2)
    assert (shown["metadata"], shown["context"]) == ({"mine": 1}, {"where": "here"})
    old = str(shown["revision"] - 1)
    await shell("task", "change", other, "--title", "Late", "--revision", old, code=Exit.ERROR)
    assert f"is at revision {shown['revision']}; read it again" in shell.err
    await shell("task", "change", other, "--add-tag", "d", "--revision", old, code=Exit.ERROR)
    await shell("task", "delete", other, "--revision", old, code=Exit.ERROR)
    shown = await shell.json("task", "change", other, shell.file({"title": "All", "tags": ["x"]}), "--replace")
    assert (shown["title"], shown["tags"], shown.get("description")) == ("All", ["x"], None)


async def _ties(shell: Shell, first: str, other: str) -> None:
    said = await shell("task", "depend", other, "--on", first, "--on-failure", "run")
    assert said == f"task {other} depends on {first}; 1 not ended yet\n"
    parent = await shell.made("all", "--complete-when", '{"children": "all"}', "--unique-key", "once")
    assert await shell.made("all", "--unique-key", "once") == parent
    part = await shell.made("a part", "--parent", parent, "--depends-on", other, "--on-failure", "cancel")
    assert (await shell.json("task", "show", parent))["completeWhen"] == "all"
    assert [task["id"] for task in (await shell.json("task", "children", parent))["tasks"]] == [part]
    assert (await shell("task", "children", parent)).startswith(f"{part}  submitted")
    graph = await shell.json("task", "graph", other)
    assert {task["id"] for task in graph["tasks"]} == {first, other, part, parent}
    lines = (await shell("task", "graph", other)).splitlines()
    assert [len(line) - len(line.lstrip()) for line in lines] == [0, 2, 4, 6]
    assert [line.split("  ")[0] for line in map(str.strip, lines)] == [
        parent,
        f"part: {part}",
        f"after, else canceled: {other}",
        f"after, however it ends: {first}",
    ]
    assert lines[2].endswith("(this task)")
    assert "4 of more" not in shell.err
    await shell("task", "graph", other, "--limit", "2")
    assert "--limit shows up to 10000" in shell.err


async def _detail(shell: Shell) -> None:
    task = await shell.made("apples", "--skill", "ask")
    await shell.reached(task, "paused")
    assert await shell("task", "answer", task, "three", "--message-id", "m")
    await shell.reached(task, "final")
    assert await shell("task", "result", task) == "three of apples\n"
    said = [line.split("  ", 2)[1:] for line in (await shell("task", "messages", task)).splitlines()]
    assert said == [["user", "apples"], ["agent", "how many?"], ["user", "three"]]
    events = (await shell.json("task", "events", task))["events"]
    numbers = [event["n"] for event in events]
    assert numbers == sorted(numbers)
    lines = (await shell("task", "events", task)).splitlines()
    assert [int(line.split()[0]) for line in lines] == numbers
    assert any("input-required  how many?" in line for line in lines)
    assert any("three of apples" in line for line in lines)
    some = ["--after", str(numbers[0]), "--limit", "2"]
    assert (await shell.json("task", "events", task, *some))["events"] == events[1:3]
    await shell("task", "events", task, "--limit", "1")
    assert "the first 1 events; --limit 0 shows all" in shell.err
    await shell("task", "journal", task)
    artifacts = (await shell.json("task", "artifacts", task))["artifacts"]
    assert (await shell("task", "artifacts", task)).startswith(artifacts[0]["id"])
    task = await shell.made("four", "--skill", "remember")
    await shell.reached(task, "final")
    assert await shell("task", "steps", task) == "double:1  run 1  8\n"
    assert await shell("task", "checkpoints", task) == 'half way  run 1  {"doubled": 8}\n'
    assert (await shell.json("task", "checkpoints", task))["values"][0]["value"] == {"doubled": 8}
    await shell("task", "steps", "nothing", code=Exit.ERROR)


async def _batches(shell: Shell) -> None:
    assert await shell("batch", "submit", shell.file({"text": "a"}, {"text": "#0"}), "--dry-run") == ""
    assert shell.err == "2 of 2 tasks would be submitted\n"
    batch = (await shell("batch", "submit", shell.file({"text": "a"}, {"text": "b"}))).strip()
    await shell("task", "watch", "--batch", batch)
    await shell("batch", "show", batch)
    assert len((await shell("batch", "results", batch)).splitlines()) == 2


async def _kept(shell: Shell) -> None:
    daily = {"id": "S", "cron": "0 9 * * *", "message": {"parts": [{"text": "clean up"}]}}
    await shell("schedule", "create", shell.file(daily))
    revision = (await shell.json("schedule", "show", "S"))["revision"]
    await shell("schedule", "change", "S", shell.file({"description": "Daily"}), "--revision", str(revision))
    await shell("schedule", "delete", "S", "--revision", str(revision), code=Exit.ERROR)
    put = {name: value for name, value in daily.items() if name != "id"}
    assert "description" not in await shell.json("schedule", "change", "S", shell.file(put), "--replace")
    for verb in ("pause", "resume", "preview"):
        await shell("schedule", verb, "S")
    task = await shell("schedule", "trigger", "S", "--unique-key", "k")
    assert await shell("schedule", "trigger", "S", "--unique-key", "k") == task
    await shell("schedule", "list")
    await shell("schedule", "delete", "S")
    await shell("template", "create", shell.file({"name": "M", "text": "hello", "description": "x"}))
    await shell("template", "change", "M", shell.file({"text": "hallo"}))
    assert "description" not in await shell.json("template", "change", "M", shell.file({"text": "a"}), "--replace")
    for words in (["show", "M"], ["list"], ["delete", "M"]):
        await shell("template", *words)
    await shell("limit", "set", "skill:echo", "--capacity", "3")
    assert (await shell.json("limit", "show", "skill:echo"))["capacity"] == 3
    await shell("limit", "list")
    await shell("limit", "delete", "skill:echo")
    await shell("queue", "list")
    assert "name              echo" in await shell("queue", "show", "echo")
    task = await shell.made("b", "--skill", "breaks")
    await shell.reached(task, "final")
    assert (await shell("dead-letters", "list", "--reason", "attempts")).startswith(task)
    await shell("dead-letters", "list", "--reason", "poison")
    assert shell.err == "there are no dead letters\n"
    assert (await shell("dead-letters", "retry", "--reason", "attempts", "--limit", "1")).startswith(task)


async def _server(shell: Shell) -> None:
    assert "Office" in await shell("server", "about")
    assert "\nstore " in await shell("server", "settings")
    assert (await shell.json("server", "openapi"))["openapi"] == "3.1.0"
    assert "completed" in await shell("server", "counts")
    assert (await shell.json("server", "counts"))["states"]["completed"]
    await shell("server", "alerts", "--active")
    assert shell.err == "there are no alerts\n"
    assert (await shell.json("server", "alerts"))["alerts"] == []
    assert "skills" in await shell.json("server", "sizing")
    await shell("server", "sizing")
    assert await shell("retention", "run", "--admin", "--dry-run") == "0 tasks would be deleted.\n"
    assert (await shell.json("retention", "run", "--admin"))["dryRun"] is False
    worker = (await shell.office.post("/workers", {"skills": ["elsewhere"], "name": "box-7"}))["id"]
    assert worker in await shell("workers", "--admin")
    assert "box-7" in await shell("workers", worker, "--admin")
    await shell("drain", worker, "--admin")
