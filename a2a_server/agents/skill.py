"""Runs the skills of an `Agent`: fills the parameters, calls the function and its hooks, emits what it gives.

Theory of operation: async skills run on the event loop, plain ones in a thread of the runner's own, generators of
either kind are driven to their end here, one output for each yield. A coroutine that is canceled gets CancelledError.
A thread cannot be interrupted: it sees `task.stopping`, a generator in a thread is closed behind its next yield, and
`run` returns only when the thread has, so whoever counts threads by runs counts right. What a thread returns after
that is dropped. A second cancellation gives the thread up.

Hooks run like skills, async ones on the loop and plain ones in a thread; what they ask and step is kept apart from
what the skill does. Plain roll-backs and listeners hold no slot: each gets a thread of its own (`owned`), which is left
behind when their time is over. That `validate` said yes is remembered, so that later runs do not ask it again.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from typing import Any, Final

from a2a_server.agent import Agent, Hook, Skill, Unbound
from a2a_server.agent.hooks import ResultCheck
from a2a_server.agent.inspection import name_of
from a2a_server.agents.outputs import Outputs
from a2a_server.agents.owned import in_own_thread
from a2a_server.agents.parameters import filled
from a2a_server.agents.raised import contained, decisive
from a2a_server.codec import encode
from a2a_server.context import Places, SyncTask, TaskContext, metering, wait_for_room
from a2a_server.context.asking import heard_of
from a2a_server.context.waiting import plainly
from a2a_server.errors import Fail, NotOpened, Reject
from a2a_server.lifecycle.criteria import unpassed
from a2a_server.model.objects import State
from a2a_server.model.runs import CHECKPOINT, CHECKS, Checked, Completed, Happening, SkillSpec
from a2a_server.running import Attempt

THREADS = 32

LONGEST_MESSAGE: Final = 4000
"""Characters that are kept of why a check says no."""
HOOKS: Final = "hook"
"""The space of a task's state that holds what its hooks said."""


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
        self._listeners = agent.listeners
        self._listens_for = frozenset[State]().union(*(listener.states for listener in self._listeners))
        self._opens = agent.opens
        self._opened = AsyncExitStack()
        self._resources: object = None
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="a2a-skill")

    @property
    def skills(self) -> Sequence[SkillSpec]:
        """Its skills, in the order of registration; exactly one is marked default."""
        return self._specs

    @property
    def listens_for(self) -> frozenset[State]:
        """States that the agent wants to hear of."""
        return self._listens_for

    async def open(self) -> None:
        """Open the agent's resources.

        Raises:
            NotOpened: its lifespan raised.
        """
        if self._opens is None:
            return
        try:
            self._resources = await self._opened.enter_async_context(self._opens())
        except Exception as error:
            cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise NotOpened(f"The agent's lifespan could not open its resources ({cause}).") from error

    async def run(self, attempt: Attempt) -> Completed:
        """Run the skill `attempt.task.skill` to its end.

        Raises:
            Reject: a parameter is wrong, or the skill or its `validate` says so.
            Fail: the skill or its `validate_result` says so, gave something that cannot be sent, or does not exist.
            Paused: a parameter is missing, or the skill asks.
            Retry, CancelledError, LeaseLost, or anything else that the skill raises.
        """
        skill = self._skills.get(attempt.task.skill)
        if skill is None:
            raise Fail(f'This agent has no skill "{attempt.task.skill}" any more.')
        call = _Call(self, skill, attempt)
        try:
            await call.run()
        except SystemExit as error:
            raise Fail("The skill tried to end the server's process.") from error
        except BaseExceptionGroup as group:
            raise decisive(group) from group
        return call.outputs.completed

    async def roll_back(self, attempt: Attempt, reason: str) -> None:
        """Call the skill's `rollback`; nothing where it has none, or where the skill never had its parameters."""
        skill = self._skills.get(attempt.task.skill)
        hook = skill.hooks.rollback if skill is not None else None
        if skill is not None and hook is not None:
            async with contained("a roll-back"):
                await _Call(self, skill, attempt).undo(hook, reason)

    async def tell(self, happening: Happening) -> None:
        """Call everybody who listens for the state, in the order of registration. Raises what they raise."""
        for listener in self._listeners:
            if happening.state in listener.states:
                async with contained("a listener"):
                    if listener.threaded:
                        await in_own_thread(partial(listener.function, happening))
                    else:
                        await listener.function(happening)

    async def close(self) -> None:
        """Close the agent's resources, and take no more runs; threads that still work are left to end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._opened.aclose()

    @property
    def resources(self) -> object:
        """What the agent's lifespan yielded."""
        return self._resources

    async def in_thread(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, object],
        *args: object,
        stop: threading.Event | None = None,
    ) -> Any:  # noqa: ANN401 - the function's own
        """What the function gives, called in a thread. stop: set when the caller is canceled."""
        work = metering.in_thread(partial(plainly, function, *args, **arguments))
        return await _finished(self._threads.submit(contextvars.copy_context().run, work), stop or threading.Event())


