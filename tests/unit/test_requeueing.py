"""How long a task waits that is requeued: as it is said, or ever longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.requeueing import Requeue
from a2a_server.model.rows import TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, claim, report, started, submit

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def later(store: MemoryTurns) -> TaskRow:
    """A task that has not run."""
    row: TaskRow = store.one(submit(1, delay=DAY)).row
    return row


def retried(store: MemoryTurns) -> TaskRow:
    """A task that is tried again."""
    row: TaskRow = store.one(report(started(store), end=End(EndKind.TRANSIENT, "Away.", after=DAY))).row
    return row


def waits(store: MemoryTurns, row: TaskRow, *delays: int | None) -> list[int]:
    """How long the task waits behind each requeue."""
    return [store.one(Requeue(row.name, delay)).due_at - store.now for delay in delays]


@pytest.mark.parametrize("waiting", [later, retried])
def test_the_wait_doubles_up_to_an_hour(waiting: Callable[[MemoryTurns], TaskRow]) -> None:
    store = MemoryTurns()
    found = waits(store, waiting(store), *[None] * 9)
    assert found == [minutes * MINUTE for minutes in (1, 2, 4, 8, 16, 32, 60, 60, 60)]


def test_a_wait_that_is_said_is_taken_as_it_is_and_counts() -> None:
    store = MemoryTurns()
    found = waits(store, later(store), 5 * SECOND, None, 2 * DAY, None)
    assert found == [5 * SECOND, 2 * MINUTE, 2 * DAY, 8 * MINUTE]


def test_the_count_outlives_a_change_and_a_run() -> None:
    store = MemoryTurns()
    row = later(store)
    assert waits(store, row, None) == [MINUTE]
    row = store.tasks[row.key]
    row = store.one(Edit(row, replace(standing(row), title="Other", parameters={"a": 1}), patience=DAY))
    assert waits(store, row, None) == [2 * MINUTE]
    store.one(Requeue(row.name, 0))
    store.register()
    (row,) = store.one(claim(1, queues=(row.queue,))).rows
    row = store.one(report(row, end=End(EndKind.TRANSIENT, "Away.", after=DAY))).row
    assert waits(store, row, None) == [8 * MINUTE]


def test_each_task_has_its_own_count() -> None:
    store = MemoryTurns()
    first, second = (store.one(submit(number, delay=DAY)).row for number in (1, 2))
    assert waits(store, first, None, None) == [MINUTE, 2 * MINUTE]
    assert waits(store, second, None) == [MINUTE]


def test_a_wait_beyond_the_deadline_is_remembered() -> None:
    store = MemoryTurns()
    row = store.one(submit(1, delay=DAY, deadline_at=store.now + 90 * SECOND)).row
    waits(store, row, None, None)
    row = store.tasks[row.key]
    assert row.due_at == row.deadline_at
    assert standing(row).starts_at == store.now + 2 * MINUTE
