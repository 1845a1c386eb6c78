"""One run of a task: what its handler says on its way into turns. Implements the port `Attempt`.

Theory of operation
-------------------
`emit` encodes an output and puts it on the list of drafts; the list goes to the writer as one report, and while that
report is being committed the next outputs gather. So a slow store makes larger reports, never more of them. One emit is
one event. The last report carries the end of the run, so a short run is a single turn.

Files larger than `inline_bytes` go to the artifact store before the event that names them is committed; outputs behind
such a file wait for it, so order is kept.

Handlers may live in threads: `emit` hands over to the event loop, everything else here belongs to the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from uuid import UUID

from a2a_server.codec import decode_event, decode_spec, encode_status
from a2a_server.engine.limits import Limits
from a2a_server.engine.takes import Take, Takes
from a2a_server.engine.writer import Writer
from a2a_server.errors import EngineError, Fail, LeaseLost, Retry, StoreUnavailable, TooLarge
from a2a_server.lifecycle.contents import content, weight
from a2a_server.lifecycle.runs import RESUMED, Draft, End, Report, Reported
from a2a_server.lifecycle.turn import speech
from a2a_server.model.objects import ArtifactEvent, File, Message, Part, Phase, Progress, State
from a2a_server.model.queries import RowQuery, Snapshot, Stored, Table
from a2a_server.model.rows import EventKind, StateRow, TaskRow
from a2a_server.model.runs import Chunk, LogLine, Output, Stopping, TakeView, TaskView
from a2a_server.policy import SECOND
from a2a_server.ports import ArtifactStore, TaskStore

_log = logging.getLogger("a2a_server.engine.attempt")


class RunningAttempt:
    """The attempt that holds `row` under its fence. Belongs to the event loop that made it, but for `emit`."""

    def __init__(
        self,
        row: TaskRow,
        task: TaskView,
        *,
        writer: Writer,
        store: TaskStore,
        artifacts: ArtifactStore,
        limits: Limits,
        on_lost: Callable[[Exception], None],
    ) -> None:
        self.row = row
        self.task = task
        self.stopping: Stopping | None = None
        self._writer = writer
        self._store = store
        self._artifacts = artifacts
        self._limits = limits
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._outputs: deque[tuple[Output, int]] = deque()
        self._drafts: list[Draft] = []
        self._draft_bytes = 0
        self._bytes = 0
        self._states: list[StateRow] = []
        self._object = str(UUID(bytes=row.key))
        self._takes = Takes(row.key, row.fence, limits.inline_bytes)
        self._uploading: asyncio.Task[None] | None = None
        self._reporting: asyncio.Future[Reported] | None = None
        self._flushing = False
        self._finishing = False
        self._pending = 0
        self._settled_outputs = 0
        self._moved: set[asyncio.Future[None]] = set()
        self._lost: Exception | None = None
        self._broken: Fail | Retry | None = None
        self._uploads = 0
        self._notes = 0
        self._reported_outputs = 0
        self._reported_bytes = 0

    @property
    def run(self) -> int:
        """The fence."""
        return self.row.fence

    @property
    def timeout_seconds(self) -> float:
        """How long the run may take."""
        return decode_spec(self.row.spec).timeout_seconds

    @property
    def number(self) -> int:
        """The attempt, 1 for the first."""
        return self.row.attempt + 1

    def restore(self, snapshot: Snapshot) -> None:
        """Know what earlier runs left behind."""
        events = (decode_event(chunk) for chunk in snapshot.chunks)
        self._takes.restore(snapshot.artifacts, [event for event in events if isinstance(event, ArtifactEvent)])

    def emit(self, output: Output) -> None:
        """Queue an output. Raises LeaseLost. Thread-safe."""
        if self._lost is not None or self._finishing:
            raise LeaseLost
        if threading.get_ident() == self._thread:
            self._take(output)
        else:
            self._loop.call_soon_threadsafe(self._take, output)

    async def room(self) -> None:
        """Wait until little enough is uncommitted. Raises LeaseLost."""
        limits = self._limits
        while (self._lost is None and self._broken is None) and (
            self._pending >= limits.uncommitted_events or self._bytes >= limits.uncommitted_bytes
        ):
            await self._step()
        self._check()

    async def flush(self) -> int:
        """Wait until everything emitted so far is committed; the number of the last event. Raises LeaseLost."""
        last = self._settled_outputs + self._pending
        while self._lost is None and self._broken is None and self._settled_outputs < last:
            await self._step()
        self._check()
        return self.row.last_n

    def taken(self, name: str) -> TakeView:
        """What earlier runs left of the artifact."""
        return self._takes.view(name)

    async def recall(self, space: str, name: str) -> bytes | None:
        """A value remembered for this task."""
        page = await self._store.rows(RowQuery(Table.STATE, (self.row.key, space, name), limit=1))
        for found in page.rows:
            if isinstance(found, StateRow):
                return found.body
        return None

    async def remember(self, space: str, name: str, value: bytes) -> None:
        """Keep a value for this task; durable on return. Raises LeaseLost."""
        self._check()
        self._pending += 1
        self._states.append(StateRow(self.row.key, space, name, 0, self.row.fence, value))
        self._flush_soon()
        await self.flush()

    def lose(self, error: Exception | None = None) -> None:
        """The run no longer counts: whatever it says from now on is refused. error: why, where it is not the lease."""
        if self._lost is None:
            self._lost = error or LeaseLost()
            self._outputs.clear()
            self._drafts.clear()
            self._wake()

    @property
    def lost(self) -> Exception | None:
        """Why the run no longer counts; None while it does."""
        return self._lost

    async def finish(self, end: End) -> TaskRow:
        """Commit the end with all that was said before it; nothing can be said from now on.

        Raises LeaseLost; Fail or Retry when an artifact could not be stored, and then it may be called again with the
        end that follows from it; and what the writer raises.
        """
        self._finishing = True
        self._encode()
        if self._outputs or any(self._takes.unfinished(take) for take in self._closing(end)):
            self._flush_soon()
            await self.flush()
            for take in self._closing(end):
                if self._takes.unfinished(take):
                    self._takes.close(take, None, await self._assemble(take))
        if self._reporting is not None:
            await self._settled()
        self._check()
        for take in self._closing(end):
            self._takes.close(take, None)
        reported = await self._writer.submit(self._report(end))
        self.row = reported.row
        return reported.row

    def _closing(self, end: End) -> list[Take]:
        return [] if end.kind in RESUMED else self._takes.left_open()

    def _take(self, output: Output) -> None:
        if self._lost is not None or self._finishing:
            return
        size = _size(output)
        self._pending += 1
        self._bytes += size
        self._outputs.append((output, size))
        self._flush_soon()

    def _settle(self, outputs: int, size: int) -> None:
        self._pending -= outputs
        self._settled_outputs += outputs
        self._bytes -= size

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._encode()
        if self._reporting is None and (self._drafts or self._states) and self._lost is None:
            self._reporting = self._writer.post(self._report(None))
            self._reporting.add_done_callback(self._reported)

    def _encode(self) -> None:
        while self._outputs and self._uploading is None and self._lost is None:
            output, size = self._outputs[0]
            if isinstance(output, Chunk) and any(self._is_large(part) for part in output.parts):
                self._uploading = self._loop.create_task(self._upload(output, size))
                return
            self._outputs.popleft()
            if (draft := self._draft(output)) is None:
                self._settle(1, size)
                self._wake()
                continue
            self._draft_bytes += size
            self._drafts.append(draft)

    def _draft(self, output: Output) -> Draft | None:
        if isinstance(output, Chunk):
            told = self._takes.chunk(output, len(self._drafts), self.row.status_at)
            return None if told is None else Draft(EventKind.CHUNK, told[1], told[0])
        if isinstance(output, Progress):
            self._notes += 1
            message = speech(self.row, output.note, f"{self.row.fence}.{self._notes}") if output.note else None
            return Draft(EventKind.STATUS, encode_status(State.WORKING, message, output))
        return Draft(None, journal={"level": output.level, "text": output.text})

    def _report(self, end: End | None) -> Report:
        self._encode()
        drafts, self._drafts = tuple(self._drafts), []
        states, self._states = tuple(self._states), []
        self._reported_outputs = len(drafts) + len(states)
        self._reported_bytes, self._draft_bytes = self._draft_bytes, 0
        return Report(
            self.row.key,
            self.row.fence,
            drafts,
            self._takes.drafts(),
            states,
            end,
            self._limits.retries,
            last_n=self.row.last_n,
            max_events=self._limits.max_events_per_task,
            weight=self._reported_bytes + 512,
        )

    def _reported(self, future: asyncio.Future[Reported]) -> None:
        self._reporting = None
        if (error := future.exception()) is not None:
            refused = error if isinstance(error, EngineError) else StoreUnavailable("a report failed")
            self.lose(refused)
            self._on_lost(refused)
            return
        reported = future.result()
        self.row = reported.row
        self._settle(self._reported_outputs, self._reported_bytes)
        self._takes.written(reported.takes)
        if self.row.phase is not Phase.LEASED:
            self.lose()
            self._on_lost(LeaseLost())
            return
        self._wake()
        if self._outputs or self._drafts or self._states:
            self._flush()

    async def _settled(self) -> None:
        while self._reporting is not None and self._lost is None:
            await self._step()

    async def _step(self) -> None:
        waiter = self._loop.create_future()
        self._moved.add(waiter)
        try:
            await waiter
        finally:
            self._moved.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._moved:
            if not waiter.done():
                waiter.set_result(None)

    def _check(self) -> None:
        if self._lost is not None:
            raise LeaseLost from self._lost
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken

    def _is_large(self, part: Part) -> bool:
        return isinstance(part, File) and part.raw is not None and len(part.raw) > self._limits.inline_bytes

    async def _upload(self, output: Chunk, size: int) -> None:
        try:
            parts = [await self._stored(part) if self._is_large(part) else part for part in output.parts]
        except Exception as error:  # noqa: BLE001 - whatever an artifact store raises, the run must not hang on it
            self._uploading = None
            self._settle(len(self._outputs), sum(size for _, size in self._outputs))
            self._outputs.clear()
            self._broken = self._artifact_failure(error)
            self._wake()
            return
        self._uploading = None
        if self._lost is not None:
            return
        self._outputs[0] = (replace(output, parts=tuple(parts)), size)
        self._flush()

    async def _stored(self, part: Part) -> File:
        if not isinstance(part, File) or part.raw is None:
            raise TypeError(part)
        self._uploads += 1
        name = f"{self._object}/files/{self.row.fence}/{self._uploads}"
        media_type = part.media_type or "application/octet-stream"
        stored = await self._artifacts.put(
            name, _once(part.raw), limit_bytes=self._limits.artifact_limit_bytes, media_type=media_type
        )
        return replace(part, raw=None, stored=stored.name, size=stored.size, sha256=stored.sha256)

    async def _assemble(self, take: Take) -> Stored:
        name = f"{self._object}/{take.row.id}/{self.row.fence}" + (f"/{take.reopened}" if take.reopened else "")
        limit = self._limits.artifact_limit_bytes
        try:
            return await self._artifacts.put(
                name, self._contents(take), limit_bytes=limit, media_type=take.row.media_type
            )
        except Exception as error:
            self._takes.leave(take)
            raise self._artifact_failure(error) from error

    def _artifact_failure(self, error: Exception) -> Fail | Retry:
        _log.warning("An artifact could not be stored.", exc_info=error, extra={"task": self.task.id})
        if isinstance(error, TooLarge):
            return Fail("An artifact is larger than the server keeps (artifact_limit_bytes).")
        return Retry("An artifact could not be stored.")

    async def _contents(self, take: Take) -> AsyncIterator[bytes]:
        after = take.row.first_n - 1
        while rows := await self._store.events(self.row.key, after, 256, 1 << 20):
            after = rows[-1].n
            for row in rows:
                if row.kind is EventKind.CHUNK and row.artifact == take.row.id:
                    event = decode_event(row)
                    if isinstance(event, ArtifactEvent):
                        for part in event.artifact.parts:
                            if isinstance(part, File) and part.stored:
                                async for piece in self._artifacts.read(part.stored):
                                    yield piece
                            else:
                                yield content(part) or b""


def _size(output: Output) -> int:
    """About how many bytes an output holds in memory until it is committed."""
    match output:
        case Chunk():
            return 64 + sum(weight(part) for part in output.parts)
        case LogLine():
            return 64 + len(output.text)
        case Progress():
            return 64 + len(output.note)


def view_of(row: TaskRow, history: tuple[Message, ...]) -> TaskView:
    """The task as its handler sees it. `history` oldest first; its last user message is what the run answers."""
    spec = decode_spec(row.spec)
    return TaskView(
        id=row.id,
        context_id=row.context,
        tenant=row.tenant,
        owner=row.owner,
        skill=row.skill,
        message=history[-1],
        history=history,
        parameters=dict(spec.parameters),
        metadata=spec.metadata,
        title=spec.title,
        deadline=row.deadline_at / SECOND if row.deadline_at else None,
    )


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
