"""A worker: claims tasks as it has slots for them, and says that it lives. How one task is run, `run` tells.

Theory of operation
-------------------
The worker holds slots: many for coroutines, a few for threads. It takes hints from the queue and claims from the store
as much as it has slots for; where this process accepts a message and a slot is free, the send's own turn leases the
task (`reserve`, then `begin` or `release`). A worker that had no slot left claims before it does so again: what waits
in any of its queues may stand higher than the task at the door.

What the worker claims may be bounded: to lanes, to queues, to what it satisfies (`claiming`).

A thread with its own connection to the store says every few seconds that the worker lives (`Pulse`). A worker that was
declared dead never comes back: it drops all its runs and registers under a new id. It retires likewise, of its own
accord, when the store did not take what it had to write, or left open whether it did: whoever finds the old id dead
runs its tasks again.

Weakness: a handler that never returns keeps its slot for ever; only a new process gets it back.

Source: core.md section 5.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from a2a_server.codec import FORMAT
from a2a_server.engine.claiming import CLAIM_LIMIT, Claims, Sources
from a2a_server.engine.pulse import Pulse
from a2a_server.engine.run import Run
from a2a_server.engine.watchdog import Doing
from a2a_server.engine.workshop import Workshop
from a2a_server.errors import ClientError, EngineError, StoreUnavailable
from a2a_server.lifecycle.draining import DRAIN, SPACE, Drain
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.requirements import Offer, Pool
from a2a_server.lifecycle.runs import Claim, Claimed, Report
from a2a_server.lifecycle.sweeping import Bury
from a2a_server.model.objects import Lane, Message
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import NO_KEY, Key, TaskRow, WorkerRow
from a2a_server.model.runs import SkillSpec, Stopping
from a2a_server.model.turns import Bell
from a2a_server.policy import CLASS, SECOND
from a2a_server.ports import WorkQueue

_log = logging.getLogger("a2a_server.engine.worker")


class Worker:
    """Runs tasks of one agent. Concurrency: belongs to the event loop, but for its pulse's thread.

    about: what its row tells operators. offer: what it has for tasks that need something. standing: limits for
    everybody. drain: called when an operator told it to drain.
    """

    def __init__(
        self,
        agent: str,
        shop: Workshop,
        queue: WorkQueue,
        *,
        about: bytes = b"",
        offer: Offer | None = None,
        standing: Mapping[str, int] | None = None,
        drain: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = NO_KEY
        self._shop = shop
        self._limits = shop.limits
        self._queue = queue
        self._about = about
        self._asked_to_drain = drain
        self._skills: dict[str, SkillSpec] = {skill.id: skill for skill in shop.runner.skills}
        self._claims = Claims(agent, shop.runner.skills, shop.store, shop.limits, offer=offer, standing=standing)
        self._size = {False: shop.limits.slots, True: shop.limits.threads}
        self._free = dict(self._size)
        self._reserved = 0
        self._runs: dict[Key, Run] = {}
        self._live: set[Run] = set()
        self._shares: dict[Run, Pool] = {}
        self._news = asyncio.Event()
        self._stopping = False
        self._hurried = False
        self._crashed = False
        self._pulse: Pulse | None = None
        self._claiming: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Register and begin to claim."""
        await self._register()
        self._claiming = asyncio.get_running_loop().create_task(self._claim_forever())

    async def drain(self) -> None:
        """Stop claiming, let runs end for `drain_seconds`, hand the rest back, and go."""
        self._stopping = True
        self._news.set()
        if self._claiming is not None:
            await asyncio.wait({self._claiming})
        await self._all_over(self._limits.drain_seconds, lambda: self._hurried)
        for run in list(self._live):
            run.stop(Stopping.SHUTDOWN)
        await self._all_over(self._limits.cancel_grace_seconds + 1, lambda: False)
        self._end()
        if self._background:
            await asyncio.wait(self._background, timeout=self._limits.poll_seconds)

    def hurry(self) -> None:
        """Let a drain wait no longer: runs that still go on are handed back now."""
        self._hurried = True
        self._news.set()

    def crash(self) -> None:
        """Die as in a killed process: nothing more is written and nothing handed back. For tests."""
        self._stopping = self._crashed = True
        self._end()
        for task in (self._claiming, *self._background):
            if task is not None:
                task.cancel()
        self._drop_runs()

    @property
    def running(self) -> int:
        """How many handlers hold a slot."""
        return len(self._live)

    @property
    def scarce(self) -> bool:
        """Whether so few slots are free that tasks may soon wait for one."""
        return any(self._free[threaded] * 2 < size for threaded, size in self._size.items())

    @property
    def used(self) -> dict[bool, tuple[int, int]]:
        """Of the slots for coroutines, and (True) for threads: how many are in use, and how many there are."""
        return {threaded: (size - self._free[threaded], size) for threaded, size in self._size.items()}

    def resize(self, size: int, *, threaded: bool) -> None:
        """Have so many slots of a kind from now on; runs that are more than that go on to their end."""
        more, self._size[threaded] = size - self._size[threaded], size
        self._give_back(more, threaded=threaded)

    @property
    def classes(self) -> Sequence[str]:
        """The queues of tasks that need something, as far as it has learnt of them."""
        return self._claims.classes.known

    @property
    def ready(self) -> bool:
        """Whether it is registered and claims."""
        return bool(self.id) and not self._stopping

    def doing(self, task: asyncio.Task[Any]) -> Doing | None:
        """What a task of the event loop works on. Thread-safe."""
        run = next((run for run in list(self._live) if run.is_run_by(task)), None)
        return None if run is None else Doing(run.skill.id, run.row.id)

    def reserve(self, skill: str, lane: Lane = Lane.NORMAL) -> bool:
        """Keep a slot for a task of this skill that is about to be submitted; `begin` or `release` must follow."""
        spec = self._skills.get(skill)
        if spec is None or spec.pulled or self._stopping or not self.id or self._free[spec.threaded] <= 0:
            return False
        if not self._claims.admits(spec, lane):
            return False
        self._free[spec.threaded] -= 1
        self._reserved += 1
        return True

    def release(self, skill: str, *, doubt: Key = NO_KEY) -> None:
        """Give a reserved slot back. doubt: this worker's id, if the task may have been leased to it all the same."""
        self._reserved -= 1
        self._give_back(1, threaded=self._skills[skill].threaded)
        if doubt:
            self._retire(doubt)

    def begin(self, row: TaskRow, message: Message) -> None:
        """Run a task that was leased to this worker in its reserved slot; `message` is its only one."""
        self._reserved -= 1
        self._begin(row, message)

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Stop runs whose cancellation was asked for, and those that hold their task no longer."""
        for bell in bells:
            if (run := self._runs.get(bell.key)) and (head := bell.row or bell.head):
                run.judge(head.fence, head.phase, head.cancel_at)
            if (told := bell.row or bell.hint) and CLASS in told.queue and self._claims.classes.is_new((told.queue,)):
                self._spawn(self._learn())

    async def check(self) -> None:
        """Ask the store about every run: doorbells may have been lost."""
        heads = await self._shop.store.heads(list(self._runs)) if self._runs else {}
        for key, head in heads.items():
            if run := self._runs.get(key):
                run.judge(head.fence, head.phase, head.cancel_at)
        if self.ready:
            await self._learn()
        if self._shop.store.capabilities.many_writers and self.ready:
            await self._look_for_word()

    async def _learn(self) -> None:
        with contextlib.suppress(EngineError):
            if await self._claims.classes.learn():
                self._news.set()

    async def _look_for_word(self) -> None:
        worker = self.id
        page = await self._shop.store.rows(RowQuery(Table.STATE, (worker, SPACE, DRAIN), limit=1))
        if page.rows:
            self._asked_to_drain()  # first: whether the word could be taken back may stay in doubt
            await self._shop.writer.submit(Drain(worker, asked=False))

    def _begin(self, row: TaskRow, message: Message | None) -> None:
        if row.worker != self.id or self._stopping:
            self._give_back(1, threaded=self._skills[row.skill].threaded)
            if not self._crashed:
                self._spawn(self._hand_back(row))
            return
        run = Run(row, self._skills[row.skill], self._shop, message, retire=self._retire, left=self._left)
        if CLASS in row.queue:
            self._shares[run] = self._claims.classes.take(row)
        self._runs[row.key] = run
        self._live.add(run)

    def _left(self, run: Run) -> None:
        self._live.discard(run)
        if self._runs.get(run.row.key) is run:
            del self._runs[run.row.key]
        if self._give_back(1, threaded=run.skill.threaded):
            self._claims.owe(threaded=run.skill.threaded)
        if share := self._shares.pop(run, None):
            self._claims.classes.give_back(share)
            self._news.set()  # what did not fit may fit now
        if run.suspect:  # the next suspect may go now
            self._news.set()

    def _give_back(self, slots: int, *, threaded: bool) -> bool:
        """Whether there was none before."""
        was_full = self._free[threaded] <= 0
        self._free[threaded] += slots
        if was_full or self._stopping:
            self._news.set()
        return was_full

    async def _hand_back(self, row: TaskRow) -> None:
        with contextlib.suppress(EngineError, ClientError):
            await self._shop.writer.submit(Report(row.key, row.fence, end=End(EndKind.HANDED_BACK)))

    async def _register(self) -> None:
        worker = self._shop.new_key()
        ttl = round(self._limits.lease_seconds * SECOND)
        await self._shop.store.register(WorkerRow(worker, 0, ttl, dead=False, format=FORMAT, body=self._about))
        if self._stopping:
            return
        self._pulse = Pulse(
            lambda: self._shop.store.beat(worker),
            beat_seconds=self._limits.beat_seconds,
            lease_seconds=self._limits.lease_seconds,
            stall_seconds=self._limits.stall_seconds,
            lost=lambda: self._retire(worker),
        )
        self._pulse.start()
        self.id = worker
        self._news.set()

    def _retire(self, worker: Key) -> None:
        if self.id != worker or self._stopping:
            return
        self._shop.observer.lease_lost()
        _log.error(
            "This worker lost its lease; its %d runs are dropped and begin again elsewhere.",
            len(self._runs),
            extra={"worker": worker.hex()},
        )
        self._end()
        self._drop_runs()
        self._spawn(self._register_again(worker))

    def _end(self) -> None:
        self.id = NO_KEY
        if self._pulse is not None:
            self._pulse.stop()

    async def _register_again(self, old: Key) -> None:
        while not self._stopping:
            try:
                await self._shop.writer.submit(Bury((old,), certain=True))
                await self._register()
            except (EngineError, ClientError):
                await asyncio.sleep(self._limits.poll_seconds)
            else:
                break

    def _drop_runs(self) -> None:
        for run in list(self._live):
            run.drop()

    async def _claim_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self._news.clear()
            kinds = self._claims.sources(self._free, loop.time())
            if not kinds or not self.id:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.poll_seconds):
                        await self._news.wait()
                continue
            hinted: tuple[Key, ...] = ()
            if self._claims.wait(kinds):
                hinted = await self._hints([name for sources in kinds.values() for name in sources.hinted])
            try:
                await self._claim(kinds, hinted)
            except (EngineError, ClientError) as error:
                _log.warning("A claim failed (%s); it is tried again.", type(error).__name__)
                self._claims.failed()

    async def _hints(self, queues: Sequence[str]) -> tuple[Key, ...]:
        wait = self._limits.poll_seconds * self._shop.random.uniform(0.8, 1.2)
        loop = asyncio.get_running_loop()
        hints = loop.create_task(self._taken(queues, wait))
        news = loop.create_task(self._heard())
        try:
            await asyncio.wait({hints, news}, return_when=asyncio.FIRST_COMPLETED)
            return hints.result() if hints.done() else ()
        finally:
            hints.cancel()
            news.cancel()

    async def _taken(self, queues: Sequence[str], wait: float) -> tuple[Key, ...]:
        return tuple(await self._queue.take(queues, CLAIM_LIMIT, wait) or ())

    async def _heard(self) -> None:
        await self._news.wait()

    async def _claim(self, kinds: Mapping[bool, Sources], hinted: tuple[Key, ...]) -> None:
        for threaded, sources in kinds.items():
            limit = min(self._free[threaded], CLAIM_LIMIT)
            if not self.id or self._stopping:
                return
            if limit <= 0:
                self._claims.no_slot(hinted, threaded=threaded)
                continue
            suspects = not any(run.suspect for run in self._live)
            claim = self._claims.claim(self.id, sources, limit, hinted, suspects=suspects, threaded=threaded)
            self._free[threaded] -= limit
            begin = partial(self._begin_all, claim=claim, threaded=threaded)
            claimed = await self._shop.writer.post(claim, begin)
            self._claims.learn(claim, claimed, threaded=threaded, now=asyncio.get_running_loop().time())

    def _begin_all(self, claimed: Claimed | BaseException, *, claim: Claim, threaded: bool) -> None:
        rows = claimed.rows if isinstance(claimed, Claimed) else ()
        self._give_back(claim.limit - len(rows), threaded=threaded)
        for row in rows:
            self._begin(row, None)
        if isinstance(claimed, StoreUnavailable):
            self._retire(claim.worker)

    async def _all_over(self, seconds: float, give_up_early: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + seconds
        while self._reserved or not all(run.over for run in self._live):
            left = give_up - loop.time()
            if left <= 0 or give_up_early():
                return
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._limits.poll_seconds)):
                    await self._news.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
