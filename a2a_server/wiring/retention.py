"""Retention by hand: what a round over a store would retire, or a round."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from uuid import uuid4

from a2a_server.engine.clock import StoreClock
from a2a_server.engine.collector import Collector
from a2a_server.engine.engine import wall_clock
from a2a_server.engine.reaching import reached
from a2a_server.engine.retiring import Retiring, Survey, retention_of
from a2a_server.engine.writer import Writer
from a2a_server.model.turns import Bell, Changes, Hint, Needs
from a2a_server.ports import TaskStore
from a2a_server.settings import Settings, local_path
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.wiring.backends import artifacts_of, shares
from a2a_server.wiring.operating import opened
from a2a_server.wiring.system import limits_of

PATIENCE_SECONDS = 10.0


async def retire(settings: Settings, *, dry_run: bool) -> Survey:
    """What was retired; dry_run: what would be, and nothing is touched.

    Raises ConfigurationError: a service is not there, or a server has the database file for itself (it retires by
    itself; a dry run works beside it).
    """
    lock = None if dry_run or shares(settings) else FileLock(local_path(settings.store))
    if lock is not None:
        lock.acquire()
    try:
        async with opened(settings) as store:
            return await _retired(settings, store, dry_run=dry_run)
    finally:
        if lock is not None:
            lock.release()


async def _retired(settings: Settings, store: TaskStore, *, dry_run: bool) -> Survey:
    limits, clock, random = limits_of(settings), StoreClock(wall_clock), Random()  # noqa: S311 - spreads rounds
    artifacts = artifacts_of(settings, store)
    await reached(artifacts.open, seconds=0, random=random)
    writer = Writer(
        store,
        _untold,
        shard="0",
        max_operations=limits.writer_operations,
        max_bytes=limits.writer_bytes,
        patience_seconds=PATIENCE_SECONDS,
        learn=clock.learn,
    )
    collector = Collector(
        store,
        artifacts,
        writer,
        id=uuid4().hex,
        collect_seconds=limits.collect_seconds,
        unused_object_seconds=limits.unused_object_seconds,
        clock=clock,
        random=random,
    )
    retiring = Retiring(
        store,
        artifacts,
        collector,
        writer,
        retention_of(limits),
        period_seconds=limits.retire_seconds,
        clock=clock,
        random=random,
    )
    clock.learn((await store.turn(Needs(), lambda _: Changes())).now)
    writing = asyncio.get_running_loop().create_task(writer.run())
    try:
        return await (retiring.survey() if dry_run else retiring.retire())
    finally:
        writer.close()
        await writing
        await artifacts.close()


async def _untold(bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
    """Nobody waits for what is deleted; whoever follows it finds out by the next poll."""
