"""What operators ask of a store from outside: who works on it, drain that one, bring its schema up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TypeVar
from uuid import uuid4

from a2a_server.engine.reaching import reached
from a2a_server.engine.writer import Writer
from a2a_server.errors import ConfigurationError, SchemaMismatch, StoreUnavailable
from a2a_server.lifecycle.draining import Drain
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key, WorkerRow
from a2a_server.model.turns import Bell, Changes, Hint, Needs
from a2a_server.ports import TaskStore
from a2a_server.settings import Settings, kind_of
from a2a_server.settings.services import shown
from a2a_server.stores.standing import EMPTY, MISSING
from a2a_server.wiring.backends import artifacts_of, queue_address, queue_of, shares, store_of

ResultT = TypeVar("ResultT")

PATIENCE_SECONDS = 10.0
HINT_SECONDS = 5.0


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[TaskStore]:
    """The store, open; an empty one is refused, because to open it would set it up.

    Raises ConfigurationError, SchemaMismatch.
    """
    store = store_of(settings)
    if (await _found(store)).endswith((EMPTY, MISSING)):
        raise ConfigurationError(
            f"{shown(settings.store)} is empty: no process has used it yet; name the store that they use."
        )
    await reached(store.open, seconds=0, random=Random())  # noqa: S311 - spreads retries, guards nothing
    try:
        yield store
    finally:
        await store.close()


async def _found(store: TaskStore) -> str:
    """What `examine` says."""
    found = ""

    async def look() -> None:
        nonlocal found
        found = await store.examine()

    await reached(look, seconds=0, random=Random())  # noqa: S311 - as below
    return found


async def workers_of(settings: Settings) -> tuple[Sequence[WorkerRow], int]:
    """Every worker that the store knows, by id, and the store's time in microseconds. Raises ConfigurationError."""
    async with opened(settings) as store:
        page = await store.rows(RowQuery(Table.WORKER, limit=10_000))
        loaded = await store.turn(Needs(), lambda _: Changes())
        return [row for row in page.rows if isinstance(row, WorkerRow)], loaded.now


async def drain(settings: Settings, worker: str) -> Key:
    """Tell the one worker whose id begins with `worker` to drain. Raises ConfigurationError."""
    if not shares(settings):
        raise ConfigurationError(
            f"{shown(settings.store)} has no worker processes of its own: stop the server with SIGTERM, it drains."
        )
    async with opened(settings) as store:
        page = await store.rows(RowQuery(Table.WORKER, limit=10_000))
        found = [row.id for row in page.rows if isinstance(row, WorkerRow) and row.id.hex().startswith(worker)]
        if len(found) != 1:
            many = f"{len(found)} workers have such an id" if found else "no worker has such an id"
            raise ConfigurationError(f"{worker}: {many}; `a2a-server workers` lists them.")
        writer = Writer(
            store, _untold, shard="0", max_operations=10, max_bytes=1 << 20, patience_seconds=PATIENCE_SECONDS
        )
        running = asyncio.get_running_loop().create_task(writer.run())
        try:
            if not await writer.submit(Drain(found[0])):
                raise ConfigurationError(f"{worker}: this worker is dead, or has gone.")
        finally:
            writer.close()
            await running
        return found[0]


async def migrate(settings: Settings) -> tuple[int, int]:
    """Bring the store's schema up to date; its number before and now. Raises ConfigurationError, SchemaMismatch."""
    store = store_of(settings)
    numbers = (0, 0)

    async def once() -> None:
        nonlocal numbers
        numbers = await store.migrate()

    await reached(once, seconds=settings.start_seconds, random=Random())  # noqa: S311 - as above
    return numbers


async def examined(settings: Settings) -> str:
    """What a start with these settings would find in store and artifact store. Raises ConfigurationError."""
    store = store_of(settings)
    found = await _reachable(store.examine)
    if kind_of(settings.artifacts) != "s3":
        return found
    artifacts = artifacts_of(settings.model_copy(update={"create_missing": False}), store)
    try:
        await _reachable(artifacts.open)
    finally:
        await artifacts.close()
    return f"{found}; artifacts go to {shown(settings.artifacts)}"


async def round_trip(settings: Settings) -> str:
    """Send a hint through the queue, and say how many others wait in it. Raises ConfigurationError."""
    address, name = shown(queue_address(settings)), f"check-{uuid4().hex[:8]}"
    queue = queue_of(settings)
    try:
        await _reachable(queue.open)
        key = Key(uuid4().bytes)
        await queue.offer([Hint(name, 3, 0, key)])
        if list(await queue.take([name], 1, HINT_SECONDS) or ()) != [key]:
            raise ConfigurationError(f"{address}: a hint that was sent did not come back; name another --queue.")
        depth = await queue.depth()
    finally:
        await queue.close()
    waiting = "" if not depth else f"; {sum(depth.values())} others wait in it"
    return f"{address}: a hint that was sent came back{waiting}"


async def _reachable(asking: Callable[[], Awaitable[ResultT]]) -> ResultT:
    try:
        return await asking()
    except (StoreUnavailable, SchemaMismatch) as error:
        raise ConfigurationError(str(error)) from error


async def _untold(bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
    """Workers look for the word themselves."""
