"""An artifact store whose traffic is counted; what it does is done by the one that it wraps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Sequence

from a2a_server.model.queries import Stored, StoredName
from a2a_server.ports import ArtifactStore
from a2a_server.telemetry.observer import Observer


class MeteredArtifacts:
    """Implements ports.ArtifactStore. Counts objects that were stored, and pieces as they are read."""

    def __init__(self, inner: ArtifactStore, observer: Observer) -> None:
        self._inner = inner
        self._observer = observer

    async def open(self) -> None:
        """See `ArtifactStore.open`."""
        await self._inner.open()

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        """See `ArtifactStore.put`."""
        stored = await self._inner.put(name, chunks, limit_bytes=limit_bytes, media_type=media_type)
        self._observer.artifact_in(stored.size)
        return stored

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """See `ArtifactStore.read`."""
        pieces = self._inner.read(name, start, end)
        try:
            async for piece in pieces:
                self._observer.artifact_out(len(piece))
                yield piece
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()

    async def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str | None:
        """See `ArtifactStore.link`."""
        return await self._inner.link(name, filename, media_type, expires_seconds)

    async def delete(self, names: Collection[str]) -> None:
        """See `ArtifactStore.delete`."""
        await self._inner.delete(names)

    async def list(self, after: str, limit: int) -> Sequence[StoredName]:
        """See `ArtifactStore.list`."""
        return await self._inner.list(after, limit)

    async def close(self) -> None:
        """See `ArtifactStore.close`."""
        await self._inner.close()
