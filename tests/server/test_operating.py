"""What operators ask of a store from outside, where there is not much to be found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from a2a_server.cli import main
from a2a_server.cli.failures import Exit
from tests.services import service
from tests.services.fresh import fresh_database
from tests.services.server import free_ports

AGENT = """
from a2a_server import Agent

agent = Agent("Echo")


@agent.skill
def echo(text: str) -> str:
    return text
"""


@pytest.mark.embedded
@pytest.mark.parametrize("words", [("workers",), ("drain", "00")])
async def test_who_asks_an_empty_database_leaves_it_empty(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with fresh_database(service("postgresql")) as url:
        assert await asyncio.to_thread(main, [*words, "--store", url]) == Exit.USAGE
        assert "is empty" in capsys.readouterr().err
        connection = await asyncpg.connect(url)
        assert await connection.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
        await connection.close()


def test_who_asks_for_a_file_that_is_not_there_does_not_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workers", "--store", f"sqlite:///{tmp_path}/tasks.db"]) == Exit.USAGE
    assert "is empty" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "worker", "workers", "drain"])
def test_a_service_that_does_not_answer_ends_a_command_with_3(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_SERVER_START_SECONDS", "0")
    (tmp_path / "echo.py").write_text(AGENT)
    [port] = free_ports(1)
    about = {"run": [f"{tmp_path}/echo.py", "--port", "0"], "worker": [f"{tmp_path}/echo.py"], "drain": ["00"]}
    words = [
        verb,
        *about.get(verb, []),
        "--store",
        f"postgresql://nobody@127.0.0.1:{port}/none",
    ]
    assert main(words) == Exit.UNREACHABLE
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port}" in said
    assert "Traceback" not in said


def test_settings_that_cannot_be_end_a_command_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workers", "--store", "postgresql://127.0.0.1/none?pool=many"]) == Exit.USAGE
    assert "pool" in capsys.readouterr().err
