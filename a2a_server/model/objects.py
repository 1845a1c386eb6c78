"""A2A objects as this server thinks of them, between the wires and the agents.

No spelling of any protocol generation lives here (that is `wire`), and no stored form (that is `codec`).
Times are integer microseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]

OPTIONS_URI = "urn:a2a-task-server:task-options:v1"
EVENT_URI = "urn:a2a-task-server:event:v1"
PROGRESS_URI = "urn:a2a-task-server:progress:v1"
TASK_URI = "urn:a2a-task-server:task:v1"


class State(IntEnum):
    """The state of a task as clients see it. Numbers: a2a.proto v1.0.1, TaskState."""

    SUBMITTED = 1
    WORKING = 2
    COMPLETED = 3
    FAILED = 4
    CANCELED = 5
    INPUT_REQUIRED = 6
    REJECTED = 7
    AUTH_REQUIRED = 8


class Phase(IntEnum):
    """Where the scheduler has a task. Orthogonal to `State`: a task that waits for its retry is WORKING."""

    WAITING = 1
    SCHEDULED = 2
    READY = 3
    HELD = 4
    LEASED = 5
    PAUSED = 6
    FINAL = 7


class Generation(IntEnum):
    """A generation of the protocol; a task remembers the one that it was created in."""

    V01 = 1
    V03 = 3
    V10 = 10


class Method(IntEnum):
    """What made a task. Numbers are stored; UNKNOWN = before they were.

    SEND, STREAM: of the protocol, whatever a generation calls them. TASK to TRIGGER: routes of the management API.
    TICK: of a schedule. SPAWN: by the handler of another task.
    """

    UNKNOWN = 0
    SEND = 1
    STREAM = 2
    TASK = 3
    BATCH = 4
    RETRY = 5
    BULK = 6
    DEAD_LETTERS = 7
    TRIGGER = 8
    TICK = 9
    SPAWN = 10


class Lane(IntEnum):
    """Strict priority lanes, the lowest number first."""

    CRITICAL = 1
    HIGH = 2
    NORMAL = 3
    LOW = 4
    BACKLOG = 5


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Text:
    """A text part."""

    text: str
    media_type: str = ""
    filename: str = ""
    metadata: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """A data part: any JSON value (v0.1 and 0.3 know objects only)."""

    data: Json
    media_type: str = ""
    filename: str = ""
    metadata: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file part: its bytes (`raw`), or an address (`url`), or an object of the artifact store (`stored`).

    Exactly one of the three is given. `size` is in bytes, `sha256` in hexadecimal; both are known for stored files.
    """

    filename: str = ""
    media_type: str = ""
    raw: bytes | None = None
    url: str = ""
    stored: str = ""
    size: int = 0
    sha256: str = ""
    metadata: JsonObject | None = None


Part: TypeAlias = Text | Data | File


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance. `id` is the sender's; v0.1 messages have none and get the hash of their content."""

    role: Role
    parts: tuple[Part, ...]
    id: str = ""
    context_id: str = ""
    task_id: str = ""
    reference_task_ids: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    metadata: JsonObject | None = None

    @property
    def fixed(self) -> bool:
        """Whether nobody who holds it can change anything in it: texts, without metadata."""
        return self.metadata is None and all(type(part) is Text and part.metadata is None for part in self.parts)

    @property
    def text(self) -> str:
        """The text parts, joined by line breaks."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Artifact:
    """A result. `ordinal` counts a task's artifacts from 0; `closed` says that no chunk will follow."""

    name: str
    parts: tuple[Part, ...]
    description: str = ""
    metadata: JsonObject | None = None
    extensions: tuple[str, ...] = ()
    ordinal: int = 0
    closed: bool = True

    @property
    def id(self) -> str:
        """What clients call it: unique in its task, the same in every take."""
        return artifact_id(self.ordinal)


def artifact_id(ordinal: int) -> str:
    """The artifact's id on the wires."""
    return f"artifact-{ordinal + 1}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: `fraction` 0.0-1.0, or `done` of `total` items; `note` is for people."""

    fraction: float | None = None
    done: float | None = None
    total: float | None = None
    note: str = ""

    @property
    def share(self) -> float | None:
        """What is done of all, 0.0-1.0, however it was said; None = nobody can say."""
        if self.fraction is None and self.done is not None and self.total:
            return min(1.0, self.done / self.total)
        return self.fraction