class _Call:
    """One run of a skill, with what stands around it. heard: how many of the user's messages filled its arguments."""

    __slots__ = ("_arguments", "_attempt", "_heard", "_runner", "_skill", "outputs")

    def __init__(self, runner: SkillRunner, skill: Skill, attempt: Attempt) -> None:
        self.outputs = Outputs(attempt)
        self._runner = runner
        self._skill = skill
        self._attempt = attempt
        self._arguments: Mapping[str, object] = {}
        self._heard = 1

    async def run(self) -> None:
        skill, hooks = self._skill, self._skill.hooks
        binding, threaded = skill.binding, skill.spec.threaded
        context = self._context(threaded=threaded) if binding.takes_context else None
        try:
            self._arguments = binding.bind(self._attempt.task, context)
        except Unbound as lacking:
            self._arguments, self._heard = await filled(binding, self._attempt, context, lacking)
        if hooks.validate is not None:
            await self._validated(hooks.validate)
        if threaded:
            await self._in_thread()
        elif skill.streams:
            await self._driven(skill.function(**self._arguments))
        else:
            result = await skill.function(**self._arguments)
            await self._checked(result)
            self.outputs.returned(result)

    async def undo(self, hook: Hook, reason: str) -> None:
        heard = heard_of(self._attempt.task)
        for count in range(1, len(heard) + 1):
            with suppress(Unbound):
                self._arguments = self._skill.binding.bind(self._attempt.task, None, heard[:count])
                self._heard = count
                await self._hooked("rollback", hook, {"reason": reason})
                return

    def _context(
        self, within: str = "", checkpoints: Mapping[str, bytes] | None = None, *, threaded: bool
    ) -> TaskContext | SyncTask:
        resources, places = self._runner.resources, Places(within)
        if threaded:
            return SyncTask(self._attempt, asyncio.get_running_loop(), resources, places, checkpoints)
        return TaskContext(self._attempt, resources, places, checkpoints)

    async def _checkpoints(self) -> dict[str, bytes]:
        """Those of this run too, which the task's view does not have."""
        names = await self._attempt.names(CHECKPOINT)
        return {name: body for name in names if (body := await self._attempt.recall(CHECKPOINT, name)) is not None}

    async def _hooked(self, kind: str, hook: Hook, given: Mapping[str, object]) -> object:
        heard = heard_of(self._attempt.task)[: self._heard]
        kept = None if kind == "validate" else await self._checkpoints()
        context = self._context(kind, kept, threaded=hook.threaded)
        given = {**self._skill.values(self._arguments), **given}
        try:
            arguments = hook.binding.bind(self._attempt.task, context, heard, given)
        except Unbound as lacking:
            raise Reject(lacking.text) from lacking
        if not hook.threaded:
            return await hook.function(**arguments)
        if kind == "rollback":
            return await in_own_thread(partial(hook.function, **arguments))
        return await self._runner.in_thread(hook.function, arguments)

    async def _validated(self, hook: Hook) -> None:
        if self._attempt.run > 1 and await self._attempt.recall(HOOKS, "validate") is not None:
            return
        refused = _refusal(hook, await self._hooked("validate", hook, {}))
        if refused is not None:
            raise Reject(refused or "The agent does not take this task.")
        await self._attempt.remember(HOOKS, "validate", encode("yes"))

    async def _checked(self, result: object) -> None:
        """Ask every check of the skill, and record what they say. Raises Fail: one that must pass says no."""
        said = [await self._said(check, result) for check in self._skill.hooks.results]
        if not said:
            return
        attempt = self._attempt
        await attempt.remember(CHECKS, CHECKS, encode({"run": attempt.run, "checks": said}))
        wishes = attempt.task.wishes
        wanted = () if wishes is None else wishes.checks
        if any(one["name"] in wanted and not one["passed"] for one in said):
            raise Fail(unpassed(wanted, said))
        for one in said:
            if not one["passed"] and one["required"]:
                raise Fail(one["message"])

    async def _said(self, check: ResultCheck, result: object) -> Checked:
        try:
            refused = _refusal(
                check.hook, await self._hooked(f"validate_result {check.name}", check.hook, {"result": result})
            )
        except Fail as error:
            refused = str(error.text)
        why = "" if refused is None else refused or "The result did not pass the agent's own check."
        why = why.encode(errors="replace").decode()
        return Checked(name=check.name, passed=refused is None, required=check.required, message=why[:LONGEST_MESSAGE])

    async def _driven(self, stream: AsyncGenerator[object, None]) -> None:
        checked = bool(self._skill.hooks.results)
        emit, room, seen = self.outputs.yielded, self._attempt.room, list[object]()
        try:
            async for item in stream:
                emit(item)
                if checked:
                    seen.append(item)
                await room()
        finally:
            await stream.aclose()
        await self._checked(seen)

    async def _in_thread(self) -> None:
        skill, loop, stop = self._skill, asyncio.get_running_loop(), threading.Event()
        checked = bool(skill.hooks.results)
        yielded: list[object] | None = [] if checked else None

        def work() -> object:  # a large result is written as JSON here, not on the loop
            result = skill.function(**self._arguments)
            if skill.streams:
                result = _drive(result, self.outputs, stop, lambda: wait_for_room(self._attempt, loop), yielded)
            told = stop.is_set() or self._attempt.stopping is not None
            if not (checked or told):  # who was told to stop has no result
                self.outputs.returned(result)
            return result

        result = await self._runner.in_thread(work, {}, stop=stop)
        if checked:
            await self._checked(yielded if skill.streams else result)
            await self._runner.in_thread(self.outputs.returned, {}, result)


