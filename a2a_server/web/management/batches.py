"""`/api/v1/batches` and `/api/v1/tasks/bulk`: many tasks made, what came of them, and many tasks acted on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from pydantic import Field
from starlette.responses import Response

from a2a_server.codec import decode_spec
from a2a_server.errors import ClientError, InvalidParams
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.management import BatchItem, BatchKey, Bulk, NewBatch
from a2a_server.model.objects import Message, Role, Task, Text
from a2a_server.model.rows import TaskRow
from a2a_server.model.times import timestamp
from a2a_server.service.batching import Batching, Item, Known
from a2a_server.service.bulk import BulkWork
from a2a_server.service.management import message_of, options_of, reworded
from a2a_server.service.results import Results
from a2a_server.service.showing import STATES, ErrorShown, Shown, task_shown
from a2a_server.web.management import inputs
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.problems import ProblemShown, Refused, shown_as_item
from a2a_server.web.management.table import LINES, Call, NoQuery, Query, Reply, Route
from a2a_server.wire import v10

BREATH: Final = 100
"""Items that are checked before others get their turn on the event loop."""


class BatchQuery(Query):
    """How a batch is made."""

    atomic: bool | None = Field(None, description="As the body's; for JSON lines.")
    unique_key: BatchKey = Field("", description="As the body's; for JSON lines.")
    dry_run: bool = Field(default=False, description="Check everything, answer what would come of it, store nothing.")


class ResultsQuery(Query):
    """Where the results of a batch go on."""

    limit: int = Field(100, ge=1, le=1000, description="Most tasks of the page; large results make it shorter.")
    cursor: str = Field("", max_length=1024, description="The next of the page before.")


class ItemShown(Shown):
    """What came of one task of a batch."""

    index: int
    id: str | None = Field(None, description="Of the task; absent where it was refused, or (dry run) is not there yet.")
    repeat: bool | None = Field(None, description="It was there already.")
    error: ProblemShown | None = None


class BatchMade(Shown):
    """What came of a batch."""

    id: str | None = Field(None, description="Under which its tasks are found; absent where none was made or known.")
    created: int = Field(description="Tasks that were made; in a dry run, that would be.")
    repeated: int | None = Field(None, description="Tasks that were there already.")
    failed: int = Field(description="Tasks that were refused.")
    items: list[ItemShown]


class BatchFailureShown(Shown):
    """A task of a batch that failed or was rejected."""

    id: str
    title: str | None = None
    error: ErrorShown


class LinksShown(Shown):
    """Where to go on."""

    tasks: str
    results: str
    events: str


class BatchShown(Shown):
    """The tasks of a batch, counted."""

    id: str
    total: int
    ended: int = Field(description="How many of them have ended.")
    states: dict[str, int]
    progress: float = Field(description="0.0 to 1.0: what is done of all its tasks.")
    created_at: str
    updated_at: str = Field(description="Of the newest status of a task.")
    ended_at: str | None = Field(None, description="Where all have ended: when the last one did.")
    failures: list[BatchFailureShown] | None = Field(
        None, description="The first ten that failed or were rejected, in the order of its items."
    )
    complete: bool = Field(description="Whether these are all that were counted.")
    links: LinksShown


class BatchResultShown(Shown):
    """What came out of a task of a batch."""

    id: str
    title: str | None = None
    state: str
    message: dict[str, Any] | None = Field(None, description="What was said with its status, as in A2A 1.0.")
    artifacts: list[dict[str, Any]] = Field(description="With their content, as in A2A 1.0.")


class ResultsShown(Shown):
    """What came out of the tasks of a batch, in the order of its items."""

    results: list[BatchResultShown]
    next: str | None = Field(None, description="Cursor of the next page; absent = this was the last.")


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
    """Serves batches and bulk operations. base_url: where clients reach this server."""

    def __init__(self, batching: Batching, bulk: BulkWork, results: Results, base_url: Callable[[], str]) -> None:
        self._batching = batching
        self._bulk = bulk
        self._results = results
        self._base_url = base_url

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
                also={200: BatchMade},
                errors=(404, 409),
            ),
            Route("GET", "/batches/{id}", "getBatch", "How far a batch is.", self.get, "batches", result=BatchShown),
            Route(
                "GET",
                "/batches/{id}/results",
                "listBatchResults",
                "What came out of the tasks of a batch, in the order of its items.",
                self.results,
                "batches",
                query=ResultsQuery,
                result=ResultsShown,
                result_lines=True,
            ),
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
        given: Any = call.body.tasks
        for place, one in enumerate(given):
            try:
                if place in call.broken:
                    raise call.broken[place]
                items.append(_item(one, place))
            except (Refused, InvalidParams) as error:
                if atomic:
                    raise
                items.append(_refused(one, error))
            if place % BREATH == 0:
                await asyncio.sleep(0)
        try:
            batch = await self._batching.submit(
                call.scope,
                items,
                atomic=atomic,
                unique_key=call.query.unique_key or call.body.unique_key,
                dry_run=call.query.dry_run,
            )
        except InvalidParams as error:
            reworded(error, _WORDS)
        there = not call.query.dry_run
        shown = [_item_shown(place, outcome, there=there) for place, outcome in enumerate(batch.outcomes)]
        failed, repeated = sum(one.error is not None for one in shown), sum(bool(one.repeat) for one in shown)
        created = len(shown) - failed - repeated
        made = BatchMade(id=batch.id or None, created=created, repeated=repeated or None, failed=failed, items=shown)
        headers = {"Location": f"{PREFIX}/batches/{batch.id}"} if batch.id else {}
        return Reply(made, 201 if created and there else 200, headers)

    async def get(self, call: Call[NoQuery, None]) -> Reply:
        """GET /batches/{id}."""
        batch = call.path["id"]
        counted = await self._results.counted(call.scope, batch)
        total, named = counted.states.total(), quote(batch, safe="")
        return Reply(
            BatchShown(
                id=batch,
                total=total,
                ended=counted.ended,
                states={STATES[state]: count for state, count in sorted(counted.states.items())},
                progress=round(counted.done / total, 4),
                created_at=timestamp(counted.created_at),
                updated_at=timestamp(counted.changed_at),
                ended_at=timestamp(counted.changed_at) if counted.complete and counted.ended == total else None,
                failures=[_failure(row) for row in counted.failures] or None,
                complete=counted.complete,
                links=LinksShown(
                    tasks=f"{PREFIX}/tasks?batch={named}",
                    results=f"{PREFIX}/batches/{named}/results",
                    events=f"{PREFIX}/events?batch={named}",
                ),
            )
        )

    async def results(self, call: Call[ResultsQuery, None]) -> Reply | Response:
        """GET /batches/{id}/results: as JSON lines, with the next page as a link, where the request prefers that."""
        page = await self._results.page(call.scope, call.path["id"], call.query.limit, call.query.cursor)
        base_url = self._base_url()
        shown = [_result(row, task, base_url) for row, task in page.results]
        lines = next((one for one in sorted(LINES) if one in call.request.headers.get("accept", "").lower()), "")
        if not lines:
            return Reply(ResultsShown(results=shown, next=page.next))
        body = "".join(f"{one.model_dump_json(by_alias=True, exclude_none=True)}\n" for one in shown)
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if page.next is not None:
            query = urlencode({"limit": call.query.limit, "cursor": page.next})
            headers["Link"] = f'<{PREFIX}/batches/{quote(call.path["id"], safe="")}/results?{query}>; rel="next"'
        return Response(body, headers=headers, media_type=lines)

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


def _refused(given: Any, error: Refused | InvalidParams) -> Item:  # noqa: ANN401 - JSON
    """An item that is no task, so that those that name it are refused too."""
    if isinstance(error, Refused):
        error = InvalidParams(error.message, path=error.details[0].field if error.details else "")
    name = given.get("name") if isinstance(given, dict) else None
    return Item(Message(Role.USER, (Text(""),)), name if isinstance(name, str) else "", refused=error)


def _item_shown(place: int, outcome: Submitted | Known | ClientError, *, there: bool) -> ItemShown:
    if isinstance(outcome, ClientError):
        return ItemShown(index=place, error=_problem(outcome))
    if isinstance(outcome, Known):
        return ItemShown(index=place, id=outcome.id, repeat=True)
    known = outcome.row.id if there or outcome.repeat else None
    return ItemShown(index=place, id=known, repeat=outcome.repeat or None)


def _failure(row: TaskRow) -> BatchFailureShown:
    shown = task_shown(row)
    return BatchFailureShown(
        id=row.id, title=shown.title, error=shown.error or ErrorShown(reason=STATES[row.state], code=STATES[row.state])
    )


def _result(row: TaskRow, task: Task, base_url: str) -> BatchResultShown:
    shown: Any = v10.render_task(task, base_url)
    return BatchResultShown(
        id=row.id,
        title=decode_spec(row.spec).title or None,
        state=STATES[task.status.state],
        message=shown["status"].get("message"),
        artifacts=shown.get("artifacts", []),
    )


def _problem(error: ClientError) -> ProblemShown:
    if isinstance(error, InvalidParams):
        try:
            reworded(error, _WORDS)
        except InvalidParams as said:
            error = said
    return shown_as_item(error)
