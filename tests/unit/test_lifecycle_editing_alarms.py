"""A change of a task leaves it the alarm that brings it on: the time of a retry, of an answer, of its last run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2a_server.codec import encode_spec
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import LAST_RUN_WAIT, End, EndKind
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.lifecycle.sweeping import Alarms
from a2a_server.model.objects import Message, Phase, Role, State, TaskSpec, Text
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import Pause, Want
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, report, started, submit

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNDOES = encode_spec(TaskSpec(60.0, rolls_back=True))


def changed(store: MemoryTurns, row: TaskRow, **members: object) -> TaskRow:
    wanted = replace(standing(row), **members)  # type: ignore[arg-type]  # any member
    edited: TaskRow = store.one(Edit(row, wanted, patience=DAY))
    return edited


def to_be_retried(store: MemoryTurns) -> TaskRow:
    """A task that is tried again in an hour."""
    end = End(EndKind.TRANSIENT, "The site is away.", after=HOUR)
    row: TaskRow = store.one(report(started(store), end=end)).row
    assert (row.phase, row.due_at) == (Phase.SCHEDULED, store.now + HOUR)
    return row


def asked(store: MemoryTurns) -> TaskRow:
    """A task that waits a day for an answer."""
    pause = Pause(Want.INPUT, Message(Role.AGENT, (Text("Which?"),)), "ask:1", b"x")
    end = End(EndKind.PAUSED, pause=pause, patience=DAY)
    row: TaskRow = store.one(report(started(store), end=end)).row
    assert (row.phase, row.due_at) == (Phase.PAUSED, store.now + DAY)
    return row


@pytest.mark.parametrize("later", [0, 2 * HOUR])
def test_a_retry_comes_at_its_time_whatever_became_of_the_deadline(later: int) -> None:
    store = MemoryTurns()
    row = to_be_retried(store)
    at = row.due_at
    row = changed(store, row, deadline_at=store.now + MINUTE)
    assert row.due_at == store.now + MINUTE
    row = changed(store, row, deadline_at=store.now + later if later else 0)
    assert row.due_at == at
    store.now = at
    store.one(Alarms((row.key,)))
    assert store.tasks[row.key].phase is Phase.READY


@pytest.mark.parametrize("later", [0, 2 * DAY])
def test_an_answer_is_waited_for_as_long_as_before(later: int) -> None:
    store = MemoryTurns()
    row = asked(store)
    at = row.due_at
    row = changed(store, row, deadline_at=store.now + MINUTE)
    assert row.due_at == store.now + MINUTE
    row = changed(store, row, deadline_at=store.now + later if later else 0)
    assert row.due_at == at


@pytest.mark.parametrize("member", [{"title": "Other"}, {"deadline_at": 0}])
def test_a_last_run_is_waited_for_as_long_as_before(member: dict[str, object]) -> None:
    store = MemoryTurns()
    row = started(store, spec=UNDOES, deadline_at=store.now + MINUTE)
    store.now += 2 * MINUTE
    store.one(Alarms((row.key,)))
    row = store.tasks[row.key]
    assert (row.phase, row.due_at) == (Phase.READY, store.now + LAST_RUN_WAIT)
    assert changed(store, row, **member).due_at == store.now + LAST_RUN_WAIT
    store.now += SECOND
    store.one(Alarms((row.key,)))
    assert store.tasks[row.key].phase is Phase.READY, "its roll-back is still to come"


def test_a_canceled_task_with_something_to_undo_does_not_wait_for_ever() -> None:
    store = MemoryTurns()
    row = to_be_undone(store)
    changed(store, row, title="Other")
    store.now += LAST_RUN_WAIT
    store.one(Alarms((row.key,)))
    assert store.tasks[row.key].state is State.CANCELED


def to_be_undone(store: MemoryTurns) -> TaskRow:
    row = started(store, spec=UNDOES)
    row = store.one(report(row, EndKind.HANDED_BACK)).row
    canceled: TaskRow = store.one(Cancel(row.name, 0, row.key))
    assert canceled.phase is Phase.READY
    return canceled


@pytest.mark.parametrize("later", [0, 2 * HOUR])
@pytest.mark.parametrize("requeued", [False, True])
def test_a_first_run_comes_at_its_time_whatever_became_of_the_deadline(later: int, *, requeued: bool) -> None:
    store = MemoryTurns()
    row = store.one(submit(1, delay=MINUTE if requeued else HOUR)).row
    at = store.now + HOUR
    row = changed(store, row, deadline_at=store.now + MINUTE)
    if requeued:
        row = store.one(Requeue(row.name, HOUR))
    assert row.due_at == store.now + MINUTE
    assert standing(row).starts_at == at
    row = changed(store, row, deadline_at=store.now + later if later else 0)
    assert row.due_at == at


def test_a_task_that_would_start_behind_its_deadline_starts_at_its_time_once_that_is_lifted() -> None:
    store = MemoryTurns()
    row = store.one(submit(1, delay=HOUR, deadline_at=store.now + MINUTE)).row
    assert row.due_at == store.now + MINUTE
    assert changed(store, row, deadline_at=0).due_at == store.now + HOUR
