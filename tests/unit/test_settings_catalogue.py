"""The list of all knobs, secrets, and the pages that are made from code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from a2a_server import errors
from a2a_server.cli import GROUPS, main
from a2a_server.settings import Knob, knobs, load, value_of
from a2a_server.settings.catalogue import without_secrets
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
UNITS = (
    *("_seconds", "_days", "_bytes", "_per_second", "_operations", "_events"),
    *("_concurrency", "_requirements", "_failures", "_cpu"),
)
COUNTS = frozenset({"port", "slots", "threads", "workers"})  # what they count is their name
SHARES = frozenset({"resource_usage", "failure_rate"})  # of 1


@pytest.mark.parametrize("knob", knobs(), ids=lambda knob: knob.name)
def test_every_knob_is_typed_bounded_described_and_has_its_unit(knob: Knob) -> None:
    assert re.fullmatch(r"[A-Z].*\.", knob.description)
    if "number" in knob.kind:
        last = knob.path[-1]
        assert "at most" in knob.bounds
        assert re.search(r"or more|more than", knob.bounds)
        assert last.endswith(UNITS) or last in COUNTS | SHARES or last.startswith("max_")


def test_names_variables_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {knob.name: knob for knob in knobs()}
    assert named["port"].variable == "A2A_SERVER_PORT"
    deep = named["task_manager.alert_thresholds.task_duration_seconds"]
    assert deep.variable == "A2A_SERVER_TASK_MANAGER__ALERT_THRESHOLDS__TASK_DURATION_SECONDS"
    assert deep.aliases == ("task_duration",)
    assert named["task_manager.relationships"].meaning.endswith("Recorded; used by delegation, once there is any.")
    settings = load()
    assert all(value_of(settings, knob) == knob.default for knob in knobs())
    for knob in knobs():  # what .env.example says is what holds without it
        if knob.default not in ("", [], {}):
            text = ",".join(knob.default) if isinstance(knob.default, list) else str(knob.default)
            monkeypatch.setenv(knob.variable, text)
    assert load() == settings


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (SecretStr("hunter2"), "…"),
        (SecretStr(""), ""),
        ("postgresql://me:hunter2@db:5432/x?a=@", "postgresql://…@db:5432/x?a=@"),
        ("redis://:hunter2@host", "redis://…@host"),
        ("sqlite:///a@b.db", "sqlite:///a@b.db"),
        (("amqp://me:hunter2@a", "b"), ["amqp://…@a", "b"]),
        (8.0, 8),
        (0.5, 0.5),
    ],
)
def test_what_is_secret_is_never_told(value: object, told: object) -> None:
    assert without_secrets(value) == told


def test_the_pages_made_from_code_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs.py", "--check"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_setting_error_and_command_has_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    settings, environment = (ROOT / "docs/settings.md").read_text(), (ROOT / ".env.example").read_text()
    for knob in knobs():
        assert f"`{knob.name.removeprefix('task_manager.')}`" in settings
        assert f"\n#{knob.variable}=" in environment
    codes = (ROOT / "docs/errors.md").read_text()
    for kind in errors.ClientError.__subclasses__():
        assert f"| {kind.code} | `{kind.reason}` |" in codes
    commands = (ROOT / "docs/commands.md").read_text()
    for group in ((), *((group,) for group in GROUPS)):
        main([*group, "--help"])
        names = re.findall(r"^│ ([a-z][a-z-]*)  ", capsys.readouterr().out, re.MULTILINE)
        assert names
        for name in set(names) - GROUPS.keys():
            assert f"## `a2a-server {' '.join((*group, name))}`\n" in commands
