"""What clients ask for, as the wires understood it and the service answers it.

Nobody changes a request once it is made; the classes do not enforce it, because freezing triples what making one costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from a2a_server.model.objects import Generation, JsonObject, Message, Method, State
from a2a_server.model.options import TaskOptions


@dataclass(slots=True)
class SendRequest:
    """A message for a new or an existing task.

    task_id: as the client gave it ('' = none; v0.1 clients make it, later generations only continue with it).
    blocking: wait until the task ends or asks; None = as the server is set for the generation. history_length: None =
    server's default, 0 = none.
    after: resume the stream of a repeated send behind this event. metadata: the request's, without the task options.
    method: what the task remembers to be made by, should there be a new one.
    """

    generation: Generation
    message: Message
    task_id: str = ""
    context_id: str = ""
    blocking: bool | None = True
    history_length: int | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    metadata: JsonObject | None = None
    after: int | None = None
    method: Method = Method.SEND


@dataclass(slots=True)
class GetRequest:
    """Read one task. history_length: None = the generation's default: all, and none in v0.1.

    generation: whose rules answer; None = those of the generation that the task was created in.
    """

    task_id: str
    history_length: int | None = None
    generation: Generation | None = None


@dataclass(slots=True)
class ListRequest:
    """Read many tasks, newest status first. None = any; status_from: microseconds, inclusive.

    token: where the list goes on, as the page before gave it; '' = from the first.
    """

    context_id: str | None = None
    state: State | None = None
    status_from: int | None = None
    page_size: int = 50
    token: str = ""
    history_length: int | None = None
    artifacts: bool = False


@dataclass(slots=True)
class CancelRequest:
    """Cancel one task."""

    task_id: str


@dataclass(slots=True)
class SubscribeRequest:
    """Follow one task; after: continue behind this event without a snapshot.

    generation: whose rules answer; None = those of the generation that the task was created in.
    """

    task_id: str
    after: int | None = None
    generation: Generation | None = Generation.V10
