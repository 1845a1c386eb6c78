"""The store alone, in this process: how much grouping of commits is worth.

Three ways to store the same submissions: 32 callers whose operations the writer groups, one caller that awaits
each, and the rows of each in statements that commit themselves, as code without a writer would do it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.submission import Submit
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.turns import Bell, Hint, Needs
from a2a_server.stores.sqlite import SqliteStore, wall_clock
from a2a_server.stores.sqlite_load import load
from a2a_server.stores.sqlite_schema import WRITER_PRAGMAS, connect, migrate
from a2a_server.stores.sqlite_write import write
from tests.bench.costs import Bench, Series
from tests.unit.turns import submit

CALLERS = 32
GROUPED, AWAITED, PLAIN = "32 grouped callers", "one caller", "a commit a statement"
_PATIENCE_SECONDS = 30.0


async def storing(bench: Bench) -> Series:
    """Milliseconds of wall time a task."""
    directory = bench.fresh_directory("store")
    await asyncio.to_thread(directory.mkdir, parents=True)
    numbers = count(1)
    series: Series = {GROUPED: [], AWAITED: [], PLAIN: []}
    amounts = {GROUPED: round(2_000 * bench.counts.seconds), AWAITED: round(400 * bench.counts.seconds), PLAIN: 100}
    store = SqliteStore(directory / "grouped.db")
    await store.open()
    writer = Writer(store, _told, shard="bench", max_operations=10_000, max_bytes=1 << 26, patience_seconds=30.0)
    running = asyncio.get_running_loop().create_task(writer.run())
    try:
        for number in range(bench.counts.rounds):
            for name, callers in ((GROUPED, CALLERS), (AWAITED, 1)):
                bench.say(f"round {number + 1} of {bench.counts.rounds}: {name}")
                submits = [submit(each) for each in islice(numbers, amounts[name])]
                began = time.perf_counter()
                await _submitted(writer, submits, callers)
                series[name].append((time.perf_counter() - began) / len(submits) * 1000)
            bench.say(f"round {number + 1} of {bench.counts.rounds}: {PLAIN}")
            submits = [submit(each) for each in islice(numbers, amounts[PLAIN])]
            seconds = await asyncio.to_thread(_statement_by_statement, directory / "plain.db", submits)
            series[PLAIN].append(seconds / len(submits) * 1000)
    finally:
        writer.close()
        await running
        await store.close()
    return series


async def _told(bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
    """Nobody listens."""


async def _submitted(writer: Writer, submits: Sequence[Submit], callers: int) -> None:
    left = iter(submits)

    async def call() -> None:
        for each in left:
            await writer.submit(each)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())


def _statement_by_statement(path: Path, submits: Sequence[Submit]) -> float:
    db = connect(path, WRITER_PRAGMAS)
    try:
        migrate(db, path)
        began = time.perf_counter()
        for each in submits:
            needs = Needs()
            each.needs(needs, "bench")
            loaded = load(db, needs, wall_clock())
            turn = Turn(loaded, "bench", needs.claims)
            each.decide(turn)
            write(db, loaded, turn.changes())  # in no transaction: each statement is one
        return time.perf_counter() - began
    finally:
        db.close()
