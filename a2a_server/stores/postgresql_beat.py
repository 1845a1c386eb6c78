"""Beats of workers: blocking, from a thread of their own, on a connection and an event loop that are nobody else's."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

from a2a_server.errors import StoreUnavailable
from a2a_server.model.rows import Key
from a2a_server.stores.postgresql_link import Address, Database, committed, connect, ended, translated
from a2a_server.stores.postgresql_load import NOW
from a2a_server.stores.postgresql_tables import numbered

BEAT_SECONDS: Final = 3.0
_BEAT: Final = numbered(f"UPDATE worker SET seen_at = greatest(seen_at, {NOW}) WHERE id = ? AND NOT dead")  # noqa: S608 - our own


class Beats:
    """One connection for beats. Concurrency: any thread without a running event loop; one beat at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        # A beat lost in a power cut tells nobody anything, so it need not wait for the disk.
        self._begin = address.begin(synchronous_commit="off", lock_timeout=f"{BEAT_SECONDS:.0f}s")
        self._using = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._database: Database | None = None
        self._closed = False

    def beat(self, worker: Key, offset_us: int) -> bool:
        """See `TaskStore.beat`. Gives up after `BEAT_SECONDS`. offset_us: added to the server's clock."""
        with self._using:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._loop is None:
                self._loop = asyncio.SelectorEventLoop()
            with translated(self._address.shown):
                return self._loop.run_until_complete(self._beat(worker, offset_us))

    def close(self) -> None:
        """End the connection; blocking. May be called twice."""
        with self._using:
            self._closed = True
            if self._loop is not None:
                if self._database is not None:
                    self._loop.run_until_complete(ended(self._database))
                self._loop.close()
            self._loop = self._database = None

    async def _beat(self, worker: Key, offset_us: int) -> bool:
        try:
            async with asyncio.timeout(BEAT_SECONDS):
                if self._database is None or self._database.is_closed():
                    self._database = await connect(self._address, BEAT_SECONDS)
                database = self._database
                status = await committed(database, self._begin, lambda: database.execute(_BEAT, offset_us, worker))
        except BaseException:
            if self._database is not None:
                self._database.terminate()
            self._database = None
            raise
        return status == "UPDATE 1"
