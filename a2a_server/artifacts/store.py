"""The artifact store inside a task store that keeps blobs: nothing else to run, for few or small objects.

Theory of operation: the parts of an object, of 256 KiB and numbered from 1, are written under a name of their own,
`{name}!{upload}`; its part 0 says when that began. Part 0 of `{name}` is written last: it says what the object is and
which upload has its parts. So an object becomes visible whole and at once, and a second `put` of its name never
disturbs it. '!' stands before all characters of names, so the uploads of a name follow it in every list: a walk over
all names meets them, and removes those that are older than a day and that nothing points to.

Weaknesses: every part is a commit of the store, and its content is in every backup of it. A `put` that is canceled
during its last step may leave the object; the collector removes what no row names.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Sequence
from typing import Final, NamedTuple

from a2a_server.artifacts.names import askable, is_name, require_name
from a2a_server.codec import decode, encode
from a2a_server.errors import DataRejected, EngineError, ObjectMissing, StoreUnavailable, TooLarge
from a2a_server.model.queries import Stored, StoredName
from a2a_server.ports import Blobs

PART_BYTES: Final = 256 * 1024
STALE_US: Final = 86_400_000_000
PAGE: Final = 1000
_MARK: Final = "!"


class _Described(NamedTuple):
    """What part 0 of a name says. upload: under which its parts are; stored_at: in microseconds since the epoch."""

    upload: str
    size: int
    sha256: str
    media_type: str
    stored_at: int

    @classmethod
    def of(cls, body: bytes) -> _Described:
        return cls(*decode(body))


def wall_clock() -> int:
    """The host's time in microseconds since the epoch."""
    return time.time_ns() // 1000


class StoreArtifacts:
    """An `ArtifactStore` in `blobs`; any number of processes may share it.

    `put` raises ValueError for a name that is not one of ours, and DataRejected for one that has other content already;
    `read` finds no object of such a name, and `delete` passes over it.

    Args:
        blobs: Where parts are kept; its store is opened before and closed after this one.
        clock: The time in microseconds since the epoch.

    Concurrency: any number of coroutines of one event loop.
    """

    def __init__(self, blobs: Blobs, *, clock: Callable[[], int] = wall_clock) -> None:
        self._inner = blobs
        self._clock = clock
        self._closed = False
        self._cleanups: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """The store was opened before."""

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        require_name(name)
        upload = f"{name}{_MARK}{secrets.token_hex(8)}"
        kept = False
        try:
            await self._blobs.write(upload, 0, encode(self._clock()))
            size, sha256 = await self._receive(upload, chunks, limit_bytes)
            stored = Stored(name, size, sha256, media_type)
            kept = await self._publish(upload, stored)
        finally:
            if not kept:
                await self._discard(upload)
        return stored

    async def _receive(self, upload: str, chunks: AsyncIterable[bytes], limit_bytes: int) -> tuple[int, str]:
        """Write the parts. Returns the size of all, and its sha256."""
        whole = hashlib.sha256()
        size = part = 0
        rest = bytearray()
        async for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise TooLarge(f"an object may have {limit_bytes} bytes")
            view = memoryview(chunk)
            while view:
                taken, view = view[: PART_BYTES - len(rest)], view[PART_BYTES - len(rest) :]
                whole.update(taken)
                rest += taken
                if len(rest) == PART_BYTES:
                    part += 1
                    await self._blobs.write(upload, part, bytes(rest))
                    rest.clear()
        if rest:
            await self._blobs.write(upload, part + 1, bytes(rest))
        return size, whole.hexdigest()

    async def _publish(self, upload: str, stored: Stored) -> bool:
        """Let the name point to the upload. False = the same object exists. Raises DataRejected."""
        earlier = await self._described(stored.name)
        if earlier is None:
            described = _Described(upload, stored.size, stored.sha256, stored.media_type, self._clock())
            await self._blobs.write(stored.name, 0, encode(tuple(described)))
        elif (earlier.size, earlier.sha256) != (stored.size, stored.sha256):
            raise DataRejected(f"the object {stored.name} exists with other content; names are never used twice")
        return earlier is None

    async def _discard(self, upload: str) -> None:
        """Forget an upload, also when canceled meanwhile; what fails is removed by a walk a day later."""
        cleanup = asyncio.create_task(self._forgotten(upload))
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
        await asyncio.wait((cleanup,))

    async def _forgotten(self, upload: str) -> None:
        try:
            await self._inner.delete([upload])
        except EngineError:
            return

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if start < 0:
            raise ValueError("start is a count of bytes, 0 or more")
        described = await self._described(name) if is_name(name) else None
        if described is None:
            raise ObjectMissing(f"no object {name}" if is_name(name) else "no object has such a name")
        end = described.size if end is None else min(end, described.size)
        while start < end:
            part, offset = divmod(start, PART_BYTES)
            body = await self._blobs.read(described.upload, part + 1)
            if body is None:
                raise ObjectMissing(f"the object {name} was deleted")
            piece = body[offset : offset + end - start]
            yield piece
            start += len(piece)

    async def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str | None:  # noqa: ARG002
        return None

    async def delete(self, names: Collection[str]) -> None:
        found = {name: await self._described(name) for name in names if is_name(name)}
        if gone := {name: described.upload for name, described in found.items() if described is not None}:
            await self._blobs.delete(list(gone))
            await self._blobs.delete(list(gone.values()))

    async def list(self, after: str, limit: int) -> Sequence[StoredName]:
        found: list[StoredName] = []
        after = askable(after)
        old = self._clock() - STALE_US
        while len(found) < limit:
            page = await self._blobs.list(after, min(limit - len(found), PAGE))
            stale: list[str] = []
            for entry, body in page:
                name, mark, _ = entry.partition(_MARK)
                if mark and is_name(name) and decode(body) < old:
                    stale.append(entry)
                elif not mark and is_name(name):
                    described = _Described.of(body)
                    found.append(StoredName(name, described.size, described.stored_at))
            await self._remove(stale)
            if not page:
                break
            after = page[-1][0]
        return found

    async def _remove(self, uploads: Sequence[str]) -> None:
        """Forget those of the uploads that no name points to."""
        unused: list[str] = []
        for upload in uploads:
            described = await self._described(upload.partition(_MARK)[0])
            if described is None or described.upload != upload:
                unused.append(upload)
        if unused:
            await self._blobs.delete(unused)

    async def close(self) -> None:
        self._closed = True
        if self._cleanups:
            await asyncio.wait(self._cleanups)

    @property
    def _blobs(self) -> Blobs:
        if self._closed:
            raise StoreUnavailable("the artifact store is closed")
        return self._inner

    async def _described(self, name: str) -> _Described | None:
        body = await self._blobs.read(name, 0)
        return None if body is None else _Described.of(body)
