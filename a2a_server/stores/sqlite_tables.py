"""Every table but `meta`, told once: its columns, its primary key, and how its records become rows and rows records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from a2a_server.model.rows import (
    ArtifactRow,
    EdgeRow,
    EventRow,
    FairKey,
    GateRow,
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
from a2a_server.stores.sqlite_rows import (
    EVENT_COLUMNS,
    LANES,
    MESSAGE_COLUMNS,
    PHASES,
    STATES,
    Record,
    artifact_record,
    artifact_row,
    event_record,
    event_row,
    gate_row,
    journal_record,
    journal_row,
    push_row,
    tally_record,
    task_record,
    task_row,
    worker_record,
    worker_row,
)


class Source(NamedTuple):
    """How rows of a table are read and written whole.

    columns: those of its records. key: the columns of its primary key. make: the row of a record; unmake: the record of
    a row. shown: what is selected, where that is not just the columns.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]
    make: Callable[[Record], tuple[object, ...]]
    unmake: Callable[[Any], Record]
    shown: str = ""

    @property
    def selected(self) -> str:
        """What a SELECT names."""
        return self.shown or ", ".join(self.columns)


def _plain(*columns: str, key: int) -> Source:
    return Source(columns, columns[:key], tuple, tuple)


def _fair_row(record: Record) -> tuple[object, ...]:
    shard, queue, lane, tenant, owner, vt = record
    return (FairKey(shard, queue, LANES[lane], tenant, owner), vt)


def _fair_record(row: tuple[FairKey, int]) -> Record:
    key, vt = row
    return (key[0], key[1], int(key[2]), *key[3:], vt)


def _tally_row(record: Record) -> tuple[object, ...]:
    shard, tenant, owner, agent, queue, state, phase, count = record
    return (shard, TallyKey(tenant, owner, agent, queue, STATES[state], PHASES[phase]), count)


def _tally_record(row: tuple[str, TallyKey, int]) -> Record:
    shard, key, count = row
    return tally_record(shard, key, count)


_TASK, _EVENT, _SENT = TaskRow._fields, EventRow._fields, SentRow._fields
_FAIR = (*FairKey._fields, "vt")
_TALLY = ("shard", *TallyKey._fields, "count")

SOURCES: Final[Mapping[str, Source]] = {
    "task": Source(_TASK, ("key",), task_row, task_record),
    "event": Source(_EVENT, ("task", "n"), event_row, event_record, EVENT_COLUMNS),
    "journal": Source(JournalRow._fields, ("task", "n"), journal_row, journal_record),
    "message": Source(MessageRow._fields, ("task", "seq"), MessageRow._make, tuple, MESSAGE_COLUMNS),
    "artifact": Source(ArtifactRow._fields, ("task", "id", "take"), artifact_row, artifact_record),
    "state": Source(StateRow._fields, ("scope", "space", "name"), StateRow._make, tuple),
    "sent": Source(_SENT, _SENT[:5], SentRow._make, tuple),
    "edge": Source(EdgeRow._fields, ("upstream", "downstream"), EdgeRow._make, tuple),
    "tag": Source(TagRow._fields, TagRow._fields, TagRow._make, tuple),
    "gate": Source(GateRow._fields, ("key",), gate_row, tuple),
    "fair": Source(_FAIR, FairKey._fields, _fair_row, _fair_record),
    "tally": Source(_TALLY, _TALLY[:-1], _tally_row, _tally_record),
    "worker": Source(WorkerRow._fields, ("id",), worker_row, worker_record),
    "push": Source(PushRow._fields, ("task", "id"), push_row, tuple),
    "record": Source(RecordRow._fields, RecordKey._fields, RecordRow._make, tuple),
    "blob": _plain("object", "part", "body", key=2),
    "audit": _plain("chain", "seq", "at", "hash", "body", key=2),
}
