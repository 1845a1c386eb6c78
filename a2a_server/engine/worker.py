"""A worker: claims tasks, runs them, ends them; and says that it lives.

Theory of operation
-------------------
The worker holds slots: many for coroutines, a few for threads. It takes hints from the queue and claims from the store
as much as it has slots for; where this process accepts a message and a slot is free, the send's own turn leases the
task (`reserve`, then `begin` or `release`). Each run is one asyncio task around `AgentRunner.run`; `outcomes` judges
how it ended.

A thread with its own connection to the store says every few seconds that the worker lives (`Pulse`). A worker that was
declared dead never comes back: it drops all its runs and registers under a new id. A worker that could not commit the
end of a run does the same, of its own accord: whoever finds the old id silent runs its tasks again.

Stopping a run: its coroutine is canceled, and for `cancel_grace_seconds` it may clean up. After the grace the task ends
without it; whatever the handler says later is refused, and it keeps its slot until it returns.

Weakness: a handler that never returns keeps its slot for ever; only a new process gets it back.

Source: core.md section 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Final

from a2a_server.codec import decode as decode_body, decode_spec, unpack_message
from a2a_server.engine import outcomes
from a2a_server.engine.attempt import RunningAttempt, view_of
from a2a_server.engine.limits import Limits
from a2a_server.engine.pulse import Pulse
from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, EngineError, Fail, LeaseLost, Retry, StoreUnavailable
from a2a_server.lifecycle.runs import Claim, Claimed, End
from a2a_server.model.objects import Message, Phase
from a2a_server.model.rows import Key, TaskRow, WorkerRow
from a2a_server.model.runs import SkillSpec, Stopping
from a2a_server.model.turns import Bell
from a2a_server.policy import SECOND, SUSPECT_CRASHES, queue_of
from a2a_server.ports import AgentRunner, ArtifactStore, TaskStore, WorkQueue

CLAIM_LIMIT: Final = 200
"""Tasks per claim; a worker with more free slots claims again at once."""

_log = logging.getLogger("a2a_server.engine.worker")


@dataclass(slots=True, eq=False)
class _Run:
    attempt: RunningAttempt
    task: asyncio.Task[None]
    ending: bool = False
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def suspect(self) -> bool:
        return self.attempt.row.crashes >= SUSPECT_CRASHES


class Worker:
    """Runs tasks of one agent. Concurrency: belongs to the event loop, but for its pulse's thread."""

    def __init__(
        self,
        agent: str,
        runner: AgentRunner,
        *,
        store: TaskStore,
        queue: WorkQueue,
        writer: Writer,
        artifacts: ArtifactStore,
        limits: Limits,
        new_key: Callable[[], Key],
        clock: Callable[[], int],
        random: Random,
    ) -> None:
        self.id = Key(b"")
        self._runner = runner
        self._store = store
        self._queue = queue
        self._writer = writer
        self._artifacts = artifacts
        self._limits = limits
        self._new_key = new_key
        self._clock = clock
        self._random = random
        self._skills: dict[str, SkillSpec] = {skill.id: skill for skill in runner.skills}
        self._queues = {
            threaded: tuple(queue_of(agent, skill.id) for skill in runner.skills if skill.threaded is threaded)
            for threaded in (False, True)
        }
        self._free = {False: limits.slots, True: limits.threads}
        self._runs: dict[Key, _Run] = {}
        self._changed = asyncio.Event()
        self._stopping = False
        self._hurried = False
        self._pulse: Pulse | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Register and begin to claim."""
        await self._register()
        self._spawn(self._claim_forever())

    async def drain(self) -> None:
        """Stop claiming, let runs end for `drain_seconds`, hand the rest back, and go."""
        self._stopping = True
        self._changed.set()
        await self._runs_end(self._limits.drain_seconds, lambda: self._hurried)
        for run in list(self._runs.values()):
            self._stop(run, Stopping.SHUTDOWN)
        await self._runs_end(self._limits.cancel_grace_seconds + 1, lambda: False)
        self._end()

    def hurry(self) -> None:
        """Let a drain wait no longer: runs that still go on are handed back now."""
        self._hurried = True
        self._changed.set()

    def crash(self) -> None:
        """Die as in a killed process: nothing more is written and nothing handed back. For tests."""
        self._stopping = True
        self._end()
        self._drop_runs()
        for task in self._background:  # above all the claim that waits for hints: they are its successor's now
            task.cancel()

    @property
    def running(self) -> int:
        """How many tasks it runs."""
        return len(self._runs)

    def reserve(self, skill: str) -> bool:
        """Keep a slot for a task of this skill that is about to be submitted; `begin` or `release` must follow."""
        spec = self._skills.get(skill)
        if spec is None or self._stopping or not self.id or self._free[spec.threaded] <= 0:
            return False
        self._free[spec.threaded] -= 1
        return True

    def release(self, skill: str) -> None:
        """Give a reserved slot back."""
        self._give_back(1, threaded=self._skills[skill].threaded)

    def begin(self, row: TaskRow, message: Message | None = None) -> None:
        """Run a task that is leased to this worker, in a slot that is reserved for it.

        message: its only message, where that is at hand; else the store is asked.
        """
        if row.worker != self.id:
            self.release(row.skill)
            return
        task = asyncio.get_running_loop().create_task(self._execute(row, message))
        task.add_done_callback(lambda task: self._left(row, task))
        if message is not None:
            self._hold(self._attempt(row, (message,)), task)

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Stop runs whose cancellation was asked for, and those that hold their task no longer."""
        for bell in bells:
            if (run := self._runs.get(bell.key)) and (row := bell.row):
                self._judge(run, row.fence, row.phase, row.cancel_at)

    async def check(self) -> None:
        """Ask the store about every run: doorbells may have been lost."""
        heads = await self._store.heads(list(self._runs)) if self._runs else {}
        for key, head in heads.items():
            if run := self._runs.get(key):
                self._judge(run, head.fence, head.phase, head.cancel_at)

    def _judge(self, run: _Run, fence: int, phase: Phase, cancel_at: int) -> None:
        if run.ending or fence < run.attempt.run:
            return
        if fence > run.attempt.run or phase is not Phase.LEASED:
            self._drop(run)
        elif cancel_at:
            self._stop(run, Stopping.CANCELED)

    async def _register(self) -> None:
        worker = self._new_key()
        ttl = round(self._limits.lease_seconds * SECOND)
        await self._store.register(WorkerRow(worker, 0, ttl, dead=False, format=1, body=b""))
        self._pulse = Pulse(
            lambda: self._store.beat(worker),
            beat_seconds=self._limits.beat_seconds,
            lease_seconds=self._limits.lease_seconds,
            stall_seconds=self._limits.stall_seconds,
            lost=lambda: self._retire(worker),
        )
        self._pulse.start()
        self.id = worker

    def _retire(self, worker: Key) -> None:
        if self.id != worker or self._stopping:
            return
        _log.error("This worker lost its lease; its %d runs are dropped and begin again elsewhere.", len(self._runs))
        self._end()
        self._drop_runs()
        self._spawn(self._register_again())

    def _end(self) -> None:
        self.id = Key(b"")
        if self._pulse is not None:
            self._pulse.stop()

    async def _register_again(self) -> None:
        while not self._stopping:
            try:
                await self._register()
            except EngineError:
                await asyncio.sleep(self._limits.poll_seconds)
            else:
                break

    async def _claim_forever(self) -> None:
        more = False
        while not self._stopping:
            self._changed.clear()
            queues = {threaded: names for threaded, names in self._queues.items() if names and self._free[threaded] > 0}
            if not queues or not self.id:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), self._limits.poll_seconds)
                continue
            wait = 0.0 if more else self._limits.poll_seconds * self._random.uniform(0.8, 1.2)
            names = [name for names in queues.values() for name in names]
            hinted = await self._queue.take(names, CLAIM_LIMIT, wait)
            try:
                more = await self._claim(queues, tuple(hinted or ()))
            except (EngineError, ClientError) as error:
                _log.warning("A claim failed (%s); it is tried again.", type(error).__name__)
                more = False

    async def _claim(self, queues: dict[bool, tuple[str, ...]], hinted: tuple[Key, ...]) -> bool:
        more = False
        for threaded, names in queues.items():
            limit = min(self._free[threaded], CLAIM_LIMIT)
            if limit <= 0 or not self.id or self._stopping:
                continue
            suspects = not any(run.suspect for run in self._runs.values())
            claim = Claim(self.id, names, limit, hinted, suspects)
            self._free[threaded] -= limit
            begin = partial(self._begin_all, kept=limit, threaded=threaded)
            claimed = await self._writer.post(claim, begin)
            more = more or claimed.more
        return more

    def _begin_all(self, claimed: Claimed | BaseException, *, kept: int, threaded: bool) -> None:
        rows = claimed.rows if isinstance(claimed, Claimed) else ()
        self._give_back(kept - len(rows), threaded=threaded)
        for row in rows:
            self.begin(row)

    def _attempt(self, row: TaskRow, history: tuple[Message, ...]) -> RunningAttempt:
        return RunningAttempt(
            row,
            view_of(row, history),
            writer=self._writer,
            store=self._store,
            artifacts=self._artifacts,
            limits=self._limits,
        )

    def _hold(self, attempt: RunningAttempt, task: asyncio.Task[None]) -> _Run:
        run = self._runs[attempt.row.key] = _Run(attempt, task)
        seconds = decode_spec(attempt.row.spec).timeout_seconds
        if attempt.task.deadline is not None:
            seconds = min(seconds, attempt.task.deadline - self._clock() / SECOND)
        timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._stop, run, Stopping.DEADLINE)
        run.timers.append(timer)
        return run

    def _left(self, row: TaskRow, task: asyncio.Task[None]) -> None:
        run = self._runs.get(row.key)
        if run is not None and run.task is task:
            del self._runs[row.key]
            for timer in run.timers:
                timer.cancel()
        self._give_back(1, threaded=self._skills[row.skill].threaded)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A run ended in a way that it cannot.", exc_info=error, extra={"task": row.id})

    def _give_back(self, slots: int, *, threaded: bool) -> None:
        self._free[threaded] += slots
        self._changed.set()

    async def _execute(self, row: TaskRow, message: Message | None) -> None:
        worker = row.worker
        run = self._runs[row.key] if message is not None else await self._restored(row)
        if run is None:
            return
        end = await self._handle(run)
        if end is None or run.ending or run.attempt.lost:
            if isinstance(run.attempt.lost, StoreUnavailable):
                self._retire(worker)
            return
        run.ending = True
        await self._finish(run, end, worker)

    async def _restored(self, row: TaskRow) -> _Run | None:
        task = asyncio.current_task()
        while task is not None and self.id == row.worker:
            try:
                snapshot = await self._store.snapshot(row.key, None)
            except StoreUnavailable:
                await asyncio.sleep(self._limits.poll_seconds)
                continue
            if snapshot is None:
                return None
            attempt = self._attempt(
                row, tuple(unpack_message(decode_body(message.body)) for message in snapshot.messages)
            )
            if row.fence > 1:
                attempt.restore(snapshot)
            return self._hold(attempt, task)
        return None

    async def _handle(self, run: _Run) -> End | None:
        attempt = run.attempt
        skill = self._skills[attempt.row.skill]
        try:
            return outcomes.completed(await self._runner.run(attempt))
        except asyncio.CancelledError:
            return outcomes.stopped(attempt.stopping)
        except LeaseLost:
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may raise anything; outcomes judges it
            error_id = self._new_key().hex()[-12:]
            if not outcomes.is_expected(error):
                _log.error(
                    "Skill %s raised (error %s).", skill.id, error_id, exc_info=error, extra={"task": attempt.task.id}
                )
            return outcomes.raised(error, skill, error_id=error_id, jitter=self._random.random())

    async def _finish(self, run: _Run, end: End, worker: Key) -> None:
        try:
            try:
                await run.attempt.finish(end)
            except (Fail, Retry) as error:
                skill = self._skills[run.attempt.row.skill]
                await run.attempt.finish(outcomes.raised(error, skill, error_id="", jitter=self._random.random()))
        except LeaseLost:
            if isinstance(run.attempt.lost, StoreUnavailable):
                self._retire(worker)
        except (EngineError, ClientError):
            _log.exception("The end of a run could not be stored.", extra={"task": run.attempt.task.id})
            self._retire(worker)
        finally:
            run.attempt.lose()

    def _stop(self, run: _Run, reason: Stopping) -> None:
        if run.ending or run.attempt.stopping is not None:
            return
        run.attempt.stopping = reason
        run.task.cancel()
        grace = self._limits.cancel_grace_seconds
        run.timers.append(asyncio.get_running_loop().call_later(grace, self._end_without, run))

    def _end_without(self, run: _Run) -> None:
        end = outcomes.stopped(run.attempt.stopping)
        if not run.ending and end is not None:
            run.ending = True
            _log.warning(
                "A handler did not stop within the grace; its task ends without it.",
                extra={"task": run.attempt.task.id},
            )
            self._spawn(self._finish(run, end, run.attempt.row.worker))

    def _drop(self, run: _Run) -> None:
        run.ending = True
        run.attempt.lose()
        run.attempt.stopping = Stopping.LEASE_LOST
        run.task.cancel()

    def _drop_runs(self) -> None:
        for run in list(self._runs.values()):
            if not run.ending:
                self._drop(run)

    async def _runs_end(self, seconds: float, give_up_early: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + seconds
        while self._runs and not give_up_early() and (left := give_up - loop.time()) > 0:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
