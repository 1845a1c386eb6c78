"""How much is measured: one row of numbers for a quick look, one for figures to be published."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.tasks.amounts import FULL_TASKS, QUICK_TASKS, TaskCounts


@dataclass(frozen=True, slots=True)
class Counts:
    """rounds: of each comparison. close_rounds: of those whose limit is below 1.3 times. seconds: of CPU (or wall time,
    where that is measured) per side and round, about. stored: how many tasks lists are read from, fewest first.
    slow_sides: whether those that take long, and that no claim is about, are measured. starts: of each program.
    waiting_rounds: of the 1,000 waiting tasks. capped: how many tasks of a capped client stand in front. samples: of
    latency, each round; polled: of those that wait for a poll. claims: tasks that are claimed one by one, each round.
    tasks: of the rows about task management.
    """

    rounds: int
    close_rounds: int
    seconds: float
    stored: tuple[int, ...]
    slow_sides: bool
    starts: int
    waiting_rounds: int
    capped: int
    samples: int
    polled: int
    claims: int
    tasks: TaskCounts


QUICK = Counts(
    rounds=3,
    close_rounds=3,
    seconds=0.2,
    stored=(1_000, 50_000),
    slow_sides=False,
    starts=3,
    waiting_rounds=1,
    capped=5_000,
    samples=20,
    polled=1,
    claims=50,
    tasks=QUICK_TASKS,
)
FULL = Counts(
    rounds=5,
    close_rounds=9,
    seconds=2.0,
    stored=(1_000, 50_000, 1_000_000),
    slow_sides=True,
    starts=9,
    waiting_rounds=3,
    capped=100_000,
    samples=80,
    polled=4,
    claims=200,
    tasks=FULL_TASKS,
)
