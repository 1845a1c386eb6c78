from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from a2a_server.engine import writer
from a2a_server.engine.writer import TURN_OPERATIONS, Writer, _GroupTurn
from a2a_server.errors import (
    Changed,
    Conflict,
    DataRejected,
    InvalidParams,
    LeaseLost,
    Overloaded,
    StoreUnavailable,
    TaskNotFound,
)
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.lifecycle.runs import Claimed, Draft
from a2a_server.lifecycle.submission import Submitted
from a2a_server.lifecycle.sweeping import Wake
from a2a_server.lifecycle.templates import PutTemplate
from a2a_server.lifecycle.together import AllOrNone
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase, State
from a2a_server.model.options import TaskOptions
from a2a_server.model.rows import EventKind, Key, RecordKey, TaskRow
from a2a_server.model.templates import Template
from a2a_server.model.turns import Bell, Changes, Hint, Needs
from a2a_server.policy import SECOND
from a2a_server.stores.sqlite import SqliteStore
from tests.patience import PATIENCE
from tests.unit.misbehaving import MisbehavingStore
from tests.unit.turns import LIVING, WORKER, MemoryTurns, cancel, claim, key, report, submit


class Bench:
    """A writer over a store, and what it told the world."""

    def __init__(self, store: MisbehavingStore, *, operations: int = 100, patience: float = PATIENCE) -> None:
        self.store = store
        self.told: list[tuple[list[Key], list[Key], int | None]] = []
        self.writer = Writer(
            store, self.tell, shard="0", max_operations=operations, max_bytes=1 << 20, patience_seconds=patience
        )
        self.running = asyncio.create_task(self.writer.run())

    async def tell(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
        self.told.append(([bell.key for bell in bells], [hint.key for hint in hints], alarm))

    async def do(self, operation: Any) -> Any:  # noqa: ANN401 - the operation's result
        return await asyncio.wait_for(self.writer.submit(operation), PATIENCE)

    async def gathered(self, *operations: Any) -> list[Any]:  # noqa: ANN401 - any operation
        """Outcomes of operations that were posted together, errors among them."""
        posted = [self.writer.post(operation) for operation in operations]
        return await asyncio.wait_for(asyncio.gather(*posted, return_exceptions=True), PATIENCE)

    async def row(self, number: int) -> TaskRow:
        found = await self.store.inner.snapshot(key(number), 0)
        assert found is not None
        return found.task

    async def close(self) -> None:
        self.store.gate.set()
        self.writer.close()
        await asyncio.wait_for(self.running, PATIENCE)


@dataclass(frozen=True)
class Broken:
    """An operation with a bug: it changes the task and raises then."""

    task: Key
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.add(self.task)

    def decide(self, turn: Turn) -> None:
        turn.put(turn.rows[self.task]._replace(context="spoilt"))
        raise ZeroDivisionError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MisbehavingStore]:
    store = MisbehavingStore(SqliteStore(tmp_path / "tasks.db"))
    await store.open()
    await store.register(LIVING)
    yield store
    await store.close()


@pytest.fixture
async def bench(store: MisbehavingStore) -> AsyncIterator[Bench]:
    bench = Bench(store)
    yield bench
    await bench.close()


async def test_what_is_posted_together_is_one_turn(bench: Bench) -> None:
    outcomes = await bench.gathered(*(submit(number) for number in range(1, 6)))
    assert [one.row.key for one in outcomes] == [key(number) for number in range(1, 6)]
    assert bench.store.turns == [5]
    ready = [key(number) for number in range(1, 6)]
    await bench.close()
    assert bench.told == [(ready, ready, None)]


async def test_what_comes_during_a_commit_is_the_next_turn(bench: Bench) -> None:
    bench.store.gate.clear()
    first = bench.writer.post(submit(1))
    await asyncio.sleep(0)
    rest = [bench.writer.post(submit(number)) for number in (2, 3)]
    bench.store.gate.set()
    await asyncio.wait_for(asyncio.gather(first, *rest), PATIENCE)
    assert bench.store.turns == [1, 2]


async def test_what_nobody_waits_for_is_committed_with_what_comes_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GATHER_SECONDS", 3600)
    await asyncio.sleep(0)  # the writer is idle
    patient = [bench.writer.post(submit(number), patient=True) for number in (1, 2)]
    await asyncio.sleep(0)
    assert not any(future.done() for future in patient)
    await asyncio.wait_for(asyncio.gather(*patient, bench.writer.post(submit(3))), PATIENCE)
    assert bench.store.turns == [3]
    waiting = bench.writer.post(submit(4), patient=True)
    await bench.close()
    assert waiting.done(), "a writer that closes waits for nobody"


