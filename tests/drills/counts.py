"""How much of everything a drill does: one row for every change (CI), one for a thorough rehearsal by command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """kills: of the server, each under load. cuts: of streams, over all variants together. silent_sockets: that never
    read. chatty_chunks: events of the task that they do not read. replays: finished tasks whose log is read again.
    requests: that are generated. requests_per_method: at least so many with one mutation, in each generation.
    histories: each with a cluster of its own, faults striking for `history_seconds`. rolls: times that every process of
    a cluster is replaced, one by one. soak_seconds: of steady load. model_steps: of the state machine. gated: random
    tasks under limits. backlog: tasks of the one who has many, trials: submissions of the one who has one. races: of a
    cancel and a result. ticks: of schedules that two processes fire. nodes: of a graph, timed: whether what accepting
    it costs is judged. pictures: that the example analyses.
    """

    kills: int
    cuts: int
    silent_sockets: int
    chatty_chunks: int
    replays: int
    requests: int
    requests_per_method: int
    histories: int
    history_seconds: float
    rolls: int
    soak_seconds: float
    model_steps: int
    gated: int
    backlog: int
    trials: int
    races: int
    ticks: int
    nodes: int
    timed: bool
    pictures: int


CI = Counts(
    kills=10,
    cuts=120,
    silent_sockets=20,
    chatty_chunks=20_000,
    replays=500,
    requests=9_000,  # 2,000 would leave too few for each of the 28 methods
    requests_per_method=200,
    histories=2,
    history_seconds=12.0,
    rolls=1,
    soak_seconds=12.0,
    model_steps=5_000,
    gated=1_000,
    backlog=2_000,
    trials=20,
    races=1_000,
    ticks=200,
    nodes=400,
    timed=False,
    pictures=200,
)
FULL = Counts(
    kills=200,
    cuts=1_000,
    silent_sockets=20,
    chatty_chunks=20_000,
    replays=5_000,
    requests=100_000,
    requests_per_method=200,
    histories=100,
    history_seconds=15.0,
    rolls=5,
    soak_seconds=600.0,
    model_steps=100_000,
    gated=10_000,
    backlog=10_000,
    trials=200,
    races=10_000,
    ticks=1_000,
    nodes=5_000,
    timed=True,
    pictures=1_000,
)

MIN_IN_FLIGHT = 20
MIN_LEASED = 10
MIN_ACKNOWLEDGED_PER_KILL = 100
RECOVERY_SECONDS = 10.0
POISON_KILLS = 3
MAX_ATTEMPTS = 4
MAX_GROWTH_BYTES = 50 * 1024 * 1024
MAX_FUZZ_GROWTH_BYTES = 200 * 1024 * 1024
MOST_FAILED_CALLS = 0.001
"""Of all calls during a rolling restart."""
ENDS_SECONDS = 60.0
"""How soon after the last fault of a history every task has ended."""
