"""`/schedules`: tasks that are made again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from a2a_server.errors import Changed, InvalidParams, NothingThere, UnsupportedOperation
from a2a_server.model.objects import Scope
from a2a_server.model.schedules import Schedule, SchedulePlan
from a2a_server.model.times import timestamp
from a2a_server.policy import SECOND
from a2a_server.service.given import checked_id
from a2a_server.service.revising import as_changed, expected
from a2a_server.service.schedules import Schedules, ScheduleView
from a2a_server.service.showing import Shown
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.inputs import modelled
from a2a_server.web.management.merging import TRIES, contended, merged, paged
from a2a_server.web.management.messages import message_of, message_shown
from a2a_server.web.management.table import Body, Call, NoQuery, Query, Reply, Route
from a2a_server.web.management.words import Name

MOST_TICKS = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HISTORY = frozenset(
    {"revision", "createdAt", "nextAt", "upcoming", "runs", "skipped", "lastAt", "lastTaskId", "lastError"}
)
"""Members that a schedule shows and nobody sets."""


class SchedulePut(SchedulePlan):
    """A schedule as people write it: when, and what each of its tasks is made of."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)

    text: str | None = Field(None, description="The text of each task's message; or:")
    message: dict[str, Any] | None = Field(None, description="`parts` of A2A 1.0, and `metadata`.")


class NewSchedule(SchedulePut):
    """A schedule to be made."""

    id: str = Field("", max_length=128, description="Its name, unique among yours; empty = a new one.")


