"""Schedules as their owners make, change and read them; and the tasks of their ticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from a2a_server.codec import encode, pack_message
from a2a_server.engine.engine import Engine, new_id, new_key
from a2a_server.engine.scheduling import Scheduler
from a2a_server.errors import Conflict, InvalidParams, UnsupportedOperation
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.records import DeleteRecord
from a2a_server.lifecycle.schedules import (
    ChangeSchedule,
    CreateSchedule,
    Fire,
    Fired,
    Kept,
    tick_key,
    unpacked,
)
from a2a_server.lifecycle.ticking import next_ticks, timing_of
from a2a_server.model.objects import File, Generation, Message, Method, Scope, Task, Wishes
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.schedule_keys import schedule_key, schedule_kind
from a2a_server.model.schedules import MOST_SCHEDULES, Schedule, SchedulePlan
from a2a_server.policy import SECOND
from a2a_server.service.files import own_name
from a2a_server.service.given import checked_id, options_in, options_under
from a2a_server.service.sending import Prepared, Sending
from a2a_server.service.tying import check_ties
from a2a_server.service.views import accepted_task
from a2a_server.values import value_class

PREVIEWED: Final = 5
MESSAGE_BYTES: Final = 256 * 1024
KEPT_NAMES: Final = 7 * 86_400 * SECOND
"""How long a tick is remembered beyond its schedule."""
TRIES: Final = 5

_NEVER: Final = {
    "runAt": "is one moment, and a schedule makes many tasks",
    "deadline": "is one moment, and a schedule makes many tasks",
    "uniqueKey": "would let it make one task in all",
    "returnImmediately": "says nothing here, nobody waits",
}


@value_class(frozen=True, slots=True)
class ScheduleView:
    """A schedule as it is. due_at: its next tick, microseconds, 0 = none; upcoming: the next ticks."""

    id: str
    rev: int
    due_at: int
    schedule: Schedule
    upcoming: tuple[int, ...] = ()


class Schedules:
    """The schedules of one engine. Concurrency: any number of callers.

    base_url: where clients reach this server, so that addresses of its own files are known.
    """

    def __init__(self, engine: Engine, base_url: Callable[[], str] = str) -> None:
        self._engine = engine
        self._store = engine.backends.store
        self._sending = Sending(engine, base_url)
        self._base_url = base_url
        self._grace = round(engine.limits.cancel_grace_seconds * SECOND)

    def scheduler(self) -> Scheduler:
        """What fires the ticks of this agent's schedules."""
        engine = self._engine
        return Scheduler(engine.writer, self.made, clock=engine.clock, grace=self._grace)

    async def create(self, scope: Scope, plan: SchedulePlan, message: Message, schedule_id: str = "") -> ScheduleView:
        """Make a schedule. schedule_id: '' = a new one. Idempotent: the same one again under its id is no other.

        Raises InvalidParams: a field breaks its rule, its task could not be made, or the owner has too many.
        """
        key = self._key(scope, checked_id(schedule_id) if schedule_id else new_id())
        schedule = await self._checked(key, plan, message)
        rows = await self._rows(scope, MOST_SCHEDULES)
        if len(rows) == MOST_SCHEDULES and all(row.id != key.id for row in rows):
            raise InvalidParams(f"You have {MOST_SCHEDULES} schedules, and that is all there can be; delete some.")
        return self._shown(await self._engine.submit(CreateSchedule(key, schedule)))

    async def update(
        self, scope: Scope, schedule_id: str, plan: SchedulePlan, message: Message, rev: int = 0
    ) -> ScheduleView | None:
        """Change a schedule to this plan; None = there is none. rev: only if it still has this one.

        Raises InvalidParams as `create`, and where it was changed meanwhile.
        """
        key = self._key(scope, schedule_id)
        schedule = await self._checked(key, plan, message)
        return await self._changed(ChangeSchedule(key, schedule, rev=rev))

    async def pause(self, scope: Scope, schedule_id: str) -> ScheduleView | None:
        """Have its ticks make no tasks until `resume`; None = there is none."""
        return await self._changed(ChangeSchedule(self._key(scope, schedule_id), paused=True))

    async def resume(self, scope: Scope, schedule_id: str) -> ScheduleView | None:
        """End its pause; the ticks that fell into it are gone. None = there is none."""
        return await self._changed(ChangeSchedule(self._key(scope, schedule_id), paused=False))

    async def delete(self, scope: Scope, schedule_id: str, rev: int = 0) -> bool:
        """Delete a schedule; whether there was one. Its tasks stay. Raises InvalidParams: it has another rev."""
        found: bool = await self._engine.submit(DeleteRecord(self._key(scope, schedule_id), rev))
        return found

    async def get(self, scope: Scope, schedule_id: str, upcoming: int = PREVIEWED) -> ScheduleView | None:
        """The schedule with so many of its next ticks (100 at most); None = there is none."""
        row = await self._row(self._key(scope, schedule_id))
        return None if row is None else self._shown(Kept(row, unpacked(row)), upcoming)

    async def known(self, scope: Scope) -> Sequence[ScheduleView]:
        """All schedules of the owner, by id."""
        return [self._shown(Kept(row, unpacked(row))) for row in await self._rows(scope, MOST_SCHEDULES)]

    async def trigger(self, scope: Scope, schedule_id: str, key: str = "") -> Task | None:
        """Make its task now, beside its ticks; None = there is no such schedule.

        key: with one key comes one task, however often it is asked for. Raises UnsupportedOperation: no task was made,
        and why.
        """
        name = f"cron:{schedule_id}:by-hand:{key or new_id()}"
        for _ in range(TRIES):
            row = await self._row(self._key(scope, schedule_id))
            if row is None:
                return None
            make = await self._make(row, unpacked(row), name, Method.TRIGGER, scope.through)
            try:
                fired: Fired = await self._engine.submit(Fire(row, 0, make, grace=self._grace, by_hand=True))
            except Conflict:  # another task of its context came in between
                continue
            if fired.made is not None:
                return accepted_task(fired.made.row, None)
            if not fired.stale:
                raise UnsupportedOperation(f"The schedule made no task: {fired.why_not}")
        raise UnsupportedOperation("The schedule is being changed all the time; try again.")

    async def made(self, row: RecordRow, schedule: Schedule, tick: int) -> Make:
        """What makes the task of a tick. Raises InvalidParams."""
        return await self._make(row, schedule, tick_key(row.id, tick))

    async def _make(
        self, row: RecordRow, schedule: Schedule, name: str, method: Method = Method.TICK, through: str = ""
    ) -> Make:
        return Make((await self._prepared(row, schedule, name, method, through)).submit, name, KEPT_NAMES)

    async def _prepared(
        self, row: RecordRow, schedule: Schedule, name: str, method: Method = Method.TICK, through: str = ""
    ) -> Prepared:
        scope = Scope(row.tenant, row.owner, through)
        request = SendRequest(
            Generation.V10,
            replace(schedule.message, id=name),
            context_id=schedule.context,
            blocking=False,
            options=options_in(schedule.options, "options", never=_NEVER),
            metadata=schedule.metadata,
            method=method,
        )
        with options_under("options"):
            prepared = await self._sending.prepared(
                scope, new_key(), request, wishes=Wishes(schedule=row.id), checked=True
            )
        extras = prepared.submit.extras
        if extras is not None and extras.parent and extras.depends_on:
            raise InvalidParams(
                "options.dependsOn makes no sense beside parentTaskId in a schedule: a parent could come to wait for "
                "itself; leave one of them out.",
                path="options.dependsOn",
            )
        return prepared

    async def _checked(self, key: RecordKey, plan: SchedulePlan, message: Message) -> Schedule:
        for place, part in enumerate(message.parts):
            if isinstance(part, File) and (part.stored or own_name(part.url, self._base_url()) is not None):
                path = f"message.parts[{place}].url"
                raise InvalidParams(
                    f"{path} is a file of this server, which is kept for a task and not for a schedule; give an "
                    "address elsewhere, or the bytes.",
                    path=path,
                )
        if len(encode(pack_message(message))) > MESSAGE_BYTES:
            raise InvalidParams(f"message must have at most {MESSAGE_BYTES} bytes.", path="message")
        if message.task_id or message.reference_task_ids:
            raise InvalidParams("message must not name tasks; each tick makes a new one.", path="message.taskId")
        schedule = Schedule(
            self._engine.agent,
            timing_of(plan, self._engine.clock()),
            replace(message, id="", context_id=""),
            plan.options,
            plan.metadata,
            plan.context_id,
            plan.missed,
            plan.overlap,
            plan.max_runs,
            plan.paused,
            plan.description,
        )
        prepared = await self._prepared(RecordRow(*key, 0, 0, b""), schedule, key.id)
        await self._sending.dropped(prepared)
        if (extras := prepared.submit.extras) is not None:
            await check_ties(self._engine, Scope(key.tenant, key.owner), extras.depends_on, extras.parent)
        return schedule

    async def _changed(self, change: ChangeSchedule) -> ScheduleView | None:
        kept: Kept | None = await self._engine.submit(change)
        return None if kept is None else self._shown(kept)

    def _shown(self, kept: Kept, upcoming: int = PREVIEWED) -> ScheduleView:
        row, now = kept.row, self._engine.clock()
        if row.due_at:
            self._engine.duties.sweeper.expect(row.due_at - now)
        ticks = () if kept.schedule.paused else tuple(next_ticks(kept.schedule, max(now, row.due_at), upcoming))
        return ScheduleView(row.id, row.rev, row.due_at, kept.schedule, ticks)

    def _key(self, scope: Scope, schedule_id: str) -> RecordKey:
        return schedule_key(scope.tenant, scope.owner, self._engine.agent, schedule_id)

    async def _row(self, key: RecordKey) -> RecordRow | None:
        page = await self._store.rows(RowQuery(Table.RECORD, tuple(key), limit=1))
        return next((row for row in page.rows if isinstance(row, RecordRow)), None)

    async def _rows(self, scope: Scope, most: int) -> list[RecordRow]:
        prefix = (schedule_kind(self._engine.agent), scope.tenant, scope.owner)
        page = await self._store.rows(RowQuery(Table.RECORD, prefix, limit=most))
        return [row for row in page.rows if isinstance(row, RecordRow)]
