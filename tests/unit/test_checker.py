"""The checker of the crash drill catches every kind of bad history, and lets a good one pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.drills.checker import StoredTask, check, check_recovery, check_stream, expected
from tests.drills.ledger import Entry, Order, Seen, Stream, assembled
from tests.unit.histories import BAD, OLD, POISON, TASK, TEXT, History, chunk, good, status


def test_a_good_history_passes() -> None:
    history = good()
    assert check(history.ledger, history.views, history.rows) == []


@pytest.mark.parametrize(("spoil", "rule"), BAD, ids=[f"{spoil.__name__}-{rule}" for spoil, rule in BAD])
def test_a_bad_history_is_caught(spoil: Callable[[History], None], rule: str) -> None:
    history = good()
    spoil(history)
    assert rule in history.broken()


def test_the_text_of_a_poisoned_task_is_not_compared() -> None:
    history = good()
    history.show(POISON, "failed", "half")
    events = [status(POISON, n, state) for n, state in ((3, "working"), (4, "working"), (5, "failed"))]
    history.ledger.streams.append(Stream(POISON, "1.0", items=events, last_n=5, ended=True))
    assert history.broken() == set()


def test_a_task_that_had_no_attempt_left_may_fail() -> None:
    history = good()
    history.ledger.tasks[POISON].order = Order("m4", "1.0", "flaky 2")
    history.ledger.kills.pop()
    history.row(POISON, crashes=2)
    assert history.broken() == set()
    history.ledger.tasks[POISON].order = Order("m4", "1.0", "flaky 1")
    assert history.broken() == {"poison"}


def test_rejected_is_failed_in_v01_only() -> None:
    history = good()
    history.ledger.tasks[POISON] = Entry(POISON, Order("m4", "v0.1", "reject"))
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
    with pytest.raises(ValueError, match="no word 'sing'"):
        expected("sing")
