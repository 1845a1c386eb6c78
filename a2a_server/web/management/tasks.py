"""`/api/v1/tasks`: tasks made, listed, changed, ended, deleted. What is read of one task is `details`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pydantic import Field

from a2a_server.errors import Conflict, InvalidParams
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.management import (
    NewDelay,
    NewDependencies,
    NewFeedback,
    NewMessage,
    NewRetry,
    NewTask,
    TaskChange,
    TaskFilter,
)
from a2a_server.model.rows import TaskRow
from a2a_server.service.auditing import Auditing
from a2a_server.service.feedback import Feedback
from a2a_server.service.management import Management, merged, parsed_message
from a2a_server.service.reading import Reading
from a2a_server.service.retrying import Again
from a2a_server.service.searching import Searching
from a2a_server.service.showing import Beside, Shown, TaskShown, task_shown
from a2a_server.service.sizing import Sizing
from a2a_server.web.management import inputs
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.merging import TRIES, contended
from a2a_server.web.management.table import Call, NoQuery, Query, Reply, Route

_NAMES: Final = {field.alias or name for name, field in TaskChange.model_fields.items()}


class CreateQuery(Query):
    """How a task is made."""

    dry_run: bool = Field(default=False, description="Check everything and store nothing.")


class ListQuery(TaskFilter):
    """Which tasks, and how many of them."""

    limit: int = Field(50, ge=1, le=200, description="Most tasks of the page.")
    cursor: str = Field("", max_length=1024, description="The next of the page before.")


class ChangeQuery(Query):
    """How a task is changed."""

    dry_run: bool = Field(default=False, description="Check everything, answer as it would be, and change nothing.")


class DeleteQuery(Query):
    """How a task is deleted."""

    dry_run: bool = Field(default=False, description="Check everything, answer as it is (200), and delete nothing.")
    cancel: bool = Field(default=False, description="Cancel it first where it has not ended.")


class TaskPage(Shown):
    """Some tasks, newest status first."""

    tasks: list[TaskShown]
    next: str | None = Field(None, description="Cursor of the next page; absent = this was the last.")


class TaskPages:
    """Serves the tasks of one agent, whose card calls it `agent`. sizing: None = no duration is estimated."""

    def __init__(
        self,
        management: Management,
        reading: Reading,
        searching: Searching,
        feedback: Feedback,
        agent: str,
        *,
        auditing: Auditing,
        sizing: Sizing | None,
    ) -> None:
        self._feedback = feedback
        self._auditing = auditing
        self._sizing = sizing
        self._management = management
        self._reading = reading
        self._searching = searching
        self._agent = agent

    def routes(self) -> tuple[Route, ...]:
        """Its rows of the table."""
        one, task = "/tasks/{id}", TaskShown
        return (
            Route(
                "POST",
                "/tasks",
                "createTask",
                "Make a task.",
                self.create,
                "tasks",
                query=CreateQuery,
                body=NewTask,
                result=task,
                status=201,
                also={200: task},
                errors=(404, 409),
            ),
            Route(
                "GET",
                "/tasks",
                "listTasks",
                "Tasks by any filters.",
                self.list,
                "tasks",
                query=ListQuery,
                result=TaskPage,
            ),
            Route("GET", one, "getTask", "One task.", self.get, "tasks", result=task, revised=True),
            Route(
                "PUT",
                one,
                "replaceTask",
                "Say anew what may be changed of a task.",
                self.replace,
                "tasks",
                query=ChangeQuery,
                body=TaskChange,
                result=task,
                revised=True,
                errors=(409,),
            ),
            Route(
                "PATCH",
                one,
                "changeTask",
                "Change members of a task (RFC 7396).",
                self.patch,
                "tasks",
                query=ChangeQuery,
                body=TaskChange,
                merge=True,
                result=task,
                revised=True,
                errors=(409,),
            ),
            Route(
                "DELETE",
                one,
                "deleteTask",
                "Delete an ended task.",
                self.delete,
                "tasks",
                query=DeleteQuery,
                status=204,
                also={200: task, 202: task},
                revised=True,
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/cancel",
                "cancelTask",
                "Cancel a task.",
                self.cancel,
                "tasks",
                result=task,
                also={202: task},
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/retry",
                "retryTask",
                "Try an ended task again, as a new one.",
                self.retry,
                "tasks",
                body=NewRetry,
                body_optional=True,
                result=task,
                status=201,
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/requeue",
                "requeueTask",
                "Start a task later, or sooner, that waits for its time.",
                self.requeue,
                "tasks",
                body=NewDelay,
                body_optional=True,
                result=task,
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/messages",
                "answerTask",
                "Answer what a task asked.",
                self.answer,
                "tasks",
                body=NewMessage,
                result=task,
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/dependencies",
                "addDependencies",
                "Have a task wait for others too.",
                self.depend,
                "tasks",
                body=NewDependencies,
                result=task,
                errors=(409,),
            ),
            Route(
                "POST",
                one + "/feedback",
                "giveFeedback",
                "Say how good an ended task was.",
                self.feedback,
                "tasks",
                body=NewFeedback,
                result=task,
                errors=(409,),
            ),
        )

    async def create(self, call: Call[CreateQuery, NewTask]) -> Reply:
        """POST /tasks."""
        if call.query.dry_run:
            return Reply(await self._shown(await self._management.rehearse(call.scope, call.body)), 200)
        made = await self._management.create(call.scope, call.body)
        where = {"Location": f"{PREFIX}/tasks/{_quoted(made.row.id)}"}
        if made.repeat:
            again = (await self._shown(made.row)).model_copy(update={"repeat": True})
            return Reply(again, 200, where, made.row.rev)
        return await self._task(made.row, 201, where)

    async def list(self, call: Call[ListQuery, None]) -> Reply:
        """GET /tasks."""
        query = call.query
        wanted = TaskFilter.model_construct(
            _fields_set=query.model_fields_set - {"limit", "cursor"},
            **{name: getattr(query, name) for name in TaskFilter.model_fields},
        )
        page = await self._searching.page(call.scope, wanted, limit=query.limit, cursor=query.cursor)
        begun = await self._reading.starts.of(page.rows)
        shown = [task_shown(row, self._agent, Beside(begun[row.key])) for row in page.rows]
        return Reply(TaskPage(tasks=shown, next=page.next))

    async def get(self, call: Call[NoQuery, None]) -> Reply:
        """GET /tasks/{id}."""
        row = await self._reading.find(call.scope, call.path["id"])
        started_at = await self._started_at(row)
        times, feedback = await self._reading.timing.of(row, started_at), await self._feedback.of(row)
        duration = None if self._sizing is None else await self._sizing.duration(row)
        beside = Beside(started_at, times, feedback, duration, await self._auditing.of(row))
        return Reply(task_shown(row, self._agent, beside), revision=row.rev)

    async def replace(self, call: Call[ChangeQuery, Any]) -> Reply:
        """PUT /tasks/{id}."""
        return await self._changed(call, call.body)

    async def patch(self, call: Call[ChangeQuery, None]) -> Reply:
        """PATCH /tasks/{id}."""
        unknown = {name: value for name, value in call.given.items() if name not in _NAMES}
        inputs.modelled(TaskChange, unknown)
        for _ in range(TRIES):
            document, rev = await self._management.changeable(call.scope, call.path["id"])
            change = inputs.modelled(TaskChange, merged(document, call.given))
            try:
                return await self._changed(call, change, rev)
            except Conflict:
                continue
        raise contended()

    async def delete(self, call: Call[DeleteQuery, None]) -> Reply:
        """DELETE /tasks/{id}."""
        scope, task_id = call.scope, call.path["id"]
        if call.query.dry_run:
            row = await self._management.rehearse_deletion(scope, task_id, call.revisions, cancel=call.query.cancel)
            return await self._task(row)
        if not call.query.cancel:
            await self._management.delete(scope, task_id, call.revisions)
            return Reply()
        left = await self._management.cancel_and_delete(scope, task_id, call.revisions)
        return Reply() if left is None else await self._task(left, 202)

    async def cancel(self, call: Call[NoQuery, None]) -> Reply:
        """POST /tasks/{id}/cancel."""
        row = await self._management.cancel(call.scope, call.path["id"])
        return await self._task(row, 200 if row.state in TERMINAL else 202)

    async def retry(self, call: Call[NoQuery, NewRetry]) -> Reply:
        """POST /tasks/{id}/retry."""
        asked = call.body
        again = Again(asked.unique_key, asked.from_step, asked.text, dict(asked.parameters))
        row = await self._management.retry(call.scope, call.path["id"], again)
        return await self._task(row, 201, {"Location": f"{PREFIX}/tasks/{_quoted(row.id)}"})

    async def requeue(self, call: Call[NoQuery, NewDelay]) -> Reply:
        """POST /tasks/{id}/requeue."""
        return await self._task(await self._management.requeue(call.scope, call.path["id"], call.body.delay_seconds))

    async def answer(self, call: Call[NoQuery, NewMessage]) -> Reply:
        """POST /tasks/{id}/messages."""
        said = call.body
        if (said.text is None) is (said.parts is None):
            raise InvalidParams("text or parts must be given, and only one of them.", path="text")
        parts: list[Any] = [{"text": said.text}] if said.parts is None else list(said.parts)
        message = parsed_message({"parts": parts, **({"messageId": said.message_id} if said.message_id else {})})
        return await self._task(await self._management.answer(call.scope, call.path["id"], message))

    async def depend(self, call: Call[NoQuery, NewDependencies]) -> Reply:
        """POST /tasks/{id}/dependencies."""
        asked = call.body
        return await self._task(
            await self._management.depend(call.scope, call.path["id"], asked.depends_on, asked.on_dependency_failure)
        )

    async def feedback(self, call: Call[NoQuery, NewFeedback]) -> Reply:
        """POST /tasks/{id}/feedback."""
        row = await self._feedback.give(call.scope, call.path["id"], call.body.rating, call.body.comment)
        beside = Beside(await self._started_at(row), feedback=await self._feedback.of(row))
        return Reply(task_shown(row, self._agent, beside), revision=row.rev)

    async def _changed(self, call: Call[ChangeQuery, Any], change: Any, rev: int | None = None) -> Reply:  # noqa: ANN401 - a `TaskChange`, which is made at run time
        row = await self._management.change(
            call.scope,
            call.path["id"],
            _fields(change),
            spared=_NAMES - call.given.keys(),
            revisions=call.revisions,
            rev=rev,
            dry_run=call.query.dry_run,
        )
        return Reply(await self._shown(row)) if call.query.dry_run else await self._task(row)

    async def _started_at(self, row: TaskRow) -> int:
        return (await self._reading.starts.of([row]))[row.key]

    async def _shown(self, row: TaskRow) -> TaskShown:
        return task_shown(row, self._agent, Beside(await self._started_at(row)))

    async def _task(self, row: TaskRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        return Reply(await self._shown(row), status, headers or {}, row.rev)


def _fields(change: Any) -> dict[str, Any]:  # noqa: ANN401 - a `TaskChange`, which is made at run time
    return {name: getattr(change, name) for name in TaskChange.model_fields}


def _quoted(task_id: str) -> str:
    return quote(task_id, safe="")
