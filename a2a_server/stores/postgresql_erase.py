"""Erasing of finished tasks, in a transaction: tasks by key first, counts and then edges last, as turns take them."""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from a2a_server.model.rows import Key, TallyKey
from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import EDGE, TALLY, numbered, tally_key
from a2a_server.stores.postgresql_write import ADD_TALLY, locked

_FINAL: Final = (
    "SELECT key, visible, tenant, owner, agent, queue, state, phase FROM task "
    "WHERE key = ANY ($1::bytea[]) AND phase = 7 ORDER BY key FOR UPDATE"
)
_DELETES: Final = ", ".join(
    f"{table}_by_{column} AS (DELETE FROM {table} WHERE {column} = ANY ($1::bytea[]))"
    for table, column in (
        ("event", "task"),
        ("journal", "task"),
        ("message", "task"),
        ("artifact", "task"),
        ("state", "scope"),
        ("sent", "task"),
        ("tag", "task"),
        ("push", "task"),
    )
)
_DELETE: Final = f"WITH {_DELETES} DELETE FROM task WHERE key = ANY ($1::bytea[])"
# Edges have another end, whose turns change them too, and come last in those.
_DELETE_EDGES: Final = (
    "WITH want (upstream, downstream) AS MATERIALIZED ("
    "SELECT upstream, downstream FROM edge WHERE upstream = ANY ($1::bytea[]) "
    "UNION SELECT upstream, downstream FROM edge WHERE downstream = ANY ($1::bytea[])), "
    f"locked AS MATERIALIZED ({locked(EDGE)}) "
    "DELETE FROM edge USING locked WHERE edge.upstream = locked.upstream AND edge.downstream = locked.downstream"
)
_WANT = f"{TALLY.unnested(TallyKey._fields)} AS want ({', '.join(TallyKey._fields)})"
# Whose count is lowered does not matter, totals add the shards up; the highest one most likely stays above zero.
_FULLEST_SHARDS: Final = numbered(
    f"SELECT DISTINCT ON ({', '.join(TallyKey._fields)}) {', '.join(TallyKey._fields)}, shard "
    f"FROM {_WANT} JOIN tally USING ({', '.join(TallyKey._fields)}) "
    f"ORDER BY {', '.join(TallyKey._fields)}, count DESC"
)
_ADD: Final = numbered(ADD_TALLY)
_DROP_ZEROS: Final = numbered(
    "DELETE FROM tally WHERE ctid = ANY (ARRAY(SELECT tally.ctid "
    f"FROM {_WANT} JOIN tally USING ({', '.join(TallyKey._fields)}) WHERE count = 0 FOR UPDATE OF tally SKIP LOCKED))"
)


async def erase(database: Database, keys: Sequence[Key], *, whole: bool = False) -> int:
    """Delete those of the tasks that are final, with all their rows, and lower the tally."""
    found = await database.fetch(_FINAL, keys)
    if not found or (whole and len(found) < len(keys)):
        return 0
    keys = [record[0] for record in found]
    await database.execute(_DELETE, keys)
    counted = Counter(tally_key(record[2:8]) for record in found if record[1])
    if counted:
        wanted = list(zip(*counted, strict=True))
        fullest = {tally_key(record[:6]): record[6] for record in await database.fetch(_FULLEST_SHARDS, *wanted)}
        lowered = [(fullest.get(key, ""), *key, -count) for key, count in sorted(counted.items())]
        await database.execute(_ADD, *zip(*lowered, strict=True))
        await database.execute(_DROP_ZEROS, *wanted)
    await database.execute(_DELETE_EDGES, keys)
    return len(found)
