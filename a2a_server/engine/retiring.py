"""Retires tasks that ended long ago: archived if that is wanted, then their objects are deleted, then their rows.

Theory of operation
-------------------
One process at a time has the duty (lifecycle.duties). It walks the tasks in the order in which they were made, some at
a time, and stops at the first that is too young to have ended long enough ago. Of an old task that has ended everything
goes, in an order in which each step may be done again: the archive is written and read back; objects that only this
task needs are deleted, as the collector would; then all rows go in one turn. Whoever dies in between leaves a task that
is still there, perhaps without its files, and the next one begins with it anew.

A task waits longer whose parent has not ended, or a retry of it that took the task over, from which other tasks have
yet to learn that it ended, or of which somebody has yet to be told (a delivery that was given up does not count).

Weakness: a task that has to wait, or is kept longer than others, is looked at in every round.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final
from uuid import UUID

from a2a_server.engine.archiving import archive
from a2a_server.engine.collector import Collector
from a2a_server.engine.graph import has_untold, is_part
from a2a_server.engine.limits import Limits
from a2a_server.engine.paging import rows_of
from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, Damaged, EngineError, TooLarge
from a2a_server.lifecycle.duties import Arrange, Hold, duty_key
from a2a_server.model.objects import Phase, State
from a2a_server.model.queries import Table
from a2a_server.model.rows import Interest, Key, PushRow, RecordRow, TaskRow
from a2a_server.policy import SECOND
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.telemetry.observer import SILENT, Observer
from a2a_server.values import value_class

RETIRE: Final = "retire"
"""The name of the duty."""
HOLD_SECONDS: Final = 600.0
"""How long a process has the duty without saying that it lives."""
SLICE: Final = 200
"""Tasks that are looked at in one step."""
ERASED_AT_ONCE: Final = 20
PAUSE_SECONDS: Final = 0.05
"""Between two steps: retiring is never urgent."""
DAY: Final = 86_400 * SECOND

_log = logging.getLogger("a2a_server.engine.retiring")


@value_class(frozen=True, slots=True)
class Retention:
    """How long tasks are kept once they have ended, microseconds by state; one that is not named stays for ever.

    archive: whether they are archived first; limit_bytes: the largest archive.
    """

    ages: Mapping[State, int]
    archive: bool = False
    limit_bytes: int = 1 << 30

    def is_over(self, row: TaskRow, now: int) -> bool:
        """Whether the task ended long enough ago."""
        age = self.ages.get(row.state)
        return row.phase is Phase.FINAL and age is not None and row.status_at + age <= now

    def may_be_over(self, row: TaskRow, now: int) -> bool:
        """Whether the task was made so long ago that it, or a younger one, could be over."""
        return bool(self.ages) and row.created_at + min(self.ages.values()) <= now


def retention_of(limits: Limits) -> Retention:
    """As the settings say it."""
    days = {
        State.COMPLETED: limits.retention_completed_days,
        State.FAILED: limits.retention_failed_days,
        State.CANCELED: limits.retention_canceled_days,
        State.REJECTED: limits.retention_rejected_days,
    }
    ages = {state: round(some * DAY) for state, some in days.items() if some}
    return Retention(ages, limits.archive, limits.artifact_limit_bytes)


@dataclass(slots=True)
class Survey:
    """What a round would do, or did: tasks by state. waiting: old enough, but kept for another reason.

    oldest: how long ago the oldest of each state ended, microseconds. archived: of those that were retired.
    """

    retired: Counter[State] = field(default_factory=Counter)
    waiting: Counter[State] = field(default_factory=Counter)
    oldest: dict[State, int] = field(default_factory=dict)
    archived: int = 0


class Retiring:
    """Retires tasks of a store. clock: the store's time, microseconds; period_seconds: about how often."""

    def __init__(
        self,
        store: TaskStore,
        artifacts: ArtifactStore,
        collector: Collector,
        writer: Writer,
        retention: Retention,
        *,
        period_seconds: float,
        clock: Callable[[], int],
        random: Random,
        observer: Observer = SILENT,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._collector = collector
        self._writer = writer
        self._retention = retention
        self._period = period_seconds
        self._clock = clock
        self._random = random
        self._observer = observer
        self._held: RecordRow | None = None
        self._taken = asyncio.Event()

    async def act(self, rows: Sequence[RecordRow]) -> None:
        """Take the duty, if nobody else was quicker; `run` does it."""
        for row in rows:
            if row.id == RETIRE and self._held is None:
                self._held = await self._writer.submit(Hold(row, round(HOLD_SECONDS * SECOND)))
                if self._held is not None:
                    self._taken.set()

    async def run(self) -> None:
        """Do the duty whenever this process has it, for ever."""
        first = self._period * self._random.random()
        arrange = Arrange(duty_key(RETIRE), round(first * SECOND))
        arranged = False
        while True:
            if not arranged:
                arranged = await self._tried(lambda: self._writer.submit(arrange))
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            await self._taken.wait()
            await self._tried(self._do)
            self._taken.clear()
            self._held = None

    async def retire(self) -> Survey:
        """Retire what is old enough, once over all tasks. Idempotent. Raises what the stores raise."""
        survey = Survey()
        async for old in self._slices(survey):
            await self._retire(old, survey)
        return survey

    async def survey(self) -> Survey:
        """What `retire` would do. Nothing is touched."""
        survey = Survey()
        async for old in self._slices(survey):
            survey.retired.update(row.state for row in old)
        return survey

    async def _do(self) -> None:
        survey = await self.retire()
        if count := survey.retired.total():
            archived = f", {survey.archived} of them archived" if survey.archived else ""
            _log.info("Retired %d tasks that ended long ago%s.", count, archived)
        await self._go_on(self._period * self._random.uniform(0.8, 1.2))

    async def _go_on(self, seconds: float) -> None:
        """Hold the duty for so long. Raises EngineError: somebody else has it by now."""
        if self._held is None:
            return
        self._held = await self._writer.submit(Hold(self._held, round(seconds * SECOND), due=False))
        if self._held is None:
            raise EngineError("another process took the duty")

    async def _slices(self, survey: Survey) -> AsyncIterator[list[TaskRow]]:
        """The tasks that can be retired now, some at a time."""
        after = Key(b"")
        while rows := await self._store.oldest(after, SLICE):
            after, now = rows[-1].key, self._clock()
            old = [row for row in rows if self._retention.is_over(row, now)]
            for row in old:
                survey.oldest[row.state] = max(survey.oldest.get(row.state, 0), now - row.status_at)
            needed = await self._needed(old)
            survey.waiting.update(row.state for row in old if row.key in needed)
            yield [row for row in old if row.key not in needed]
            if not self._retention.may_be_over(rows[-1], now):
                return
            await self._go_on(HOLD_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _needed(self, rows: Sequence[TaskRow]) -> set[Key]:
        """Those that somebody still needs."""
        parents = {row.parent for row in rows if row.parent}
        heads = await self._store.heads(parents) if parents else {}
        at_work = {key for key, head in heads.items() if head.phase is not Phase.FINAL}
        return {row.key for row in rows if row.parent in at_work or await self._is_awaited(row)}

    async def _is_awaited(self, row: TaskRow) -> bool:
        if row.pushes & Interest.TOLD:
            async for push in rows_of(self._store, Table.PUSH, (row.key,), 2):
                if isinstance(push, PushRow) and push.due_at and not push.dead:
                    return True
        return await has_untold(self._store, row) or await is_part(self._store, row)

    async def _retire(self, rows: Sequence[TaskRow], survey: Survey) -> None:
        for first in range(0, len(rows), ERASED_AT_ONCE):
            some = [row for row in rows[first : first + ERASED_AT_ONCE] if await self._emptied(row, survey)]
            if not some:
                continue
            await self._store.erase([row.key for row in some])
            for state, count in Counter(row.state for row in some).items():
                survey.retired[state] += count
                self._observer.retired(state.name.lower(), count)

    async def _emptied(self, row: TaskRow, survey: Survey) -> bool:
        """Archive the task and delete its objects. False: it has to stay."""
        if self._retention.archive:
            try:
                await archive(self._store, self._artifacts, row, limit_bytes=self._retention.limit_bytes)
            except (TooLarge, Damaged) as error:
                _log.warning("A task could not be archived and stays: %s", error, extra={"task": row.id})
                survey.waiting[row.state] += 1
                return False
            survey.archived += 1
        await self._collector.discard([name async for name in self._objects(row.key)], but=row.key)
        return True

    async def _objects(self, key: Key) -> AsyncIterator[str]:
        prefix = after = f"{UUID(bytes=key)}/"
        while page := await self._artifacts.list(after, SLICE):
            for entry in page:
                if not entry.name.startswith(prefix):
                    return
                yield entry.name
            after = page[-1].name

    async def _tried(self, work: Callable[[], Awaitable[object]]) -> bool:
        try:
            await work()
        except (EngineError, ClientError) as error:
            _log.warning("Retiring old tasks failed (%s); it is tried again.", type(error).__name__)
        except Exception:  # noqa: BLE001 - a bug here must not end retiring for ever; it is logged each time
            _log.exception("Retiring old tasks failed; it is tried again.")
        else:
            return True
        return False
