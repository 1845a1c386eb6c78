"""What rows say of tasks and runs, without an engine."""

from __future__ import annotations

from collections import Counter

import pytest

from a2a_server.engine.figures import Figures
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import EventKind, EventRow, Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.telemetry.observer import Observer
from tests.unit.turns import MemoryTurns, submit


class Ear(Observer):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: Counter[tuple[object, ...]] = Counter()
        self.broken = False

    def task_created(self) -> None:
        if self.broken:
            raise RuntimeError("broken")
        self.heard["created",] += 1

    def task_ended(self, state: str, seconds: float | None) -> None:
        self.heard[state, seconds] += 1

    def run_began(self, skill: str) -> None:
        self.heard["began",] += 1

    def run_ended(self, skill: str, end: str) -> None:
        self.heard["end", end] += 1


class Told:
    """A task as it goes on, a bell a step; its clock moves by one second a step."""

    def __init__(self, most: int = 10) -> None:
        self.now = 0.0
        self.ear = Ear()
        self.figures = Figures(self.ear, lambda: self.now, most=most)
        self.row: TaskRow = MemoryTurns().one(submit(1)).row._replace(phase=Phase.READY, state=State.SUBMITTED)
        self.n = 0

    def step(self, *, events: int = 0, **changes: object) -> None:
        self.now += 1
        self.row = self.row._replace(**changes)  # type: ignore[arg-type]  # any field of a row
        said = tuple(
            EventRow(self.row.key, self.n + 1 + index, EventKind.STATUS, 1, self.row.fence, None, b"")
            for index in range(events)
        )
        self.n += events
        self.figures.saw([Bell(self.row.key, self.row, said)])

    def created(self) -> None:
        self.step(events=1)

    def leased(self) -> None:
        self.step(events=1, phase=Phase.LEASED, state=State.WORKING, fence=self.row.fence + 1)

    @property
    def heard(self) -> dict[tuple[object, ...], int]:
        return dict(self.ear.heard)


def test_a_task_that_completes() -> None:
    told = Told()
    told.created()
    told.leased()
    for _ in range(3):
        told.step(events=5)
    told.step(events=1, phase=Phase.FINAL, state=State.COMPLETED)
    assert told.heard == {("created",): 1, ("began",): 1, ("end", "completed"): 1, ("completed", 4.0): 1}


def test_a_direct_dispatch_is_created_and_begun_in_one_turn() -> None:
    told = Told()
    told.step(events=2, phase=Phase.LEASED, state=State.WORKING, fence=1)
    assert told.heard == {("created",): 1, ("began",): 1}


@pytest.mark.parametrize(
    ("state", "name"), [(State.FAILED, "failed"), (State.CANCELED, "canceled"), (State.REJECTED, "rejected")]
)
def test_how_a_task_ended(state: State, name: str) -> None:
    told = Told()
    told.leased()
    told.step(events=1, phase=Phase.FINAL, state=state)
    assert told.heard[name, 1.0] == told.heard["end", name] == 1


def test_a_task_that_ends_before_its_first_run_has_no_duration() -> None:
    told = Told()
    told.created()
    told.step(events=1, phase=Phase.FINAL, state=State.CANCELED)
    assert told.heard == {("created",): 1, ("canceled", None): 1}


def test_a_task_that_ended_is_not_counted_again() -> None:
    told = Told()
    told.step(events=1, phase=Phase.FINAL, state=State.COMPLETED)
    before = told.heard
    told.step(pushes=1)
    assert told.heard == before


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"phase": Phase.SCHEDULED, "attempt": 1}, "retried"),
        ({"phase": Phase.READY, "attempt": 1, "crashes": 1}, "crashed"),
        ({"phase": Phase.FINAL, "state": State.FAILED, "attempt": 1, "crashes": 1}, "crashed"),
        ({"phase": Phase.READY}, "handed_back"),
        ({"phase": Phase.PAUSED, "state": State.INPUT_REQUIRED}, "paused"),
    ],
    ids=["retried", "crashed", "poison", "handed-back", "paused"],
)
def test_how_a_run_ended(changes: dict[str, object], end: str) -> None:
    told = Told()
    told.leased()
    told.step(events=1, **changes)
    assert told.heard["end", end] == 1
    assert sum(count for what, count in told.heard.items() if what[0] == "end") == 1


def test_a_task_that_is_rescued_and_claimed_in_one_turn_has_two_runs() -> None:
    told = Told()
    told.leased()
    told.step(events=1, fence=2, attempt=1, crashes=1)
    told.step(events=1, phase=Phase.FINAL, state=State.COMPLETED)
    assert told.heard == {
        ("created",): 1,
        ("began",): 2,
        ("end", "crashed"): 1,
        ("end", "completed"): 1,
        ("completed", 1.0): 1,
    }


def test_the_time_runs_from_the_last_assignment() -> None:
    told = Told()
    told.leased()
    told.step(events=1, phase=Phase.PAUSED, state=State.INPUT_REQUIRED)
    told.now += 1000
    told.leased()
    told.step(events=1, phase=Phase.FINAL, state=State.COMPLETED)
    assert told.heard["completed", 1.0] == 1


def test_runs_that_are_never_seen_to_end_are_forgotten() -> None:
    told = Told(most=3)
    for number in range(100):
        told.row = told.row._replace(key=Key(number.to_bytes(16)))
        told.leased()
    assert len(told.figures._runs) == 3


def test_bells_without_a_row_and_broken_observers_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    told.figures.saw([Bell(told.row.key, None)])
    told.ear.broken = True
    told.created()
    assert told.heard == {}
    assert "A turn could not be counted" in caplog.text
