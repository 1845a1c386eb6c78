"""A task asks, is answered, and goes on; and what comes of it when nobody answers. Source: core.md 3, 7, 8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from a2a_server.codec import decode, decode_spec, decode_status, encode, encode_spec, unpack_message
from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle import limits
from a2a_server.lifecycle.editing import Edit, standing
from a2a_server.lifecycle.endings import LAST_RUN_WAIT, End, EndKind
from a2a_server.lifecycle.runs import Draft
from a2a_server.lifecycle.submission import Show, Submit, Submitted
from a2a_server.lifecycle.sweeping import Alarms
from a2a_server.model.objects import Generation, Message, Phase, Role, State, TaskSpec, Text
from a2a_server.model.rows import EventKind, TaskRow
from a2a_server.model.runs import ASKED, Pause, Want
from a2a_server.policy import SECOND
from tests.unit.turns import MemoryTurns, cancel, claim, crash, key, report, started, submit

DAY = 86_400 * SECOND


def asking(text: str = "Which?", want: Want = Want.INPUT, name: str = ":1") -> End:
    pause = Pause(want, Message(Role.AGENT, (Text(text),)), name, encode({"asked": 1}))
    return End(EndKind.PAUSED, pause=pause, patience=DAY)


def asked(store: MemoryTurns, row: TaskRow, **options: Any) -> TaskRow:  # noqa: ANN401 - any argument of `asking`
    paused: TaskRow = store.one(report(row, end=asking(**options))).row
    return paused


def answer(row: TaskRow, number: int, **options: Any) -> Submit:  # noqa: ANN401 - any field of a submission
    return submit(number, **{"task_id": row.id, "message_id": f"answer-{number}", **options})


def said(store: MemoryTurns) -> list[tuple[int, int, int, str]]:
    return [(row.seq, row.at_n, row.role, unpack_message(decode(row.body)).text) for row in store.messages]


@pytest.mark.parametrize(
    ("want", "state"), [(Want.INPUT, State.INPUT_REQUIRED), (Want.AUTH, State.AUTH_REQUIRED)], ids=["input", "auth"]
)
def test_a_pause_gives_up_the_run_and_waits_with_an_alarm(want: Want, state: State) -> None:
    store = MemoryTurns()
    row = asked(store, started(store), want=want)
    assert (row.state, row.phase, row.worker, row.due_at) == (state, Phase.PAUSED, b"", store.now + DAY)
    status, _ = decode_status(row.status, row.status_at)
    assert status.message is not None
    assert (status.message.role, status.message.text, status.message.task_id) == (Role.AGENT, "Which?", row.id)
    assert decode(store.states[row.key, ASKED, ":1"].body) == {"asked": 1}
    assert (row.attempt, row.crashes) == (0, 0)


def test_an_answer_is_told_by_working_and_joins_the_history_behind_the_question() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    heard = store.one(answer(row, 2, context=row.context))
    assert (heard.row.state, heard.row.phase, heard.leased, heard.repeat) == (State.WORKING, Phase.READY, False, False)
    assert heard.at_n == row.last_n + 1 == store.events[row.key][-1].n
    assert said(store) == [
        (1, 1, 1, "hello"),
        (row.last_n, heard.at_n, 2, "Which?"),
        (heard.at_n, heard.at_n, 1, "hello"),
    ]
    assert [hint.key for hint in store.turn.hints] == [row.key]


def test_an_answer_waits_no_longer_than_the_deadline() -> None:
    store = MemoryTurns()
    row = started(store, deadline_at=store.now + 60 * SECOND)
    row = asked(store, row)
    assert row.due_at == row.deadline_at
    assert store.one(answer(row, 2)).row.due_at == row.deadline_at


def test_an_answer_sent_again_is_the_same_answer() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    first = store.one(answer(row, 2))
    again = store.one(answer(row, 2))
    assert (again.repeat, again.at_n, again.row.last_n) == (True, first.at_n, first.row.last_n)


def test_a_send_is_no_repeat_once_a_later_message_was_taken() -> None:
    """core.md 3: "... and the task has taken no later user message"."""
    store = MemoryTurns()
    row = started(store)
    assert store.one(submit(1)).repeat
    row = asked(store, row)
    assert store.one(submit(1)).repeat, "a question is no message of the user"
    store.one(answer(row, 2))
    other = store.one(submit(3, message_id="message-1"))
    assert not other.repeat
    assert other.row.key == key(3)


def test_two_answers_at_once_are_one_answer_and_one_refusal() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    first, second = store.do(answer(row, 2), answer(row, 3))
    assert isinstance(first, Submitted)
    assert isinstance(second, UnsupportedOperation)
    assert "takes messages when it asks" in second.message


def test_the_same_words_again_answer_the_next_question_in_v01() -> None:
    store = MemoryTurns()
    row = started(store, task_id="mine", generation=Generation.V01, message_id="hash")
    row = asked(store, row)
    first = store.one(submit(2, task_id="mine", generation=Generation.V01, message_id="hash"))
    assert not first.repeat
    [row] = store.one(claim(1)).rows
    row = asked(store, row, name=":2")
    second = store.one(submit(3, task_id="mine", generation=Generation.V01, message_id="hash"))
    assert not second.repeat
    assert second.at_n > first.at_n


def test_metadata_of_an_answer_joins_that_of_the_task_and_the_rest_of_the_task_stays() -> None:
    store = MemoryTurns()
    spec = TaskSpec(60.0, "title", {"a": 1}, {"x": 1, "y": 1})
    row = asked(store, started(store, spec=encode_spec(spec)))
    row = store.one(answer(row, 2, spec=encode_spec(TaskSpec(5.0, metadata={"y": 2, "z": 2})))).row
    now = decode_spec(row.spec)
    assert (now.timeout_seconds, now.title, now.parameters) == (60.0, "title", {"a": 1})
    assert now.metadata == {"x": 1, "y": 2, "z": 2}


def test_options_belong_to_new_tasks() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    with pytest.raises(InvalidParams) as refused:
        store.one(answer(row, 2, asked='metadata["urn:x"].priority'))
    assert refused.value.path == 'metadata["urn:x"].priority'
    assert store.tasks[row.key].state is State.INPUT_REQUIRED


def test_an_unknown_task_takes_no_answer() -> None:
    store = MemoryTurns()
    with pytest.raises(TaskNotFound):
        store.one(submit(1, task_id="nobody"))


def test_nobody_answers() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    store.now += DAY + 1
    assert store.one(Alarms((row.key,))) == 1
    row = store.tasks[row.key]
    status, _ = decode_status(row.status, row.status_at)
    assert row.state is State.FAILED
    assert status.message is not None
    assert "Nobody answered" in status.message.text
    assert [text for *_, text in said(store)] == ["hello", "Which?"], "the question stays in the history"


def test_a_question_that_comes_after_a_cancel_is_canceled() -> None:
    store = MemoryTurns()
    row = started(store)
    row = store.one(cancel(row))
    assert asked(store, row).state is State.CANCELED


def test_a_paused_task_is_canceled_at_once() -> None:
    store = MemoryTurns()
    row = asked(store, started(store))
    assert store.one(cancel(row)).state is State.CANCELED


UNDOES = encode_spec(TaskSpec(60.0, rolls_back=True))


def test_a_paused_task_that_can_be_undone_gets_a_last_run_when_it_is_canceled() -> None:
    store = MemoryTurns()
    row = asked(store, started(store, spec=UNDOES))
    row = store.one(cancel(row))
    assert (row.state, row.phase, row.due_at) == (State.WORKING, Phase.READY, store.now + LAST_RUN_WAIT)
    assert store.one(cancel(row)) == store.tasks[row.key], "the second cancel changes nothing"
    [row] = store.one(claim(1)).rows
    assert row.cancel_at
    assert store.one(report(row, EndKind.CANCELED)).row.state is State.CANCELED


def test_a_last_run_that_is_handed_back_or_crashes_comes_again_but_not_for_ever() -> None:
    store = MemoryTurns()
    row = asked(store, started(store, spec=UNDOES))
    store.one(cancel(row))
    [row] = store.one(claim(1)).rows
    row = store.one(report(row, EndKind.HANDED_BACK)).row
    assert row.phase is Phase.READY
    for _ in range(3):
        [row] = store.one(claim(1)).rows
        crash(store, row)
    assert store.tasks[row.key].state is State.CANCELED


def test_a_task_that_can_be_undone_fails_behind_a_last_run_when_nobody_answers() -> None:
    store = MemoryTurns()
    row = asked(store, started(store, spec=UNDOES))
    store.now += DAY + 1
    store.one(Alarms((row.key,)))
    row = store.tasks[row.key]
    assert (row.state, row.phase) == (State.WORKING, Phase.READY)
    assert decode_spec(row.spec).failing == "Nobody answered in time."
    [row] = store.one(claim(1)).rows
    store.now += 200 * SECOND
    store.one(Alarms((row.key,)))
    row = store.tasks[row.key]
    status, _ = decode_status(row.status, row.status_at)
    assert row.state is State.FAILED, "the last run took too long; there is no other"
    assert status.message is not None
    assert status.message.text == "Nobody answered in time."


def test_what_never_ran_has_nothing_to_undo() -> None:
    store = MemoryTurns()
    row = store.one(submit(1, spec=UNDOES)).row
    assert store.one(cancel(row)).state is State.CANCELED


def test_a_task_may_stay_unseen_while_its_answer_may_be_a_message() -> None:
    store = MemoryTurns()
    row = started(store, visible=False)
    assert not row.visible
    assert not store.tally
    message = Message(Role.AGENT, (Text("42"),))
    row = store.one(report(row, end=End(EndKind.COMPLETED, message=message))).row
    assert not row.visible
    assert not store.one(Show(row.key)).visible, "the message is the whole answer"


@pytest.mark.parametrize(
    "options",
    [
        {"kind": EndKind.COMPLETED},
        {"kind": EndKind.FAILED},
        {"end": asking()},
        {"drafts": (Draft(EventKind.STATUS, encode({"s": 2})),)},
        {"end": End(EndKind.COMPLETED, message=Message(Role.AGENT, (Text("x"),)), partial="half")},
    ],
    ids=["nothing", "failure", "question", "progress", "partial"],
)
def test_anything_but_a_message_first_shows_the_task(options: dict[str, Any]) -> None:
    store = MemoryTurns()
    row = store.one(report(started(store, visible=False), **options)).row
    assert row.visible
    assert sum(store.tally.values()) == 1


@pytest.mark.parametrize("kind", [EndKind.TRANSIENT, EndKind.HANDED_BACK])
def test_another_run_may_still_answer_with_a_message(kind: EndKind) -> None:
    store = MemoryTurns()
    assert not store.one(report(started(store, visible=False), kind)).row.visible


def test_a_task_is_shown_when_its_answer_takes_too_long() -> None:
    store = MemoryTurns()
    row = started(store, visible=False)
    assert store.one(Show(row.key)).visible
    assert sum(store.tally.values()) == 1
    with pytest.raises(TaskNotFound):
        store.one(Show(key(9)))


def failing(store: MemoryTurns, **options: Any) -> TaskRow:  # noqa: ANN401 - any field of a submission
    """A task whose run failed and whose work is still to be undone."""
    row: TaskRow = store.one(report(started(store, spec=UNDOES, **options), EndKind.FAILED, "no luck")).row
    assert (row.state, row.phase) == (State.WORKING, Phase.READY)
    assert decode_spec(row.spec).failing == "no luck"
    return row


def test_a_last_run_knows_no_deadline() -> None:
    store = MemoryTurns()
    row = failing(store, deadline_at=store.now + 60 * SECOND)
    store.now += 61 * SECOND
    assert store.one(Alarms((row.key,))) == 0
    [row] = store.one(claim(1)).rows
    assert row.due_at > store.now
    row = store.one(report(row, EndKind.HANDED_BACK)).row
    assert row.due_at == store.now + LAST_RUN_WAIT
    [row] = store.one(claim(1)).rows
    row = store.one(report(row, EndKind.FAILED, "ignored")).row
    status, _ = decode_status(row.status, row.status_at)
    assert row.state is State.FAILED
    assert status.message is not None
    assert status.message.text == "no luck"


def test_a_last_run_that_never_comes_is_not_waited_for_for_ever() -> None:
    store = MemoryTurns()
    row = failing(store)
    store.now += LAST_RUN_WAIT
    assert store.one(Alarms((row.key,))) == 1
    assert store.tasks[row.key].state is State.FAILED


def test_a_last_run_that_gates_hold_again_and_again_waits_no_longer_for_it() -> None:
    store = MemoryTurns()
    row = failing(store)
    for _ in range(2):
        store.now += LAST_RUN_WAIT // 4
        store.one(limits.SetLimit("skill:echo", 0))
        assert not store.one(claim(1)).rows
        assert (store.tasks[row.key].phase, store.tasks[row.key].due_at) == (Phase.HELD, row.due_at)
        store.one(limits.SetLimit("skill:echo", None))
        assert store.tasks[row.key].phase is Phase.READY
    wanted = replace(standing(store.tasks[row.key]), title="Named")
    assert store.one(Edit(store.tasks[row.key], wanted)).due_at == row.due_at
    store.now = row.due_at
    assert store.one(Alarms((row.key,))) == 1
    assert store.tasks[row.key].state is State.FAILED


def test_a_last_run_is_left_by_who_cannot_undo_anything_and_others_are_found_behind_it() -> None:
    store = MemoryTurns()
    row = store.tasks[failing(store).key]
    store.one(submit(2))
    store.now += SECOND
    able = claim(1, undoes=False)
    passed = store.one(able)
    assert (passed.rows, passed.more) == ((), True)
    [other] = store.one(replace(able, look=able.further(passed, 8))).rows
    assert (other.key, store.tasks[row.key]) == (key(2), row), "its alarm stays what it was"
    store.now = row.due_at
    assert store.one(Alarms((row.key,))) == 1
    assert store.tasks[row.key].state is State.FAILED


def test_a_last_run_whose_worker_dies_comes_again_whatever_attempts_are_left() -> None:
    store = MemoryTurns()
    failing(store, max_attempts=1)
    [row] = store.one(claim(1)).rows
    crash(store, row)
    assert (store.tasks[key(1)].state, store.tasks[key(1)].phase) == (State.WORKING, Phase.READY)


def test_a_last_run_that_is_canceled_ends_as_canceled() -> None:
    store = MemoryTurns()
    row = failing(store)
    store.one(cancel(row))
    assert store.tasks[row.key].phase is Phase.READY
    [row] = store.one(claim(1)).rows
    assert store.one(report(row, EndKind.FAILED)).row.state is State.CANCELED


def test_a_task_refers_only_to_tasks_of_its_owner() -> None:
    store = MemoryTurns()
    mine = store.one(submit(1)).row
    other = store.one(submit(2, owner="other")).row
    assert store.one(submit(3, references=(mine.id,))).row.key == key(3)
    texts = set()
    for unknown in (other.id, "nobody"):
        with pytest.raises(InvalidParams) as refused:
            store.one(submit(4, references=(mine.id, unknown)))
        assert refused.value.path == "message.referenceTaskIds[1]"
        texts.add(refused.value.message)
    assert len(texts) == 1
    assert store.one(submit(3, references=("gone meanwhile",))).repeat, "a repeat is one whatever became of the others"


def test_every_end_but_a_message_shows_the_task() -> None:
    store = MemoryTurns()
    row = started(store, visible=False)
    for _ in range(3):
        crash(store, store.tasks[row.key])
        store.one(claim(1))
    assert store.tasks[row.key].state is State.FAILED
    assert store.tasks[row.key].visible
