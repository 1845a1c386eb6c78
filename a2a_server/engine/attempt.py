"""One run of a task: what its handler says on its way into turns. Implements the port `Attempt`.

Theory of operation
-------------------
`emit` encodes an output at once and puts it on the list of drafts; the list goes to the writer as one report, and
while that report is being committed the next drafts gather. So a slow store makes larger reports, never more of them.
One emit is one event. The last report carries the end of the run, so a short run is a single turn.

Files larger than `inline_bytes` go to the artifact store before the event that names them is committed; outputs behind
such a file wait for it, not yet encoded, so order is kept.

Handlers may live in threads: `emit` hands over to the event loop, everything else here belongs to the loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from a2a_server.codec import decode_event, encode_status
from a2a_server.engine.backlog import Backlog
from a2a_server.engine.children import Family
from a2a_server.engine.limits import Limits
from a2a_server.engine.objects import Objects, any_large
from a2a_server.engine.shelves import Shelves
from a2a_server.engine.spending import spent_by
from a2a_server.engine.takes import Take, Takes
from a2a_server.engine.weights import OUTPUT_BYTES, end_bytes, output_bytes
from a2a_server.engine.writer import Writer
from a2a_server.errors import EngineError, Fail, LeaseLost, Paused, Retry, StoreUnavailable
from a2a_server.lifecycle.endings import RESUMED, End
from a2a_server.lifecycle.runs import Draft, Report, Reported
from a2a_server.lifecycle.turn import speech
from a2a_server.model.objects import ArtifactEvent, File, Message, Phase, Progress, State
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import EdgeRow, EventKind, StateRow, TaskRow
from a2a_server.model.runs import ChildResult, Chunk, Join, Output, Pause, Shelf, Stopping, TakeView, TaskView
from a2a_server.policy import RetryPolicy
from a2a_server.ports import ArtifactStore, TaskStore


class RunningAttempt:
    """The attempt that holds `row` under its fence. Belongs to the event loop that made it, but for `emit`."""

    # thousands wait at a time
    __slots__ = (
        "_artifacts", "_awaited", "_backlog", "_broken", "_children", "_draft_bytes", "_drafts", "_finishing",
        "_flushing", "_kept", "_large", "_limits", "_loop", "_lost", "_notes", "_on_lost", "_outputs",
        "_reporting", "_retries", "_spawning", "_states", "_store", "_takes", "_thread",
        "_uploading", "_writer", "paused", "row", "stopping", "task",
    )  # fmt: skip

    def __init__(
        self,
        row: TaskRow,
        task: TaskView,
        *,
        writer: Writer,
        store: TaskStore,
        artifacts: ArtifactStore,
        limits: Limits,
        retries: RetryPolicy,
        on_lost: Callable[[Exception], None],
        awaited: Callable[[TaskRow], bool],
        spawning: Callable[[TaskRow, Callable[[], None]], Family],
    ) -> None:
        self.row = row
        self.task = task
        self.stopping: Stopping | None = None
        self.paused: Pause | Join | None = None
        self._writer = writer
        self._limits = limits
        self._retries = retries
        self._on_lost = on_lost
        self._awaited = awaited
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._store = store
        self._artifacts = artifacts
        self._outputs: list[tuple[Output, int]] = []
        self._drafts: list[Draft] = []
        self._draft_bytes = 0
        self._states: list[StateRow] = []
        self._takes = Takes(row.key, row.fence, limits.inline_bytes, limits.artifact_limit_bytes)
        self._uploading: asyncio.Task[None] | None = None
        self._reporting: asyncio.Future[Reported] | None = None
        self._flushing = False
        self._finishing = False
        self._backlog = Backlog()
        self._lost: Exception | None = None
        self._broken: Fail | Retry | None = None
        self._notes = 0
        self._large: Objects | None = None
        self._kept: Shelves | None = None
        self._spawning = spawning
        self._children: Family | None = None

    @property
    def run(self) -> int:
        """The fence."""
        return self.row.fence

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
        limits, backlog = self._limits, self._backlog
        while (self._lost is None and self._broken is None) and (
            backlog.count >= limits.uncommitted_events or backlog.size >= limits.uncommitted_bytes
        ):
            await backlog.changed()
        self._check()

    async def flush(self) -> int:
        """Wait until everything emitted so far is committed; the number of the last event. Raises LeaseLost."""
        backlog = self._backlog
        last = backlog.committed + backlog.count
        while self._lost is None and self._broken is None and backlog.committed < last:
            await backlog.changed()
        self._check()
        return self.row.last_n

    def taken(self, name: str) -> TakeView:
        """What earlier runs left of the artifact."""
        return self._takes.view(name)

    @property
    def written(self) -> int:
        """About how many bytes this run has put into artifacts, what is still on its way there too."""
        return self._takes.said_bytes + sum([size for _, size in self._outputs])

    async def recall(self, space: str, name: str, shelf: Shelf = Shelf.TASK) -> bytes | None:
        """A value that was remembered; None = none."""
        return await self._shelves.recall(space, name, shelf)

    async def remember(self, space: str, name: str, value: bytes | None, shelf: Shelf = Shelf.TASK) -> None:
        """Keep a value; durable on return. Raises LeaseLost."""
        self._check()
        self._backlog.count += 1
        self._states.append(self._shelves.row(space, name, value, shelf))
        self._flush_soon()
        await self.flush()

    async def names(self, space: str, prefix: str = "", shelf: Shelf = Shelf.TASK) -> Sequence[str]:
        """The names in `space` that begin with `prefix`, in order."""
        return await self._shelves.names(space, prefix, shelf)

    async def checkpoints(self) -> Mapping[str, bytes]:
        """What earlier runs remembered as checkpoints."""
        return await self._shelves.checkpoints()

    def read(self, file: File) -> AsyncIterator[bytes]:
        """A file's bytes, piece by piece. Raises Fail at the first step when they cannot be had."""
        return self._objects.read(file)

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:
        """The id of the child that this step makes, or has made in an earlier run. Raises Fail, LeaseLost."""
        self._check()
        try:
            message = await self._objects.stored_message(message)
        except Exception as error:
            raise self._objects.failure(error) from error
        return await self._family.spawn(step, message, options)

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        """How these children stand."""
        return await self._family.states(children)

    async def results(self, children: Sequence[str]) -> Sequence[ChildResult]:
        """What became of these children."""
        return await self._family.results(children)

    async def joins(self) -> Sequence[EdgeRow]:
        """The edges by which the task follows its children, oldest child first."""
        return await self._family.joins()

    @property
    def wrote(self) -> bool:
        """Whether the task has artifacts."""
        return self._takes.any

    def pause(self, pause: Pause | Join) -> NoReturn:
        """Take note of what is waited for and leave the handler. Thread-safe. Raises Paused; LeaseLost."""
        if self._lost is not None or self._finishing:
            raise LeaseLost
        self.paused = self.paused or pause
        raise Paused

    def lose(self, error: Exception | None = None) -> None:
        """The run no longer counts: whatever it says from now on is refused. error: why, where it is not the lease."""
        if self._lost is None:
            self._lost = error or LeaseLost()
            self._outputs.clear()
            self._drafts.clear()
            self._backlog.wake()

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
        takes = self._takes
        closing = self._closing(end)
        if self._outputs or any(map(takes.unfinished, closing)):
            self._flush_soon()
            await self.flush()
            closing = self._closing(end)
            for take in closing:
                if takes.unfinished(take):
                    await self._close_large(take)
        while self._reporting is not None and self._lost is None:
            await self._backlog.changed()
        self._check()
        for take in closing:
            if not take.row.closed:
                takes.close(take, None)
        if end.message is not None or end.pause is not None:
            end = await self._objects.stored_end(end)
        self.row = (await self._writer.post(self._report(end), patient=not self._awaited(self.row))).row
        return self.row

    @property
    def _objects(self) -> Objects:
        if self._large is None:
            self._large = Objects(self.row, self._store, self._artifacts, self._limits)
        return self._large

    @property
    def _family(self) -> Family:
        if self._children is None:
            self._children = self._spawning(self.row, self._check)
        return self._children

    @property
    def _shelves(self) -> Shelves:
        if self._kept is None:
            self._kept = Shelves(self.row, self._store, retry_seconds=self._limits.poll_seconds, check=self._check)
        return self._kept

    def _closing(self, end: End) -> list[Take]:
        goes_on = end.kind in RESUMED and not (end.waiting is not None and end.waiting.returned)
        return [] if goes_on else self._takes.left_open()

    def _take(self, output: Output) -> None:
        if self._lost is not None or self._finishing:
            return
        if self._outputs or (isinstance(output, Chunk) and any_large(output.parts, self._limits.inline_bytes)):
            size = output_bytes(output)
            self._backlog.size += size
            self._outputs.append((output, size))
        else:
            self._draft(output)
        self._backlog.count += 1
        self._flush_soon()

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
        """Encode what waited for an upload, up to the next large file."""
        while self._outputs and self._uploading is None and self._lost is None:
            output, size = self._outputs[0]
            if isinstance(output, Chunk) and any_large(output.parts, self._limits.inline_bytes):
                self._uploading = self._loop.create_task(self._upload(output, size))
                return
            del self._outputs[0]
            self._backlog.size -= size
            self._draft(output)

    def _draft(self, output: Output) -> None:
        if isinstance(output, Chunk):
            draft = self._takes.chunk(output, len(self._drafts), self.row.status_at)
            if draft is None:
                self._backlog.settle(1, 0)
                self._backlog.wake()
                return
            if any(isinstance(part, File) and part.stored for part in output.parts):
                self._states += (kept := self._objects.passed_on(output.parts))
                self._backlog.count += len(kept)
        elif isinstance(output, Progress):
            self._notes += 1
            message = speech(self.row, output.note, f"{self.row.fence}.{self._notes}") if output.note else None
            draft = Draft(EventKind.STATUS, encode_status(State.WORKING, message, output))
        else:
            draft = Draft(None, journal={"level": output.level, "text": output.text})
        size = OUTPUT_BYTES + len(draft.body) if draft.journal is None else output_bytes(output)
        self._backlog.size += size
        self._draft_bytes += size
        self._drafts.append(draft)

    def _report(self, end: End | None) -> Report:
        drafts, self._drafts = tuple(self._drafts), []
        states, self._states = tuple(self._states), []
        self._backlog.reported, self._draft_bytes = (len(drafts) + len(states), self._draft_bytes), 0
        if end is not None:
            states += spent_by(self.row, self._takes, end)
        return Report(
            self.row.key,
            self.row.fence,
            drafts,
            self._takes.drafts(),
            states,
            end,
            self._retries,
            last_n=self.row.last_n,
            max_events=self._limits.max_events_per_task,
            weight=self._backlog.reported[1]
            + sum([len(state.body) for state in states])
            + (end_bytes(end) if end else 0)
            + 512,
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
        self._backlog.settle(*self._backlog.reported)
        self._takes.written(reported.takes)
        if self.row.phase is not Phase.LEASED:
            self.lose()
            self._on_lost(LeaseLost())
            return
        self._backlog.wake()
        if self._outputs or self._drafts or self._states:
            self._flush()

    def _check(self) -> None:
        if self._lost is not None:
            raise LeaseLost from self._lost
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken

    async def _upload(self, output: Chunk, size: int) -> None:
        try:
            parts = [await self._objects.stored(part) for part in output.parts]
        except Exception as error:  # noqa: BLE001 - whatever an artifact store raises, the run must not hang on it
            self._uploading = None
            self._backlog.settle(len(self._outputs), sum(size for _, size in self._outputs))
            self._outputs.clear()
            self._broken = self._objects.failure(error)
            self._backlog.wake()
            return
        self._uploading = None
        if self._lost is not None:
            return
        self._outputs[0] = (replace(output, parts=tuple(parts)), size)
        self._flush()

    async def _close_large(self, take: Take) -> None:
        try:
            stored = await self._objects.assembled(take)
        except Exception as error:
            self._takes.leave(take)
            raise self._objects.failure(error) from error
        self._takes.close(take, None, stored)
