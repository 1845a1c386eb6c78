"""What the slot optimiser decides, over recorded series; and that a worker is resized."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise

import pytest

from a2a_server.engine.optimising import BUSY, CALM, FULL, LATE_SECONDS, Measured, decided, processor_seconds

CORES = 2
LEAST = CORES + 1
MOST = 1000


def series(load: Callable[[int], Measured], size: int) -> Iterator[int]:
    while True:
        yield size
        size = decided(size, load(size), least=LEAST, most=MOST).size


def sleeping(size: int) -> Measured:
    """Runs that wait for others, as many as are let in; each costs a thousandth of the processor."""
    return Measured(1.0, min(0.5, size / 2000), 0.002)


def computing(size: int) -> Measured:
    return Measured(1.0, 1.0, 0.05)


def recorded(path: list[tuple[float, float, float]]) -> Callable[[int], Measured]:
    found = iter(path)
    return lambda _: Measured(*next(found))


def test_slots_of_runs_that_wait_grow_to_the_bound_and_stay() -> None:
    sizes = list(islice(series(sleeping, LEAST), 40))
    assert all(later >= sooner for sooner, later in pairwise(sizes))
    assert sizes.index(MOST) < 30
    assert sizes[-1] == MOST


@pytest.mark.parametrize("begin", [LEAST, 10, MOST])
def test_slots_of_runs_that_compute_settle_at_cores_and_one(begin: int) -> None:
    sizes = list(islice(series(computing, begin), 40))
    assert all(later <= sooner for sooner, later in pairwise(sizes))
    assert sizes[-1] == LEAST
    assert sizes.index(LEAST) < 25


def test_a_load_between_does_not_swing() -> None:
    """Each run takes a hundredth of the processor: slots stop where it is neither calm nor busy."""
    sizes = list(islice(series(lambda size: Measured(1.0, size / 100, 0.01), LEAST), 60))
    settled = sizes[30:]
    assert len(set(settled)) == 1
    assert CALM < settled[0] / 100 < BUSY


def test_a_load_that_changes_is_followed() -> None:
    path = [(1.0, 0.1, 0.0)] * 6 + [(1.0, 0.97, 0.2)] * 8 + [(1.0, 0.2, 0.0)] * 2
    sizes = list(islice(series(recorded(path), 10), len(path)))
    assert sizes[6] > 20
    assert sizes[14] == LEAST
    assert sizes[15] == LEAST + 1


@pytest.mark.parametrize(
    ("size", "measured", "wanted"),
    [
        (100, Measured(FULL - 0.01, 0.1, 0.0), 100),  # not full
        (100, Measured(1.0, (BUSY + CALM) / 2, 0.0), 100),  # neither calm nor busy
        (100, Measured(0.1, 0.1, LATE_SECONDS), 70),  # the loop is late
        (100, Measured(0.0, 0.0, 0.0), 100),
        (MOST, Measured(1.0, 0.1, 0.0), MOST),
        (LEAST, Measured(1.0, 1.0, 1.0), LEAST),
        (1, Measured(0.0, 0.0, 0.0), LEAST),
    ],
)
def test_decisions(size: int, measured: Measured, wanted: int) -> None:
    decision = decided(size, measured, least=LEAST, most=MOST)
    assert decision.size == wanted
    assert bool(decision.why) is (wanted != size)


def test_fewer_than_the_least_where_no_more_are_allowed() -> None:
    assert decided(2, computing(2), least=LEAST, most=2).size == 2


def test_processor_time_is_had_and_grows() -> None:
    before = processor_seconds()
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    after = processor_seconds()
    assert after[False] - before[False] >= 0.015
    assert after[True] >= after[False]
