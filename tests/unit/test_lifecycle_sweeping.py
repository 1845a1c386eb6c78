from __future__ import annotations

from dataclasses import replace

import pytest

from a2a_server.codec import decode_spec
from a2a_server.lifecycle.dead_letters import DEAD, Dead
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import TOO_LATE, TOO_LONG, End, EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.sweeping import Alarms, Bury, Forget, Recount, Rescue, Wake
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import JournalKind, Key, TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import TTL, WORKER, MemoryTurns, claim, key, report, started, submit, words

TIMEOUT = 60 * SECOND
"""Of the tasks that `submit` makes."""
GRACE = 5 * SECOND
OTHER = Key(b"worker-1".ljust(16, b"\0"))


def ring(store: MemoryTurns, row: TaskRow) -> TaskRow:
    store.now = row.due_at
    assert store.one(Alarms((row.key,))) == 1
    return store.tasks[row.key]


# Alarms


def test_a_scheduled_task_starts() -> None:
    store = MemoryTurns()
    end = store.now + 9 * SECOND
    row = ring(store, store.one(submit(1, delay=SECOND, deadline_at=end)).row)
    assert (row.state, row.phase, row.due_at, row.last_n) == (State.SUBMITTED, Phase.READY, end, 1)
    assert [entry.kind for entry in store.journal[row.key]] == [JournalKind.PROMOTED]
    assert [hint.key for hint in store.turn.hints] == [row.key]


def test_a_retry_starts_as_working() -> None:
    store = MemoryTurns()
    row = store.one(report(started(store), end=End(EndKind.TRANSIENT, after=SECOND))).row
    assert (ring(store, row).state, store.tasks[row.key].phase) == (State.WORKING, Phase.READY)


def test_a_run_that_its_worker_did_not_end_fails() -> None:
    store = MemoryTurns()
    row = ring(store, started(store))
    assert (row.state, row.phase, row.worker) == (State.FAILED, Phase.FINAL, b"")
    assert "timeoutSeconds" in words(row)


@pytest.mark.parametrize("later", [0, -1, 1, 3600, None])
@pytest.mark.parametrize(
    ("after", "told"),
    [(7 * SECOND, TOO_LATE), (TIMEOUT, TOO_LATE), (TIMEOUT + 1, TOO_LONG), (TIMEOUT + GRACE + 1, TOO_LONG)],
)
@pytest.mark.parametrize("silent", [0, 86_400])
def test_what_came_first_is_told(after: int, told: str, later: int | None, silent: int) -> None:
    """later: so many seconds the deadline is moved while the run is at work, which keeps its times; None = lifted.

    silent: so many seconds nobody swept.
    """
    store = MemoryTurns()
    store.register()
    deadline_at = store.now + after
    store.one(submit(1, deadline_at=deadline_at))
    (row,) = store.one(claim(grace=GRACE)).rows
    moved = 0 if later is None else deadline_at + later * SECOND
    row = store.one(Edit(row, replace(standing(row), deadline_at=moved), patience=SECOND))
    assert row.deadline_at == moved
    store.now = row.due_at + silent * SECOND
    assert store.one(Alarms((row.key,))) == 1
    assert words(store.tasks[row.key]) == told
    assert {tag.tag for tag in store.tags} == {DEAD + (Dead.TIMEOUT if told is TOO_LONG else Dead.DEADLINE)}


def test_each_run_has_its_own_end() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + TIMEOUT + SECOND)
    for cut_short in (False, True):
        assert decode_spec(row.spec).cut_short is cut_short
        store.one(report(row, EndKind.HANDED_BACK))
        store.now += 2 * SECOND
        (row,) = store.one(claim()).rows
    row = store.one(Edit(row, replace(standing(row), deadline_at=0), patience=SECOND))
    store.one(report(row, EndKind.HANDED_BACK))
    (row,) = store.one(claim()).rows
    assert not decode_spec(row.spec).cut_short


def test_a_pause_that_nobody_ends_fails() -> None:
    store = MemoryTurns()
    row = started(store)
    paused = row._replace(state=State.INPUT_REQUIRED, phase=Phase.PAUSED, worker=Key(b""), due_at=store.now + 1, rev=9)
    store.tasks[row.key] = paused
    ended = ring(store, paused)
    assert (ended.state, words(ended)) == (State.FAILED, "Nobody answered in time.")


