"""The table of `scripts/bench --tasks`: every row, and what it has to reach.

Limits are of costs: that something is to be 4.5 times as fast means that it may take 1 / 4.5 of the time.
"""

from __future__ import annotations

from typing import Final

from tests.bench import jobs
from tests.bench.costs import Bench, Series, Side
from tests.bench.pairing import Claim
from tests.bench.rows import Measure, Row
from tests.bench.tasks import api, batches, claims, commits, hints, watching
from tests.bench.tasks.managed import LIMITED, MANAGED

FREE, GATED = "no limits", "limits that never hold"
_CLIENTS: Final = 32
_TITLES: Final = {
    "make": "making tasks",
    "read": "reading one task",
    "explain": "why a task waits",
    "list": "lists with filters",
    "change": "changing tasks",
    "end": "ending tasks",
    "queues": "queues, limits, workers",
    "beside": "schedules, templates, dead letters, settings",
}


def _row(name: str, title: str, unit: str, made: tuple[Claim, ...], measure: Measure) -> Row:
    return Row(f"tasks-{name}", title, unit, made, measure, peers=False)


def _api(group: str) -> Row:
    async def measure(bench: Bench) -> Series:
        return await api.group_of(bench, group)

    made = tuple(Claim(side, api.ALLOWED, 1.0) for side in api.sides(group))
    title = f"API beside 100,000 stored tasks while others run: {_TITLES[group]}"
    return _row(f"api-{group}", title, "ms, 95th percentile", made, measure)


async def _gates(bench: Bench) -> Series:
    sides = [Side(name, kind, _CLIENTS, jobs.echoes) for name, kind in ((FREE, MANAGED), (GATED, LIMITED))]
    return await bench.cpu(sides, rounds=bench.counts.close_rounds)


def _told(against: str, *sides: str) -> tuple[Claim, ...]:
    return tuple(Claim(side, against, None) for side in sides)


TASKS = (
    _row("same", "the same batch on two equal servers", "ms CPU a task", (), batches.same),
    *map(_api, api.GROUPS),
    _row(
        "batch",
        "1,000 tasks until they are stored (a large batch: 10,000)",
        "ms a task",
        (Claim(batches.BATCH, batches.ONE, 1 / 4.5), *_told(batches.BATCH, batches.LARGE, batches.EACH)),
        batches.submitting,
    ),
    _row("ready", "a claim of one task", "ms CPU a claim", (Claim(claims.MANY, claims.FEW, 1.3, 1.0),), claims.ready),
    _row("gates", "blocking echo, 32 clients", "ms CPU a task", (Claim(GATED, FREE, 1.3, 1.0),), _gates),
    _row(
        "queue-memory",
        "hints through the memory queue",
        "µs a hint",
        (Claim(hints.BATCHED, hints.ONE, 1 / 3),),
        hints.in_memory,
    ),
    _row("queue-redis", "hints through Redis", "ms a hint", (Claim(hints.BATCHED, hints.ONE, 1 / 3),), hints.in_redis),
    _row(
        "resources",
        "claimed tasks that need a resource",
        "ms a task",
        (Claim(claims.BATCHED, claims.ONE, 1 / 2),),
        claims.allocated,
    ),
    _row(
        "sqlite",
        "submissions stored in SQLite",
        "ms an operation",
        (Claim(commits.GROUPED, commits.PLAIN, 1 / 4), *_told(commits.ALONE, commits.GROUPED)),
        commits.on_sqlite,
    ),
    _row(
        "postgresql",
        "submissions stored in PostgreSQL",
        "ms an operation",
        (Claim(commits.GROUPED, commits.ALONE, 1 / 4),),
        commits.on_postgresql,
    ),
    _row(
        "watching",
        "tasks that say twenty times how far they are, watched",
        "ms CPU a task",
        (Claim(watching.ALL_MORE, watching.EACH_MORE, 1 / 2.5), *_told(watching.EACH, watching.ALL)),
        watching.watching,
    ),
    _row(
        "graph",
        "5,000 tasks of one batch, until all have ended",
        "ms CPU a task",
        (Claim(batches.GRAPH, batches.UNRELATED, 3.0),),
        batches.graph,
    ),
)
