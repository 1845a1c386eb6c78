"""What may be changed when: how many attempts a task may be left, by how many it has had; and its start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from a2a_server.codec import encode_spec
from a2a_server.errors import InvalidParams, UnsupportedOperation
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.model.objects import Phase, TaskSpec
from a2a_server.model.rows import TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, claim, crash, report, started, submit

UNDOES = encode_spec(TaskSpec(60.0, rolls_back=True))


def with_attempts(store: MemoryTurns, row: TaskRow, most: int, *, spared: bool = False, title: str = "") -> TaskRow:
    wanted = replace(standing(row), max_attempts=most, title=title)
    edited: TaskRow = store.one(Edit(row, wanted, frozenset({"maxAttempts"} if spared else ())))
    return edited


def tried(store: MemoryTurns, *, after: int = 60 * SECOND) -> TaskRow:
    """A task of three attempts that failed once; after: how long it waits for the second one."""
    end = End(EndKind.TRANSIENT, "The site is away.", after=after)
    row: TaskRow = store.one(report(started(store, max_attempts=3), end=end)).row
    return row


@pytest.mark.parametrize("phase", [Phase.SCHEDULED, Phase.READY, Phase.LEASED])
def test_the_attempt_that_is_due_stays_allowed(phase: Phase) -> None:
    store = MemoryTurns()
    row = tried(store, after=60 * SECOND if phase is Phase.SCHEDULED else 0)
    if phase is Phase.LEASED:
        row = store.one(claim()).rows[0]
    assert row.phase is phase
    due = "attempt 2 is at work" if phase is Phase.LEASED else "the task waits for attempt 2"
    rule = f"^maxAttempts must be at least 2: 1 attempt was made, and {due}; to have none of it, cancel the task.$"
    with pytest.raises(InvalidParams, match=rule) as refused:
        with_attempts(store, row, 1)
    assert refused.value.path == "maxAttempts"
    assert with_attempts(store, row, 2).max_attempts == 2


def test_a_crash_is_an_attempt_too() -> None:
    store = MemoryTurns()
    row = crash(store, started(store, max_attempts=3))
    assert (row.phase, row.attempt) == (Phase.READY, 1)
    with pytest.raises(InvalidParams, match="at least 2"):
        with_attempts(store, row, 1)


def test_the_first_attempt_alone_may_be_left() -> None:
    store = MemoryTurns()
    assert with_attempts(store, started(store, max_attempts=3), 1).max_attempts == 1


def test_what_is_not_named_stays_where_its_default_is_too_few() -> None:
    store = MemoryTurns()
    row = with_attempts(store, tried(store), 1, spared=True, title="Other")
    assert (row.max_attempts, standing(row).title) == (3, "Other")


def test_a_last_run_is_no_attempt() -> None:
    store = MemoryTurns()
    row = started(store, max_attempts=2, spec=UNDOES)
    row = store.one(report(row, end=End(EndKind.TRANSIENT, "away", after=0))).row
    row = store.one(claim()).rows[0]
    row = store.one(report(row, end=End(EndKind.TRANSIENT, "away", after=0))).row
    assert (row.phase, row.attempt) == (Phase.READY, 2)
    assert with_attempts(store, row, 2, title="Other").max_attempts == 2
    with pytest.raises(InvalidParams, match="at least 2: so many attempts were made"):
        with_attempts(store, row, 1)


def test_a_start_that_is_over_is_no_change_where_nobody_names_it() -> None:
    """A replacement without runAt, of a task that has come to its turn."""
    store = MemoryTurns()
    row = store.one(submit(1, delay=120 * SECOND, deadline_at=store.now + 60 * SECOND)).row
    row = store.one(Requeue(row.name, 0))
    assert (row.phase, standing(row).starts_at) == (Phase.READY, store.now)
    wanted = replace(standing(row), starts_at=0, title="Other")
    with pytest.raises(UnsupportedOperation, match=r"^runAt cannot be changed: the task waits for its turn already\.$"):
        store.one(Edit(row, wanted))
    changed = standing(store.one(Edit(row, wanted, frozenset({"runAt"}))))
    assert (changed.title, changed.starts_at) == ("Other", store.now)
