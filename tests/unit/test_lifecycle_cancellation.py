from __future__ import annotations

import pytest

from a2a_server.errors import TaskNotCancelable, TaskNotFound
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.runs import Draft, TakeDraft
from a2a_server.lifecycle.sweeping import Alarms
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import ArtifactRow, EventKind, JournalKind
from a2a_server.policy import SECOND, SWEEP_SLACK
from tests.unit.turns import MemoryTurns, cancel, claim, key, report, started, submit

GRACE = 5 * SECOND


@pytest.mark.parametrize("delay", [0, SECOND])
def test_a_task_that_nobody_runs_is_canceled_at_once(delay: int) -> None:
    store = MemoryTurns()
    row = store.one(cancel(store.one(submit(1, delay=delay)).row))
    assert (row.state, row.phase, row.cancel_at, row.due_at) == (State.CANCELED, Phase.FINAL, store.now, 0)


def test_a_held_task_is_canceled_and_wakes_nobody_in_its_place_twice() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 0))
    store.do(submit(1), submit(2))
    store.one(claim())
    row = store.one(cancel(store.tasks[key(1)]))
    assert (row.state, row.held_by) == (State.CANCELED, "")
    assert store.tasks[key(2)].phase is Phase.HELD


def test_a_held_task_that_is_canceled_as_its_gate_opens_is_not_woken() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    store.do(submit(2), submit(3))
    store.one(claim())
    _, canceled = store.do(report(row, EndKind.COMPLETED), cancel(store.tasks[key(2)]))
    assert canceled.state is State.CANCELED
    assert [store.tasks[key(number)].phase for number in (2, 3)] == [Phase.FINAL, Phase.READY]


def test_a_running_task_is_asked_to_stop() -> None:
    store = MemoryTurns()
    row = started(store)
    asked = store.one(cancel(row))
    assert (asked.state, asked.phase, asked.cancel_at) == (State.WORKING, Phase.LEASED, store.now)
    assert (asked.due_at, asked.last_n) == (store.now + GRACE + SWEEP_SLACK, row.last_n)
    assert [entry.kind for entry in store.journal[row.key]] == [JournalKind.CANCEL_ASKED]
    assert [bell.key for bell in store.turn.bells] == [row.key]


def test_asking_again_changes_nothing() -> None:
    store = MemoryTurns()
    asked = store.one(cancel(started(store)))
    stored = store.tasks[asked.key]
    store.now += SECOND
    store.one(cancel(asked))
    assert store.tasks[asked.key] == stored


def test_the_grace_never_outlasts_the_run() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + SECOND)
    assert store.one(cancel(row)).due_at == row.due_at


def test_unknown_and_foreign_tasks_are_not_found() -> None:
    store = MemoryTurns()
    row = store.one(submit(1)).row
    for other in (row._replace(id="unknown"), row._replace(owner="somebody"), row._replace(tenant="another")):
        with pytest.raises(TaskNotFound):
            store.one(cancel(other))


@pytest.mark.parametrize("kind", [EndKind.COMPLETED, EndKind.FAILED, EndKind.REJECTED, EndKind.CANCELED])
def test_an_ended_task_is_not_cancelable(kind: EndKind) -> None:
    store = MemoryTurns()
    row = store.one(report(started(store), kind)).row
    with pytest.raises(TaskNotCancelable, match=row.state.name.lower()):
        store.one(cancel(row))


@pytest.mark.parametrize("kind", [kind for kind in EndKind if kind is not EndKind.COMPLETED])
def test_every_end_but_a_result_is_canceled(kind: EndKind) -> None:
    """core.md 5: while cancel_at is set, every end but a returned result is canceled."""
    store = MemoryTurns()
    row = store.one(cancel(started(store)))
    ended = store.one(report(row, kind, "words")).row
    assert (ended.state, ended.phase, ended.attempt) == (State.CANCELED, Phase.FINAL, 0)


def test_a_handler_that_returns_first_has_completed() -> None:
    store = MemoryTurns()
    row = store.one(cancel(started(store)))
    assert store.one(report(row, EndKind.COMPLETED)).row.state is State.COMPLETED


def test_a_result_and_a_cancel_of_one_turn_are_taken_in_their_order() -> None:
    store = MemoryTurns()
    row = started(store)
    _, refused = store.do(report(row, EndKind.COMPLETED), cancel(row))
    assert isinstance(refused, TaskNotCancelable)
    store = MemoryTurns()
    row = started(store)
    asked, ended = store.do(cancel(row), report(row, EndKind.HANDED_BACK))
    assert asked.phase is Phase.LEASED
    assert ended.row.state is State.CANCELED


def test_a_claim_and_a_cancel_of_one_turn_are_taken_in_their_order() -> None:
    store = MemoryTurns()
    row = store.one(submit(1)).row
    canceled, claimed = store.do(cancel(row), claim())
    assert (canceled.state, claimed.rows) == (State.CANCELED, ())
    row = store.one(submit(2)).row
    claimed, asked = store.do(claim(), cancel(row))
    assert (claimed.rows[0].key, asked.phase) == (row.key, Phase.LEASED)


def test_the_sweeper_cancels_what_does_not_stop() -> None:
    store = MemoryTurns()
    row = store.one(cancel(started(store)))
    store.now = row.due_at
    assert store.one(Alarms((row.key,))) == 1
    assert store.tasks[row.key].state is State.CANCELED


def test_what_earlier_runs_left_open_is_closed() -> None:
    """core.md 6: the turn that ends a task closes its open takes as they stand."""
    store = MemoryTurns()
    row = started(store)
    take = ArtifactRow(row.key, 0, row.fence, 0, 0, False, "a", "text/plain", 0, "", 0, "", b"")
    end = End(EndKind.TRANSIENT, "Later.", after=9 * SECOND)
    said = report(row, end=end, drafts=(Draft(EventKind.CHUNK, b"\1{}", 0),), takes=(TakeDraft(take, opened=0),))
    row = store.one(said).row
    canceled = store.one(cancel(row))
    assert [(take.closed, take.last_n) for take in store.newest_takes(row.key)] == [(True, canceled.last_n)]
