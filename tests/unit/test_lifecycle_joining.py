"""Parents that wait for children, decided: woken when it may be worth it, never too late."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.dependencies import Extras, Settle
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.joining import RETURNED, Count, Waiting
from a2a_server.lifecycle.labels import id_of
from a2a_server.model.objects import Phase, State, TaskSpec, Wishes
from a2a_server.model.rows import EdgeKind, EdgeRow, Key, TaskRow
from a2a_server.model.runs import JOINED
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, cancel, claim, key, report, started, submit


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def family(store: MemoryTurns, children: int, criterion: str = "") -> TaskRow:
    """A parent that runs, with children 2, 3 … that run too."""
    spec = TaskSpec(60.0, wishes=Wishes(complete_when=criterion) if criterion else None)
    parent = started(store, spec=encode_spec(spec))
    for number in range(2, 2 + children):
        store.one(submit(number, extras=Extras(parent=id_of(key(1)), run=parent.fence)))
    store.one(claim(children))
    return store.tasks[key(1)]


def end(store: MemoryTurns, number: int, kind: EndKind = EndKind.COMPLETED) -> None:
    store.one(report(store.tasks[key(number)], kind))


def settle(store: MemoryTurns) -> None:
    store.one(Settle(store.unsettled(), SECOND))


def pausing(row: TaskRow, need: int, *children: int, returned: bool = False, seen: int = 0) -> Any:  # noqa: ANN401 - a report
    keys = tuple(Key(key(number)) for number in children)
    name = RETURNED if returned else ":1"
    waiting = Waiting(keys, seen if returned else need, name, b"note", returned=returned)
    return report(row, end=End(EndKind.PAUSED, waiting=waiting))


def parent_of(store: MemoryTurns) -> tuple[Phase, int]:
    return store.tasks[key(1)].phase, store.tasks[key(1)].unmet


def test_a_parent_waits_without_a_lease_and_is_woken_by_the_last(store: MemoryTurns) -> None:
    parent = family(store, 3)
    store.one(pausing(parent, 3, 2, 3, 4))
    row = store.tasks[key(1)]
    assert (row.state, row.phase, row.unmet, row.worker, row.due_at) == (State.WORKING, Phase.WAITING, 3, b"", 0)
    assert store.states[bytes(key(1)), JOINED, ":1"].body == b"note"
    end(store, 2, EndKind.FAILED)
    end(store, 3)
    settle(store)
    assert parent_of(store) == (Phase.WAITING, 1)
    end(store, 4)
    settle(store)
    assert parent_of(store) == (Phase.READY, 0)
    assert store.tasks[key(1)].attempt == 0


def test_a_parent_that_waits_is_a_task_and_no_direct_answer(store: MemoryTurns) -> None:
    parent = started(store, visible=False)
    store.one(submit(2, extras=Extras(parent=id_of(key(1)), run=parent.fence)))
    store.one(pausing(store.tasks[key(1)], 1, 2))
    assert store.tasks[key(1)].visible


def test_a_parent_that_begins_to_wait_still_learns_that_its_own_parent_was_canceled(store: MemoryTurns) -> None:
    parent = family(store, 1)
    store.one(submit(9))
    store.edges[key(9), key(1)] = EdgeRow(key(9), key(1), EdgeKind.CHILD, State.CANCELED)  # nobody has settled it
    store.one(pausing(parent, 1, 2))
    assert parent_of(store) == (Phase.WAITING, 1)
    assert store.unsettled() == (key(1),)
    settle(store)
    assert store.tasks[key(1)].state is State.CANCELED


def test_children_that_ended_before_are_counted(store: MemoryTurns) -> None:
    parent = family(store, 2)
    end(store, 2)
    settle(store)
    end(store, 3)  # nobody has settled this one
    store.one(pausing(parent, 2, 2, 3))
    assert parent_of(store) == (Phase.READY, 0)
    assert store.unsettled() == ()


@pytest.mark.parametrize("order", ["pause first", "end first"])
def test_a_pause_and_an_end_in_one_turn(store: MemoryTurns, order: str) -> None:
    parent = family(store, 1)
    operations = [pausing(parent, 1, 2), report(store.tasks[key(2)], EndKind.COMPLETED)]
    store.do(*(operations if order == "pause first" else reversed(operations)))
    settle(store)
    assert parent_of(store) == (Phase.READY, 0)


def test_a_join_of_any_is_woken_by_the_first(store: MemoryTurns) -> None:
    parent = family(store, 3)
    store.one(pausing(parent, 1, 2, 3, 4))
    end(store, 3)
    settle(store)
    assert parent_of(store) == (Phase.READY, 0)


def test_a_child_that_is_gone_counts_as_ended(store: MemoryTurns) -> None:
    parent = family(store, 1)
    store.one(pausing(parent, 2, 2, 77))
    assert parent_of(store) == (Phase.WAITING, 1)


def test_a_parent_that_waits_is_canceled_at_once(store: MemoryTurns) -> None:
    parent = family(store, 1)
    store.one(pausing(parent, 1, 2))
    assert store.one(cancel(store.tasks[key(1)])).state is State.CANCELED
    settle(store)
    assert store.tasks[key(2)].cancel_at


def test_a_parent_that_is_being_canceled_does_not_wait(store: MemoryTurns) -> None:
    parent = family(store, 1)
    store.one(cancel(parent))
    store.one(pausing(parent, 1, 2))
    assert store.tasks[key(1)].state is State.CANCELED


@pytest.mark.parametrize(
    ("criterion", "ends", "woken"),
    [
        ("all", [EndKind.COMPLETED, EndKind.COMPLETED], False),
        ("all", [EndKind.COMPLETED] * 3, True),
        ("all", [EndKind.FAILED], True),
        ("any", [EndKind.FAILED, EndKind.FAILED], False),
        ("any", [EndKind.FAILED] * 3, True),
        ("any", [EndKind.COMPLETED], True),
        ("2", [EndKind.COMPLETED, EndKind.FAILED], False),
        ("2", [EndKind.COMPLETED, EndKind.COMPLETED], True),
        ("2", [EndKind.FAILED, EndKind.CANCELED], True),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_parent_that_returned_is_woken_when_its_criterion_is_decided(
    store: MemoryTurns, criterion: str, ends: list[EndKind], woken: bool, before: bool
) -> None:
    parent = family(store, 3, criterion)
    if not before:
        store.one(pausing(parent, 0, returned=True, seen=3))
    for number, kind in enumerate(ends, 2):
        end(store, number, kind)
        if not before:
            settle(store)
    if before:
        store.one(pausing(parent, 0, returned=True, seen=3))
    assert parent_of(store)[0] is (Phase.READY if woken else Phase.WAITING)
    assert decode_spec(store.tasks[key(1)].spec).returned


def test_a_parent_does_not_complete_with_a_child_that_it_has_not_seen(store: MemoryTurns) -> None:
    parent = family(store, 1, "all")
    end(store, 2)
    store.one(submit(3, extras=Extras(parent=id_of(key(1)))))
    waiting = Waiting((), 1, RETURNED, b"note", returned=True)
    store.one(report(parent, end=End(EndKind.COMPLETED, waiting=waiting)))
    assert parent_of(store) == (Phase.WAITING, 1)
    store.one(claim(1))
    end(store, 3)
    settle(store)
    assert parent_of(store) == (Phase.READY, 0)
    store.one(claim(1))
    store.one(report(store.tasks[key(1)], end=End(EndKind.COMPLETED, waiting=replace(waiting, need=2))))
    assert store.tasks[key(1)].state is State.COMPLETED


def test_what_can_be_met() -> None:
    assert Count(0, 0, 0).met("all")
    assert Count(0, 0, 0).lost("any")
    assert Count(1, 1, 0).met("any")
    assert not Count(1, 1, 0).met("all")
    assert Count(0, 2, 3).met("2")
    assert Count(1, 1, 0).lost("3")
