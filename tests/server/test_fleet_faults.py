"""What goes wrong between several processes on one PostgreSQL, one thing at a time; all at once: the history drill.

Each is a bug that another engine shipped or a race that was measured (core.md sections 2, 4 and 5).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.codec import decode_event
from a2a_server.model.objects import Phase, Scope, State, StatusEvent
from a2a_server.model.queries import DueKind, Page, RowQuery, Table
from a2a_server.model.requests import GetRequest
from a2a_server.model.rows import GateRow, Key, TaskRow
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import skill_gate
from a2a_server.settings import Settings, load
from a2a_server.wiring import System
from a2a_server.wiring.backends import store_of
from a2a_server.wiring.operating import opened
from tests.patience import PATIENCE
from tests.server.engines import Running
from tests.server.fleet import fleet, shared_places
from tests.server.leases import outlast, sql
from tests.server.waiting import until
from tests.services import Missing, Server, own
from tests.services.fresh import fresh_database
from tests.unit.misbehaving import MisbehavingStore

pytestmark = pytest.mark.embedded

QUICK = {"lease_seconds": 3600.0, "beat_seconds": 0.2, "poll_seconds": 0.1}
"""Everything is seen soon; leases end when the tests say so."""


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, object]]:
    with shared_places(tmp_path, queue="store") as found:
        yield {**found, "artifacts": (tmp_path / "artifacts").as_uri()}


class Runs:
    """Handlers that wait until they may go on, by the number of their run."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = asyncio.Event()

    def agent(self, number: int) -> Agent:
        agent = Agent("Faults")

        @agent.skill(default=True, max_concurrency=1)
        async def alone(text: str) -> AsyncIterator[str]:
            self.begun.append(text)
            mine = len(self.begun)
            with contextlib.suppress(asyncio.CancelledError):  # a stale run goes on all the same
                await self.may_end.wait()
            await asyncio.sleep(0)
            yield f"run {mine} by {number}"

        return agent


async def test_a_worker_whose_row_is_gone_registers_anew_and_writes_nothing_twice(places: dict[str, object]) -> None:
    # procrastinate #1518: a row that was pruned while its worker lived left the worker's jobs to nobody
    runs = Runs()
    async with fleet(runs.agent, places, fronts=1, workers=1, **{**QUICK, "beat_seconds": 1.5}) as made:
        [front], [worker] = made.fronts, made.workers
        task_id = await front.start("go")
        await until(lambda: len(runs.begun) == 1)
        before = worker.engine.worker.id
        async with sql(places) as database:
            assert await database.execute("DELETE FROM worker WHERE id = $1", before) == "DELETE 1"
        await until(lambda: worker.engine.worker.id not in {b"", before})
        await until(lambda: len(runs.begun) > 1)
        await held_by(front, task_id, worker.engine.worker.id)
        runs.may_end.set()
        row = await front.reached(task_id, Phase.FINAL)
        # Before it hears that its row is gone it claims nothing: its runs would be crashes, and three end a task.
        assert (row.state, row.fence, row.crashes) == (State.COMPLETED, 2, 1)
        assert await texts(front, row) == "run 2 by 1"
        await ends_once(front, row)


class Interrupted(MisbehavingStore):
    """Before the call `at` of its inner store the database goes away, and comes back while it is asked again."""

    def __init__(self, store: MisbehavingStore, server: Server, at: str) -> None:
        super().__init__(store.inner)
        self._server = server
        self._at = at
        self.back: asyncio.Task[None] | None = None

    async def due(self, kind: DueKind, limit: int) -> Any:  # noqa: ANN401 - as the one above
        await self._interrupt("due")
        return await super().due(kind, limit)

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        await self._interrupt("turn")
        return await super().turn(needs, decide)

    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        await self._interrupt(query.table.value)
        return await super().rows(query)

    async def register(self, worker: Any) -> None:  # noqa: ANN401 - as the one above
        await self._interrupt("register")
        await super().register(worker)

    async def _interrupt(self, at: str) -> None:
        if at == self._at and self.back is None:
            await asyncio.to_thread(self._server.stop, True)
            self.back = asyncio.create_task(asyncio.to_thread(self._server.start))


