"""What workers may not get, and what sweeps find: the dead, the newer and the many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

from a2a_server.engine.sweeper import Sweeper
from a2a_server.engine.tidying import Tidying
from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.sweeping import Bury
from a2a_server.model.objects import Phase
from a2a_server.model.queries import DueKind
from a2a_server.model.rows import WorkerRow
from a2a_server.model.turns import Bell, Changes, Hint, Needs
from a2a_server.stores.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.unit.misbehaving import MisbehavingStore
from tests.unit.turns import WORKER, MemoryTurns, claim, key, submit


async def silence(bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
    """Nobody is told."""


def test_a_dead_worker_gets_nothing() -> None:
    store = MemoryTurns()
    store.do(submit(1))
    store.register()
    store.one(Bury((WORKER,), certain=True))
    assert store.one(claim()).rows == ()
    sent = store.one(submit(2, skill="other", worker=WORKER))
    assert (sent.leased, sent.row.phase) == (False, Phase.READY)
    assert store.tasks[key(1)].phase is Phase.READY


def test_a_worker_that_dies_in_the_same_turn_gets_nothing() -> None:
    store = MemoryTurns()
    store.register()
    _, sent, claimed = store.do(Bury((WORKER,), certain=True), submit(1, worker=WORKER), claim())
    assert (sent.leased, claimed.rows) == (False, ())


def test_a_task_of_a_newer_format_is_left_to_newer_code() -> None:
    store = MemoryTurns()
    store.register()
    store.do(*(submit(number) for number in (1, 2, 3)))
    store.tasks[key(1)] = newer = store.tasks[key(1)]._replace(format=2, spec=b"\2unknown")
    claimed = store.one(claim())
    assert [row.key for row in claimed.rows] == [key(2), key(3)]
    assert store.tasks[key(1)] == newer
    assert store.one(claim()).more is False


async def test_one_sweep_rescues_thousands(tmp_path: Path) -> None:
    count = 2000
    store = SqliteStore(tmp_path / "tasks.db")
    await store.open()
    await store.register(WorkerRow(WORKER, 0, 3_600_000_000, dead=False, format=1, body=b""))
    writer = Writer(store, silence, shard="0", max_operations=10_000, max_bytes=64 << 20, patience_seconds=8.0)
    committing = asyncio.create_task(writer.run())
    sweeper = Sweeper(store, writer, poll_seconds=60.0, random=Random(1), checks=())  # noqa: S311 - not for secrets
    sends = [writer.post(submit(number, worker=WORKER)) for number in range(1, count + 1)]
    assert all([(await sent).leased for sent in sends])
    await writer.submit(Bury((WORKER,), certain=True))
    assert await sweeper.rescue_orphans() == count
    assert not await store.due(DueKind.ORPHAN, 1)
    assert await sweeper.recover(alone=True) == 0
    writer.close()
    await committing
    await store.close()


async def test_who_looks_does_not_wait_for_turns(tmp_path: Path) -> None:
    """A turn may wait for a row that a process keeps locked which stands still."""
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    await store.register(WorkerRow(WORKER, 0, 3_600_000_000, dead=False, format=1, body=b""))
    writer = Writer(store, silence, shard="0", max_operations=10, max_bytes=1 << 20, patience_seconds=8.0)
    committing = asyncio.create_task(writer.run())
    assert (await writer.submit(submit(1, worker=WORKER))).leased
    await writer.submit(Bury((WORKER,), certain=True))
    looks = asyncio.Queue[None]()

    async def look() -> None:
        looks.put_nowait(None)

    sweeper = Sweeper(store, writer, poll_seconds=0.01, random=Random(1), checks=(look,))  # noqa: S311 - as above
    store.gate.clear()
    endless = [asyncio.create_task(work) for work in (sweeper.run(), sweeper.look())]
    async with asyncio.timeout(PATIENCE):
        await store.held.wait()
        for _ in range(20):
            await looks.get()
    store.gate.set()
    for task in endless:
        task.cancel()
    await asyncio.gather(*endless, return_exceptions=True)
    writer.close()
    await committing
    await store.close()


async def test_workers_that_are_long_gone_are_forgotten_and_counts_are_mended(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tasks.db")
    await store.open()
    await store.register(WorkerRow(key(1), 0, 8_000_000, dead=False, format=1, body=b""))
    store._offset = 2 * 86_400 * 1_000_000
    await store.register(WorkerRow(key(2), 0, 8_000_000, dead=False, format=1, body=b""))
    writer = Writer(store, silence, shard="0", max_operations=10, max_bytes=1 << 20, patience_seconds=8.0)
    committing = asyncio.create_task(writer.run())
    sweeper = Sweeper(store, writer, poll_seconds=60.0, random=Random(1), checks=())  # noqa: S311 - as above
    assert await sweeper.forget_workers() == 1
    assert await sweeper.forget_workers() == 0
    assert not await asyncio.to_thread(store.beat, key(1))
    assert await asyncio.to_thread(store.beat, key(2))
    tidying = Tidying(store, writer, lambda: 0)
    gate = await writer.submit(SetLimit("skill:echo", 2))
    assert await tidying.tidy_gates() == 0
    await store.turn(Needs(gates={gate.key}), lambda _: Changes(gates=[gate._replace(used=2, rev=2)]))
    assert await tidying.tidy_gates() == 1
    writer.close()
    await committing
    await store.close()
