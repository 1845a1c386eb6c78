"""What stores are asked outside of turns."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from a2a_server.model.objects import Lane, Phase, State
from a2a_server.model.rows import ArtifactRow, EventRow, Key, MessageRow, TaskRow
from a2a_server.values import value_class

RowT = TypeVar("RowT")


@value_class(frozen=True, slots=True)
class StoreCapabilities:
    """What a store can do: be written by many processes, hand out work, ring doorbells, keep blobs."""

    many_writers: bool = False
    dispatches: bool = True
    notifies: bool = False
    blobs: bool = False


@value_class(frozen=True, slots=True)
class QueueCapabilities:
    """What a queue can do: give the best (lane, rank) of all that waits first, instead of about the oldest."""

    priorities: bool = False


@value_class(frozen=True, slots=True)
class Snapshot:
    """A task as of its row's `last_n`.

    messages: oldest first, the newest `history` of them. artifacts: of each ordinal its newest take. chunks: the chunk
    events of every such artifact that has neither body nor location, by n.
    """

    task: TaskRow
    messages: Sequence[MessageRow] = ()
    artifacts: Sequence[ArtifactRow] = ()
    chunks: Sequence[EventRow] = ()


class DueKind(Enum):
    """What a sweep asks for.

    ALARM: `due_at` is past. ORPHAN: leased by a worker that is dead, missing or unseen for longer than its ttl. HELD:
    held by a gate that has room; gates share the limit. PUSH: somebody is to be told of its events. SETTLE: an upstream
    of it has ended, and it has not been settled since (edges with `done` above 0).
    """

    ALARM = "alarm"
    ORPHAN = "orphan"
    HELD = "held"
    PUSH = "push"
    SETTLE = "settle"


class TaskCursor(NamedTuple):
    """Where a list goes on: after this row, newest status first."""

    status_at: int
    key: Key


@value_class(frozen=True, slots=True)
class TaskQuery:
    """Visible tasks of one scope and agent, newest status first (ties: newest key first). None = any.

    history: how many of each task's newest messages to read; artifacts: whether to read its artifacts. A page has at
    most `limit` tasks and about `limit_bytes` of content, but one task if there is one.
    """

    tenant: str
    owner: str
    agent: str
    context: str | None = None
    state: State | None = None
    status_from: int | None = None
    after: TaskCursor | None = None
    limit: int = 50
    limit_bytes: int = 8 << 20
    history: int = 0
    artifacts: bool = False


class SearchCursor(NamedTuple):
    """Where a search goes on: the place of the last row that was looked at.

    order: its tag (searches by tag), 0 (by parent), or `status_at`; `key` breaks ties.
    """

    order: int | str
    key: Key


@value_class(frozen=True, slots=True)
class Search:
    """Visible tasks of one scope and agent by any filters. None, '' and empty = any.

    One of the filters decides which index is read, and in which order, the first of these that is given: `parent`
    (newest task first), `tag` (an exact tag, newest task first), `tag_prefix` (tags that begin so, last tag first, then
    newest task first), else newest status first, in `context` where given. All others are asked of each row that is
    looked at. At most `scan` rows are looked at: so the cost does not grow with what is stored, and a page may hold
    fewer tasks than `limit`, even none, while others follow.

    stands: pairs of state and phase; tags: every one of them; parents: whether it has children (`Interest.PARENT`);
    created and status times in microseconds, from inclusive, to exclusive.
    """

    tenant: str
    owner: str
    agent: str
    context: str | None = None
    parent: Key | None = None
    tag: str | None = None
    tag_prefix: str | None = None
    tags: tuple[str, ...] = ()
    stands: frozenset[tuple[State, Phase]] = frozenset()
    skills: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    lanes: frozenset[Lane] = frozenset()
    parents: bool | None = None
    created_from: int | None = None
    created_to: int | None = None
    status_from: int | None = None
    status_to: int | None = None
    after: SearchCursor | None = None
    limit: int = 50
    scan: int = 5000


@value_class(frozen=True, slots=True)
class Found:
    """Tasks of a search in its order; after: where it goes on, None = nothing follows."""

    rows: Sequence[TaskRow]
    after: SearchCursor | None


class Table(Enum):
    """Tables that are read by primary-key prefix.

    EDGE_TO: edges by (downstream, upstream) instead of their primary key; TAG_OF: tags by (task, tag). FAIR: pairs of a
    `FairKey` and its virtual time.
    """

    ARTIFACT = "artifact"
    EDGE = "edge"
    EDGE_TO = "edge_to"
    FAIR = "fair"
    GATE = "gate"
    JOURNAL = "journal"
    MESSAGE = "message"
    PUSH = "push"
    RECORD = "record"
    STATE = "state"
    TAG_OF = "tag_of"
    WORKER = "worker"


@value_class(frozen=True, slots=True)
class RowQuery:
    """Rows of `table` whose primary key begins with `prefix`, in key order, after the whole key `after`."""

    table: Table
    prefix: tuple[str | int | bytes, ...] = ()
    after: tuple[str | int | bytes, ...] | None = None
    limit: int = 1000


@value_class(frozen=True, slots=True)
class Page(Generic[RowT]):
    """Some rows in order; `more` says that others follow the last one."""

    rows: Sequence[RowT]
    more: bool


@value_class(frozen=True, slots=True)
class TallyQuery:
    """Which counts to add up; None = any."""

    tenant: str | None = None
    owner: str | None = None
    agent: str | None = None
    queue: str | None = None
    state: State | None = None
    phase: Phase | None = None


@value_class(frozen=True, slots=True)
class Stored:
    """An object that the artifact store holds: `size` in bytes, `sha256` in hexadecimal."""

    name: str
    size: int
    sha256: str
    media_type: str


@value_class(frozen=True, slots=True)
class StoredName:
    """An object's name with its age: `stored_at` in microseconds since the epoch."""

    name: str
    size: int
    stored_at: int
