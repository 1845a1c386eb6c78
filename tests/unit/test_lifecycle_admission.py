"""Lanes that change, what tasks need of workers, and several tasks of one conversation: as turns decide on them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from a2a_server.codec import encode_spec
from a2a_server.errors import Conflict, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.admission import Admission, context_record
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.prioritising import Age, Prioritise, Waiting
from a2a_server.lifecycle.requirements import (
    CLASS_KEPT,
    DropRecords,
    Offer,
    Pool,
    class_key,
    class_of,
    needs_of,
    offer_of,
    queue_of_class,
    required,
    satisfies,
    share_of,
)
from a2a_server.model.objects import Lane, Phase, Requires, Scope, State, TaskSpec, Wishes
from a2a_server.model.options import Requirements
from a2a_server.model.rows import NO_KEY, Key
from a2a_server.model.runs import Together
from tests.unit.turns import MemoryTurns, cancel, claim, key, report, started, submit

# Lanes


def test_a_task_that_changes_its_lane_goes_behind_who_is_there() -> None:
    store = MemoryTurns()
    store.register()
    store.do(*(submit(number, lane=lane) for number, lane in ((1, Lane.HIGH), (2, Lane.HIGH), (3, Lane.LOW))))
    row = store.one(Prioritise(store.tasks[key(3)], Lane.HIGH))
    assert row.lane is Lane.HIGH
    assert [(hint.key, hint.lane) for hint in store.turn.hints] == [(key(3), Lane.HIGH)]
    assert [row.key for row in store.one(claim()).rows] == [key(1), key(2), key(3)]


def test_a_held_task_stands_in_its_new_lane_at_once() -> None:
    store = MemoryTurns()
    store.register()
    store.one(SetLimit("skill:echo", 1))
    store.do(*(submit(number) for number in (1, 2, 3)))
    store.one(claim())
    store.one(Prioritise(store.tasks[key(3)], Lane.CRITICAL))
    assert store.tasks[key(3)].phase is Phase.HELD
    store.one(report(store.tasks[key(1)], EndKind.COMPLETED))
    assert (store.tasks[key(2)].phase, store.tasks[key(3)].phase) == (Phase.HELD, Phase.READY)


def test_a_task_may_change_its_lane_wherever_it_stands_but_not_behind_its_end() -> None:
    store = MemoryTurns()
    later = store.one(submit(1, delay=10**6)).row
    running = started(store, 2)
    for row in (later, running):
        moved = store.one(Prioritise(row, Lane.BACKLOG))
        assert (moved.lane, moved.phase) == (Lane.BACKLOG, row.phase)
        assert not store.turn.hints
        before = store.tasks[row.key]
        assert store.one(Prioritise(row, Lane.BACKLOG)) == before == store.tasks[row.key]
    store.one(cancel(later))
    with pytest.raises(UnsupportedOperation, match="canceled"):
        store.one(Prioritise(later, Lane.HIGH))
    with pytest.raises(TaskNotFound):
        store.one(Prioritise(later._replace(key=key(9)), Lane.HIGH))


def test_only_what_still_waits_where_it_was_seen_ages() -> None:
    store = MemoryTurns()
    store.register()
    lanes = (Lane.CRITICAL, Lane.HIGH, Lane.NORMAL, Lane.LOW, Lane.BACKLOG, Lane.LOW, Lane.LOW)
    store.do(*(submit(number, lane=lane) for number, lane in enumerate(lanes, start=1)))
    seen = store.one(Waiting(("echo",), 10))
    assert [row.key for row in seen] == [key(number) for number in (3, 4, 6, 7, 5)]
    store.one(Prioritise(store.tasks[key(6)], Lane.BACKLOG))
    store.one(cancel(store.tasks[key(7)]))
    everything = {row.key: row for row in (*seen, store.tasks[key(1)], store.tasks[key(2)])}
    assert store.one(Age(everything)) == 3
    assert [store.tasks[key(number)].lane for number in range(1, 7)] == [1, 2, 2, 3, 4, 5]
    assert store.one(Age(everything)) == 0


# Requirements

NEEDS = Requires(tags=("gpu",), tools=("search",), cpu=1.5, memory_bytes=100)


@pytest.mark.parametrize(
    ("offer", "missing"),
    [
        (Offer(("gpu", "eu"), ("search",)), ()),
        (Offer(("gpu",), ("search",), (), 1.5, 100, 0), ()),
        (Offer(("eu",), (), ()), ("tag gpu", "tool search")),
        (Offer(("gpu",), ("search",), (), 1.0, 99), ("cpu 1.5 (it has 1)", "memoryBytes 100 (it has 99)")),
    ],
)
def test_what_a_worker_lacks(offer: Offer, missing: tuple[str, ...]) -> None:
    assert satisfies(NEEDS, offer) == missing
    assert offer_of(offer.about) == offer


def test_an_offer_without_sizes_is_unlimited() -> None:
    assert Offer().pool == Pool(math.inf, math.inf, math.inf)
    assert Offer(cpu=0.1).pool.millicores == 100
    assert offer_of(None) == Offer()


def test_a_class_is_what_its_tasks_need_of_a_worker_in_any_order() -> None:
    one = required(Requirements(tags=("b", "a", "a"), resources={"gpu": 1}))
    two = required(Requirements(tags=("a", "b"), durationSeconds=5))
    assert class_of("echo", one) == class_of("echo", two) != class_of("echo", NEEDS)
    assert queue_of_class(class_of("a#b", one)) == "a#b"
    for nothing in (None, Requirements(), Requirements(durationSeconds=3), Requirements(resources={"gpu": 1})):
        assert class_of("echo", required(nothing)) == "echo"
    assert required(Requirements()) is None


def submitted(store: MemoryTurns, number: int, requires: Requires) -> str:
    """The queue of a new task with these needs."""
    queue = class_of("echo", requires)
    spec = encode_spec(TaskSpec(60.0, wishes=Wishes(requires=requires)))
    store.one(replace(submit(number, spec=spec, admission=Admission(queue, requires)), queue=queue))
    return queue


def test_a_claim_takes_what_fits_and_leaves_the_rest_ready() -> None:
    store = MemoryTurns()
    store.register()
    queues = {submitted(store, number, Requires(cpu=cpu)) for number, cpu in ((1, 1.0), (2, 2.0), (3, 1.0), (4, 1.5))}
    names = (*queues, "echo")
    store.one(submit(5))
    claimed = store.one(claim(queues=names, pool=Pool(2000, 0, 0)))
    assert [row.key for row in claimed.rows] == [key(1), key(5), key(3)]
    assert not claimed.more  # nothing that would fit: asking again at once helps nobody
    assert all(store.tasks[key(number)].phase is Phase.READY for number in (2, 4))
    assert share_of(None) == Pool()


def test_the_record_of_a_class_says_what_it_needs_and_goes_when_nobody_sends() -> None:
    store = MemoryTurns()
    queue = submitted(store, 1, NEEDS)
    record = store.records[class_key(queue, Scope())]
    assert needs_of(record) == NEEDS
    submitted(store, 2, NEEDS)
    store.now += CLASS_KEPT
    assert store.one(DropRecords((record,))) == 0  # somebody sent since it was read
    record = store.records[class_key(queue, Scope())]
    store.now -= 1
    assert store.one(DropRecords((record,))) == 0
    store.now += 1
    assert store.one(DropRecords((record,))) == 1
    assert not store.records


# Conversations

TALK = context_record("", "local", "talk")


def talking(number: int, together: Together, rival: Key = NO_KEY) -> Any:  # noqa: ANN401 - a submission
    return submit(number, context="talk", admission=Admission("", None, together, TALK, rival, 5))


@pytest.mark.parametrize("together", [Together.REJECT, Together.REPLACE])
def test_who_did_not_see_the_newest_task_looks_again(together: Together) -> None:
    store = MemoryTurns()
    store.one(talking(1, together))
    (outcome,) = store.do(talking(2, together))
    assert isinstance(outcome, Conflict)
    assert key(2) not in store.tasks
    assert store.records[TALK].body == key(1)


def test_a_second_task_is_refused_until_the_first_has_ended() -> None:
    store = MemoryTurns()
    outcomes = store.do(talking(1, Together.REJECT), talking(2, Together.REJECT))
    assert isinstance(outcomes[1], UnsupportedOperation)
    with pytest.raises(UnsupportedOperation, match="one task of a context at a time"):
        store.one(talking(3, Together.REJECT, key(1)))
    store.one(cancel(store.tasks[key(1)]))
    store.one(talking(4, Together.REJECT, key(1)))
    assert (set(store.tasks), store.records[TALK].body) == ({key(1), key(4)}, key(4))
    del store.tasks[key(4)]  # erased
    assert store.one(talking(5, Together.REJECT, key(4))).row.key == key(5)


def test_a_second_task_replaces_the_first() -> None:
    store = MemoryTurns()
    store.one(talking(1, Together.REPLACE))
    store.one(talking(2, Together.REPLACE, key(1)))
    assert store.tasks[key(1)].state is State.CANCELED
    store.register()
    (row,) = store.one(claim()).rows
    store.one(talking(3, Together.REPLACE, key(2)))
    assert (row.key, store.tasks[key(2)].cancel_at, store.tasks[key(2)].phase) == (key(2), store.now, Phase.LEASED)


def test_a_repeated_send_replaces_nothing() -> None:
    store = MemoryTurns()
    store.one(talking(1, Together.REPLACE))
    again = talking(1, Together.REPLACE, key(1))
    assert store.one(again).repeat
    assert store.tasks[key(1)].phase is Phase.READY
