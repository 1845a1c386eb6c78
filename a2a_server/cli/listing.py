"""`task list`: the tasks of the caller, newest first, page by page over ListTasks."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from a2a_server.cli import output
from a2a_server.cli.admin import Filters, Pages, pairs
from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.follow import state_of
from a2a_server.cli.rpc import Connection, Json
from a2a_server.cli.target import Target

State: TypeAlias = Literal[
    "submitted", "working", "input-required", "auth-required", "completed", "failed", "canceled", "rejected"
]
Status: TypeAlias = Literal[
    "created", "decomposed", "queued", "assigned", "in_progress", "blocked", "completed", "failed", "canceled"
]
Phase: TypeAlias = Literal["waiting", "scheduled", "ready", "held", "leased", "paused", "final"]
MOST_OF_A_PAGE = 100
MOST_OF_AN_ADMIN_PAGE = 200
_NONE = "there is no such task"
_AGO = re.compile(r"(\d{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def list_(
    *,
    context: str = "",
    state: State | None = None,
    status: Status | None = None,
    phase: Phase | None = None,
    since: str = "",
    limit: Annotated[int, Parameter(show_default=True)] = 50,
    filters: Filters = None,
    admin: bool = False,
    target: Target | None = None,
) -> int:
    """List tasks, those that changed last first.

    Args:
        context: Only those of this conversation.
        state: Only those in this A2A state.
        status: Only those with this status, one word for state and phase. Needs --admin.
        phase: Only those that the scheduler has there. Needs --admin.
        since: Only those whose state changed since then: 15m, 2h, 7d, or a time such as 2026-05-28T10:00:00Z.
        limit: How many at most; 0 = all.
        filters: Only those that match, as NAME=VALUE, such as tag=blue; may be given several times. Needs --admin.
        admin: Over the management API.
        target: Which server.
    """
    target = target or Target()
    if limit < 0:
        raise UsageError("--limit is a number of tasks, 0 or more")
    if admin:
        words = {"contextId": context, "state": state, "status": status, "phase": phase}
        return _list_admin(target, _query_of(words, since, filters), limit)
    for flag, given in (("--status", status), ("--phase", phase), ("--filter", filters)):
        if given:
            raise UsageError(f"{flag} needs --admin; without it there is --state, an A2A state")
    wanted = filters_of(context, state, since, now=lambda: datetime.now(UTC))

    async def work() -> int:
        listed = Listed()
        async with target.connection() as connection:
            tasks = [task async for task in listed.tasks(connection, wanted, limit)]
        if target.json:
            output.emit_json({"tasks": tasks, "totalSize": listed.total})
            return Exit.OK
        output.emit("".join(f"{_line(task)}\n" for task in tasks))
        if listed.total > len(tasks):
            output.say(f"{len(tasks)} of {listed.total} tasks; --limit 0 lists all")
        elif not tasks:
            output.say(_NONE)
        return Exit.OK

    return target.run(work)


def filters_of(context: str, state: str | None, since: str, *, now: Callable[[], datetime]) -> Json:
    """The filters of ListTasks. Raises UsageError for a time that cannot be read."""
    filters: Json = {}
    if context:
        filters["contextId"] = context
    if state:
        filters["status"] = f"TASK_STATE_{state.upper().replace('-', '_')}"
    if since:
        at = _moment(since, now).astimezone(UTC)
        filters["statusTimestampAfter"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return filters


def _query_of(words: dict[str, str | None], since: str, filters: list[str] | None) -> list[tuple[str, str]]:
    query = pairs(filters or ())
    query += [(name, value) for name, value in words.items() if value]
    if since:
        query.append(("updatedFrom", _moment(since, lambda: datetime.now(UTC)).astimezone(UTC).isoformat()))
    return query


def _list_admin(target: Target, query: list[tuple[str, str]], limit: int) -> int:
    async def work() -> int:
        async with target.admin() as admin:
            pages = Pages(admin, "tasks", query, limit=limit, most=MOST_OF_AN_ADMIN_PAGE)
            tasks = [task async for task in pages.items()]
        if target.json:
            output.emit_json({"tasks": tasks})
        else:
            output.emit("".join(f"{task_line(task)}\n" for task in tasks))
            if pages.more:
                output.say(f"the newest {len(tasks)} tasks; --limit 0 lists all")
            elif not tasks:
                output.say(_NONE)
        return Exit.OK

    return target.run(work)


def task_line(task: Json) -> str:
    """A task of the management API on a line."""
    title = " ".join(str(task.get("title") or "").split())
    when = str(task.get("updatedAt") or "-")
    state, status = str(task.get("state", "")), str(task.get("status", ""))
    return f"{task.get('id', '')}  {state:<14}  {status:<11}  {when:<24}  {title}".rstrip()


class Listed:
    """Reads pages until there are no more. `total`: how many tasks there are, as the last page says."""

    def __init__(self) -> None:
        self.total = 0

    async def tasks(self, connection: Connection, filters: Json, limit: int = 0) -> AsyncGenerator[Json, None]:
        """The tasks, at most `limit` (0 = all), without history and artifacts. Raises what `Connection` raises."""
        token, left = "", limit
        while True:
            size = min(left, MOST_OF_A_PAGE) if limit else MOST_OF_A_PAGE
            params = {**filters, "pageSize": size, "historyLength": 0} | ({"pageToken": token} if token else {})
            page = await connection.call("ListTasks", params)
            tasks, following = page.get("tasks") or [], str(page.get("nextPageToken") or "")
            self.total = int(page.get("totalSize") or 0)
            for task in tasks:
                yield task
            left -= len(tasks)
            if not following or (limit and left <= 0):
                return
            if following == token or not tasks:
                raise CommandError("the server's pages of tasks do not go on")
            token = following


def _moment(since: str, now: Callable[[], datetime]) -> datetime:
    ago = _AGO.fullmatch(since)
    try:
        return now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(since)
    except (ValueError, OverflowError) as error:
        raise UsageError("--since is 15m, 2h, 7d, or a time such as 2026-05-28T10:00:00Z") from error


def _line(task: Json) -> str:
    when = str(task["status"].get("timestamp") or "-")
    return f"{task.get('id', '')}  {output.state_name(state_of(task)):<14}  {when:<24}  {task.get('contextId', '')}"
