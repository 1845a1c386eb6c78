"""Last runs at gates: what keeps tasks from starting does not keep them from being undone."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_server.codec import encode_spec
from a2a_server.lifecycle.endings import LAST_RUN_WAIT, EndKind
from a2a_server.lifecycle.limits import Pause, Resume, SetLimit
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.sweeping import Recount, Wake
from a2a_server.model.objects import Lane, Phase, TaskSpec
from a2a_server.model.rows import TaskRow
from a2a_server.policy import SECOND, Rate, Trip
from tests.unit.turns import MemoryTurns, cancel, claim, key, report, started, submit

UNDOES = encode_spec(TaskSpec(60.0, rolls_back=True))
BREAKER = "breaker:echo"


def claimed(store: MemoryTurns) -> list[TaskRow]:
    return list(store.one(claim()).rows)


def failed(store: MemoryTurns, number: int = 1) -> TaskRow:
    """A task that has failed, and is still to be undone."""
    row = started(store, number, spec=UNDOES, max_attempts=1)
    store.one(report(row, EndKind.FAILED, "no luck"))
    return store.tasks[row.key]


@pytest.mark.parametrize(
    "closing",
    [
        Pause("queue:echo"),
        Pause("skill:echo"),
        Pause("queue:echo", until=1_800_000_000 * SECOND),
        SetLimit("rate:echo", Rate(1, 600 * SECOND)),
        SetLimit(BREAKER, Trip(1, 30 * SECOND)),
    ],
)
def test_what_lets_nothing_start_holds_no_roll_back(closing: Operation[Any]) -> None:
    store = MemoryTurns()
    row = started(store, 1, spec=UNDOES, max_attempts=1)
    store.do(closing, submit(2))
    if isinstance(closing, SetLimit) and closing.key == "rate:echo":
        assert [found.key for found in claimed(store)] == [key(2)]  # and the token is gone
        store.one(submit(3))
    store.one(report(row, EndKind.FAILED, "no luck"))
    assert [found.key for found in claimed(store)] == [row.key]
    assert store.tasks[max(store.tasks)].phase is Phase.HELD, "nothing else starts"


def test_a_paused_queue_with_a_limit_holds_no_roll_back_behind_those_that_it_holds() -> None:
    store = MemoryTurns()
    store.one(SetLimit("queue:echo", 1))
    row = started(store, 1, spec=UNDOES)
    store.do(*(submit(number) for number in (2, 3)), Pause("queue:echo"))
    claimed(store)
    store.one(cancel(row))
    store.one(report(store.tasks[row.key], EndKind.CANCELED))
    assert [found.key for found in claimed(store)] == [row.key]
    assert store.gates["queue:echo"].used == 1


def test_what_was_held_goes_on_once_it_is_to_be_undone() -> None:
    store = MemoryTurns()
    row = started(store, 1, spec=UNDOES)
    store.one(report(row, EndKind.HANDED_BACK))
    store.one(Pause("queue:echo"))
    assert claimed(store) == []
    assert store.tasks[row.key].phase is Phase.HELD
    store.one(cancel(store.tasks[row.key]))
    assert [hint.key for hint in store.turn.hints] == [row.key]
    assert [found.key for found in claimed(store)] == [row.key]


def test_what_only_so_many_use_at_once_is_waited_for() -> None:
    store = MemoryTurns()
    store.one(SetLimit("resource:gpu", 1))
    gates = (*submit(1).gates, "resource:gpu*1")
    row = started(store, 1, gates=gates, spec=UNDOES, max_attempts=1)
    store.one(report(row, EndKind.TRANSIENT, "later"))  # it is to be undone
    store.one(submit(2, gates=gates, lane=Lane.CRITICAL))
    assert [found.key for found in claimed(store)] == [key(2)]
    assert (store.tasks[row.key].held_by, store.gates["resource:gpu"].used) == ("resource:gpu", 1)
    store.one(report(store.tasks[key(2)], EndKind.COMPLETED))
    assert [found.key for found in claimed(store)] == [row.key]
    assert store.gates["resource:gpu"].used == 1


def test_a_last_run_that_waits_for_room_goes_on_when_its_queue_is_paused() -> None:
    store = MemoryTurns()
    store.one(SetLimit("queue:echo", 1))
    row = failed(store)
    store.one(submit(2, lane=row.lane))
    store.tasks[row.key] = row._replace(rank=store.tasks[key(2)].rank + 1)
    assert [found.key for found in claimed(store)] == [key(2)]
    held = store.tasks[row.key]
    assert (held.phase, held.due_at) == (Phase.HELD, store.now + LAST_RUN_WAIT)
    store.one(Pause("queue:echo"))
    assert [found.key for found in claimed(store)] == [row.key]


def test_a_roll_back_takes_no_token() -> None:
    store = MemoryTurns()
    row = failed(store)
    store.do(SetLimit("rate:echo", Rate(1, 600 * SECOND)), submit(2))
    assert [found.key for found in claimed(store)] == [row.key, key(2)]


def test_a_roll_back_is_no_trial_and_a_recount_does_not_make_it_one() -> None:
    store = MemoryTurns()
    store.one(SetLimit(BREAKER, Trip(1, 30 * SECOND)))
    row = failed(store)
    assert [found.key for found in claimed(store)] == [row.key]
    store.now += 30 * SECOND
    store.do(Recount((BREAKER,)), submit(2), submit(3))
    assert [found.key for found in claimed(store)] == [key(2)], "one trial"
    store.one(report(store.tasks[row.key], EndKind.FAILED))
    store.one(Wake((key(3),)))
    assert claimed(store) == [], "the end of the roll-back gives the slot of the trial to nobody"
    store.one(report(store.tasks[key(2)], EndKind.COMPLETED))
    store.one(Wake((key(3),)))
    assert [found.key for found in claimed(store)] == [key(3)]


def test_a_breaker_that_is_set_while_tasks_run_counts_them() -> None:
    store = MemoryTurns()
    started(store, 1)
    assert store.one(SetLimit(BREAKER, Trip(1, SECOND))).used == 1
    store.gates[BREAKER] = store.gates[BREAKER]._replace(used=5)
    assert store.one(Recount((BREAKER,))) == 1
    assert store.one(Resume(BREAKER)).used == 1
