"""A client after the protocol's v0.1 Python sample: the same names, the same models, the same habits on the wire.

The habits matter: every optional member is sent as null, request ids and sessions are made up by the client, and so is
the task's id. Unlike the sample it is wholly asynchronous, and it refuses what the models do not allow: an unknown
state, a missing member, an item that is neither a status nor an artifact. Unknown members are ignored, as the sample's
models ignore them.

Source: A2A v0.1.0, specification/json/a2a.json and samples/python/common.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from tests.clients import rpc
from tests.clients.rpc import BadAnswer, JsonObject
from tests.patience import PATIENCE


class A2AClientError(Exception):
    """A call that came to nothing."""


class A2AClientHTTPError(A2AClientError):
    """The server answered with an HTTP error."""

    def __init__(self, status_code: int, message: str) -> None:
        self.status_code = status_code
        super().__init__(f"HTTP Error {status_code}: {message}")


class A2AClientJSONError(A2AClientError):
    """The server's answer does not fit the models."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class TaskState(StrEnum):
    SUBMITTED = "submitted"
    WORKING = "working"
    INPUT_REQUIRED = "input-required"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"
    UNKNOWN = "unknown"


class TextPart(_Model):
    type: Literal["text"] = "text"
    text: str
    metadata: JsonObject | None = None


class FileContent(_Model):
    name: str | None = None
    mime_type: str | None = None
    bytes: str | None = None
    uri: str | None = None

    @model_validator(mode="after")
    def one_content(self) -> Self:
        if (self.bytes is None) == (self.uri is None):
            raise ValueError("a file has either bytes or a uri")
        return self


class FilePart(_Model):
    type: Literal["file"] = "file"
    file: FileContent
    metadata: JsonObject | None = None


class DataPart(_Model):
    type: Literal["data"] = "data"
    data: JsonObject
    metadata: JsonObject | None = None


Part = Annotated[TextPart | FilePart | DataPart, Field(discriminator="type")]


class Message(_Model):
    role: Literal["user", "agent"]
    parts: list[Part]
    metadata: JsonObject | None = None


class TaskStatus(_Model):
    state: TaskState
    message: Message | None = None
    timestamp: datetime | None = None


class Artifact(_Model):
    name: str | None = None
    description: str | None = None
    parts: list[Part]
    metadata: JsonObject | None = None
    index: int = 0
    append: bool | None = None
    last_chunk: bool | None = None


class Task(_Model):
    id: str
    session_id: str | None = None
    status: TaskStatus
    artifacts: list[Artifact] | None = None
    history: list[Message] | None = None
    metadata: JsonObject | None = None


class TaskStatusUpdateEvent(_Model):
    id: str
    status: TaskStatus
    final: bool = False
    metadata: JsonObject | None = None


class TaskArtifactUpdateEvent(_Model):
    id: str
    artifact: Artifact
    metadata: JsonObject | None = None


class TaskIdParams(_Model):
    id: str
    metadata: JsonObject | None = None


class TaskQueryParams(TaskIdParams):
    history_length: int | None = None


class TaskSendParams(_Model):
    id: str = Field(default_factory=lambda: uuid4().hex)
    session_id: str = Field(default_factory=lambda: uuid4().hex)
    message: Message
    accepted_output_modes: list[str] | None = None
    push_notification: JsonObject | None = None
    history_length: int | None = None
    metadata: JsonObject | None = None


class JSONRPCError(_Model):
    code: int
    message: str
    data: Any | None = None


class _Response(_Model):
    jsonrpc: Literal["2.0"]
    id: int | str | None = None
    error: JSONRPCError | None = None


_ResponseT = TypeVar("_ResponseT", bound=_Response)


class SendTaskResponse(_Response):
    result: Task | None = None


class GetTaskResponse(_Response):
    result: Task | None = None


class CancelTaskResponse(_Response):
    result: Task | None = None


class SendTaskStreamingResponse(_Response):
    """`sse_id` is the id line of the server-sent event, which the sample never looked at."""

    result: TaskStatusUpdateEvent | TaskArtifactUpdateEvent | None = None
    sse_id: Annotated[str | None, Field(exclude=True)] = None


class AgentProvider(_Model):
    organization: str
    url: str | None = None


class AgentCapabilities(_Model):
    streaming: bool = False
    push_notifications: bool = False
    state_transition_history: bool = False


class AgentAuthentication(_Model):
    schemes: list[str]
    credentials: str | None = None


