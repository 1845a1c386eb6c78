"""Doorbells by a MongoDB change stream: ringers insert into a small collection, and every process follows it.

The collection `bell` of the store's database forgets its documents after a minute (a TTL index). Change streams need a
replica set, as the store's transactions do. The driver goes on where a stream was cut, so a short cut loses nothing and
calls nobody to poll. Tested against SecantusDB, which speaks MongoDB's protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from pymongo import AsyncMongoClient
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConfigurationError as UnusableAddressError,
    InvalidName,
    OperationFailure,
    PyMongoError,
)
from pymongo.write_concern import WriteConcern

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.notifiers.relay import Relay, refused, unreachable
from a2a_server.settings.services import shown

GAP_SECONDS: Final = 0.002
LIMIT_BYTES: Final = 65_536
KEPT_SECONDS: Final = 60
_DATABASE: Final = "a2a"
_CLOSE_SECONDS: Final = 1.0
_SETTLED_SECONDS: Final = 0.02
_SELECT_MS: Final = 3_000  # below the relay's own patience, so that an error says why
_WAIT_MS: Final = 10_000  # how long the server keeps a question for what is new; the next one follows at once
_REFUSED: Final = frozenset(
    {11, 13, 18, 20, 8000, 40573}
)  # no such user, not his to do, wrong password; no replica set
_FAILED: Final = (PyMongoError, OSError, TimeoutError)

_Document = dict[str, Any]


class MongodbNotifier(Relay):
    """A `Notifier` between all processes on one MongoDB database.

    Args:
        url: `mongodb://host/database`, which may be the store's (no database: `a2a`).
    """

    def __init__(self, url: str) -> None:
        super().__init__(_Mongodb(url))


class _Mongodb:
    limit_bytes = LIMIT_BYTES
    gap_seconds = GAP_SECONDS

    def __init__(self, url: str) -> None:
        self._url = url
        self.address = shown(url)

    @asynccontextmanager
    async def link(self, heard: Callable[[bytes], None]) -> AsyncIterator[_Link]:
        client: AsyncMongoClient[_Document] = AsyncMongoClient(
            self._url, appname="a2a bells", serverSelectionTimeoutMS=_SELECT_MS, serverMonitoringMode="poll"
        )
        try:
            database = client.get_default_database(_DATABASE)
            bells = database.get_collection("bell", write_concern=WriteConcern(w=1))
            await bells.create_index("at", expireAfterSeconds=KEPT_SECONDS)
            async with await bells.watch(
                [{"$match": {"operationType": "insert"}}], max_await_time_ms=_WAIT_MS
            ) as stream:
                yield _Link(bells, stream, heard)
        finally:
            await _closed(client)

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        if isinstance(error, OperationFailure):
            reason = str(error).partition(", full error:")[0]
            return (refused if error.code in _REFUSED else unreachable)(self.address, reason)
        if isinstance(error, (UnusableAddressError, InvalidName)):
            return refused(self.address, error)
        return unreachable(self.address, error) if isinstance(error, _FAILED) else None


class _Link:
    def __init__(
        self,
        bells: AsyncCollection[_Document],
        stream: AsyncChangeStream[_Document],
        heard: Callable[[bytes], None],
    ) -> None:
        self._bells = bells
        self._stream = stream
        self._heard = heard

    async def send(self, payloads: Sequence[bytes]) -> None:
        now = datetime.now(UTC)
        await self._bells.insert_many([{"at": now, "bells": payload} for payload in payloads])

    async def stay(self) -> None:
        async for change in self._stream:
            self._heard(change["fullDocument"]["bells"])


async def _closed(client: AsyncMongoClient[_Document]) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            if not client.nodes:  # a connection that is being refused just now: the driver would leak its socket
                await asyncio.sleep(_SETTLED_SECONDS)
            await client.close()
    except _FAILED:
        pass  # what is left goes with its sockets
