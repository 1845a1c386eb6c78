"""A running system for the histories of the model, and one history on it: what is done, and where it leads.

Everything blocking is `Bench`'s; `History` does one thing after the other and holds what it sees before the oracle.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import count
from pathlib import Path
from typing import Any

from a2a_server.errors import ClientError, TaskNotCancelable
from a2a_server.lifecycle.limits import Pause, Resume
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Generation, Lane, Message, Phase, Role, Scope, State, Task, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import CancelRequest, SendRequest
from a2a_server.model.rows import Key, TaskRow
from a2a_server.policy import SECOND
from a2a_server.service.batching import Batching, Item
from a2a_server.service.operations import Operations
from a2a_server.service.sending import Sending
from a2a_server.settings import load
from a2a_server.wiring import System, operating
from a2a_server.wiring.backends import store_of
from tests.drills.dumped import stored_event
from tests.drills.ledger import TERMINAL, Violation
from tests.drills.oracle import Known, Oracle, Place, Stage
from tests.drills.puppets import NARROW, ROOM, Do, Puppets, Word
from tests.patience import PATIENCE

SLOTS = 3
MAX_ATTEMPTS = 3
DELAY = 100
"""Seconds of whatever waits for its time."""
_LOOK = 0.001
_LONG = 86_400.0 * 365


class Broken(AssertionError):
    """The engine did what the oracle does not allow."""


class Bench:
    """One running system, and what histories do with it. Blocking; belongs to one thread."""

    def __init__(self, store: str, directory: Path) -> None:
        self.puppets = Puppets()
        chosen = load(
            None,
            store=store,
            queue="memory://" if store.startswith("sqlite") else "store://",
            artifacts=(directory / "artifacts").as_uri(),
            slots=SLOTS,
            lease_seconds=3600,
            beat_seconds=600,
            poll_seconds=0.5,
            drain_seconds=0,
            timeout_seconds=_LONG,
            max_attempts=MAX_ATTEMPTS,
        )
        self.store = store_of(chosen)
        self._system = System(self.puppets.agent(), chosen, store=self.store)
        self.engine = self._system.engine
        self.operations = Operations(self.engine)
        self.batching = Batching(self.engine, Sending(self.engine, str))
        self.owners = count(1)
        self.steps: Counter[str] = Counter()
        self.found: list[Violation] = []
        self._runner = asyncio.Runner()

    def run(self, work: Awaitable[Any]) -> Any:  # noqa: ANN401 - whatever the work gives
        """The result of the work; the engine goes on meanwhile."""

        async def bounded() -> Any:  # noqa: ANN401 - as above
            async with asyncio.timeout(PATIENCE * 2):
                return await work

        return self._runner.run(bounded())

    def start(self) -> None:
        """The system runs, on a store with its schema."""
        self.run(operating.migrate(self._system.settings))
        self.run(self._system.start())

    def stop(self) -> None:
        """It has ended."""
        with self._runner:
            self.run(self._system.stop())

    def attempt(self, work: Callable[[], Awaitable[Any] | None], history: History) -> None:
        """Do it, unless something broke; what breaks now is kept with the history's story."""
        if self.found:
            return
        try:
            if (waiting := work()) is not None:
                self.run(waiting)
        except (AssertionError, ClientError, TimeoutError) as error:
            story = "\n".join(history.story)
            self.found.append(Violation("model", "", f"{type(error).__name__}: {error}\n{story}"))

    async def pass_by(self, seconds: int) -> None:
        """The store's clock is so much further, and the worker lives."""
        self.store._offset += seconds * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        if not await asyncio.to_thread(self.store.beat, self.engine.worker.id):
            raise Broken("the worker lives, and was declared dead")
        self.engine.duties.sweeper.expect(0)


