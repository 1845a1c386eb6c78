"""What `run --reload` looks at, and completion of commands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from a2a_server.cli import main
from a2a_server.cli.flags import Flags
from a2a_server.cli.reloading import directory_of, times_of


def test_the_directory_of_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert directory_of("agents/echo.py:agent") == tmp_path / "agents"
    assert directory_of("/opt/echo.py") == Path("/opt")
    assert directory_of("package.echo:agent") == tmp_path


def test_python_files_are_looked_at_and_nothing_hidden_or_installed(tmp_path: Path) -> None:
    for name in ("a.py", "below/b.py", ".venv/c.py", "venv/d.py", "__pycache__/e.py", "node_modules/f.py", "g.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "gone.py").symlink_to("nowhere")
    first = times_of(tmp_path)
    assert sorted(os.path.relpath(name, tmp_path) for name in first) == ["a.py", "below/b.py"]
    (tmp_path / "g.txt").write_text("x")
    assert times_of(tmp_path) == first
    (tmp_path / "below/b.py").write_text("x")
    second = times_of(tmp_path)
    assert second != first
    (tmp_path / "a.py").unlink()
    assert times_of(tmp_path) != second


def test_flags_are_passed_on_as_they_were_given() -> None:
    flags = Flags(port=0, slots=9, threads=2, public_url="https://x", config=Path("a b.yaml"), log_level="debug")
    words = ["--port", "0", "--slots", "9", "--threads", "2", "--public-url", "https://x"]
    assert flags.words() == [*words, "--config", "a b.yaml", "--log-level", "debug"]


def test_flags_are_settings_of_one_process(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--slots", "9", "--threads", "2", "--worker-tags", "gpu,eu", "--worker-cpu", "1.5"]
    assert main(["config", "show", "-o", "json", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    names = ("slots", "threads", "worker_tags", "worker_cpu")
    assert [shown[name] for name in names] == [9, 2, ["gpu", "eu"], 1.5]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("a2a-server", "download", "validate", "any-host"):
        assert word in script


def test_completion_is_installed_for_one_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["completion", "bash", "--install"]) == 0
    path = Path(capsys.readouterr().out.splitlines()[0])
    assert path.is_relative_to(tmp_path)
    assert "complete -F" in path.read_text()
