"""The table of `scripts/bench --scale`: every row, and what it has to reach."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.bench.costs import Bench, Series
from tests.bench.pairing import Claim
from tests.bench.rows import Measure, Row
from tests.bench.scale import claims, echoes, latency, stored

_ALIKE = 1.3
_COUNTS = (50_000, 1_000_000)


def _part(name: str, measure: Callable[[Bench], Awaitable[dict[str, Series]]], unit: str) -> Measure:
    async def measured(bench: Bench) -> Series:
        return (await bench.once(name, measure))[unit]

    return measured


def _told(against: str, *sides: str) -> tuple[Claim, ...]:
    return tuple(Claim(side, against, None) for side in sides)


def _row(name: str, title: str, unit: str, made: tuple[Claim, ...], measure: Measure) -> Row:
    return Row(f"scale-{name}", title, unit, made, measure, peers=False)


def _stored(name: str, title: str) -> Row:
    made = tuple(Claim(stored.name_of(each), stored.name_of(1_000), _ALIKE, 1.0) for each in _COUNTS)
    return _row(f"stored-{name}", title, "ms CPU a call", made, _part("stored", stored.stored, name))


_LIMITS = (echoes.PGBENCH, echoes.RAW)
_SHARES = tuple(Claim(side, whole, None) for whole in echoes.DEPLOYMENTS for side in echoes.parts(whole)[1:])
_DATABASES = tuple(
    Claim(f"{whole}: PostgreSQL", limit, None) for whole in (echoes.ONE, echoes.TWO) for limit in _LIMITS
)

SCALE = (
    _row(
        "cpu",
        "blocking echo on PostgreSQL, 32 clients",
        "ms CPU a task (or a row)",
        (*_told(echoes.ONE, echoes.TWO, echoes.BARE), *_SHARES, *_DATABASES),
        _part("echoes", echoes.echoes, "cpu"),
    ),
    _row(
        "rate",
        "the same, all that serves on one core",
        "ms a task (or a row)",
        tuple(Claim(side, limit, None) for side in echoes.DEPLOYMENTS for limit in _LIMITS),
        _part("echoes", echoes.echoes, "wall"),
    ),
    _row(
        "claim",
        "claimed tasks",
        "ms a task",
        (Claim(claims.BATCHED, claims.ONE, 1 / 6),),
        _part("claims", claims.batches, "wall"),
    ),
    _row(
        "claim-cpu",
        "the same",
        "ms CPU a task",
        _told(claims.ONE, claims.BATCHED),
        _part("claims", claims.batches, "cpu"),
    ),
    _row(
        "capped",
        "a claim beside 100,000 tasks of a capped client",
        "ms CPU a claim (or a task)",
        (
            Claim(claims.NOTHING_BEHIND, claims.NOTHING, 2.0),
            Claim(claims.BEHIND, claims.ALONE, 2.0),
            *_told(claims.ALONE, claims.ASIDE),
        ),
        claims.capped,
    ),
    _row(
        "start-p50",
        "from send to start in another process, median",
        "ms",
        _told(latency.TRIP, latency.HERE, *latency.WAYS),
        _part("latency", latency.latencies, "p50"),
    ),
    _row(
        "start-p99",
        "from send to start in another process, 99th percentile",
        "ms",
        _told(latency.TRIP, latency.HERE, *latency.WAYS),
        _part("latency", latency.latencies, "p99"),
    ),
    _row(
        "answer",
        "from the handler to the answer of a blocking send elsewhere, median",
        "ms",
        tuple(
            Claim(latency.added(way), latency.TRIP, None if kind == "poll" else 10.0)
            for way, kind in latency.WAYS.items()
        ),
        _part("latency", latency.latencies, "answer"),
    ),
    _stored("list", "ListTasks on PostgreSQL, first page with total"),
    _stored("claim", "a claim of one task on PostgreSQL"),
)