@dataclass(slots=True)
class History:
    """One owner's tasks. numbers: of messages, by the tasks that they made."""

    bench: Bench
    scope: Scope = field(init=False)
    oracle: Oracle = field(default_factory=lambda: Oracle(SLOTS, {NARROW: ROOM}, MAX_ATTEMPTS))
    keys: dict[str, Key] = field(default_factory=dict)
    requests: dict[str, SendRequest] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _left: Sequence[str] = ()
    _ran: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.scope = Scope(owner=f"owner-{next(self.bench.owners)}")

    def message(self, task_id: str = "") -> Message:
        """A new one."""
        return Message(Role.USER, (Text("go"),), id=f"m{next(self._numbers)}", task_id=task_id)

    async def send(self, skill: str, lane: Lane, delay: int = 0, after: Sequence[str] = (), how: str = "fail") -> None:
        """A task of its own."""
        options = TaskOptions(skill=skill, priority=lane, delaySeconds=delay, dependsOn=after, onDependencyFailure=how)
        request = SendRequest(Generation.V10, self.message(), blocking=False, options=options)
        task = await self.operations.send(self.scope, request)
        assert isinstance(task, Task)
        self.requests[task.id] = request
        await self.sent(Known(task.id, skill, lane, tuple(dict.fromkeys(after)), how), delay)

    async def repeat(self, task_id: str) -> None:
        """The same message once more is the same task."""
        again = await self.operations.send(self.scope, self.requests[task_id])
        if not isinstance(again, Task) or again.id != task_id:
            raise Broken(f"{task_id} was sent again and is {again}")

    async def batch(self, shape: Sequence[Sequence[int]], skill: str, how: str) -> None:
        """Tasks that name each other: for each of them the positions of those that it follows."""
        items = [
            Item(
                self.message(),
                options=TaskOptions(skill=skill, dependsOn=tuple(f"#{n}" for n in after), onDependencyFailure=how),
            )
            for after in shape
        ]
        made = (await self.bench.batching.submit(self.scope, items)).outcomes
        ids = [one.row.id for one in made if isinstance(one, Submitted)]
        if len(ids) != len(shape):
            raise Broken(f"of a batch of {len(shape)} {len(ids)} were made")
        for position in TopologicalSorter(dict(enumerate(shape))).static_order():
            upstreams = tuple(ids[n] for n in shape[position])
            await self.sent(Known(ids[position], skill, Lane.NORMAL, upstreams, how))

    async def spawn(self, parent: str, skill: str, lane: Lane, after: Sequence[str], how: str) -> None:
        """A part of a task that runs."""
        given = {"skill": skill, "priority": lane.name.lower(), "after": tuple(after), "on_dependency_failure": how}
        word = Word(Do.SPAWN, given, done=asyncio.get_running_loop().create_future())
        self.bench.puppets.tell(parent, word)
        assert word.done is not None
        child = await word.done
        await self.sent(Known(child, skill, lane, tuple(after), how, parent))

    async def sent(self, task: Known, delay: int = 0) -> None:
        """The oracle knows the task. If it cannot run any more, it was made as one that has ended."""
        self.oracle.send(task, delay)
        if task.over:
            row = await self.row(task.id)
            self.keys[task.id] = row.key
            if row.phase is not Phase.FINAL or row.state is not task.state:
                raise Broken(f"{task.id} was made {row.phase.name} {row.state.name}, not as {task.state.name}")

    async def answer(self, task_id: str) -> None:
        """What the task asked for."""
        message = self.message(task_id=task_id)
        await self.operations.send(self.scope, SendRequest(Generation.V10, message, task_id, blocking=False))
        self.requests.pop(task_id, None)  # it has taken a later message
        self.oracle.answer(task_id)

    async def cancel(self, task_id: str) -> Task | None:
        """The task as the answer shows it; None = it had ended."""
        try:
            return await self.operations.cancel(self.scope, CancelRequest(task_id))
        except TaskNotCancelable:
            return None

    async def race(self, task_id: str, *, first: bool) -> None:
        """Canceled while it completes; first: the cancel begins first."""
        self.oracle.end(task_id, State.COMPLETED, State.CANCELED)
        self.oracle.tasks[task_id].canceled = True
        canceling = asyncio.ensure_future(self.cancel(task_id))
        if first:
            await asyncio.sleep(0)
        self.bench.puppets.tell(task_id, Word(Do.COMPLETE))
        answer = await canceling
        row = await self.row(task_id)
        told = State.COMPLETED if answer is None else answer.status.state
        if told is not row.state:
            raise Broken(f"the cancel of {task_id} was answered with {told.name}, it ended {row.state.name}")

    async def settle(self) -> None:
        """Every task is where it must be. Raises Broken after a while."""
        begun, oracle = time.monotonic(), self.oracle
        while True:
            live = oracle.live()
            for one in live:
                if one not in self.keys:
                    self.keys[one] = (await self.row(one)).key
            heads = await self.bench.store.heads([self.keys[one] for one in live]) if live else {}
            seen = {one: Place(head.phase, head.state) for one in live if (head := heads.get(self.keys[one]))}
            wrong = oracle.look(seen)
            if not wrong:
                break
            if time.monotonic() - begun > PATIENCE:
                raise Broken("; ".join(wrong))
            await asyncio.sleep(_LOOK)
        if wrong := oracle.order(self._left, [one for one in oracle.running() if one not in self._ran]):
            raise Broken("; ".join(wrong))
        self._left, self._ran = oracle.claimable(), frozenset(oracle.running())

    async def row(self, task_id: str) -> TaskRow:
        """As it is stored."""
        found = await self.bench.store.find(self.scope, "", task_id)
        if found is None:
            raise Broken(f"{task_id} is not there")
        return found

    async def finish(self) -> None:
        """Let everything go, and read every log."""
        oracle, puppets = self.oracle, self.bench.puppets
        for skill in list(oracle.paused):
            await self.resume(skill)
            await self.settle()
        while oracle.live():
            await self.settle()
            for one in oracle.at(Stage.ASKING):
                await self.answer(one)
                await self.settle()
            if oracle.at(Stage.LATER):
                await self.bench.pass_by(DELAY)
                oracle.pass_by(DELAY)
                await self.settle()
            for one in oracle.running():
                oracle.end(one, State.COMPLETED)
                puppets.tell(one, Word(Do.COMPLETE))
        for task in oracle.tasks.values():
            wrong = check_end(task, await self.row(task.id), await self.told(task.id))
            if wrong:
                raise Broken("; ".join(wrong))
        puppets.forget()

    async def told(self, task_id: str) -> list[str]:
        """The states of its events, '' of those that are no status."""
        events = await self.bench.store.events(self.keys[task_id], 0, 100_000, 1 << 30)
        numbers = [event.n for event in events]
        if numbers != list(range(1, len(numbers) + 1)):
            raise Broken(f"{task_id} has the events {numbers}")
        return [stored_event(event).state for event in events]

    async def pause(self, skill: str) -> None:
        """Nothing of the queue starts."""
        await self.bench.engine.submit(Pause(f"queue:{skill}"))
        self.oracle.paused.add(skill)

    async def resume(self, skill: str) -> None:
        """It goes on."""
        await self.bench.engine.submit(Resume(f"queue:{skill}"))
        self.oracle.paused.discard(skill)

    @property
    def operations(self) -> Operations:
        """What clients call."""
        return self.bench.operations


def check_end(task: Known, row: TaskRow, told: Sequence[str]) -> list[str]:
    """What is wrong with the log and the counters of a task that has ended. told: the states of its events."""
    wrong = []
    ends = [state for state in told if state in TERMINAL]
    if ends != [task.state.name.lower()] or list(told[-1:]) != ends:
        wrong.append(f"{task.id} ended {task.state.name}, its log tells {ends}, last {told[-1:]}")
    if row.state is not task.state or row.phase is not Phase.FINAL or row.last_n != len(told):
        wrong.append(f"{task.id} ended {task.state.name}, its row says {row.phase.name} {row.state.name} {row.last_n}")
    if row.attempt != task.retries:
        wrong.append(f"{task.id} failed transiently {task.retries} times, counted are {row.attempt}")
    reasons = 1 + task.answers + task.joins + min(task.retries, MAX_ATTEMPTS - 1)
    if not task.canceled and task.state is State.COMPLETED and row.fence < reasons:
        wrong.append(f"{task.id} ran {row.fence} times, there were {reasons} reasons")
    if not task.joins and row.fence > reasons:
        wrong.append(f"{task.id} ran {row.fence} times, there were only {reasons} reasons")
    return wrong
