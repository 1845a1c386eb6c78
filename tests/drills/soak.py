"""Steady load for a long time: nothing may grow but what is kept of the tasks, and that by the same for each task.

Theory of operation. 2 servers and 2 workers on PostgreSQL and Redis; every few tens of seconds one process is replaced,
because what dead processes leave behind is what grows unseen. Samples are taken all the time: rows of every table, keys
of the broker, objects of every kind, memory and descriptors of every process, connections of the database. The second
half is then compared with the first:

| rule | the promise |
|---|---|
| grows | what belongs to no task (gates, hints, connections) is no larger in the second half |
| grows-per-process | processes leave no more behind each: a worker's row for a day, counts under one of 256 names |
| grows-per-task | a task of the second half leaves no more rows than one of the first |
| memory, files | no process keeps taking memory or descriptors (its own warm-up left out) |
| backlog | the store's own count of unfinished tasks does not grow |

Weaknesses: retention is not rehearsed (tasks are kept for days), and a minute shows no leak of a byte an hour.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import redis.asyncio

from tests.clients.rpc import new_http
from tests.drills.cluster import Cluster, Plan, running
from tests.drills.counts import ENDS_SECONDS, Counts
from tests.drills.either import Calls, ClusterLoad, EitherWire, either
from tests.drills.ledger import Ledger, Violation
from tests.drills.report import Report
from tests.drills.rolling import Roll
from tests.drills.verdict import Verdict, all_ended
from tests.drills.witness import Witness
from tests.patience import PATIENCE
from tests.server.waiting import until

_CLIENTS = 4
_SAMPLES = 40
_LEAST_SAMPLES = 6
_LEAST_TASKS = 100
"""Made between the first sample and the last one: of fewer, the two halves differ by chance."""
_WARM_TASKS = 40
"""Acknowledged before the first sample: the load is what it will be."""
_REPLACED_EVERY_SECONDS = 30.0
_OF_TASKS = ("artifact", "event", "journal", "message", "push", "sent", "state", "edge", "tag")
"""Tables whose rows belong to tasks and go with them."""
_OF_PROCESSES = {"fair": 4, "tally": 4, "worker": 1}
"""Tables whose rows each process that was ever started adds to, within bounds that no soak reaches, and how many more
of each process are no growth yet: it counts under a lane, a skill or a state when it first meets it."""
_MARGIN = 1.25
_FEW = 4
"""So many more are no growth yet."""
_MEMORY_MARGIN = 1.1
_MEMORY_BYTES = 8 * 1024 * 1024


class Sample(NamedTuple):
    """One look. sizes: of everything, by name. memory, files: of the processes that run, by name and start.

    started: processes, until then.
    """

    at: float
    sizes: Mapping[str, int]
    memory: Mapping[str, int]
    files: Mapping[str, int]
    started: int = 1


async def soak(directory: Path, counts: Counts, seed: int) -> Report:
    """Load for so long. Raises ServerFailure, and what `tests.services.own` raises."""
    begun = time.monotonic()
    plan = Plan("redis", working=(True, False), workers=2)
    async with running(directory, plan) as cluster, AsyncExitStack() as stack:
        witness = Witness(cluster.database.url)
        calls, ledger, roll = Calls(), Ledger(), Roll(cluster)
        clients: list[list[EitherWire]] = []
        for number in range(_CLIENTS):
            http = await stack.enter_async_context(new_http(PATIENCE))
            rng = random.Random(f"{seed}/client {number}")  # noqa: S311 - repeatable, not secret
            clients.append(either(cluster.urls, http, rng, calls))
        load = ClusterLoad(clients, ledger, seed, drains=lambda: roll.drains, calls=calls)
        load.start()
        try:
            with suppress(TimeoutError):  # then it is measured as it is
                await until(lambda: len(ledger.tasks) >= _WARM_TASKS, PATIENCE)
            samples = await _sampled(cluster, witness, roll, counts.soak_seconds)
            await load.finish(ENDS_SECONDS)
            left = await all_ended(witness, ENDS_SECONDS)
        finally:
            await load.finish(0)
        verdict = Verdict(cluster, witness, ledger, load, seed, roll.told, watched=False)
        verdict.found += left + roll.problems + grown(samples)
        await verdict.reach()
        if verdict.found:
            verdict.keep(directory)
        figures: dict[str, object] = {
            "seed": seed,
            "replaced": roll.drains,
            "samples": len(samples),
            "halves": halves(samples),
            **verdict.sums,
            "seconds": round(time.monotonic() - begun, 1),
        }
        return Report("soak", figures, verdict.found)


async def _sampled(cluster: Cluster, witness: Witness, roll: Roll, seconds: float) -> list[Sample]:
    begun = time.monotonic()
    samples: list[Sample] = []
    replaced = 0
    while (passed := time.monotonic() - begun) < seconds or (passed < seconds + PATIENCE and not _enough(samples)):
        await asyncio.sleep(seconds / _SAMPLES)
        samples.append(await _sample(cluster, witness, time.monotonic() - begun, replaced))
        if passed > _REPLACED_EVERY_SECONDS * (replaced + 1):
            await roll.replace(cluster.nodes[replaced % len(cluster.nodes)])
            replaced += 1
    return samples


def _enough(samples: Sequence[Sample]) -> bool:
    made = samples[-1].sizes["table task"] - samples[0].sizes["table task"] if samples else 0
    return len(samples) >= _LEAST_SAMPLES and made >= _LEAST_TASKS


async def _sample(cluster: Cluster, witness: Witness, at: float, replaced: int) -> Sample:
    sizes = {f"table {name}": count for name, count in (await witness.counts()).items()}
    sizes["unfinished tasks"] = len(await witness.unfinished())
    sizes["connections of the database"] = await witness.connections()
    if cluster.broker is not None:
        sizes |= await _broker(cluster.broker.url)
    sizes["objects"] = sum(path.is_file() for path in (cluster.directory / "artifacts").rglob("*"))
    memory, files = {}, {}
    for node in cluster.nodes:
        if node.process.running:
            process = psutil.Process(node.process.pid)
            name = f"{node.name} {node.process.pid}"
            memory[name], files[name] = process.memory_info().rss, process.num_fds()
    return Sample(at, sizes, memory, files, len(cluster.nodes) + replaced)


async def _broker(url: str) -> dict[str, int]:
    client = redis.asyncio.Redis.from_url(url, decode_responses=True)
    try:
        kinds: dict[str, int] = {"broker keys": await client.dbsize(), "broker members": 0}
        async for key in client.scan_iter(count=1000):
            kind = await client.type(key)
            count = {"zset": client.zcard, "set": client.scard, "list": client.llen, "hash": client.hlen}
            kinds["broker members"] += await count[kind](key) if kind in count else 1
        kinds["broker clients"] = len(await client.client_list())
        return kinds
    finally:
        await client.aclose()


def grown(samples: Sequence[Sample]) -> list[Violation]:
    """What grows. Pure."""
    if len(samples) < _LEAST_SAMPLES:
        return [Violation("load", "", f"{len(samples)} samples are too few")]
    found = []
    first, second = _halved(samples)
    for name in sorted(first[-1].sizes):
        before, after = (max(sample.sizes.get(name, 0) for sample in half) for half in (first, second))
        table = name.removeprefix("table ")
        if table in (*_OF_TASKS, *_OF_PROCESSES) or name in {"table task", "objects"}:
            continue
        if after > before * _MARGIN + _FEW:
            found.append(Violation("grows", "", f"{name}: at most {before} in the first half, {after} in the second"))
    for table in _OF_TASKS:
        before_each, after_each = (_per_task(half, f"table {table}") for half in (first, second))
        if after_each > before_each * _MARGIN + 0.5:
            text = f"{table}: {before_each:.2f} rows a task in the first half, {after_each:.2f} in the second"
            found.append(Violation("grows-per-task", "", text))
    for table, few in _OF_PROCESSES.items():
        before_each, after_each = (_per_process(half, f"table {table}") for half in (first, second))
        if after_each > before_each * _MARGIN + few:
            text = f"{table}: {before_each:.2f} rows a process in the first half, {after_each:.2f} in the second"
            found.append(Violation("grows-per-process", "", text))
    return found + _grown_processes(samples)


def _grown_processes(samples: Sequence[Sample]) -> list[Violation]:
    found = []
    for name in sorted({name for sample in samples for name in sample.memory}):
        seen = [sample for sample in samples if name in sample.memory]
        if len(seen) < _LEAST_SAMPLES:
            continue
        first, second = _halved(seen[len(seen) // 3 :])
        memory = [max(sample.memory[name] for sample in half) for half in (first, second)]
        files = [max(sample.files[name] for sample in half) for half in (first, second)]
        if memory[1] > memory[0] * _MEMORY_MARGIN + _MEMORY_BYTES:
            found.append(Violation("memory", "", f"{name}: {memory[0]} bytes, then {memory[1]}"))
        if files[1] > files[0] * _MARGIN + _FEW:
            found.append(Violation("files", "", f"{name}: {files[0]} descriptors, then {files[1]}"))
    return found


def halves(samples: Sequence[Sample]) -> dict[str, str]:
    """The most of everything in the first half, and in the second."""
    if len(samples) < _LEAST_SAMPLES:
        return {}
    first, second = _halved(samples)
    told = {
        name: " ".join(str(max(sample.sizes.get(name, 0) for sample in half)) for half in (first, second))
        for name in samples[-1].sizes
        if any(sample.sizes.get(name) for sample in samples)
    }
    memory = [max((max(sample.memory.values(), default=0) for sample in half), default=0) for half in (first, second)]
    return {**told, "most memory of a process": " ".join(map(str, memory))}


def _halved(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    middle = len(samples) // 2
    return samples[:middle], samples[middle:]


def _per_task(half: Sequence[Sample], name: str) -> float:
    tasks = half[-1].sizes["table task"] - half[0].sizes["table task"]
    return (half[-1].sizes.get(name, 0) - half[0].sizes.get(name, 0)) / max(1, tasks)


def _per_process(half: Sequence[Sample], name: str) -> float:
    return max(sample.sizes.get(name, 0) / sample.started for sample in half)
