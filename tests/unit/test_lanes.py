"""Lanes leave no test out, run none twice, and tell what every one of them said."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.lanes import (
    ELSEWHERE,
    EVERYTHING,
    MOST_AGAIN,
    ROOT,
    TESTS,
    Lane,
    Outcome,
    chosen,
    everything,
    once_more,
    passed,
    told,
)
from tests.patience import PATIENCE
from tests.server.elsewhere import SETS


def test_every_file_of_tests_is_in_one_lane() -> None:
    lanes = Counter(path for lane in EVERYTHING for path in lane.files)
    assert lanes == Counter(TESTS.rglob("test_*.py"))
    assert not any(lane.backends for lane in EVERYTHING)


@pytest.mark.parametrize("backends", SETS)
def test_every_file_of_the_server_is_in_one_lane_of_every_set_of_backends(backends: str) -> None:
    lanes = Counter(path for lane in ELSEWHERE if lane.backends == backends for path in lane.files)
    assert lanes == Counter((TESTS / "server").rglob("test_*.py"))


def test_no_lane_is_empty_and_names_are_not_given_twice() -> None:
    lanes = [*EVERYTHING, *ELSEWHERE]
    assert all(lane.files for lane in lanes)  # pytest without files would run them all
    assert len({re.sub(r"\W+", "-", lane.name) for lane in lanes}) == len(lanes)
    assert {lane.backends for lane in ELSEWHERE} == set(SETS)


def test_other_backends_are_tried_where_services_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_TEST_REQUIRE_SERVICES", "1")
    assert Counter(chosen(elsewhere=False)) == Counter([*EVERYTHING, *ELSEWHERE])
    monkeypatch.delenv("A2A_TEST_REQUIRE_SERVICES")
    assert chosen(elsewhere=False) == EVERYTHING
    assert chosen(elsewhere=True) == ELSEWHERE


def made(folder: Path, name: str, text: str, backends: str = "") -> Lane:
    folder.mkdir(exist_ok=True)
    (folder / f"test_{name}.py").write_text(text)
    return Lane(name, (str(folder / f"test_{name}.py"),), backends=backends)


PLAIN = ("-p", "no:cacheprovider", "-W", "ignore", "-c", os.devnull)


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


async def test_what_each_lane_said_is_shown_whole_and_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lanes = [
        made(tmp_path / "in", "good", "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('not here')\n"),
        made(tmp_path / "in", "bad", "def test_c(tmp_path): assert str(tmp_path) == 'x'\ndef test_d(): pass\n"),
        made(tmp_path / "in", "broken", "1 / 0\n"),
        made(tmp_path / "in", "dead", "import os\nos._exit(7)\n"),
        made(
            tmp_path / "in",
            "far",
            "import os\ndef test_e(): assert os.environ['A2A_TEST_BACKENDS'] == 'x'\n",
            backends="x",
        ),
    ]
    found = {outcome.lane.name: outcome for outcome in await everything(lanes, 2, tmp_path, PLAIN)}
    assert [outcome.code for outcome in found.values()] == [0, 1, 2, 7, 0]
    assert [told(outcome.counts) for outcome in found.values()] == [
        "1 passed, 1 skipped",
        "1 failed, 1 passed",
        "1 errors",
        "nothing",
        "1 passed",
    ]
    assert re.fullmatch(r"bad: 1 failed, 1 passed in \d+ s, exit code 1", found["bad"].line)
    out = capfd.readouterr().out
    for name in found:
        assert f"\n== lane {name}\n" in out
    assert str(tmp_path / "1") in out  # a folder of its own
    assert "ZeroDivisionError" in out


async def test_no_more_run_at_once_than_is_allowed(tmp_path: Path) -> None:
    text = "import os, time\nos.mkdir({0!r})\ntime.sleep(0.2)\nos.rmdir({0!r})\ndef test_a(): pass\n"
    lanes = [made(tmp_path / "in", f"n{number}", text.format(str(tmp_path / "only"))) for number in range(2)]
    assert [outcome.code for outcome in await everything(lanes, 0, tmp_path, PLAIN)] == [0, 0]


async def test_few_failures_are_run_again_alone_and_stay_failures_if_they_fail_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("-o", f"cache_dir={tmp_path / 'cache'}", "-W", "ignore", "-c", os.devnull)
    once = f"""
from pathlib import Path
def test_a(): pass
def test_b():
    ran = Path({str(tmp_path / "ran")!r})
    seen = ran.exists()
    ran.touch()
    assert seen
"""
    lanes = [
        made(tmp_path / "in", "good", "def test_c(): pass\n"),
        made(tmp_path / "in", "once", once),
        made(tmp_path / "in", "always", "def test_d(): assert False\n"),
    ]
    found = await once_more(await everything(lanes, 1, tmp_path, words), tmp_path, words)
    assert [(outcome.code, outcome.again) for outcome in found] == [(0, None), (1, 0), (1, 1)]
    assert re.fullmatch(
        r"once: 1 failed, 1 passed in \d+ s, exit code 1, passed .* again alone: UNSTEADY", found[1].line
    )
    assert found[2].line.endswith(", failed again")
    out = capfd.readouterr().out
    assert out.count("== lane once\n") == 2
    assert out.count("== lane good\n") == 1


@pytest.mark.parametrize(
    ("code", "again", "words", "fine"),
    [
        (0, None, (), True),
        (1, None, (), False),
        (1, 0, (), True),
        (1, 1, (), False),
        (2, None, (), False),
        (-9, None, (), False),
        (5, None, (), False),
        (5, None, ("-k", "x"), True),
        (1, 5, (), False),
    ],
)
def test_a_run_passes_where_nothing_failed_or_nothing_twice(
    code: int, again: int | None, words: tuple[str, ...], fine: bool
) -> None:
    lanes = [Outcome(EVERYTHING[0], 0, 1.0, Counter()), Outcome(EVERYTHING[1], code, 1.0, Counter(), again)]
    assert passed(lanes, words) is fine


async def test_many_failures_are_not_run_again(tmp_path: Path) -> None:
    text = "".join(f"def test_{number}(): assert False\n" for number in range(MOST_AGAIN + 1))
    outcomes = await everything([made(tmp_path / "in", "many", text)], 1, tmp_path, PLAIN)
    assert [outcome.again for outcome in await once_more(outcomes, tmp_path, PLAIN)] == [None]


async def test_who_ends_them_ends_their_lanes_tidily_and_sees_what_they_said(tmp_path: Path) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"
    text = f"""
import time, pytest
from pathlib import Path
@pytest.fixture
def held():
    yield
    Path({str(ended)!r}).touch()
def test_waits(held):
    Path({str(began)!r}).touch()
    time.sleep(3600)
"""
    made(tmp_path / "in", "waits", text)
    program = f"""
import asyncio
from pathlib import Path
from tests.lanes import Lane, everything
lane = Lane("waits", ({str(tmp_path / "in/test_waits.py")!r},))
try:
    asyncio.run(everything([lane], 1, Path({str(tmp_path)!r}), {PLAIN!r}))
except asyncio.CancelledError:
    print("told to end")
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not began.exists():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert ended.exists()
    assert "== lane waits\n" in said.decode()
    assert "KeyboardInterrupt" in said.decode()
    assert said.decode().endswith("told to end\n")
