"""A2A 0.2 and 0.3 (`message/send`) over JSON-RPC.

Theory of operation: as in the other wires, parsed JSON becomes requests of the model, and the model becomes dicts.
What is peculiar here: every object says its `kind`, so results and stream items are bare; the server makes the task id;
`final: true` ends an interaction, also where the task asks; whether a send waits may be left to the server. Members are
lowerCamelCase alone, unknown ones are ignored. The releases 0.2.0 to 0.3.0 differ in nothing that is read here, so one
wire serves them all.

Weaknesses: text and data have no media type and no file name here, and data must be an object (other values are wrapped
as `{"value": ...}` and marked in the part's metadata, as a2a-sdk 1.x does it). HTTP+JSON and gRPC of 0.3 are spelled by
another schema, and live elsewhere.

`base_url` in the render functions is the server's public address without a slash at its end; large files get links
under it. Source: A2A 0.3.0, specification/json/a2a.json and docs/specification.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from a2a_server.errors import ClientError, PushNotSupported
from a2a_server.model.objects import (
    Artifact,
    Data,
    Event,
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
)
from a2a_server.model.requests import CancelRequest, GetRequest, SendRequest, SubscribeRequest
from a2a_server.model.times import timestamp
from a2a_server.wire import extensions, fields, shared, tagged
from a2a_server.wire.operations import Operation

GENERATION = Generation.V03

METHODS: Mapping[str, Operation] = MappingProxyType(
    {
        "message/send": Operation.SEND,
        "message/stream": Operation.STREAM,
        "tasks/get": Operation.GET,
        "tasks/cancel": Operation.CANCEL,
        "tasks/resubscribe": Operation.SUBSCRIBE,
        "tasks/pushNotificationConfig/set": Operation.PUSH_SET,
        "tasks/pushNotificationConfig/get": Operation.PUSH_GET,
        "tasks/pushNotificationConfig/list": Operation.PUSH_LIST,
        "tasks/pushNotificationConfig/delete": Operation.PUSH_DELETE,
        "agent/getAuthenticatedExtendedCard": Operation.EXTENDED_CARD,
    }
)

_STATES = {state: state.name.lower().replace("_", "-") for state in State}
_TAG = "kind"
_MARK = "data_part_compat"


def parse_send(params: object) -> SendRequest:
    """MessageSendParams.

    Without `blocking` it is the server's setting that says whether the send waits; the task option `returnImmediately`
    says more than either.

    Args:
        params: the method's params, parsed JSON; None = absent.

    Raises:
        InvalidParams: a field is missing or breaks its rule; `path` names it from params on.
        PushNotSupported: it brings a push notification configuration.

    Source: A2A 0.3.0 section 7.1.1.
    """
    request = fields.members(params, "params")
    configuration = fields.optional_object(request, "configuration")
    blocking, history = (None, None) if configuration is None else _parse_configuration(configuration)
    message = _parse_message(fields.members(request.get("message"), "message"))
    asked = extensions.asked(request)
    if asked.options.return_immediately is not None:
        blocking = not asked.options.return_immediately
    return SendRequest(
        GENERATION,
        message,
        message.task_id,
        message.context_id,
        blocking,
        history,
        asked.options,
        asked.metadata,
        asked.after,
    )


def parse_get(params: object) -> GetRequest:
    """TaskQueryParams; an absent historyLength asks for all of the history. Raises InvalidParams.

    Source: A2A 0.3.0 section 7.3.1.
    """
    return shared.parse_get(params, GENERATION)


def parse_cancel(params: object) -> CancelRequest:
    """TaskIdParams. Raises InvalidParams.

    Source: A2A 0.3.0 section 7.4.1.
    """
    return shared.parse_cancel(params)


def parse_subscribe(params: object) -> SubscribeRequest:
    """TaskIdParams of `tasks/resubscribe`. Raises InvalidParams.

    Source: A2A 0.3.0 section 7.9.1.
    """
    return shared.parse_subscribe(params, GENERATION)


def render_task(task: Task, base_url: str) -> JsonObject:
    """A Task: the result of `tasks/get` and `tasks/cancel`."""
    shown: JsonObject = {_TAG: "task", "id": task.id, "contextId": task.context_id}
    shown["status"] = _status(task.status, base_url)
    if task.artifacts:
        shown["artifacts"] = [_artifact(artifact, base_url) for artifact in task.artifacts]
    if task.history:
        shown["history"] = [render_message(message, base_url) for message in task.history]
    if metadata := extensions.task_metadata(task):
        shown["metadata"] = metadata
    return shown


def render_send(answer: Task | Message, base_url: str) -> JsonObject:
    """The result of `message/send`: the bare task, or the message that is the whole answer."""
    return render_message(answer, base_url) if isinstance(answer, Message) else render_task(answer, base_url)


def render_start(start: Task | Message, base_url: str) -> list[JsonObject]:
    """The first stream item: a task, whose metadata says the event number it includes, or a direct answer."""
    shown = render_send(start, base_url)
    if isinstance(start, Task):
        shown["metadata"] = {**extensions.task_metadata(start), **extensions.snapshot_metadata(start)}
    return [shown]


def render_event(event: Event, task_id: str, context_id: str, base_url: str) -> JsonObject:
    """A TaskStatusUpdateEvent or TaskArtifactUpdateEvent, its number in its metadata."""
    named: JsonObject = {"taskId": task_id, "contextId": context_id}
    shown: JsonObject
    if isinstance(event, StatusEvent):
        shown = {_TAG: "status-update", **named}
        shown["status"] = _status(event.status, base_url)
        shown["final"] = shared.final(event.status)
    else:
        shown = {_TAG: "artifact-update", **named}
        shown["artifact"] = _artifact(event.artifact, base_url)
        shown["append"] = event.append
        shown["lastChunk"] = event.last
    shown["metadata"] = extensions.event_metadata(event)
    return shown


def render_error(error: ClientError) -> JsonObject:
    """A JSON-RPC error object, spelled as v0.1 spells it."""
    return shared.render_error(error)


def render_message(message: Message, base_url: str) -> JsonObject:
    """A Message."""
    shown: JsonObject = {_TAG: "message", "messageId": message.id, "role": message.role.value}
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
    """A Part, told apart by `kind`; data that is no object is wrapped and marked."""
    shown = tagged.render_part(part, base_url, _TAG)
    if isinstance(part, Data) and not isinstance(part.data, dict):
        shown["metadata"] = {**(part.metadata or {}), _MARK: True}
    return shown


def parse_part(value: object, path: str) -> Part:
    """A TextPart, FilePart or DataPart; data that was wrapped and marked is unwrapped.

    Raises:
        InvalidParams: `kind` is missing or none of the three, or a member breaks its rule; paths begin with `path`.

    Source: A2A 0.3.0 section 6.5; the mark: a2a-sdk 1.x, `data_part_compat`.
    """
    part = tagged.parse_part(value, path, _TAG)
    if isinstance(part, Data) and part.metadata and part.metadata.get(_MARK) is True:
        return _unwrapped(part, part.metadata)
    return part


def _unwrapped(part: Data, metadata: JsonObject) -> Data:
    if not isinstance(part.data, dict) or set(part.data) != {tagged.WRAPPED}:
        return part
    kept = {name: value for name, value in metadata.items() if name != _MARK}
    return replace(part, data=part.data[tagged.WRAPPED], metadata=kept or None)


def _parse_configuration(configuration: JsonObject) -> tuple[bool | None, int | None]:
    if configuration.get("pushNotificationConfig") is not None:
        raise PushNotSupported(path="configuration.pushNotificationConfig")
    fields.strings(configuration, "acceptedOutputModes", "configuration.")
    return (
        fields.boolean(configuration, "blocking", "configuration."),
        fields.natural(configuration, "historyLength", "configuration.", fields.MAX_HISTORY),
    )


def _parse_message(message: JsonObject) -> Message:
    if message.get(_TAG) not in (None, "message"):
        raise fields.wrong("message.kind", "must be message")
    message_id = fields.required_identifier(message, "messageId", "message.")
    if message.get("role") != Role.USER.value:
        raise fields.wrong("message.role", "must be user: clients speak as the user")
    parts = fields.array(message, "parts", "message.", fields.MAX_PARTS)
    if not parts:
        raise fields.wrong("message.parts", 'must hold at least one part, such as {"kind": "text", "text": "hello"}')
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


def _status(status: Status, base_url: str) -> JsonObject:
    shown: JsonObject = {"state": _STATES[status.state]}
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
    parts: list[Json] = [render_part(part, base_url) for part in artifact.parts]
    shown["parts"] = parts
    if artifact.metadata:
        shown["metadata"] = artifact.metadata
    if artifact.extensions:
        shown["extensions"] = list(artifact.extensions)
    return shown