class SchedulePatch(Body):
    """A merge patch (RFC 7396) of a schedule; it may name any member of it."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ScheduleShown(Shown):
    """A schedule, and what has come of it."""

    id: str
    description: str | None = None
    cron: str | None = None
    time_zone: str | None = None
    interval_seconds: float | None = None
    run_at: str | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    max_runs: int | None = None
    missed: str
    overlap: str
    paused: bool
    message: dict[str, Any]
    options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    context_id: str | None = None
    created_at: str
    next_at: str | None = Field(None, description="Its next tick; absent = it has none, or is paused.")
    upcoming: list[str] | None = None
    runs: int = Field(description="Ticks that made a task.")
    skipped: int = Field(
        description="Ticks that did not; of a cron expression, at most 100 that were missed in a row are counted."
    )
    last_at: str | None = None
    last_task_id: str | None = None
    last_error: str | None = Field(None, description="Why the last tick made no task.")
    revision: int


class SchedulesQuery(Query):
    """Which page."""

    limit: int = Field(50, ge=1, le=200, description="Schedules on a page.")
    cursor: str = Field("", max_length=256, description="`next` of the page before.")


class SchedulesShown(Shown):
    """Some schedules, by id."""

    schedules: list[ScheduleShown]
    next: str | None = None


class PreviewQuery(Query):
    """How far."""

    count: int = Field(5, ge=1, le=MOST_TICKS, description="Ticks.")


class Preview(Shown):
    """The next ticks."""

    ticks: list[str]


class Trigger(Body):
    """A task now."""

    unique_key: Name = Field("", description="With one key comes one task, however often it is asked for.")


class Triggered(Shown):
    """The task that was made."""

    task_id: str
    context_id: str


class SchedulePages:
    """Serves them. base_url: as files in messages are addressed."""

    def __init__(self, schedules: Schedules, base_url: Callable[[], str]) -> None:
        self._schedules = schedules
        self._base_url = base_url

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        one, tag = "/schedules/{id}", "schedules"
        shown: dict[str, Any] = {"result": ScheduleShown, "revised": True}
        return (
            Route("POST", "/schedules", "createSchedule", "Make a schedule.", self.create, tag, body=NewSchedule,
                  result=ScheduleShown, status=201, errors=(409,)),
            Route("GET", "/schedules", "listSchedules", "Your schedules, by id.", self.known, tag,
                  query=SchedulesQuery, result=SchedulesShown),
            Route("GET", one, "getSchedule", "One schedule.", self.get, tag, **shown),
            Route("PUT", one, "replaceSchedule", "Replace a schedule.", self.put, tag, body=SchedulePut, **shown),
            Route("PATCH", one, "changeSchedule", "Change a schedule.", self.patch, tag, body=SchedulePatch,
                  merge=True, **shown),
            Route("DELETE", one, "deleteSchedule", "Delete a schedule; its tasks stay.", self.delete, tag,
                  status=204, revised=True),
            Route("POST", f"{one}/pause", "pauseSchedule", "Have its ticks make no tasks.", self.pause, tag,
                  result=ScheduleShown),
            Route("POST", f"{one}/resume", "resumeSchedule", "Have its ticks make tasks again.", self.resume, tag,
                  result=ScheduleShown),
            Route("POST", f"{one}/trigger", "triggerSchedule", "Make its task now.", self.trigger, tag, body=Trigger,
                  body_optional=True, result=Triggered, status=201, errors=(409,)),
            Route("GET", f"{one}/preview", "previewSchedule", "Its next ticks.", self.preview, tag,
                  query=PreviewQuery, result=Preview),
        )  # fmt: skip

    async def create(self, call: Call[NoQuery, NewSchedule]) -> Reply:
        """The schedule."""
        plan, message = _plan(call.body), message_of(call.body.text, call.body.message)
        if call.body.id:
            checked_id(call.body.id)
        try:
            view = await self._schedules.create(call.scope, plan, message, call.body.id)
        except InvalidParams as error:
            if error.path != "id":
                raise
            raise UnsupportedOperation(error.message) from None
        return self._reply(view, {"Location": f"{PREFIX}/schedules/{view.id}"})

    async def known(self, call: Call[SchedulesQuery, None]) -> Reply:
        """A page."""
        views = await self._schedules.known(call.scope)
        page, after = paged(views, _id, call.query.limit, call.query.cursor)
        return Reply(SchedulesShown(schedules=[self._shown(one) for one in page], next=after))

    async def get(self, call: Call[NoQuery, None]) -> Reply:
        """One."""
        return self._reply(await self._found(call.scope, call.path["id"]))

    async def put(self, call: Call[NoQuery, SchedulePut]) -> Reply:
        """As it is then."""
        rev = expected(call.revisions, (await self._found(call.scope, call.path["id"])).rev)
        message = message_of(call.body.text, call.body.message)
        with as_changed():
            view = await self._schedules.update(call.scope, call.path["id"], _plan(call.body), message, rev)
        return self._reply(_there(view))

    async def patch(self, call: Call[NoQuery, SchedulePatch]) -> Reply:
        """As it is then."""
        for name in sorted(_HISTORY & call.given.keys()):
            raise InvalidParams(f"{name} cannot be set; leave it out.", path=name)
        for _ in range(TRIES):
            view = await self._found(call.scope, call.path["id"])
            expected(call.revisions, view.rev)
            body = cast("SchedulePut", modelled(SchedulePut, _patched(self._written(view.schedule), call.given)))
            message = message_of(body.text, body.message) if {"text", "message"} & call.given.keys() else None
            try:
                with as_changed():
                    changed = await self._schedules.update(
                        call.scope, view.id, _plan(body), message or view.schedule.message, view.rev
                    )
            except Changed:
                if call.revisions is not None:
                    raise
                continue
            return self._reply(_there(changed))
        raise contended()

    async def delete(self, call: Call[NoQuery, None]) -> Reply:
        """Nothing."""
        rev = expected(call.revisions, (await self._found(call.scope, call.path["id"])).rev)
        with as_changed():
            if not await self._schedules.delete(call.scope, call.path["id"], rev):
                raise _nothing()
        return Reply()

    async def pause(self, call: Call[NoQuery, None]) -> Reply:
        """As it is then."""
        return self._reply(_there(await self._schedules.pause(call.scope, call.path["id"])))

    async def resume(self, call: Call[NoQuery, None]) -> Reply:
        """As it is then."""
        return self._reply(_there(await self._schedules.resume(call.scope, call.path["id"])))

    async def trigger(self, call: Call[NoQuery, Trigger]) -> Reply:
        """The task."""
        task = await self._schedules.trigger(call.scope, call.path["id"], call.body.unique_key)
        if task is None:
            raise _nothing()
        shown = Triggered(task_id=task.id, context_id=task.context_id)
        return Reply(shown, headers={"Location": f"{PREFIX}/tasks/{task.id}"})

    async def preview(self, call: Call[PreviewQuery, None]) -> Reply:
        """Ticks."""
        view = _there(await self._schedules.get(call.scope, call.path["id"], call.query.count))
        return Reply(Preview(ticks=[timestamp(tick) for tick in view.upcoming]))

    async def _found(self, scope: Scope, schedule_id: str) -> ScheduleView:
        return _there(await self._schedules.get(scope, schedule_id))

    def _reply(self, view: ScheduleView, headers: dict[str, str] | None = None) -> Reply:
        return Reply(self._shown(view), revision=view.rev, headers=headers or {})

    def _written(self, schedule: Schedule) -> dict[str, Any]:
        """What was written of it, to the microsecond; without its message, which stays unless the patch names it."""
        timing = schedule.timing
        starts = "startsAt" if timing.cron or timing.interval else "runAt"
        found: dict[str, Any] = {
            "cron": timing.cron or None,
            "timeZone": timing.zone,
            "intervalSeconds": timing.interval / SECOND if timing.interval else None,
            starts: _moment(timing.starts_at),
            "endsAt": _moment(timing.ends_at) if timing.ends_at else None,
            "maxRuns": schedule.max_runs,
            "missed": schedule.missed.value,
            "overlap": schedule.overlap.value,
            "paused": schedule.paused,
            "description": schedule.description,
            "options": schedule.options,
            "metadata": schedule.metadata,
            "contextId": schedule.context,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _shown(self, view: ScheduleView) -> ScheduleShown:
        schedule, timing = view.schedule, view.schedule.timing
        repeats = bool(timing.cron or timing.interval)
        return ScheduleShown(
            id=view.id,
            description=schedule.description or None,
            cron=timing.cron or None,
            time_zone=timing.zone if timing.cron else None,
            interval_seconds=timing.interval / SECOND if timing.interval else None,
            run_at=None if repeats else timestamp(timing.starts_at),
            starts_at=timestamp(timing.starts_at) if repeats else None,
            ends_at=timestamp(timing.ends_at) if timing.ends_at else None,
            max_runs=schedule.max_runs or None,
            missed=schedule.missed.value,
            overlap=schedule.overlap.value,
            paused=schedule.paused,
            message=message_shown(schedule.message, self._base_url()),
            options=schedule.options or None,
            metadata=schedule.metadata,
            context_id=schedule.context or None,
            created_at=timestamp(schedule.created_at),
            next_at=timestamp(view.due_at) if view.due_at else None,
            upcoming=[timestamp(tick) for tick in view.upcoming] or None,
            runs=schedule.runs,
            skipped=schedule.skipped,
            last_at=timestamp(schedule.last_at) if schedule.last_at else None,
            last_task_id=schedule.last_id or None,
            last_error=schedule.last_error or None,
            revision=view.rev,
        )


def _patched(written: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """What is written then. Who names another way to tick need not take away what makes no sense beside it."""
    for way in ("cron", "intervalSeconds", "runAt"):
        if patch.get(way) is not None and way not in written:
            beside = {"cron", "timeZone", "intervalSeconds", "runAt"} - {way, *patch}
            if way == "runAt" and "startsAt" not in patch:
                beside.add("startsAt")
            written = {name: value for name, value in written.items() if name not in beside}
    found: dict[str, Any] = merged(written, patch)
    return found


def _plan(body: SchedulePut) -> SchedulePlan:
    names = SchedulePlan.model_fields
    return SchedulePlan.model_construct(
        body.model_fields_set & names.keys(), **{name: getattr(body, name) for name in names}
    )


def _moment(at: int) -> str:
    return (_EPOCH + timedelta(microseconds=at)).isoformat()


def _id(view: ScheduleView) -> str:
    return view.id


def _there(view: ScheduleView | None) -> ScheduleView:
    if view is None:
        raise _nothing()
    return view


def _nothing() -> NothingThere:
    return NothingThere("There is no schedule of this name, or it is not yours; the list of schedules names yours.")
