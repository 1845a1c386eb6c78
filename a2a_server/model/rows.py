"""Rows as every store keeps them: field order is column order, and `bytes` fields are opaque to stores.

Rows are named tuples because a turn builds and copies thousands of them a second. Keys are 16 bytes (UUIDv7); times
are integer microseconds. Schema and reasons: docs/decisions and the first migration.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, NewType

from a2a_server.model.objects import ArtifactEvent, Generation, Lane, Phase, State

Key = NewType("Key", bytes)
NO_KEY = Key(b"")


class TaskName(NamedTuple):
    """A task as clients name it; `id` is unique in the other three."""

    tenant: str
    owner: str
    agent: str
    id: str


class TaskRow(NamedTuple):
    """One task. Alarms (`due_at`) and counters mean what lifecycle.states says of each phase.

    `gates` are the names of every limit that may ever apply; `held_by` the one that holds the task in phase HELD.
    `cancel_at` is when cancellation was asked for (0 = never), `deadline_at` and `due_at` likewise 0 = none.
    `last_n` is the number of the last event, `journal_n` of the last journal entry; `rev` grows with every change.
    `unmet` is how many of its edges are open; `pushes` who else has an interest in it, bits of `Interest`.
    """

    key: Key
    format: int
    tenant: str
    owner: str
    agent: str
    id: str
    context: str
    generation: Generation
    visible: bool
    skill: str
    queue: str
    lane: Lane
    rank: int
    gates: tuple[str, ...]
    held_by: str
    state: State
    phase: Phase
    last_n: int
    journal_n: int
    rev: int
    status_at: int
    created_at: int
    due_at: int
    deadline_at: int
    cancel_at: int
    worker: Key
    fence: int
    attempt: int
    max_attempts: int
    crashes: int
    unmet: int
    parent: Key
    pushes: int
    status: bytes
    spec: bytes

    @property
    def name(self) -> TaskName:
        """What clients call it, with its scope."""
        return TaskName(self.tenant, self.owner, self.agent, self.id)


class Interest:
    """What hangs on a task, so that its turns look only for what there is: bits, plain numbers, as every turn asks.

    TOLD: rows of `push`. WAITED: edges whose upstream it is. PARENT: it has, or had, children.
    """

    NONE: Final = 0
    TOLD: Final = 1
    WAITED: Final = 2
    PARENT: Final = 4


class EventKind(IntEnum):
    """What an event's body holds."""

    STATUS = 1
    CHUNK = 2


class EventRow(NamedTuple):
    """Event `n` of a task. `artifact` is the ordinal for chunks, else None; `fence` tells which run wrote it."""

    task: Key
    n: int
    kind: EventKind
    at: int
    fence: int
    artifact: int | None
    body: bytes


class FreshRow(EventRow):
    """A chunk as the process that wrote it has it: beside its row what its body says, so that it is not decoded again.

    said: the event but for its number and its time; None in a copy made with `_replace`. It is no part of the row,
    which equals the one that a store gives.
    """

    said: ArtifactEvent | None = None

    @classmethod
    def of(cls, row: EventRow, said: ArtifactEvent) -> FreshRow:
        """The row with what its body says."""
        fresh = cls._make(row)
        fresh.said = said
        return fresh


class JournalKind(IntEnum):
    """What a journal entry tells."""

    LEASED = 1
    RETRY = 2
    CRASH = 3
    HANDED_BACK = 4
    CANCEL_ASKED = 5
    LOG = 6
    PROMOTED = 7


class JournalRow(NamedTuple):
    """An entry of the audit trail that is not part of the stream; ordered by `n`, gaps allowed."""

    task: Key
    n: int
    kind: JournalKind
    at: int
    body: bytes


class MessageRow(NamedTuple):
    """A message of a task's history, ordered by `seq`: the event that said it. `role`: 1 user, 2 agent.

    It is part of the history from event `at_n` on: a question only once it is no longer the task's status.
    """

    task: Key
    seq: int
    at_n: int
    role: int
    id: str
    body: bytes


class ArtifactRow(NamedTuple):
    """One take of an artifact: `id` is its ordinal in the task, `take` the fence of the run that opened it.

    Content lives once: in the chunk events while neither `body` nor `location` is set; in `body` (encoded parts) when
    small; else at `location` in the artifact store. `size` in bytes; `sha256` of the object at `location`.
    """

    task: Key
    id: int
    take: int
    first_n: int
    last_n: int
    closed: bool
    name: str
    media_type: str
    size: int
    sha256: str
    created_at: int
    location: str
    body: bytes


