"""What the documentation shows is what happens: the README's first request, every snippet, every console session."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import runpy
from pathlib import Path

import httpx2
import pytest

from a2a_server.testing import connect
from tests.acceptance.shown import PAGES, ROOT, Command, Snippet, curl_is_there, snippets, unlike
from tests.acceptance.test_cli import Served
from tests.patience import PATIENCE
from tests.services.server import free_ports

TUTORIAL = ROOT / "docs" / "tutorial.md"
PULLING = ROOT / "docs" / "pulling.md"
WORK = "await asyncio.sleep(0.4)"
HELD_WORK = """while line > 1 and not __import__("os").path.exists("followed"):
                await asyncio.sleep(0.05)"""
"""What the tutorial's agent does between two lines: behind the third one it waits until somebody follows the task."""
WAITS = {
    "sleep 2; ": "until a2a-server task get $task 2>&1 | grep -q input-required; do sleep 0.1; done; ",
    "sleep 1.5; kill": "until a2a-server task get $task -o json 2>&1 | grep -q '3. Ferries'; do sleep 0.1; done; kill",
    "task subscribe $task": 'task subscribe $task | while IFS= read -r line; do echo "$line"; touch followed; done',
}
"""What a reader's sleeps are for, since how long they have to be is the machine's matter."""
SNIPPETS = [
    pytest.param(snippet, id=f"{page.name}-{number}")
    for page in PAGES
    for number, snippet in enumerate(snippets(page), 1)
]


def test_the_first_curl_of_the_readme_is_answered_and_repeated_and_survives_a_kill(tmp_path: Path) -> None:
    shown = re.search(r"curl [^\n]*:8000/ .*?-d '(.*?)'", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    request = json.loads(shown[1])
    assert request["method"] == "tasks/send"
    served = Served(tmp_path, "demo")
    served.start()
    try:
        first = httpx2.post(served.url, json=request, timeout=PATIENCE, trust_env=False).json()["result"]
        assert first["status"]["state"] == "completed"
        assert first["artifacts"][0]["parts"] == [{"type": "text", "text": "hello"}]
        assert httpx2.post(served.url, json=request, timeout=PATIENCE, trust_env=False).json()["result"] == first
        assert served.process is not None
        served.process.kill()
        served.ended()
        served.start()
        read = {"jsonrpc": "2.0", "id": 2, "method": "tasks/get", "params": {"id": first["id"]}}
        again = httpx2.post(served.url, json=read, timeout=PATIENCE, trust_env=False).json()["result"]
        assert (again["id"], again["status"], again["artifacts"]) == (first["id"], first["status"], first["artifacts"])
    finally:
        served.stop()


@pytest.mark.parametrize("snippet", SNIPPETS)
async def test_every_snippet_runs_and_its_sessions_go_as_shown(
    snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / snippet.name).write_text(snippet.code)
    names = runpy.run_path(str(tmp_path / snippet.name))
    if snippet.page == PULLING:  # a client; tests/server/test_management_pulling.py has it work
        assert {"main", "work", "beat"} <= names.keys()
        return
    agent = names["agent"]
    agent.check()
    for name, value in names.items():
        if name.startswith("test_") and inspect.iscoroutinefunction(value):
            await value()
    if any(command.line.endswith("&") for command in snippet.sessions) and snippet.page != TUTORIAL:
        differences = await asyncio.to_thread(by_itself, snippet.sessions, tmp_path)
        assert not differences, "\n".join(differences)
    elif snippet.sessions and snippet.page != TUTORIAL:
        require_curl(snippet.sessions)
        async with connect(agent, direct_seconds=60) as server:
            port = int(server.url.rpartition(":")[2])
            differences = await asyncio.to_thread(unlike, snippet.sessions, tmp_path, port)
        assert not differences, "\n".join(differences)


def test_the_tutorial_goes_as_shown(tmp_path: Path) -> None:
    session: list[Command] = []
    found: list[str] = []
    for number, snippet in enumerate(snippets(TUTORIAL)):
        (tmp_path / f"version{number}").write_text(snippet.code.replace(WORK, HELD_WORK))
        found += [WORK] * snippet.code.count(WORK)
        session.append(Command(f"cp version{number} {snippet.name}", ""))
        for command in snippet.sessions:
            line = command.line
            for shown, instead in WAITS.items():
                found += [shown] * line.count(shown)
                line = line.replace(shown, instead)
            session.append(Command(line, command.prints))
    assert sorted(found) == sorted([WORK, *WAITS])
    differences = by_itself(session, tmp_path)
    assert not differences, "\n".join(differences)


def by_itself(session: list[Command], cwd: Path) -> list[str]:
    """As `unlike`, for a session that starts its servers itself."""
    require_curl(session)
    [port] = free_ports(1)
    return unlike(session, cwd, port)


def require_curl(session: list[Command]) -> None:
    if any("curl" in command.line for command in session) and not curl_is_there():
        pytest.skip("the page shows curl, and there is none here")