async def test_what_nobody_waits_for_is_committed_all_the_same(bench: Bench) -> None:
    await asyncio.sleep(0)  # the writer is idle
    await asyncio.wait_for(bench.writer.post(submit(1), patient=True), PATIENCE)
    assert bench.store.turns == [1]


async def test_turns_are_bounded_in_operations_and_bytes(store: MisbehavingStore) -> None:
    bench = Bench(store, operations=5000)
    await bench.gathered(*(claim() for _ in range(TURN_OPERATIONS + 1)))
    assert len(store.turns) == 2
    await bench.close()
    store.turns.clear()
    bench = Bench(store)
    bench.writer._max_bytes = 1 << 30
    await bench.gathered(*(submit(number, body=b"\1" + bytes(3 << 20)) for number in (1, 2)), submit(3))
    assert store.turns == [1, 2]
    await bench.close()


async def test_an_outcome_is_told_after_the_commit(bench: Bench) -> None:
    settled: list[State] = []
    bench.store.gate.clear()
    future = bench.writer.post(submit(1), lambda outcome: settled.append(outcome.row.state))  # type: ignore[union-attr]  # it is no error here
    await asyncio.sleep(0)
    assert not future.done()
    assert not settled
    bench.store.gate.set()
    submitted = await asyncio.wait_for(future, PATIENCE)
    assert settled == [State.SUBMITTED]
    assert (await bench.row(1)).key == submitted.row.key


async def test_one_operation_that_is_refused_fails_alone(bench: Bench) -> None:
    first, refused, third = await bench.gathered(submit(1), submit(2, task_id="unknown"), submit(3))
    assert isinstance(refused, TaskNotFound)
    assert [first.row.key, third.row.key] == [key(1), key(3)]


