from __future__ import annotations

import pytest

from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.endings import EndKind
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.model.objects import Generation, Lane, Phase, Scope, State
from a2a_server.model.rows import SentKey
from a2a_server.policy import SECOND
from tests.unit.turns import WORKER, MemoryTurns, cancel, claim, key, report, started, submit

V01 = {"generation": Generation.V01, "task_id": "client-task"}


def sent(store: MemoryTurns, operation: Submit) -> Submitted:
    outcome = store.one(operation)
    assert isinstance(outcome, Submitted)
    return outcome


def test_a_send_makes_a_task_with_its_first_event_and_message() -> None:
    store = MemoryTurns()
    submitted = sent(store, submit(1))
    row = submitted.row
    assert (row.state, row.phase, row.last_n, submitted.at_n) == (State.SUBMITTED, Phase.READY, 1, 1)
    assert (row.id, row.context) == ("00000000-0000-0000-0000-000000000001", "context-1")
    assert [(one.seq, one.at_n, one.role, one.id) for one in store.messages] == [(1, 1, 1, "message-1")]
    assert not submitted.repeat
    assert not submitted.leased
    assert [hint.key for hint in store.turn.hints] == [key(1)]


def test_the_context_is_the_clients_where_it_gives_one() -> None:
    assert sent(MemoryTurns(), submit(1, context="mine")).row.context == "mine"


def test_a_repeat_is_answered_with_the_first_task() -> None:
    """core.md 3: same key and hash within the window."""
    store = MemoryTurns()
    first = sent(store, submit(1))
    again = sent(store, submit(2, message_id="message-1"))
    assert (again.row, again.at_n, again.repeat) == (first.row, first.at_n, True)
    assert list(store.tasks) == [key(1)]


def test_a_repeat_of_a_task_that_has_ended_is_answered_with_it() -> None:
    store = MemoryTurns()
    row = started(store)
    store.one(report(row, EndKind.COMPLETED))
    again = sent(store, submit(2, message_id="message-1"))
    assert (again.row.state, again.repeat) == (State.COMPLETED, True)


def test_two_sends_of_one_turn_are_a_send_and_its_repeat() -> None:
    store = MemoryTurns()
    first, second = store.do(submit(1), submit(2, message_id="message-1"))
    assert not first.repeat
    assert second.repeat
    assert second.row.key == key(1)


@pytest.mark.parametrize(
    "other",
    [
        {"digest": b"another"},
        {"message_id": "another"},
        {"scope": Scope("", "somebody")},
        {"scope": Scope("tenant", "local")},
        {"agent": "another"},
        {"window": 0},
    ],
    ids=str,
)
def test_what_differs_is_no_repeat(other: dict[str, object]) -> None:
    store = MemoryTurns()
    sent(store, submit(1))
    second = sent(store, submit(2, **{"message_id": "message-1", **other}))
    assert not second.repeat
    assert second.row.key == key(2)


def test_a_repeat_is_recognised_until_the_window_ends() -> None:
    store = MemoryTurns()
    sent(store, submit(1, window=10 * SECOND))
    store.now += 10 * SECOND - 1
    assert sent(store, submit(2, message_id="message-1")).repeat
    store.now += 1
    assert sent(store, submit(3, message_id="message-1")).row.key == key(3)
    assert sent(store, submit(4, message_id="message-1")).row.key == key(3), "the later send is the one to repeat"


def test_without_a_window_nothing_is_remembered() -> None:
    store = MemoryTurns()
    sent(store, submit(1, window=0))
    assert not store.sent


def test_v01_makes_the_task_that_the_client_named() -> None:
    store = MemoryTurns()
    row = sent(store, submit(1, **V01)).row
    assert (row.id, row.generation) == ("client-task", Generation.V01)
    assert sent(store, submit(2, **V01, message_id="message-1")).repeat


def test_v01_tells_a_repeat_from_other_words_by_the_content() -> None:
    store = MemoryTurns()
    sent(store, submit(1, **V01))
    with pytest.raises(UnsupportedOperation, match="still at work"):
        store.one(submit(2, **V01))
    row = store.tasks[key(1)]
    store.one(cancel(row))
    with pytest.raises(UnsupportedOperation, match="has ended \\(canceled\\)"):
        store.one(submit(3, **V01))
    assert list(store.tasks) == [key(1)]


def test_two_v01_sends_of_one_turn_with_one_id_are_one_task() -> None:
    store = MemoryTurns()
    first, second = store.do(submit(1, **V01), submit(2, **V01))
    assert first.row.key == key(1)
    assert isinstance(second, UnsupportedOperation)


def test_from_v10_on_a_task_id_must_exist() -> None:
    store = MemoryTurns()
    with pytest.raises(TaskNotFound):
        store.one(submit(1, task_id="unknown"))
    row = sent(store, submit(2)).row
    with pytest.raises(UnsupportedOperation):
        store.one(submit(3, task_id=row.id))
    with pytest.raises(TaskNotFound):
        store.one(submit(4, task_id=row.id, owner="somebody"))