class StateRow(NamedTuple):
    """A remembered value. `scope` is a task's key, an encoded (tenant, owner, context), or that of an object.

    Written with an empty body it is forgotten: the store deletes the row and never returns an empty one.
    """

    scope: bytes
    space: str
    name: str
    seq: int
    fence: int
    body: bytes


class SentKey(NamedTuple):
    """What makes two sends the same: `task_id` as the client gave it ('' = none)."""

    tenant: str
    owner: str
    agent: str
    task_id: str
    message_id: str


class SentRow(NamedTuple):
    """The answer to a send that was accepted: `hash` of its content, `task`, and the event it wrote."""

    tenant: str
    owner: str
    agent: str
    task_id: str
    message_id: str
    hash: bytes
    task: Key
    at_n: int
    expires_at: int

    @property
    def key(self) -> SentKey:
        """Its primary key."""
        return SentKey(*self[:5])


class EdgeKind(IntEnum):
    """What the end of `upstream` means for `downstream`.

    FAIL, CANCEL, RUN: a dependency; if the upstream does not complete, the downstream fails, is canceled, or runs all
    the same. JOIN: the upstream is a child that its parent waits for, however it ends. CHILD: the upstream is the
    parent; the downstream does not wait for it, but is canceled with it.
    """

    FAIL = 1
    CANCEL = 2
    RUN = 3
    JOIN = 4
    CHILD = 5


class EdgeRow(NamedTuple):
    """`downstream` follows `upstream`; `on_failure` is an `EdgeKind`.

    done: 0 while the upstream has not ended; then the number of its last `State`; and minus that number once the
    downstream has been settled by it.
    """

    upstream: Key
    downstream: Key
    on_failure: int
    done: int


class TagRow(NamedTuple):
    """A label of a task; unique in all its columns."""

    tenant: str
    owner: str
    tag: str
    task: Key


class RecordKey(NamedTuple):
    """What names a record: `id` is unique in the other three. Agents have kinds of their own (`kind_of`)."""

    kind: str
    tenant: str
    owner: str
    id: str


def kind_of(kind: str, agent: str) -> str:
    """The kind of an agent's records of a kind: two agents on one store do not see each other's."""
    return f"{kind}/{agent}" if agent else kind


class RecordRow(NamedTuple):
    """A thing that is few and named by people: a schedule, a template … `rev` grows with every change, 1 = new.

    due_at: when somebody has to look at it, 0 = never.
    """

    kind: str
    tenant: str
    owner: str
    id: str
    rev: int
    due_at: int
    body: bytes

    @property
    def key(self) -> RecordKey:
        """Its primary key."""
        return RecordKey(*self[:4])


class GateRow(NamedTuple):
    """A limit: at most `capacity` leased tasks name it (None = any number), none before `closed_until`.

    A task may name that of a resource as `key*amount` and then counts `amount` times (`gates`). What `tokens` and
    `refilled_at` mean, the kind of the gate decides (`policy`).
    """

    key: str
    capacity: int | None
    used: int
    tokens: int
    refilled_at: int
    closed_until: int
    reason: str
    rev: int


class FairKey(NamedTuple):
    """Whose turn is counted where; `shard` is the writer process."""

    shard: str
    queue: str
    lane: Lane
    tenant: str
    owner: str


class TallyKey(NamedTuple):
    """What visible tasks are counted by (the shard is added by the writer)."""

    tenant: str
    owner: str
    agent: str
    queue: str
    state: State
    phase: Phase


class WorkerRow(NamedTuple):
    """A worker process. It is alive while `seen_at + ttl` is not past and it is not `dead`; dead is for ever."""

    id: Key
    seen_at: int
    ttl: int
    dead: bool
    format: int
    body: bytes


class PushRow(NamedTuple):
    """Somebody who is told of a task's events: which they have heard is `cursor_n`.

    due_at: when to tell them next, 0 = there is nothing to tell. tries: failures since the last success; `dead` = given
    up. generation: whose words they read (0 = the agent itself, of which `body` lists the states that it wants).
    """

    task: Key
    id: str
    generation: int
    cursor_n: int
    due_at: int
    tries: int
    dead: bool
    body: bytes


class Head(NamedTuple):
    """How far a task is, for whoever watches it."""

    last_n: int
    state: State
    phase: Phase
    cancel_at: int
    fence: int
    visible: bool = True


DUMPED: Final = (
    "task",
    "event",
    "journal",
    "message",
    "artifact",
    "state",
    "sent",
    "edge",
    "tag",
    "gate",
    "fair",
    "tally",
    "worker",
    "push",
    "record",
    "blob",
    "audit",
)
"""The tables of a dump, in its order. Their rows are those above; `fair` is a `FairKey` and its virtual time, `tally`
a shard, a `TallyKey` and its count; `blob` and `audit` are plain columns (core.md 11)."""
