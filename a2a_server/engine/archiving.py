"""Archives of tasks that are retired: one object each, lines of JSON behind gzip, in the artifact store.

An archive has the task, its messages, events and journal, and what its artifacts were: name, type, size, hash, and
small content. It does not have the objects of large content. The same rows always make the same bytes, so one that is
written again after a crash is the one that there was. Archives are named `archive/{task}/{rev}`; the collector leaves
them alone, and no address of a server leads to them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import AsyncIterator
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

from a2a_server.codec import canonical, decode
from a2a_server.engine.paging import log_of, rows_of, takes_of
from a2a_server.errors import Damaged
from a2a_server.model.queries import Stored, Table
from a2a_server.model.rows import TaskRow
from a2a_server.ports import ArtifactStore, TaskStore

ARCHIVE: Final = "archive"
"""First part of every archive's name; no task's key looks so."""
MEDIA_TYPE: Final = "application/gzip"
_GZIP: Final = 31
_KEYS: Final = frozenset({"key", "task", "worker", "parent"})


def is_archive(name: str) -> bool:
    """Whether an object is an archive."""
    return name.startswith(f"{ARCHIVE}/")


def archive_name(row: TaskRow) -> str:
    """The object that a task's archive is."""
    return f"{ARCHIVE}/{UUID(bytes=row.key)}/{row.rev}"


async def archive(store: TaskStore, artifacts: ArtifactStore, row: TaskRow, *, limit_bytes: int) -> Stored:
    """The task is archived, and its archive was read back. Idempotent. Never call it for a task that has not ended.

    Raises:
        Damaged: what was read back is not what was written.
        TooLarge: it would have more than `limit_bytes`.
        StoreUnavailable: not now.
    """
    written = hashlib.sha256()
    pieces = _compressed(_lines(store, row), written)
    stored = await artifacts.put(archive_name(row), pieces, limit_bytes=limit_bytes, media_type=MEDIA_TYPE)
    there = hashlib.sha256()
    async for piece in artifacts.read(stored.name):
        there.update(piece)
    if there.digest() != written.digest():
        raise Damaged(f"the archive {stored.name} was not read back as it was written; its task stays.")
    return stored


async def _lines(store: TaskStore, row: TaskRow) -> AsyncIterator[bytes]:
    yield _line("task", row)
    async for message in rows_of(store, Table.MESSAGE, (row.key,), 2):
        yield _line("message", message)
    async for event in log_of(store, row.key, 0):
        yield _line("event", event)
    async for entry in rows_of(store, Table.JOURNAL, (row.key,), 2):
        yield _line("journal", entry)
    async for take in takes_of(store, row.key):
        yield _line("artifact", take)


def _line(table: str, row: Any) -> bytes:  # noqa: ANN401 - any named tuple of model.rows
    said = {name: _plain(name, value) for name, value in row._asdict().items()}
    return canonical({"table": table, **said}) + b"\n"


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, bytes):
        return value.hex() if name in _KEYS else decode(value) if value else None
    return value.name.lower() if isinstance(value, IntEnum) else value


async def _compressed(lines: AsyncIterator[bytes], written: Any) -> AsyncIterator[bytes]:  # noqa: ANN401 - a hash
    packer = zlib.compressobj(wbits=_GZIP)
    async for line in lines:
        if piece := packer.compress(line):
            written.update(piece)
            yield piece
    piece = packer.flush()
    written.update(piece)
    yield piece
