"""Parts of large objects as rows of the `blob` table.

Parts share the writer's thread with turns, so all that is done here at once is small: one part, or some hundred rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from a2a_server.stores.sqlite_link import committed

T = TypeVar("T")

_ROWS_AT_ONCE: Final = 512

_WRITE: Final = (
    "INSERT INTO blob (object, part, body) VALUES (?, ?, ?) "
    "ON CONFLICT (object, part) DO UPDATE SET body = excluded.body"
)
_READ: Final = "SELECT body FROM blob WHERE object = ? AND part = ?"
_DELETE: Final = "DELETE FROM blob WHERE rowid IN (SELECT rowid FROM blob WHERE object = ? LIMIT ?)"
# Each name is found by one step in the index, however many parts it has.
_LIST: Final = """
WITH RECURSIVE named (name) AS (
  SELECT min(object) FROM blob WHERE object > ?
  UNION ALL
  SELECT (SELECT min(object) FROM blob WHERE object > named.name) FROM named WHERE named.name IS NOT NULL
)
SELECT object, body FROM named CROSS JOIN blob ON object = name AND part = 0 LIMIT ?
"""


class Does(Protocol):
    """Runs a function on a connection's thread, and raises StoreUnavailable and DataRejected."""

    def __call__(self, function: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]:
        """What the function returns."""
        ...


class SqliteBlobs:
    """`ports.Blobs` by the connections of a `SqliteStore`: `read` and `write` run a function on one of these."""

    def __init__(self, read: Does, write: Does) -> None:
        self._read = read
        self._write = write

    async def write(self, name: str, part: int, body: bytes) -> None:
        def insert(db: sqlite3.Connection) -> None:
            committed(db, lambda: db.execute(_WRITE, (name, part, body)))

        await self._write(insert)

    async def read(self, name: str, part: int) -> bytes | None:
        found = await self._read(lambda db: db.execute(_READ, (name, part)).fetchone())
        return None if found is None else bytes(found[0])

    async def delete(self, names: Collection[str]) -> None:
        left = list(names)
        while left:
            del left[: await self._write(partial(_delete_some, names=left))]

    async def list(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        return await self._read(lambda db: db.execute(_LIST, (after, limit)).fetchall())


def _delete_some(db: sqlite3.Connection, names: Sequence[str]) -> int:
    """Delete some hundred rows; returns of how many names, from the first, all parts are gone."""

    def deleted() -> int:
        room = _ROWS_AT_ONCE
        for done, name in enumerate(names):
            room -= db.execute(_DELETE, (name, room)).rowcount
            if room <= 0:
                return done
        return len(names)

    return committed(db, deleted)