@pytest.mark.parametrize(("generation", "path"), [(Generation.V01, "sessionId"), (Generation.V10, "message.contextId")])
def test_another_context_than_the_tasks_is_refused(generation: Generation, path: str) -> None:
    store = MemoryTurns()
    row = sent(store, submit(1)).row
    with pytest.raises(InvalidParams) as refusal:
        store.one(submit(2, generation=generation, task_id=row.id, context="another"))
    assert refusal.value.path == path


def test_a_deadline_that_has_passed_is_refused() -> None:
    store = MemoryTurns()
    with pytest.raises(InvalidParams, match="deadline has passed"):
        store.one(submit(1, deadline_at=store.now))
    assert not store.tasks
    assert sent(store, submit(1, deadline_at=store.now + 1)).row.due_at == store.now + 1


def test_a_later_start_schedules_the_task() -> None:
    store = MemoryTurns()
    delayed = sent(store, submit(1, delay=5 * SECOND)).row
    assert (delayed.phase, delayed.due_at) == (Phase.SCHEDULED, store.now + 5 * SECOND)
    both = sent(store, submit(2, delay=5 * SECOND, starts_at=store.now + 9 * SECOND)).row
    assert both.due_at == store.now + 9 * SECOND
    assert sent(store, submit(3, starts_at=store.now)).row.phase is Phase.READY
    late = sent(store, submit(4, delay=9 * SECOND, deadline_at=store.now + SECOND)).row
    assert (late.phase, late.due_at) == (Phase.SCHEDULED, store.now + SECOND)
    assert not store.turn.hints


# Direct dispatch


def test_a_free_slot_runs_the_task_in_the_same_turn() -> None:
    store = MemoryTurns()
    submitted = sent(store, submit(1, worker=WORKER))
    row = submitted.row
    assert submitted.leased
    assert (row.state, row.phase, row.worker, row.fence, row.last_n) == (State.WORKING, Phase.LEASED, WORKER, 1, 2)
    assert submitted.at_n == 1
    assert not store.turn.hints
    assert not store.fair, "it takes nobody's turn"


def test_a_repeat_is_never_leased() -> None:
    store = MemoryTurns()
    sent(store, submit(1, worker=WORKER))
    again = sent(store, submit(2, message_id="message-1", worker=WORKER))
    assert (again.repeat, again.leased, again.row.fence) == (True, False, 1)


def test_a_delayed_task_is_never_leased() -> None:
    assert not sent(MemoryTurns(), submit(1, worker=WORKER, delay=SECOND)).leased


@pytest.mark.parametrize(
    ("waiting", "lane", "leased"),
    [
        (Lane.NORMAL, Lane.NORMAL, False),
        (Lane.HIGH, Lane.NORMAL, False),
        (Lane.LOW, Lane.NORMAL, True),
        (Lane.NORMAL, Lane.CRITICAL, True),
    ],
)
def test_no_task_is_dispatched_past_one_that_is_ahead(waiting: Lane, lane: Lane, leased: bool) -> None:
    store = MemoryTurns()
    sent(store, submit(1, lane=waiting))
    assert sent(store, submit(2, lane=lane, worker=WORKER)).leased is leased
    assert sent(store, submit(3, lane=Lane.NORMAL, worker=WORKER, skill="other")).leased


def test_a_task_made_ready_in_the_same_turn_is_ahead() -> None:
    store = MemoryTurns()
    _, second = store.do(submit(1), submit(2, worker=WORKER))
    assert not second.leased


def test_a_full_gate_is_respected_and_counts_what_the_turn_leases() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 2))
    outcomes = store.do(*(submit(number, worker=WORKER) for number in range(1, 4)))
    assert [one.leased for one in outcomes] == [True, True, False]
    assert store.gates["skill:echo"].used == 2
    assert outcomes[2].row.phase is Phase.READY


def test_a_closed_gate_is_respected() -> None:
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", None))
    store.gates["skill:echo"] = store.gates["skill:echo"]._replace(closed_until=store.now + 1)
    assert not sent(store, submit(1, worker=WORKER)).leased


def test_no_task_is_dispatched_past_those_that_its_gate_holds() -> None:
    """The slot that a run gives back in this very turn belongs to whom the gate has held."""
    store = MemoryTurns()
    store.one(SetLimit("skill:echo", 1))
    row = started(store)
    sent(store, submit(2))
    store.one(claim())
    assert store.tasks[key(2)].held_by == "skill:echo"
    _, newcomer = store.do(report(row, EndKind.COMPLETED), submit(3, worker=WORKER))
    assert not newcomer.leased
    assert store.tasks[key(2)].phase is Phase.READY
    assert [row.key for row in store.one(claim()).rows] == [key(2)]


def test_what_is_remembered_expires_with_the_window() -> None:
    store = MemoryTurns()
    sent(store, submit(1, window=SECOND))
    row = store.sent[SentKey("", "local", "", "", "message-1")]
    assert (row.task, row.at_n, row.expires_at) == (key(1), 1, store.now + SECOND)
