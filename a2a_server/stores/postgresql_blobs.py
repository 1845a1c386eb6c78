"""Parts of large objects as rows of the `blob` table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol, TypeVar

from a2a_server.stores.postgresql_link import Database
from a2a_server.stores.postgresql_tables import BLOB, numbered

T = TypeVar("T")

_ROWS_AT_ONCE: Final = 1024

_WRITE: Final = numbered(BLOB.insert("ON CONFLICT (object, part) DO UPDATE SET body = excluded.body"))
_READ: Final = "SELECT body FROM blob WHERE object = $1 AND part = $2"
_DELETE: Final = (
    "DELETE FROM blob USING (SELECT object, part FROM blob WHERE object = ANY ($1::text[]) ORDER BY object, part "
    "LIMIT $2 FOR UPDATE) AS gone WHERE blob.object = gone.object AND blob.part = gone.part"
)
_LIST: Final = "SELECT object, body FROM blob WHERE part = 0 AND object > $1 ORDER BY object LIMIT $2"


class Does(Protocol):
    """Does work with a connection and translates its errors."""

    async def __call__(self, work: Callable[[Database], Awaitable[T]], /) -> T:
        """What the work returns."""
        ...


class PostgresqlBlobs:
    """`ports.Blobs` by the connections of a `PostgresqlStore`."""

    def __init__(self, read: Does, write: Does) -> None:
        self._read = read
        self._write = write

    async def write(self, name: str, part: int, body: bytes) -> None:
        await self._write(lambda database: database.execute(_WRITE, [name], [part], [body]))

    async def read(self, name: str, part: int) -> bytes | None:
        body: bytes | None = await self._read(lambda database: database.fetchval(_READ, name, part))
        return body

    async def delete(self, names: Collection[str]) -> None:
        wanted = sorted(names)
        deleted = _ROWS_AT_ONCE
        while deleted == _ROWS_AT_ONCE:
            status = await self._write(lambda database: database.execute(_DELETE, wanted, _ROWS_AT_ONCE))
            deleted = int(status.rpartition(" ")[2])

    async def list(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        records = await self._read(lambda database: database.fetch(_LIST, after, limit))
        return [(name, body) for name, body in records]
