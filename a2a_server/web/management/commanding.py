"""The task manager's commands carried out: each by the row of the table of routes that has its name.

So a command takes what a request of `/api/v1` takes, is checked by the same models, reaches the same services under the
scope that it comes with, and is answered with the same resource; what is said here is only where its arguments go, and
what makes it the same command when it is carried out again. What is about the server itself is for operators alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from a2a_server.errors import (
    ClientError,
    Conflict,
    DataRejected,
    InvalidParams,
    NothingThere,
    Overloaded,
    TaskNotCancelable,
    TaskNotFound,
    UnsupportedOperation,
)
from a2a_server.model.commands import OPERATIONS, Answered, Command
from a2a_server.model.objects import JsonObject, Scope
from a2a_server.service.showing import duration_shown
from a2a_server.service.sizing import Sizing
from a2a_server.web.management import inputs, problems
from a2a_server.web.management.problems import Refused
from a2a_server.web.management.saying import said
from a2a_server.web.management.table import Call, Reply, Route

LONGEST: Final = 1024
"""Characters of what names a thing."""
_ESTIMATED: Final = frozenset({"createTask", "answerTask"})
"""What answers with a task and does not read it alone: how long it takes is added."""
_ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected"})
_KEYED: Final = {
    "createBatch": "uniqueKey",
    "retryTask": "uniqueKey",
    "triggerSchedule": "uniqueKey",
    "answerTask": "messageId",
}
"""Operations that are told apart by a member of their own."""
_THINGS: Final = {"tasks": "taskId", "schedules": "scheduleId", "batches": "batchId", "workers": "workerId"}
_UNDONE: Final = "Nothing was done; this would come of it:"
_OPERATORS: Final = (
    "What concerns the server itself is told only where it is bound to this machine (host 127.0.0.1): there is no "
    "authentication."
)


class Commands:
    """Carries commands out on the tasks of one agent.

    Args:
        routes: the table, with what the task manager tells beside it.
        agent: whose tasks they are, as the engine calls it.
        sizing: how long tasks take.
        operators: whether callers may be told of the server itself.
    """

    def __init__(self, routes: Sequence[Route], agent: str, sizing: Sizing, operators: Callable[[], bool]) -> None:
        self._routes = {route.operation: route for route in routes}
        self._agent = agent
        self._sizing = sizing
        self._operators = operators

    async def answer(self, scope: Scope, command: Command, key: str) -> Answered:
        """What the command came to. key: the same whenever this very command is carried out again.

        Raises InvalidParams, and what else of ClientError the operation does; StoreUnavailable.
        """
        operation = command.operation
        if OPERATIONS[operation].for_operators and not self._operators():
            raise UnsupportedOperation(_OPERATORS)
        try:
            call = _call(self._routes[operation], scope, _keyed(operation, command.arguments, key))
            data = await self._answered(operation, call)
        except Refused as error:
            if error.status != problems.INVALID:
                raise UnsupportedOperation(error.message) from None
            field = error.details[0].field if error.details else ""
            raise InvalidParams(f"{operation}: {error.message}", path=field) from None
        except InvalidParams as error:
            raise InvalidParams(f"{operation}: {problems.words(error)[0]}", path=error.path) from None
        except Conflict:
            raise Overloaded("Too many change the same things at the moment; try again.") from None
        except DataRejected:
            raise InvalidParams(f"{operation}: no name or text may hold the character U+0000.") from None
        told = said(operation, data)
        return Answered(data, f"{_UNDONE}\n{told}" if _is_rehearsal(call) else told)

    async def _answered(self, operation: str, call: Call[Any, Any]) -> JsonObject:
        try:
            data = _data(call, await self._routes[operation].handler(call))
        except ClientError as error:
            data = await self._as_it_is(operation, call, error)
        is_told = data.get("state") in _ENDED or "estimatedDuration" in data
        if operation in _ESTIMATED and not is_told and "skill" in data:
            past = await self._sizing.past(self._agent, str(data["skill"]))
            if past is not None:
                data["estimatedDuration"] = duration_shown(past).model_dump(
                    mode="json", by_alias=True, exclude_none=True
                )
        return data

    async def _as_it_is(self, operation: str, call: Call[Any, Any], error: ClientError) -> JsonObject:
        """The thing, where the error says only that the command was carried out before. Raises the error."""
        if isinstance(error, TaskNotFound) and "id" in call.path:
            raise TaskNotFound(
                f'There is no task "{call.path["id"]}" of yours; listTasks shows those that there are.'
            ) from None
        if isinstance(error, TaskNotCancelable):
            task = await self._again("getTask", call.scope, call.path["id"])
            if task["state"] == "canceled":
                return task
            raise TaskNotCancelable(f"Task {task['id']} cannot be canceled: it has ended ({task['state']}).") from None
        made = str(call.given.get("id", ""))
        if operation == "createSchedule" and isinstance(error, UnsupportedOperation) and made.startswith(_MADE):
            return await self._again("getSchedule", call.scope, made)
        raise error

    async def _again(self, operation: str, scope: Scope, thing: str) -> JsonObject:
        return await self._answered(operation, _call(self._routes[operation], scope, {"id": thing}))


_MADE: Final = "made-"
"""How ids of schedules begin that have none of their caller's."""


