"""Runs the skills of an `Agent`: binds the parameters, calls the function, and emits what it yields and returns.

Theory of operation: async skills run on the event loop, plain ones in a thread of the runner's own, generators of
either kind are driven to their end here, one output for each yield. A coroutine that is canceled gets CancelledError.
A thread cannot be interrupted: it sees `task.stopping`, a generator in a thread is closed behind its next yield, and
`run` returns only when the thread has, so whoever counts threads by runs counts right. What a thread returns after
that is dropped. A second cancellation gives the thread up.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

from a2a_server.agent import Agent, Skill
from a2a_server.agents.outputs import Outputs
from a2a_server.context import SyncTask, TaskContext, wait_for_room
from a2a_server.errors import Fail
from a2a_server.model.runs import Completed, SkillSpec
from a2a_server.ports import Attempt

THREADS = 32


class SkillRunner:
    """An agent made of functions, as the engine runs it.

    Args:
        agent: whose skills are run; skills registered later are not seen.
        threads: plain skills at the same time.

    Raises:
        ConfigurationError: the agent has no skills, or its card names others.
    """

    def __init__(self, agent: Agent, *, threads: int = THREADS) -> None:
        agent.check()
        self._specs = agent.specs
        self._skills = {skill.spec.id: skill for skill in agent.skills}
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="a2a-skill")

    @property
    def skills(self) -> Sequence[SkillSpec]:
        """Its skills, in the order of registration; exactly one is marked default."""
        return self._specs

    async def run(self, attempt: Attempt) -> Completed:
        """Run the skill `attempt.task.skill` to its end.

        Raises:
            Reject: a parameter is missing or wrong, or the skill says so.
            Fail: the skill says so, gave something that cannot be sent, or does not exist here.
            Retry, CancelledError, LeaseLost, or anything else that the skill raises.
        """
        skill = self._skills.get(attempt.task.skill)
        if skill is None:
            raise Fail(f'This agent has no skill "{attempt.task.skill}" any more.')
        outputs = Outputs(attempt)
        try:
            if skill.spec.threaded:
                await self._in_thread(skill, attempt, outputs)
            else:
                await _on_loop(skill, attempt, outputs)
        except SystemExit as error:
            raise Fail("The skill tried to end the server's process.") from error
        return outputs.completed

    def close(self) -> None:
        """Take no more runs; threads that still work are left to end by themselves. May be called twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, skill: Skill, attempt: Attempt, outputs: Outputs) -> None:
        loop = asyncio.get_running_loop()
        arguments = skill.binding.bind(attempt.task, SyncTask(attempt, loop))
        stop = threading.Event()

        def work() -> None:
            try:
                if skill.streams:
                    _drive(skill.function(**arguments), outputs, stop, lambda: wait_for_room(attempt, loop))
                else:
                    result = skill.function(**arguments)
                    if not stop.is_set():
                        outputs.returned(result)
            except StopIteration as error:  # no future can carry it
                raise RuntimeError("the skill raised StopIteration") from error

        await _finished(self._threads.submit(contextvars.copy_context().run, work), stop)


async def _on_loop(skill: Skill, attempt: Attempt, outputs: Outputs) -> None:
    arguments = skill.binding.bind(attempt.task, TaskContext(attempt))
    if not skill.streams:
        outputs.returned(await skill.function(**arguments))
        return
    stream: AsyncGenerator[object, None] = skill.function(**arguments)
    async with aclosing(stream):
        async for item in stream:
            outputs.yielded(item)
            await attempt.room()


def _drive(
    stream: Generator[object, None, object], outputs: Outputs, stop: threading.Event, room: Callable[[], None]
) -> None:
    with closing(stream):
        while not stop.is_set():
            try:
                item = next(stream)
            except StopIteration as end:
                if not stop.is_set():
                    outputs.returned(end.value)
                return
            outputs.yielded(item)
            room()


async def _finished(future: Future[Any], stop: threading.Event) -> None:
    waiting = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiting])
    except asyncio.CancelledError:
        stop.set()
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, and of no account
        if not future.cancel():
            await asyncio.wait([waiting])
        raise
    waiting.result()
