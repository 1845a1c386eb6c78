"""What a fork keeps: everything remembered before the step, in the order in which it was remembered."""

from __future__ import annotations

from a2a_server.codec import encode
from a2a_server.lifecycle.forking import forked
from a2a_server.model.rows import MessageRow, StateRow
from a2a_server.model.runs import ASKED, CHECKPOINT
from tests.unit.turns import key

STEP = "step"


def row(space: str, name: str, fence: int, seq: int, body: bytes = b"x") -> StateRow:
    return StateRow(key(1), space, name, seq, fence, body)


def said(seq: int, role: int = 1) -> MessageRow:
    return MessageRow(key(1), seq, seq, role, f"m{seq}", b"")


# Run 1: reads, saves, and asks; run 2, with the answer: plans (with a step inside) and asks again; run 3 writes.
STATES = [
    row(ASKED, "input:more:1", 2, 0, encode({"h": "", "n": 2})),
    row(ASKED, "input:which:1", 1, 0, encode({"h": "", "n": 1})),
    row(STEP, "plan:1", 2, 3),
    row(STEP, "plan:1\nthink:1", 2, 2),
    row(STEP, "read:1", 1, 1),
    row(STEP, "read:2", 2, 1),
    row(STEP, "write:1", 3, 1),
    row(CHECKPOINT, "page", 1, 2),
]
MESSAGES = [said(1), said(3, 2), said(4), said(7, 2), said(8)]


def kept(step: str) -> tuple[set[str], list[int]]:
    fork = forked(STATES, MESSAGES, steps=STEP, step=step)
    assert fork is not None
    return {one.name for one in fork.states}, [one.seq for one in fork.messages]


def test_everything_before_the_step_is_kept_with_its_answers() -> None:
    assert kept("read") == (set(), [])
    assert kept("read:2") == ({"read:1", "page", "input:which:1"}, [3, 4])
    assert kept("write") == ({one.name for one in STATES} - {"write:1"}, [3, 4, 7, 8])


def test_what_ran_inside_a_step_goes_with_it() -> None:
    assert kept("plan") == ({"read:1", "read:2", "page", "input:which:1"}, [3, 4])
    assert kept("plan:1\nthink:1") == ({"read:1", "read:2", "page", "input:which:1"}, [3, 4])


def test_a_step_that_was_never_remembered() -> None:
    assert forked(STATES, MESSAGES, steps=STEP, step="print") is None
    assert forked(STATES, MESSAGES, steps=STEP, step="page") is None