def _keyed(operation: str, given: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The arguments, with what tells the command from another one that asks for the same."""
    arguments = dict(given)
    if (name := _KEYED.get(operation)) is not None:
        arguments.setdefault(name, key)
    elif operation == "createSchedule" and not arguments.get("id"):
        arguments["id"] = _MADE + key
    elif operation == "createTask":
        arguments = _identified(arguments, key)
    return arguments


def _identified(task: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A new task whose message has an id, where what is given of it can be a message."""
    message, text = task.get("message"), task.get("text")
    if message is None and isinstance(text, str | None):
        others = {name: value for name, value in task.items() if name not in {"text", "message"}}
        return {**others, "message": {"messageId": key, "parts": [{"text": text or ""}]}}
    if text is None and isinstance(message, dict):
        return {**task, "message": {"messageId": key, **message}}
    return dict(task)


def _call(route: Route, scope: Scope, given: Mapping[str, Any]) -> Call[Any, Any]:
    """The arguments where a request would have them. Raises InvalidParams, Refused."""
    rest = dict(given)
    path = _path(route, rest)
    in_query = set() if route.body is None else _names(route.query) - _names(route.body)
    query = rest if route.body is None else {name: rest.pop(name) for name in in_query & rest.keys()}
    body = {} if route.body is None else rest
    return Call(
        scope,
        path,
        _queried(route.query, query),
        None if route.body is None or route.merge else inputs.modelled(route.body, body),
        body,
        None,
        Request({"type": "http", "headers": []}),
    )


def _is_rehearsal(call: Call[Any, Any]) -> bool:
    return any(getattr(asked, "dry_run", False) for asked in (call.query, call.body))


def _path(route: Route, rest: dict[str, Any]) -> dict[str, str]:
    path = {}
    for place, segment in enumerate(route.segments):
        if segment not in {f"{{{name}}}" for name in route.variables}:
            continue
        name = segment[1:-1]
        also = _THINGS.get(route.segments[place - 1], name)
        value = rest.pop(also) if also in rest else rest.pop(name, None)
        if value is None:
            _refuse(also, "is missing")
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
            _refuse(also, f"must be a text of 1 to {LONGEST} characters")
        if not value.isprintable():
            raise NothingThere(f"There is nothing of this {also}.")
        path[name] = value
    return path


def _queried(model: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    many = inputs.repeated(model)
    listed = {name: [value] if name in many and isinstance(value, str) else value for name, value in given.items()}
    return inputs.asked(model, listed)


def _names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def _refuse(name: str, rule: str) -> NoReturn:
    raise InvalidParams(f"{name} {rule}.", path=name)


def _data(call: Call[Any, Any], reply: Reply | Response) -> JsonObject:
    """What the reply holds; of one that holds nothing, which thing it is about."""
    if isinstance(reply, Response) or reply.content is None:
        return {**call.path}
    return reply.content.model_dump(mode="json", by_alias=True, exclude_none=True)
