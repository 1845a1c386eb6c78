"""Rows as lines, and sums of lines: equal rows give equal ones, whatever store they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from a2a_server.errors import Damaged
from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import (
    DUMPED,
    EventKind,
    FairKey,
    GateRow,
    JournalKind,
    JournalRow,
    PushRow,
    StateRow,
    TallyKey,
    TaskRow,
)
from a2a_server.wiring.dumps import COLUMNS, Sum, compare, line_of, row_of, sum_of, tables
from tests.contracts.rows import artifact, chunk, gate, key, message, sent, task

ROWS: dict[str, Sequence[tuple[Any, ...]]] = {
    "task": [task(1), task(2, visible=False, gates=(), context="a\0ü\U0001f600", state=State.COMPLETED)],
    "event": [chunk(1, 1, body=bytes(range(256))), chunk(1, 2)],
    "journal": [JournalRow(key(1), 1, JournalKind.LOG, 5, b"\xff")],
    "message": [message(1, 1)],
    "artifact": [artifact(1, closed=True, body=b"\0")],
    "state": [StateRow(b"scope", "space", "name", 0, 0, b"body")],
    "sent": [sent(1)],
    "edge": [(key(1), key(2), 1, 0)],
    "tag": [("", "local", "blue", key(1))],
    "gate": [gate("a", capacity=None), gate("b", capacity=3)],
    "fair": [(FairKey("7", "echo", Lane.HIGH, "", "local"), 1 << 52)],
    "tally": [("7", TallyKey("", "local", "Echo", "echo", State.WORKING, Phase.LEASED), -3)],
    "push": [PushRow(key(1), "id", 3, 0, 0, 0, True, b"")],
    "record": [("schedule", "", "local", "id", 1, 0, b"body")],
    "blob": [("name", 0, b"part")],
    "audit": [("chain", 1, 5, b"hash", b"body")],
}


@pytest.mark.parametrize("table", [table for table in DUMPED if table != "worker"])
def test_a_line_becomes_the_row_again(table: str) -> None:
    for row in ROWS[table]:
        again = row_of(table, line_of(row))
        assert again == row
        assert type(again) is type(row)
        assert [type(value) for value in again] == [type(value) for value in row]
        assert len(row) == len(COLUMNS[table])


def test_the_kinds_of_values_are_those_that_stores_give() -> None:
    row = row_of("task", line_of(task(1)))
    assert isinstance(row, TaskRow)
    assert (row.visible, row.lane, row.phase) == (True, Lane.NORMAL, Phase.READY)
    assert {type(row.visible), type(row.lane), type(row.phase), type(row.gates)} == {bool, Lane, Phase, tuple}
    found = row_of("tally", line_of(ROWS["tally"][0]))
    assert isinstance(found[1], TallyKey)
    assert type(found[1].state) is State


def test_equal_rows_of_two_stores_give_one_line() -> None:
    theirs = (*task(1)[:8], 1, *task(1)[9:])
    assert theirs == task(1)
    assert line_of(theirs) == line_of(task(1))
    assert line_of((key(1), True, memoryview(b"x"))) == line_of((key(1), 1, b"x"))
    assert line_of((EventKind.CHUNK,)) == line_of((2,))


def test_unequal_rows_give_other_lines() -> None:
    lines = [line_of(row) for row in (("",), (b"",), (None,), (0,), ("b",), (("b",),), ((),), ("", ""))]
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b"{}", b"null", b'[{"b": "?"}]', line_of((*task(1), 1))])
def test_a_line_that_is_no_row_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, TypeError, IndexError, KeyError)):
        row_of("task", line)


def test_the_sum_is_of_the_rows_and_not_of_their_order() -> None:
    lines = [line_of(task(number)) for number in range(50)]
    whole = sum_of(lines)
    mixed = lines[::2] + lines[1::2]
    assert sum_of(mixed[:20]) + sum_of(mixed[20:]) == whole
    assert sum_of([*lines[1:], lines[1]]) != whole
    assert len(whole.hex) == 64
    assert int(whole.hex, 16) == whole.sha256


def test_a_difference_names_the_table_and_the_way_out() -> None:
    ours = {"task": sum_of([b"1", b"2"]), "event": Sum()}
    compare(ours, {"task": sum_of([b"2", b"1"])}, ("task", "event"), where="here", way_out="begin again")
    with pytest.raises(Damaged, match=r"^here: the table task has 1 rows where 2 are expected; begin again$"):
        compare(ours, {"task": sum_of([b"1"])}, ("task", "event"), where="here", way_out="begin again")
    with pytest.raises(Damaged, match="table event has 1 rows where 0 are expected"):
        compare(ours, {**ours, "event": sum_of([b"1"])}, ("task", "event"), where="here", way_out="")
    with pytest.raises(Damaged, match="table task has 2 rows as expected, but not with the same content"):
        compare(ours, {"task": sum_of([b"1", b"3"])}, ("task", "event"), where="here", way_out="")


def test_what_is_copied() -> None:
    assert set(DUMPED) - set(tables(blobs=True)) == {"worker"}
    assert set(tables(blobs=True)) - set(tables(blobs=False)) == {"blob"}
    assert set(COLUMNS) == set(tables(blobs=True))
    assert COLUMNS["gate"] == GateRow._fields
