"""Rows of the store as drills look at them: no bytes, no keys, states and phases as words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class StoredTask(NamedTuple):
    """A task row. `worker` in hexadecimal; `due_at` 0 = no alarm.

    parent: its id, '' = none. schedule: whose tick made it. gates, held_by: what may hold it, and what does.
    """

    id: str
    state: str
    phase: str
    last_n: int
    fence: int
    worker: str = ""
    due_at: int = 0
    crashes: int = 0
    parent: str = ""
    schedule: str = ""
    gates: tuple[str, ...] = ()
    held_by: str = ""


class StoredEvent(NamedTuple):
    """An event row: kind is status or artifact. state and text are the status's, done and note its progress's.

    at: by the store's clock, microseconds.
    """

    n: int
    kind: str
    fence: int
    state: str = ""
    text: str = ""
    done: int = 0
    note: str = ""
    at: int = 0


class StoredEdge(NamedTuple):
    """`downstream` follows `upstream`, both ids; kind as `EdgeKind` in small letters. open: not settled yet."""

    upstream: str
    downstream: str
    kind: str
    open: bool = False


class StoredSend(NamedTuple):
    """A send that is remembered under a name that the server made: of a tick, or of a spawn. task: an id."""

    name: str
    task: str


@dataclass(slots=True)
class Rows:
    """What the store holds at the end, by task id. events: in the order of n. steps: key -> value of each.

    messages: by the id of a task's first message, the ids of its tasks. ticks: by schedule, how many tasks it says that
    it made.
    """

    tasks: dict[str, StoredTask] = field(default_factory=dict)
    events: dict[str, list[StoredEvent]] = field(default_factory=dict)
    messages: dict[str, list[str]] = field(default_factory=dict)
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    edges: list[StoredEdge] = field(default_factory=list)
    sends: list[StoredSend] = field(default_factory=list)
    ticks: dict[str, int] = field(default_factory=dict)


class Position(NamedTuple):
    """How far an unfinished task is: its first line, and how much it has asked, was answered and has remembered."""

    id: str
    phase: str
    line: str
    asked: int
    answered: int
    steps: int
