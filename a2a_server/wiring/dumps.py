"""Rows of a dump as lines of JSON, and sums by which two dumps are compared.

A line is the row's columns in their order, as an array: bytes are `{"b": "<base64>"}`, flags 0 and 1, enumerations
their numbers, a tuple inside a row an array. Equal rows give equal lines, whichever store they come from. A sum is how
many rows a table has, and the SHA-256 of their lines added up modulo 2^256: the order of the rows does not matter.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from enum import IntEnum
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, get_type_hints

import orjson

from a2a_server.engine.unfinished import is_mark
from a2a_server.errors import Damaged
from a2a_server.model.rows import (
    DUMPED,
    ArtifactRow,
    EventRow,
    FairKey,
    GateRow,
    JournalRow,
    MessageRow,
    PushRow,
    SentRow,
    StateRow,
    TallyKey,
    TaskRow,
)
from a2a_server.ports import TaskStore

Row: TypeAlias = tuple[object, ...]
Pages: TypeAlias = AsyncIterator[tuple[str, Sequence[Row]]]

ELSEWHERE: Final = frozenset({"worker"})
"""Tables that are never copied: the processes of one store are none of another. What they had leased is rescued."""
BLOBS: Final = "blob"
"""The table of the artifact store `store://`."""
_MODULUS: Final = 1 << 256


class Sum(NamedTuple):
    """What a table's rows add up to."""

    rows: int = 0
    sha256: int = 0

    def __add__(self, other: object) -> Sum:
        """Of both together."""
        if not isinstance(other, Sum):
            return NotImplemented
        return Sum(self.rows + other.rows, (self.sha256 + other.sha256) % _MODULUS)

    @property
    def hex(self) -> str:
        """The hash as 64 hexadecimal digits."""
        return f"{self.sha256:064x}"


Sums: TypeAlias = Mapping[str, Sum]
"""By table; one that is missing has no rows."""


def tables(*, blobs: bool) -> tuple[str, ...]:
    """The tables that are copied, in the order of dumps; `blobs`: that of large content too."""
    return tuple(table for table in DUMPED if table not in ELSEWHERE and (blobs or table != BLOBS))


def line_of(row: Row) -> bytes:
    """The row as a line, without its end."""
    values = tuple(int(value) if isinstance(value, bool) else value for value in row)
    return orjson.dumps(values, default=_packed)


def row_of(table: str, line: bytes) -> Row:
    """The row that `line_of` made a line. Raises ValueError, TypeError, IndexError or KeyError for any other line."""
    return _MAKE[table](tuple(map(_unpacked, orjson.loads(line))))


def sum_of(lines: Sequence[bytes]) -> Sum:
    """What the lines of some rows add up to."""
    return Sum(len(lines), sum(_number(line) for line in lines) % _MODULUS)


@asynccontextmanager
async def dumped(store: TaskStore, chosen: Sequence[str]) -> AsyncIterator[Pages]:
    """Every row of these tables. The dump ends with the block."""
    dump = store.dump()
    async with AsyncExitStack() as stack:
        if (close := getattr(dump, "aclose", None)) is not None:  # a generator holds a connection until it is closed
            stack.push_async_callback(close)
        yield _chosen(dump, frozenset(chosen))


async def sums_of(store: TaskStore, chosen: Sequence[str], tell: Callable[[str, int], None]) -> Sums:
    """What these tables of the store add up to. tell: is told a table and how many of its rows were read."""
    sums: dict[str, Sum] = defaultdict(Sum)
    async with dumped(store, chosen) as pages:
        async for table, rows in pages:
            sums[table] += sum_of([line_of(row) for row in rows])
            tell(table, sums[table].rows)
    return sums


def compare(wanted: Sums, found: Sums, chosen: Sequence[str], *, where: str, way_out: str) -> None:
    """Raises Damaged where `found` is not `wanted`; it names the first table that differs."""
    for table in chosen:
        ours, theirs = wanted.get(table, Sum()), found.get(table, Sum())
        if ours == theirs:
            continue
        differ = (
            f"{theirs.rows:,} rows where {ours.rows:,} are expected"
            if ours.rows != theirs.rows
            else f"{ours.rows:,} rows as expected, but not with the same content"
        )
        raise Damaged(f"{where}: the table {table} has {differ}; {way_out}")


async def _chosen(dump: Pages, chosen: frozenset[str]) -> Pages:
    async for table, rows in dump:
        if table in chosen:
            kept = [row for row in rows if not is_mark(table, row)] if table == "state" else rows
            if kept:
                yield table, kept


def _number(line: bytes) -> int:
    return int.from_bytes(hashlib.sha256(line).digest(), "big")


def _packed(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b": b64encode(value).decode()}
    if isinstance(value, tuple):  # orjson passes over named ones
        return tuple(value)
    raise TypeError(f"a row with a {type(value).__name__}")


def _unpacked(value: Any) -> object:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return b64decode(value["b"], validate=True)
    return tuple(map(_unpacked, value)) if isinstance(value, list) else value


def _typed(kind: Any, values: Sequence[Any]) -> Any:  # noqa: ANN401 - any named tuple
    """The named tuple of these values, with its flags and enumerations. Raises ValueError, TypeError."""
    row = kind._make(values)
    return row._replace(**{name: make(getattr(row, name)) for name, make in _CONVERTED[kind]})


def _makers_of(kind: Any) -> Sequence[tuple[str, Callable[[Any], object]]]:  # noqa: ANN401 - any named tuple
    hints = get_type_hints(kind)
    made = [(name, hints[name]) for name in kind._fields]
    return [(name, hint) for name, hint in made if isinstance(hint, type) and issubclass(hint, (IntEnum, bool))]


def _fair(values: Sequence[Any]) -> Row:
    key, time = values
    return (_typed(FairKey, key), time)


def _tally(values: Sequence[Any]) -> Row:
    shard, key, count = values
    return (shard, _typed(TallyKey, key), count)


def _plain(count: int, values: tuple[Any, ...]) -> Row:
    if len(values) != count:
        raise ValueError(f"{len(values)} columns where {count} are expected")
    return values


_KINDS: Final[Mapping[str, Any]] = {
    "task": TaskRow,
    "event": EventRow,
    "journal": JournalRow,
    "message": MessageRow,
    "artifact": ArtifactRow,
    "state": StateRow,
    "sent": SentRow,
    "gate": GateRow,
    "push": PushRow,
}
_PLAIN: Final[Mapping[str, tuple[str, ...]]] = {
    "edge": ("upstream", "downstream", "on_failure", "done"),
    "tag": ("tenant", "owner", "tag", "task"),
    "record": ("kind", "tenant", "owner", "id", "rev", "due_at", "body"),
    "blob": ("object", "part", "body"),
    "audit": ("chain", "seq", "at", "hash", "body"),
}
_CONVERTED: Final = {kind: _makers_of(kind) for kind in (*_KINDS.values(), FairKey, TallyKey)}
_MAKE: Final[Mapping[str, Callable[[tuple[Any, ...]], Row]]] = {
    **{table: partial(_typed, kind) for table, kind in _KINDS.items()},
    **{table: partial(_plain, len(columns)) for table, columns in _PLAIN.items()},
    "fair": _fair,
    "tally": _tally,
}

COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    **{table: kind._fields for table, kind in _KINDS.items()},
    **_PLAIN,
    "fair": (f"({', '.join(FairKey._fields)})", "vt"),
    "tally": ("shard", f"({', '.join(TallyKey._fields)})", "count"),
}
"""The columns of each table's lines; brackets hold those of an array."""
