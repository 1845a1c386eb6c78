"""The ports on one page: what the engine needs from the world. Backends implement them and see nothing above.

Errors that may come out of any port: `StoreUnavailable` (not reachable now). Everything else is named at its method.
A backend is written against its port's contract suite in tests/contracts.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from a2a_server.model.objects import Lane, Scope
from a2a_server.model.queries import (
    DueKind,
    Found,
    Page,
    QueueCapabilities,
    RowQuery,
    Search,
    Snapshot,
    StoreCapabilities,
    Stored,
    StoredName,
    TallyQuery,
    TaskQuery,
)
from a2a_server.model.rows import EventRow, Head, Key, RecordRow, TallyKey, TaskRow, WorkerRow
from a2a_server.model.turns import Bell, Changes, Hint, Loaded, Needs


class TaskStore(Protocol):
    """The only truth. Reads never wait for turns; all methods may be called from any number of coroutines at once."""

    @property
    def capabilities(self) -> StoreCapabilities:
        """What this store can do; the engine asks these, never its name."""
        ...

    async def open(self) -> None:
        """Connect, and check schema and deployment. An empty database gets the newest schema.

        A store that one process serves alone brings an older schema up to date; one with `many_writers` serves the
        schemas that this code still knows as they are, until `migrate`. Raises SchemaMismatch for any other schema,
        and as `WorkQueue.open`.
        """
        ...

    async def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date, once over all processes. Returns its number before (0 = empty) and now.

        Not for a store that is open. Raises as `open`.
        """
        ...

    async def examine(self) -> str:
        """What a server that starts with this store would find, in words. Nothing is made or changed.

        Not for a store that is open. Raises as `open`, where it could not use it.
        """
        ...

    async def close(self) -> None:
        """Give everything back; may be called twice."""
        ...

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        """Lock and load `needs`, `decide`, write, commit: after return the changes are durable.

        `decide` is synchronous and pure and may run again on fresh rows (Conflict is retried up to 5 times inside, then
        raised). What it raises rolls the turn back and comes out unchanged. Raises DataRejected for a value that the
        store cannot keep. Concurrency: turns that name a common row happen one after the other.
        """
        ...

    async def find(self, scope: Scope, agent: str, task_id: str) -> TaskRow | None:
        """The visible task that clients of `scope` call `task_id`."""
        ...

    async def snapshot(self, key: Key, history: int | None, *, artifacts: bool = True) -> Snapshot | None:
        """The task with its newest `history` messages (None = all, 0 = none) and its artifacts, all as of one event.

        artifacts: False = without them, and then without the chunks of large open ones in memory.
        """
        ...

    async def find_snapshot(self, scope: Scope, agent: str, task_id: str, history: int | None) -> Snapshot | None:
        """What `snapshot` gives of the task that `find` finds, both in one step."""
        ...

    async def events(self, key: Key, after: int, limit: int, limit_bytes: int) -> Sequence[EventRow]:
        """Events after number `after`, in order: at most `limit` and about `limit_bytes`, but one if there is one."""
        ...

    async def heads(self, keys: Collection[Key]) -> Mapping[Key, Head]:
        """How far these tasks are; unknown keys are left out."""
        ...

    async def page(self, query: TaskQuery) -> Page[Snapshot]:
        """One page of a list, by keyset, all as of one moment. The cost does not grow with the tasks of the store."""
        ...

    async def count(self, query: TaskQuery, most: int) -> int:
        """How many tasks the list has from its beginning; never more than `most`, which bounds the cost too."""
        ...

    async def due(self, kind: DueKind, limit: int) -> Sequence[Key]:
        """Candidates for a sweep; they are decided again in a turn."""
        ...

    async def next_alarm(self, kinds: Collection[str] = ()) -> int | None:
        """Microseconds until the earliest `due_at` of any task, or record of these kinds; None = nothing waits.

        By the store's clock, and never below 0.
        """
        ...

    async def due_records(self, kinds: Collection[str], limit: int) -> Sequence[RecordRow]:
        """Records of these kinds whose `due_at` is past, the earliest first; they are decided again in a turn.

        Those of other kinds cost nothing, however many are due.
        """
        ...

    async def search(self, query: Search) -> Found:
        """Tasks by any filters. The cost is bounded by `query.scan`, however many tasks there are."""
        ...

    async def oldest(self, after: Key, limit: int) -> Sequence[TaskRow]:
        """Tasks of every scope in the order they were made (by key) behind `after` (b"" = from the first)."""
        ...

    async def ahead(self, row: TaskRow, most: int) -> Mapping[Lane, int]:
        """How many tasks stand before this one in (lane, rank, key), by lane, zero counts left out.

        Of a HELD task those that the same gate holds, of any other the READY ones of its queue.

        Counted from the best one on, and no more than `most` in all, which bounds the cost too.
        """
        ...

    async def leased(self, workers: Collection[Key], most: int) -> Mapping[tuple[Key, str], int]:
        """How many tasks these workers run, by worker and queue; zero counts are left out.

        No more than `most` are counted in all, which bounds the cost too.
        """
        ...

    async def rows(self, query: RowQuery) -> Page[tuple[object, ...]]:
        """Rows of any other table by primary-key prefix, as the row tuples of model.rows."""
        ...

    async def totals(self, query: TallyQuery) -> Mapping[TallyKey, int]:
        """Counts of visible tasks, shards added up, zero counts left out."""
        ...

    async def register(self, worker: WorkerRow) -> None:
        """Insert a worker with `seen_at` = the store's now. Idempotent while the worker is not dead."""
        ...

    def beat(self, worker: Key) -> bool:
        """Say that the worker lives. Blocking, own connection, for a thread of its own. False: it was declared dead."""
        ...

    async def erase(self, keys: Collection[Key], *, whole: bool = False) -> int:
        """Delete FINAL tasks with all their rows and lower the tally. Returns how many. Idempotent.

        whole: all of them in one transaction, or none (0) if one of them is not FINAL or not there; else in steps.
        """
        ...

    def blobs(self) -> Blobs | None:
        """Room for large content inside this store, where it has some (capability `blobs`)."""
        ...

    def dump(self) -> AsyncIterator[tuple[str, Sequence[tuple[object, ...]]]]:
        """Every row of every table but `meta`: its name and some rows, table by table, in primary-key order.

        Rows are those of model.rows (`DUMPED`), the same from every store, all as of one moment where the store can.
        """
        ...

    async def fill(self, table: str, records: Sequence[tuple[object, ...]]) -> int:
        """Insert rows as `dump` gave them; those whose key exists are left alone. Returns how many were inserted.

        For copying into a store that nobody serves. Raises DataRejected.
        """
        ...


