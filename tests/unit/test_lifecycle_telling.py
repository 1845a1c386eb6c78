"""Who is told of a task's states: due with the turn that reaches one, noted afterwards, never lost in between."""

from __future__ import annotations

from typing import Any

from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.telling import AGENT, Take, Told
from a2a_server.model.objects import State
from a2a_server.model.rows import PushRow, TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, key, report, started, submit

ENDS = (State.COMPLETED, State.FAILED)


def push_of(store: MemoryTurns, row: TaskRow) -> PushRow:
    return store.pushes[row.key, AGENT]


def ended(store: MemoryTurns, **options: Any) -> TaskRow:  # noqa: ANN401 - any field of a submission
    row = started(store, tells=ENDS, **options)
    store.now += SECOND
    finished: TaskRow = store.one(report(row, EndKind.COMPLETED)).row
    return finished


def test_nobody_is_told_where_nobody_listens() -> None:
    store = MemoryTurns()
    row = store.one(submit(1)).row
    assert row.pushes == 0
    assert store.pushes == {}


def test_only_a_state_that_is_listened_for_makes_it_due() -> None:
    store = MemoryTurns()
    row = started(store, tells=ENDS)
    assert (row.pushes, push_of(store, row).due_at, push_of(store, row).cursor_n) == (1, 0, 1)
    store.now += SECOND
    row = store.one(report(row, EndKind.COMPLETED)).row
    assert push_of(store, row).due_at == store.now


def test_what_was_told_is_not_due_any_more() -> None:
    store = MemoryTurns()
    row = ended(store)
    now = store.one(Told(push_of(store, row), row.last_n))
    assert (now.cursor_n, now.due_at, now.tries) == (row.last_n, 0, 0)
    assert push_of(store, row) == now


def test_an_event_that_comes_while_another_is_told_stays_due() -> None:
    store = MemoryTurns()
    row = started(store, tells=(State.WORKING, State.COMPLETED))
    seen = push_of(store, row)
    assert seen.due_at
    told_n = row.last_n
    store.now += SECOND
    row = store.one(report(row, EndKind.COMPLETED)).row
    now = store.one(Told(seen, told_n))
    assert (now.cursor_n, now.due_at) == (told_n, store.now)


def test_a_failure_is_due_again_later_and_a_success_forgets_it() -> None:
    store = MemoryTurns()
    row = ended(store)
    failed = store.one(Told(push_of(store, row), 1, failed=True, delay=5 * SECOND))
    assert (failed.cursor_n, failed.tries, failed.due_at, failed.dead) == (1, 1, store.now + 5 * SECOND, False)
    assert store.one(Told(failed, row.last_n)).tries == 0


def test_given_up_is_a_dead_letter_that_no_event_wakes() -> None:
    store = MemoryTurns()
    row = started(store, tells=(State.WORKING, State.COMPLETED))
    dead = store.one(Told(push_of(store, row), 1, failed=True, delay=None))
    assert (dead.dead, dead.due_at) == (True, 0)
    store.one(report(row, EndKind.COMPLETED))
    assert push_of(store, row) == dead


def test_a_push_that_is_gone_is_no_matter() -> None:
    store = MemoryTurns()
    assert store.one(Told(PushRow(key(1), AGENT, 0, 1, 5, 0, dead=False, body=b""), 3)) is None


def test_of_several_who_would_tell_one_does() -> None:
    store = MemoryTurns()
    push = push_of(store, ended(store))
    taken = store.one(Take(push, 60 * SECOND))
    assert taken.due_at == store.now + 60 * SECOND
    assert store.one(Take(push, 60 * SECOND)) is None, "who read it before the other took it"
    assert store.one(Take(taken, 60 * SECOND)) is None, "who read it after that"
    store.now += 61 * SECOND
    assert store.one(Take(taken, 60 * SECOND)) is not None, "the other one died"
