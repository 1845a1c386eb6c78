"""A run's large content on its way to the artifact store and back: files, and takes that are too large for a row.

Objects are named `{task}/files/{fence}/{number}` and `{task}/{artifact}/{fence}`, so a stale run never overwrites what
a later one stored. Everything goes piece by piece; nothing here holds a whole object.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID

from a2a_server.codec import decode_event
from a2a_server.engine.limits import Limits
from a2a_server.engine.paging import log_of
from a2a_server.engine.takes import Take
from a2a_server.errors import Fail, ObjectMissing, Retry, TooLarge
from a2a_server.lifecycle.contents import content
from a2a_server.lifecycle.endings import End
from a2a_server.lifecycle.keeping import stored_files, use_of
from a2a_server.model.objects import ArtifactEvent, File, Message, Part
from a2a_server.model.queries import Stored
from a2a_server.model.rows import EventKind, StateRow, TaskRow
from a2a_server.ports import ArtifactStore, TaskStore

_log = logging.getLogger("a2a_server.engine.objects")


class Objects:
    """The objects of the run that holds `row`."""

    def __init__(self, row: TaskRow, store: TaskStore, artifacts: ArtifactStore, limits: Limits) -> None:
        self._row = row
        self._passed_on: set[str] = set()
        self._key = row.key
        self._id = row.id
        self._fence = row.fence
        self._store = store
        self._artifacts = artifacts
        self._inline = limits.inline_bytes
        self._limit = limits.artifact_limit_bytes
        self._count = 0

    async def stored(self, part: Part) -> Part:
        """The part with its bytes in the artifact store, if it is large. Raises what the store raises."""
        if not (isinstance(part, File) and part.raw is not None and len(part.raw) > self._inline):
            return part
        self._count += 1
        name = f"{UUID(bytes=self._key)}/files/{self._fence}/{self._count}"
        return await as_object(self._artifacts, name, part, limit_bytes=self._limit)

    def passed_on(self, parts: Sequence[Part]) -> list[StateRow]:
        """Rows that keep the objects of other tasks to which these parts refer; of each object once."""
        mine = f"{UUID(bytes=self._key)}/"
        files = [file for file in stored_files(parts) if not file.stored.startswith(mine)]
        new = [file for file in files if file.stored not in self._passed_on]
        self._passed_on.update(file.stored for file in new)
        return [use_of(self._row, file) for file in new]

    async def stored_message(self, message: Message) -> Message:
        """The message with its large files in the artifact store. Raises what the store raises."""
        if not any_large(message.parts, self._inline):
            return message
        return replace(message, parts=tuple([await self.stored(part) for part in message.parts]))

    async def stored_end(self, end: End) -> End:
        """The end with what it says in the artifact store, as far as it is large. Raises Fail, Retry."""
        try:
            if end.message is not None:
                end = replace(end, message=await self.stored_message(end.message))
            if end.pause is not None:
                asked = await self.stored_message(end.pause.message)
                end = replace(end, pause=replace(end.pause, message=asked))
        except Exception as error:
            raise self.failure(error) from error
        return end

    async def assembled(self, take: Take) -> Stored:
        """The take's content as one object, read back from its chunk events. Raises what the stores raise."""
        name = f"{UUID(bytes=self._key)}/{take.row.id}/{self._fence}" + (f"/{take.reopened}" if take.reopened else "")
        return await self._artifacts.put(
            name, self._contents(take), limit_bytes=self._limit, media_type=take.row.media_type
        )

    def failure(self, error: Exception) -> Fail | Retry:
        """How the run ends because an object could not be stored."""
        _log.warning("An artifact could not be stored.", exc_info=error, extra={"task": self._id})
        if isinstance(error, TooLarge):
            return Fail("An artifact is larger than the server keeps (artifact_limit_bytes).")
        return Retry("An artifact could not be stored.")

    async def read(self, file: File) -> AsyncIterator[bytes]:
        """A file's bytes. Raises Fail when they cannot be had."""
        name = file.filename or "without a name"
        if file.raw is not None:
            yield file.raw
        elif not file.stored:
            raise Fail(f"The file {name} is only an address; this server fetches none. Send its bytes, or upload it.")
        else:
            try:
                async for piece in self._artifacts.read(file.stored):
                    yield piece
            except ObjectMissing:
                raise Fail(f"The file {name} is not stored any more.") from None

    async def _contents(self, take: Take) -> AsyncIterator[bytes]:
        async for row in log_of(self._store, self._key, take.row.first_n - 1):
            if row.kind is not EventKind.CHUNK or row.artifact != take.row.id:
                continue
            event = decode_event(row)
            for part in event.artifact.parts if isinstance(event, ArtifactEvent) else ():
                if isinstance(part, File) and part.stored:
                    async for piece in self._artifacts.read(part.stored):
                        yield piece
                else:
                    yield content(part) or b""


def any_large(parts: Sequence[Part], inline_bytes: int) -> bool:
    """Whether a part is a file that must not stand in an event."""
    return any(isinstance(part, File) and part.raw is not None and len(part.raw) > inline_bytes for part in parts)


async def as_object(artifacts: ArtifactStore, name: str, file: File, *, limit_bytes: int) -> File:
    """The file with its bytes in the artifact store, as `name`. Raises what `ArtifactStore.put` raises."""
    pieces = _once(file.raw or b"")
    media_type = file.media_type or "application/octet-stream"
    stored = await artifacts.put(name, pieces, limit_bytes=limit_bytes, media_type=media_type)
    return replace(file, raw=None, stored=stored.name, size=stored.size, sha256=stored.sha256)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
