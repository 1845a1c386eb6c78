"""Connections to PostgreSQL: the address and our options in it, a small pool, transactions, and what errors mean.

What every session is to be like (`Address.settings`) is said when a connection is made; behind PgBouncer, where a
transaction may get any server connection, it is said again at every BEGIN instead, and nothing else is ever a matter of
the session: no prepared statements, no advisory locks, no LISTEN.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol, TypeVar, cast

import asyncpg

from a2a_server.errors import ConfigurationError, Conflict, DataRejected, EngineError, StoreUnavailable
from a2a_server.settings.services import flag, shown, taken, whole
from a2a_server.values import value_class

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 35.0
"""Longer than the server's own limit, so that it is the server that ends a slow statement, if it can be reached."""
READ_SECONDS: Final = 12.0
"""What a read may take, a new connection included: it waits for nobody's locks, and somebody waits for its answer."""
_CLOSE_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 1.5
"""What still runs when the pool is closed, and nobody waits for, may take so long; then its transaction is dropped."""
_ROLLBACK_SECONDS: Final = 2.0

# A host that vanished without a word is given up in about a lease: after 5 s of silence it is asked each second, and
# what was sent to it may stay unconfirmed for 8 s. A server that is only slow confirms all the same.
_GONE_MS: Final = 8000
_WATCHED: Final = {
    "TCP_KEEPIDLE": 5,  # macOS calls it TCP_KEEPALIVE
    "TCP_KEEPALIVE": 5,
    "TCP_KEEPINTVL": 1,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": _GONE_MS,
}

_OPTIONS: Final = {"pool": "8", "pgbouncer": "false", "schema": "", "prefix": ""}  # the last one is the notifier's
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_LIMITS: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    # A process that was stopped in a turn must not keep its locks for as long as a lease: among them may be the rows of
    # workers that live, whose beats then wait.
    "idle_in_transaction_session_timeout": "5s",
}
# Every statement finds its rows, and their order, by an index. Said here, because the planner would choose otherwise
# while tables are new and its figures old, and would keep that plan when they are large. (The driver has each statement
# planned again every five minutes, so even a choice between two indexes is not for ever.)
_PLANS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_material": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


class Database(Protocol):
    """What we use of asyncpg's connection. `timeout` is in seconds; without it `COMMAND_SECONDS` count."""

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> Sequence[Any]:  # noqa: ASYNC109 - asyncpg\'s
        """All records."""
        ...

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - asyncpg's
        """The first record, or None."""
        ...

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - asyncpg's
        """The first value of the first record, or None."""
        ...

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg\'s
        """The status; without arguments `query` may be several statements."""
        ...

    def is_closed(self) -> bool:
        """Whether it has ended."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def terminate(self) -> None:
        """End it at once."""
        ...

    async def close(self, *, timeout: float) -> None:  # noqa: ASYNC109 - asyncpg's
        """End it in good order."""
        ...


@value_class(frozen=True, slots=True)
class Address:
    """Where the database is. `dsn` is the driver's; `shown` is what people may see.

    size: connections of the pool. pooled: PgBouncer stands in between, in transaction mode. schema: '' = the role's own
    search path.
    """

    dsn: str
    shown: str
    size: int
    pooled: bool
    schema: str

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in `url`. Raises ConfigurationError for options that cannot be."""
        dsn, options = taken(url, _OPTIONS)
        schema = options["schema"]
        if schema and not _SCHEMA.fullmatch(schema):
            raise ConfigurationError(
                f"{shown(url)}: the option schema is a name of small letters, digits and _, not {schema!r}."
            )
        size = whole(url, "pool", options["pool"], 2, 1000)
        return cls(dsn, shown(url), size, flag(url, "pgbouncer", options["pgbouncer"]), schema)

    def settings(self, **more: str) -> dict[str, str]:
        """What a session, or behind PgBouncer a transaction, is to be like."""
        path = {"search_path": self.schema} if self.schema else {}
        return {**_LIMITS, **_PLANS, **path, **more}

    def begin(self, mode: str = "", **more: str) -> str:
        """What begins a transaction of `mode`. more: settings for it alone."""
        settings = self.settings(**more) if self.pooled else more
        return "; ".join((f"BEGIN {mode}", *(f"SET LOCAL {name} = '{value}'" for name, value in settings.items())))


