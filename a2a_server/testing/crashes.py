"""Workers that die at a chosen event of a task, as in a killed process.

Theory of operation: a crash stands behind an event of a task. Every run is watched through the port `Attempt`: what the
skill says passes on to the engine until that event, and nothing of that run passes afterwards. Once the event is
committed the worker is dropped as in a killed process, and its successor finds the task orphaned. Skills run in this
process, so what a killed process would not do, they still do: `finally` blocks, and threads until their next verb.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from a2a_server.engine.engine import Engine
from a2a_server.errors import Draining, LeaseLost, Paused
from a2a_server.model.objects import File, Message, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.runs import (
    ChildResult,
    Chunk,
    Completed,
    Happening,
    Join,
    LogLine,
    Output,
    Pause,
    Shelf,
    SkillSpec,
    Stopping,
    TakeView,
    TaskView,
)
from a2a_server.running import AgentRunner, Attempt


@dataclass(slots=True, eq=False)
class _Crash:
    at_event: int
    task_id: str | None
    taken_over: asyncio.Future[None]
    dead: asyncio.Event = field(default_factory=asyncio.Event)


class Crashes:
    """Runs the agent through `runner`, and kills the worker behind the events that were named."""

    engine: Engine

    def __init__(self, runner: AgentRunner) -> None:
        self._runner = runner
        self._armed: list[_Crash] = []
        self._crashing: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    @property
    def skills(self) -> Sequence[SkillSpec]:
        """The agent's."""
        return self._runner.skills

    @property
    def listens_for(self) -> frozenset[State]:
        """The agent's."""
        return self._runner.listens_for

    async def open(self) -> None:
        """The agent's."""
        await self._runner.open()

    async def roll_back(self, attempt: Attempt, reason: str) -> None:
        """The agent's."""
        await self._runner.roll_back(attempt, reason)

    async def tell(self, happening: Happening) -> None:
        """The agent's."""
        await self._runner.tell(happening)

    async def close(self) -> None:
        """The agent's."""
        await self._runner.close()

    async def run(self, attempt: Attempt) -> Completed:
        """Run the skill until its end or its worker's."""
        watched = _Watched(attempt, await attempt.flush(), self)
        try:
            await watched.pass_on()
            completed = await self._runner.run(watched)
        except LeaseLost:
            raise
        except (Exception, Paused):
            await watched.end()
            raise
        await watched.end()
        return completed

    def arm(self, at_event: int | None, task_id: str | None) -> Awaitable[None]:
        """Name a crash (None = now); what comes back is done when another worker has taken over."""
        crash = _Crash(at_event or 0, task_id, self._loop.create_future())
        if at_event is None:
            self._begin(crash, partial(asyncio.sleep, 0))
        else:
            self._armed.append(crash)
        return crash.taken_over

    def due(
        self, task_id: str, n: int, committed: Callable[[], Awaitable[object]] | None = None, *, behind: bool = False
    ) -> _Crash | None:
        """The crash that event `n` of the task (behind: or an earlier one) sets off; any thread may ask.

        committed: waits for that event; default: the task's log is watched.
        """
        for crash in self._armed:
            if crash.task_id in {None, task_id} and (crash.at_event == n or (behind and crash.at_event < n)):
                self._armed.remove(crash)
                self._loop.call_soon_threadsafe(self._begin, crash, committed or partial(self._logged, task_id, n))
                return crash
        return None

    def forget(self) -> None:
        """Forget every crash that has not come about."""
        for task in self._crashing:
            task.cancel()
        for crash in self._armed:
            crash.taken_over.cancel()

    def _begin(self, crash: _Crash, committed: Callable[[], Awaitable[object]]) -> None:
        task = self._loop.create_task(self._carry_out(crash, committed))
        self._crashing.add(task)
        task.add_done_callback(self._crashing.discard)

    async def _carry_out(self, crash: _Crash, committed: Callable[[], Awaitable[object]]) -> None:
        try:
            with suppress(LeaseLost):
                await committed()
            async with self._one_at_a_time:
                await self.engine.replace_worker()
        except Draining:
            crash.taken_over.cancel()
        else:
            if not crash.taken_over.done():
                crash.taken_over.set_result(None)
        finally:
            crash.dead.set()

    async def _logged(self, task_id: str, n: int) -> None:
        store, agent = self.engine.backends.store, self.engine.agent
        row = await store.find(Scope(), agent, task_id)
        if row is not None:
            with self.engine.hub.watch(row.key) as watch:
                watch.learn(await store.find(Scope(), agent, task_id) or row)
                while watch.last_n < n:
                    await watch.moved()


