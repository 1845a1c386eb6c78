"""The checker of the crash drill catches every kind of bad history, and lets a good one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.drills.checker import check, check_recovery, check_stream, expected
from tests.drills.conversations import MUST_HIT, Item, Moment, check_hits, moments, plan, questions
from tests.drills.kin import check_made
from tests.drills.ledger import Entry, Kill, Order, Seen, Stream, assembled
from tests.drills.soak import Sample, grown
from tests.drills.stored import Position, StoredTask
from tests.unit import laws
from tests.unit.histories import BAD, CANCELED, OLD, POISON, TASK, TEXT, History, chunk, good, status, stored
from tests.unit.kinships import BAD_KIN, Kinship, good as good_kin
from tests.unit.talks import BAD_TALKS, FIRST, ONE, TALK, TWO, good_talk, say


def test_a_good_history_passes() -> None:
    history = good()
    assert check(history.ledger, history.views, history.rows) == []


@pytest.mark.parametrize(("spoil", "rule"), BAD, ids=[f"{spoil.__name__}-{rule}" for spoil, rule in BAD])
def test_a_bad_history_is_caught(spoil: Callable[[History], None], rule: str) -> None:
    history = good()
    spoil(history)
    assert rule in history.broken()


def test_good_kin_pass() -> None:
    assert good_kin().broken() == set()


@pytest.mark.parametrize(("spoil", "rule"), BAD_KIN, ids=[f"{spoil.__name__}-{rule}" for spoil, rule in BAD_KIN])
def test_bad_kin_are_caught(spoil: Callable[[Kinship], None], rule: str) -> None:
    kin = good_kin()
    spoil(kin)
    assert rule in kin.broken()


def test_a_good_conversation_passes() -> None:
    history = good_talk()
    assert check(history.ledger, history.views, history.rows) == []


@pytest.mark.parametrize(("spoil", "rule"), BAD_TALKS, ids=[f"{spoil.__name__}-{rule}" for spoil, rule in BAD_TALKS])
def test_a_bad_conversation_is_caught(spoil: Callable[[History], None], rule: str) -> None:
    history = good_talk()
    spoil(history)
    assert rule in history.broken()


def test_a_conversation_may_be_canceled_with_an_open_question_and_an_answer_that_never_arrived() -> None:
    history = good_talk()
    entry = history.ledger.tasks[TALK]
    entry.cancel_asked = True
    entry.replies[1].acknowledged = False
    history.show(TALK, "canceled")
    say(history, ("user", "talk 2"), ("agent", ONE), ("user", FIRST), ("agent", TWO))
    del history.rows.events[TALK][11:]
    del history.rows.steps[TALK]["step:2"]
    history.row(TALK, state="canceled", last_n=12)
    history.rows.events[TALK].append(history.rows.events[TALK][-1]._replace(n=12, state="canceled", text=""))
    assert history.broken() == set()
    say(history, ("user", "talk 2"), ("agent", ONE), ("user", FIRST))
    assert history.broken() == {"history"}
    say(history, ("user", "talk 2"), ("agent", ONE), ("agent", TWO))
    assert history.broken() == {"answer-lost"}


def test_plans() -> None:
    step, question = Item.STEP, Item.QUESTION
    assert plan("ask 2 0.1") == (question, question)
    assert plan("steps 1") == (step,)
    assert plan("talk 2 0.1") == (step, question, step, question, step)
    assert plan("echo 3") == ()
    assert questions("talk 2") == [ONE, TWO]


@pytest.mark.parametrize(
    ("phase", "line", "answered", "steps", "met"),
    [
        ("paused", "talk 2", 0, 1, {"in-question"}),
        ("leased", "talk 2", 0, 0, {"in-step", "before-step"}),
        ("leased", "talk 2", 0, 1, {"before-question", "before-step", "after-step"}),
        ("leased", "talk 2", 2, 2, {"in-step", "after-question", "after-step"}),
        ("leased", "talk 2", 2, 3, {"after-question", "after-step"}),
        ("leased", "ask 2", 1, 0, {"before-question", "after-question"}),
        ("leased", "steps 2", 0, 1, {"in-step", "after-step"}),
        ("ready", "talk 2", 1, 1, set()),
        ("leased", "echo 2", 0, 0, set()),
    ],
)
def test_the_moments_that_a_kill_meets(phase: str, line: str, answered: int, steps: int, met: set[str]) -> None:
    assert set(moments(Position("t", phase, line, answered, answered, steps))) == met


def test_a_moment_that_no_kill_met_fails_the_drill() -> None:
    every = {str(moment): 1 for moment in MUST_HIT}
    kills = [Kill(1, 20, frozenset(), every), Kill(2, 20, frozenset(), dict.fromkeys(every, 0))]
    assert check_hits(kills) == []
    kills[0] = Kill(1, 20, frozenset(), every | {Moment.IN_QUESTION: 0})
    assert check_hits(kills) == [("load", "", "no kill met a task in-question")]


def test_the_text_of_a_poisoned_task_is_not_compared() -> None:
    history = good()
    history.show(POISON, "failed", "half")
    events = [status(POISON, n, state) for n, state in ((3, "working"), (4, "working"), (5, "failed"))]
    history.ledger.streams.append(Stream(POISON, "1.0", items=events, last_n=5, ended=True))
    assert history.broken() == set()


def test_a_task_that_had_no_attempt_left_may_fail() -> None:
    history = good()
    history.ledger.tasks[POISON].order = Order("m4", "1.0", "flaky 2")
    history.show(POISON, "failed")
    history.ledger.kills.pop()
    history.row(POISON, crashes=2)
    assert history.broken() == set()
    history.ledger.tasks[POISON].order = Order("m4", "1.0", "flaky 1")
    history.show(POISON, "failed")
    assert history.broken() == {"poison"}


def test_rejected_is_failed_in_v01_only() -> None:
    history = good()
    history.ledger.tasks[POISON] = Entry(POISON, Order("m4", "v0.1", "reject"))
    history.show(POISON, "failed")
    history.row(POISON, state="rejected", crashes=0)
    history.event(POISON, 5, state="rejected")
    history.ledger.told(POISON, "rejected")
    history.ledger.kills.clear()
    history.row(TASK, crashes=0)
    assert history.broken() == set()
    history.ledger.tasks[POISON].order = Order("m4", "1.0", "reject")
    assert "differs" in history.broken()


LIVING = frozenset({"AA"})


@pytest.mark.parametrize(
    ("task", "rules"),
    [
        (StoredTask(TASK, "working", "leased", 2, 1, "AA"), []),
        (StoredTask(TASK, "working", "leased", 2, 1, "BB", due_at=7), ["orphan"]),
        (StoredTask(TASK, "working", "leased", 2, 1, ""), ["orphan"]),
        (StoredTask(TASK, "working", "ready", 2, 1), []),
        (StoredTask(TASK, "submitted", "scheduled", 1, 0, due_at=7), []),
        (StoredTask(TASK, "submitted", "scheduled", 1, 0), ["stuck"]),
        (StoredTask(TASK, "submitted", "waiting", 1, 0), ["stuck"]),
        (StoredTask(TASK, "input-required", "paused", 3, 1), ["stuck"]),
        (StoredTask(TASK, "completed", "final", 3, 1, "BB"), []),
    ],
)
def test_recovery_leaves_nothing_with_the_dead_and_nothing_stuck(task: StoredTask, rules: list[str]) -> None:
    assert [violation.rule for violation in check_recovery([task], LIVING)] == rules


GATED = StoredTask("held", "submitted", "held", 1, 0, gates=("skill:narrow",), held_by="skill:narrow")
BEHIND = StoredTask("behind", "submitted", "waiting", 1, 0)
THROUGH = StoredTask("through", "working", "leased", 2, 1, "w1", gates=("skill:narrow",))


@pytest.mark.parametrize(
    ("others", "following", "stuck"),
    [
        ([THROUGH], {"behind"}, []),
        ([THROUGH._replace(phase="ready")], {"behind"}, []),
        ([], {"behind"}, ["held"]),
        ([THROUGH._replace(gates=("skill:wide",))], {"behind"}, ["held"]),
        ([THROUGH._replace(state="completed", phase="final")], {"behind"}, ["held"]),
        ([THROUGH], set(), ["behind"]),
        ([THROUGH], {"held"}, ["behind"]),
    ],
)
def test_what_others_hold_or_precede_is_not_stuck_while_they_go_on(
    others: list[StoredTask], following: set[str], stuck: list[str]
) -> None:
    found = check_recovery([GATED, BEHIND, *others], {"w1"}, following)
    assert [(violation.rule, violation.task) for violation in found] == [("stuck", task) for task in stuck]


def test_a_task_behind_one_that_did_not_complete_does_not_end_as_its_line_says() -> None:
    history = good()
    history.ledger.acknowledge(Order("m5", "1.0", "echo x", options={"dependsOn": [CANCELED]}), "behind", "submitted")
    history.show("behind", "failed")
    history.rows.tasks["behind"] = StoredTask("behind", "failed", "final", 2, 0)
    history.rows.events["behind"] = stored(("status", "submitted", 0), ("status", "failed", 0))
    assert history.broken() == set()
    history.row(CANCELED, state="completed")
    history.show(CANCELED, "completed")
    assert "poison" in history.broken()


def test_a_parent_has_as_many_parts_as_its_line_says() -> None:
    history = good()
    history.ledger.acknowledge(Order("m5", "1.0", "family 2 echo part #"), "parent", "submitted")
    history.show("parent", "completed", "part 0\npart 1")
    history.rows.tasks["parent"] = StoredTask("parent", "completed", "final", 3, 1)
    history.rows.events["parent"] = stored(
        ("status", "submitted", 0), ("status", "working", 1), ("status", "completed", 1)
    )
    assert history.broken() == {"child-lost"}


def test_what_was_made_before_the_first_request_is_there() -> None:
    rows = good_kin().rows
    assert check_made(rows, ["first", "second"], 1, 2) == []
    assert [one.rule for one in check_made(rows, ["first", "gone"], 1, 2)] == ["lost"]
    assert [one.rule for one in check_made(rows, [], 2, 2)] == ["tick-lost"]
    assert [one.rule for one in check_made(rows, [], 1, 3)] == ["tick-lost"]


def test_a_snapshot_that_was_cut_off_is_forgotten() -> None:
    stream = Stream()
    assert not stream.take(Seen(OLD, None, "status", "working", final=False))
    stream.cut()
    assert stream.items == []
    assert stream.resumed_after == []
    stream.take(status(OLD, 2, "working", final=False))
    stream.cut()
    stream.take(status(OLD, 3, "completed", final=True))
    assert (stream.last_n, stream.ended, stream.resumed_after) == (3, True, [2])
    assert check_stream(stream) == []


def test_append_false_replaces_and_a_snapshot_replaces_everything() -> None:
    first = [chunk(TASK, 1, 0, append=False), chunk(TASK, 2, 1, append=True)]
    assert assembled(first) == {"artifact-1": "chunk 0chunk 1"}
    assert assembled([*first, chunk(TASK, 3, 0, append=False)]) == {"artifact-1": "chunk 0"}
    assert assembled([*first, Seen(TASK, 3, "task", artifacts=(("a", "b"),))]) == {"a": "b"}


def test_expectations() -> None:
    assert expected("echo a  b") == ("completed", "a  b")
    assert expected("stream 3 0.1") == ("completed", TEXT)
    assert expected("reject") == ("rejected", None)
    assert expected("family 2 echo part #") == ("completed", "part 0\npart 1")
    assert expected("family 2 sleep 1") == ("completed", None)
    with pytest.raises(ValueError, match="no word 'sing'"):
        expected("sing")


def test_a_good_order_of_changes_passes() -> None:
    assert laws.good().broken() == set()


def test_a_turn_changes_everything_at_once() -> None:
    record, apart = laws.good(), laws.good()
    laws.place_taken(record, 5)
    laws.place_taken(apart, 0)
    assert (record.broken(), apart.broken()) == (set(), {"gate"})


@pytest.mark.parametrize(("spoil", "rule"), laws.BAD, ids=[f"{spoil.__name__}-{rule}" for spoil, rule in laws.BAD])
def test_a_bad_order_of_changes_is_caught(spoil: Callable[[laws.Record], None], rule: str) -> None:
    record = laws.good()
    spoil(record)
    assert rule in record.broken()


def test_a_run_may_follow_another_in_one_change() -> None:
    record = laws.good()
    del record.steps[5]  # rescued and claimed in the same turn
    assert record.broken() == set()


@pytest.mark.parametrize(
    ("name", "grows", "rule"),
    [
        ("table worker", 10, "grows-per-process"),
        ("table worker", 1, ""),
        ("table gate", 10, "grows"),
        ("broker members", 10, "grows"),
        ("table journal", 400, "grows-per-task"),
        ("table event", 0, ""),
    ],
)
def test_a_soak_tells_what_grows(name: str, grows: int, rule: str) -> None:
    samples = []
    for number in range(20):
        late = max(0, number - 9)
        sizes = {"table task": 100 * number, "table event": 500 * number, "table worker": 4, "broker members": 30}
        sizes["table gate"] = 1
        sizes["table journal"] = 100 * number
        sizes[name] += grows * late
        samples.append(Sample(float(number), sizes, {"s0 1": 80 << 20}, {"s0 1": 30}, started=4 + number))
    assert {violation.rule for violation in grown(samples)} == ({rule} if rule else set())


def test_a_soak_tells_which_process_takes_more_and_more() -> None:
    leaking = [
        Sample(float(number), {"table task": number}, {"s0 1": (80 + 5 * number) << 20}, {"s0 1": 30 + 5 * number})
        for number in range(20)
    ]
    assert {violation.rule for violation in grown(leaking)} == {"memory", "files"}
    assert [violation.rule for violation in grown(leaking[:3])] == ["load"]
