"""Every table but `meta`, told once: its columns with their types, its primary key, and its rows both ways.

Rows go to the server by column: one array for each, which `unnest` makes rows of again. So a statement has the same
text for any number of rows. Field order is column order, so a row is its own record, except that a task's gates are one
text and the keys of `fair` and `tally` are rows of their own.
"""

# ruff: noqa: S608 - nothing but our own tables and columns is put into SQL

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from a2a_server.errors import DataRejected
from a2a_server.model.objects import Generation, Lane, Phase, State
from a2a_server.model.rows import (
    ArtifactRow,
    EdgeRow,
    EventKind,
    EventRow,
    FairKey,
    GateRow,
    JournalKind,
    JournalRow,
    MessageRow,
    PushRow,
    RecordKey,
    RecordRow,
    SentRow,
    StateRow,
    TagRow,
    TallyKey,
    TaskRow,
    WorkerRow,
)

Record = Sequence[Any]
"""The driver's record, or what goes to the server: positions are those of the columns."""

_GENERATIONS: Final = {int(each): each for each in Generation}
_LANES: Final = {int(each): each for each in Lane}
STATES: Final = {int(each): each for each in State}
PHASES: Final = {int(each): each for each in Phase}
_EVENT_KINDS: Final = {int(each): each for each in EventKind}
_JOURNAL_KINDS: Final = {int(each): each for each in JournalKind}


