"""Agents that pull their work: they register as workers, claim tasks, and say over HTTP what their runs say.

Theory of operation
-------------------
Such an agent is a worker like any other: a row with a lease, kept by each of its requests. When it falls silent, the
sweeper of any process takes its tasks, as it does from a process that died. Everything that it says of a task names the
fence of its claim; once the task is somebody else's, that is refused.

Any process answers any request. What a process has at hand of a run (`_runs`) only saves it reading the run's artifacts
again: a report says after which event it was made, and is made anew where another process wrote one in between.

A claim waits on the queue, as workers of ours do, and signs of life go on meanwhile. What was claimed for a client that
is gone is handed back at once. An answer that was lost on its way is given again to who names the claim as before.

What a task still has to undo (`undoing.is_last_run`) is not for agents to do: claims leave it to workers of ours, and
look further behind it.

Weakness: a claim without a name whose answer is lost leaves its tasks leased until their time is over, or the worker's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from a2a_server.codec import decode, decode_spec, unpack_message
from a2a_server.engine.classes import Classes
from a2a_server.engine.engine import Engine
from a2a_server.engine.pulled import PulledAttempt, retries_of
from a2a_server.engine.taskview import view_of
from a2a_server.errors import (
    ClientError,
    Conflict,
    DataRejected,
    EngineError,
    Fail,
    InvalidParams,
    LeaseLost,
    Overloaded,
    Retry,
    StoreUnavailable,
    UnsupportedOperation,
)
from a2a_server.lifecycle.draining import DRAIN, SPACE
from a2a_server.lifecycle.endings import SETTLED, End, EndKind
from a2a_server.lifecycle.pulling import CLAIM, PulledClaim, remembered
from a2a_server.lifecycle.runs import Claim, Claimed, Report
from a2a_server.model.objects import Phase, Scope, TaskSpec
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import Key, StateRow, TaskRow
from a2a_server.model.runs import Checked, TaskView
from a2a_server.policy import SECOND, queue_of
from a2a_server.service.pulled_files import PulledFiles, Said
from a2a_server.service.pullers import Puller, Pullers, Registration
from a2a_server.values import value_class

MOST_AT_ONCE: Final = 200
"""Tasks of one claim."""
MOST_HELD: Final = 200
"""Tasks of which one sign of life tells."""
KEPT_RUNS: Final = 256
"""Runs that a process has at hand."""
TRIES: Final = 5


class RunName(NamedTuple):
    """A run as its agent names it: its own id as a worker, the task's id, and the fence of the claim."""

    worker_id: str
    task_id: str
    fence: int


@value_class(frozen=True, slots=True)
class Pulled:
    """A task that an agent runs now: `view` is what handlers of ours see of it."""

    row: TaskRow
    view: TaskView
    spec: TaskSpec


@value_class(frozen=True, slots=True)
class Standing:
    """A task that an agent says it runs. held: whether it does; cancel: whether it should stop."""

    task_id: str
    fence: int
    held: bool
    cancel: bool


@value_class(frozen=True, slots=True)
class Life:
    """The answer to a sign of life. draining: claim nothing more, end what runs, leave."""

    draining: bool
    tasks: tuple[Standing, ...] = ()


