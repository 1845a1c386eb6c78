"""A runner and an artifact store whose work is measured; what they do is done by those that they wrap."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Collection, Sequence
from contextlib import suppress

from a2a_server.context.metering import METER, Meter, Stepped
from a2a_server.engine.residence import Residence
from a2a_server.errors import LeaseLost
from a2a_server.model.objects import State
from a2a_server.model.queries import Stored, StoredName
from a2a_server.model.runs import Completed, Happening, LogLine, SkillSpec, Used
from a2a_server.ports import ArtifactStore
from a2a_server.running import AgentRunner, Attempt
from a2a_server.telemetry.observer import Observer


class MeteredRunner:
    """Implements ports.AgentRunner. Notes what each run took that ended well, and writes it into the task's journal.

    note: gets the skill, what the run took, and the bytes that it put into artifacts (None = not measured). whole:
    whether more than time is measured, and journaled: processor time, which costs two looks at the clock each time that
    a run is resumed, and memory, which costs some tens of microseconds at its begin and end. residence: the process's.
    """

    def __init__(
        self,
        inner: AgentRunner,
        note: Callable[[str, Used, int | None], None],
        *,
        whole: bool,
        residence: Residence | None = None,
    ) -> None:
        self._inner = inner
        self._note = note
        self._whole = whole
        self._residence = residence or Residence()

    @property
    def skills(self) -> Sequence[SkillSpec]:
        """See `AgentRunner.skills`."""
        return self._inner.skills

    @property
    def listens_for(self) -> frozenset[State]:
        """See `AgentRunner.listens_for`."""
        return self._inner.listens_for

    async def open(self) -> None:
        """See `AgentRunner.open`."""
        await self._inner.open()

    async def run(self, attempt: Attempt) -> Completed:
        """See `AgentRunner.run`."""
        began = time.perf_counter()
        if not self._whole:
            completed = await self._inner.run(attempt)
            self._note(attempt.task.skill, Used(time.perf_counter() - began), None)
            return completed
        meter = Meter()
        METER.set(meter)  # the run has a context of its own: its task's
        stay = self._residence.begin()
        try:
            completed = await Stepped(self._inner.run(attempt), meter)
        finally:
            if stay is not None:
                self._residence.end(stay)
            memory, others = (None, 0) if stay is None else (stay.growth, stay.others)
            used = meter.used = Used(time.perf_counter() - began, meter.seconds, memory, others)
            with suppress(LeaseLost):  # a run that is over says nothing more
                attempt.emit(LogLine("info", _words(used, meter.seconds)))
        self._note(attempt.task.skill, used, attempt.written)
        return completed

    async def roll_back(self, attempt: Attempt, reason: str) -> None:
        """See `AgentRunner.roll_back`."""
        await self._inner.roll_back(attempt, reason)

    async def tell(self, happening: Happening) -> None:
        """See `AgentRunner.tell`."""
        await self._inner.tell(happening)

    async def close(self) -> None:
        """See `AgentRunner.close`."""
        await self._inner.close()


def _words(used: Used, cpu_seconds: float) -> str:
    text = f"Used {cpu_seconds:.6f} s of the processor in {used.seconds:.6f} s"
    if used.memory_bytes is None:
        return f"{text}."
    beside = f", beside other runs: {used.shared}" if used.shared else ""
    return f"{text}; the process grew by up to {used.memory_bytes} bytes{beside}."


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
