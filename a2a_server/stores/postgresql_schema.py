"""Brings a database's schema up to date, and refuses those that this code does not know.

Migrations are the numbered files of `sql/postgresql/`. Each is applied once, in one transaction with its number, under
an advisory lock that ends with the transaction; so any number of processes may do it at once, behind PgBouncer too.
`meta` holds the number of the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import resources
from typing import Final

from a2a_server.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from a2a_server.stores.postgresql_link import Address, Database, committed
from a2a_server.values import value_class

MIGRATION_SECONDS: Final = 3600.0
_OLDEST_SERVED: Final = 1
_LEAST_SERVER: Final = 14
_LOCK: Final = 0x61326173746F7265  # "a2astore"; advisory locks belong to one database

_STANDING: Final = (
    "SELECT current_setting('server_version_num')::int4 / 10000 AS server, pg_is_in_recovery() AS standby"
)
# Tables of extensions are nobody's.
_FIND_TABLES: Final = """
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')
AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
"""
_READ_VERSION: Final = "SELECT value FROM meta WHERE name = 'schema'"
_WRITE_VERSION: Final = (
    "INSERT INTO meta (name, value) VALUES ('schema', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


def known_migrations() -> tuple[str, ...]:
    """The migrations that come with this version, first to last."""
    folder = resources.files(__package__) / "sql" / "postgresql"
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(entry.read_text(encoding="utf-8") for entry in sorted(files, key=lambda entry: entry.name))


@value_class(frozen=True, slots=True)
class Schema:
    """What a version of this server knows: its migrations, and the oldest schema that it serves as it is."""

    migrations: Sequence[str]
    oldest: int = _OLDEST_SERVED

    @property
    def newest(self) -> int:
        """The number of the last migration."""
        return len(self.migrations)

    async def checked(self, database: Database, address: Address) -> int:
        """The number of the database's schema, which this version serves as it is; 0 = empty.

        Raises SchemaMismatch for any other one, ConfigurationError for a server that is too old, StoreUnavailable for a
        standby.
        """
        version = await committed(database, address.begin(), lambda: self._found(database, address))
        if 0 < version < self.oldest:
            raise SchemaMismatch(
                f"{address.shown} has schema {version}, this version serves {self.oldest} to {self.newest}: "
                "run `a2a-server migrate`"
            )
        return version

    async def migrate(self, database: Database, address: Address) -> tuple[int, int]:
        """The schema is the newest. Returns its number before and now. Raises as `checked`."""
        limits = {name: f"{round(MIGRATION_SECONDS)}s" for name in ("statement_timeout", "lock_timeout")}
        begin = address.begin(idle_in_transaction_session_timeout="60s", enable_seqscan="on", **limits)
        before: int | None = None
        while True:
            async with asyncio.timeout(MIGRATION_SECONDS):
                version = await committed(database, begin, lambda: self._step(database, address))
            before = version if before is None else before
            if version >= self.newest - 1:
                return before, self.newest

    async def _step(self, database: Database, address: Address) -> int:
        await database.execute(f"SELECT pg_advisory_xact_lock({_LOCK})", timeout=MIGRATION_SECONDS)
        version = await self._found(database, address)
        if version < self.newest:
            if version == 0 and address.schema:
                await database.execute(f'CREATE SCHEMA IF NOT EXISTS "{address.schema}"')
            await database.execute(self.migrations[version], timeout=MIGRATION_SECONDS)
            await database.execute(_WRITE_VERSION, str(version + 1))
        return version

    async def _found(self, database: Database, address: Address) -> int:
        server, standby = await database.fetchrow(_STANDING)
        if server < _LEAST_SERVER:
            raise ConfigurationError(
                f"{address.shown} is PostgreSQL {server}; the store needs {_LEAST_SERVER} or a later one."
            )
        if standby:
            raise StoreUnavailable(f"{address.shown} is a standby, which cannot be written: name the primary.")
        tables = {record[0] for record in await database.fetch(_FIND_TABLES)}
        if not tables:
            return 0
        found = await database.fetchrow(_READ_VERSION) if "meta" in tables else None
        if found is None or not str(found[0]).isdecimal():
            raise SchemaMismatch(
                f"{address.shown} has tables of another program: give this server a database of its own, or a schema "
                "in it (option schema)"
            )
        version = int(found[0])
        if version > self.newest:
            raise SchemaMismatch(
                f"{address.shown}: this database has schema {version}, this version knows up to {self.newest}: "
                "start the newer server again, or restore the backup made before the upgrade"
            )
        return version
