"""Rows of `model.rows` as MongoDB keeps them, both ways: a collection a table, a document a row, a field a column.

`_id` is the primary key. One column stands there as it is, a task's bytes or a gate's name. Several are put together
into one text whose order in the index is the order of the Python tuples, so that rows are read by any prefix of their
key as one range of the one index that every collection has anyway; beside it the columns stand for themselves, for
people and for other indexes. A task, a gate and a record have one field more, `lock`, that whoever locks them counts
up.

Weakness: subdocuments would be plainer keys; but MongoDB orders bytes by their length first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
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
    RecordRow,
    SentRow,
    StateRow,
    TagRow,
    TallyKey,
    TaskRow,
    WorkerRow,
)

Document = dict[str, Any]
Record = tuple[Any, ...]

GENERATIONS: Final = {int(each): each for each in Generation}
LANES: Final = {int(each): each for each in Lane}
STATES: Final = {int(each): each for each in State}
PHASES: Final = {int(each): each for each in Phase}
_EVENT_KINDS: Final = {int(each): each for each in EventKind}
_JOURNAL_KINDS: Final = {int(each): each for each in JournalKind}
_BEFORE_SURROGATES: Final = 0xD7FF
_BEHIND_SURROGATES: Final = 0xE000


class Shape(NamedTuple):
    """What the documents of a collection look like.

    columns: their fields, `_id` in place of a key of one column. key: the columns of the primary key. pick: the columns
    of a document. make: the row of these; unmake: they of a row.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...]
    pick: Callable[[Document], Record]
    make: Callable[[Record], Any]
    unmake: Callable[[Any], Record]

    def id(self, values: Record) -> Any:  # noqa: ANN401 - bytes or text
        """The `_id` of a row with this primary key."""
        return values[0] if len(self.key) == 1 else encoded(values)

    def document(self, row: Any) -> Document:  # noqa: ANN401 - each table has its own row
        """The document of a row. Raises DataRejected for gates that no other store could keep."""
        record = self.unmake(row)
        document = dict(zip(self.columns, record, strict=True))
        if len(self.key) > 1:
            document["_id"] = encoded(record[: len(self.key)])
        return document

    def row(self, document: Document) -> Any:  # noqa: ANN401 - each table has its own row
        """The row of a document."""
        return self.make(self.pick(document))


def encoded(values: Iterable[str | int | bytes]) -> str:
    """The `_id` of several columns, or the beginning that all rows with these first columns share."""
    return "".join(map(_encoded, values))


def span(values: Iterable[str | int | bytes], begins: str = "") -> Document:
    """The condition on `_id` that means: the first columns of the primary key are these.

    begins: and the text in the next one begins so.
    """
    first = encoded(values) + begins.replace("\0", "\0\1")
    return {"$gte": first, "$lt": _after(first)} if first else {"$gte": ""}


def _after(first: str) -> str:
    """The first text behind all that begin with this one."""
    first = first.rstrip("\U0010ffff")
    last = ord(first[-1])
    return f"{first[:-1]}{chr(last + 1 if last != _BEFORE_SURROGATES else _BEHIND_SURROGATES)}"


def _encoded(value: str | int | bytes) -> str:
    # What ends a column sorts before whatever may go on in it: "/" before digits, two NULs before every text.
    if isinstance(value, bytes):
        return f"{value.hex()}/"
    if isinstance(value, int):
        return f"{value:016x}/" if value >= 0 else f"-{value + 2**63:016x}/"
    return value.replace("\0", "\0\1") + "\0\0"


def _task_row(record: Record) -> TaskRow:
    return TaskRow._make(
        (
            *record[:7],
            GENERATIONS[record[7]],
            *record[8:11],
            LANES[record[11]],
            record[12],
            tuple(record[13]),
            record[14],
            STATES[record[15]],
            PHASES[record[16]],
            *record[17:],
        )
    )


def _task_record(row: TaskRow) -> Record:
    if row.gates and ("" in row.gates or any("\n" in gate for gate in row.gates)):
        raise DataRejected("the name of a gate is empty or has a line break")
    return (
        *row[:7],
        int(row.generation),
        *row[8:11],
        int(row.lane),
        row.rank,
        list(row.gates),
        row.held_by,
        int(row.state),
        int(row.phase),
        *row[17:],
    )


def _event_row(record: Record) -> EventRow:
    task, n, kind, at, fence, artifact, body = record
    return EventRow(task, n, _EVENT_KINDS[kind], at, fence, artifact, body)


def _journal_row(record: Record) -> JournalRow:
    task, n, kind, at, body = record
    return JournalRow(task, n, _JOURNAL_KINDS[kind], at, body)


def _kind_record(row: EventRow | JournalRow) -> Record:
    return (row[0], row[1], int(row[2]), *row[3:])


def _generation_record(row: PushRow) -> Record:
    return (*row[:2], int(row.generation), *row[3:])


def _fair_row(record: Record) -> tuple[FairKey, int]:
    shard, queue, lane, tenant, owner, vt = record
    return FairKey(shard, queue, LANES[lane], tenant, owner), vt


def _fair_record(row: tuple[FairKey, int]) -> Record:
    key, vt = row
    return (key.shard, key.queue, int(key.lane), key.tenant, key.owner, vt)


def _tally_row(record: Record) -> tuple[str, TallyKey, int]:
    shard, tenant, owner, agent, queue, state, phase, count = record
    return shard, TallyKey(tenant, owner, agent, queue, STATES[state], PHASES[phase]), count


def _tally_record(row: tuple[str, TallyKey, int]) -> Record:
    shard, key, count = row
    return (shard, *key[:4], int(key.state), int(key.phase), count)


def _shape(
    columns: tuple[str, ...],
    key: int,
    make: Callable[[Record], Any] = tuple,
    unmake: Callable[[Any], Record] = tuple,
) -> Shape:
    names = ("_id", *columns[1:]) if key == 1 else columns
    return Shape(names, columns[:key], itemgetter(*names), make, unmake)


SHAPES: Final[Mapping[str, Shape]] = {
    "task": _shape(TaskRow._fields, 1, _task_row, _task_record),
    "event": _shape(EventRow._fields, 2, _event_row, _kind_record),
    "journal": _shape(JournalRow._fields, 2, _journal_row, _kind_record),
    "message": _shape(MessageRow._fields, 2, MessageRow._make),
    "artifact": _shape(ArtifactRow._fields, 3, ArtifactRow._make),
    "state": _shape(StateRow._fields, 3, StateRow._make),
    "sent": _shape(SentRow._fields, 5, SentRow._make),
    "edge": _shape(EdgeRow._fields, 2, EdgeRow._make),
    "tag": _shape(TagRow._fields, 4, TagRow._make),
    "gate": _shape(GateRow._fields, 1, GateRow._make),
    "fair": _shape((*FairKey._fields, "vt"), 5, _fair_row, _fair_record),
    "tally": _shape(("shard", *TallyKey._fields, "count"), 7, _tally_row, _tally_record),
    "worker": _shape(WorkerRow._fields, 1, WorkerRow._make),
    "push": _shape(PushRow._fields, 2, PushRow._make, _generation_record),
    "record": _shape(RecordRow._fields, 4, RecordRow._make),
    "blob": _shape(("object", "part", "body"), 2),
    "audit": _shape(("chain", "seq", "at", "hash", "body"), 2),
}
"""Every collection that rows are in; beside them are `meta` and `content` (mongodb_content)."""
