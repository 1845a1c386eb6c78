"""Erasing of finished tasks, on the writer's thread, inside a transaction."""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final

from a2a_server.model.rows import Key
from a2a_server.stores.sqlite_rows import select_in, sized
from a2a_server.stores.sqlite_write import ADD_TALLY

_FINAL: Final = sized(
    "SELECT key, visible, tenant, owner, agent, queue, state, phase FROM task WHERE phase = 7 AND key IN ({list})"
)
_DELETES: Final = (
    *(
        f"DELETE FROM content WHERE id IN (SELECT content FROM {table} WHERE task = ? AND content IS NOT NULL)"
        for table in ("event", "message")
    ),
    *(
        f"DELETE FROM {table} WHERE {column} = ?"
        for table, column in (
            ("event", "task"),
            ("journal", "task"),
            ("message", "task"),
            ("artifact", "task"),
            ("state", "scope"),
            ("sent", "task"),
            ("edge", "upstream"),
            ("edge", "downstream"),
            ("tag", "task"),
            ("push", "task"),
            ("task", "key"),
        )
    ),
)
# Whose count is lowered does not matter, totals add the shards up; the highest one most likely stays above zero.
_FULLEST_SHARD: Final = (
    "SELECT shard FROM tally WHERE tenant = ? AND owner = ? AND agent = ? AND queue = ? AND state = ? AND phase = ? "
    "ORDER BY count DESC LIMIT 1"
)
_DROP_ZEROS: Final = (
    "DELETE FROM tally WHERE tenant = ? AND owner = ? AND agent = ? AND queue = ? AND state = ? AND phase = ? "
    "AND count = 0"
)


def erase(db: sqlite3.Connection, keys: Sequence[Key], *, whole: bool = False) -> int:
    """Delete those of the tasks that are final, with all their rows, and lower the tally. Raises sqlite3.Error."""
    found = list(select_in(db, _FINAL, keys))
    if not found or (whole and len(found) < len(keys)):
        return 0
    parameters = [(record[0],) for record in found]
    for statement in _DELETES:
        db.executemany(statement, parameters)
    for counted, count in Counter(record[2:] for record in found if record[1]).items():
        shard = db.execute(_FULLEST_SHARD, counted).fetchone()
        db.execute(ADD_TALLY, (shard[0] if shard else "", *counted, -count))
        db.execute(_DROP_ZEROS, counted)
    return len(found)