class Pulling:
    """Serves such agents of one engine. Concurrency: any number of callers.

    base_url: where clients reach this server, so that addresses of its own files are known.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str] = str) -> None:
        self._engine = engine
        self._store = engine.backends.store
        self._pullers = Pullers(engine)
        self._files = PulledFiles(engine, base_url)
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)
        self._runs: OrderedDict[tuple[Key, int], PulledAttempt] = OrderedDict()
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()
        self._background: set[asyncio.Task[None]] = set()

    async def register(self, scope: Scope, registration: Registration) -> Puller:
        """A new worker. Raises InvalidParams: a skill that this agent does not have."""
        return await self._pullers.register(scope, registration)

    async def leave(self, scope: Scope, worker_id: str) -> None:
        """The worker is gone; what it still runs goes to others. Raises NothingThere, UnsupportedOperation."""
        await self._pullers.leave(scope, worker_id)

    async def live(self, scope: Scope, worker_id: str, held: Sequence[tuple[str, int]] = ()) -> Life:
        """Say that the worker lives, and how the tasks stand that it runs, by id and fence. Raises as `leave`."""
        puller = await self._pullers.living(scope, worker_id)
        draining = await self._remembers(puller.key, DRAIN) is not None
        rows = [await self._store.find(scope, self._engine.agent, task_id) for task_id, _ in held]
        return Life(
            draining,
            tuple(_standing(puller.key, task_id, fence, row) for (task_id, fence), row in zip(held, rows, strict=True)),
        )

    async def claim(
        self, scope: Scope, worker_id: str, limit: int, wait_seconds: float = 0.0, name: str = ""
    ) -> Sequence[Pulled]:
        """Up to `limit` tasks that the worker runs from now on; waits so long for the first.

        name: the agent's own for this claim; the same name again gives the same tasks again, as far as the worker still
        holds them. Raises as `leave`.
        """
        puller = await self._pullers.living(scope, worker_id)
        if name and (again := await self._again(puller, name)):
            return again
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait_seconds
        classes = Classes(self._store, puller.offer, {False: self._queues(puller), True: ()})
        hinted: tuple[Key, ...] = ()
        tries = look = 0
        while True:
            await classes.learn()
            queues = classes.queues()
            if await self._remembers(puller.key, DRAIN) is not None:
                return ()
            claim = Claim(
                puller.key,
                queues,
                limit,
                hinted,
                grace=self._grace,
                lanes=puller.lanes,
                standing=self._engine.standing,
                look=look,
                undoes=False,
            )
            taken, claimed = await self._claimed(PulledClaim(claim, name))
            if taken:
                return taken
            look = claim.further(claimed, MOST_AT_ONCE)
            tries = tries + 1 if claimed.more else 0
            if 0 < tries < TRIES:  # others took what stood first, or it is not for agents to do
                continue
            left = give_up - loop.time()
            if left <= 0 or self._engine.hub.closed:
                return ()
            wait = min(left, self._engine.limits.poll_seconds, puller.beat_seconds)
            hinted = tuple(await self._engine.backends.queue.take(queues, limit, wait) or ())
            await self._pullers.beat(puller.key)

    async def tell(self, scope: Scope, run: RunName, said: Sequence[Said]) -> TaskRow:
        """Commit what a run says; the task as it is then.

        Raises NothingThere; UnsupportedOperation: the task is not the worker's any more; InvalidParams.
        """
        return await self._report(scope, run, said, None)

    async def complete(
        self, scope: Scope, run: RunName, said: Sequence[Said], partial: str = "", checks: Sequence[Checked] = ()
    ) -> TaskRow:
        """End the run with its last outputs: the task completes, or waits for its children as its sender asked for.

        partial: why the result is not whole. checks: what the agent's own checks of it said. Raises as `tell`.
        """
        return await self._report(scope, run, said, End(EndKind.COMPLETED, partial=partial, checks=checks))

    async def fail(
        self, scope: Scope, run: RunName, text: str, *, retry: bool = False, after_seconds: float | None = None
    ) -> TaskRow:
        """End the run as failed, or (retry) let the task be tried again. Raises as `tell`."""
        after = None if after_seconds is None else round(after_seconds * SECOND)
        return await self._report(
            scope, run, (), End(EndKind.TRANSIENT if retry else EndKind.FAILED, text, after=after)
        )

    async def release(self, scope: Scope, run: RunName) -> TaskRow:
        """Hand the task back; another takes it, and nothing is counted. Raises as `tell`."""
        return await self._report(scope, run, (), End(EndKind.HANDED_BACK))

    async def _report(self, scope: Scope, run: RunName, said: Sequence[Said], end: End | None) -> TaskRow:
        row = await self._held(scope, await self._pullers.living(scope, run.worker_id), run)
        said, files = await self._files.placed(scope, said)
        try:
            async with self._locks.setdefault(row.key, asyncio.Lock()):
                return await self._said(row, [one.output for one in said], files, end)
        except (LeaseLost, Conflict) as error:
            if isinstance(error, Conflict):
                raise Overloaded("Too much is said of this task at the same moment.", retry_after_seconds=1) from None
            raise _lost(run.task_id) from None
        except DataRejected:
            raise InvalidParams("The store cannot keep what the request says; leave out control characters.") from None

    async def _said(self, row: TaskRow, outputs: Sequence[Any], files: tuple[Any, ...], end: End | None) -> TaskRow:
        for _ in range(TRIES):
            run = await self._run(row)
            run.check(outputs)
            try:
                after = await run.say(outputs, files, end)
            except Conflict:
                outputs = () if run.told else outputs
                continue
            except (Fail, Retry) as error:
                if end is not None and end.kind in SETTLED:  # no failure to keep its artifacts makes it another end
                    return await self._ended(row, end)
                if isinstance(error, Retry):
                    raise StoreUnavailable("an artifact could not be stored") from None
                return await self._ended(row, End(EndKind.FAILED, error.text))
            if end is None:
                self._runs[row.key, row.fence] = run
                if len(self._runs) > KEPT_RUNS:
                    self._runs.popitem(last=False)
            return after
        raise Conflict(row.id)

    async def _ended(self, row: TaskRow, end: End) -> TaskRow:
        retries = retries_of(self._engine, row)
        return (await self._engine.writer.submit(Report(row.key, row.fence, end=end, retries=retries))).row

    async def _run(self, row: TaskRow) -> PulledAttempt:
        """The run, from what this process has at hand, else from the store; nobody else has it meanwhile."""
        run = self._runs.pop((row.key, row.fence), None)
        if run is not None and run.lost is None:
            return run
        snapshot = await self._store.snapshot(row.key, 0)
        if snapshot is None or snapshot.task.fence != row.fence or snapshot.task.phase is not Phase.LEASED:
            raise LeaseLost
        return PulledAttempt(snapshot, self._engine)

    async def _claimed(self, claim: PulledClaim) -> tuple[Sequence[Pulled], Claimed]:
        """The tasks, and what came of the claim."""
        outcomes: list[Claimed] = []
        gone = False

        def settle(outcome: Claimed | BaseException) -> None:
            if isinstance(outcome, Claimed):
                outcomes.append(outcome)
                if gone:
                    self._hand_back(outcome.rows)

        try:
            claimed = await self._engine.writer.post(claim, settle)
            return [await self._pulled(row) for row in claimed.rows], claimed
        except BaseException:  # the client is gone, or cannot be told
            gone = True
            for outcome in outcomes:
                self._hand_back(outcome.rows)
            raise

    async def _pulled(self, row: TaskRow) -> Pulled:
        snapshot = await self._store.snapshot(row.key, None, artifacts=False)
        messages = () if snapshot is None else snapshot.messages
        if not messages:
            raise StoreUnavailable("a claimed task has no message")
        spec = decode_spec(row.spec)
        return Pulled(row, view_of(row, tuple(unpack_message(decode(one.body)) for one in messages), spec), spec)

    async def _again(self, puller: Puller, name: str) -> Sequence[Pulled]:
        row = await self._remembers(puller.key, CLAIM)
        if row is None or not (fences := remembered(row, name)):
            return ()
        found = [await self._store.snapshot(key, 0, artifacts=False) for key in fences]
        rows = [one.task for one in found if one is not None]
        return [
            await self._pulled(row)
            for row in rows
            if row.phase is Phase.LEASED and row.worker == puller.key and row.fence == fences[row.key]
        ]

    def _hand_back(self, rows: Sequence[TaskRow]) -> None:
        for row in rows:
            task = asyncio.get_running_loop().create_task(self._handed_back(row))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _handed_back(self, row: TaskRow) -> None:
        with suppress(EngineError, ClientError):
            await self._ended(row, End(EndKind.HANDED_BACK))

    def _queues(self, puller: Puller) -> tuple[str, ...]:
        return tuple(queue_of(self._engine.agent, skill) for skill in puller.skills)

    async def _held(self, scope: Scope, puller: Puller, run: RunName) -> TaskRow:
        row = await self._store.find(scope, self._engine.agent, run.task_id)
        if row is None or not _holds(puller.key, run.fence, row):
            raise _lost(run.task_id)
        return row

    async def _remembers(self, worker: Key, name: str) -> StateRow | None:
        page = await self._store.rows(RowQuery(Table.STATE, (worker, SPACE, name), limit=1))
        return next((row for row in page.rows if isinstance(row, StateRow)), None)


def _holds(worker: Key, fence: int, row: TaskRow) -> bool:
    return row.phase is Phase.LEASED and row.worker == worker and row.fence == fence


def _standing(worker: Key, task_id: str, fence: int, row: TaskRow | None) -> Standing:
    held = row is not None and _holds(worker, fence, row)
    return Standing(task_id, fence, held, held and row is not None and bool(row.cancel_at))


def _lost(task_id: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"The task {task_id} is not this worker's under this fence: it has ended, or others run it by now. Drop it."
    )
