"""`GET /api/v1/events`: many tasks in one stream of server-sent events.

Events `task` say how a task stands: all of them at first, then each that changes. `ready` follows the first ones, `end`
the last one where every task that was named, or of the batch, has ended; then the stream closes. The `id:` of an event
is a cursor: a stream that is opened with it (`after`, or the header `Last-Event-ID`) goes on there. Not every event has
one; clients keep the last that they got. `totals` counts the tasks that were named, or of the batch, by their states.
Source: WHATWG HTML, section 9.2 (server-sent events).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Annotated, Final, Literal

import orjson
from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope as HttpScope, Send

from a2a_server.codec import decode_spec, decode_status
from a2a_server.engine.many import Change, News, size_of
from a2a_server.errors import Draining, StoreUnavailable
from a2a_server.lifecycle.explaining import word
from a2a_server.lifecycle.states import TERMINAL, status_word
from a2a_server.model.management import Moment, Plain, StatusWord, WantedPriority
from a2a_server.model.objects import JsonObject, Phase, Progress, Scope, State
from a2a_server.model.rows import Interest, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.service.following import MOST_NAMED, Asked, Following
from a2a_server.web.management.table import Body, Call, NoQuery, Query, Route
from a2a_server.web.sse import RETRY_MILLISECONDS, EventStream, one_line

MOST_TEXT: Final = 2_000
"""Characters of what an agent says that one event tells; the task has it whole."""
MOST_VALUES: Final = 32
_SMALL: Final = 2_048

_STATES: Final = {word(state): state for state in State}
_PHASES: Final = {phase.name.lower(): phase for phase in Phase}

StateWord = Literal[
    "submitted", "working", "completed", "failed", "canceled", "input-required", "rejected", "auth-required"
]
PhaseWord = Literal["waiting", "scheduled", "ready", "held", "leased", "paused", "final"]
TaskId = Annotated[str, Field(min_length=1, max_length=256)]

_log = logging.getLogger("a2a_server.web.events")


class EventsQuery(Query):
    """Which tasks: `ids`, or a `batch`, or filters; without any of them all tasks of the caller."""

    ids: tuple[str, ...] = Field(
        (), max_length=MOST_NAMED, description="These tasks; ends when all have ended. POST takes more than an address."
    )
    batch: str = Field("", max_length=256, description="The tasks of this batch; ends when all have ended.")
    state: tuple[StateWord, ...] = Field((), max_length=MOST_VALUES, description="In one of these states.")
    phase: tuple[PhaseWord, ...] = Field((), max_length=MOST_VALUES, description="In one of these phases.")
    skill: tuple[str, ...] = Field((), max_length=MOST_VALUES, description="Of one of these skills.")
    priority: tuple[WantedPriority, ...] = Field((), max_length=MOST_VALUES, description="Of one of these priorities.")
    tag: tuple[str, ...] = Field((), max_length=MOST_VALUES, description="With all of these tags.")
    context_id: str = Field("", max_length=256, description="Of this conversation.")
    parent_task_id: str = Field("", max_length=256, description="Parts of this task.")
    schedule: str = Field("", max_length=256, description="Made by this schedule.")
    template: str = Field("", max_length=256, description="Made from this template.")
    title: str = Field("", max_length=255, description="Whose title begins so; upper and lower case are one.")
    status: tuple[StatusWord, ...] = Field((), max_length=MOST_VALUES, description="With one of these status words.")
    agent: Plain | None = Field(None, description="The agent's name.")
    owner: Plain | None = Field(None, description="Whose tasks; others' cannot be followed.")
    created_from: Moment | None = Field(None, description="Made at this moment or later.")
    created_to: Moment | None = Field(None, description="Made before this moment.")
    updated_from: Moment | None = Field(None, description="Status of this moment or later.")
    after: str = Field("", max_length=64, description="The last `id` of an earlier stream, which this one continues.")


class EventsBody(Body):
    """Tasks by their ids: as many as an address cannot name."""

    ids: tuple[TaskId, ...] = Field(
        min_length=1, max_length=MOST_NAMED, description="These tasks; ends when all have ended."
    )
    after: str = Field("", max_length=64, description="The last `id` of an earlier stream, which this one continues.")


class EventPages:
    """Serves streams of many tasks. heartbeat_seconds: how often a silent one sends a comment."""

    def __init__(self, following: Following, *, heartbeat_seconds: float, write_stall_seconds: float) -> None:
        self._following = following
        self._heartbeat_seconds = heartbeat_seconds
        self._stall_seconds = write_stall_seconds

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (
            Route(
                "GET",
                "/events",
                "followTasks",
                "Many tasks in one stream: how each stands, then every change.",
                self.follow,
                "events",
                query=EventsQuery,
                errors=(404,),
                media_type="text/event-stream",
            ),
            Route(
                "POST",
                "/events",
                "followNamedTasks",
                "Many tasks in one stream, named in a body; else as GET.",
                self.follow_named,
                "events",
                body=EventsBody,
                errors=(404,),
                media_type="text/event-stream",
            ),
        )

    async def follow(self, call: Call[EventsQuery, None]) -> Response:
        """GET /api/v1/events."""
        query = call.query
        asked = Asked(
            ids=query.ids,
            batch=query.batch,
            schedule=query.schedule,
            template=query.template,
            title=query.title,
            tags=query.tag,
            context=query.context_id,
            parent=query.parent_task_id,
            skills=query.skill,
            states=tuple(_STATES[one] for one in query.state),
            phases=tuple(_PHASES[one] for one in query.phase),
            lanes=query.priority,
            statuses=query.status,
            agent=query.agent,
            owner=query.owner,
            created_from=query.created_from,
            created_to=query.created_to,
            updated_from=query.updated_from,
            after=query.after or call.request.headers.get("last-event-id", ""),
        )
        return await self._streamed(call.scope, asked)

    async def follow_named(self, call: Call[NoQuery, EventsBody]) -> Response:
        """POST /api/v1/events."""
        after = call.body.after or call.request.headers.get("last-event-id", "")
        return await self._streamed(call.scope, Asked(ids=call.body.ids, after=after))

    async def _streamed(self, scope: Scope, asked: Asked) -> Response:
        news = await self._following.follow(scope, asked)
        stream = EventStream(
            pieces(news),
            task="",
            heartbeat_seconds=self._heartbeat_seconds,
            write_stall_seconds=self._stall_seconds,
        )
        return _StreamResponse(stream)


class _StreamResponse(Response):
    """A stream as a handler's answer; of a HEAD request only its headers."""

    def __init__(self, stream: EventStream) -> None:
        super().__init__()
        self.raw_headers = stream.raw_headers
        self._stream = stream

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await super().__call__(scope, receive, send)
        else:
            await self._stream(scope, receive, send)


