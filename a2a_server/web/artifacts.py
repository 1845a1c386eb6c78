"""Downloads of files that the artifact store holds, by the addresses that file parts carry.

Content comes from agents and clients, so it is never shown by a browser as part of this site: attachment, no sniffing,
an empty sandbox. Objects never change, so their address may be cached for ever by whoever was allowed to read it.

A download holds one piece in memory. A client that takes nothing for `stall_seconds` is cut; it can go on with a range.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from starlette import types
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from a2a_server.errors import ObjectMissing, StoreUnavailable
from a2a_server.model.attachments import PLAIN, attachment, is_media_type
from a2a_server.model.objects import File, Scope
from a2a_server.ports import ArtifactStore
from a2a_server.service.files import Files
from a2a_server.web.conditional import has_it
from a2a_server.web.protocol import abort_of
from a2a_server.web.ranges import UnsatisfiableRangeError, asked_range
from a2a_server.web.refusals import busy, refusal

WRITE_BYTES: Final = 64 * 1024
"""Most that one write to a client holds; a client is cut that does not take so much in `stall_seconds`."""
LINK_SECONDS: Final = 300
"""How long an address lasts that the artifact store gives out."""

_MISSING: Final = "There is no such file, or it is not yours."
_LATER: Final = "The artifact store does not answer at the moment; try again."

_log = logging.getLogger("a2a_server.web.artifacts")


class ArtifactPages:
    """Serves the artifact store's objects to their owners. stall_seconds: how long one write to a client may take."""

    def __init__(self, files: Files, artifacts: ArtifactStore, *, stall_seconds: float) -> None:
        self._files = files
        self._artifacts = artifacts
        self._stall_seconds = stall_seconds

    async def download(self, request: Request) -> Response:
        """GET and HEAD /artifacts/{name}, with ranges (RFC 9110 section 14) and If-None-Match."""
        name = request.path_params["name"]
        try:
            file = await self._files.find(Scope(), name)
            return await self._answer(request, file) if file is not None else refusal(404, _MISSING)
        except ObjectMissing:
            return refusal(404, _MISSING)
        except StoreUnavailable:
            return busy(_LATER, 2)

    async def _answer(self, request: Request, file: File) -> Response:
        etag = f'"{file.sha256}"'
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": etag}
        if has_it(request, etag):
            return Response(status_code=304, headers=headers)
        media_type = file.media_type if is_media_type(file.media_type) else PLAIN
        if request.method == "GET":  # a link is good for one method
            link = await self._artifacts.link(file.stored, file.filename, media_type, LINK_SECONDS)
            if link is not None:
                return RedirectResponse(link, 307, {"Cache-Control": "no-store"})
        headers |= {
            "Accept-Ranges": "bytes",
            "Content-Disposition": attachment(file.filename),
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Type": media_type,
            "X-Content-Type-Options": "nosniff",
        }
        try:
            part = asked_range(request, file.size, etag)
        except UnsatisfiableRangeError:
            message = f"The file has {file.size} bytes; ask for some of them."
            return refusal(416, message, {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{file.size}"})
        start, end = (part.start, part.end) if part else (0, file.size)
        headers["Content-Length"] = str(end - start)
        if part is not None:
            headers["Content-Range"] = part.of(file.size)
        pieces = self._artifacts.read(file.stored, start, end if request.method == "GET" else start)
        first = await anext(pieces, b"")
        return _Download(first, pieces, 206 if part else 200, headers, self._stall_seconds)


class _Download(Response):
    """An object on its way to a client, a piece at a time."""

    def __init__(
        self, first: bytes, rest: AsyncIterator[bytes], status: int, headers: Mapping[str, str], stall_seconds: float
    ) -> None:
        super().__init__(None, status, headers)
        self._first = first
        self._rest = rest
        self._stall_seconds = stall_seconds
        self._gone = False

    async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        """Send everything, or as much as the client takes."""
        watching = asyncio.get_running_loop().create_task(self._watch(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._write(self._first, send)
            async for piece in self._rest:
                await self._write(piece, send)
                if self._gone:
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, ObjectMissing, StoreUnavailable) as error:
            _log.info("A download was cut (%s).", type(error).__name__)
            abort_of(scope)()
            await asyncio.sleep(0)
        except OSError:  # what servers raise when the client is gone
            return
        finally:
            watching.cancel()
            if isinstance(self._rest, AsyncGenerator):
                await self._rest.aclose()

    async def _write(self, piece: bytes, send: types.Send) -> None:
        view = memoryview(piece)
        while view and not self._gone:
            async with asyncio.timeout(self._stall_seconds):
                await send({"type": "http.response.body", "body": bytes(view[:WRITE_BYTES]), "more_body": True})
            view = view[WRITE_BYTES:]

    async def _watch(self, receive: types.Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