@dataclass(frozen=True, slots=True)
class Status:
    """A task's state with what the agent says about it."""

    state: State
    at: int
    message: Message | None = None
    metadata: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """Event `n` of a task: its status as of then. `progress` only on progress notes."""

    n: int
    status: Status
    progress: Progress | None = None
    metadata: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class ArtifactEvent:
    """Event `n` of a task: a chunk of an artifact. `append` False replaces what the client has of it."""

    n: int
    at: int
    artifact: Artifact
    append: bool
    last: bool


Event: TypeAlias = StatusEvent | ArtifactEvent


@dataclass(frozen=True, slots=True)
class Task:
    """A task as of event `n`, ready to be rendered by any generation.

    `history` is oldest first and already cut to what was asked for; `info` is what only its owner sees
    (rendered as metadata under `TASK_URI`).
    """

    id: str
    context_id: str
    generation: Generation
    status: Status
    n: int
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()
    metadata: JsonObject | None = None
    info: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose data a caller reaches. Part of every look-up; nothing is found outside it.

    through: the agent that speaks for the owner, '' = none; it reaches the same.
    """

    tenant: str = ""
    owner: str = "local"
    through: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Requires:
    """What a task needs of the worker that runs it.

    tags, tools, agents: words that the worker must have all of. cpu (cores), memory_bytes, storage_bytes: what it takes
    out of the worker's pool while it runs; 0 = nothing. resources: named things that all workers share, with amounts.
    duration_seconds: how long it may take, as its sender thinks; 0 = nothing said.
    """

    tags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    cpu: float = 0.0
    memory_bytes: int = 0
    storage_bytes: int = 0
    resources: Mapping[str, int] = field(default_factory=dict)
    duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What few tasks are given beside their message; most have none of it.

    context: free JSON for the agent. depends_on, parent, retry_of: ids of tasks of the same owner, as clients know
    them. forked_from: the remembered step before which a fork began anew. batch, schedule, template: what made the
    task, '' = nothing of the kind. complete_when: what its children must have reached for it to complete: "all", "any",
    a number, "" = nothing. checks: names of checks of its result that must have passed for it to complete.
    """

    description: str = ""
    kind: str = ""
    context: JsonObject | None = None
    tags: tuple[str, ...] = ()
    requires: Requires | None = None
    depends_on: tuple[str, ...] = ()
    parent: str = ""
    retry_of: str = ""
    forked_from: str = ""
    batch: str = ""
    schedule: str = ""
    template: str = ""
    complete_when: str = ""
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a task was asked to be, and the little that later messages add to it.

    `timeout_seconds` bounds one run from its claim. `parameters` fill the skill's parameters by name;
    `metadata` is the client's own, given back as it came. `heard` is the event of the newest user message.
    `rolls_back`: its skill has something to undo; `failing` is why the task fails once that is undone ('' = it does
    not), `failing_code` the name of that. `wishes` is what only few tasks were given. `starts_at`: a task that waits
    for others, or whose deadline comes first, does not start before this moment (microseconds, 0 = none). `returned`:
    its handler has returned, and it waits for its children. `left`: its last run was an agent's that pulled it, and no
    run comes back: who settles the ends of its children ends it. `method` made it; `through` is the agent that asked
    for it in its owner's name ('' = none). `requeued`: how often somebody has moved its start by a requeue.
    `cut_short`: its newest run ends at the task's deadline, which comes first, else after `timeout_seconds`.
    """

    timeout_seconds: float = 1800.0
    title: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    metadata: JsonObject | None = None
    heard: int = 1
    rolls_back: bool = False
    failing: str = ""
    wishes: Wishes | None = None
    starts_at: int = 0
    returned: bool = False
    left: bool = False
    failing_code: str = ""
    method: Method = Method.UNKNOWN
    through: str = ""
    requeued: int = 0
    cut_short: bool = False
