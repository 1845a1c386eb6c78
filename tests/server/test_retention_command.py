"""`a2a-server retention run`: what would go, and what goes, beside a server and without one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Artifact, File
from a2a_server.cli import main
from tests.server.engines import running

pytestmark = pytest.mark.embedded

DAY = 86_400 * 1_000_000


def agent() -> Agent:
    agent = Agent("Past")

    @agent.skill(default=True)
    async def make() -> Artifact:
        return Artifact("out", (File("a.bin", raw=bytes(100_000)),))

    return agent


def seeded(directory: Path, *, days: int) -> None:
    """Three tasks, two of which ended so many days ago."""

    async def seed() -> None:
        async with running(agent(), directory) as server:
            for _ in range(3):
                await server.send()

    asyncio.run(seed())
    with closing(sqlite3.connect(directory / "tasks.db")) as db, db:
        db.execute(
            "UPDATE task SET status_at = status_at - ?, created_at = created_at - ? "
            "WHERE key IN (SELECT key FROM task ORDER BY key LIMIT 2)",
            (days * DAY, days * DAY),
        )


def flags(directory: Path) -> list[str]:
    return ["--store", f"sqlite:///{directory}/tasks.db", "--artifacts", f"file://{directory}/artifacts"]


def objects(directory: Path) -> int:
    return sum(path.is_file() and path.stat().st_size >= 100_000 for path in (directory / "artifacts").rglob("*"))


def tasks(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "tasks.db")) as db:
        found: int = db.execute("SELECT count(*) FROM task").fetchone()[0]
    return found


def test_a_dry_run_says_what_would_go_and_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeded(tmp_path, days=40)
    assert main(["retention", "run", "--dry-run", "-o", "json", *flags(tmp_path)]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["dryRun"]
    assert said["states"]["completed"]["retired"] == 2
    assert 40 <= said["states"]["completed"]["oldestDays"] < 41
    assert main(["retention", "run", "--dry-run", *flags(tmp_path)]) == 0
    assert "2 tasks would be deleted." in capsys.readouterr().out
    assert (tasks(tmp_path), objects(tmp_path)) == (3, 3)


def test_a_run_deletes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeded(tmp_path, days=40)
    assert main(["retention", "run", *flags(tmp_path)]) == 0
    assert "2 tasks were deleted." in capsys.readouterr().out
    assert (tasks(tmp_path), objects(tmp_path)) == (1, 1)
    assert main(["retention", "run", *flags(tmp_path)]) == 0
    assert "0 tasks were deleted." in capsys.readouterr().out


def test_beside_a_server_there_is_only_a_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeded(tmp_path, days=10)

    async def beside(*words: str) -> int:
        async with running(agent(), tmp_path):
            return await asyncio.to_thread(main, ["retention", "run", *words, *flags(tmp_path)])

    assert asyncio.run(beside("--dry-run")) == 0
    assert asyncio.run(beside()) != 0
    assert "another server process serves" in capsys.readouterr().err
