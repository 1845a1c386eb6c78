"""An Attempt in memory: records what a run says, and commits it when told, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from a2a_server.errors import LeaseLost
from a2a_server.model.objects import Data, File, Json, JsonObject, Message, Part, Role, Text
from a2a_server.model.runs import Output, Stopping, TakeView, TaskView


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
        self._kept: dict[tuple[str, str], bytes] = {}

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

    async def recall(self, space: str, name: str) -> bytes | None:
        return self._kept.get((space, name))

    async def remember(self, space: str, name: str, value: bytes) -> None:
        self._kept[space, name] = value
