"""Stores with many tasks in them, made by copying one finished task inside the database."""

# ruff: noqa: S608 - nothing but numbers and our own columns is put into SQL

from __future__ import annotations

import sqlite3
from pathlib import Path

_BATCH = 50_000
# What a copy has of its own, by its number n; it is older than the task that it was made of.
_OWN = {
    "key": "randomblob(16)",
    "id": "lower(hex(randomblob(16)))",
    "context": "lower(hex(randomblob(16)))",
    "status_at": "t.status_at - n",
    "created_at": "t.created_at - n",
}


def multiply(database: Path, total: int) -> None:
    """Fill our store up to `total` tasks with copies of its oldest one: rows, and what is counted of them.

    Messages, events and artifacts are not copied: the first page is of real tasks, and a list reads those of its own
    tasks alone. Raises RuntimeError when the store does not count as is thought here.
    """
    db = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(task)")]
        chosen = ", ".join(_OWN.get(name, f"t.{name}") for name in columns)
        key, state, phase = db.execute("SELECT key, state, phase FROM task ORDER BY created_at LIMIT 1").fetchone()
        (have,) = db.execute("SELECT count(*) FROM task").fetchone()
        for first in range(1, total - have + 1, _BATCH):
            last = min(first + _BATCH - 1, total - have)
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                f"WITH RECURSIVE k (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM k WHERE n < {last}) "
                f"INSERT INTO task ({', '.join(columns)}) SELECT {chosen} FROM k CROSS JOIN task AS t WHERE t.key = ?",
                (key,),
            )
            counted = db.execute(
                "UPDATE tally SET count = count + ? WHERE state = ? AND phase = ? AND count > 0",
                (last - first + 1, state, phase),
            )
            if counted.rowcount != 1:
                raise RuntimeError(f"{counted.rowcount} counts of finished tasks instead of one")
            db.execute("COMMIT")
    finally:
        db.close()
