"""Operations of the store: 250 in one turn, as the writer groups them, against one after the other.

On SQLite one after the other means in statements that commit themselves, as code without turns would write the same
rows; on PostgreSQL, whose store writes a turn in one statement, it means a turn each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

from a2a_server.lifecycle.submission import Submit
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.turns import Needs
from a2a_server.ports import TaskStore
from a2a_server.stores.postgresql import PostgresqlStore
from a2a_server.stores.sqlite import SqliteStore, wall_clock
from a2a_server.stores.sqlite_load import load
from a2a_server.stores.sqlite_schema import WRITER_PRAGMAS, connect, migrate
from a2a_server.stores.sqlite_write import write
from tests.bench.costs import Bench, Series
from tests.bench.scale.places import database
from tests.bench.tasks.turning import together
from tests.unit.turns import submit

GROUPED, ALONE, PLAIN = "250 a turn", "one a turn", "a commit a statement"
TURN: Final = 250

_Way = Callable[[Sequence[Submit]], Awaitable[object]]


async def on_sqlite(bench: Bench) -> Series:
    """Milliseconds on the clock an operation."""
    directory = bench.fresh_directory("commits")
    await asyncio.to_thread(directory.mkdir, parents=True)
    store = SqliteStore(directory / "turns.db")
    await store.open()

    async def plain(submits: Sequence[Submit]) -> None:
        await asyncio.to_thread(_statement_by_statement, directory / "plain.db", submits)

    try:
        return await _measured(bench, {PLAIN: plain, ALONE: _turns(store, 1), GROUPED: _turns(store, TURN)})
    finally:
        await store.close()


async def on_postgresql(bench: Bench) -> Series:
    """Milliseconds on the clock an operation."""
    server = await bench.services.get("postgresql", bench.server_cores)
    with database(server) as url:
        store = PostgresqlStore(url)
        await store.open()
        try:
            return await _measured(bench, {ALONE: _turns(store, 1), GROUPED: _turns(store, TURN)})
        finally:
            await store.close()


async def _measured(bench: Bench, ways: dict[str, _Way]) -> Series:
    counts = bench.counts.tasks
    numbers = count(1)
    series: Series = {name: [] for name in ways}
    for number in range(-1, counts.rounds):  # one before, which warms up
        for name, way in ways.items():
            bench.say(f"round {max(number, 0) + 1} of {counts.rounds}: {name}")
            submits = [submit(each) for each in islice(numbers, counts.operations)]
            began = time.perf_counter()
            await way(submits)
            if number >= 0:
                series[name].append((time.perf_counter() - began) / len(submits) * 1000)
    return series


def _turns(store: TaskStore, size: int) -> _Way:
    async def work(submits: Sequence[Submit]) -> None:
        for first in range(0, len(submits), size):
            await together(store, submits[first : first + size])

    return work


def _statement_by_statement(path: Path, submits: Sequence[Submit]) -> None:
    db = connect(path, WRITER_PRAGMAS)
    try:
        migrate(db, path)
        for each in submits:
            needs = Needs()
            each.needs(needs, "bench")
            loaded = load(db, needs, wall_clock())
            turn = Turn(loaded, "bench", needs.claims)
            each.decide(turn)
            write(db, loaded, turn.changes())  # in no transaction: each statement is one
    finally:
        db.close()
