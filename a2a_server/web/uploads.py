"""Uploads of files, to be sent with messages by their address.

`POST /artifacts` takes the bytes as the body of the request, as they are; they go to the artifact store piece by piece
and become visible when all are there. What is known of the file is committed then, and only what is committed has an
address. The name is data: objects are named by us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final
from uuid import UUID

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from a2a_server.engine.engine import Engine, new_key
from a2a_server.errors import EngineError, Overloaded, StoreUnavailable, TooLarge
from a2a_server.lifecycle.keeping import MARK, UPLOADED, Keep, Note, known
from a2a_server.model.attachments import MAX_NAME, PLAIN, is_media_type
from a2a_server.model.objects import File, Scope
from a2a_server.model.queries import Stored
from a2a_server.model.times import timestamp
from a2a_server.service.files import ADDRESS, UPLOADS
from a2a_server.web.dispositions import filename_of, is_filename
from a2a_server.web.refusals import busy, refusal

_DIGITS: Final = 30
"""More than any length has that is meant; leading zeros are not."""
_LATER: Final = "The file could not be stored at the moment; try again."


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Uploads:
    """Takes files in. stall_seconds: a client that sends nothing for so long is given up."""

    def __init__(self, engine: Engine, base_url: Callable[[], str], *, stall_seconds: float) -> None:
        self._engine = engine
        self._artifacts = engine.backends.artifacts
        self._base_url = base_url
        self._stall_seconds = stall_seconds

    async def upload(self, request: Request) -> Response:
        """POST /artifacts. The body is the file, Content-Type its media type.

        Its name is what Content-Disposition says (`filename*`, `filename`), else `?filename=`, else none. Answers 201
        with `{id, url, filename, mediaType, size, sha256, createdAt}`; 400, 403, 408, 413, 415 or 503 with an error
        object (web.refusals), and then nothing is kept.
        """
        try:
            filename, media_type = _asked(request, self._engine.limits.artifact_limit_bytes)
            return await self._taken(request, filename, media_type)
        except _RefusedError as error:
            return refusal(error.status, str(error))
        except ClientDisconnect:
            return Response(status_code=400)
        except Overloaded as error:
            return busy(error.message, error.retry_after_seconds)
        except StoreUnavailable:
            return busy(_LATER, 5)

    async def _taken(self, request: Request, filename: str, media_type: str) -> Response:
        upload = str(UUID(bytes=new_key()))
        limit = self._engine.limits.artifact_limit_bytes
        try:
            stored = await self._artifacts.put(
                f"{upload}/{UPLOADS}/0", self._body(request), limit_bytes=limit, media_type=media_type
            )
        except TooLarge:
            raise _RefusedError(413, _too_large(limit)) from None
        created_at = await self._recorded(Scope(), filename, stored)
        url = f"{self._base_url()}{ADDRESS}{stored.name}"
        shown = {
            "id": upload,
            "url": url,
            "filename": filename,
            "mediaType": media_type,
            "size": stored.size,
            "sha256": stored.sha256,
            "createdAt": timestamp(created_at),
        }
        return Response(orjson.dumps(shown), 201, {"Location": url}, media_type="application/json")

    async def _recorded(self, scope: Scope, filename: str, stored: Stored) -> int:
        file = File(filename, stored.media_type, stored=stored.name, size=stored.size, sha256=stored.sha256)
        try:
            recorded: int = await self._engine.submit(Keep((Note(stored.name, MARK, UPLOADED, known(scope, file)),)))
        except Overloaded:
            await self._artifacts.delete([stored.name])
            raise
        except EngineError as error:  # whether it is recorded is unknown; unused objects are collected
            raise StoreUnavailable from error
        return recorded

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        body = aiter(request.stream())
        while True:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    piece = await anext(body)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise _RefusedError(
                    408, f"Nothing was sent for {self._stall_seconds:g} s; send the file again."
                ) from None
            yield piece


_FORM = "application/x-www-form-urlencoded"
"""What curl says of every body of which nothing else is said."""


def _asked(request: Request, limit_bytes: int) -> tuple[str, str]:
    """The file's name and media type. Raises _RefusedError."""
    if request.headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        raise _RefusedError(403, "Pages of other sites cannot upload files here.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _RefusedError(415, "Encoded bodies are not taken; send the file's bytes as they are.")
    media_type = request.headers.get("content-type", PLAIN).strip()
    if media_type.lower() == _FORM:
        media_type = PLAIN
    if not is_media_type(media_type):
        raise _RefusedError(400, f"Content-Type must be a media type, type/subtype, of at most {MAX_NAME} characters.")
    if media_type.lower().startswith("multipart/"):
        raise _RefusedError(
            415, "Forms are not taken; send the file's bytes alone as the body (curl --data-binary @file)."
        )
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdecimal() and (len(said) > _DIGITS or int(said) > limit_bytes):
        raise _RefusedError(413, _too_large(limit_bytes))
    try:
        filename = filename_of(request.headers.get("content-disposition", ""))
    except ValueError as error:
        raise _RefusedError(
            400, "The file name in Content-Disposition cannot be read: use filename*=UTF-8''name."
        ) from error
    if filename is None:
        filename = request.query_params.get("filename")
    if filename is not None and not is_filename(filename):
        raise _RefusedError(400, f"The file name must be 1 to {MAX_NAME} printable characters.")
    return filename or "", media_type


def _too_large(limit_bytes: int) -> str:
    return f"The file is larger than {limit_bytes} bytes (artifact_limit_bytes)."
