"""A2A 1.0 as it stands on the wire: ProtoJSON of `lf.a2a.v1`.

Theory of operation: a request arrives as parsed JSON and leaves as a request of the model; a task or an event of the
model leaves as a dict that orjson can encode. Members come as lowerCamelCase or snake_case (every ProtoJSON parser
takes both) and go out as lowerCamelCase; unknown ones are ignored (section 5.7). Checks are written by hand, a line
for each field, because every send passes here; validation by pydantic costs several times as much.

A weakness: nothing here is generated from a2a.proto. The unit tests hold it to the SDK's protobuf classes instead.

`base_url` in the render functions is the server's public address without a slash at its end; large files get links
under it. Source: A2A 1.0.1 (a2a.proto; specification sections 3, 4, 5.4, 5.6, 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from a2a_server.errors import ClientError, InvalidParams, PushNotSupported
from a2a_server.model.objects import (
    Artifact,
    Data,
    Event,
    File,
    Generation,
    Json,
    JsonObject,
    Message,
    Part,
    Role,
    State,
    Status,
    StatusEvent,
    Task,
    Text,
)
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.times import timestamp
from a2a_server.wire import extensions, fields, files
from a2a_server.wire.operations import Operation

GENERATION = Generation.V10

METHODS: Mapping[str, Operation] = MappingProxyType(
    {
        "SendMessage": Operation.SEND,
        "SendStreamingMessage": Operation.STREAM,
        "GetTask": Operation.GET,
        "ListTasks": Operation.LIST,
        "CancelTask": Operation.CANCEL,
        "SubscribeToTask": Operation.SUBSCRIBE,
        "CreateTaskPushNotificationConfig": Operation.PUSH_SET,
        "GetTaskPushNotificationConfig": Operation.PUSH_GET,
        "ListTaskPushNotificationConfigs": Operation.PUSH_LIST,
        "DeleteTaskPushNotificationConfig": Operation.PUSH_DELETE,
        "GetExtendedAgentCard": Operation.EXTENDED_CARD,
    }
)

STATES = {state: f"TASK_STATE_{state.name}" for state in State}
_ROLES = {Role.USER: "ROLE_USER", Role.AGENT: "ROLE_AGENT"}
_KINDS = ("text", "raw", "url", "data")
_DOMAIN = "a2a-protocol.org"
_RPC = "type.googleapis.com/google.rpc."


def parse_send(params: object) -> SendRequest:
    """A SendMessageRequest.

    Args:
        params: the method's params, parsed JSON; None = absent.

    Raises:
        InvalidParams: a field is missing or breaks its rule; `path` names it from params on.
        PushNotSupported: it brings a push notification configuration.

    Source: A2A 1.0.1 section 3.2.1 to 3.2.4.
    """
    request = opened(params)
    configuration = fields.optional_object(request, "configuration")
    at_once, history = (None, None) if configuration is None else _parse_configuration(_spelled(configuration))
    message = _parse_message(fields.members(request.get("message"), "message"))
    asked = extensions.asked(request)
    if asked.options.return_immediately is not None:
        at_once = asked.options.return_immediately
    return SendRequest(
        GENERATION,
        message,
        message.task_id,
        message.context_id,
        not at_once,
        history,
        asked.options,
        asked.metadata,
        asked.after,
    )


def parse_get(params: object) -> GetRequest:
    """A GetTaskRequest.

    Raises:
        InvalidParams: `id` is missing or no id, `historyLength` negative or no integer.

    Source: A2A 1.0.1 section 3.1.3.
    """
    request = opened(params)
    task_id = fields.required_identifier(request, "id")
    return GetRequest(task_id, fields.natural(request, "historyLength", most=fields.MAX_HISTORY), GENERATION)


def parse_cancel(params: object) -> CancelRequest:
    """A CancelTaskRequest.

    Raises:
        InvalidParams: `id` is missing or no id, `metadata` no object.

    Source: A2A 1.0.1 section 3.1.5.
    """
    request = opened(params)
    fields.optional_object(request, "metadata")
    return CancelRequest(task_id=fields.required_identifier(request, "id"))


def parse_subscribe(params: object) -> SubscribeRequest:
    """A SubscribeToTaskRequest; `metadata.afterEvent` (ours) continues behind that event.

    Raises:
        InvalidParams: `id` is missing or no id, `metadata.afterEvent` no number.

    Source: A2A 1.0.1 section 3.1.6.
    """
    request = opened(params)
    return SubscribeRequest(
        task_id=fields.required_identifier(request, "id"),
        after=extensions.after_of(request),
        generation=GENERATION,
    )


def render_task(task: Task, base_url: str) -> JsonObject:
    """A Task: the bare result of GetTask and CancelTask."""
    shown: JsonObject = {"id": task.id, "contextId": task.context_id, "status": _status(task.status, base_url)}
    if task.artifacts:
        shown["artifacts"] = [_artifact(artifact, base_url) for artifact in task.artifacts]
    if task.history:
        shown["history"] = [render_message(message, base_url) for message in task.history]
    if metadata := extensions.task_metadata(task):
        shown["metadata"] = metadata
    return shown


def render_send(answer: Task | Message, base_url: str) -> JsonObject:
    """A SendMessageResponse: a task, or the message that is the whole answer."""
    if isinstance(answer, Message):
        return {"message": render_message(answer, base_url)}
    return {"task": render_task(answer, base_url)}


def render_start(start: Task | Message, base_url: str) -> list[JsonObject]:
    """The first stream item: a task, whose metadata says the event number it includes, or a direct answer."""
    if isinstance(start, Message):
        return [render_send(start, base_url)]
    shown = render_task(start, base_url)
    shown["metadata"] = {**extensions.task_metadata(start), **extensions.snapshot_metadata(start)}
    return [{"task": shown}]


def render_event(event: Event, task_id: str, context_id: str, base_url: str) -> JsonObject:
    """A StreamResponse: a status or an artifact update, its number in its metadata."""
    shown: JsonObject = {"taskId": task_id, "contextId": context_id}
    if isinstance(event, StatusEvent):
        shown["status"] = _status(event.status, base_url)
        shown["metadata"] = extensions.event_metadata(event)
        return {"statusUpdate": shown}
    shown["artifact"] = _artifact(event.artifact, base_url)
    shown["append"] = event.append
    shown["lastChunk"] = event.last
    shown["metadata"] = extensions.event_metadata(event)
    return {"artifactUpdate": shown}


def render_error(error: ClientError) -> JsonObject:
    """A JSON-RPC error object whose `data` is an array of google.rpc details.

    Source: A2A 1.0.1 section 9.5; google/rpc/error_details.proto.
    """
    info: JsonObject = {"@type": f"{_RPC}ErrorInfo", "reason": error.reason, "domain": _DOMAIN}
    facts: JsonObject = {}
    if error.retry_after_seconds:
        facts["retryAfterSeconds"] = str(error.retry_after_seconds)
    if error.error_id:
        facts["errorId"] = error.error_id
    if facts:
        info["metadata"] = facts
    details: list[Json] = [info]
    if error.path and isinstance(error, InvalidParams):
        violation: JsonObject = {"field": error.path, "description": error.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    return {"code": error.code, "message": error.message, "data": details}


def render_message(message: Message, base_url: str) -> JsonObject:
    """A Message."""
    shown: JsonObject = {"messageId": message.id, "role": _ROLES[message.role]}
    shown["parts"] = [render_part(part, base_url) for part in message.parts]
    if message.context_id:
        shown["contextId"] = message.context_id
    if message.task_id:
        shown["taskId"] = message.task_id
    if message.reference_task_ids:
        shown["referenceTaskIds"] = list(message.reference_task_ids)
    if message.extensions:
        shown["extensions"] = list(message.extensions)
    if message.metadata:
        shown["metadata"] = message.metadata
    return shown


def render_part(part: Part, base_url: str) -> JsonObject:
    """A Part: text and data inline; of a file its bytes, its address, or a link to the artifact store."""
    shown: JsonObject
    if isinstance(part, Text):
        shown = {"text": part.text}
    elif isinstance(part, Data):
        shown = {"data": part.data}
    elif part.raw is not None:
        shown = {"raw": files.encode(part.raw)}
    else:
        shown = {"url": files.address(part, base_url)}
    if part.filename:
        shown["filename"] = part.filename
    if part.media_type:
        shown["mediaType"] = part.media_type
    if part.metadata:
        shown["metadata"] = part.metadata
    return shown


def opened(params: object) -> JsonObject:
    """The members of a request message by their lowerCamelCase names.

    Raises:
        InvalidParams: it is no object, or names a tenant.
    """
    request = _spelled(fields.members(params, "params"))
    if request.get("tenant") is not None and fields.string(request, "tenant"):
        raise fields.wrong("tenant", "must be absent or empty: this server has no tenants")
    return request


def parse_part(value: object, path: str) -> Part:
    """A Part with exactly one of text, raw, url and data.

    Raises:
        InvalidParams: it has none or several of them, or a member of the wrong type; paths begin with `path`.

    Source: a2a.proto, Part.
    """
    part = _spelled(fields.members(value, path))
    if len(part) == 1 and type(text := part.get("text")) is str:  # as nearly every part is
        return Text(text)
    kinds = [kind for kind in _KINDS if part.get(kind) is not None]
    if not kinds and "data" in part:
        kinds = ["data"]  # null is a JSON value too
    if len(kinds) != 1:
        raise fields.wrong(path, "must have exactly one of text, raw, url and data")
    kind, at = kinds[0], f"{path}."
    media_type = fields.label(part, "mediaType", at)
    filename = fields.label(part, "filename", at)
    metadata = fields.optional_object(part, "metadata", at)
    if kind == "data":
        return Data(part["data"], media_type, filename, metadata)
    content = fields.string(part, kind, at)
    if kind == "text":
        return Text(content, media_type, filename, metadata)
    if kind == "raw":
        return File(filename, media_type, raw=files.decode(content, f"{at}raw"), metadata=metadata)
    if not content:
        raise fields.wrong(f"{at}url", "must not be empty")
    return File(filename, media_type, url=content, metadata=metadata)


def _parse_configuration(configuration: JsonObject) -> tuple[bool | None, int | None]:
    if configuration.get("taskPushNotificationConfig") is not None:
        raise PushNotSupported(path="configuration.taskPushNotificationConfig")
    fields.strings(configuration, "acceptedOutputModes", "configuration.")
    return (
        fields.boolean(configuration, "returnImmediately", "configuration."),
        fields.natural(configuration, "historyLength", "configuration.", fields.MAX_HISTORY),
    )


def _parse_message(value: JsonObject) -> Message:
    message = _spelled(value)
    message_id = fields.required_identifier(message, "messageId", "message.")
    role = message.get("role")
    if role != "ROLE_USER":
        raise fields.wrong("message.role", "must be ROLE_USER: clients speak as the user")
    parts = fields.array(message, "parts", "message.", fields.MAX_PARTS)
    if not parts:
        raise fields.wrong("message.parts", 'must hold at least one part, such as {"text": "hello"}')
    return Message(
        Role.USER,
        tuple([parse_part(part, f"message.parts[{position}]") for position, part in enumerate(parts)]),
        message_id,
        fields.identifier(message, "contextId", "message."),
        fields.identifier(message, "taskId", "message."),
        fields.identifiers(message, "referenceTaskIds", "message."),
        fields.strings(message, "extensions", "message."),
        fields.optional_object(message, "metadata", "message."),
    )


def _spelled(members: JsonObject) -> JsonObject:
    for name in members:
        if "_" in name:
            return {**{_camel(name): value for name, value in members.items()}, **members}
    return members


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _status(status: Status, base_url: str) -> JsonObject:
    shown: JsonObject = {"state": STATES[status.state]}
    if status.message is not None:
        shown["message"] = render_message(status.message, base_url)
    shown["timestamp"] = timestamp(status.at)
    return shown


def _artifact(artifact: Artifact, base_url: str) -> JsonObject:
    shown: JsonObject = {"artifactId": artifact.id}
    if artifact.name:
        shown["name"] = artifact.name
    if artifact.description:
        shown["description"] = artifact.description
    # At least one part is required, and a chunk that only closes an artifact has none; empty text adds nothing.
    shown["parts"] = [render_part(part, base_url) for part in artifact.parts] or [{"text": ""}]
    if artifact.metadata:
        shown["metadata"] = artifact.metadata
    if artifact.extensions:
        shown["extensions"] = list(artifact.extensions)
    return shown
