"""The drills as continuous integration runs them: few of everything, the same promises. In full: `scripts/drill`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.drills.counts import CI
from tests.drills.crash import crash
from tests.drills.fairness import fairness
from tests.drills.fuzz import fuzz
from tests.drills.gates import gates
from tests.drills.graph import graph
from tests.drills.history import history
from tests.drills.model import model
from tests.drills.races import races
from tests.drills.report import Report, say
from tests.drills.rolling import rolling
from tests.drills.soak import soak
from tests.drills.stream import stream
from tests.services import Missing

MOST_SECONDS = 1500
"""A drill may take on a machine that is slow; a tenth of it as a rule."""


@pytest.fixture
def seed() -> int:
    """A new one each time; A2A_TEST_SEED repeats a drill that failed."""
    return int(os.environ.get("A2A_TEST_SEED") or random.randrange(10**6))  # noqa: S311 - no secret


@pytest.mark.timeout(MOST_SECONDS)
async def test_nothing_is_lost_stuck_or_repeated_when_the_server_is_killed(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await crash(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_streams_go_on_without_a_gap_and_silent_readers_harm_nobody(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await stream(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_whatever_arrives_is_answered_as_it_should_be(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await fuzz(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_no_order_of_faults_in_several_processes_breaks_a_promise(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await history(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_processes_are_replaced_one_by_one_while_hardly_a_call_fails(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await rolling(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_nothing_grows_but_what_is_kept_of_tasks(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await soak(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_whatever_clients_and_handlers_do_the_engine_does_what_the_rules_say(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await model(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_no_limit_is_exceeded_and_no_work_left_lying(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await gates(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_who_sends_one_task_is_not_starved_by_who_sends_thousands(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await fairness(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_of_a_cancel_and_a_result_one_wins_and_each_tick_makes_one_task(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled(), needing_services():
        verdict(await races(tmp_path, CI, seed))


@pytest.mark.timeout(MOST_SECONDS)
async def test_a_graph_of_tasks_runs_to_its_end_in_its_order(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        verdict(await graph(tmp_path, CI, seed))


@contextmanager
def needing_services() -> Iterator[None]:
    """Skips where a service has no program, with the reason; where services are required, that is a failure."""
    try:
        yield
    except Missing as missing:
        if os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(str(missing))


def verdict(report: Report) -> None:
    say(f"\n{report.line}")
    assert not report.violations, report.text
