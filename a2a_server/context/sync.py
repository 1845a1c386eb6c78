"""The run of a task as plain skills have it, in a thread of their own: the verbs of `TaskContext`, blocking."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, overload

from a2a_server.agent.values import progress_of
from a2a_server.context.asking import Answer
from a2a_server.context.family import TaskHandle, Until, spawn_options
from a2a_server.context.places import Places
from a2a_server.context.remembering import J, Memory, P, callable_of
from a2a_server.context.task import TaskContext
from a2a_server.context.view import READ_BYTES, View, line
from a2a_server.context.waiting import wait_for_room, waited
from a2a_server.context.writers import PLAIN, SyncArtifactWriter
from a2a_server.model.objects import File, Json, Message, Part, Progress
from a2a_server.model.runs import ChildResult
from a2a_server.running import Attempt


class SyncTask(View):
    """The run of a task, for plain functions: what `TaskContext` can do, blocking.

    Concurrency: made for the run's own thread, never for the event loop's.
    """

    threaded: ClassVar[bool] = True

    def __init__(
        self,
        attempt: Attempt,
        loop: asyncio.AbstractEventLoop,
        resources: object = None,
        places: Places | None = None,
        checkpoints: Mapping[str, bytes] | None = None,
    ) -> None:
        places = places or Places()
        super().__init__(attempt, resources, places, checkpoints)
        self._task = TaskContext(attempt, resources, places, checkpoints)
        self._loop = loop

    def progress(
        self, fraction: float | None = None, note: str = "", *, done: float | None = None, total: float | None = None
    ) -> None:
        """As `TaskContext.progress`."""
        self._attempt.emit(progress_of(Progress(fraction, done, total, note)))
        wait_for_room(self._attempt, self._loop)

    def artifact(
        self, name: str, media_type: str = PLAIN, *, resume: bool = False, description: str = ""
    ) -> SyncArtifactWriter:
        """As `TaskContext.artifact`."""
        return SyncArtifactWriter(
            self._attempt, name, media_type, resume=resume, description=description, loop=self._loop
        )

    def log(self, level: str, text: str) -> None:
        """As `TaskContext.log`."""
        self._attempt.emit(line(level, text))
        wait_for_room(self._attempt, self._loop)

    def ask(self, question: str | Message | Sequence[Part], name: str = "") -> Answer:
        """As `TaskContext.ask`."""
        return waited(self._task.ask(question, name), self._loop)

    def need_auth(self, url: str, scope: str = "", name: str = "") -> Answer:
        """As `TaskContext.need_auth`."""
        return waited(self._task.need_auth(url, scope, name), self._loop)

    def spawn(
        self,
        message: str | Message | Sequence[Part],
        *,
        skill: str = "",
        parameters: Mapping[str, Json] | None = None,
        priority: str | int | None = None,
        tags: Sequence[str] = (),
        title: str = "",
        depends_on: Sequence[TaskHandle] = (),
        name: str = "",
        **options: Any,  # noqa: ANN401 - any task option
    ) -> TaskHandle:
        """As `TaskContext.spawn`."""
        options |= spawn_options(skill, parameters, priority, tags, title)
        return waited(self._family.spawn(message, name, depends_on, options), self._loop)

    def join(self, *handles: TaskHandle, until: Until = "all", name: str = "") -> list[ChildResult]:
        """As `TaskContext.join`."""
        return waited(self._family.join(handles, until, name), self._loop)

    @overload
    def step(self, name: str, function: Callable[P, J], /, *args: P.args, **kwargs: P.kwargs) -> J: ...

    @overload
    def step(self, name: str, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Json: ...

    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `TaskContext.step`; the function is plain, and called in this thread.

        Raises:
            ValueError: the function is async.
            TypeError, Fail, LeaseLost: as there.
        """
        function = callable_of(name, function)
        if inspect.iscoroutinefunction(function):
            raise ValueError(f'step "{name}": an async function cannot be called from a plain skill; write it plain')
        found = waited(self._steps.begin(name), self._loop)
        if found.kept is None:
            with self._steps.inside(found):
                result = function(*args, **kwargs)
            found = waited(self._steps.end(found, result), self._loop)
        return found.value

    def checkpoint(self, name: str, value: object) -> None:
        """As `TaskContext.checkpoint`."""
        waited(self._task.checkpoint(name, value), self._loop)
        self._checkpoints[name] = self._task.checkpoints[name]

    @property
    def memory(self) -> SyncMemory:
        """As `TaskContext.memory`."""
        return SyncMemory(self._task.memory, self._loop)

    def open(self, file: File) -> Iterator[bytes]:
        """As `TaskContext.open`."""
        pieces = self._task.open(file)

        async def following() -> bytes | None:
            return await anext(pieces, None)

        while (piece := waited(following(), self._loop)) is not None:
            yield piece

    def read(self, file: File, limit_bytes: int = READ_BYTES) -> bytes:
        """As `TaskContext.read`."""
        return waited(self._task.read(file, limit_bytes), self._loop)


class SyncMemory:
    """As `Memory`, for threads."""

    def __init__(self, memory: Memory, loop: asyncio.AbstractEventLoop) -> None:
        self._memory = memory
        self._loop = loop

    @property
    def owner(self) -> SyncMemory:
        """As `Memory.owner`."""
        return SyncMemory(self._memory.owner, self._loop)

    def get(self, name: str, default: Json = None) -> Json:
        """As `Memory.get`."""
        return waited(self._memory.get(name, default), self._loop)

    def set(self, name: str, value: object) -> None:
        """As `Memory.set`."""
        waited(self._memory.set(name, value), self._loop)

    def delete(self, name: str) -> None:
        """As `Memory.delete`."""
        waited(self._memory.delete(name), self._loop)

    def names(self, prefix: str = "") -> Sequence[str]:
        """As `Memory.names`."""
        return waited(self._memory.names(prefix), self._loop)
