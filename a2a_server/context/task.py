"""The run of a task as async skills have it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, overload

from a2a_server.agent.values import progress_of
from a2a_server.context.asking import Answer, question_of, sign_in
from a2a_server.context.family import TaskHandle, Until, spawn_options
from a2a_server.context.remembering import J, Memory, P, callable_of, checked, packed, unpacked
from a2a_server.context.view import READ_BYTES, View, line, too_long
from a2a_server.context.waiting import Pending, plainly
from a2a_server.context.writers import PLAIN, ArtifactWriter
from a2a_server.model.objects import File, Json, Message, Part, Progress
from a2a_server.model.runs import CHECKPOINT, ChildResult, Want


class TaskContext(View):
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
        self, name: str, media_type: str = PLAIN, *, resume: bool = False, description: str = ""
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
        self._attempt.emit(line(level, text))
        return Pending(self._attempt)

    async def ask(self, question: str | Message | Sequence[Part], name: str = "") -> Answer:
        """Ask whoever sent the task, and give back the answer: a `str` with `message`, `data` and `files`.

        The run ends here, and the task waits without a slot. The answer starts the handler anew, from its beginning;
        then this call returns. So ask the same things in the same order in every run, and put work that must not be
        done twice into `step`; likewise what a question is made of and may change, as time, chance and memory do.

        Args:
            question: a text, a message, or its parts.
            name: tells questions apart whose order may change; default: their position.

        Raises:
            Paused: the question is asked; let it pass. `finally` blocks run.
            Fail: another question than before was asked at this place.
            LeaseLost: the run lost its task.
        """
        return await self._questions.ask(Want.INPUT, question_of(question), name)

    async def need_auth(self, url: str, scope: str = "", name: str = "") -> Answer:
        """Ask for authentication, as `ask` asks for input; the client answers when it is done.

        Credentials do not belong into the answer: they go where `url` says.

        Args:
            url: where to authenticate.
            scope: what is asked for, in the words of that place.
            name: as in `ask`.

        Raises:
            Paused, Fail, LeaseLost: as `ask`.
        """
        return await self._questions.ask(Want.AUTH, sign_in(url, scope), name)

    async def spawn(
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
        """Have a part of this task done by a task of its own: same owner, same conversation.

        It is made once, however often this task runs: the same place in the handler gives the same child in every run.
        It is canceled with this task.

        Args:
            message: what the child is told: a text, a message, or its parts.
            skill: that does it; default: this task's own.
            parameters: of the skill, by name.
            priority: critical, high, normal, low, backlog, or 1 to 5; default: the skill's.
            tags: labels of the child.
            title: of the child, for people.
            depends_on: children that must have completed before it starts.
            name: tells spawns apart whose order may change; default: their position.
            options: most other task options, in their Python spelling: `delay_seconds`, `on_dependency_failure`, …

        Raises:
            Fail: an option breaks its rule, or the message cannot be sent.
            LeaseLost: the run lost its task.
        """
        options |= spawn_options(skill, parameters, priority, tags, title)
        return await self._family.spawn(message, name, depends_on, options)

    async def join(self, *handles: TaskHandle, until: Until = "all", name: str = "") -> list[ChildResult]:
        """Wait until tasks that this one spawned have ended, well or not, and give back what became of them.

        The run ends here, and the task waits without a slot and without counting at any limit. When enough of them have
        ended, the handler starts anew, from its beginning, and then this call returns. So spawn and join the same
        things in the same order in every run, and put work that must not be done twice into `step`.

        Args:
            handles: what `spawn` gave.
            until: "all", "any", or how many of them must have ended.
            name: tells joins apart whose order may change; default: their position.

        Returns:
            Those that have ended, in the order of the handles; of "any" or a number maybe more than that, but in
            every run the same. Look at `completed` or `state`: a join does not fail because a child did.

        Raises:
            Paused: they have not ended yet; let it pass. `finally` blocks run.
            Fail: other tasks than before were joined at this place.
            LeaseLost: the run lost its task.
        """
        return await self._family.join(handles, until, name)

    @overload
    async def step(self, name: str, function: Callable[P, Awaitable[J]], /, *args: P.args, **kwargs: P.kwargs) -> J: ...

    @overload
    async def step(self, name: str, function: Callable[P, J], /, *args: P.args, **kwargs: P.kwargs) -> J: ...

    @overload
    async def step(self, name: str, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> Json: ...

    async def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call the function once for the whole task: later runs get the remembered result.

        It is recorded once and executed at least once: a worker that dies between the two has it executed again. What
        the function asks and steps belongs to the step.

        Args:
            name: of the step; a name used several times in a run counts on, so give steps that run side by side names
                of their own.
            function: async, or plain (then it runs in a thread).
            args: given to the function.
            kwargs: given to the function.

        Returns:
            The result as JSON, also in the first run: models and dataclasses come as objects. Up to 256 KiB.

        Raises:
            TypeError: what was given is no function, but for example what calling it gave.
            Fail: the name or the result cannot be remembered.
            LeaseLost: the run lost its task.
            BaseException: what the function raises; nothing is remembered then.
        """
        function = callable_of(name, function)
        found = await self._steps.begin(name)
        if found.kept is None:
            with self._steps.inside(found):
                if inspect.iscoroutinefunction(function):
                    result = await function(*args, **kwargs)
                else:
                    result = await asyncio.to_thread(plainly, function, *args, **kwargs)
                if inspect.isawaitable(result):
                    result = await result
            found = await self._steps.end(found, result)
        return found.value

    async def checkpoint(self, name: str, value: object) -> None:
        """Keep a value for later runs of this task, in `checkpoints`; kept when this returns.

        Raises:
            Fail: the name or the value cannot be kept.
            LeaseLost: the run lost its task.
        """
        body = packed(f'checkpoint "{name}"', value)
        await self._attempt.remember(CHECKPOINT, checked(name), body)
        self._checkpoints[name] = unpacked(body)

    @property
    def memory(self) -> Memory:
        """Values shared by the tasks of this conversation; `memory.owner` by all tasks of who sent it."""
        return Memory(self._attempt)

    def open(self, file: File) -> AsyncIterator[bytes]:
        """A file's bytes, piece by piece, however large it is.

        Raises:
            Fail: at the first step, for a file that is only an address elsewhere, or is not stored any more.
        """
        return self._attempt.read(file)

    async def read(self, file: File, limit_bytes: int = READ_BYTES) -> bytes:
        """A file's bytes at once.

        Raises:
            Fail: they are more than `limit_bytes`, or as `open`.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self._attempt.read(file):
            size += len(piece)
            if size > limit_bytes:
                raise too_long(file, limit_bytes)
            pieces.append(piece)
        return b"".join(pieces)
