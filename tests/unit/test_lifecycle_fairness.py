"""Whose turn it is: strict lanes, and owners in turn inside a lane."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from a2a_server.lifecycle.sweeping import Wake
from a2a_server.model.objects import Lane, Phase
from a2a_server.model.rows import TaskRow
from tests.unit.turns import MemoryTurns, claim, submit

MANY = 10_000


def order(store: MemoryTurns) -> list[TaskRow]:
    """The tasks in the order in which a worker gets them."""
    rows = [row for row in store.tasks.values() if row.phase is Phase.READY]
    return sorted(rows, key=lambda row: (row.lane, row.rank, row.key))


def test_ten_thousand_tasks_of_one_owner_do_not_starve_another() -> None:
    store = MemoryTurns()
    store.do(*(submit(number, owner="ann") for number in range(1, MANY + 1)))
    store.do(*(submit(MANY + number, owner="bob") for number in range(1, 4)))
    places = [place for place, row in enumerate(order(store)) if row.owner == "bob"]
    assert places == [1, 3, 5]


def test_a_newcomer_starts_where_the_lane_stands_now() -> None:
    store = MemoryTurns()
    store.do(*(submit(number, owner="ann") for number in range(1, 101)))
    for _ in range(5):
        assert len(store.one(claim(10)).rows) == 10
    store.one(submit(200, owner="bob"))
    assert [row.owner for row in order(store)[:3]] == ["ann", "bob", "ann"]


def test_an_idle_owner_saves_no_credit() -> None:
    store = MemoryTurns()
    store.do(submit(1, owner="bob"), *(submit(number, owner="ann") for number in range(2, 50)))
    store.one(claim(40))
    store.do(*(submit(number, owner="bob") for number in range(100, 110)))
    first = [row.owner for row in order(store)[:8]]
    assert first.count("ann") == 4


def test_owners_take_turns() -> None:
    store = MemoryTurns()
    store.do(*(submit(number, owner="ann") for number in range(1, 31)))
    store.do(*(submit(number, owner=owner) for number, owner in enumerate(("bob", "eve") * 10, 100)))
    owners = [row.owner for row in order(store)]
    assert all(owners[at : at + 3].count("ann") == 1 for at in range(0, 27, 3))


def test_turns_of_one_batch_are_as_fair_as_those_of_many() -> None:
    together, alone = MemoryTurns(), MemoryTurns()
    sends = [submit(number, owner=owner) for number, owner in enumerate(("ann", "ann", "bob", "ann", "bob"), 1)]
    together.do(*sends)
    for send in sends:
        alone.one(send)
    assert [row.key for row in order(together)] == [row.key for row in order(alone)]


@given(st.lists(st.tuples(st.sampled_from(Lane), st.sampled_from(("ann", "bob"))), max_size=20))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_lanes_are_strict(sends: list[tuple[Lane, str]]) -> None:
    store = MemoryTurns()
    for number, (lane, owner) in enumerate(sends, 1):
        store.one(submit(number, lane=lane, owner=owner))
        store.now += 1
    claimed = [row for _ in sends for row in store.one(claim(1)).rows]
    assert len(claimed) == len(sends)
    assert [row.lane for row in claimed] == sorted(lane for lane, _ in sends)


@given(st.lists(st.sampled_from(("ann", "bob", "eve")), max_size=30))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_nobody_waits_longer_than_its_share(owners: list[str]) -> None:
    """While all of them have tasks ready, no owner is more than one task ahead of another."""
    store = MemoryTurns()
    store.do(*(submit(number, owner=owner) for number, owner in enumerate(owners, 1)))
    left = {owner: owners.count(owner) for owner in set(owners)}
    started = dict.fromkeys(left, 0)
    for row in order(store):
        if all(left.values()):
            assert started[row.owner] <= min(started.values()) + 1
        left[row.owner] -= 1
        started[row.owner] += 1


def test_ranks_are_integers_that_a_float_can_hold() -> None:
    store = MemoryTurns()
    store.do(*(submit(number) for number in range(1, 10)))
    assert all(0 < row.rank < 2**53 for row in store.tasks.values())


def test_a_woken_task_keeps_its_place() -> None:
    store = MemoryTurns()
    store.do(submit(1), submit(2))
    first = order(store)[0]
    store.tasks[first.key] = first._replace(phase=Phase.HELD, held_by="gone")
    store.one(Wake((first.key,)))
    assert order(store)[0].key == first.key
