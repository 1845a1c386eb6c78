"""Recorded conversations for the checker: one that two kills could not harm, and every way to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.drills.ledger import Kill, Order, Seen, Stream
from tests.drills.stored import StoredEvent, StoredTask
from tests.unit.histories import OLD, History, good, status

TALK = "task-5"
ONE, TWO = "question 1 of 2", "question 2 of 2"
FIRST, SECOND = "answer 1 to m5", "answer 2 to m5"
A, B, C = "aaaa", "bbbb", "cccc"


def asked(text: str, fence: int) -> StoredEvent:
    return StoredEvent(0, "status", fence, "input-required", text)


def told(done: int, note: str, fence: int) -> StoredEvent:
    return StoredEvent(0, "status", fence, "working", "", done, note)


def working(fence: int) -> StoredEvent:
    return StoredEvent(0, "status", fence, "working")


def good_talk() -> History:
    """The good history, and `talk 2`, whose second run a kill ended: steps a, b and c, two questions and answers."""
    history = good()
    ledger = history.ledger
    ledger.acknowledge(Order("m5", "1.0", "talk 2"), TALK, "submitted")
    for number, (open_question, text) in enumerate(((ONE, FIRST), (TWO, SECOND)), 1):
        answer = Order(f"m5-{number}", "1.0", text, task=TALK)
        ledger.replied(answer, open_question)
        ledger.acknowledge(answer, TALK, "working")
    ledger.kills[0] = Kill(1, 20, ledger.kills[0].leased | {TALK})
    history.show(TALK, "completed", f"{A}\n{FIRST}\n{B}\n{SECOND}\n{C}")
    said = (("user", "talk 2"), ("agent", ONE), ("user", FIRST), ("agent", TWO), ("user", SECOND))
    history.views[TALK] = history.views[TALK]._replace(history=said)
    history.rows.tasks[TALK] = StoredTask(TALK, "completed", "final", 17, 4, crashes=1)
    events = [
        *(StoredEvent(0, "status", 0, "submitted"), working(1), told(1, A, 1), asked(ONE, 1), working(1)),
        *(told(1, A, 2), told(2, B, 2), working(2)),
        *(told(1, A, 3), told(2, B, 3), asked(TWO, 3), working(3)),
        *(told(1, A, 4), told(2, B, 4), told(3, C, 4)),
        *(StoredEvent(0, "artifact", 4), StoredEvent(0, "status", 4, "completed")),
    ]
    history.rows.events[TALK] = [event._replace(n=n) for n, event in enumerate(events, 1)]
    history.rows.messages["m5"] = [TALK]
    history.rows.steps[TALK] = {"step:1": A, "step 2:1": B, "step:2": C}
    question = replace(status(TALK, 4, "input-required"), text=ONE)
    ledger.streams.append(Stream(TALK, "1.0", items=[status(TALK, 3, "working"), question], last_n=4))
    return history


def say(history: History, *said: tuple[str, str]) -> None:
    history.views[TALK] = history.views[TALK]._replace(history=said)


def answer_with(history: History, *lines: str) -> None:
    history.views[TALK] = history.views[TALK]._replace(artifacts=(("artifact-1", "\n".join(lines)),))


def asked_again_after_a_kill(history: History) -> None:
    history.event(TALK, 8, state="input-required", text=ONE)


def second_question_never_asked(history: History) -> None:
    history.event(TALK, 11, state="working", text="")


def questions_in_another_order(history: History) -> None:
    history.event(TALK, 4, text=TWO)
    history.event(TALK, 11, text=ONE)


def question_of_an_echo(history: History) -> None:
    history.event(OLD, 2, state="input-required", text=ONE)


def question_shown_otherwise(history: History) -> None:
    stream = history.stream(TALK)
    stream.items[1] = replace(stream.items[1], text=TWO)


def question_without_the_final_flag(history: History) -> None:
    history.ledger.streams.append(
        Stream(OLD, "v0.1", items=[Seen(OLD, 2, "status", "input-required", final=False, sse_id="2")], last_n=2)
    )


def answer_that_history_lacks(history: History) -> None:
    say(history, ("user", "talk 2"), ("agent", ONE), ("user", FIRST), ("agent", TWO))


def answer_twice_in_the_history(history: History) -> None:
    say(history, *history.views[TALK].history, ("user", SECOND))


def answer_that_the_result_lacks(history: History) -> None:
    answer_with(history, A, FIRST, B, "", C)


def answers_in_each_others_place(history: History) -> None:
    answer_with(history, A, SECOND, B, FIRST, C)


def first_answer_for_both_questions(history: History) -> None:
    answer_with(history, A, FIRST, B, FIRST, C)


def result_that_is_too_short(history: History) -> None:
    answer_with(history, A, FIRST, B, SECOND)


def answer_that_nobody_acknowledged(history: History) -> None:
    history.ledger.tasks[TALK].replies[1].acknowledged = False


def question_that_history_lacks(history: History) -> None:
    say(history, ("user", "talk 2"), ("user", FIRST), ("agent", TWO), ("user", SECOND))


def question_twice_in_the_history(history: History) -> None:
    said = history.views[TALK].history
    say(history, *said[:2], *said[1:])


def history_in_another_order(history: History) -> None:
    said = history.views[TALK].history
    say(history, *said[:3], said[4], said[3])


def words_that_nobody_said(history: History) -> None:
    say(history, *history.views[TALK].history, ("user", "hello?"))


def first_words_missing(history: History) -> None:
    history.views[OLD] = history.views[OLD]._replace(history=())


def step_recorded_under_two_keys(history: History) -> None:
    history.rows.steps[TALK]["step:3"] = C


def run_that_told_another_value(history: History) -> None:
    history.event(TALK, 9, note="dddd")


def value_that_was_overwritten(history: History) -> None:
    """The third run executed the step again, and everything after it agrees."""
    for n in (9, 13):
        history.event(TALK, n, note="dddd")
    history.rows.steps[TALK]["step:1"] = "dddd"
    answer_with(history, "dddd", FIRST, B, SECOND, C)


def step_that_was_not_recorded(history: History) -> None:
    del history.rows.steps[TALK]["step 2:1"]


def step_of_an_echo(history: History) -> None:
    history.rows.steps[OLD] = {"step:1": A}


def result_with_another_value(history: History) -> None:
    answer_with(history, A, FIRST, "dddd", SECOND, C)


def result_with_one_value_twice(history: History) -> None:
    answer_with(history, A, FIRST, A, SECOND, C)


BAD_TALKS: list[tuple[Callable[[History], None], str]] = [
    (asked_again_after_a_kill, "asked-twice"),
    (second_question_never_asked, "not-asked"),
    (questions_in_another_order, "not-asked"),
    (question_of_an_echo, "not-asked"),
    (question_shown_otherwise, "differs"),
    (question_without_the_final_flag, "final-flag"),
    (answer_that_history_lacks, "answer-lost"),
    (answer_twice_in_the_history, "answer-twice"),
    (answer_that_the_result_lacks, "answer-lost"),
    (answers_in_each_others_place, "answer-lost"),
    (first_answer_for_both_questions, "answer-twice"),
    (first_answer_for_both_questions, "answer-lost"),
    (result_that_is_too_short, "answer-lost"),
    (answer_that_nobody_acknowledged, "answer-lost"),
    (question_that_history_lacks, "history"),
    (question_twice_in_the_history, "history"),
    (history_in_another_order, "history"),
    (words_that_nobody_said, "history"),
    (first_words_missing, "history"),
    (step_recorded_under_two_keys, "step-twice"),
    (run_that_told_another_value, "step-twice"),
    (run_that_told_another_value, "step-lost"),
    (value_that_was_overwritten, "step-twice"),
    (step_that_was_not_recorded, "step-lost"),
    (step_of_an_echo, "step-twice"),
    (result_with_another_value, "step-lost"),
    (result_with_one_value_twice, "step-twice"),
]
