"""What a skill sees of its run, and can say while it runs: `TaskContext` for async skills, `SyncTask` for plain ones.

Both are thin views over the Attempt port and hold no state of the run. A verb takes effect when it is called, in the
order of the calls. What differs is how a fast skill is slowed down: an async one awaits the verb, which waits for the
commit; a plain one is held inside the verb until few enough outputs are uncommitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Self

from a2a_server.agent import ContextParameter
from a2a_server.agent.values import artifact_name, data_of, part_of, progress_of, text_of
from a2a_server.errors import LeaseLost
from a2a_server.model.objects import File, Json, JsonObject, Message, Part, Progress
from a2a_server.model.runs import Chunk, LogLine, Stopping
from a2a_server.ports import Attempt

LOG_LEVELS = ("debug", "info", "warning", "error")

_LOOK_SECONDS = 1.0
_PLAIN = "text/plain"


class Pending:
    """What a verb gives back. The verb has taken effect; `await` it to wait until that is committed, or let it be."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._attempt.flush().__await__()


class _View(ContextParameter):
    """What both kinds of skill can read."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def id(self) -> str:
        """The task's id, as clients know it."""
        return self._attempt.task.id

    @property
    def context_id(self) -> str:
        """The conversation that the task belongs to."""
        return self._attempt.task.context_id

    @property
    def owner(self) -> str:
        """Who sent the task; `local` without authentication."""
        return self._attempt.task.owner

    @property
    def tenant(self) -> str:
        """The tenant, '' = none."""
        return self._attempt.task.tenant

    @property
    def attempt(self) -> int:
        """Which attempt this is, 1 for the first; a failure or a crash makes the next."""
        return self._attempt.number

    @property
    def deadline(self) -> float | None:
        """When the run is ended, seconds since the epoch; None = never."""
        return self._attempt.task.deadline

    @property
    def message(self) -> Message:
        """The message that this run answers."""
        return self._attempt.task.message

    @property
    def history(self) -> tuple[Message, ...]:
        """All messages of the task so far, the oldest first."""
        return self._attempt.task.history

    @property
    def text(self) -> str:
        """The message's text parts, joined by line breaks."""
        return self._attempt.task.message.text

    @property
    def data(self) -> JsonObject:
        """The message's data parts, merged."""
        return data_of(self._attempt.task.message)

    @property
    def files(self) -> tuple[File, ...]:
        """The message's file parts."""
        return tuple(part for part in self._attempt.task.message.parts if isinstance(part, File))

    @property
    def metadata(self) -> JsonObject:
        """The client's own metadata of the task."""
        return self._attempt.task.metadata or {}

    @property
    def parameters(self) -> dict[str, Json]:
        """The parameters given beside the message, in the task options."""
        return self._attempt.task.parameters

    @property
    def title(self) -> str:
        """The task's title, '' = none."""
        return self._attempt.task.title

    @property
    def stopping(self) -> Stopping | None:
        """Why the run should end now; None while it may go on. Plain skills look at it between their steps."""
        return self._attempt.stopping


class TaskContext(_View):
    """The run of a task, for async skills: take it as a parameter, `async def summarise(task: TaskContext): …`.

    Concurrency: belongs to one run; its verbs may be called from any coroutine or thread of that run.
    """

    def progress(
        self, fraction: float | None = None, note: str = "", *, done: float | None = None, total: float | None = None
    ) -> Pending:
        """Tell how far the run is: a `fraction`, or `done` of `total` items.

        Args:
            fraction: 0.0 to 1.0.
            note: what is going on, for people.
            done: items ready, in any unit.
            total: items in all, in the same unit.

        Raises:
            ValueError: a figure outside its range, or nothing told.
            LeaseLost: the run lost its task.
        """
        self._attempt.emit(progress_of(Progress(fraction, done, total, note)))
        return Pending(self._attempt)

    def artifact(
        self, name: str, media_type: str = _PLAIN, *, resume: bool = False, description: str = ""
    ) -> ArtifactWriter:
        """Open an artifact that is written piece by piece; clients see each piece at once.

        Args:
            name: of the artifact, unique in the task.
            media_type: of its content.
            resume: continue what an earlier run of this task left unfinished, at `offset`; else it is replaced.
            description: for people.

        Raises:
            Fail: the name is not 1 to 256 printable characters.
        """
        return ArtifactWriter(self._attempt, name, media_type, resume=resume, description=description)

    def log(self, level: str, text: str) -> Pending:
        """Write a line into the task's journal; operators read it, clients do not.

        Raises:
            ValueError: the level is not debug, info, warning or error.
            LeaseLost: the run lost its task.
        """
        self._attempt.emit(_line(level, text))
        return Pending(self._attempt)


class SyncTask(_View):
    """The run of a task, for plain functions: what `TaskContext` can do, blocking.

    Concurrency: made for the run's own thread, never for the event loop's.
    """

    threaded: ClassVar[bool] = True

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(attempt)
        self._loop = loop

    def progress(
        self, fraction: float | None = None, note: str = "", *, done: float | None = None, total: float | None = None
    ) -> None:
        """As `TaskContext.progress`."""
        self._attempt.emit(progress_of(Progress(fraction, done, total, note)))
        wait_for_room(self._attempt, self._loop)

    def artifact(
        self, name: str, media_type: str = _PLAIN, *, resume: bool = False, description: str = ""
    ) -> SyncArtifactWriter:
        """As `TaskContext.artifact`."""
        return SyncArtifactWriter(
            self._attempt, name, media_type, resume=resume, description=description, loop=self._loop
        )

    def log(self, level: str, text: str) -> None:
        """As `TaskContext.log`."""
        self._attempt.emit(_line(level, text))
        wait_for_room(self._attempt, self._loop)


class _Writing:
    """The state of an artifact that is being written."""

    def __init__(self, attempt: Attempt, name: str, media_type: str, *, resume: bool, description: str) -> None:
        name, media_type = artifact_name(name), text_of(media_type) or _PLAIN
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
        media_type = "" if self._media_type == _PLAIN and not isinstance(content, bytes) else self._media_type
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


def wait_for_room(attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
    """Hold the calling thread until few enough outputs of the attempt are uncommitted.

    Raises:
        LeaseLost: the run lost its task, or its event loop is gone.
    """
    if loop.is_closed():
        raise LeaseLost
    waiting = asyncio.run_coroutine_threadsafe(attempt.room(), loop)
    while not waiting.done():
        try:
            return waiting.result(_LOOK_SECONDS)
        except TimeoutError:
            if loop.is_closed():
                raise LeaseLost from None
    return waiting.result()


def _line(level: str, text: str) -> LogLine:
    if level not in LOG_LEVELS:
        raise ValueError(f"log: level must be one of {', '.join(LOG_LEVELS)}, not {level!r}")
    return LogLine(level, text_of(text))
