"""What a task's rows say of objects in the artifact store: the takes of its artifacts, and its chunk events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from a2a_server.codec import decode_event
from a2a_server.model.objects import ArtifactEvent, File
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import ArtifactRow, EventKind, Key
from a2a_server.ports import TaskStore

PAGE_ROWS: Final = 100
PAGE_EVENTS: Final = 256
PAGE_BYTES: Final = 1 << 20


async def takes(store: TaskStore, key: Key) -> AsyncIterator[ArtifactRow]:
    """Every take of the task's artifacts, older ones too."""
    after = None
    while True:
        page = await store.rows(RowQuery(Table.ARTIFACT, (key,), after, PAGE_ROWS))
        for row in page.rows:
            if isinstance(row, ArtifactRow):
                after = row[:3]
                yield row
        if not page.more:
            return


async def streamed_files(store: TaskStore, key: Key) -> AsyncIterator[File]:
    """Every stored file that the task's chunk events told of, in order. Reads its whole log, a page at a time."""
    after = 0
    while rows := await store.events(key, after, PAGE_EVENTS, PAGE_BYTES):
        after = rows[-1].n
        for event in (decode_event(row) for row in rows if row.kind is EventKind.CHUNK):
            for part in event.artifact.parts if isinstance(event, ArtifactEvent) else ():
                if isinstance(part, File) and part.stored:
                    yield part
