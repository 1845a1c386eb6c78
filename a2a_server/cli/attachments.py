"""What is sent along with a message: text, JSON and files as parts. Large files are uploaded first, streamed."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path

from a2a_server.cli.failures import UsageError
from a2a_server.cli.rpc import Connection, Json

INLINE_BYTES = 64 * 1024
"""Files up to this size travel in the message."""


def piped() -> str | None:
    """The text on stdin, None where it is a terminal or empty. Raises UsageError for what is no text."""
    if sys.stdin is None or sys.stdin.isatty():
        return None
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n") or None
    except UnicodeDecodeError as error:
        raise UsageError("what comes on stdin is no UTF-8 text; send it with --file") from error


def parts_of(text: str | None, data: str | None) -> list[Json]:
    """Text and data as parts. Raises UsageError for data that is not JSON."""
    parts: list[Json] = [] if text is None else [{"text": text}]
    if data is not None:
        try:
            parts.append({"data": json.loads(data)})
        except ValueError as error:
            raise UsageError(f"--data is not JSON: {error}") from error
    return parts


def check_files(files: Sequence[Path]) -> None:
    """All of them can be read. Raises UsageError."""
    for path in files:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as error:
            raise UsageError(f"--file {path}: {error.strerror}") from error


async def file_parts(connection: Connection, files: Sequence[Path]) -> list[Json]:
    """Files as parts: in the message up to `INLINE_BYTES`, else as the address of an upload.

    Raises UsageError for what cannot be read, and what `Connection.upload` raises.
    """
    return [await _file_part(connection, path) for path in files]


async def _file_part(connection: Connection, path: Path) -> Json:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    about = {"filename": path.name, "mediaType": kind}
    try:
        with path.open("rb") as file:
            head = file.read(INLINE_BYTES + 1)
            if len(head) <= INLINE_BYTES:
                return {"raw": base64.b64encode(head).decode(), **about}
            file.seek(0)
            uploaded = await connection.upload(file, path.name, kind)
    except OSError as error:
        raise UsageError(f"--file {path}: {error.strerror}") from error
    return {"url": uploaded["url"], **about}
