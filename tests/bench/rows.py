"""The table: every row that is measured, and what it has to reach."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tests.bench import jobs
from tests.bench.accepting import accepting
from tests.bench.costs import Bench, Series, Side
from tests.bench.pairing import Claim
from tests.bench.servers import FASTA2A, OURS, OURS_AGAIN, SDK_MEMORY, SDK_SQLITE, STARLETTE, Kind
from tests.bench.starting import ANSWER, IMPORTS, starting
from tests.bench.storing import AWAITED, GROUPED, PLAIN, storing
from tests.bench.waiting import waiting_memory, waiting_time

Measure: TypeAlias = Callable[[Bench], Coroutine[Any, Any, Series]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. unit: of what `measure` gives. peers: whether it needs the other servers' programs."""

    name: str
    title: str
    unit: str
    claims: tuple[Claim, ...]
    measure: Measure
    peers: bool = True


def _cpu(sides: Sequence[Side], *, close: bool = False, start_with: int = 20) -> Measure:
    async def measure(bench: Bench) -> Series:
        rounds = bench.counts.close_rounds if close else bench.counts.rounds
        return await bench.cpu(sides, rounds=rounds, start_with=start_with)

    return measure


def _sides(prepare: jobs.Prepare, clients: int, *kinds: Kind) -> list[Side]:
    return [Side(kind.name, kind, clients, prepare, slow=kind is SDK_SQLITE) for kind in kinds]


def _echo(name: str, clients: int, limit: float, aim: float) -> Row:
    ours = [
        Side("ours, 1.0", OURS, clients, jobs.echoes),
        Side("ours, tasks/send", OURS, clients, jobs.echoes_v01),
    ]
    theirs = _sides(jobs.echoes, clients, SDK_MEMORY, SDK_SQLITE, FASTA2A, STARLETTE)
    claims = tuple(Claim(side.name, SDK_MEMORY.name, limit, aim) for side in ours)
    title = f"blocking echo, {clients} client{'s' if clients > 1 else ''}"
    return Row(name, title, "ms CPU a task", claims, _cpu([*ours, *theirs]))


def _stream(name: str, clients: int) -> Row:
    kinds = (OURS, SDK_MEMORY, SDK_SQLITE, FASTA2A, STARLETTE)
    title = f"10-chunk stream, {clients} stream{'s' if clients > 1 else ''} at once"
    claim = Claim(OURS.name, SDK_MEMORY.name, 0.30, 0.18)
    return Row(name, title, "ms CPU a task", (claim,), _cpu(_sides(jobs.short_streams, clients, *kinds)))


def _chunks() -> Row:
    sides = [
        Side(f"{kind.name}, {count:,} chunks", kind, 1, jobs.chunks(count))
        for kind in (OURS, SDK_MEMORY)
        for count in (100, 4_000)
    ]
    claim = Claim("ours, 4,000 chunks", "ours, 100 chunks", 1.1, 1.0)
    return Row("chunks", "a chunk of a long stream", "ms CPU a chunk", (claim,), _cpu(sides, close=True, start_with=1))


def _readers() -> Row:
    sides = [
        Side("1 reader", OURS, 1, jobs.readers(1_000), most=1),
        Side("50 readers", OURS, 50, jobs.readers(1_000), most=1),
    ]
    claim = Claim("50 readers", "1 reader", 0.25)
    return Row(
        "readers",
        "readers of one 1,000-chunk stream",
        "ms CPU an event",
        (claim,),
        _cpu(sides, start_with=1),
        peers=False,
    )


def _get() -> Row:
    sides = _sides(jobs.gets, 8, OURS, SDK_MEMORY, SDK_SQLITE, STARLETTE)
    claim = Claim(OURS.name, SDK_MEMORY.name, 0.7, 0.5)
    return Row("get", "GetTask, 8 clients", "ms CPU a call", (claim,), _cpu(sides, start_with=200))


def _get_large() -> Row:
    sides = [
        Side("4,000 chunks", OURS, 8, jobs.gets_of_many_chunks),
        Side("1 chunk", OURS, 8, jobs.gets_of_one_chunk),
    ]
    claim = Claim("4,000 chunks", "1 chunk", 1.5, 1.0)
    title = "GetTask of a finished task of 31 KB"
    return Row("get-large", title, "ms CPU a call", (claim,), _cpu(sides, close=True, start_with=200), peers=False)


def _list() -> Row:
    async def measure(bench: Bench) -> Series:
        sides = []
        for stored in bench.counts.stored:
            kind = replace(OURS, name=f"ours, {stored:,} stored")
            sides.append(Side(kind.name, kind, 4, jobs.lists(stored)))
        for stored in bench.counts.stored[:2]:
            seeded = {**SDK_MEMORY.environment, "SEED": str(stored)}
            kind = replace(SDK_MEMORY, name=f"{SDK_MEMORY.name}, {stored:,} stored", environment=seeded)
            sides.append(Side(kind.name, kind, 4, jobs.lists(stored)))
        return await bench.cpu(sides, rounds=bench.counts.close_rounds, start_with=4)

    fewest = "ours, 1,000 stored"
    claims = tuple(Claim(f"ours, {stored:,} stored", fewest, 1.3, 1.0) for stored in (50_000, 1_000_000))
    return Row("list", "ListTasks, first page with total", "ms CPU a call", claims, measure)


def _content(name: str, title: str, prepare: jobs.Prepare) -> Row:
    claim = Claim(OURS.name, SDK_MEMORY.name, 0.5)
    return Row(
        name, title, "ms CPU a task", (claim,), _cpu(_sides(prepare, 1, OURS, SDK_MEMORY, SDK_SQLITE), start_with=3)
    )


ROWS = (
    Row(
        "same",
        "the same work on two equal servers",
        "ms CPU a task",
        (),
        _cpu(_sides(jobs.echoes, 32, OURS, OURS_AGAIN)),
    ),
    _echo("echo-32", 32, 0.27, 0.18),
    _echo("echo-1", 1, 0.60, 0.40),
    _stream("stream-100", 100),
    _stream("stream-1", 1),
    _chunks(),
    _readers(),
    _get(),
    _get_large(),
    _list(),
    Row(
        "waiting",
        "1,000 tasks of 2 seconds at once",
        "s until all have ended",
        (Claim(OURS.name, "ASGI, no work", 1.6),),
        waiting_time,
    ),
    Row(
        "memory",
        "1,000 tasks that wait",
        "KB resident a task",
        (Claim(OURS.name, SDK_MEMORY.name, 0.6),),
        waiting_memory,
    ),
    Row(
        "acks",
        "non-blocking sends, one client",
        "ms an acknowledgement",
        (Claim(OURS.name, SDK_SQLITE.name, 0.1), Claim(OURS.name, SDK_MEMORY.name, 1.0)),
        accepting,
    ),
    _content("artifact", "an artifact of 1 MB out", jobs.blobs),
    _content("message", "a message of 1 MB in", jobs.messages),
    Row(
        "store",
        "submissions stored",
        "ms a task",
        (Claim(GROUPED, AWAITED, 0.5), Claim(GROUPED, PLAIN, 1 / 3)),
        storing,
        peers=False,
    ),
    Row("start", "cold start", "ms", (Claim(ANSWER, IMPORTS, 1.5),), starting, peers=False),
)