@pytest.mark.parametrize("phase", [Phase.READY, Phase.HELD, Phase.SCHEDULED, Phase.LEASED, Phase.WAITING])
def test_a_deadline_fails_a_task_wherever_it_is(phase: Phase) -> None:
    store = MemoryTurns()
    end = store.now + 9 * SECOND
    if phase is Phase.HELD:
        store.one(SetLimit("skill:echo", 0))
    row = store.one(submit(1, deadline_at=end, delay=20 * SECOND if phase is Phase.SCHEDULED else 0)).row
    if phase in {Phase.HELD, Phase.LEASED}:
        store.register()
        store.one(claim())
    if phase is Phase.WAITING:
        store.tasks[row.key] = row._replace(phase=phase)
    row = store.tasks[row.key]
    assert row.phase is phase
    ended = ring(store, row)
    assert (ended.state, words(ended)) == (State.FAILED, "The task did not end before its deadline.")


def test_alarms_that_are_not_due_do_nothing() -> None:
    store = MemoryTurns()
    row = store.one(submit(1, delay=SECOND)).row
    ready = store.one(submit(2)).row
    store.now = row.due_at - 1
    before = dict(store.tasks)
    assert store.one(Alarms((row.key, ready.key, key(9)))) == 0
    assert store.tasks == before


def test_two_sweepers_in_one_turn_ring_once() -> None:
    store = MemoryTurns()
    row = store.one(submit(1, delay=SECOND)).row
    store.now = row.due_at
    assert store.do(Alarms((row.key,)), Alarms((row.key,))) == [1, 0]


# Workers


def test_a_silent_worker_is_buried_for_ever() -> None:
    store = MemoryTurns()
    store.register()
    store.now += TTL
    assert store.one(Bury((WORKER,))) == 0, "its time is not over before its ttl"
    store.now += 1
    assert store.do(Bury((WORKER, OTHER)), Bury((WORKER,))) == [1, 0]
    assert store.workers[WORKER].dead


def test_a_worker_that_is_surely_dead_is_buried_at_once() -> None:
    store = MemoryTurns()
    store.register()
    assert store.one(Bury((WORKER,), certain=True)) == 1


@pytest.mark.parametrize("how", ["missing", "dead", "silent"])
def test_a_dead_workers_task_is_rescued(how: str) -> None:
    store = MemoryTurns()
    row = started(store)
    if how == "missing":
        store.workers.clear()
    elif how == "dead":
        store.one(Bury((WORKER,), certain=True))
    else:
        store.now += TTL + 1
    rescue = Rescue({row.key: row.fence}, (WORKER,))
    assert store.do(rescue, rescue) == [1, 0]
    assert (store.tasks[row.key].phase, store.tasks[row.key].crashes) == (Phase.READY, 1)
    assert [entry.kind for entry in store.journal[row.key]] == [JournalKind.CRASH]


def test_a_task_of_a_living_worker_is_left_alone() -> None:
    store = MemoryTurns()
    row = started(store)
    store.now += TTL
    before = dict(store.tasks)
    assert store.one(Rescue({row.key: row.fence}, (WORKER,))) == 0
    assert store.tasks == before


def test_a_task_that_moved_on_is_left_alone() -> None:
    store = MemoryTurns()
    row = started(store)
    store.one(report(row, EndKind.HANDED_BACK))
    store.register(OTHER)
    store.one(claim(worker=OTHER))
    del store.workers[WORKER]
    before = dict(store.tasks)
    assert store.one(Rescue({row.key: row.fence, key(9): 1}, (WORKER, OTHER))) == 0
    assert store.tasks == before
    other = store.workers.pop(OTHER)
    assert store.one(Rescue({row.key: row.fence}, ())) == 0, "the run that was seen is not the one that died"
    store.workers[OTHER] = other
    ended = store.one(report(store.tasks[row.key], EndKind.COMPLETED)).row
    assert store.one(Rescue({row.key: ended.fence}, (WORKER, OTHER))) == 0


