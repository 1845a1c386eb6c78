"""Stores with many tasks in them: real tasks of a real server, copied with all that belongs to them."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final

from a2a_server.lifecycle.labels import id_of
from a2a_server.model.rows import Key, TallyKey, TaskRow
from a2a_server.stores.sqlite import SqliteStore
from tests.bench.costs import Bench
from tests.bench.load import Broken, connections
from tests.bench.tasks.managed import Json, Managed, asked

CYCLE: Final = 20
"""Of so many tasks each is of another make; what is stored are copies of these."""
RARE: Final = "rare"
"""A tag of one task in twenty."""

_TOGETHER = 2_000
_OWNED: Final = ("event", "journal", "message", "artifact", "tag")
_LOOKS, _LOOK_SECONDS = 600, 0.05


def makes() -> list[Json]:
    """What the tasks are: fourteen complete, two fail, one is canceled, three wait for tomorrow."""
    tasks: list[Json] = []
    for number in range(CYCLE):
        task: Json = {
            "text": f"hello {number}",
            "title": f"Task number {number}",
            "priority": ("high", "normal", "low")[number % 3],
            "tags": ["bench", f"group-{number % 5}", *([RARE] if number == 0 else [])],
        }
        if number in (14, 15):
            task["skill"] = "fail"
        elif number > 15:
            task["delaySeconds"] = 86_400
        tasks.append(task)
    return tasks


async def filled(bench: Bench, total: int) -> Managed:
    """A server's store with so many tasks, in a directory of its own."""
    directory = bench.fresh_directory(f"filled {total}")
    await asyncio.to_thread(directory.mkdir, parents=True)
    kind = Managed(f"{total:,} stored", store=directory / "tasks.db")
    async with AsyncExitStack() as stack:
        server = await bench.start(stack, kind)
        async with connections(server.port, 1) as (client,):
            made = [(await asked(client, "POST", "/tasks", task))["id"] for task in makes()]
            await asked(client, "POST", f"/tasks/{made[16]}/cancel")
            for _ in range(_LOOKS):
                page = await asked(client, "GET", "/tasks?phase=final&tag=bench&limit=50")
                if len(page["tasks"]) == CYCLE - 3:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                raise Broken("the tasks to be copied did not end")
    bench.say(f"filling in {total:,} tasks")
    await multiply(directory / "tasks.db", total)
    return kind


async def multiply(path: Path, total: int) -> None:
    """Fill the store up to `total` tasks with copies of those that are there, the newest first."""
    store = SqliteStore(path)
    await store.open()
    try:
        tables: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        async for table, page in store.dump():
            tables[table] += page
        rows = [TaskRow._make(row) for row in tables["task"]]
        owned = {table: _by_task(tables[table], -1 if table == "tag" else 0) for table in _OWNED}
        counted: Counter[TallyKey] = Counter()
        for first in range(len(rows), total, _TOGETHER):
            made: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
            for number in range(first, min(first + _TOGETHER, total)):
                row = rows[number % len(rows)]
                _copied(row, number, owned, made)
                counted[TallyKey(row.tenant, row.owner, row.agent, row.queue, row.state, row.phase)] += 1
            for table, records in made.items():
                if await store.fill(table, records) != len(records):
                    raise Broken(f"a copy of {table} was there already")
        await store.fill("tally", [("filled", key, count) for key, count in counted.items()])
    finally:
        await store.close()
    await asyncio.to_thread(settled, path)


def settled(path: Path) -> None:
    """Nothing is left to do behind what was filled in: no checkpoint falls into what is measured."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def older_key(key: Key, number: int) -> Key:
    """A key as if it had been made so many milliseconds before this one."""
    return Key((int.from_bytes(key[:6], "big") - number).to_bytes(6, "big") + key[6:8] + secrets.token_bytes(8))


def _by_task(records: list[tuple[Any, ...]], place: int) -> dict[Key, list[tuple[Any, ...]]]:
    found: defaultdict[Key, list[tuple[Any, ...]]] = defaultdict(list)
    for record in records:
        found[record[place]].append(record)
    return found


def _copied(
    row: TaskRow,
    number: int,
    owned: dict[str, dict[Key, list[tuple[Any, ...]]]],
    made: defaultdict[str, list[tuple[Any, ...]]],
) -> None:
    key, earlier = older_key(row.key, number), number * 1000
    task_id = id_of(key)
    made["task"].append(
        row._replace(
            key=key,
            id=task_id,
            context=task_id,
            rank=row.rank - earlier,
            status_at=row.status_at - earlier,
            created_at=row.created_at - earlier,
        )
    )
    for table, records in owned.items():
        for record in records.get(row.key, ()):
            made[table].append((*record[:-1], key) if table == "tag" else (key, *record[1:]))