def _refusal(hook: Hook, said: object) -> str | None:
    """Why a hook says no: '' = it does not say why, None = it says yes.

    Raises:
        Fail: it says neither.
    """
    match said:
        case None | True | "":
            return None
        case False:
            return ""
        case str():
            return said
    kind = type(said).__name__
    raise Fail(
        f"The check {name_of(hook.function)} gave a {kind}; it says yes by True or nothing, no by False or a text."
    )


def _drive(
    stream: Generator[object, None, object],
    outputs: Outputs,
    stop: threading.Event,
    room: Callable[[], None],
    yielded: list[object] | None,
) -> object:
    """What the generator returns behind its last yield; None when it was stopped."""
    with closing(stream):
        while not stop.is_set():
            try:
                item = next(stream)
            except StopIteration as end:
                return end.value
            outputs.yielded(item)
            if yielded is not None:
                yielded.append(item)
            room()
    return None


async def _finished(future: Future[Any], stop: threading.Event) -> Any:  # noqa: ANN401 - the thread's own
    waiting = asyncio.wrap_future(future)
    try:
        await asyncio.wait([waiting])
    except asyncio.CancelledError:
        stop.set()
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, and of no account
        if not future.cancel():
            await asyncio.wait([waiting])
        raise
    return waiting.result()