class Blobs(Protocol):
    """Parts of large objects as rows of a store; `artifacts.store` makes objects of them. Part 0 describes it."""

    async def write(self, name: str, part: int, body: bytes) -> None:
        """Keep a part, replacing the one before; durable on return. A body has at most 256 KiB."""
        ...

    async def read(self, name: str, part: int) -> bytes | None:
        """A part; None = there is none."""
        ...

    async def delete(self, names: Collection[str]) -> None:
        """Forget all parts of these objects; unknown names are fine."""
        ...

    async def list(self, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
        """Names in order of their bytes after `after` ('' = from the first), each with its part 0."""
        ...


class WorkQueue(Protocol):
    """Hints where work is. May lose, repeat and reorder them; the store is asked anyway."""

    @property
    def capabilities(self) -> QueueCapabilities:
        """What this queue can do; nobody asks for its name."""
        ...

    async def open(self) -> None:
        """Reach the broker and check that it can be used; before anything else.

        Raises StoreUnavailable when it cannot be reached now (try again), ConfigurationError when it never can like
        this (credentials, a queue that is missing): both name the address without its password, and the way out.
        """
        ...

    async def offer(self, hints: Sequence[Hint]) -> None:
        """Pass hints on. Never raises for a dead broker."""
        ...

    async def take(self, queues: Collection[str], limit: int, timeout_seconds: float) -> Sequence[Key] | None:
        """Up to `limit` hinted keys of these queues, best (lane, rank) first, waiting at most `timeout_seconds`.

        Already acknowledged: nobody else gets them. None = nothing known, ask the store.
        """
        ...

    async def depth(self) -> Mapping[tuple[str, int], int] | None:
        """Hints waiting by (queue, lane); None where the broker cannot tell.

        ('', 0) = in any queue and lane, where the broker counts no finer. What travels in batches counts as one.
        """
        ...

    async def close(self) -> None:
        """Give everything back; waiting takers return None. May be called twice."""
        ...


class Notifier(Protocol):
    """Doorbells between whoever changes tasks and whoever watches them. May lose, repeat and reorder them."""

    async def open(self) -> None:
        """Reach the broker; before anything else. Raises as `WorkQueue.open`."""
        ...

    async def ring(self, bells: Sequence[Bell], but: AsyncIterator[Sequence[Bell]] | None = None) -> None:
        """Tell every listener in every process. Never raises for a dead broker.

        but: a listener of this very notifier that is left out, because whoever rings has told it already.
        """
        ...

    def listen(self) -> AsyncIterator[Sequence[Bell]]:
        """Every batch rung after this call, endlessly; an empty batch = "poll, some may have been missed".

        A listener that does not keep up loses batches (and then gets an empty one), never memory.
        """
        ...

    async def close(self) -> None:
        """End every listener. May be called twice."""
        ...


class ArtifactStore(Protocol):
    """Large content. Names are `{key}/{artifact}/{fence}` or one level more: made by us, never reused or user text."""

    async def open(self) -> None:
        """Reach the service; before anything else. Raises as `WorkQueue.open`."""
        ...

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        """Store an object; durable on return, invisible before. Raises TooLarge beyond `limit_bytes` (nothing is kept).

        Idempotent: the same name with the same content again is fine.
        """
        ...

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start` to before `end`. Raises ObjectMissing at the first step."""
        ...

    async def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str | None:
        """An address where clients may fetch the object themselves; None = serve it yourself."""
        ...

    async def delete(self, names: Collection[str]) -> None:
        """Forget objects; unknown names are fine."""
        ...

    async def list(self, after: str, limit: int) -> Sequence[StoredName]:
        """Names in order after `after` ('' = from the first), for the collector of unused objects."""
        ...

    async def close(self) -> None:
        """Give everything back; may be called twice."""
        ...