async def pieces(following: AsyncGenerator[News, None]) -> AsyncGenerator[bytes]:
    """What a reader is told as bytes on the connection, a write each."""
    yield b"retry: %d\n" % RETRY_MILLISECONDS
    try:
        async with aclosing(following) as all_news:
            first = True
            async for news in all_news:
                if data := encoded(news, first=first):
                    yield data
                first = first and not news.ready
    except (Draining, StoreUnavailable):
        return  # the client comes back with its cursor
    except Exception:  # noqa: BLE001 - the edge: logged here, and the client comes back with its cursor
        _log.exception("A stream of many tasks broke.")


def encoded(news: News, *, first: bool) -> bytes:
    """Its events; the cursor stands at the last of them, behind all that it covers. first: how tasks stood at first."""
    lines = [_said(change, whole=first or not change.before) for change in news.changes]
    totals: JsonObject = {} if news.totals is None else {"totals": _totals(news.totals)}
    if news.ready:
        lines.append(_event(b"ready", totals | ({"more": True} if news.more else {})))
    elif news.ended:
        lines.append(_event(b"end", totals))
    elif news.totals is not None:
        lines.append(_event(b"totals", _totals(news.totals)))
    if lines and news.sure is not None:
        lines[-1] = b"id: %d\n%s" % (news.sure, lines[-1])
    return b"".join(b"%s\n" % line for line in lines)


def _event(kind: bytes, data: JsonObject) -> bytes:
    return b"event: %s\ndata: %s\n" % (kind, one_line(orjson.dumps(data)))


def _said(change: Change, *, whole: bool) -> bytes:
    """All readers of a task are told the same, one after the other; so what was said of a small row is kept a while."""
    say = _kept if size_of(change.row) <= _SMALL else _new
    return say(change.row, change.started_at, whole=whole, moved=change.moved, left=change.left)


def _new(row: TaskRow, started_at: int, *, whole: bool, moved: bool, left: bool) -> bytes:
    return _event(b"task", shown(row, started_at, whole=whole, moved=moved, left=left))


_kept = lru_cache(maxsize=2_000)(_new)


def shown(row: TaskRow, started_at: int, *, whole: bool, moved: bool, left: bool) -> JsonObject:
    """How a task stands. whole: not because it changed."""
    status, progress = decode_status(row.status, row.status_at)
    kind = "task" if whole else "progress" if progress is not None and not moved else "status"
    data: JsonObject = {
        "taskId": row.id,
        "n": row.last_n,
        "kind": kind,
        "state": word(row.state),
        "phase": row.phase.name.lower(),
        "status": status_word(
            row.state, row.phase, assigned=bool(row.worker), children=bool(row.pushes & Interest.PARENT)
        ),
        "at": timestamp(row.status_at),
        "attempt": min(row.attempt + 1, row.max_attempts),
        "contextId": row.context,
        "skill": row.skill,
        "priority": row.lane.name.lower(),
    }
    if title := decode_spec(row.spec).title if row.spec else "":
        data["title"] = title
    if started_at:
        data["startedAt"] = timestamp(started_at)
    if progress is not None:
        data["progress"] = _progress(progress)
    if status.message is not None and (text := status.message.text):
        data["text"] = text[:MOST_TEXT]
        if len(text) > MOST_TEXT:
            data["cut"] = True
    if row.held_by:
        data["heldBy"] = row.held_by
    if left:
        data["left"] = True
    return data


def _totals(states: Mapping[State, int]) -> JsonObject:
    ended = sum(count for state, count in states.items() if state in TERMINAL)
    return {
        "total": sum(states.values()),
        "ended": ended,
        "states": {word(state): states[state] for state in sorted(states)},
    }


def _progress(progress: Progress) -> JsonObject:
    given: JsonObject = {
        "fraction": progress.fraction,
        "done": progress.done,
        "total": progress.total,
        "note": progress.note or None,
    }
    return {name: value for name, value in given.items() if value is not None}
