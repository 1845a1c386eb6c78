"""From a name on the command line to an agent, and what is said where that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from a2a_server.cli.loading import load_agent
from a2a_server.errors import ConfigurationError

ECHO = """
from a2a_server import Agent
agent = Agent("Echo")

@agent.skill
async def echo(text: str) -> str:
    return text
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(modules):
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_what_a_file_calls_agent(directory: Path) -> None:
    (directory / "echo.py").write_text(ECHO)
    for target in ("echo.py", "./echo.py", str(directory / "echo.py"), "echo.py:agent", "echo:agent", "echo"):
        assert load_agent(target).name == "Echo"


def test_the_only_agent_whatever_its_name(directory: Path) -> None:
    (directory / "sole.py").write_text(ECHO.replace("agent = ", "mine = ").replace("@agent", "@mine"))
    assert load_agent("sole.py").name == "Echo"


def test_a_function_becomes_an_agent(directory: Path) -> None:
    (directory / "plain.py").write_text("async def shout(text: str) -> str:\n    return text.upper()\n")
    agent = load_agent("plain.py:shout")
    assert agent.name == "shout"
    assert [spec.id for spec in agent.specs] == ["shout"]


def test_a_file_may_import_its_neighbours_and_be_called_like_a_known_module(directory: Path) -> None:
    (directory / "neighbour.py").write_text("NAME = 'Echo'\n")
    (directory / "json.py").write_text("from neighbour import NAME\n" + ECHO.replace('"Echo"', "NAME"))
    assert load_agent("json.py").name == "Echo"


def test_modules_in_packages(directory: Path) -> None:
    (directory / "agents_here").mkdir()
    (directory / "agents_here" / "__init__.py").write_text("")
    (directory / "agents_here" / "echo.py").write_text(ECHO)
    assert load_agent("agents_here.echo:agent").name == "Echo"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("ecko.py", r"there is no file ecko\.py; did you mean echo\.py\?"),
        ("nowhere/x.py", r"there is no file nowhere/x\.py \(looked in"),
        (".", r"\. is a directory; name a file in it, for example \./agent\.py"),
        ("echo.py:agnet", r"echo\.py has no 'agnet'; did you mean agent\?"),
        ("echo.py:zzz", r"it has: Agent, agent, echo"),
        ("ecko", "there is no module ecko, neither installed nor in the current directory"),
        ("several.py", r"several agents; name one: several\.py:first or several\.py:second"),
        ("function.py", r"has no agent; name a function, function\.py:shout, or write in it: agent = Agent"),
        ("broken.py", r"broken\.py fails to load: ZeroDivisionError: .*\(broken\.py, line 2\)"),
        ("syntax.py", r"syntax\.py fails to load: SyntaxError"),
        ("needs.py", r"needs\.py fails to load: ModuleNotFoundError: No module named 'not_installed_here'"),
        ("exits.py", r"exits\.py fails to load: SystemExit"),
        ("number.py:value", "number.py:value is int, and neither an Agent nor a function"),
        ("empty.py", r'agent "Empty" has no skill'),
        ("twice.py", r'twice\.py: skill "echo" is registered twice'),
    ],
)
def test_what_is_wrong_is_said_with_the_way_out(directory: Path, target: str, said: str) -> None:
    files = {
        "echo": ECHO,
        "several": ECHO.replace("agent", "first") + ECHO.replace("agent", "second"),
        "function": "def shout(text: str) -> str:\n    return text\n",
        "broken": "value = 1\nvalue / 0\n",
        "syntax": "def (\n",
        "needs": "import not_installed_here\n",
        "exits": "raise SystemExit(3)\n",
        "number": "value = 1\n",
        "empty": 'from a2a_server import Agent\nagent = Agent("Empty")\n',
        "twice": ECHO + "agent.skill(echo)\n",
    }
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_agent(target)


def test_a_file_that_failed_can_be_mended_and_loaded(directory: Path) -> None:
    (directory / "mended.py").write_text("import not_installed_here\n")
    with pytest.raises(ConfigurationError):
        load_agent("mended.py")
    (directory / "mended.py").write_text(ECHO)
    assert load_agent("mended.py").name == "Echo"
