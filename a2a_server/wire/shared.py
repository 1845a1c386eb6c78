"""What v0.1 and 0.3 spell alike: the params of `tasks/get`, `tasks/cancel` and `tasks/resubscribe`, errors, `final`.

A request for one of these methods says nothing of its generation, so it is answered in that of the task: `answering`.

Source: A2A v0.1.0 and 0.3.0, specification/json/a2a.json: TaskQueryParams, TaskIdParams, JSONRPCError.
"""

from __future__ import annotations

from a2a_server.errors import ClientError
from a2a_server.model.objects import Generation, JsonObject, State, Status
from a2a_server.model.requests import CancelRequest, GetRequest, SubscribeRequest
from a2a_server.wire import extensions, fields

_GOING_ON = frozenset({State.SUBMITTED, State.WORKING})


def answering(created: Generation) -> Generation:
    """The generation that a task of generation `created` is told in: who calls these methods cannot read 1.0."""
    return created if created is Generation.V01 else Generation.V03


def parse_get(params: object, generation: Generation | None) -> GetRequest:
    """TaskQueryParams.

    Args:
        params: the method's params, parsed JSON; None = absent.
        generation: whose rules answer; None = those of the task.

    Raises:
        InvalidParams: `id` is missing or no id, `historyLength` negative or no integer.
    """
    request = fields.members(params, "params")
    task_id = fields.required_identifier(request, "id")
    return GetRequest(task_id, fields.natural(request, "historyLength", most=fields.MAX_HISTORY), generation)


def parse_cancel(params: object) -> CancelRequest:
    """TaskIdParams.

    Raises:
        InvalidParams: `id` is missing or no id, `metadata` no object.
    """
    request = fields.members(params, "params")
    fields.optional_object(request, "metadata")
    return CancelRequest(task_id=fields.required_identifier(request, "id"))


def parse_subscribe(params: object, generation: Generation | None) -> SubscribeRequest:
    """TaskQueryParams (v0.1) or TaskIdParams (0.3); `metadata.afterEvent` (ours) continues behind that event.

    Raises:
        InvalidParams: `id` is missing or no id, `historyLength` or `metadata.afterEvent` no number.
    """
    request = fields.members(params, "params")
    fields.natural(request, "historyLength", most=fields.MAX_HISTORY)
    return SubscribeRequest(
        task_id=fields.required_identifier(request, "id"),
        after=extensions.after_of(request),
        generation=generation,
    )


def final(status: Status) -> bool:
    """Whether a status event ends the interaction: the task has ended, or asks for something."""
    return status.state not in _GOING_ON


def render_error(error: ClientError) -> JsonObject:
    """A JSON-RPC error object; `data` is there when there is more to say: field, retryAfterSeconds, errorId.

    Codes that these generations do not have (-32008, -32009) are sent as they are.
    """
    shown: JsonObject = {"code": error.code, "message": error.message}
    data: JsonObject = {}
    if error.path:
        data["field"] = error.path
    if error.retry_after_seconds:
        data["retryAfterSeconds"] = error.retry_after_seconds
    if error.error_id:
        data["errorId"] = error.error_id
    if data:
        shown["data"] = data
    return shown