class _Watched:
    """A run as its skill sees it. Passes everything on, until the event that a crash stands behind."""

    def __init__(self, attempt: Attempt, last_n: int, crashes: Crashes) -> None:
        self._attempt = attempt
        self._n = last_n
        self._crashes = crashes
        self._lock = threading.Lock()
        self._texts: dict[str, bool] = {}
        self._crash = crashes.due(attempt.task.id, last_n, behind=True)

    @property
    def task(self) -> TaskView:
        return self._attempt.task

    @property
    def run(self) -> int:
        return self._attempt.run

    @property
    def number(self) -> int:
        return self._attempt.number

    @property
    def stopping(self) -> Stopping | None:
        return self._attempt.stopping

    def emit(self, output: Output) -> None:
        with self._lock:
            if self._crash is None:
                self._attempt.emit(output)
                if self._makes_an_event(output):
                    self._n += 1
                    self._crash = self._crashes.due(self.task.id, self._n, self._attempt.flush)
            elif self._crash.dead.is_set():
                raise LeaseLost

    def _makes_an_event(self, output: Output) -> bool:
        """As engine.takes has it: closing an artifact without another part is told only of text that this run wrote."""
        if not isinstance(output, Chunk):
            return not isinstance(output, LogLine)
        if output.parts:
            self._texts.setdefault(output.name, isinstance(output.parts[0], Text))
        told = bool(output.parts) or self._texts.get(output.name, False)
        if output.last:
            self._texts[output.name] = False
        return told

    async def room(self) -> None:
        await self.pass_on()
        await self._attempt.room()

    async def flush(self) -> int:
        await self.pass_on()
        return await self._attempt.flush()

    def taken(self, name: str) -> TakeView:
        return self._attempt.taken(name)

    @property
    def written(self) -> int:
        return self._attempt.written

    async def recall(self, space: str, name: str, shelf: Shelf = Shelf.TASK) -> bytes | None:
        await self.pass_on()
        return await self._attempt.recall(space, name, shelf)

    async def remember(self, space: str, name: str, value: bytes | None, shelf: Shelf = Shelf.TASK) -> None:
        await self.pass_on()
        await self._attempt.remember(space, name, value, shelf)

    async def names(self, space: str, prefix: str = "", shelf: Shelf = Shelf.TASK) -> Sequence[str]:
        await self.pass_on()
        return await self._attempt.names(space, prefix, shelf)

    def read(self, file: File) -> AsyncIterator[bytes]:
        return self._attempt.read(file)

    async def spawn(self, step: str, message: Message, options: TaskOptions) -> str:
        await self.pass_on()
        return await self._attempt.spawn(step, message, options)

    async def states(self, children: Sequence[str]) -> Sequence[State]:
        await self.pass_on()
        return await self._attempt.states(children)

    async def results(self, children: Sequence[str]) -> Sequence[ChildResult]:
        await self.pass_on()
        return await self._attempt.results(children)

    def pause(self, pause: Pause | Join) -> NoReturn:
        if self._crash is not None:
            raise LeaseLost
        self._attempt.pause(pause)

    async def pass_on(self) -> None:
        """Return while the run may go on; behind its last event wait for the death. Raises LeaseLost."""
        if self._crash is not None:
            await self._crash.dead.wait()
            raise LeaseLost

    async def end(self) -> None:
        """The skill has ended: its last event, which the engine writes, may be the one."""
        await self.pass_on()
        self._crashes.due(self.task.id, self._n + 1)
