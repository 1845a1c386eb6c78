"""What the table of behaviours says to a client and hears from it, in words of no generation.

States are words in small letters with a hyphen, roles are user and agent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from tests.clients.rpc import JsonObject

EVENT_URI = "urn:a2a-task-server:event:v1"
OPTIONS_URI = "urn:a2a-task-server:task-options:v1"


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"{code} {message}")


@dataclass(frozen=True)
class Order:
    """A message of one text part. after: continue the stream of a repeat behind this event."""

    text: str
    id: str
    task: str = ""
    context: str = ""
    history: int | None = None
    wait: bool = True
    options: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)

    @property
    def all_metadata(self) -> JsonObject:
        return {**self.metadata, **({OPTIONS_URI: self.options} if self.options else {})}


@dataclass(frozen=True)
class Seen:
    """A task. Parts are strings: text as it is, a file's bytes in hexadecimal, a link as it is."""

    id: str
    context: str
    state: str
    said: str = ""
    artifacts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()
    metadata: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """An item of a stream: kind is task, status or artifact. final: as it is said; None where nothing is."""

    kind: str
    task: str
    n: int | None
    sse_id: str | None
    state: str = ""
    said: str = ""
    final: bool | None = None
    artifact: str = ""
    parts: tuple[str, ...] = ()
    append: bool = False
    last: bool = False
    metadata: JsonObject = field(default_factory=dict)
    snapshot: Seen | None = None


class Speaker(Protocol):
    """One client of one generation. Every method raises Refused for an error of the protocol.

    shows_all: it shows what a stream says beside the task, the ids of its events and where they are final.
    """

    generation: str
    shows_all: bool

    async def send(self, order: Order) -> Seen: ...
    def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]: ...
    async def get(self, task: str, history: int | None = None) -> Seen: ...
    async def cancel(self, task: str) -> Seen: ...
    def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]: ...
