"""Artifacts that a skill writes piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from a2a_server.agent.values import artifact_name, part_of, text_of
from a2a_server.context.waiting import Pending, wait_for_room
from a2a_server.model.objects import Part
from a2a_server.model.runs import Chunk
from a2a_server.running import Attempt

PLAIN = "text/plain"


class _Writing:
    """The state of an artifact that is being written."""

    def __init__(self, attempt: Attempt, name: str, media_type: str, *, resume: bool, description: str) -> None:
        name, media_type = artifact_name(name), text_of(media_type) or PLAIN
        taken = attempt.taken(name) if resume else None
        self.name = name
        self.offset = taken.size if taken else 0
        self.chunks = taken.chunks if taken else 0
        self._attempt = attempt
        self._media_type = media_type
        self._opening = Chunk(name, (), resume=resume, description=text_of(description), media_type=media_type)
        self._closed = False

    def _emit(self, parts: tuple[Part, ...], *, last: bool = False) -> None:
        if self._closed:
            raise ValueError(f'artifact "{self.name}" is closed; write before close()')
        self._attempt.emit(replace(self._opening, parts=parts, last=last))
        self._opening = Chunk(self.name, ())
        self._closed = last

    def _part(self, content: str | bytes | Mapping[str, Any] | list[Any]) -> Part:
        media_type = "" if self._media_type == PLAIN and not isinstance(content, bytes) else self._media_type
        return part_of(content, media_type=media_type, filename=self.name)

    def _finish(self) -> bool:
        if self._closed:
            return False
        self._emit((), last=True)
        return True


class ArtifactWriter(_Writing):
    """An artifact being written. As `async with`, it is closed at the end, and left open after an error.

    Attributes:
        name: of the artifact.
        offset: bytes (text as UTF-8) that earlier runs committed; 0 unless resumed.
        chunks: pieces that earlier runs committed; 0 unless resumed.
    """

    def write(self, content: str | bytes | Mapping[str, Any] | list[Any]) -> Pending:
        """Append a piece: text, bytes, or data.

        Raises:
            Fail: data that is no JSON.
            ValueError: the artifact is closed.
            LeaseLost: the run lost its task.
        """
        self._emit((self._part(content),))
        return Pending(self._attempt)

    def close(self) -> Pending:
        """Say that nothing follows. Idempotent.

        Raises:
            LeaseLost: the run lost its task.
        """
        self._finish()
        return Pending(self._attempt)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._finish():
            await self._attempt.room()


class SyncArtifactWriter(_Writing):
    """An artifact being written from a thread. As `with`, it is closed at the end, and left open after an error.

    Attributes:
        name: of the artifact.
        offset: bytes (text as UTF-8) that earlier runs committed; 0 unless resumed.
        chunks: pieces that earlier runs committed; 0 unless resumed.
    """

    def __init__(
        self,
        attempt: Attempt,
        name: str,
        media_type: str,
        *,
        resume: bool,
        description: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(attempt, name, media_type, resume=resume, description=description)
        self._loop = loop

    def write(self, content: str | bytes | Mapping[str, Any] | list[Any]) -> None:
        """As `ArtifactWriter.write`."""
        self._emit((self._part(content),))
        wait_for_room(self._attempt, self._loop)

    def close(self) -> None:
        """As `ArtifactWriter.close`."""
        if self._finish():
            wait_for_room(self._attempt, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
