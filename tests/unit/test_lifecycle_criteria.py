"""Checks that a task must have passed, decided: by what was recorded, in the turn that would complete it."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_server.codec import decode_spec, decode_status, encode_spec
from a2a_server.lifecycle.criteria import unpassed
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.joining import RETURNED, Waiting
from a2a_server.model.objects import TASK_URI, Phase, State, TaskSpec, Wishes
from a2a_server.model.rows import TaskRow
from a2a_server.model.runs import Checked
from tests.unit.turns import MemoryTurns, cancel, key, report, started


def check(name: str, message: str = "", *, passed: bool = True) -> Checked:
    return Checked(name=name, passed=passed, required=False, message=message)


def test_what_may_complete() -> None:
    assert unpassed((), ()) == ""
    assert unpassed((), (check("a", passed=False),)) == ""
    assert unpassed(("a", "b"), (check("b"), check("a"), check("c", passed=False))) == ""


def test_what_is_missed_is_named_with_what_was_recorded() -> None:
    assert unpassed(("format",), ()) == (
        'The task completes only when the check named in completeWhen has passed: "format" was never recorded. '
        "Recorded: nothing."
    )
    text = unpassed(("format", "totals"), (check("totals", "3 is too few.", passed=False), check("other")))
    assert text.endswith(
        'all checks named in completeWhen have passed: "format" was never recorded, "totals" did not pass (3 is too '
        'few). Recorded: "totals" (not passed), "other" (passed).'
    )


def test_a_text_stays_short() -> None:
    names = [f"{number:0>128}" for number in range(100)]
    text = unpassed(names, [check(name, "x" * 4000, passed=False) for name in names])
    assert "and 95 more" in text
    assert len(text) < 6000


@pytest.fixture
def store() -> MemoryTurns:
    return MemoryTurns()


def ended(store: MemoryTurns, end: End, *, canceled: bool = False) -> TaskRow:
    spec = TaskSpec(60.0, wishes=Wishes(checks=("format",)))
    row = started(store, spec=encode_spec(spec))
    assert decode_spec(row.spec) == spec
    if canceled:
        store.one(cancel(row))
    store.one(report(store.tasks[key(1)], end=end))
    return store.tasks[key(1)]


def said(row: TaskRow) -> tuple[str, Any]:
    status, _ = decode_status(row.status, 0)
    about = (status.metadata or {}).get(TASK_URI)
    return status.message.text if status.message else "", about


@pytest.mark.parametrize("passed", [True, False])
def test_a_result_completes_only_with_its_checks(store: MemoryTurns, passed: bool) -> None:
    made = check("format", passed=passed)
    row = ended(store, End(EndKind.COMPLETED, checks=(made,)))
    assert row.state is (State.COMPLETED if passed else State.FAILED)
    text, about = said(row)
    assert about == {"checks": [made]} | ({} if passed else {"code": "checks"})
    assert ('"format" did not pass' in text) is not passed


def test_a_check_that_was_never_recorded_fails(store: MemoryTurns) -> None:
    assert ended(store, End(EndKind.COMPLETED)).state is State.FAILED


def test_a_parent_that_missed_a_check_does_not_wait(store: MemoryTurns) -> None:
    waiting = Waiting((), 0, RETURNED, b"note", returned=True)
    row = ended(store, End(EndKind.PAUSED, waiting=waiting))
    assert (row.state, row.phase) == (State.FAILED, Phase.FINAL)


def test_a_join_inside_a_run_asks_for_no_checks(store: MemoryTurns) -> None:
    row = ended(store, End(EndKind.PAUSED, waiting=Waiting((key(7),), 1, ":1", b"note")))
    assert row.state is State.WORKING


def test_other_ends_stay_what_they_are(store: MemoryTurns) -> None:
    row = ended(store, End(EndKind.FAILED, "Broken."))
    assert said(row)[0] == "Broken."


def test_a_canceled_task_is_canceled(store: MemoryTurns) -> None:
    assert ended(store, End(EndKind.COMPLETED), canceled=True).state is State.CANCELED
