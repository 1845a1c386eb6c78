"""Rows of `model.rows` as SQLite keeps them, both ways, and the pieces of SQL that follow from their columns.

Field order is column order, so a row is its own parameter list, except that SQLite has no enums, flags and lists:
enums are bound as plain integers (an `IntEnum` would pay for sqlite3's adapter look-up) and gates as one text.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypeVar

from a2a_server.errors import DataRejected
from a2a_server.model.objects import Generation, Lane, Phase, State
from a2a_server.model.rows import (
    ArtifactRow,
    EventKind,
    EventRow,
    GateRow,
    JournalKind,
    JournalRow,
    MessageRow,
    PushRow,
    RecordRow,
    TallyKey,
    TaskRow,
    WorkerRow,
)

Record = tuple[Any, ...]
Database: TypeAlias = sqlite3.Connection | sqlite3.Cursor
"""What runs statements; a turn's many share one cursor."""
T = TypeVar("T")

TASK_COLUMNS: Final = ", ".join(TaskRow._fields)
ARTIFACT_COLUMNS: Final = ", ".join(ArtifactRow._fields)
_IN_PLACE = "CASE WHEN content IS NULL THEN body ELSE (SELECT body FROM content AS c WHERE c.id = content) END"
EVENT_COLUMNS: Final = ", ".join((*EventRow._fields[:-1], _IN_PLACE))  # where its body is does not matter to readers
MESSAGE_COLUMNS: Final = ", ".join((*MessageRow._fields[:-1], _IN_PLACE))
PUSH_COLUMNS: Final = ", ".join(PushRow._fields)
RECORD_COLUMNS: Final = ", ".join(RecordRow._fields)

_GENERATIONS: Final = {int(each): each for each in Generation}
LANES: Final = {int(each): each for each in Lane}
STATES: Final = {int(each): each for each in State}
PHASES: Final = {int(each): each for each in Phase}
_EVENT_KINDS: Final = {int(each): each for each in EventKind}
_JOURNAL_KINDS: Final = {int(each): each for each in JournalKind}
_PLAIN: Final = {number: number for number in range(32)}  # an enum's member finds its number: faster than int()

# Few sizes, so that few statements are compiled; a list is filled up with its last item.
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def task_row(record: Record) -> TaskRow:
    """The task of a record of TASK_COLUMNS."""
    return TaskRow._make(
        (
            *record[:7],
            _GENERATIONS[record[7]],
            record[8] == 1,
            record[9],
            record[10],
            LANES[record[11]],
            record[12],
            _split(record[13]),
            record[14],
            STATES[record[15]],
            PHASES[record[16]],
            *record[17:],
        )
    )


def task_record(row: TaskRow) -> Record:
    """The parameters of a task, in the order of TASK_COLUMNS. Raises DataRejected for gates that cannot be joined."""
    return (
        *row[:7],
        _PLAIN[row[7]],
        _PLAIN[row[8]],
        row[9],
        row[10],
        _PLAIN[row[11]],
        row[12],
        _joined(row[13]),
        row[14],
        _PLAIN[row[15]],
        _PLAIN[row[16]],
        *row[17:],
    )


# Tasks of one owner and skill name the same gates, so a row of them is put together once, and shared.
@lru_cache(maxsize=1024)
def _split(gates: str) -> tuple[str, ...]:
    return tuple(gates.split("\n")) if gates else ()


@lru_cache(maxsize=1024)
def _joined(gates: tuple[str, ...]) -> str:
    text = "\n".join(gates)
    if (gates and text.count("\n") != len(gates) - 1) or "" in gates:
        raise DataRejected("the name of a gate is empty or has a line break")
    return text


def event_row(record: Record) -> EventRow:
    """The event of a record of EVENT_COLUMNS."""
    task, n, kind, at, fence, artifact, body = record
    return EventRow(task, n, _EVENT_KINDS[kind], at, fence, artifact, body)


def event_record(row: EventRow) -> Record:
    """The parameters of an event."""
    task, n, kind, at, fence, artifact, body = row
    return (task, n, _PLAIN[kind], at, fence, artifact, body)


def journal_row(record: Record) -> JournalRow:
    """The journal entry of a record of its columns."""
    task, n, kind, at, body = record
    return JournalRow(task, n, _JOURNAL_KINDS[kind], at, body)


def journal_record(row: JournalRow) -> Record:
    """The parameters of a journal entry."""
    task, n, kind, at, body = row
    return (task, n, _PLAIN[kind], at, body)


def artifact_row(record: Record) -> ArtifactRow:
    """The take of a record of ARTIFACT_COLUMNS."""
    return ArtifactRow._make((*record[:5], record[5] == 1, *record[6:]))


def artifact_record(row: ArtifactRow) -> Record:
    """The parameters of a take."""
    return (*row[:5], _PLAIN[row[5]], *row[6:])


def push_row(record: Record) -> PushRow:
    """The push of a record of PUSH_COLUMNS."""
    return PushRow._make((*record[:6], record[6] == 1, record[7]))


def worker_row(record: Record) -> WorkerRow:
    """The worker of a record of its columns."""
    id, seen_at, ttl, dead, format_, body = record
    return WorkerRow(id, seen_at, ttl, dead == 1, format_, body)


def worker_record(row: WorkerRow) -> Record:
    """The parameters of a worker."""
    return (*row[:3], _PLAIN[row.dead], *row[4:])


def tally_record(shard: str, key: TallyKey, count: int) -> Record:
    """The parameters that add `count` to a count."""
    return (shard, *key[:4], _PLAIN[key.state], _PLAIN[key.phase], count)


def gate_row(record: Record) -> GateRow:
    """The gate of a record of its columns."""
    return GateRow._make(record)


def sized(sql: str, width: int = 1) -> Mapping[int, str]:
    """`sql` for each size of list: its `{list}` becomes so many places, or rows of `width` places."""
    place = "?" if width == 1 else f"({', '.join('?' * width)})"
    return {size: sql.format(list=", ".join([place] * size)) for size in _SIZES}


def lists(items: Collection[T]) -> Iterator[list[T]]:
    """`items` in lists that have a size of `sized`."""
    every = list(items)
    for start in range(0, len(every), _SIZES[-1]):
        part = every[start : start + _SIZES[-1]]
        size = _SIZES[bisect_left(_SIZES, len(part))]
        part.extend(part[-1:] * (size - len(part)))
        yield part


def select_in(db: Database, sql: Mapping[int, str], items: Collection[object]) -> list[Record]:
    """The records of a `sized` statement of width 1 for `items`."""
    if len(items) == 1:
        return db.execute(sql[1], tuple(items)).fetchall()
    return [record for part in lists(items) for record in db.execute(sql[len(part)], part).fetchall()]


def select_wide(db: Database, sql: Mapping[int, str], items: Collection[Record]) -> list[Record]:
    """The records of a wider `sized` statement; those of a repeated item are repeated."""
    if len(items) == 1:
        return db.execute(sql[1], *items).fetchall()
    return [
        record
        for part in lists(items)
        for record in db.execute(sql[len(part)], [value for item in part for value in item]).fetchall()
    ]
