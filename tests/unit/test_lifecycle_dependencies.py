"""Ties between tasks, decided: what a new task waits for, what ends mean, and operations that share a turn."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import ClientError, Conflict, InvalidParams, LeaseLost
from a2a_server.lifecycle.batching import SubmitMany
from a2a_server.lifecycle.dependencies import AddDependency, Extras, Settle, Settled, graph_key
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.labels import FOR_EVER, id_of, key_of, labels_of, spawn_key, unique_key
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.submission import Submit
from a2a_server.model.objects import Phase, Scope, State, TaskSpec, Wishes
from a2a_server.model.rows import EdgeKind, Interest, SentKey, StateRow, TaskName, TaskRow
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, cancel, claim, key, report, started, submit, words

GRACE = 5 * SECOND


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def behind(number: int, *upstreams: int, **options: Any) -> Submit:  # noqa: ANN401 - any field of a submission
    extras = {name: options.pop(name) for name in ("on_failure", "parent", "run") if name in options}
    if isinstance(extras.get("parent"), int):
        extras["parent"] = id_of(key(extras["parent"]))
    return submit(number, extras=Extras(tuple(id_of(key(one)) for one in upstreams), **extras), **options)


def settle(store: MemoryTurns, **names: str) -> Settled:
    known = {key(int(number.removeprefix("n"))): name for number, name in names.items()}
    done: Settled = store.one(Settle(store.unsettled(), GRACE, known))
    return done


def done_of(store: MemoryTurns, upstream: int, downstream: int) -> int:
    return store.edges[key(upstream), key(downstream)].done


def test_a_task_is_released_by_the_last_of_its_upstreams(store: MemoryTurns) -> None:
    first, second = started(store, 1), started(store, 2)
    row = store.one(behind(3, 1, 2)).row
    assert (row.state, row.phase, row.unmet, row.due_at) == (State.SUBMITTED, Phase.WAITING, 2, 0)
    assert store.tasks[key(1)].pushes == Interest.WAITED
    store.one(report(first, EndKind.COMPLETED))
    assert store.unsettled() == (key(3),)
    assert settle(store).count == 1
    assert (store.tasks[key(3)].phase, store.tasks[key(3)].unmet) == (Phase.WAITING, 1)
    assert store.unsettled() == ()
    store.one(report(second, EndKind.COMPLETED))
    settle(store)
    assert (store.tasks[key(3)].phase, store.tasks[key(3)].unmet) == (Phase.READY, 0)
    assert [hint.key for hint in store.turn.hints] == [key(3)]
    assert settle(store).count == 0


@pytest.mark.parametrize("order", ["tie first", "end first"])
def test_an_end_and_a_tie_in_one_turn(store: MemoryTurns, order: str) -> None:
    row = started(store)
    operations = [behind(2, 1), report(row, EndKind.COMPLETED)]
    store.do(*(operations if order == "tie first" else reversed(operations)))
    assert abs(done_of(store, 1, 2)) == State.COMPLETED
    if order == "tie first":
        settle(store)
    assert store.tasks[key(2)].phase is Phase.READY


def test_what_is_tied_in_a_turn_is_not_settled_in_it(store: MemoryTurns) -> None:
    row, other = started(store, 1), started(store, 2)
    store.one(behind(3, 1))
    store.one(report(row, EndKind.COMPLETED))
    added = AddDependency(TaskName("", "local", "", id_of(key(3))), other.id, EdgeKind.FAIL, 0)
    store.do(added, Settle((key(3),), GRACE))
    assert store.tasks[key(3)].phase is Phase.WAITING
    assert store.unsettled() == (key(3),)
    settle(store)
    assert (store.tasks[key(3)].phase, store.tasks[key(3)].unmet) == (Phase.WAITING, 1)
    store.one(report(other, EndKind.COMPLETED))
    settle(store)
    assert store.tasks[key(3)].phase is Phase.READY


@pytest.mark.parametrize(
    ("kind", "state"),
    [(EdgeKind.FAIL, State.FAILED), (EdgeKind.CANCEL, State.CANCELED), (EdgeKind.RUN, State.SUBMITTED)],
)
def test_an_upstream_that_failed(store: MemoryTurns, kind: EdgeKind, state: State) -> None:
    row = started(store)
    store.one(behind(2, 1, on_failure=kind))
    store.one(report(row, EndKind.FAILED, "no"))
    store.one(behind(3, 1, on_failure=kind))
    if kind is not EdgeKind.RUN:
        assert settle(store).unnamed == (key(1),)
        assert store.tasks[key(2)].phase is Phase.WAITING
        settle(store, n1="the first")
        assert (
            words(store.tasks[key(2)])
            == "Task the first, which this one depends on, did not complete: it ended as failed."
        )
        assert id_of(key(1)) in words(store.tasks[key(3)])
    else:
        settle(store)
    assert [store.tasks[key(number)].state for number in (2, 3)] == [state, state]
    assert store.unsettled() == ()
    assert done_of(store, 1, 3) == -State.FAILED


def test_one_that_is_gone_is_called_by_its_key(store: MemoryTurns) -> None:
    row = started(store)
    store.one(behind(2, 1))
    store.one(report(row, EndKind.FAILED))
    settle(store, n1="")
    assert id_of(key(1)) in words(store.tasks[key(2)])


def test_a_task_for_later_is_scheduled_when_released(store: MemoryTurns) -> None:
    row = started(store)
    store.one(behind(2, 1, delay=60 * SECOND, deadline_at=store.now + 600 * SECOND))
    waiting = store.tasks[key(2)]
    assert (waiting.phase, waiting.due_at) == (Phase.WAITING, store.now + 600 * SECOND)
    store.one(report(row, EndKind.COMPLETED))
    starts_at = store.now + 60 * SECOND
    store.now += SECOND
    settle(store)
    assert (store.tasks[key(2)].phase, store.tasks[key(2)].due_at) == (Phase.SCHEDULED, starts_at)


def test_unknown_foreign_and_invisible_upstreams_are_refused_alike(store: MemoryTurns) -> None:
    store.one(submit(1, owner="other"))
    store.one(submit(2, visible=False))
    outcomes = store.do(*(behind(10 + number, number) for number in (1, 2, 3)))
    assert {str(outcome) for outcome in outcomes} == {str(outcomes[0])}
    assert all(isinstance(outcome, InvalidParams) for outcome in outcomes)
    assert len(store.tasks) == 2


def test_a_child_is_tied_both_ways_and_canceled_with_its_parent(store: MemoryTurns) -> None:
    parent = started(store)
    store.one(behind(2, parent=1))
    leased = store.one(behind(3, parent=1)).row
    assert leased.parent == key(1)
    assert leased.pushes == Interest.WAITED
    assert store.tasks[key(1)].pushes == Interest.WAITED | Interest.PARENT
    assert {pair: edge.on_failure for pair, edge in store.edges.items()} == {
        (key(1), key(2)): EdgeKind.CHILD,
        (key(1), key(3)): EdgeKind.CHILD,
        (key(2), key(1)): EdgeKind.JOIN,
        (key(3), key(1)): EdgeKind.JOIN,
    }
    store.one(claim(1, hinted=(key(3),)))
    (running,) = [row for row in store.tasks.values() if row.phase is Phase.LEASED and row.parent]
    (idle,) = [row for row in store.tasks.values() if row.phase is Phase.READY]
    store.one(report(parent, EndKind.CANCELED))
    settle(store)
    assert store.tasks[idle.key].state is State.CANCELED
    assert store.tasks[running.key].cancel_at
    late = store.do(behind(4, parent=1))
    assert "has ended (canceled)" in str(late[0])


def test_children_of_a_parent_that_failed_go_on(store: MemoryTurns) -> None:
    parent = started(store)
    store.one(behind(2, parent=1))
    store.one(report(parent, EndKind.FAILED))
    settle(store)
    assert store.tasks[key(2)].phase is Phase.READY
    assert store.unsettled() == ()


def test_only_the_run_that_holds_the_parent_spawns(store: MemoryTurns) -> None:
    parent = started(store)
    note = StateRow(parent.key, "spawn", ":1", 0, 1, b"x")
    sent = SentKey("", "local", "", "", spawn_key(parent.key, ":1"))
    extras = Extras(parent=parent.id, run=parent.fence, states=(note,), sent=sent)
    made = store.one(submit(2, extras=extras, window=0))
    again = store.one(submit(3, extras=extras, window=0))
    assert (again.repeat, again.row.key) == (True, made.row.key)
    assert store.sent[sent].expires_at == FOR_EVER
    assert store.states[bytes(parent.key), "spawn", ":1"] == note
    stale = Extras(parent=parent.id, run=parent.fence + 1)
    with pytest.raises(LeaseLost):
        store.one(submit(4, extras=stale, window=0))
    assert len(store.tasks) == 2


def test_additions_to_the_graph_are_in_order(store: MemoryTurns) -> None:
    for number in (1, 2, 3):
        store.one(submit(number, delay=SECOND))
    named = [TaskName("", "local", "", id_of(key(number))) for number in (1, 2, 3)]
    first = AddDependency(named[0], named[1].id, EdgeKind.FAIL, 0)
    second = AddDependency(named[1], named[2].id, EdgeKind.FAIL, 0)
    outcomes = store.do(first, second)
    assert isinstance(outcomes[1], Conflict)
    assert store.records[graph_key(Scope())].rev == 1
    row = store.one(AddDependency(named[1], named[2].id, EdgeKind.FAIL, 1))
    assert (row.phase, decode_spec(row.spec).starts_at) == (Phase.WAITING, store.now + SECOND)
    assert decode_spec(row.spec).wishes == Wishes(depends_on=(named[2].id,))


def test_a_held_task_that_gets_a_dependency_is_held_no_more(store: MemoryTurns) -> None:
    store.one(SetLimit("skill:echo", 1))
    first = started(store, 1)
    store.one(submit(2))
    store.one(claim(1))
    assert store.tasks[key(2)].phase is Phase.HELD
    row = store.one(AddDependency(store.tasks[key(2)].name, first.id, EdgeKind.FAIL, 0))
    assert (row.phase, row.held_by) == (Phase.WAITING, "")
    store.one(report(first, EndKind.COMPLETED))
    assert store.tasks[key(2)].phase is Phase.WAITING
    settle(store)
    assert store.tasks[key(2)].phase is Phase.READY


def test_a_canceled_task_that_waits_is_left_alone_by_its_upstreams(store: MemoryTurns) -> None:
    first = started(store)
    waiting: TaskRow = store.one(behind(2, 1)).row
    store.one(cancel(waiting))
    store.one(report(first, EndKind.COMPLETED))
    assert settle(store).count == 1
    assert store.tasks[key(2)].state is State.CANCELED
    assert store.unsettled() == ()


def test_a_task_does_not_wait_for_a_part_of_itself_before_it_begins(store: MemoryTurns) -> None:
    store.one(submit(1))
    store.one(submit(2, extras=Extras(parent=id_of(key(1)))))
    before = store.tasks[key(1)]
    with pytest.raises(InvalidParams, match="a part of this very task"):
        store.one(AddDependency(before.name, id_of(key(2)), EdgeKind.FAIL, 0))
    assert store.tasks[key(1)] == before


def test_a_task_waits_for_no_more_than_a_thousand(store: MemoryTurns) -> None:
    upstreams = tuple(f"upstream-{number}" for number in range(1000))
    store.one(submit(1, spec=encode_spec(TaskSpec(60.0, wishes=Wishes(depends_on=upstreams)))))
    other = store.one(submit(2)).row
    with pytest.raises(InvalidParams, match="waits for 1000 others"):
        store.one(AddDependency(store.tasks[key(1)].name, other.id, EdgeKind.FAIL, 0))


def test_a_batch_is_all_or_nothing(store: MemoryTurns) -> None:
    store.one(submit(9))
    good, bad = behind(1), behind(2, 1, 77)
    (refused,) = store.do(SubmitMany(Scope(), (good, bad), (0, 1)))
    assert isinstance(refused, ClientError)
    assert str(refused).startswith("items[1].")
    assert len(store.tasks) == 1
    assert store.edges == {}
    outcomes = store.one(SubmitMany(Scope(), (good, bad, behind(3, 1)), (0, 1, 2), atomic=False))
    assert [isinstance(outcome, ClientError) for outcome in outcomes] == [False, True, False]
    assert store.tasks[key(3)].phase is Phase.WAITING


def test_labels_never_meet() -> None:
    wishes = Wishes(tags=("red", "batch:1"), batch="1", schedule="s", template="t")
    assert labels_of("Straße", wishes) == (
        "title:strasse",
        "tag:red",
        "tag:batch:1",
        "batch:1",
        "schedule:s",
        "template:t",
    )
    assert labels_of("", None) == ()
    assert not spawn_key(key(1), ":1").isprintable()
    assert not unique_key("x").isprintable()
    assert key_of(id_of(key(7))) == key(7)
    for wrong in ("x", "1-2", id_of(key(7)).replace("-", "")):
        with pytest.raises(ValueError):  # noqa: PT011 - any of them
            key_of(wrong)


def test_a_spec_keeps_what_it_waits_for() -> None:
    spec = TaskSpec(60.0, starts_at=5, returned=True, wishes=Wishes(complete_when="all"))
    assert decode_spec(encode_spec(spec)) == spec
    assert decode_spec(encode_spec(TaskSpec(60.0))) == TaskSpec(60.0)
