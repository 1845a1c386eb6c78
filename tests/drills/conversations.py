"""What a task that asks and remembers must leave behind, and at which moments of it a kill can strike.

Pure, like the checker that calls it. A line's plan is what the workbench does for it, in order: steps and questions.

| rule | the promise |
|---|---|
| asked-twice, not-asked | the log tells each question once, in order, and all of them before the task completes |
| answer-lost, answer-twice | an acknowledged answer is in the history once, and in the result at its place |
| step-twice, step-lost | a step is recorded once, every run tells the value that was recorded, and the result has it |
| history | what was said, in order: the line, then each question that was asked with its answer |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import zip_longest

from tests.drills.ledger import ASKING, TERMINAL, Entry, Kill, View, Violation
from tests.drills.stored import Position, StoredEvent


class Item(StrEnum):
    """What a plan consists of."""

    STEP = "step"
    QUESTION = "question"


class Moment(StrEnum):
    """Where a kill meets a conversation.

    Before, in and after a question: a run works towards it, the task is paused, a run has an answer that it must use
    again. Before, in and after a step: a run has one still to begin, is in one, has a recorded one that it must use.
    In an answer: it was sent, and nobody has said that it arrived; unkept: it indeed did not.
    """

    BEFORE_QUESTION = "before-question"
    IN_QUESTION = "in-question"
    AFTER_QUESTION = "after-question"
    IN_ANSWER = "in-answer"
    UNKEPT_ANSWER = "unkept-answer"
    BEFORE_STEP = "before-step"
    IN_STEP = "in-step"
    AFTER_STEP = "after-step"


MUST_HIT = frozenset(Moment) - {Moment.UNKEPT_ANSWER}
"""A drill that never killed at one of these has shown nothing about it; an unkept answer lives for a millisecond."""


def plan(line: str) -> tuple[Item, ...]:
    """What the workbench does for a line; nothing for a line without steps and questions."""
    word, _, rest = line.partition(" ")
    if word == "ask":
        return (Item.QUESTION,) * _number(rest)
    if word == "steps":
        return (Item.STEP,) * _number(rest)
    if word == "talk":
        return (Item.STEP, *(Item.QUESTION, Item.STEP) * _number(rest))
    return ()


def questions(line: str) -> list[str]:
    """The texts of a line's questions, in order."""
    number = plan(line).count(Item.QUESTION)
    return [f"question {index} of {number}" for index in range(1, number + 1)]


def moments(position: Position) -> Iterator[Moment]:
    """At which moments a task is where a kill left it."""
    items = plan(position.line)
    if position.phase == "paused":
        yield Moment.IN_QUESTION
    if position.phase != "leased" or not items:
        return
    done = position.answered + position.steps  # each item waits for the one before it
    if items[done : done + 1] == (Item.QUESTION,):
        yield Moment.BEFORE_QUESTION
    if items[done : done + 1] == (Item.STEP,):
        yield Moment.IN_STEP
    if Item.STEP in items[done + 1 :]:
        yield Moment.BEFORE_STEP
    if position.answered:
        yield Moment.AFTER_QUESTION
    if position.steps:
        yield Moment.AFTER_STEP


def check_hits(kills: Iterable[Kill]) -> list[Violation]:
    """The moments that no kill met."""
    met = {moment for kill in kills for moment, times in kill.hits.items() if times}
    return [Violation("load", "", f"no kill met a task {moment}") for moment in sorted(MUST_HIT - met)]


def check_conversation(
    entry: Entry, view: View, events: Sequence[StoredEvent], steps: Mapping[str, str]
) -> Iterator[Violation]:
    """Every broken promise about one task. events, steps: as stored; view: at the end, with its history."""
    faults = _faults(entry, view, events, steps)
    yield from (Violation(rule, entry.id, text) for rule, text in faults)


def _faults(
    entry: Entry, view: View, events: Sequence[StoredEvent], steps: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    line = entry.order.line
    asked = [event.text for event in events if event.state == ASKING]
    yield from _question_faults(questions(line), asked, completed=view.state == "completed")
    if view.state in TERMINAL:  # an open question is not in the history yet
        yield from _history_faults(entry, view, asked)
    yield from _step_faults(plan(line).count(Item.STEP), events, steps)
    if plan(line) and view.state == "completed":
        yield from _result_faults(entry, view, list(steps.values()))


def _question_faults(wanted: list[str], asked: list[str], *, completed: bool) -> Iterator[tuple[str, str]]:
    if repeated := [text for text, times in Counter(asked).items() if times > 1]:
        yield "asked-twice", f"{repeated} of {asked}"
    elif asked != wanted[: len(asked)] or (completed and asked != wanted):
        yield "not-asked", f"asked {asked}, wanted {wanted}"


def _history_faults(entry: Entry, view: View, asked: list[str]) -> Iterator[tuple[str, str]]:
    said = [text for role, text in view.history if role == "user"]
    for reply in entry.replies:
        times = said.count(reply.order.line)
        if times > 1:
            yield "answer-twice", f"{reply.order.line!r} is in the history {times} times"
        if not times and reply.acknowledged:
            yield "answer-lost", f"{reply.order.line!r} was acknowledged and is not in the history"
    answers = [reply.order.line for reply in entry.replies][: len(said) - 1]
    wanted = [("user", entry.order.line)]
    for question, answer in zip_longest(asked, answers):
        wanted += [("agent", question)] + ([("user", answer)] if answer else [])
    if list(view.history) != wanted:
        yield "history", f"{list(view.history)}, wanted {wanted}"


def _step_faults(number: int, events: Sequence[StoredEvent], steps: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if len(steps) > number:
        yield "step-twice", f"{sorted(steps)} are recorded for {number} steps"
    if not number:
        return
    told: defaultdict[int, set[str]] = defaultdict(set)
    for event in events:
        if event.note:
            told[event.done].add(event.note)
    for index, values in sorted(told.items()):
        if len(values) > 1:
            yield "step-twice", f"runs told {len(values)} values of step {index}"
        if lost := values - set(steps.values()):
            yield "step-lost", f"step {index} was {sorted(lost)}, which is not recorded"


def _result_faults(entry: Entry, view: View, recorded: list[str]) -> Iterator[tuple[str, str]]:
    items = plan(entry.order.line)
    text = "".join(content for _, content in view.artifacts)
    lines = text.split("\n") if items else []
    if len(lines) != len(items):
        yield "answer-lost" if Item.QUESTION in items else "step-lost", f"the result has {len(lines)} lines: {text!r}"
        return
    answers = [line for line, item in zip(lines, items, strict=True) if item is Item.QUESTION]
    tokens = [line for line, item in zip(lines, items, strict=True) if item is Item.STEP]
    given = [reply.order.line for reply in entry.replies if reply.acknowledged]
    if len(set(answers)) < len(answers):
        yield "answer-twice", f"the result has {answers}"
    if answers != given:
        yield "answer-lost", f"the result has {answers}, acknowledged were {given}"
    if len(set(tokens)) < len(tokens):
        yield "step-twice", f"the result has {tokens}"
    if sorted(tokens) != sorted(recorded):
        yield "step-lost", f"the result has {tokens}, recorded are {recorded}"


def _number(rest: str) -> int:
    return int(rest.split(maxsplit=1)[0])