@pytest.fixture(scope="module")
def mortal() -> Iterator[Server]:
    try:
        with own("postgresql") as server:
            yield server
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("at", ["due", "worker", "turn", "gate", "register"])
async def test_a_database_that_restarts_during_recovery_ends_nothing(mortal: Server, tmp_path: Path, at: str) -> None:
    # DBOS #716: a start that met a database restart in its recovery gave up, and what it had to recover was stuck
    runs = Runs()
    with fresh_database(mortal.url) as url:
        places: dict[str, object] = {"store": url, "artifacts": (tmp_path / "artifacts").as_uri()}
        async with fleet(runs.agent, places, fronts=1, workers=1, **QUICK) as made:
            task_id = await made.fronts[0].start("go")
            await until(lambda: len(runs.begun) == 1)
            lost = made.workers[0].engine.worker.id
            made.workers[0].engine.worker.crash()
        await outlast(places, lost)
        settings = load(None, **{"backoff_base_seconds": 0.01, "drain_seconds": 0.0, **places, **QUICK})
        await orphaned(settings)
        store = Interrupted(MisbehavingStore(store_of(settings)), mortal, at)
        late = Running(System(runs.agent(2), settings, store=store), store)
        late.engine.writer._patience = 0.8  # a restart may take longer
        async with asyncio.timeout(PATIENCE):
            await late.system.start()
        try:
            assert store.back is not None
            await store.back
            runs.may_end.set()
            row = await late.reached(task_id, Phase.FINAL)
            assert (row.state, row.crashes) == (State.COMPLETED, 1)
            await ends_once(late, row)
        finally:
            await late.system.stop()


async def test_a_held_task_whose_wake_up_was_lost_is_woken_by_a_poll(places: dict[str, object]) -> None:
    runs = Runs()
    async with fleet(runs.agent, places, fronts=1, workers=2, **QUICK) as made:
        front = made.fronts[0]
        first = await front.start("first")
        await until(lambda: runs.begun == ["first"])
        second = await front.start("second")
        await front.reached(second, Phase.HELD)
        async with sql(places) as database:
            transaction = database.transaction()
            await transaction.start()
            await database.execute("SELECT 1 FROM task WHERE id = $1 FOR UPDATE", second)
            runs.may_end.set()
            await front.reached(first, Phase.FINAL)  # its turn passed the held row over, which somebody had locked
            assert (await front.row(second)).phase is Phase.HELD
            assert await used(front) == 0
            await transaction.rollback()
        assert (await front.reached(second, Phase.FINAL)).state is State.COMPLETED
        assert runs.begun == ["first", "second"]


async def orphaned(settings: Settings) -> None:
    """Somebody's lease is over."""
    async with opened(settings) as store, asyncio.timeout(PATIENCE):
        while not await store.due(DueKind.ORPHAN, 1):  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.05)


async def held_by(running: Running, task_id: str, worker: Key) -> TaskRow:
    """The task, once this worker runs it."""
    async with asyncio.timeout(PATIENCE):
        while (row := await running.row(task_id)).worker != worker:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.02)
    return row


async def used(running: Running) -> int:
    page = await running.store.inner.rows(RowQuery(Table.GATE, (skill_gate("alone"),)))
    [gate] = page.rows
    assert isinstance(gate, GateRow)
    return gate.used


async def texts(running: Running, row: TaskRow) -> str:
    task = await running.operations.get(Scope(), GetRequest(row.id))
    return "".join(part.text for artifact in task.artifacts for part in artifact.parts if hasattr(part, "text"))


async def ends_once(running: Running, row: TaskRow) -> None:
    """The log is whole, has one end, and no run wrote after its successor."""
    events = await running.store.inner.events(row.key, 0, 1000, 1 << 20)
    assert [event.n for event in events] == list(range(1, row.last_n + 1))
    assert [event.fence for event in events] == sorted(event.fence for event in events)
    told = [decode_event(event) for event in events]
    ends = [event.status.state for event in told if isinstance(event, StatusEvent) and event.status.state is row.state]
    assert len(ends) == 1
