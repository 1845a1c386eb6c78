"""`check`, `config show` and the documents' `--validate-…`: what they say, how they end, and that they make nothing."""

from __future__ import annotations

import asyncio
import fcntl
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from a2a_server.cli import checking_words, main
from a2a_server.stores.sqlite import SqliteStore

AGENT = """
from a2a_server import Agent
agent = Agent("Echo")

@agent.skill
async def echo(text: str) -> str:
    return text
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    code = main(["check", *words, "-o", "json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["ok"] is (code == 0)
    return code, {one["check"]: (one["ok"], one["text"]) for one in told["checks"]}


def test_everything_is_checked_and_nothing_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "OK"] for name in ("config", "queues", "card", "store")]
    assert "does not exist yet; the first start makes it" in lines[3]
    assert list(here.iterdir()) == []


def test_only_what_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(checked(capsys, "queues")[1]) == ["queues"]
    assert list(checked(capsys, "store", "card", "store")[1]) == ["store", "card"]
    assert main(["check", "nonsense"]) == 2


def test_settings_that_cannot_be_used_stop_what_needs_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = checked(capsys, "--port", "99999")
    assert code == 1
    assert found["config"] == (False, "port (flag): must be at most 65535")
    assert found["queues"][0] is found["store"][0] is False
    assert found["card"][0] is True
    code, found = checked(capsys, "queues", "--queue", "kafka://x")
    assert (code, found["config"][0]) == (1, False)


@pytest.mark.parametrize(
    ("options", "words", "said"),
    [
        ("priority: nosuch", (), "templates.bad.options.priority must be critical, high, normal, low, backlog"),
        (
            "requires: {resources: {tpu: 1}}",
            (),
            'templates.bad.options.requires.resources.tpu: there is no resource "t',
        ),
        ("skill: nosuch", ("--agent", "a.py"), 'templates.bad.options.skill: this agent has no skill "nosuch"'),
        ("parameters: {text: 5}", ("--agent", "a.py"), "templates.bad.options.parameters.text must be a valid string"),
    ],
)
def test_templates_that_no_server_would_start_with(
    here: Path, capsys: pytest.CaptureFixture[str], options: str, words: tuple[str, ...], said: str
) -> None:
    (here / "a.py").write_text(AGENT)
    (here / "c.yaml").write_text(f"templates: {{bad: {{options: {{{options}}}}}}}\n")
    code, found = checked(capsys, "config", "--config", "c.yaml", *words)
    assert code == 1
    assert found["config"][1].startswith(said)
    assert main(["run", "a.py", "--config", "c.yaml", "--port", "0"]) == 2
    assert said in capsys.readouterr().err
    (here / "c.yaml").write_text("templates: {good: {options: {skill: echo, parameters: {text: x}}}}\n")
    assert checked(capsys, "config", "--config", "c.yaml", *words)[0] == 0


def test_the_card_of_an_agent_or_of_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "echo_checked.py").write_text(AGENT)
    code, found = checked(capsys, "card", "--agent", "echo_checked.py")
    assert (code, found["card"]) == (0, (True, "echo_checked.py: the card of Echo, 1 skills"))
    code, found = checked(capsys, "card", "--agent", "nowhere.py")
    assert (code, "there is no file nowhere.py" in found["card"][1]) == (1, True)
    (here / "agent_card.json").write_text('{"name": "Echo", "nmae": 1}')
    code, found = checked(capsys, "card")
    assert (code, 'unknown member "nmae"' in found["card"][1]) == (1, True)
    (here / "agent_card.json").write_text('{"name": "Echo"}')
    assert checked(capsys, "card")[0] == 0


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def made(path: Path) -> SqliteStore:
    store = SqliteStore(path)
    await store.open()
    return store


async def test_a_database_is_looked_at_without_a_trace(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await (await made(here / "a2a.db")).close()
    before = contents(here)
    code, found = await asyncio.to_thread(checked, capsys, "store")
    assert (code, found["store"][1].startswith("a2a.db: schema version ")) == (0, True)
    assert contents(here) == before


async def test_a_database_that_is_open_and_served_can_be_checked(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = await made(here / "a2a.db")
    try:
        with (here / "a2a.db.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            code, found = await asyncio.to_thread(checked, capsys, "store")
        assert (code, "a server process serves it now" in found["store"][1]) == (0, True)
        assert "serves it now" not in (await asyncio.to_thread(checked, capsys, "store"))[1]["store"][1]
    finally:
        await store.close()


def test_what_no_server_could_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a2a.db").write_text("not a database, but long enough to have a header of sixteen bytes")
    assert "cannot be read as a SQLite database" in checked(capsys, "store")[1]["store"][1]
    (here / "a2a.db").unlink()
    with sqlite3.connect(here / "a2a.db") as db:
        db.execute("CREATE TABLE foreign_table (x)")
    db.close()
    assert "a database of another program" in checked(capsys, "store")[1]["store"][1]
    with sqlite3.connect(here / "newer.db") as db:
        db.execute("CREATE TABLE meta (name, value)")
        db.execute("INSERT INTO meta VALUES ('schema', '999')")
    db.close()
    assert "has schema version 999" in checked(capsys, "store", "--store", "sqlite:///newer.db")[1]["store"][1]
    (here / "file").touch()
    assert "no directory" in checked(capsys, "store", "--store", "sqlite:///file/x.db")[1]["store"][1]
    assert (
        "cannot hold artifacts"
        in checked(capsys, "store", "--store", "sqlite:///y.db", "--artifacts", "file:file")[1]["store"][1]
    )
    assert "is no file" in checked(capsys, "store", "--store", f"sqlite:///{here}")[1]["store"][1]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--validate-config", "check config"),
        ("--validate-queues", "check queues"),
        ("--validate-queues --validate-config", "check config queues"),
        ("--config x.yaml --validate-config", "check config --config x.yaml"),
        ("run echo.py --validate-config", "run echo.py --validate-config"),
        ("--help", "--help"),
        ("send --validate-config", "send --validate-config"),
    ],
)
def test_the_documents_flags_are_the_checks(given: str, meant: str) -> None:
    assert checking_words(given.split()) == meant.split()


def test_the_documents_flags_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.yaml").write_text("task_manager: {id: x}\n")
    for words in (["--validate-config"], ["run", "--validate-config"], ["run", "none.py", "--validate-config"]):
        assert main([*words, "--config", "x.yaml"]) == 0
        assert capsys.readouterr().out.startswith("config  OK    read x.yaml, environment and flags: 1 of ")
    (here / "x.yaml").write_text("prot: 1\n")
    assert main(["--validate-config", "--config", "x.yaml"]) == 1
    assert "did you mean port?" in capsys.readouterr().out
    assert main(["run", "--validate-config", "--validate-queues"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["config", "queues"]


def test_settings_are_shown_with_their_sources(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x.yaml").write_text("slots: 7\nport: 1\n")
    monkeypatch.setenv("A2A_SERVER_THREADS", "9")
    words = ["config", "show", "--config", "x.yaml", "--port", "3"]
    assert main([*words, "--sources", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    found = {name: (told[name]["value"], told[name]["source"]) for name in ("port", "threads", "slots", "host")}
    assert found == {
        "port": (3, "flag"),
        "threads": (9, "environment variable A2A_SERVER_THREADS"),
        "slots": (7, "in x.yaml"),
        "host": ("127.0.0.1", "default"),
    }
    assert told["task_manager.relationships"]["recorded"] != ""
    assert main([*words, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["port"] == 3
    assert main([*words, "--sources"]) == 0
    assert "port = 3\n    from: flag\n    TCP port to bind; 0 = any free one.\n" in capsys.readouterr().out
    assert main(words) == 0
    text = capsys.readouterr().out
    assert any(line.split() == ["threads", "9"] for line in text.splitlines())
    assert "(recorded, without effect yet)" in next(line for line in text.splitlines() if "relationships" in line)


def test_settings_that_are_wrong_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--store", "x"]) == 2
    assert capsys.readouterr().err.startswith("a2a-server: store (flag): this is no address")
