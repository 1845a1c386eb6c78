"""One leased task in this process, from its lease to its committed end.

Theory of operation
-------------------
A run learns its task's earlier life (`_prepared`), lets the runner handle it, and ends it (`_finish`). Whatever
happens, it leaves in one of three ways, and then it is `over`: its end is committed; the lease is somebody else's; or
the store did not take its end, and the worker retires so that others find the task orphaned.

Being stopped: the handler is canceled once, and for `cancel_grace_seconds` it may clean up. After that the task ends
without it: what it still says is refused, and the run stays in its slot until the handler returns. An exception that
comes while the handler is being stopped is taken for part of the stopping, unless it is the agent's own word (`Reject`,
`Fail`).

A last run (`TaskSpec.failing`) does not call the handler: it undoes what earlier runs did, within a grace, and ends the
task. Being canceled makes no difference to it. A run after the handler has returned (`TaskSpec.returned`) does not call
it either: it looks whether the task's children have come to what it waits for (`gathering`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from a2a_server.codec import decode, decode_spec, unpack_message
from a2a_server.engine import outcomes
from a2a_server.engine.attempt import RunningAttempt
from a2a_server.engine.children import Children
from a2a_server.engine.gathering import gathered, note_of
from a2a_server.engine.taskview import view_of
from a2a_server.engine.workshop import Workshop
from a2a_server.errors import ClientError, EngineError, Fail, LeaseLost, Paused, Reject, Retry, StoreUnavailable
from a2a_server.lifecycle.endings import SETTLED, Cause, End, EndKind
from a2a_server.lifecycle.runs import Report
from a2a_server.lifecycle.submission import Show
from a2a_server.model.objects import Message, Phase
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import Key, TaskRow
from a2a_server.model.runs import CHECKS, LogLine, SkillSpec, Stopping
from a2a_server.policy import SECOND, SUSPECT_CRASHES

JUDGED: Final = frozenset({EndKind.COMPLETED, EndKind.FAILED})
"""Ends behind a result that was checked."""
FINISH_TRIES: Final = 3
"""How often an end is replaced because artifacts of the run could not be stored."""

_log = logging.getLogger("a2a_server.engine.run")


class Run:
    """Begins at once. Concurrency: belongs to the event loop.

    message: the task's only message, where it is at hand; else the store is asked. retire: the store did not take what
    a run of this worker had to say. left: called once, when the handler has returned and the slot is free.
    """

    __slots__ = (
        "_attempt", "_begun", "_canceled", "_ending", "_finishing", "_left", "_loop", "_retire", "_shop", "_showing",
        "_spec", "_stopping", "_task", "_timers", "over", "row", "skill",
    )  # fmt: skip

    def __init__(
        self,
        row: TaskRow,
        skill: SkillSpec,
        shop: Workshop,
        message: Message | None,
        *,
        retire: Callable[[Key], None],
        left: Callable[[Run], None],
    ) -> None:
        self.row = row
        self.skill = skill
        self.over = False
        self._shop = shop
        self._retire = retire
        self._left = left
        self._loop = loop = asyncio.get_running_loop()
        self._spec = decode_spec(row.spec)
        self._begun = False
        self._canceled = False
        self._ending = False
        self._stopping: Stopping | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._attempt = None if message is None else self._new_attempt((message,))
        self._finishing: asyncio.Task[None] | None = None
        self._showing: asyncio.Task[None] | None = None
        if not row.visible:
            self._timers.append(loop.call_later(shop.limits.direct_seconds, self._show))
        self._task = loop.create_task(self._execute())
        self._task.add_done_callback(self._leave)

    def is_run_by(self, task: asyncio.Task[Any]) -> bool:
        """Whether its handler runs in this task of the event loop."""
        return task is self._task

    @property
    def suspect(self) -> bool:
        """Whether earlier runs of the task ended with their workers."""
        return self.row.crashes >= SUSPECT_CRASHES

    def judge(self, fence: int, phase: Phase, cancel_at: int) -> None:
        """Take in how the task stands: stop when cancellation was asked for, drop what is no longer this run's."""
        if self._ending or fence < self.row.fence:
            return
        if fence > self.row.fence or phase is not Phase.LEASED:
            self.drop()
        elif cancel_at:
            self.stop(Stopping.CANCELED)

    def stop(self, reason: Stopping) -> None:
        """Cancel the handler; only the first reason counts."""
        if self._ending or self._stopping is not None or (self._spec.failing and reason is Stopping.CANCELED):
            return
        self._tell(reason)
        self._cancel()
        self._end_soon()

    def drop(self) -> None:
        """The task is no longer this run's: nothing more is written."""
        if self.over:
            return
        self._ending = self.over = True
        if self._attempt is not None:
            self._attempt.lose()
        if self._stopping is None:
            self._tell(Stopping.LEASE_LOST)
            self._cancel()

    def _cancel(self) -> None:
        if self._begun and not self._canceled:  # else `_execute` would never be entered; it heeds why it is to stop
            self._canceled = True
            self._task.cancel()

    def _end_soon(self) -> None:
        grace = self._shop.limits.cancel_grace_seconds
        self._timers.append(self._loop.call_later(grace, self._end_without))

    def _leave(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A run broke off.", exc_info=error, extra=self._named)
        self._attempt = None  # it refers to this run
        self._left(self)

    def _tell(self, reason: Stopping) -> None:
        self._stopping = reason
        if self._attempt is not None:
            self._attempt.stopping = reason

    def _show(self) -> None:
        self._showing = self._loop.create_task(self._shown())

    async def _shown(self) -> None:
        with suppress(EngineError, ClientError):  # whoever sent the message asks for it too
            await self._shop.writer.submit(Show(self.row.key))

    def _end_without(self) -> None:
        end = outcomes.stopped(self._stopping, cut_short=self._spec.cut_short)
        if not self._ending and end is not None:
            self._ending = True
            _log.warning("A handler did not stop within the grace; its task ends without it.", extra=self._named)
            self._finishing = self._loop.create_task(self._finish(end))

    async def _execute(self) -> None:
        self._begun = True
        try:
            end = await self._handled()
            if not self._ending:
                self._ending = True
                await self._finish(end)
            elif self._finishing is not None:
                await asyncio.wait({self._finishing})
        finally:
            for timer in self._timers:
                timer.cancel()

    async def _handled(self) -> End | None:
        try:
            self._heed()
            if self._attempt is None:
                self._attempt = await self._prepared()
            if self._attempt is None:
                return None
            self._heed()
            if self._spec.failing:
                return await self._undone(self._attempt)
            self._limit_time(self._attempt)
            return await self._run(self._attempt)
        except LeaseLost as error:
            own = self._attempt is None or self._attempt.lost is not None or self._ending
            return None if own else self._judged(error)  # else it comes of the context of another run
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything; outcomes judges it
            try:
                return self._judged(error)
            except Exception as broken:  # noqa: BLE001 - what was raised cannot even be told
                return self._judged(broken)

    def _heed(self) -> None:
        if self._stopping is not None:
            raise asyncio.CancelledError  # judged as one that the loop raised

    async def _run(self, attempt: RunningAttempt) -> End:
        wishes = self._spec.wishes
        criterion = wishes.complete_when if wishes is not None else ""
        if self._spec.returned:
            return await gathered(attempt, criterion, None)
        completed = await self._shop.runner.run(attempt)
        if attempt.paused:
            return outcomes.swallowed(attempt.paused)
        if not criterion:
            return outcomes.completed(completed)
        note = note_of(completed, own=completed.message is not None or attempt.wrote)
        return await gathered(attempt, criterion, note)

    def _judged(self, error: BaseException) -> End | None:
        pause = self._attempt.paused if self._attempt is not None else None
        if pause is not None and isinstance(error, Paused) and self._stopping is not Stopping.DEADLINE:
            return outcomes.paused(pause, self._shop.limits.pause_seconds)
        canceled = isinstance(error, asyncio.CancelledError)
        if canceled or (self._stopping is not None and not isinstance(error, (Reject, Fail))):
            return outcomes.stopped(self._stopping, cut_short=self._spec.cut_short)
        if pause is not None or isinstance(error, Paused):
            return outcomes.swallowed(pause)
        error_id = self._shop.new_key().hex()[-12:]
        if not outcomes.is_expected(error):
            named = self._named | {"error_id": error_id}
            _log.error("Skill %s raised (error %s).", self.skill.id, error_id, exc_info=error, extra=named)
        return outcomes.raised(error, self.skill, error_id=error_id, jitter=self._shop.random.random())

    async def _prepared(self) -> RunningAttempt | None:
        snapshot = await self._snapshot()
        if snapshot is None or snapshot.task.fence != self.row.fence or snapshot.task.phase is not Phase.LEASED:
            self.drop()
            return None
        attempt = self._new_attempt(tuple(unpack_message(decode(message.body)) for message in snapshot.messages))
        if self.row.fence > 1:
            attempt.restore(snapshot)
        if self.row.fence > 1 or (self._spec.wishes is not None and self._spec.wishes.forked_from):
            attempt.task = replace(attempt.task, checkpoints=await attempt.checkpoints())
        if snapshot.task.cancel_at and not self._spec.failing:
            attempt.stopping = self._stopping = Stopping.CANCELED
        return attempt

    async def _snapshot(self) -> Snapshot | None:
        while True:
            try:
                return await self._shop.store.snapshot(self.row.key, None, artifacts=self.row.fence > 1)
            except StoreUnavailable:
                await asyncio.sleep(self._shop.limits.poll_seconds)

    def _new_attempt(self, history: tuple[Message, ...]) -> RunningAttempt:
        shop = self._shop
        return RunningAttempt(
            self.row,
            view_of(self.row, history, self._spec),
            writer=shop.writer,
            store=shop.store,
            artifacts=shop.artifacts,
            limits=shop.limits,
            retries=shop.limits.retries_of(self.skill),
            on_lost=self._on_lost,
            awaited=shop.awaited,
            spawning=self._children,
        )

    def _children(self, row: TaskRow, check: Callable[[], None]) -> Children:
        shop = self._shop
        return Children(
            row,
            shop.store,
            shop.writer,
            artifacts=shop.artifacts,
            submissions=shop.submissions,
            skills=shop.runner.skills,
            retry_seconds=shop.limits.poll_seconds,
            check=check,
            new_key=shop.new_key,
        )

    def _limit_time(self, attempt: RunningAttempt) -> None:
        seconds = self._spec.timeout_seconds
        if attempt.task.deadline is not None:
            left = attempt.task.deadline - self._shop.clock() / SECOND
            seconds = min(seconds, left)
        self._timers.append(self._loop.call_later(max(0.0, seconds), self.stop, Stopping.DEADLINE))

    def _on_lost(self, error: Exception) -> None:
        if isinstance(error, LeaseLost):
            self.drop()
        elif isinstance(error, StoreUnavailable):
            self._retire(self.row.worker)
        elif not self._ending:
            _log.error("What a run said was refused by the store.", exc_info=error, extra=self._named)
            self._cancel()
            self._end_soon()

    async def _finish(self, end: End | None) -> None:
        try:
            await self._settle(end)
        except asyncio.CancelledError:
            if not self.over and self._finishing is None:  # it was not dropped: the handler left behind what cancels it
                self._finishing = self._loop.create_task(self._settle(end))
                while not self._finishing.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({self._finishing})
            raise
        finally:
            self.over = True
            if self._attempt is not None:
                self._attempt.lose()

    async def _settle(self, end: End | None) -> None:
        attempt = self._attempt
        lost = None if attempt is None else attempt.lost
        if lost is not None and not isinstance(lost, (LeaseLost, StoreUnavailable)):
            text = "What the agent said could not be stored; the task ends without it."
            end = End(EndKind.FAILED, text, cause=Cause.INTERNAL)
        elif lost is not None or end is None:
            return
        try:
            if attempt is None or lost is not None:
                await self._report(end)
            else:
                await self._commit(attempt, end)
        except LeaseLost:
            if attempt is not None and not isinstance(attempt.lost, (LeaseLost, StoreUnavailable, type(None))):
                await self._end_plainly()
        except (StoreUnavailable, ClientError):
            self._retire(self.row.worker)
        except Exception:  # noqa: BLE001 - whatever keeps an end from being stored, the task must not stay leased
            _log.exception("The end of a run could not be stored.", extra=self._named)
            await self._end_plainly()

    async def _checked(self, attempt: RunningAttempt, end: End) -> End:
        """The end with what the checks said of this run's result, or of an earlier one's that it ends for."""
        returned = end.waiting is not None and end.waiting.returned
        if not self.skill.checks or not (returned or end.kind in JUDGED):
            return end
        noted = await attempt.recall(CHECKS, CHECKS)
        found = {} if noted is None else decode(noted)
        own = found.get("run") == self.row.fence or self._spec.failing or self._spec.returned
        return replace(end, checks=found["checks"]) if found and own else end

    async def _commit(self, attempt: RunningAttempt, end: End) -> None:
        end = await self._checked(attempt, end)
        for _ in range(FINISH_TRIES):
            try:
                await attempt.finish(end)
            except (Fail, Retry) as error:
                if end.kind in SETTLED:  # its artifacts stay as they are; no failure to keep them makes it another end
                    continue
                end = outcomes.raised(error, self.skill, error_id="", jitter=self._shop.random.random())
            else:
                return
        await self._report(end)

    async def _undone(self, attempt: RunningAttempt) -> End:
        try:
            async with asyncio.timeout(self._shop.limits.cancel_grace_seconds):
                await self._shop.runner.roll_back(attempt, self._spec.failing)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self._stopping is not None:
                raise asyncio.CancelledError from error  # part of the stopping, whatever it is
            if attempt.lost is not None:
                raise
            _log.exception("A roll-back failed.", extra=self._named)
            attempt.emit(LogLine("error", f"The roll-back failed ({type(error).__name__})."))
        return End(EndKind.FAILED, self._spec.failing)

    async def _report(self, end: End) -> None:
        retries = self._shop.limits.retries_of(self.skill)
        await self._shop.writer.submit(Report(self.row.key, self.row.fence, end=end, retries=retries))

    async def _end_plainly(self) -> None:
        try:
            text = "The run ended in a way that could not be stored."
            await self._report(End(EndKind.FAILED, text, cause=Cause.INTERNAL))
        except LeaseLost:
            pass
        except Exception:  # noqa: BLE001 - the last resort: the task is left to be found orphaned
            _log.exception("A run could not be ended at all.", extra=self._named)
            self._retire(self.row.worker)

    @property
    def _named(self) -> dict[str, str]:
        return {"task": self.row.id, "skill": self.skill.id}
