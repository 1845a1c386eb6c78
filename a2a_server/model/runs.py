"""What a run says while it goes on, and how it ends well. Ends that are errors are in `errors`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, TypedDict

from a2a_server.model.objects import Artifact, Json, JsonObject, Message, Part, Progress, State, Wishes
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Chunk:
    """More of the artifact `name`. The engine knows whether it begins a take or continues one.

    last: no chunk of it follows. resume: if an earlier run left this artifact unfinished, continue it instead of
    replacing it (counts on the run's first chunk of that name).
    """

    name: str
    parts: tuple[Part, ...]
    last: bool = False
    resume: bool = False
    description: str = ""
    media_type: str = ""
    metadata: JsonObject | None = None


@value_class(frozen=True, slots=True)
class LogLine:
    """A line for the task's journal; `level` is debug, info, warning or error."""

    level: str
    text: str


Output: TypeAlias = Chunk | Progress | LogLine


@value_class(frozen=True, slots=True)
class Used:
    """What a run took, as far as it was measured; None = it was not.

    seconds: of time. cpu_seconds: of processor time. memory_bytes: by how much the process's resident memory was at
    most above what it was when the run began. shared: how many other runs were measured in the process at once
    meanwhile, at most; what they took is part of memory_bytes.
    """

    seconds: float
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    shared: int = 0


@value_class(frozen=True, slots=True)
class Completed:
    """The run returned. `message` becomes the final status message; `partial` says why the result is not whole."""

    message: Message | None = None
    partial: str = ""


class Want(StrEnum):
    """What a pause waits for."""

    INPUT = "input"
    AUTH = "auth"


@value_class(frozen=True, slots=True)
class Pause:
    """A question to whoever sent the task; its answer is the task's next user message.

    message: what clients read. name, note: what is remembered in the task's space `ASKED` in the turn that asks, so
    that the next run finds the question answered.
    """

    want: Want
    message: Message
    name: str
    note: bytes


@value_class(frozen=True, slots=True)
class Join:
    """A wait for children: the run ends, and the task runs again when `need` of `children` (ids) may have ended.

    name, note: what is remembered in the task's space `JOINED`, as of `Pause`.
    """

    children: tuple[str, ...]
    need: int
    name: str
    note: bytes


JOINED = "join"
"""The space of a task's state that holds what it joined, and what its handler returned before its children ended."""


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What became of a task that another one spawned.

    text: of its artifacts, else what it said last. data: the value of its artifacts' only data part, of several the
    list of them, None where there is none.
    """

    id: str
    state: State
    text: str = ""
    data: Json = None
    artifacts: tuple[Artifact, ...] = ()

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.state is State.COMPLETED


ASKED = "ask"
"""The space of a task's state that holds its questions."""
CHECKS = "checks"
"""The space of a task's state that holds what the checks of its skill's results said, under the name `CHECKS` too."""
LONGEST_CHECK_NAME = 128
"""Characters of a check's name."""
MOST_CHECKS = 100
"""Checks of one result."""
CHECKPOINT = "checkpoint"
"""The space of a task's state that holds its checkpoints."""


class Checked(TypedDict):
    """What a check of a result said. message: why it did not pass, '' where it did."""

    name: str
    passed: bool
    required: bool
    message: str


class Shelf(StrEnum):
    """Who shares a remembered value: the runs of one task, the tasks of one context, or all tasks of one owner."""

    TASK = "task"
    CONTEXT = "context"
    OWNER = "owner"


class Stopping(StrEnum):
    """Why a run is being stopped."""

    CANCELED = "canceled"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease_lost"


@value_class(frozen=True, slots=True)
class TakeView:
    """What earlier runs committed of an artifact: `size` in bytes (text as UTF-8), `chunks` yielded."""

    size: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class TaskView:
    """The task as its handler sees it. `deadline` is in seconds since the epoch (None = none).

    message: what began the task. history: all messages, oldest first, the questions of earlier runs among them.
    tools: those that its sender requires. checkpoints: what earlier runs remembered in the space `CHECKPOINT`, by name.
    wishes: what only few tasks are given.
    """

    id: str
    context_id: str
    tenant: str
    owner: str
    skill: str
    message: Message
    history: tuple[Message, ...]
    parameters: dict[str, Json] = field(default_factory=dict)
    metadata: JsonObject | None = None
    title: str = ""
    deadline: float | None = None
    tools: tuple[str, ...] = ()
    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    wishes: Wishes | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of a task that the agent listens for: `state` was reached with event `n`; `text` is what was said."""

    task: TaskView
    state: State
    n: int
    text: str = ""


class Together(StrEnum):
    """What becomes of several tasks of one conversation.

    They run side by side, or one at a time; or a new one is refused while another has not ended, or takes its place.
    """

    PARALLEL = "parallel"
    SERIAL = "serial"
    REJECT = "reject"
    REPLACE = "replace"


@value_class(frozen=True, slots=True)
class SkillSpec:
    """A skill as the engine and the card know it. Durations in seconds; None = the server's default.

    priority: the number of a lane (None = the client's, see `Submissions.lane_of`). backoff_seconds: (base, limit) of
    the waits between attempts.

    threaded: runs in a worker's thread (a plain function), so it needs a thread slot. retry_on: exception classes that
    are transient for this skill, beside the general ones. max_concurrency: capacity of its gate (None = no limit).
    direct: its first output may be a message that is the whole answer, without a task. rolls_back: it has something to
    undo before its task ends as failed or canceled. rate: (starts, seconds), at most so many starts in so much time
    (None = any). breaker: (failures, seconds), after so many failed runs in a row none starts for so long; 0 failures =
    never. context: how it takes several tasks of one conversation. pulled: only agents that pull their work run it, no
    worker of ours. checks: its results are checked, and what was said of them is recorded. faults: the places in given
    arguments that break a rule, with the rule; None = that is not known here.
    """

    id: str
    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    input_modes: tuple[str, ...] = ()
    output_modes: tuple[str, ...] = ()
    default: bool = False
    threaded: bool = False
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    max_concurrency: int | None = None
    priority: int | None = None
    retry_on: tuple[type[Exception], ...] = ()
    schema: JsonObject = field(default_factory=dict)
    direct: bool = False
    rolls_back: bool = False
    rate: tuple[int, float] | None = None
    breaker: tuple[int, float | None] | None = None
    context: Together = Together.PARALLEL
    pulled: bool = False
    checks: bool = False
    backoff_seconds: tuple[float, float] | None = None
    faults: Callable[[Mapping[str, Json]], Mapping[str, str]] | None = field(default=None, repr=False, compare=False)
