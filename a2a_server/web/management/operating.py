"""`/dead-letters`, `/settings`, `/retention`: what operators look at and do now and then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from a2a_server.errors import InvalidParams
from a2a_server.lifecycle.dead_letters import DEAD, Dead
from a2a_server.model.queries import SearchCursor
from a2a_server.model.rows import Key
from a2a_server.model.times import timestamp
from a2a_server.service.maintaining import Maintaining
from a2a_server.service.retrying import Retried, Retrying
from a2a_server.service.showing import Shown
from a2a_server.web.management.problems import ProblemShown, shown_as_item
from a2a_server.web.management.table import Body, Call, NoQuery, Query, Reply, Route

MOST_LETTERS = 1000
DAY = 86_400 * 1_000_000
_CURSOR = re.compile(r"([a-z]{1,20})\.([0-9a-f]{32})", re.ASCII)
_TaskId = Annotated[str, Field(min_length=1, max_length=256)]


class LettersQuery(Query):
    """Which."""

    reason: Dead | None = Field(None, description="Why they failed; absent = any reason.")
    limit: int = Field(50, ge=1, le=200, description="Dead letters on a page.")
    cursor: str = Field("", max_length=256, description="`next` of the page before.")


class LetterShown(Shown):
    """A task that failed though nobody said that it must."""

    task_id: str
    skill: str
    reason: str
    failed_at: str


class LettersShown(Shown):
    """Some dead letters, by reason, then the newest first."""

    dead_letters: list[LetterShown]
    next: str | None = None


class RetryLetters(Body):
    """Which; all of them where neither is given, as many as `limit`."""

    ids: tuple[_TaskId, ...] | None = Field(None, min_length=1, max_length=MOST_LETTERS, description="These tasks.")
    reason: Dead | None = Field(None, description="Those that failed for this reason.")
    limit: int = Field(MOST_LETTERS, ge=1, le=MOST_LETTERS, description="Tasks at most.")


class RetriedShown(Shown):
    """What came of one: a new task, or an error."""

    id: str
    new_id: str | None = None
    error: ProblemShown | None = None


class RetriedLetters(Shown):
    """What came of them."""

    matched: int
    done: int
    items: list[RetriedShown]


class SettingShown(Shown):
    """A setting, without what is secret in it."""

    value: Any = None
    description: str


class SettingsShown(Shown):
    """Every setting, by name."""

    settings: dict[str, SettingShown]


class Retain(Body):
    """What to do."""

    dry_run: bool = Field(False, description="Only count; nothing is touched.")  # noqa: FBT003 - a default


class RetainedShown(Shown):
    """Tasks of one state."""

    retired: int = Field(description="Deleted, or to be deleted.")
    waiting: int = Field(description="Old enough, but somebody still needs them.")
    oldest_days: float


class RetentionShown(Shown):
    """What a round did, or would do."""

    dry_run: bool
    archived: int
    states: dict[str, RetainedShown]


class OperatingPages:
    """Serves them. settings: each one's value, without what is secret, and its meaning, by name."""

    def __init__(
        self, retrying: Retrying, maintaining: Maintaining, settings: Mapping[str, tuple[object, str]]
    ) -> None:
        self._retrying = retrying
        self._maintaining = maintaining
        self._settings = settings

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (
            Route("GET", "/dead-letters", "listDeadLetters", "Tasks that failed though nobody said that they must.",
                  self.letters, "dead-letters", query=LettersQuery, result=LettersShown),
            Route("POST", "/dead-letters/retry", "retryDeadLetters", "Try them again, each as one new task.",
                  self.retry, "dead-letters", body=RetryLetters, body_optional=True, result=RetriedLetters),
            Route("GET", "/settings", "showSettings", "The settings of the process that answers.", self.settings,
                  "operating", result=SettingsShown),
            Route("POST", "/retention", "runRetention", "Delete the tasks whose time is over.", self.retain,
                  "operating", body=Retain, body_optional=True, result=RetentionShown, errors=(409,)),
        )  # fmt: skip

    async def letters(self, call: Call[LettersQuery, None]) -> Reply:
        """A page."""
        query = call.query
        found = await self._retrying.dead_letters(
            call.scope, query.reason, after=_opened(query.cursor, query.reason), limit=query.limit
        )
        shown = [
            LetterShown(
                task_id=one.task_id, skill=one.skill, reason=one.reason.value, failed_at=timestamp(one.failed_at)
            )
            for one in found.letters
        ]
        return Reply(LettersShown(dead_letters=shown, next=_closed(found.after)))

    async def retry(self, call: Call[NoQuery, RetryLetters]) -> Reply:
        """What came of them."""
        body = call.body
        if body.ids is not None and body.reason is not None:
            raise InvalidParams("ids or reason must be given, and not both.", path="ids")
        if body.ids is None:
            found = await self._retrying.retry_dead_letters(call.scope, body.reason, body.limit)
        else:
            found = await self._retrying.retry_letters(call.scope, body.ids[: body.limit])
        items = [_retried(one) for one in found]
        return Reply(RetriedLetters(matched=len(items), done=sum(1 for one in found if one.new_id), items=items))

    async def settings(self, call: Call[NoQuery, None]) -> Reply:  # noqa: ARG002 - a handler's shape
        """All."""
        shown = {
            name: SettingShown(value=value, description=meaning) for name, (value, meaning) in self._settings.items()
        }
        return Reply(SettingsShown(settings=shown))

    async def retain(self, call: Call[NoQuery, Retain]) -> Reply:
        """What was done."""
        survey = await self._maintaining.retire(call.scope, dry_run=call.body.dry_run)
        states = {
            state.name.lower(): RetainedShown(
                retired=survey.retired[state],
                waiting=survey.waiting[state],
                oldest_days=round(survey.oldest[state] / DAY, 3),
            )
            for state in sorted(survey.oldest)
        }
        return Reply(RetentionShown(dry_run=call.body.dry_run, archived=survey.archived, states=states))


def _retried(one: Retried) -> RetriedShown:
    error = None if one.why_not is None else shown_as_item(one.why_not)
    return RetriedShown(id=one.task_id, new_id=one.new_id or None, error=error)


def _closed(after: SearchCursor | None) -> str | None:
    return None if after is None else f"{str(after.order).removeprefix(DEAD)}.{after.key.hex()}"


def _opened(cursor: str, reason: Dead | None) -> SearchCursor | None:
    if not cursor:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None or found[1] not in set(Dead) or reason not in {None, Dead(found[1])}:
        raise InvalidParams("cursor must be one that a page of this list gave; begin without it.", path="cursor")
    return SearchCursor(DEAD + found[1], Key(bytes.fromhex(found[2])))
