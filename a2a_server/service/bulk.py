"""One thing done to many tasks: each for itself, or all together, with a report of those where it cannot be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from a2a_server.errors import ClientError, InvalidParams, TaskNotFound
from a2a_server.lifecycle.states import PHASES_OF, TERMINAL
from a2a_server.model.management import MOST_TOGETHER, Bulk, BulkAction, TaskFilter
from a2a_server.model.objects import Lane, Method, Phase, Scope, State
from a2a_server.service.management import Management
from a2a_server.service.retrying import Again
from a2a_server.service.searching import Searching
from a2a_server.service.together import Together

TOGETHER: Final = 200
"""Tasks that are worked on at a time."""
PAGE: Final = 1000

_ALL: Final = frozenset((state, phase) for state, phases in PHASES_OF.items() for phase in phases)
_ENDED: Final = frozenset(pair for pair in _ALL if pair[0] in TERMINAL)
_STANDS: Final = {
    BulkAction.CANCEL: _ALL - _ENDED,
    BulkAction.RETRY: _ENDED,
    BulkAction.REPRIORITISE: _ALL - _ENDED,
    BulkAction.REQUEUE: frozenset(pair for pair in _ALL if pair[1] is Phase.SCHEDULED),
    BulkAction.DELETE: _ENDED,
}
"""How a task stands that a filter finds for an action; one that is named by its id is tried in any case."""

_OF_ACTIONS: Final = {
    "priority": ("priority", BulkAction.REPRIORITISE),
    "delay_seconds": ("delaySeconds", BulkAction.REQUEUE),
}
"""Members that belong to one action, with their names in requests."""


@dataclass(slots=True)
class Report:
    """What came of it. matched: how many tasks it was to be done to; more: others match beside these."""

    matched: int = 0
    done: int = 0
    failed: list[tuple[str, ClientError]] = field(default_factory=list)
    more: bool = False


class BulkWork:
    """Does things to many tasks of one engine."""

    def __init__(self, management: Management, searching: Searching, together: Together) -> None:
        self._management = management
        self._searching = searching
        self._together = together

    async def run(self, scope: Scope, bulk: Bulk) -> Report:
        """Do it, or only count. Raises InvalidParams: what is asked for makes no sense; Overloaded, StoreUnavailable.

        Where it is all or none, nothing is done as long as `failed` names a task.
        """
        _check(bulk)
        ids, more = await self._ids(scope, bulk)
        report = Report(len(ids), more=more)
        if bulk.atomic:
            if len(ids) > MOST_TOGETHER:
                raise _too_many(len(ids))
            report.failed = [*await self._together.run(scope, bulk, ids)]
            report.done = 0 if report.failed or bulk.dry_run else len(ids)
            return report
        if bulk.dry_run:
            return report
        act = self._action(scope, bulk)
        refused: dict[str, ClientError] = {}
        for layer in await self._management.layers(scope, ids) if bulk.action is BulkAction.RETRY else [ids]:
            for start in range(0, len(layer), TOGETHER):
                some = layer[start : start + TOGETHER]
                outcomes = await asyncio.gather(*(_tried(act, one) for one in some))
                refused |= {task_id: one for task_id, one in zip(some, outcomes, strict=True) if one is not None}
        report.failed = [(task_id, refused[task_id]) for task_id in ids if task_id in refused]
        report.done = len(ids) - len(refused)
        return report

    async def _ids(self, scope: Scope, bulk: Bulk) -> tuple[Sequence[str], bool]:
        if bulk.ids is not None:
            ids = list(dict.fromkeys(bulk.ids))
            return ids[: bulk.limit], len(ids) > bulk.limit
        found: list[str] = []
        async for task_id in self._found(scope, bulk.filter or TaskFilter(), _STANDS[bulk.action]):
            if len(found) == bulk.limit:
                return found, True
            found.append(task_id)
        return found, False

    async def _found(
        self, scope: Scope, wanted: TaskFilter, stands: frozenset[tuple[State, Phase]]
    ) -> AsyncIterator[str]:
        cursor = ""
        while True:
            page = await self._searching.page(scope, wanted, limit=PAGE, cursor=cursor, stands=stands)
            for row in page.rows:
                yield row.id
            if page.next is None:
                return
            cursor = page.next

    def _action(self, scope: Scope, bulk: Bulk) -> Callable[[str], Awaitable[object]]:
        management = self._management
        match bulk.action:
            case BulkAction.CANCEL:
                return lambda task_id: management.cancel(scope, task_id)
            case BulkAction.RETRY:
                return lambda task_id: management.retry(scope, task_id, Again(method=Method.BULK))
            case BulkAction.REPRIORITISE:
                lane = bulk.priority or Lane.NORMAL
                return lambda task_id: management.reprioritise(scope, task_id, lane)
            case BulkAction.REQUEUE:
                return lambda task_id: management.requeue(scope, task_id, bulk.delay_seconds)
            case BulkAction.DELETE:
                return lambda task_id: management.delete(scope, task_id)


def _check(bulk: Bulk) -> None:
    if (bulk.ids is None) is (bulk.filter is None):
        raise InvalidParams("ids or filter must be given, and only one of them.", path="ids")
    if bulk.filter is not None and not bulk.filter.model_dump(exclude_defaults=True):
        raise InvalidParams(
            'filter must not be empty; to mean every task of yours, name its owner: {"owner": "local"}.', path="filter"
        )
    if bulk.action is BulkAction.REPRIORITISE and bulk.priority is None:
        raise InvalidParams("priority is missing: action reprioritise needs it.", path="priority")
    for name, (path, action) in _OF_ACTIONS.items():
        if bulk.action is not action and name in bulk.model_fields_set and getattr(bulk, name) is not None:
            raise InvalidParams(f"{path} says nothing beside action {bulk.action}; leave it out.", path=path)


def _too_many(count: int) -> InvalidParams:
    return InvalidParams(
        f"atomic takes {MOST_TOGETHER} tasks in one turn, and these are {count}; name fewer (ids, a narrower filter, "
        "limit), or leave atomic out, and each is done for itself.",
        path="atomic",
    )


async def _tried(act: Callable[[str], Awaitable[object]], task_id: str) -> ClientError | None:
    try:
        if not task_id.isprintable():
            raise TaskNotFound
        await act(task_id)
    except ClientError as error:
        return error
    return None