class AgentSkill(_Model):
    id: str
    name: str
    description: str | None = None
    tags: list[str] | None = None
    examples: list[str] | None = None
    input_modes: list[str] | None = None
    output_modes: list[str] | None = None


class AgentCard(_Model):
    name: str
    description: str | None = None
    url: str
    provider: AgentProvider | None = None
    version: str
    documentation_url: str | None = None
    capabilities: AgentCapabilities
    authentication: AgentAuthentication | None = None
    default_input_modes: list[str] = ["text"]
    default_output_modes: list[str] = ["text"]
    skills: list[AgentSkill]


class A2ACardResolver:
    """Fetches the card of the agent at `base_url`."""

    def __init__(
        self,
        base_url: str,
        agent_card_path: str = "/.well-known/agent.json",
        *,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._url = f"{base_url.rstrip('/')}/{agent_card_path.lstrip('/')}"
        self._http = http

    async def get_agent_card(self) -> AgentCard:
        """The card.

        Raises:
            A2AClientHTTPError: the server answered with an error.
            A2AClientJSONError: the answer is no v0.1 card.
        """
        if self._http is None:
            async with rpc.new_http() as http:
                response = await http.get(self._url)
        else:
            response = await self._http.get(self._url)
        if response.is_error:
            raise A2AClientHTTPError(response.status_code, self._url)
        try:
            return AgentCard.model_validate_json(response.content)
        except ValidationError as error:
            raise A2AClientJSONError(str(error)) from error


class A2AClient:
    """Calls one agent. Give `http` to share connections; without it, use as an asynchronous context manager."""

    def __init__(
        self,
        agent_card: AgentCard | None = None,
        url: str | None = None,
        *,
        timeout_seconds: float = PATIENCE,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        address = agent_card.url if agent_card else url
        if not address:
            raise ValueError("Must provide either agent_card or url")
        self.url = address
        self._http = http or rpc.new_http(timeout_seconds)
        self._owned = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections that are this client's own."""
        if self._owned:
            await self._http.aclose()

    async def send_task(self, payload: JsonObject) -> SendTaskResponse:
        return await self._call("tasks/send", TaskSendParams.model_validate(payload), SendTaskResponse)

    async def get_task(self, payload: JsonObject) -> GetTaskResponse:
        return await self._call("tasks/get", TaskQueryParams.model_validate(payload), GetTaskResponse)

    async def cancel_task(self, payload: JsonObject) -> CancelTaskResponse:
        return await self._call("tasks/cancel", TaskIdParams.model_validate(payload), CancelTaskResponse)

    def send_task_streaming(
        self, payload: JsonObject, last_event_id: int | None = None
    ) -> AsyncGenerator[SendTaskStreamingResponse]:
        return self._stream("tasks/sendSubscribe", TaskSendParams.model_validate(payload), last_event_id)

    def resubscribe_to_task(
        self, payload: JsonObject, last_event_id: int | None = None
    ) -> AsyncGenerator[SendTaskStreamingResponse]:
        return self._stream("tasks/resubscribe", TaskQueryParams.model_validate(payload), last_event_id)

    async def _call(self, method: str, params: _Model, answer: type[_ResponseT]) -> _ResponseT:
        try:
            return answer.model_validate(await rpc.post(self._http, self.url, _request(method, params), {}))
        except httpx2.HTTPStatusError as error:
            raise A2AClientHTTPError(error.response.status_code, str(error)) from error
        except (BadAnswer, ValidationError) as error:
            raise A2AClientJSONError(str(error)) from error

    async def _stream(
        self, method: str, params: _Model, last_event_id: int | None
    ) -> AsyncGenerator[SendTaskStreamingResponse]:
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        try:
            async with aclosing(rpc.post_stream(self._http, self.url, _request(method, params), headers)) as answers:
                async for answer in answers:
                    item = SendTaskStreamingResponse.model_validate(answer.body)
                    yield item.model_copy(update={"sse_id": answer.sse_id})
        except httpx2.HTTPStatusError as error:
            raise A2AClientHTTPError(error.response.status_code, str(error)) from error
        except (BadAnswer, ValidationError) as error:
            raise A2AClientJSONError(str(error)) from error


def text_message(text: str) -> JsonObject:
    """A user's message of one text part."""
    return {"role": "user", "parts": [{"type": "text", "text": text}]}


def _request(method: str, params: _Model) -> JsonObject:
    dumped = params.model_dump(mode="json", by_alias=True)
    return {"jsonrpc": "2.0", "id": uuid4().hex, "method": method, "params": dumped}