def test_a_rescue_and_a_result_of_one_turn_are_taken_in_their_order() -> None:
    store = MemoryTurns()
    row = started(store)
    store.workers.clear()
    rescue = Rescue({row.key: row.fence}, (WORKER,))
    ended, rescued = store.do(report(row, EndKind.COMPLETED), rescue)
    assert (ended.row.state, rescued) == (State.COMPLETED, 0)


# Gates


def held_store(capacity: int | None, tasks: int) -> MemoryTurns:
    """`tasks` tasks that the gate skill:echo holds, though it has room by now and nobody told them."""
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 0))
    store.do(*(submit(number) for number in range(1, tasks + 1)))
    store.one(claim())
    store.gates["skill:echo"] = store.gates["skill:echo"]._replace(capacity=capacity)
    return store


@pytest.mark.parametrize(("capacity", "woken"), [(0, 0), (2, 2), (9, 3), (None, 3)])
def test_a_sweep_wakes_as_many_as_there_is_room_for(capacity: int | None, woken: int) -> None:
    store = held_store(capacity, 3)
    assert store.one(Wake((key(1), key(2), key(3), key(9)))) == woken
    ready = [number for number in (1, 2, 3) if store.tasks[key(number)].phase is Phase.READY]
    assert ready == list(range(1, woken + 1))
    assert len(store.turn.hints) == woken


def test_a_gate_that_is_gone_holds_nobody() -> None:
    store = held_store(0, 2)
    store.gates.clear()
    assert store.one(Wake((key(1), key(2)))) == 2


def test_a_closed_gate_wakes_nobody_until_it_opens() -> None:
    store = held_store(None, 1)
    store.gates["skill:echo"] = store.gates["skill:echo"]._replace(closed_until=store.now + 1)
    assert store.one(Wake((key(1),))) == 0
    store.now += 1
    assert store.one(Wake((key(1),))) == 1


def test_a_gate_that_is_set_counts_what_runs_already() -> None:
    store = MemoryTurns()
    started(store)
    store.one(submit(2))
    gate = store.one(SetLimit("skill:echo", 1))
    assert (gate.capacity, gate.used, store.gates["skill:echo"].rev) == (1, 1, 1)
    store.one(claim())
    assert store.tasks[key(2)].held_by == "skill:echo"


def test_a_gate_counts_what_its_own_turn_leased_or_ended() -> None:
    store = MemoryTurns()
    row = started(store)
    store.do(submit(2), submit(3))
    store.do(claim(2), report(row, EndKind.COMPLETED), SetLimit("skill:echo", 5))
    assert store.gates["skill:echo"].used == 2


def test_a_raised_limit_wakes_those_it_held() -> None:
    store = held_store(0, 3)
    store.one(SetLimit("skill:echo", 2))
    assert [store.tasks[key(number)].phase for number in (1, 2, 3)] == [Phase.READY, Phase.READY, Phase.HELD]


def test_a_lifted_limit_wakes_those_it_held() -> None:
    store = held_store(0, 3)
    store.one(SetLimit("skill:echo", None))
    store.one(Wake(tuple(store.tasks)))
    assert all(row.phase is Phase.READY for row in store.tasks.values())


def test_a_worker_is_forgotten_a_day_after_it_was_last_seen_and_not_before() -> None:
    store = MemoryTurns()
    row = started(store)
    store.now += 86_400 * SECOND
    assert store.one(Forget((row.worker, key(99)))) == 0
    store.now += 60 * SECOND
    assert store.one(Forget((row.worker, key(99)))) == 1
    assert row.worker not in store.workers


def test_a_gate_that_was_counted_wrong_is_counted_anew() -> None:
    store = MemoryTurns()
    row = started(store)
    gate = row.gates[0]
    store.one(SetLimit(gate, 2))
    assert store.gates[gate].used == 1
    assert store.one(Recount((gate, "unknown"))) == 0
    store.gates[gate] = store.gates[gate]._replace(used=0)
    assert store.one(Recount((gate,))) == 1
    assert (store.gates[gate].used, store.gates[gate].capacity) == (1, 2)
