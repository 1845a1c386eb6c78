"""An Attempt in memory: records what a run says, and commits it when told, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from a2a_server.errors import Fail, LeaseLost, Paused
from a2a_server.lifecycle.contents import content_bytes
from a2a_server.model.objects import Data, File, Json, JsonObject, Message, Part, Role, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.runs import (
    ASKED,
    CHECKPOINT,
    JOINED,
    ChildResult,
    Chunk,
    Join,
    Output,
    Pause,
    Shelf,
    Stopping,
    TakeView,
    TaskView,
)


def task_of(
    text: str | None = None,
    *,
    data: Json = None,
    files: tuple[File, ...] = (),
    parameters: dict[str, Json] | None = None,
    skill: str = "",
    metadata: JsonObject | None = None,
) -> TaskView:
    parts: list[Part] = [] if text is None else [Text(text)]
    parts += [] if data is None else [Data(data)]
    message = Message(Role.USER, (*parts, *files), id="m-1", context_id="c-1", task_id="t-1")
    return TaskView(
        id="t-1",
        context_id="c-1",
        tenant="",
        owner="local",
        skill=skill,
        message=message,
        history=(message,),
        parameters=parameters or {},
        metadata=metadata,
    )


class RecordingAttempt:
    """Implements ports.Attempt.

    limit: uncommitted outputs from which on `room` waits for `commit`; None = everything is committed at once.
    """

    def __init__(
        self,
        task: TaskView,
        *,
        run: int = 1,
        number: int = 1,
        takes: Mapping[str, TakeView] | None = None,
        limit: int | None = None,
    ) -> None:
        self.task = task
        self.run = run
        self.number = number
        self.stopping: Stopping | None = None
        self.lost = False
        self.outputs: list[Output] = []
        self.committed = 0
        self.emitted = asyncio.Event()
        self._takes = takes or {}
        self._limit = limit
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()
        self.kept: dict[tuple[Shelf, str, str], bytes] = {}
        self.paused: Pause | None = None
        self.joining: Join | None = None
        self.spawned: dict[str, tuple[Message, TaskOptions]] = {}
        self.ended: dict[str, ChildResult] = {}

    def emit(self, output: Output) -> None:
        if self.lost:
            raise LeaseLost
        self.outputs.append(output)
        self._loop.call_soon_threadsafe(self.emitted.set)

    async def commit(self) -> None:
        async with self._changed:
            self.committed = len(self.outputs)
            self._changed.notify_all()

    async def lose(self) -> None:
        async with self._changed:
            self.lost = True
            self._changed.notify_all()

    async def room(self) -> None:
        if self._limit is None:
            await self.commit()
        limit = self._limit or 1
        async with self._changed:
            await self._changed.wait_for(lambda: self.lost or len(self.outputs) - self.committed < limit)
        if self.lost:
            raise LeaseLost

    async def flush(self) -> int:
        if self._limit is None:
            await self.commit()
        target = len(self.outputs)
        async with self._changed:
            await self._changed.wait_for(lambda: self.lost or self.committed >= target)
        if self.lost:
            raise LeaseLost
        return self.committed

    def taken(self, name: str) -> TakeView:
        return self._takes.get(name, TakeView())

    @property
    def written(self) -> int:
        return sum(content_bytes(part) for one in self.outputs if isinstance(one, Chunk) for part in one.parts)

    async def recall(self, space: str, name: str, shelf: Shelf = Shelf.TASK) -> bytes | None:
        return self.kept.get((shelf, space, name))

    async def remember(self, space: str, name: str, value: bytes | None, shelf: Shelf = Shelf.TASK) -> None:
        if self.lost:
            raise LeaseLost
        self.kept.pop((shelf, space, name), None)
        if value is not None:
            self.kept[shelf, space, name] = value

    async def names(self, space: str, prefix: str = "", shelf: Shelf = Shelf.TASK) -> Sequence[str]:
        found = [name for where, inside, name in self.kept if (where, inside) == (shelf, space)]
        return sorted(name for name in found if name.startswith(prefix))

    async def read(self, file: File) -> AsyncIterator[bytes]:
        if file.raw is None:
            raise Fail("not here")
        for start in range(0, len(file.raw), 4):
            yield file.raw[start : start + 4]

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:
        if self.lost:
            raise LeaseLost
        self.spawned.setdefault(step, (message, options))
        return step

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        return [self.ended[child].state if child in self.ended else State.WORKING for child in children]

    async def results(self, children: Sequence[str]) -> Sequence[ChildResult]:
        return [self.ended[child] for child in children]

    def pause(self, pause: Pause | Join) -> NoReturn:
        if isinstance(pause, Join):
            self.joining = pause
            self.kept[Shelf.TASK, JOINED, pause.name] = pause.note
        elif self.paused is None:
            self.paused = pause
            self.kept[Shelf.TASK, ASKED, pause.name] = pause.note
        raise Paused

    def answered(self, *parts: Part) -> RecordingAttempt:
        """The next run, which the answer to the question started."""
        assert self.paused is not None
        asked = replace(self.paused.message, role=Role.AGENT)
        answer = Message(Role.USER, parts, id=f"m-{len(self.task.history)}")
        kept = {name: body for (_, space, name), body in self.kept.items() if space == CHECKPOINT}
        task = replace(self.task, history=(*self.task.history, asked, answer), checkpoints=kept)
        again = RecordingAttempt(task, run=self.run + 1, number=self.number)
        again.kept = dict(self.kept)
        return again
