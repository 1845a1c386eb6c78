"""A client of a MongoDB deployment: its options, clock and transactions, and what its errors mean to the engine."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from bson.codec_options import TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.errors import BSONError
from bson.int64 import Int64
from pymongo import AsyncMongoClient, MongoClient, ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError as UnusableAddressError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import split_options
from pymongo.write_concern import WriteConcern

from a2a_server.errors import ConfigurationError, Conflict, DataRejected, EngineError, StoreUnavailable
from a2a_server.settings.services import shown
from a2a_server.stores.mongodb_rows import Document

T = TypeVar("T")

DEFAULT_DATABASE: Final = "a2a"
LOCK_SECONDS: Final = 3.0
"""How long a transaction tries again because another one has a row that it needs;"""
LOCK_TRIES: Final = 100
"""and how often at least, where a try takes long."""


class _PlainNumbers(TypeDecoder):
    """Numbers come as plain ones, also those that the driver would mark as having been large in the database."""

    bson_type = Int64

    def transform_bson(self, value: int) -> int:
        return int(value)


# What keeps the promises of the store, whatever the address says.
_OURS: Final[dict[str, Any]] = {
    "w": "majority",
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "type_registry": TypeRegistry([_PlainNumbers()]),
}
# How long to wait before the store is called unavailable, in milliseconds. The address may say otherwise of all this.
_PATIENCE: Final[dict[str, Any]] = {
    # One connection fewer; and the driver leaks the other one when it is closed while that connects.
    "serverMonitoringMode": "poll",
    "serverSelectionTimeoutMS": 4_000,
    "connectTimeoutMS": 4_000,
    "socketTimeoutMS": 20_000,
    "wtimeoutMS": 10_000,
}
_SETTLED_SECONDS: Final = 0.02
_BEAT_PATIENCE: Final = {**_PATIENCE, "socketTimeoutMS": 4_000, "wtimeoutMS": 3_000}

_CONFLICT: Final = 112
_DUPLICATE: Final = 11000
_REFUSED: Final = frozenset({11, 13, 18, 8000})  # user not found, unauthorized, authentication failed (also Atlas)
_NO_VALUE: Final = frozenset({2, 9, 14, 121, 10334, 17280, 17419, 17420})  # a bad, or a too large, value or document
_TOO_OLD: Final = frozenset({239, 246})


class Link:
    """A connected client. Concurrency: one event loop; `beat_client` and `tick` from any thread.

    Raises ConfigurationError for an address that is none.
    """

    def __init__(self, url: str, clock_offset_us: int) -> None:
        self.address = shown(url)
        self._url = url
        self._offset = clock_offset_us
        self._latest = 0
        self._time = threading.Lock()
        with self.opening():
            options = split_options(urlsplit(url).query, warn=False) if "?" in url else {}
            self._given = {name.lower() for name in options}
            self.client: AsyncMongoClient[Document] = AsyncMongoClient(url, **self._options(_PATIENCE))
            self.db: AsyncDatabase[Document] = self.client.get_default_database(DEFAULT_DATABASE)

    async def now(self) -> int:
        """The deployment's time in microseconds (its clock ticks milliseconds); it never goes back."""
        return self.tick(await self.client.admin.command("hello"))

    def tick(self, hello: Document) -> int:
        """The time of an answer to `hello`."""
        said = int(DatetimeMS(hello["localTime"])) * 1000
        with self._time:
            self._latest = max(self._latest, said + self._offset)
            return self._latest

    def beat_client(self) -> MongoClient[Document]:
        """A blocking client of the same deployment."""
        return MongoClient(self._url, **self._options(_BEAT_PATIENCE))

    async def transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """What `work` returns, done in a transaction, and again for as long as others are in its way.

        Raises Conflict when they still are after LOCK_SECONDS and LOCK_TRIES, and as `translated`.
        """
        until = time.monotonic() + LOCK_SECONDS
        tries = 0
        while True:
            try:
                with self.translated():
                    async with self.client.start_session() as session:
                        await begin(session)
                        result = await work(session)
                        await session.commit_transaction()
                        return result
            except Conflict:
                tries += 1
                if tries >= LOCK_TRIES and time.monotonic() > until:
                    raise
            await pause(tries)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raises StoreUnavailable, Conflict and DataRejected instead of the driver's errors."""
        try:
            yield
        except (PyMongoError, BSONError, OverflowError, UnicodeEncodeError) as error:
            raise self._engine_error(error) from error

    @contextmanager
    def opening(self) -> Iterator[None]:
        """As `translated`, and raises ConfigurationError for what trying again cannot mend."""
        try:
            yield
        except (UnusableAddressError, InvalidURI, InvalidName, ValueError) as error:
            reason = "" if isinstance(error, InvalidURI) else f" ({error})"  # it may tell the password
            raise ConfigurationError(
                f"{self.address} cannot be used{reason}: write mongodb://user:password@host:27017/database, "
                "with special characters of user and password percent-encoded"
            ) from error
        except OperationFailure as error:
            if codes(error) & _REFUSED:
                raise ConfigurationError(
                    f"{self.address} refuses this server: its user or password is wrong, or may not read, write and "
                    "make collections in this database; correct the address, or grant the role readWrite"
                ) from error
            raise self._engine_error(error) from error
        except PyMongoError as error:
            raise self._engine_error(error) from error

    async def close(self) -> None:
        """End all connections."""
        if not self.client.nodes:  # its monitor may be about to be refused: the driver would leak that socket
            await asyncio.sleep(_SETTLED_SECONDS)
        await self.client.close()

    def _options(self, patience: dict[str, Any]) -> dict[str, Any]:
        ours = {name: value for name, value in patience.items() if name.lower() not in self._given}
        return {**ours, **_OURS}

    def _engine_error(self, error: Exception) -> EngineError:
        if isinstance(error, UnicodeEncodeError):
            return DataRejected("a text holds half of a surrogate pair")
        if not isinstance(error, PyMongoError) or isinstance(error, BSONError):
            return DataRejected("MongoDB cannot keep a value: it is too large, or of no type of its own")
        if error.has_error_label("UnknownTransactionCommitResult"):
            return StoreUnavailable(f"{self.address} did not say whether it committed")
        if isinstance(error, OperationFailure):
            return self._answered(error)
        return StoreUnavailable(f"{self.address} does not answer: is it running, and reachable from here?")

    def _answered(self, error: OperationFailure) -> EngineError:
        found = codes(error)
        if _CONFLICT in found or error.has_error_label("TransientTransactionError"):
            return Conflict("another transaction has a row of this one")
        if _DUPLICATE in found:
            return Conflict("another writer made a row of this turn")
        if found & _NO_VALUE:
            return DataRejected("MongoDB refused a value")
        said = f"answered with error {', '.join(map(str, sorted(found)))}"
        if found & _TOO_OLD:
            said = (
                "has forgotten the moment that was read: raise its parameter minSnapshotHistoryWindowInSeconds above "
                "the time that this takes"
            )
        elif found & _REFUSED:
            said = "refuses this server, which it took before"
        return StoreUnavailable(f"{self.address} {said}")


async def begin(session: AsyncClientSession) -> None:
    """A transaction begins that sees one moment, and whose commit survives the loss of a member."""
    await session.start_transaction(
        read_concern=ReadConcern("snapshot"),
        write_concern=WriteConcern("majority", wtimeout=_PATIENCE["wtimeoutMS"]),
        read_preference=ReadPreference.PRIMARY,
    )


async def pause(tries: int) -> None:
    """Wait a little, longer after more tries and never as long as others do."""
    await asyncio.sleep(random.uniform(0, min(0.001 * 2**tries, 0.03)))  # noqa: S311 - spreads retries, no secret


def codes(error: OperationFailure) -> set[int]:
    """Every error code that an answer has."""
    found = {error.code} if error.code is not None else set()
    if isinstance(error, BulkWriteError):
        found.update(each["code"] for each in error.details.get("writeErrors", ()))
    return found


def is_duplicate(error: OperationFailure) -> bool:
    """Whether nothing is wrong but that a row is there already."""
    return codes(error) - {65} == {_DUPLICATE}  # 65: several, and which