async def connect(address: Address, seconds: float = CONNECT_SECONDS) -> Database:
    """A connection that is open. Raises what `opening` translates."""
    async with asyncio.timeout(seconds):
        database: Database = await asyncpg.connect(
            address.dsn,
            timeout=seconds,
            command_timeout=COMMAND_SECONDS,
            statement_cache_size=0 if address.pooled else 256,
            max_cacheable_statement_size=0,
            server_settings={"application_name": "a2a_server", **({} if address.pooled else address.settings())},
        )
    _watch(socket_of(database))
    return database


def socket_of(database: Database) -> socket.socket:
    """What carries the connection; the driver has no other way to it."""
    carrier: socket.socket = cast("Any", database)._transport.get_extra_info("socket")  # noqa: SLF001 - as said
    return carrier


def _watch(carrier: socket.socket) -> None:
    """Have the system notice a host that is gone, as far as it can; sockets of files need none of it."""
    if carrier.family not in (socket.AF_INET, socket.AF_INET6):
        return
    carrier.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _WATCHED.items():
        if (option := getattr(socket, name, None)) is not None:
            carrier.setsockopt(socket.IPPROTO_TCP, option, value)


class Pool:
    """Connections that are made when they are needed and made again when they have died.

    The port's promise that reads never wait for turns is kept here: turns get all connections but a quarter.

    Concurrency: one event loop. A caller that is canceled does not stop its work.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Database] = []
        self._all = asyncio.Semaphore(address.size)
        self._turns = asyncio.Semaphore(max(1, address.size * 3 // 4))
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def turn(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """What `work` returns or raises, errors of the driver translated; for whoever may wait for locks of rows."""

        async def limited() -> T:
            async with self._turns:
                return await self._work(work)

        return await self._shielded(limited)

    async def read(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """The same, for whoever waits for nobody: within `READ_SECONDS`."""
        return await self._shielded(lambda: self._work(work, READ_SECONDS))

    async def close(self) -> None:
        """Wait for what runs, briefly, then close every connection: within 4 s. May be called twice."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(self._last(), *map(ended, idle))

    async def _last(self) -> None:
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_LAST_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_CLOSE_SECONDS)

    async def _shielded(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        task = asyncio.ensure_future(work())
        self._running.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and not (caller and caller.cancelling()):  # `close` gave it up, not its caller
                raise StoreUnavailable("the store is closed") from None
            raise

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it may be gone

    async def _work(self, work: Callable[[Database], Awaitable[T]], seconds: float | None = None) -> T:
        async with self._all:
            with translated(self._address.shown):
                async with asyncio.timeout(seconds):
                    database = await self._free()
                    try:
                        result = await work(database)
                    except BaseException as error:
                        self._give_back(database, broken=not _keeps(error))
                        raise
            self._give_back(database)
            return result

    async def _free(self) -> Database:
        while self._idle:
            database = self._idle.pop()
            if not database.is_closed():
                return database
        return await connect(self._address)

    def _give_back(self, database: Database, *, broken: bool = False) -> None:
        if broken or self._closed or database.is_closed() or database.is_in_transaction():
            database.terminate()
        else:
            self._idle.append(database)


async def committed(database: Database, begin: str, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns, done in a transaction and committed; rolled back on every exception."""
    try:
        await database.execute(begin)
        result = await work()
        await _commit(database)
    except BaseException as error:
        await _rolled_back(database, error)
        raise
    return result


async def ended(database: Database) -> None:
    """The connection is closed, in good order if that is quick."""
    try:
        await database.close(timeout=_CLOSE_SECONDS)
    except (*_FAILED, asyncio.CancelledError):
        database.terminate()


async def _commit(database: Database) -> None:
    if (status := await database.execute("COMMIT")) != "COMMIT":  # so a transaction ends in which a statement failed
        raise StoreUnavailable(f"PostgreSQL answered {status} to COMMIT")


async def _rolled_back(database: Database, error: BaseException) -> None:
    if not _keeps(error):
        database.terminate()
    elif not database.is_closed() and database.is_in_transaction():
        with suppress(*_FAILED):
            await database.execute("ROLLBACK", timeout=_ROLLBACK_SECONDS)


def _keeps(error: BaseException) -> bool:
    """Whether the connection can still be used after the error: not when something may still be on its way in it."""
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):  # the server is a standby now
        return False
    return not isinstance(error, asyncio.CancelledError | TimeoutError | OSError | asyncpg.InterfaceError)


_FAILED: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_REJECTED: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeEncodeError,
)
_CONFLICTS: Final = (
    asyncpg.TransactionRollbackError,
    asyncpg.InvalidCachedStatementError,  # another process migrates; the driver has forgotten its plans by now
    asyncpg.OutdatedSchemaCacheError,
)
_UNAVAILABLE: Final = {
    asyncpg.LockNotAvailableError: f"another transaction kept a row locked for {_LIMITS['lock_timeout']}",
    asyncpg.QueryCanceledError: f"a statement took longer than {_LIMITS['statement_timeout']}",
    asyncpg.ReadOnlySQLTransactionError: "the server is read-only, as a standby is; name the primary",
    asyncpg.TooManyConnectionsError: (
        "the server has no connection left; make the option pool smaller, or raise its max_connections"
    ),
    asyncpg.ObjectNotInPrerequisiteStateError: "the database takes no connections at the moment",
    asyncpg.UndefinedTableError: "tables of the store are missing; restore a backup, or run `a2a-server migrate`",
}
_CREDENTIALS: Final = asyncpg.InvalidAuthorizationSpecificationError


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raises StoreUnavailable, DataRejected and Conflict instead of the driver's errors."""
    try:
        yield
    except (*_FAILED, UnicodeEncodeError) as error:
        raise _engine_error(where, error) from error


@contextmanager
def opening(where: str) -> Iterator[None]:
    """As `translated`, and raises ConfigurationError for what no waiting will mend."""
    try:
        yield
    except _FAILED as error:
        raise _refusal(where, error) or _engine_error(where, error) from error


def _engine_error(where: str, error: Exception) -> EngineError:
    if isinstance(error, _CONFLICTS):
        return Conflict("another transaction was in the way")
    if isinstance(error, _REJECTED):
        return DataRejected("PostgreSQL refused a value, or a text holds half of a surrogate pair")
    for kind, why in _UNAVAILABLE.items():
        if isinstance(error, kind):
            return StoreUnavailable(f"{where}: {why}")
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate:
        return StoreUnavailable(f"{where}: PostgreSQL failed with {error.sqlstate} ({type(error).__name__})")
    return StoreUnavailable(f"{where} does not answer ({type(error).__name__}): is PostgreSQL running there?")


def _refusal(where: str, error: Exception) -> ConfigurationError | None:
    if isinstance(error, asyncpg.InvalidPasswordError):
        return ConfigurationError(f"{where} refused user and password: mend them in the address of the store.")
    if isinstance(error, _CREDENTIALS):
        return ConfigurationError(
            f"{where} does not let this user in: mend the user in the address, or allow it in pg_hba.conf."
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return ConfigurationError(f"{where}: there is no such database. Create it (CREATE DATABASE), or name another.")
    if isinstance(error, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidSchemaNameError):
        return ConfigurationError(
            f"{where}: this user may not do what the store needs. Make it the owner of the database, or of the schema "
            "that the option schema names (GRANT CREATE, USAGE ON SCHEMA …)."
        )
    if isinstance(error, asyncpg.ClientConfigurationError | asyncpg.UndefinedObjectError):
        return ConfigurationError(
            f"{where}: the driver does not understand the address. It is "
            "postgresql://user:password@host:port/database, with the options pool, pgbouncer, schema and "
            "those of PostgreSQL (sslmode …)."
        )
    return None
