"""A2A v0.1 (`tasks/send`), as its specification and the first Google samples spoke it.

Theory of operation: as in the other wires, parsed JSON becomes requests of the model, and the model becomes dicts.
What is peculiar here: the client makes the task id; messages have no ids; a stream carries status and artifact events
only, never a task, so a snapshot is told as one status and every artifact so far; `final: true` ends an interaction,
also where the task asks; artifacts are told apart by their index.

Weaknesses: v0.1 has no word for rejected and auth-required (said as failed and input-required), no data part that is
not an object (wrapped as `{"value": ...}`), no media type of text, no answer that is a message, and no place for an
artifact's id.

python-a2a 0.4 and 0.5 speak a dialect: a message holds one part as `content`, besides ids of its own, and the params
repeat the task's `status`. What v0.1 does not know is ignored; so are these.

`base_url` in the render functions is the server's public address without a slash at its end; large files get links
under it. Source: A2A v0.1.0, specification/json/a2a.json and docs/specification.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from a2a_server.errors import ClientError, PushNotSupported
from a2a_server.model.objects import (
    Artifact,
    Event,
    Generation,
    JsonObject,
    Message,
    Part,
    Role,
    State,
    Status,
    StatusEvent,
    Task,
)
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.times import timestamp
from a2a_server.wire import extensions, fields, shared, tagged
from a2a_server.wire.operations import Operation

GENERATION = Generation.V01

METHODS: Mapping[str, Operation] = MappingProxyType(
    {
        "tasks/send": Operation.SEND,
        "tasks/sendSubscribe": Operation.STREAM,
        "tasks/get": Operation.GET,
        "tasks/cancel": Operation.CANCEL,
        "tasks/resubscribe": Operation.SUBSCRIBE,
        "tasks/pushNotification/set": Operation.PUSH_SET,
        "tasks/pushNotification/get": Operation.PUSH_GET,
    }
)

_STATES = {
    State.SUBMITTED: "submitted",
    State.WORKING: "working",
    State.INPUT_REQUIRED: "input-required",
    State.AUTH_REQUIRED: "input-required",
    State.COMPLETED: "completed",
    State.CANCELED: "canceled",
    State.FAILED: "failed",
    State.REJECTED: "failed",
}
_TAG = "type"
_USER = Role.USER.value


def parse_send(params: object) -> SendRequest:
    """TaskSendParams.

    The message keeps no id: v0.1 has none, and the service names it by its content. Waiting for the end is what
    `tasks/send` does, unless the task options say `returnImmediately`. An absent historyLength asks for no history.

    Args:
        params: the method's params, parsed JSON; None = absent.

    Raises:
        InvalidParams: a field is missing or breaks its rule; `path` names it from params on.
        PushNotSupported: it brings a push notification configuration.

    Source: A2A v0.1.0 a2a.json, TaskSendParams.
    """
    request = fields.members(params, "params")
    task_id = fields.required_identifier(request, "id")
    context_id = fields.identifier(request, "sessionId")
    if request.get("pushNotification") is not None:
        raise PushNotSupported(path="pushNotification")
    history = fields.natural(request, "historyLength", most=fields.MAX_HISTORY)
    message = _parse_message(fields.members(request.get("message"), "message"))
    asked = extensions.asked(request)
    return SendRequest(
        GENERATION,
        message,
        task_id,
        context_id,
        not asked.options.return_immediately,
        history or 0,
        asked.options,
        asked.metadata,
        asked.after,
    )


def parse_get(params: object) -> GetRequest:
    """TaskQueryParams; an absent historyLength asks for no history. Raises InvalidParams.

    Source: A2A v0.1.0 a2a.json, TaskQueryParams.
    """
    return shared.parse_get(params, GENERATION)


def parse_cancel(params: object) -> CancelRequest:
    """TaskIdParams. Raises InvalidParams.

    Source: A2A v0.1.0 a2a.json, TaskIdParams.
    """
    return shared.parse_cancel(params)


def parse_subscribe(params: object) -> SubscribeRequest:
    """TaskQueryParams of `tasks/resubscribe`. Raises InvalidParams.

    Source: A2A v0.1.0 a2a.json, TaskResubscriptionRequest.
    """
    return shared.parse_subscribe(params, GENERATION)


def render_task(task: Task, base_url: str) -> JsonObject:
    """A Task: the result of send, get and cancel."""
    shown: JsonObject = {"id": task.id, "sessionId": task.context_id, "status": _status(task.status, base_url)}
    if task.artifacts:
        shown["artifacts"] = [_artifact(artifact, base_url) for artifact in task.artifacts]
    if task.history:
        shown["history"] = [render_message(message, base_url) for message in task.history]
    if metadata := extensions.task_metadata(task):
        shown["metadata"] = metadata
    return shown


def render_send(answer: Task | Message, base_url: str) -> JsonObject:
    """The result of `tasks/send`: the bare task. Raises TypeError for a message, which no result of v0.1 can be."""
    return render_task(_task(answer), base_url)


def render_start(start: Task | Message, base_url: str) -> list[JsonObject]:
    """The stream items that stand for a snapshot: its status, and each artifact so far with `append: false`.

    A final status comes last, because clients stop reading at `final: true`; any other comes first. Only the last
    item says the event number, so that a client that broke off in between asks for the whole snapshot again.

    Raises:
        TypeError: a message, which no stream of v0.1 can hold.
    """
    task = _task(start)
    status: JsonObject = {"id": task.id, "status": _status(task.status, base_url), "final": shared.final(task.status)}
    artifacts: list[JsonObject] = [
        {"id": task.id, "artifact": _chunk(artifact, base_url, append=False, last=artifact.closed)}
        for artifact in task.artifacts
    ]
    items = [*artifacts, status] if status["final"] else [status, *artifacts]
    items[-1]["metadata"] = extensions.snapshot_metadata(task)
    return items


def render_event(event: Event, task_id: str, context_id: str, base_url: str) -> JsonObject:  # noqa: ARG001 - no session in v0.1 events
    """A TaskStatusUpdateEvent or TaskArtifactUpdateEvent, its number in its metadata."""
    shown: JsonObject = {"id": task_id}
    if isinstance(event, StatusEvent):
        shown["status"] = _status(event.status, base_url)
        shown["final"] = shared.final(event.status)
    else:
        shown["artifact"] = _chunk(event.artifact, base_url, append=event.append, last=event.last)
    shown["metadata"] = extensions.event_metadata(event)
    return shown


def render_error(error: ClientError) -> JsonObject:
    """A JSON-RPC error object."""
    return shared.render_error(error)


def render_message(message: Message, base_url: str) -> JsonObject:
    """A Message; ids, references and extensions have no place in it."""
    shown: JsonObject = {"role": message.role.value, "parts": [render_part(part, base_url) for part in message.parts]}
    if message.metadata:
        shown["metadata"] = message.metadata
    return shown


def render_part(part: Part, base_url: str) -> JsonObject:
    """A Part, told apart by `type`; data that is no object is wrapped as `{"value": ...}`."""
    return tagged.render_part(part, base_url, _TAG)


def parse_part(value: object, path: str) -> Part:
    """A TextPart, FilePart or DataPart.

    Raises:
        InvalidParams: `type` is missing or none of the three, or a member breaks its rule; paths begin with `path`.

    Source: A2A v0.1.0 a2a.json, Part.
    """
    return tagged.parse_part(value, path, _TAG)


def _parse_message(message: JsonObject) -> Message:
    if message.get("role") != _USER:
        raise fields.wrong("message.role", "must be user: clients speak as the user")
    if message.get("parts") is None and message.get("content") is not None:
        parts: tuple[Part, ...] = (parse_part(message["content"], "message.content"),)
    else:
        given = fields.array(message, "parts", "message.", fields.MAX_PARTS)
        if not given:
            rule = 'must hold at least one part, such as {"type": "text", "text": "hello"}'
            raise fields.wrong("message.parts", rule)
        parts = tuple([parse_part(part, f"message.parts[{position}]") for position, part in enumerate(given)])
    return Message(Role.USER, parts, metadata=fields.optional_object(message, "metadata", "message."))


def _task(answer: Task | Message) -> Task:
    if isinstance(answer, Message):
        raise TypeError("v0.1 has no answer that is a message; its tasks are always shown")
    return answer


def _status(status: Status, base_url: str) -> JsonObject:
    shown: JsonObject = {"state": _STATES[status.state]}
    if status.message is not None:
        shown["message"] = render_message(status.message, base_url)
    shown["timestamp"] = timestamp(status.at)
    return shown


def _artifact(artifact: Artifact, base_url: str) -> JsonObject:
    shown: JsonObject = {}
    if artifact.name:
        shown["name"] = artifact.name
    if artifact.description:
        shown["description"] = artifact.description
    shown["parts"] = [render_part(part, base_url) for part in artifact.parts]
    shown["index"] = artifact.ordinal
    if artifact.metadata:
        shown["metadata"] = artifact.metadata
    return shown


def _chunk(artifact: Artifact, base_url: str, *, append: bool, last: bool) -> JsonObject:
    return {**_artifact(artifact, base_url), "append": append, "lastChunk": last}
