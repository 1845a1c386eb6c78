"""What clients ask for, as the wires understood it and the service answers it."""

from __future__ import annotations

from dataclasses import dataclass, field

from a2a_server.model.objects import Generation, JsonObject, Message
from a2a_server.model.options import TaskOptions


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A message for a new or an existing task.

    task_id: as the client gave it ('' = none; v0.1 clients make it, later generations only continue with it).
    blocking: wait until the task ends or asks. history_length: None = server's default, 0 = none.
    after: resume the stream of a repeated send behind this event. metadata: the request's, without the task options.
    """

    generation: Generation
    message: Message
    task_id: str = ""
    context_id: str = ""
    blocking: bool = True
    history_length: int | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    metadata: JsonObject | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class GetRequest:
    """Read one task."""

    task_id: str
    history_length: int | None = None


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Cancel one task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class SubscribeRequest:
    """Follow one task; after: continue behind this event without a snapshot."""

    task_id: str
    after: int | None = None
    generation: Generation = Generation.V10
