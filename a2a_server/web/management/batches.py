"""`/api/v1/batches` and `/api/v1/tasks/bulk`: many tasks made, and many tasks acted on."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pydantic import Field

from a2a_server.errors import ClientError, InvalidParams, NothingThere
from a2a_server.model.management import MOST_AT_ONCE, BatchItem, Bulk, NewBatch, TaskFilter
from a2a_server.model.objects import Message, Role, Text
from a2a_server.model.options import TaskOptions
from a2a_server.service.batching import Batching, Item
from a2a_server.service.bulk import BulkWork
from a2a_server.service.management import message_of, options_of, reworded
from a2a_server.service.searching import Searching
from a2a_server.service.showing import STATES, Shown
from a2a_server.web.management import inputs, problems
from a2a_server.web.management.problems import Refused
from a2a_server.web.management.table import PREFIX, Call, NoQuery, Query, Reply, Route

BREATH: Final = 100
"""Items that are checked before others get their turn on the event loop."""
_REFUSED: Final = TaskOptions.model_construct(_fields_set={"skill"}, skill="\x00")
"""Of an item that is refused already, so that those that name it are refused too."""


class BatchQuery(Query):
    """How a batch is made."""

    atomic: bool | None = Field(None, description="As the body's; for JSON lines.")


class ProblemShown(Shown):
    """Why something was not done."""

    code: int = Field(description="The HTTP status that it would have had by itself.")
    message: str
    field: str | None = None


class ItemShown(Shown):
    """What came of one task of a batch."""

    index: int
    id: str | None = Field(None, description="Of the task.")
    repeat: bool | None = Field(None, description="It was there already.")
    error: ProblemShown | None = None


class BatchMade(Shown):
    """What came of a batch."""

    id: str
    created: int
    failed: int
    items: list[ItemShown]


class BatchShown(Shown):
    """The tasks of a batch, counted."""

    id: str
    total: int
    states: dict[str, int]
    progress: float = Field(description="0.0 to 1.0: what is done of all its tasks.")
    complete: bool = Field(description="Whether these are all that were counted.")


class FailureShown(Shown):
    """A task where it could not be done."""

    id: str
    error: ProblemShown


class BulkShown(Shown):
    """What came of a bulk operation."""

    matched: int
    done: int
    failed: list[FailureShown]
    more: bool = Field(description="Others match beside these; ask again.")


class BatchPages:
    """Serves batches and bulk operations."""

    def __init__(self, batching: Batching, bulk: BulkWork, searching: Searching) -> None:
        self._batching = batching
        self._bulk = bulk
        self._searching = searching

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        return (
            Route(
                "POST",
                "/batches",
                "createBatch",
                "Make up to 10,000 tasks.",
                self.create,
                "batches",
                query=BatchQuery,
                body=NewBatch,
                lines="tasks",
                result=BatchMade,
                status=201,
                errors=(404, 409),
            ),
            Route("GET", "/batches/{id}", "getBatch", "How far a batch is.", self.get, "batches", result=BatchShown),
            Route(
                "POST",
                "/tasks/bulk",
                "bulk",
                "Do one thing to many tasks.",
                self.bulk,
                "tasks",
                body=Bulk,
                result=BulkShown,
            ),
        )

    async def create(self, call: Call[BatchQuery, NewBatch]) -> Reply:
        """POST /batches."""
        atomic = call.query.atomic if call.query.atomic is not None else call.body.atomic is not False
        items: list[Item] = []
        refused: dict[int, ProblemShown] = {}
        given: Any = call.body.tasks
        for place, one in enumerate(given):
            try:
                items.append(_item(one, place))
            except (Refused, InvalidParams) as error:
                if atomic:
                    raise
                refused[place] = _problem(error)
                name = one.get("name") if isinstance(one, dict) else None
                items.append(Item(Message(Role.USER, (Text(""),)), name if isinstance(name, str) else "", _REFUSED))
            if place % BREATH == 0:
                await asyncio.sleep(0)
        try:
            batch = await self._batching.submit(call.scope, items, atomic=atomic)
        except InvalidParams as error:
            reworded(error, _WORDS)
        shown = []
        for place, outcome in enumerate(batch.outcomes):
            if isinstance(outcome, ClientError):
                shown.append(ItemShown(index=place, error=refused.get(place) or _problem(outcome)))
            else:
                shown.append(ItemShown(index=place, id=outcome.row.id, repeat=outcome.repeat or None))
        failed = sum(one.error is not None for one in shown)
        made = BatchMade(id=batch.id, created=len(shown) - failed, failed=failed, items=shown)
        return Reply(made, headers={"Location": f"{PREFIX}/batches/{batch.id}"})

    async def get(self, call: Call[NoQuery, None]) -> Reply:
        """GET /batches/{id}."""
        wanted = TaskFilter(batch=call.path["id"])
        counted = await self._searching.counted(call.scope, wanted, MOST_AT_ONCE)
        total = counted.states.total()
        if not total:
            raise NothingThere("There is no batch of this id, or it is not yours, or its tasks were deleted.")
        return Reply(
            BatchShown(
                id=call.path["id"],
                total=total,
                states={STATES[state]: count for state, count in sorted(counted.states.items())},
                progress=round(counted.done / total, 4),
                complete=counted.complete,
            )
        )

    async def bulk(self, call: Call[NoQuery, Bulk]) -> Reply:
        """POST /tasks/bulk."""
        report = await self._bulk.run(call.scope, call.body)
        failed = [FailureShown(id=task_id, error=_problem(error)) for task_id, error in report.failed]
        return Reply(BulkShown(matched=report.matched, done=report.done, failed=failed, more=report.more))


_WORDS: Final = {"items[": "tasks[", "].options.": "].", "items: ": "tasks: "}


def _item(given: Any, place: int) -> Item:  # noqa: ANN401 - JSON
    """One task of a batch. Raises Refused, InvalidParams."""
    at = f"tasks[{place}]"
    if not isinstance(given, dict):
        raise InvalidParams(f"{at} must be an object.", path=at)
    new = inputs.modelled(BatchItem, given, at)
    assert isinstance(new, BatchItem)  # noqa: S101 - for type checkers
    try:
        message = message_of(new)
    except InvalidParams as error:
        raise InvalidParams(f"{at}.{error.message}", path=f"{at}.{error.path}") from None
    return Item(message, new.name, options_of(new), new.context_id or message.context_id, new.metadata or None)


def _problem(error: ClientError | Refused) -> ProblemShown:
    if isinstance(error, Refused):
        return ProblemShown(
            code=error.status, message=error.message, field=error.details[0].field if error.details else None
        )
    if isinstance(error, InvalidParams):
        try:
            reworded(error, _WORDS)
        except InvalidParams as said:
            error = said
    message, details = problems.words(error)
    return ProblemShown(
        code=problems.STATUSES.get(type(error), 400), message=message, field=details[0].field if details else None
    )