class Table(NamedTuple):
    """columns: name -> type. key: the columns of its primary key. make: the row of a record; unmake: the other way."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]
    make: Callable[[Record], tuple[Any, ...]]
    unmake: Callable[[Any], Record]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in their order."""
        return tuple(self.columns)

    @property
    def listed(self) -> str:
        """The columns as a SELECT lists them."""
        return ", ".join(self.columns)

    def of(self, other: str) -> str:
        """The columns with the name of their table, or of what stands for it, before them."""
        return ", ".join(f"{other}.{name}" for name in self.columns)

    def unnested(self, names: Iterable[str] | None = None) -> str:
        """`unnest(?::bytea[], …)` for these columns, or all."""
        kinds = (self.columns[name] for name in (self.names if names is None else names))
        return f"unnest({', '.join(f'?::{kind}[]' for kind in kinds)})"

    def insert(self, then: str = "") -> str:
        """An INSERT of any number of rows. then: what follows it."""
        return f"INSERT INTO {self.name} ({self.listed}) SELECT * FROM {self.unnested()} {then}"

    def upsert(self) -> str:
        """An INSERT that replaces what is there under the same key."""
        others = ", ".join(f"{name} = excluded.{name}" for name in self.names if name not in self.key)
        return self.insert(f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {others}")

    def arrays(self, records: Iterable[Record]) -> list[Sequence[Any]]:
        """The arguments for `unnested`. There must be a record."""
        return list(zip(*records, strict=True))


def numbered(sql: str) -> str:
    """The statement with its `?` numbered as PostgreSQL wants them."""
    first, *rest = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def task_row(record: Record) -> TaskRow:
    """The task of a record that begins with its columns."""
    return TaskRow._make(
        (
            *record[:7],
            _GENERATIONS[record[7]],
            *record[8:11],
            _LANES[record[11]],
            record[12],
            _split(record[13]),
            record[14],
            STATES[record[15]],
            PHASES[record[16]],
            *record[17:35],
        )
    )


def task_record(row: TaskRow) -> Record:
    """The record of a task. Raises DataRejected for gates that cannot be joined."""
    row = plain(row)
    return (*row[:13], joined(row.gates), *row[14:])


def plain(row: TaskRow) -> TaskRow:
    """The row with its bits as a number; the driver takes a flag of several for an array."""
    return row if type(row.pushes) is int else row._replace(pushes=int(row.pushes))


# Tasks of one owner and skill name the same gates, so a row of them is put together once, and shared.
@lru_cache(maxsize=1024)
def _split(gates: str) -> tuple[str, ...]:
    return tuple(gates.split("\n")) if gates else ()


@lru_cache(maxsize=1024)
def joined(gates: tuple[str, ...]) -> str:
    """The names of gates as one text. Raises DataRejected for names that cannot be told apart in it."""
    text = "\n".join(gates)
    if (gates and text.count("\n") != len(gates) - 1) or "" in gates:
        raise DataRejected("the name of a gate is empty or has a line break")
    return text


def event_row(record: Record) -> EventRow:
    """The event of a record."""
    task, n, kind, at, fence, artifact, body = record
    return EventRow(task, n, _EVENT_KINDS[kind], at, fence, artifact, body)


def _journal_row(record: Record) -> JournalRow:
    task, n, kind, at, body = record
    return JournalRow(task, n, _JOURNAL_KINDS[kind], at, body)


def fair_row(record: Record) -> tuple[FairKey, int]:
    """A virtual time of a record, with its key."""
    shard, queue, lane, tenant, owner, vt = record
    return FairKey(shard, queue, _LANES[lane], tenant, owner), vt


def tally_key(record: Record) -> TallyKey:
    """The key of a record of its columns."""
    tenant, owner, agent, queue, state, phase = record
    return TallyKey(tenant, owner, agent, queue, STATES[state], PHASES[phase])


def _tally_row(record: Record) -> tuple[str, TallyKey, int]:
    return record[0], tally_key(record[1:7]), record[7]


def _same(row: Record) -> Record:
    return row


def _typed(fields: Sequence[str], kinds: str) -> dict[str, str]:
    return dict(zip(fields, kinds.split(), strict=True))


_TASK_KINDS = (
    "bytea int2 text text text text text int2 bool text text int2 int8 text text int2 int2 int4 int4 int8 "
    "int8 int8 int8 int8 int8 bytea int4 int4 int4 int4 int4 bytea int4 bytea bytea"
)
TASK: Final = Table("task", _typed(TaskRow._fields, _TASK_KINDS), ("key",), task_row, task_record)
EVENT: Final = Table(
    "event", _typed(EventRow._fields, "bytea int4 int2 int8 int4 int4 bytea"), ("task", "n"), event_row, _same
)
JOURNAL: Final = Table(
    "journal", _typed(JournalRow._fields, "bytea int4 int2 int8 bytea"), ("task", "n"), _journal_row, _same
)
MESSAGE: Final = Table(
    "message", _typed(MessageRow._fields, "bytea int4 int4 int2 text bytea"), ("task", "seq"), MessageRow._make, _same
)
ARTIFACT: Final = Table(
    "artifact",
    _typed(ArtifactRow._fields, "bytea int4 int4 int4 int4 bool text text int8 text int8 text bytea"),
    ("task", "id", "take"),
    ArtifactRow._make,
    _same,
)
STATE: Final = Table(
    "state",
    _typed(StateRow._fields, "bytea text text int4 int4 bytea"),
    ("scope", "space", "name"),
    StateRow._make,
    _same,
)
SENT: Final = Table(
    "sent",
    _typed(SentRow._fields, "text text text text text bytea bytea int4 int8"),
    SentRow._fields[:5],
    SentRow._make,
    _same,
)
EDGE: Final = Table(
    "edge",
    _typed(EdgeRow._fields, "bytea bytea int2 int2"),
    ("upstream", "downstream"),
    EdgeRow._make,
    _same,
)
TAG: Final = Table("tag", _typed(TagRow._fields, "text text text bytea"), TagRow._fields, TagRow._make, _same)
GATE: Final = Table(
    "gate", _typed(GateRow._fields, "text int8 int8 int8 int8 int8 text int8"), ("key",), GateRow._make, _same
)
FAIR: Final = Table(
    "fair",
    _typed((*FairKey._fields, "vt"), "text text int2 text text int8"),
    FairKey._fields,
    fair_row,
    lambda row: (*row[0], row[1]),
)
TALLY: Final = Table(
    "tally",
    _typed(("shard", *TallyKey._fields, "count"), "text text text text text int2 int2 int8"),
    (*TallyKey._fields, "shard"),
    _tally_row,
    lambda row: (row[0], *row[1], row[2]),
)
WORKER: Final = Table(
    "worker", _typed(WorkerRow._fields, "bytea int8 int8 bool int4 bytea"), ("id",), WorkerRow._make, _same
)
PUSH: Final = Table(
    "push",
    _typed(PushRow._fields, "bytea text int2 int4 int8 int4 bool bytea"),
    ("task", "id"),
    PushRow._make,
    _same,
)
RECORD: Final = Table(
    "record",
    _typed(RecordRow._fields, "text text text text int8 int8 bytea"),
    RecordKey._fields,
    RecordRow._make,
    _same,
)
_BLOB = ("object", "part", "body")
BLOB: Final = Table("blob", _typed(_BLOB, "text int4 bytea"), _BLOB[:2], tuple, _same)
_AUDIT = ("chain", "seq", "at", "hash", "body")
AUDIT: Final = Table("audit", _typed(_AUDIT, "text int8 int8 bytea bytea"), _AUDIT[:2], tuple, _same)

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        TASK,
        EVENT,
        JOURNAL,
        MESSAGE,
        ARTIFACT,
        STATE,
        SENT,
        EDGE,
        TAG,
        GATE,
        FAIR,
        TALLY,
        WORKER,
        PUSH,
        RECORD,
        BLOB,
        AUDIT,
    )
}
