"""The files in the artifact store that a task's events told of. Objects of whole artifacts are named by their rows."""

from __future__ import annotations

from collections.abc import AsyncIterator

from a2a_server.codec import decode_event
from a2a_server.engine.paging import log_of
from a2a_server.model.objects import ArtifactEvent, File
from a2a_server.model.rows import EventKind, Key
from a2a_server.ports import TaskStore


async def streamed_files(store: TaskStore, key: Key) -> AsyncIterator[File]:
    """Every stored file that the task's chunk events told of, in order. Reads its whole log, a page at a time."""
    async for row in log_of(store, key, 0):
        event = decode_event(row) if row.kind is EventKind.CHUNK else None
        for part in event.artifact.parts if isinstance(event, ArtifactEvent) else ():
            if isinstance(part, File) and part.stored:
                yield part
