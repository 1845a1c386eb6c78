"""How much a run may have uncommitted, and what waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from a2a_server.artifacts.filesystem import FilesystemArtifacts
from a2a_server.engine.attempt import RunningAttempt
from a2a_server.engine.children import Children
from a2a_server.engine.limits import Limits
from a2a_server.engine.taskview import view_of
from a2a_server.engine.writer import Writer
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.model.objects import File, Message, Role, State, Text
from a2a_server.model.queries import Stored
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import Chunk, LogLine, Output
from a2a_server.model.turns import Bell, Hint
from a2a_server.stores.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.unit.misbehaving import MisbehavingStore
from tests.unit.turns import LIVING, WORKER, submit

LIMITS = Limits(inline_bytes=1000, uncommitted_bytes=10_000)


class SlowArtifacts(FilesystemArtifacts):
    """Puts begin and wait until the gate is open."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        self.begun.set()
        await self.gate.wait()
        return await super().put(name, chunks, limit_bytes=limit_bytes, media_type=media_type)


class Bench:
    """An attempt over a real store, and its gates."""

    def __init__(self, store: MisbehavingStore, artifacts: SlowArtifacts, attempt: RunningAttempt) -> None:
        self.store = store
        self.artifacts = artifacts
        self.attempt = attempt

    async def waits(self) -> asyncio.Task[None]:
        """A wait for room that goes on although the loop has had every chance."""
        waiting = asyncio.create_task(self.attempt.room())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        return waiting


def childless(row: TaskRow, check: Callable[[], None]) -> Children:
    raise AssertionError(f"{row.id} spawns nothing")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    await store.register(LIVING)

    async def tell(bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        """Nobody is told."""

    writer = Writer(store, tell, shard="0", max_operations=100, max_bytes=1 << 20, patience_seconds=PATIENCE)
    committing = asyncio.create_task(writer.run())
    row = (await writer.submit(submit(1, worker=WORKER))).row
    artifacts = SlowArtifacts(tmp_path / "artifacts")
    message = Message(Role.USER, (Text("go"),), id="m")
    attempt = RunningAttempt(
        row,
        view_of(row, (message,)),
        writer=writer,
        store=store,
        artifacts=artifacts,
        limits=LIMITS,
        retries=LIMITS.retries,
        on_lost=lambda _: None,
        awaited=lambda _: True,
        spawning=childless,
    )
    yield Bench(store, artifacts, attempt)
    store.gate.set()
    artifacts.gate.set()
    writer.close()
    await asyncio.wait_for(committing, PATIENCE)
    await artifacts.close()
    await store.close()


def large(size: int) -> Chunk:
    return Chunk("file", (File("a.bin", raw=bytes(size)),), last=True)


@pytest.mark.parametrize("behind", [[], [Chunk("text", (Text("x" * 900),))] * 10, [LogLine("info", "x" * 900)] * 10])
async def test_what_waits_for_an_upload_is_bounded_in_bytes(bench: Bench, behind: list[Output]) -> None:
    bench.attempt.emit(large(2000 if behind else 20_000))
    await asyncio.wait_for(bench.artifacts.begun.wait(), PATIENCE)
    for output in behind:
        bench.attempt.emit(output)
    waiting = await bench.waits()
    bench.artifacts.gate.set()
    await asyncio.wait_for(waiting, PATIENCE)
    await asyncio.wait_for(bench.attempt.flush(), PATIENCE)
    assert (bench.attempt._backlog.size, bench.attempt._backlog.count) == (0, 0)


async def test_log_lines_count(bench: Bench) -> None:
    bench.store.gate.clear()
    for _ in range(11):
        bench.attempt.emit(LogLine("info", "x" * 1000))
    waiting = await bench.waits()
    bench.store.gate.set()
    await asyncio.wait_for(waiting, PATIENCE)


async def test_bytes_are_given_back_when_an_upload_fails(bench: Bench) -> None:
    await bench.artifacts.close()
    bench.artifacts.gate.set()
    bench.attempt.emit(large(20_000))
    with pytest.raises(Exception, match="could not be stored"):
        await asyncio.wait_for(bench.attempt.room(), PATIENCE)
    await asyncio.wait_for(bench.attempt.room(), PATIENCE)
    row = await asyncio.wait_for(bench.attempt.finish(End(EndKind.FAILED, "It was not stored.")), PATIENCE)
    assert row.state is State.FAILED


async def test_a_flush_waits_only_for_what_was_said_before(bench: Bench) -> None:
    async def tick() -> None:
        while True:
            bench.attempt.emit(LogLine("info", "tick"))
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    try:
        bench.attempt.emit(Chunk("text", (Text("x"),)))
        assert await asyncio.wait_for(bench.attempt.flush(), PATIENCE) == 3
    finally:
        ticking.cancel()
