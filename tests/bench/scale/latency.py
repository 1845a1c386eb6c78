"""How long a task waits for a worker in another process, and its answer for the way back, one lone task at a time.

A front without workers and a worker without a front, for each kind of queue and notifier. The handler answers with the
machine's monotonic clock, so one blocking send gives both: from the send to the handler's start, and from there to the
answer. `HERE` is one process that serves and works, where nothing has to be told to anybody: what an answer takes
beyond its answer is what another process adds. A round trip is `SELECT 1` on an open connection, as lone as the sends:
with the same pause before it. (One after the other they are several times as quick, because nobody sleeps; that is told
beside.)

Starts are measured with commits that wait for the disk, as always; answers are without, because that wait is the same
in one process and in two, and many times as long and as uneven as what is asked for.

All processes may use all processors. Ways take turns send by send. Between two sends lies a pause, so that no doorbell
waits for the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

import asyncpg

from tests.bench.costs import Bench, Series
from tests.bench.load import connections
from tests.bench.scale.places import broker_settings, connected, database, port_of, running, spread
from tests.bench.servers import OURS, Failed
from tests.bench.speech import Speaker

TRIP, HOT, HERE = "a round trip", "a round trip, one after the other", "one process"
WAYS = {
    "store + LISTEN": "store",
    "Redis": "redis",
    "RabbitMQ": "rabbitmq",
    "SQS + LISTEN": "sqs",
    "polls alone": "poll",
}
_PAUSE_SECONDS = 0.01
_LOOKS = 500


@dataclass
class Way:
    """One deployment: where its front listens, and what one round found there, in seconds."""

    name: str
    port: int
    samples: int
    starts: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)


def added(name: str) -> str:
    """The side for what a way adds to the answer of one process."""
    return f"added: {name}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed: the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


async def latencies(bench: Bench) -> dict[str, Series]:
    """Milliseconds on the clock: `p50` and `p99` from send to start, and the median `answer` from there on."""
    with spread(bench.all_cores):
        async with AsyncExitStack() as stack:
            ways, raw = await _deployed(bench, stack)
            speaker = Speaker(OURS)
            found: dict[str, Series] = {"p50": {}, "p99": {}, "answer": {}}
            for number in range(-1, bench.counts.rounds):
                bench.say(f"round {max(number, 0) + 1} of {bench.counts.rounds}")
                trips = await _round(ways, raw, speaker, 1)
                if number >= 0:
                    _note_starts(found, ways, trips)
                async with _not_waiting(raw):
                    trips = await _round(ways, raw, speaker, 2)
                if number >= 0:
                    _note_answers(found, ways, trips)
            return found


def _note_starts(found: dict[str, Series], ways: Sequence[Way], trips: Mapping[str, float]) -> None:
    for way in ways:
        _note(found["p50"], way.name, median(way.starts))
        _note(found["p99"], way.name, quantile(way.starts, 0.99))
    for name, trip in trips.items():
        _note(found["p50"], name, trip)
        _note(found["p99"], name, trip)


def _note_answers(found: dict[str, Series], ways: Sequence[Way], trips: Mapping[str, float]) -> None:
    (here,) = (way.answers for way in ways if way.name == HERE)
    for way in ways:
        _note(found["answer"], way.name, median(way.answers))
        if way.name != HERE:
            pairs = zip(way.answers, here, strict=False)  # of the same turn; those that poll have fewer
            _note(found["answer"], added(way.name), median(mine - its for mine, its in pairs))
    for name, trip in trips.items():
        _note(found["answer"], name, trip)


def _note(series: Series, name: str, seconds: float) -> None:
    series.setdefault(name, []).append(max(seconds, 1e-6) * 1000)


@asynccontextmanager
async def _not_waiting(raw: asyncpg.Connection) -> AsyncIterator[None]:
    """Commits of the whole server do not wait for the disk meanwhile."""
    await _set(raw, "ALTER SYSTEM SET synchronous_commit = off", "off")
    try:
        yield
    finally:
        await _set(raw, "ALTER SYSTEM RESET synchronous_commit", "on")


async def _set(raw: asyncpg.Connection, change: str, value: str) -> None:
    """Change it, and wait until sessions have heard of it. Raises Failed."""
    await raw.execute(change)
    await raw.execute("SELECT pg_reload_conf()")
    for _ in range(_LOOKS):
        if await raw.fetchval("SHOW synchronous_commit") == value:
            return
        await asyncio.sleep(_PAUSE_SECONDS)
    raise Failed(f"PostgreSQL did not take synchronous_commit = {value}")


async def _deployed(bench: Bench, stack: AsyncExitStack) -> tuple[list[Way], asyncpg.Connection]:
    cores, services = bench.all_cores, bench.services
    postgresql = await services.get("postgresql", cores)
    made = []
    for name, kind in {HERE: "store", **WAYS}.items():
        bench.say(f"starting {name}")
        settings = {
            "STORE": stack.enter_context(database(postgresql)),
            **await broker_settings(services, kind, cores),
        }
        alone = int(name == HERE)
        directory = bench.fresh_directory(name)
        members = await stack.enter_async_context(
            running(directory, settings, cores, servers=alone, fronts=1 - alone, workers=1 - alone)
        )
        samples = bench.counts.polled if kind == "poll" else bench.counts.samples
        made.append(Way(name, port_of(members[0]), samples))
    raw = await stack.enter_async_context(connected(postgresql.url))
    return made, raw


async def _round(ways: Sequence[Way], raw: asyncpg.Connection, speaker: Speaker, share: int) -> dict[str, float]:
    """A round: of every way one of so many samples, and the median round trips of the same time."""
    statement = await raw.prepare("SELECT 1")
    trips: dict[str, list[float]] = {TRIP: [], HOT: []}
    for way in ways:
        way.starts.clear()
        way.answers.clear()
    for number in range(max(way.samples for way in ways) // share):
        for name in (TRIP, HOT):
            if name == TRIP:
                await asyncio.sleep(_PAUSE_SECONDS)
            began = time.perf_counter()
            await statement.fetchval()
            trips[name].append(time.perf_counter() - began)
        for way in ways:
            if number < max(way.samples // share, 1):
                await asyncio.sleep(_PAUSE_SECONDS)
                await _sample(way, speaker)
    return {name: median(taken) for name, taken in trips.items()}


async def _sample(way: Way, speaker: Speaker) -> None:
    async with connections(way.port, 1) as (client,):
        sent = time.monotonic_ns()
        started = await speaker.moment(client)
        answered = time.monotonic_ns()
    way.starts.append((started - sent) / 1e9)
    way.answers.append((answered - started) / 1e9)
