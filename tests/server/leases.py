"""Leases that end when a test says so, and not when the machine was slow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg  # type: ignore[import-untyped,unused-ignore]

from a2a_server.model.rows import Key


@asynccontextmanager
async def sql(places: Mapping[str, object]) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the PostgreSQL of these settings."""
    connection = await asyncpg.connect(str(places["store"]).partition("?")[0])
    try:
        yield connection
    finally:
        await connection.close()


async def outlast(places: Mapping[str, object], worker: Key) -> None:
    """From now on the worker, which beats no more, has been silent for longer than its lease.

    A beat that is on its way may still come: it says when the worker was seen, but not how long that counts.
    """
    async with sql(places) as database:
        assert await database.execute("UPDATE worker SET seen_at = 0, ttl = 0 WHERE id = $1", worker) == "UPDATE 1"
