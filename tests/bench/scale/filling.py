"""Stores in PostgreSQL with many tasks in them: one real task, copied inside the database."""

# ruff: noqa: S608 - nothing but our own columns and expressions is put into SQL

from __future__ import annotations

import asyncpg

from a2a_server.model.rows import Key
from a2a_server.stores.postgresql_tables import TASK

BATCH = 50_000
_NUMBER = "lpad(to_hex(n), 32, '0')"
# What a copy has of its own, by its number n: it is older than the task that it was made of, and than all real keys.
_OWN = {
    "key": f"decode({_NUMBER}, 'hex')",
    "id": _NUMBER,
    "context": _NUMBER,
    "status_at": "t.status_at - n",
    "created_at": "t.created_at - n",
    "rank": "t.rank + n",
}


async def multiply(database: asyncpg.Connection, key: Key, first: int, last: int, queue: str = "") -> None:
    """Copies of the task `key`, numbered from `first` to `last`. Numbers are below 2**32 and used once.

    queue: of the copies; '' = that of the task.

    Messages, events and artifacts are not copied: claims read none, and lists only those of the tasks that they show.
    """
    own = {**_OWN, "queue": "coalesce(nullif($4, ''), t.queue)"}
    chosen = ", ".join(own.get(name, f"t.{name}") for name in TASK.names)
    for start in range(first, last + 1, BATCH):
        await database.execute(
            f"INSERT INTO task ({', '.join(TASK.names)}) SELECT {chosen} "
            "FROM generate_series($1::int8, $2::int8) AS n CROSS JOIN task AS t WHERE t.key = $3",
            start,
            min(start + BATCH - 1, last),
            key,
            queue,
        )


async def finished(database: asyncpg.Connection, total: int) -> None:
    """Fill up to `total` tasks with copies of the oldest one, which has ended, and count them.

    Raises RuntimeError when the store does not count as is thought here.
    """
    key, state, phase = await database.fetchrow("SELECT key, state, phase FROM task ORDER BY created_at LIMIT 1")
    missing = total - await database.fetchval("SELECT count(*) FROM task")
    await multiply(database, key, 1, missing)
    counted = await database.execute(
        "UPDATE tally SET count = count + $1 WHERE state = $2 AND phase = $3 AND count > 0", missing, state, phase
    )
    if counted != "UPDATE 1":
        raise RuntimeError(f"{counted} counts of finished tasks instead of one")
    await settled(database)


async def settled(database: asyncpg.Connection) -> None:
    """Nothing is left to do behind what was filled in: no vacuum and no checkpoint falls into what is measured."""
    await database.execute("VACUUM (FREEZE, ANALYZE)", timeout=600)
    await database.execute("CHECKPOINT", timeout=600)
