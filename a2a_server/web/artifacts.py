"""Downloads of large artifacts, by the addresses that file parts carry.

Content comes from agents, so it is never shown by a browser as part of this site: attachment, no sniffing, an empty
sandbox.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import UUID

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from a2a_server.codec import decode_event, decode_parts
from a2a_server.errors import ObjectMissing
from a2a_server.model.objects import ArtifactEvent, File, Scope
from a2a_server.model.rows import EventKind, Key
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.web.conditional import has_it

_PAGE_EVENTS = 256
_PAGE_BYTES = 1 << 20
# What one run, by its fence, stored of a chunk: the only objects that no artifact's row names.
_OF_A_CHUNK = re.compile(r"[^/]+/files/([0-9]{1,18})/[0-9]{1,18}", re.ASCII)
_MISSING = "There is no such artifact, or it is not yours."


class ArtifactPages:
    """Serves the artifact store's objects to the owners of their tasks."""

    def __init__(self, store: TaskStore, artifacts: ArtifactStore) -> None:
        self._store = store
        self._artifacts = artifacts

    async def download(self, request: Request) -> Response:
        """GET /artifacts/{key}/{artifact}/{fence}."""
        name = request.path_params["name"]
        file = await self._file(Scope(), name)
        if file is None:
            return PlainTextResponse(_MISSING, status_code=404)
        etag = f'"{file.sha256}"'
        caching = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": etag}
        if has_it(request, etag):
            return Response(status_code=304, headers=caching)
        content = self._artifacts.read(name)
        try:
            first = await anext(content, b"")
        except ObjectMissing:
            return PlainTextResponse(_MISSING, status_code=404)
        headers = {
            "Content-Disposition": "attachment",
            "Content-Length": str(file.size),
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            **caching,
        }
        return StreamingResponse(_chain(first, content), media_type=file.media_type or None, headers=headers)

    async def _file(self, scope: Scope, name: str) -> File | None:
        try:
            key = Key(UUID(name.partition("/")[0]).bytes)
        except ValueError:
            return None
        snapshot = await self._store.snapshot(key, 0)
        if snapshot is None or (snapshot.task.tenant, snapshot.task.owner) != (scope.tenant, scope.owner):
            return None
        for row in snapshot.artifacts:
            if row.location == name and row.body:
                return next((part for part in decode_parts(row.body) if isinstance(part, File)), None)
        of_a_chunk = _OF_A_CHUNK.fullmatch(name)
        if of_a_chunk is None or int(of_a_chunk[1]) > snapshot.task.fence:
            return None
        return await self._in_log(key, name)

    async def _in_log(self, key: Key, name: str) -> File | None:
        """The file among the chunks that were streamed: one of several, or a piece of what is one file by now."""
        after = 0
        while rows := await self._store.events(key, after, _PAGE_EVENTS, _PAGE_BYTES):
            after = rows[-1].n
            for event in (decode_event(row) for row in rows if row.kind is EventKind.CHUNK):
                parts = event.artifact.parts if isinstance(event, ArtifactEvent) else ()
                for part in parts:
                    if isinstance(part, File) and part.stored == name:
                        return part
        return None


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
