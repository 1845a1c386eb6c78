"""The drills as continuous integration runs them: few of everything, the same promises. In full: `scripts/drill`."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.drills.counts import CI
from tests.drills.crash import crash
from tests.drills.fuzz import fuzz
from tests.drills.report import Report, say
from tests.drills.stream import stream


@pytest.fixture
def seed() -> int:
    """A new one each time; A2A_TEST_SEED repeats a drill that failed."""
    return int(os.environ.get("A2A_TEST_SEED") or random.randrange(10**6))  # noqa: S311 - no secret


@pytest.mark.timeout(300)
async def test_nothing_is_lost_stuck_or_repeated_when_the_server_is_killed(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await crash(tmp_path, CI, seed))


@pytest.mark.timeout(180)
async def test_streams_go_on_without_a_gap_and_silent_readers_harm_nobody(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await stream(tmp_path, CI, seed))


@pytest.mark.timeout(180)
async def test_whatever_arrives_is_answered_as_it_should_be(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await fuzz(tmp_path, CI, seed))


def verdict(report: Report) -> None:
    say(f"\n{report.line}")
    assert not report.violations, report.text
