"""Tasks that agents left to their children, decided: they wait only for what is to come, and are ended once."""

from __future__ import annotations

import pytest

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import Conflict, LeaseLost
from a2a_server.lifecycle.dependencies import Extras, Settle, Settled
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.gathering import GatheredReport
from a2a_server.lifecycle.joining import RETURNED, Waiting
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.pulling import PulledReport
from a2a_server.model.objects import Phase, State, TaskSpec, Wishes
from a2a_server.model.rows import TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, claim, key, report, started, submit


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def family(store: MemoryTurns, children: int, criterion: str = "all") -> TaskRow:
    """A task that an agent runs, with children 2, 3 … that run too."""
    started(store, spec=encode_spec(TaskSpec(60.0, wishes=Wishes(complete_when=criterion))))
    for number in range(2, 2 + children):
        store.one(submit(number, extras=Extras(parent=id_of(key(1)))))
    store.one(claim(children))
    return store.tasks[key(1)]


def child_ends(store: MemoryTurns, number: int) -> None:
    store.one(report(store.tasks[key(number)], EndKind.COMPLETED))


def settle(store: MemoryTurns) -> Settled:
    settled: Settled = store.one(Settle(store.unsettled(), SECOND))
    return settled


def seen(count: int) -> Waiting:
    return Waiting((), count, RETURNED, b"note", returned=True, left=True)


def left(row: TaskRow, count: int) -> PulledReport:
    return PulledReport(row.key, row.fence, end=End(EndKind.PAUSED, waiting=seen(count)), last_n=row.last_n)


def gathered(row: TaskRow, count: int) -> GatheredReport:
    return GatheredReport(row.key, row.fence, end=End(EndKind.COMPLETED, waiting=seen(count)), last_n=row.last_n)


def test_it_waits_until_its_criterion_is_decided_and_is_ended_once(store: MemoryTurns) -> None:
    store.one(left(family(store, 2), 2))
    row = store.tasks[key(1)]
    assert (row.state, row.phase, row.unmet, row.worker) == (State.WORKING, Phase.WAITING, 2, b"")
    assert decode_spec(row.spec).left
    child_ends(store, 2)
    assert settle(store) == Settled(1)
    child_ends(store, 3)
    for _ in range(2):
        assert settle(store) == Settled(0, (), (key(1),))
        assert store.tasks[key(1)].phase is Phase.WAITING, "no run comes back"
    store.one(gathered(store.tasks[key(1)], 2))
    row = store.tasks[key(1)]
    assert (row.state, row.phase, row.unmet) == (State.COMPLETED, Phase.FINAL, 0)
    with pytest.raises(LeaseLost):
        store.one(gathered(row, 2))
    assert settle(store).ripe == ()
    assert store.unsettled() == ()


@pytest.mark.parametrize("settled", [True, False])
def test_it_does_not_begin_to_wait_for_what_has_come(store: MemoryTurns, settled: bool) -> None:
    """Nothing would wake it: the agent's end is decided anew."""
    parent = family(store, 1)
    child_ends(store, 2)
    if settled:
        settle(store)
    with pytest.raises(Conflict):
        store.one(left(parent, 1))
    assert store.tasks[key(1)].phase is Phase.LEASED


def test_it_does_not_end_without_a_child_that_was_not_seen(store: MemoryTurns) -> None:
    parent = family(store, 2)
    child_ends(store, 2)
    done = End(EndKind.COMPLETED, waiting=seen(1))
    with pytest.raises(Conflict):
        store.one(PulledReport(parent.key, parent.fence, end=done, last_n=parent.last_n))
    store.one(left(store.tasks[key(1)], 2))
    child_ends(store, 3)
    with pytest.raises(Conflict):
        store.one(gathered(store.tasks[key(1)], 1))
    assert store.tasks[key(1)].phase is Phase.WAITING


def test_a_child_that_comes_in_the_same_turn_is_seen(store: MemoryTurns) -> None:
    parent = family(store, 1)
    late = submit(9, extras=Extras(parent=id_of(key(1))))
    outcomes = store.do(late, left(parent, 1))
    assert isinstance(outcomes[1], Conflict)
    store.one(left(store.tasks[key(1)], 2))
    assert store.tasks[key(1)].unmet == 2


def test_only_what_was_left_is_ended_so(store: MemoryTurns) -> None:
    row = family(store, 1)
    with pytest.raises(LeaseLost):
        store.one(gathered(row, 1))
    plain = Waiting((), 1, RETURNED, b"note", returned=True)
    store.one(report(row, end=End(EndKind.PAUSED, waiting=plain)))
    with pytest.raises(LeaseLost):
        store.one(gathered(store.tasks[key(1)], 1))
