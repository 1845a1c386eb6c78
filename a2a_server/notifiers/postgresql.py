"""Doorbells by PostgreSQL's LISTEN and NOTIFY, on one connection of its own.

A NOTIFY takes a lock of the whole server at its commit, so many rings become one statement (`GAP_SECONDS`), and its
payload has fewer than 8,000 bytes. Channels belong to a database: two deployments in one database each need a `prefix`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.notifiers.relay import Relay, refused, unreachable
from a2a_server.settings.services import checked_prefix, flag, shown, taken

GAP_SECONDS: Final = 0.002
LIMIT_BYTES: Final = 7_900
_OPTIONS: Final = {"prefix": "a2a", "pgbouncer": "false", "pool": "", "schema": ""}  # the last three are the store's
_CLOSE_SECONDS: Final = 1.0
_SEND: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_REFUSED: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    asyncpg.SyntaxOrAccessError,
    asyncpg.DataError,
    asyncpg.FeatureNotSupportedError,
)
_FAILED: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class PostgresqlNotifier(Relay):
    """A `Notifier` between all processes on one database.

    Args:
        url: `postgresql://user@host/database`, which may be the store's; option `prefix` (default a2a) names the
            channel, `{prefix}_bells`.

    Raises:
        ConfigurationError: an option that cannot be.
    """

    def __init__(self, url: str) -> None:
        carrier = _Postgresql(url)
        self._pooled = carrier.pooled
        super().__init__(carrier)

    async def open(self) -> None:
        if self._pooled:
            raise ConfigurationError(
                f"{self._carrier.address}: LISTEN does not work behind PgBouncer (pgbouncer=true). Give the notifier"
                " the database's direct address, --notifier postgresql://…, or another broker."
            )
        await super().open()


class _Postgresql:
    limit_bytes = LIMIT_BYTES
    gap_seconds = GAP_SECONDS

    def __init__(self, url: str) -> None:
        self._url, options = taken(url, _OPTIONS)
        self.address = shown(url)
        self.pooled = flag(url, "pgbouncer", options["pgbouncer"])
        self._channel = f"{checked_prefix(url, options['prefix'])}_bells"

    @asynccontextmanager
    async def link(self, heard: Callable[[bytes], None]) -> AsyncIterator[_Link]:
        connection = await asyncpg.connect(
            self._url,
            server_settings={"application_name": self._channel},
            max_cached_statement_lifetime=0,
        )
        try:
            link = _Link(connection, self._channel)
            await connection.add_listener(self._channel, lambda *told: heard(str(told[-1]).encode()))
            yield link
        finally:
            await _closed(connection)

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        if isinstance(error, _REFUSED):
            return refused(self.address, error)
        return unreachable(self.address, error) if isinstance(error, _FAILED) else None


class _Link:
    def __init__(self, connection: asyncpg.Connection, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._gone = asyncio.Event()
        connection.add_termination_listener(lambda _: self._gone.set())

    async def send(self, payloads: Sequence[bytes]) -> None:
        await self._connection.execute(_SEND, self._channel, [payload.decode() for payload in payloads])

    async def stay(self) -> None:
        await self._gone.wait()


async def _closed(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=_CLOSE_SECONDS)
    except _FAILED:
        connection.terminate()
