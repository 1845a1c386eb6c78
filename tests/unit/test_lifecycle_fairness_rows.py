"""Virtual times of owners who have sent nothing for long go away, and change nobody's turn by it."""

from __future__ import annotations

import pytest

from a2a_server.lifecycle.sweeping import ForgetTurns
from a2a_server.model.objects import Lane
from a2a_server.model.rows import FairKey
from a2a_server.policy import FAIR_KEPT, is_spent, rank
from tests.unit.turns import SHARD, MemoryTurns, claim, submit

KEY = FairKey(SHARD, "echo", Lane.NORMAL, "", "local")
FORGET = ForgetTurns((KEY, KEY._replace(owner="nobody")))


@pytest.mark.parametrize(("head", "spent"), [(None, True), (7, False), (10, True), (20, True)])
def test_what_is_spent_makes_no_difference(head: int | None, spent: bool) -> None:
    now = 11 + FAIR_KEPT
    assert is_spent(head, 10, now) is spent
    assert not is_spent(head, 10, now - 1)
    assert (rank(head, 10, now) == rank(head, None, now)) is spent


def test_an_owner_who_sends_nothing_is_forgotten_in_time() -> None:
    store = MemoryTurns()
    store.register()
    store.one(submit(1))
    store.one(claim())
    store.now = store.fair[KEY] + FAIR_KEPT
    assert store.one(FORGET) == 0
    store.now += 1
    assert store.one(FORGET) == 1
    assert store.fair == {}
    assert store.one(FORGET) == 0
    row = store.one(submit(2)).row
    assert (row.rank, store.fair) == (store.now, {KEY: store.now + 1})


def test_who_still_waits_behind_an_old_head_is_kept() -> None:
    store = MemoryTurns()
    for number in range(3):
        store.one(submit(number))
    store.now += FAIR_KEPT * 2
    assert store.one(FORGET) == 0, "their next task would stand beside their first"


@pytest.mark.parametrize("first", [True, False])
def test_a_task_that_just_comes_keeps_its_owners_turn(first: bool) -> None:
    store = MemoryTurns()
    store.register()
    store.one(submit(1))
    store.one(claim())
    store.now += FAIR_KEPT * 2
    operations = (FORGET, submit(2)) if first else (submit(2), FORGET)
    store.do(*operations)
    assert store.fair == {KEY: store.now + 1}