async def test_a_bug_in_one_decision_leaves_no_trace(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await bench.do(submit(1))
    broken, other, also = await bench.gathered(Broken(key(1)), submit(2), Broken(key(1)))
    assert isinstance(broken, ZeroDivisionError)
    assert isinstance(also, ZeroDivisionError)
    assert other.row.key == key(2)
    assert (await bench.row(1)).context == "context-1"
    assert "Broken could not be decided" in caplog.text


@pytest.mark.parametrize(("bad", "error"), [("poison", DataRejected), ("contested", Conflict)])
async def test_a_culprit_is_found_by_halving(bench: Bench, bad: str, error: type[Exception]) -> None:
    getattr(bench.store, bad).add(key(5))
    outcomes = await bench.gathered(*(submit(number) for number in range(1, 9)))
    assert [number for number, one in enumerate(outcomes, 1) if isinstance(one, error)] == [5]
    assert [number for number, one in enumerate(outcomes, 1) if isinstance(one, Submitted)] == [1, 2, 3, 4, 6, 7, 8]
    assert (await bench.row(8)).phase is Phase.READY
    assert (await bench.do(submit(9))).row.key == key(9)


async def test_a_silent_store_is_asked_again(bench: Bench) -> None:
    bench.store.silent = 2
    assert (await bench.do(submit(1))).row.key == key(1)


async def test_patience_ends(store: MisbehavingStore) -> None:
    bench = Bench(store, patience=0.0)
    store.silent = 1
    outcomes = await bench.gathered(submit(1), claim())
    assert all(isinstance(one, StoreUnavailable) for one in outcomes)
    assert not bench.told
    assert (await bench.do(submit(2))).row.key == key(2), "the writer goes on"
    await bench.close()


async def test_a_full_writer_refuses_clients_only(store: MisbehavingStore) -> None:
    bench = Bench(store, operations=2)
    store.gate.clear()
    posted: list[asyncio.Future[Any]] = [bench.writer.post(submit(number)) for number in (1, 2)]
    with pytest.raises(Overloaded) as refusal:
        bench.writer.post(submit(3))
    assert refusal.value.retry_after_seconds == 1
    posted.append(bench.writer.post(claim()))
    store.gate.set()
    await asyncio.wait_for(asyncio.gather(*posted), PATIENCE)
    assert (await bench.do(submit(4))).row.key == key(4)
    await bench.close()


async def test_bytes_that_wait_are_bounded_too(store: MisbehavingStore) -> None:
    bench = Bench(store)
    store.gate.clear()
    posted = bench.writer.post(submit(1, body=b"\1" + bytes(1 << 20)))
    with pytest.raises(Overloaded):
        bench.writer.post(submit(2))
    store.gate.set()
    await asyncio.wait_for(posted, PATIENCE)
    await bench.do(submit(3))
    await bench.close()


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cancelled_callers_operation_is_executed_all_the_same(bench: Bench, begun: bool) -> None:
    bench.store.gate.clear()
    caller = asyncio.create_task(bench.writer.submit(submit(1)))
    await asyncio.sleep(0)
    if begun:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    bench.store.gate.set()
    await bench.do(submit(2))
    assert (await bench.row(1)).phase is Phase.READY


async def test_settled_hears_even_when_nobody_waits(bench: Bench) -> None:
    heard: list[object] = []
    future = bench.writer.post(submit(1, task_id="unknown"), heard.append)
    future.cancel()
    failing = bench.writer.post(submit(2, task_id="unknown"), heard.append)
    del failing
    await bench.do(submit(3))
    assert [type(one) for one in heard] == [TaskNotFound, TaskNotFound]


async def test_close_commits_what_is_queued_and_refuses_the_rest(store: MisbehavingStore) -> None:
    bench = Bench(store)
    store.gate.clear()
    posted = [bench.writer.post(submit(number)) for number in range(1, 4)]
    bench.writer.close()
    for operation in (submit(4), claim()):
        with pytest.raises(Overloaded, match="stopping"):
            bench.writer.post(operation)
    store.gate.set()
    await asyncio.wait_for(bench.running, PATIENCE)
    assert [(await one).row.key for one in posted] == [key(1), key(2), key(3)]


async def test_an_idle_writer_closes(store: MisbehavingStore) -> None:
    bench = Bench(store)
    await asyncio.sleep(0)
    await bench.close()


# A commit in doubt: the store committed and did not say so


async def test_a_send_in_doubt_keeps_its_lease(bench: Bench) -> None:
    bench.store.doubtful = 1
    submitted = await bench.do(submit(1, worker=WORKER))
    assert (submitted.leased, submitted.repeat) == (True, False)
    assert (await bench.row(1)).fence == 1


async def test_a_send_in_doubt_that_is_not_remembered_is_one_task(bench: Bench) -> None:
    bench.store.doubtful = 2
    assert (await bench.do(submit(1, window=0))).row.key == key(1)
    await bench.close()
    assert bench.told == [([key(1)], [key(1)], None)]


async def test_a_claim_in_doubt_knows_what_it_took(bench: Bench) -> None:
    await bench.gathered(*(submit(number) for number in range(1, 4)))
    bench.store.doubtful = 1
    claimed = await bench.do(claim(2))
    assert [row.key for row in claimed.rows] == [key(1), key(2)]
    assert [(await bench.row(number)).phase for number in (1, 2, 3)] == [Phase.LEASED, Phase.LEASED, Phase.READY]


async def test_a_change_in_doubt_is_not_refused_for_its_own_revision(bench: Bench) -> None:
    row = (await bench.do(submit(1))).row
    bench.store.doubtful = 1
    edit = Edit(row, replace(standing(row), title="New"), revisions=frozenset({row.rev}))
    assert (await bench.do(edit)).rev == row.rev + 1
    with pytest.raises(Changed):
        await bench.do(replace(edit, wanted=replace(edit.wanted, title="Other")))
    key = RecordKey("template", "", "local", "mine")
    kept = await bench.do(PutTemplate(key, Template(TaskOptions(), "one", "")))
    bench.store.doubtful = 1
    changed = await bench.do(PutTemplate(key, Template(TaskOptions(), "two", ""), kept.rev))
    assert changed.rev == kept.rev + 1
    with pytest.raises(InvalidParams, match="changed meanwhile"):
        await bench.do(PutTemplate(key, Template(TaskOptions(), "three", ""), kept.rev))


@pytest.mark.parametrize("delay", [0, 60 * SECOND])
@pytest.mark.parametrize("together", [False, True])
async def test_a_requeue_in_doubt_is_done_once(bench: Bench, *, delay: int, together: bool) -> None:
    rows = [(await bench.do(submit(number, delay=3600 * SECOND))).row for number in (1, 2)]
    requeues = tuple(Requeue(row.name, delay) for row in rows)
    bench.store.doubtful = 1
    if together:
        assert await bench.do(AllOrNone(requeues)) == (None, None)
    else:
        assert [row.phase for row in await bench.gathered(*requeues)] == [Phase.SCHEDULED if delay else Phase.READY] * 2
    assert [(await bench.row(number)).journal_n for number in (1, 2)] == [1 if delay else 2] * 2


async def test_a_claim_in_doubt_that_meets_another_turn_is_not_decided_anew(bench: Bench) -> None:
    """Else its tasks would stay leased to a worker that lives, and never run them."""
    await bench.gathered(*(submit(number) for number in range(1, 4)))
    bench.store.doubtful, bench.store.silent, bench.store.failure = 1, 1, Conflict("in the way")
    bench.store.silences = lambda needs: key(1) in needs.tasks  # only when it is looked for again
    claimed, _ = await bench.gathered(claim(2), submit(4))
    assert [row.key for row in claimed.rows] == [key(1), key(2)]
    assert (await bench.row(3)).phase is Phase.READY


def test_what_another_writer_wrote_alike_is_not_taken_for_ones_own() -> None:
    """Two processes wake one task, as every sweeper would, and claim another; one of them never knew its commit."""
    rows = MemoryTurns()
    rows.one(SetLimit("skill:echo", 0))
    rows.do(submit(1), submit(2, skill="other"))
    rows.one(claim())
    rows.gates.clear()
    group = _GroupTurn([Wake((key(1),)), claim(queues=("other",))], "shard")
    rows.register()
    group.decide(rows.load(group.needs))
    group.doubt()
    other = rows.register(Key(b"worker-1".ljust(16, b"\0")))
    rows.one(Wake((key(1),)))
    rows.one(claim(worker=other, queues=("other",)))
    group.decide(rows.load(group.needs))
    assert group.outcomes == [0, Claimed((), more=False)]


async def test_a_turn_in_doubt_that_is_always_met_tells_that_it_is(store: MisbehavingStore) -> None:
    bench = Bench(store, patience=0.2)
    await bench.do(submit(1))
    store.doubtful, store.silent, store.failure = 1, 1_000, Conflict("in the way")
    store.silences = lambda needs: key(1) in needs.tasks
    with pytest.raises(StoreUnavailable):
        await bench.do(claim())
    await bench.close()


async def test_a_report_in_doubt_is_written_once(bench: Bench) -> None:
    row = (await bench.do(submit(1, worker=WORKER))).row
    bench.store.doubtful = 1
    draft = Draft(EventKind.CHUNK, b"\1{}", 0)
    row = (await bench.do(report(row, drafts=(draft,)))).row
    assert (row.last_n, len(await bench.store.inner.events(key(1), 0, 10, 1 << 20))) == (3, 3)
    bench.store.doubtful = 1
    ended = (await bench.do(report(row, EndKind.COMPLETED, drafts=(draft,)))).row
    assert (ended.state, ended.last_n, (await bench.row(1)).last_n) == (State.COMPLETED, 5, 5)


async def test_a_cancel_in_doubt_has_canceled(bench: Bench) -> None:
    row = (await bench.do(submit(1))).row
    bench.store.doubtful = 1
    assert (await bench.do(cancel(row))).state is State.CANCELED


async def test_what_was_not_committed_is_decided_again(bench: Bench) -> None:
    await bench.do(submit(1))
    bench.store.silent, bench.store.doubtful = 1, 1
    claimed, refused = await bench.gathered(claim(), report((await bench.row(1))._replace(fence=7)))
    assert [row.key for row in claimed.rows] == [key(1)]
    assert isinstance(refused, LeaseLost)


def test_a_turn_was_committed_only_if_none_of_its_rows_is_older() -> None:
    """Another writer may have made one of the same changes."""
    rows = MemoryTurns()
    rows.register()
    rows.do(submit(1), submit(2))
    group = _GroupTurn([claim(2)], "shard")
    written = group.decide(rows.load(group.needs)).tasks
    group.doubt()
    rows.tasks[key(1)] = written[0]
    assert [row.key for row in group.decide(rows.load(group.needs)).tasks] == [key(2)]
    group.doubt()
    rows.tasks[key(2)] = group.turn.rows[key(2)]
    assert group.decide(rows.load(group.needs)) == Changes()
    assert [row.key for row in group.outcomes[0].rows] == [key(2)]


# Whoever listens


async def test_a_bug_in_whoever_posted_does_not_end_the_writer(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def settled(outcome: object) -> None:
        raise ZeroDivisionError(outcome)

    posted = bench.writer.post(submit(1), settled)
    assert (await asyncio.wait_for(posted, PATIENCE)).row.key == key(1)
    assert (await bench.do(submit(2))).row.key == key(2)
    assert "What follows from Submit failed" in caplog.text


async def test_a_bug_in_telling_does_not_end_the_writer(store: MisbehavingStore) -> None:
    class Deaf(Bench):
        async def tell(self, bells: Sequence[Bell], hints: Sequence[Hint], alarm: int | None) -> None:
            raise ZeroDivisionError

    bench = Deaf(store)
    for number in (1, 2):
        assert (await bench.do(submit(number))).row.key == key(number)
    await bench.close()
