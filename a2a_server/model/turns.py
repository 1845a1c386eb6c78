"""What a turn loads (`Needs` -> `Loaded`) and what it writes (`Changes`). Stores know these rows and no rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from a2a_server.model.objects import Lane
from a2a_server.model.rows import (
    ArtifactRow,
    EdgeRow,
    EventRow,
    FairKey,
    GateRow,
    Head,
    JournalRow,
    Key,
    MessageRow,
    PushRow,
    RecordKey,
    RecordRow,
    SentKey,
    SentRow,
    StateRow,
    TagRow,
    TallyKey,
    TaskName,
    TaskRow,
    WorkerRow,
)


class ClaimNeed(NamedTuple):
    """Candidates for one claim: READY tasks of `queues`, the best `limit` by (lane, rank, key).

    `hinted` keys are looked at too (only those that are READY and in `queues`); the result is the union, ordered.
    `max_crashes` leaves out tasks that crashed more often than that, `max_format` rows written by newer code. `lanes`:
    only tasks of these lanes, () = of all.
    """

    queues: tuple[str, ...]
    limit: int
    hinted: tuple[Key, ...] = ()
    max_crashes: int = 2
    max_format: int = 1
    lanes: tuple[Lane, ...] = ()


@dataclass(slots=True)
class Needs:
    """The rows that a batch of operations names. Gates of every loaded task are loaded without being named.

    tasks: by key; locked. names: by client id; locked. sent: idempotency rows, and the tasks they point to, locked.
    queues: the rank of the first READY task of each lane. fair: virtual times. gates: by key, beside those of tasks.
    claims: candidates, skipping rows that another turn has locked. held: for each loaded gate that has a row, this many
    of its HELD tasks, best first. recount: gates whose LEASED tasks are to be counted. workers: by id.
    takes: tasks whose open artifact takes are wanted. waits: tasks whose edges, as downstream, are to be counted; the
    tasks themselves are not loaded by it. records: by primary key; locked, and a record that does not exist counts as
    locked too: of two turns that insert it, one is decided again.
    """

    tasks: set[Key] = field(default_factory=set)
    names: set[TaskName] = field(default_factory=set)
    sent: set[SentKey] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    fair: set[FairKey] = field(default_factory=set)
    gates: set[str] = field(default_factory=set)
    claims: list[ClaimNeed] = field(default_factory=list)
    held: int = 0
    recount: set[str] = field(default_factory=set)
    workers: set[Key] = field(default_factory=set)
    takes: set[Key] = field(default_factory=set)
    waits: set[Key] = field(default_factory=set)
    records: set[RecordKey] = field(default_factory=set)


@dataclass(slots=True)
class Loaded:
    """What a store found for `Needs`; absent entries do not exist. Never changed by who reads it.

    now: the store's clock, microseconds. heads: (queue, lane) -> rank of its first READY task. claims: for each
    `ClaimNeed` in order, the candidates' keys by (lane, rank, key). held: gate -> keys by (lane, rank, key).
    Every key that appears anywhere here has its row in `tasks`, every gate that one of these rows names and that has
    a row is in `gates`. pushes: those of every task in `tasks` that has any, by id. leased: gate -> how often LEASED
    tasks count there (`gate_of`). waits: downstream -> (on_failure, done) -> how many of its edges are so; arrived:
    those of them with `done` above 0; both as of one moment after the tasks were locked.
    """

    now: int
    tasks: dict[Key, TaskRow] = field(default_factory=dict)
    names: dict[TaskName, Key] = field(default_factory=dict)
    sent: dict[SentKey, SentRow] = field(default_factory=dict)
    heads: dict[tuple[str, int], int] = field(default_factory=dict)
    fair: dict[FairKey, int] = field(default_factory=dict)
    gates: dict[str, GateRow] = field(default_factory=dict)
    claims: list[tuple[Key, ...]] = field(default_factory=list)
    held: dict[str, tuple[Key, ...]] = field(default_factory=dict)
    leased: dict[str, int] = field(default_factory=dict)
    workers: dict[Key, WorkerRow] = field(default_factory=dict)
    takes: dict[Key, tuple[ArtifactRow, ...]] = field(default_factory=dict)
    pushes: dict[Key, tuple[PushRow, ...]] = field(default_factory=dict)
    waits: dict[Key, dict[tuple[int, int], int]] = field(default_factory=dict)
    arrived: dict[Key, tuple[EdgeRow, ...]] = field(default_factory=dict)
    records: dict[RecordKey, RecordRow] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Row writes of one turn, all or none.

    new_tasks are inserted; tasks replace the row of the same key whose `rev` is one lower (else `Conflict`: the turn is
    loaded and decided again). events, journal and messages are inserted; artifacts, states, sent, gates, workers,
    pushes and fair are upserted by primary key; gates guard on `rev` like tasks. tally: (shard, key) -> what to add to
    the count. Of several states with one key the last one counts; one whose body is empty is deleted. gone_workers:
    workers whose rows are deleted; the turn has loaded them.

    edges are inserted, those that exist are left alone. ended: upstream -> number of its last state; every edge of it
    that is open (`done` 0) becomes done with it. Written in this order: edges, ended. settled: edges that are still
    done change the sign of `done`. tags are inserted unless they exist; gone_tags are
    deleted. records are inserted (rev 1) or replace the one whose `rev` is one lower, else `Conflict`; gone_records are
    deleted where the rev is still the given one, else `Conflict`. gone_gates, gone_fair: gates and virtual times that
    are deleted; the turn has loaded them.
    """

    new_tasks: list[TaskRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    journal: list[JournalRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    artifacts: list[ArtifactRow] = field(default_factory=list)
    states: list[StateRow] = field(default_factory=list)
    sent: list[SentRow] = field(default_factory=list)
    gates: list[GateRow] = field(default_factory=list)
    fair: dict[FairKey, int] = field(default_factory=dict)
    tally: dict[tuple[str, TallyKey], int] = field(default_factory=dict)
    workers: list[WorkerRow] = field(default_factory=list)
    gone_workers: list[Key] = field(default_factory=list)
    pushes: list[PushRow] = field(default_factory=list)
    edges: list[EdgeRow] = field(default_factory=list)
    ended: dict[Key, int] = field(default_factory=dict)
    settled: list[EdgeRow] = field(default_factory=list)
    tags: list[TagRow] = field(default_factory=list)
    gone_tags: list[TagRow] = field(default_factory=list)
    records: list[RecordRow] = field(default_factory=list)
    gone_records: list[tuple[RecordKey, int]] = field(default_factory=list)
    gone_gates: list[str] = field(default_factory=list)
    gone_fair: list[FairKey] = field(default_factory=list)


class Bell(NamedTuple):
    """A doorbell: the task `key` now stands as the row says.

    What its turn wrote of it travels only inside one process: the row, `events`, `takes` of its artifacts, `messages`.
    Between processes go `head` and, for a task that can be claimed now, `hint`; `row` is None there.
    """

    key: Key
    row: TaskRow | None
    events: tuple[EventRow, ...] = ()
    takes: tuple[ArtifactRow, ...] = ()
    messages: tuple[MessageRow, ...] = ()
    head: Head | None = None
    hint: Hint | None = None


class Hint(NamedTuple):
    """A task of `queue` may be claimable; `rank` orders hints inside a lane."""

    queue: str
    lane: int
    rank: int
    key: Key
