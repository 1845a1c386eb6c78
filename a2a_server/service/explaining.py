"""Why a task of the caller is not running: reads what the task meets, and asks `lifecycle.explaining`.

Every read is one step in an index or bounded by a number. What many tasks meet (gates, workers, how long others waited)
is remembered for some seconds, so that clients who poll do not cost more than those who wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

from a2a_server.codec import decode
from a2a_server.engine.engine import Engine
from a2a_server.errors import TaskNotFound
from a2a_server.lifecycle.estimating import Estimate, Waits, ends_at, estimate, waits_of
from a2a_server.lifecycle.explaining import MOST_NAMED, QUEUED, Around, Reason, open_upstreams, reasons
from a2a_server.lifecycle.requirements import CLASS_RECORD, Pool, needs_of, share_of
from a2a_server.lifecycle.states import EXPLAINED, TERMINAL
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import JsonObject, Lane, Phase, Scope
from a2a_server.model.queries import RowQuery, Search, Table
from a2a_server.model.rows import (
    EdgeRow,
    EventRow,
    GateRow,
    JournalKind,
    JournalRow,
    Key,
    RecordKey,
    RecordRow,
    TaskRow,
    WorkerRow,
)
from a2a_server.policy import CLASS, SECOND
from a2a_server.service.each import each
from a2a_server.service.pullers import PULLS
from a2a_server.service.sizing import Duration, Sizing
from a2a_server.values import value_class

MOST_AHEAD: Final = 10_000
"""Where counting those before a task ends."""
FRESH_SECONDS: Final = 1.0
"""How old gates and workers may be that a reason is told by."""
HISTORY_SECONDS: Final = 30.0
"""How old the wait history of a queue and lane may be."""
HISTORY: Final = 100
"""Tasks that have ended whose waits are looked at, the newest."""
MOST_EDGES: Final = 10_000
MOST_WORKERS: Final = 1_000
MOST_LEASED: Final = 10_000
"""Runs that are looked at for what they took out of their workers' pools."""
MOST_CLASSES: Final = 10_000
JOURNAL: Final = 100
"""Entries of a task's journal, the newest, among which the begin of its run is looked for."""
BRIEF: Final = 3
"""Reasons that a task's own metadata tell."""

_EARLY: Final = 16
_EVENT_BYTES: Final = 1 << 16
_REMEMBERED: Final = 4096
_FINAL: Final = frozenset((state, Phase.FINAL) for state in TERMINAL)

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Recent(Generic[KeyT, ValueT]):
    """What was read lately, by key: at most `most` things, none older than `seconds`."""

    def __init__(self, seconds: float, most: int = _REMEMBERED) -> None:
        self._seconds = seconds
        self._most = most
        self._kept: dict[KeyT, tuple[float, ValueT]] = {}

    async def get(self, key: KeyT, read: Callable[[KeyT], Awaitable[ValueT]]) -> ValueT:
        """The value, read again where it is too old."""
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and now - kept[0] < self._seconds:
            return kept[1]
        value = await read(key)
        self._kept.pop(key, None)
        while len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = now, value
        return value


@value_class(frozen=True, slots=True)
class Explained:
    """A task with everything that holds it, and when it may start and end.

    estimate, duration: None = nobody can say. ends_at: 0 = nobody can say, microseconds.
    """

    row: TaskRow
    reasons: Sequence[Reason]
    estimate: Estimate | None
    duration: Duration | None = None
    ends_at: int = 0


class Explaining:
    """Explains tasks of one engine. Concurrency: any number of callers in the engine's event loop.

    sizing: how long tasks take, None = that is not estimated.
    """

    def __init__(self, engine: Engine, sizing: Sizing | None = None) -> None:
        self._engine = engine
        self._sizing = sizing
        self._store = engine.backends.store
        self._gates: Recent[str, GateRow | None] = Recent(FRESH_SECONDS)
        self._workers: Recent[None, Sequence[WorkerRow]] = Recent(FRESH_SECONDS)
        self._taken: Recent[None, Mapping[Key, Pool]] = Recent(FRESH_SECONDS)
        self._waits: Recent[tuple[str, str, str, str, Lane], Waits | None] = Recent(HISTORY_SECONDS)

    async def explain(self, scope: Scope, task_id: str) -> Explained:
        """Every reason that holds the task. Raises TaskNotFound."""
        row = await self._store.find(scope, self._engine.agent, task_id)
        if row is None:
            raise TaskNotFound
        around = await self._around(row, begun=True)
        why = reasons(row, around)
        waits = None
        if row.phase in QUEUED or row.phase is Phase.SCHEDULED:
            kind = (row.tenant, row.owner, row.agent, row.queue, row.lane)
            waits = await self._waits.get(kind, self._history)
        starts = estimate(row, why, waits, around.now)
        duration = None if self._sizing is None else await self._sizing.duration(row)
        seconds = 0.0 if duration is None else duration.seconds
        return Explained(row, why, starts, duration, ends_at(row, around, starts, round(seconds * SECOND)))

    async def brief(self, row: TaskRow) -> JsonObject | None:
        """What the task's own metadata say of it; None for one that needs no explanation, which costs nothing."""
        if row.phase in EXPLAINED:
            return None
        why = reasons(row, await self._around(row))
        shown: list[JsonObject] = [{"kind": one.kind.value, "text": one.text} for one in why[:BRIEF]]
        more: JsonObject = {"more": len(why) - BRIEF} if len(why) > BRIEF else {}
        return {"reasons": [*shown], **more}

    async def _around(self, row: TaskRow, *, begun: bool = False) -> Around:
        """begun: also when its run began."""
        now, phase = self._engine.clock(), row.phase
        if phase is Phase.LEASED:
            return Around(now, since=await self._began(row) if begun else 0)
        if phase in {Phase.PAUSED, Phase.FINAL}:
            return Around(now)
        keys = dict.fromkeys(gate_of(name)[0] for name in row.gates)
        found = await asyncio.gather(*(self._gates.get(key, self._gate) for key in keys))
        gates = {gate.key: gate for gate in found if gate is not None}
        if phase is Phase.WAITING:
            edges = await self._edges(row.key)
            return Around(now, gates, edges, await self._upstreams(edges))
        if phase is Phase.SCHEDULED:
            return Around(now, gates)
        ahead = await self._store.ahead(row, MOST_AHEAD)
        pulled = any(spec.pulled for spec in self._engine.runner.skills if spec.id == row.skill)
        known = await self._workers.get(None, self._all_workers)
        workers = [worker for worker in known if _serves(worker, row, pulled=pulled)]
        taken = await self._taken.get(None, self._all_taken) if CLASS in row.queue else {}
        return Around(now, gates, workers=workers, taken=taken, ahead=ahead, most_ahead=MOST_AHEAD)

    async def _gate(self, key: str) -> GateRow | None:
        page = await self._store.rows(RowQuery(Table.GATE, (key,), limit=1))
        return next((row for row in page.rows if isinstance(row, GateRow)), None)

    async def _all_workers(self, _: None) -> Sequence[WorkerRow]:
        page = await self._store.rows(RowQuery(Table.WORKER, limit=MOST_WORKERS))
        return [row for row in page.rows if isinstance(row, WorkerRow)]

    async def _all_taken(self, _: None) -> Mapping[Key, Pool]:
        """What runs took out of their workers' pools."""
        known = await self._workers.get(None, self._all_workers)
        leased = await self._store.leased([worker.id for worker in known if not worker.dead], MOST_LEASED)
        if not any(CLASS in queue for _, queue in leased):
            return {}
        shares = await self._shares()
        taken: dict[Key, Pool] = {}
        for (worker, queue), count in leased.items():
            if share := shares.get(queue):
                taken[worker] = taken.get(worker, Pool()).with_(share.times(count))
        return taken

    async def _shares(self) -> dict[str, Pool]:
        """What a task of each class takes."""
        found: dict[str, Pool] = {}
        after: RecordKey | None = None
        while len(found) < MOST_CLASSES:
            page = await self._store.rows(RowQuery(Table.RECORD, (CLASS_RECORD,), after))
            records = [row for row in page.rows if isinstance(row, RecordRow)]
            found.update((row.id, share_of(needs_of(row))) for row in records)
            if not page.more:
                break
            after = records[-1].key
        return found

    async def _edges(self, key: Key) -> Sequence[EdgeRow]:
        page = await self._store.rows(RowQuery(Table.EDGE_TO, (key,), limit=MOST_EDGES))
        return [row for row in page.rows if isinstance(row, EdgeRow)]

    async def _upstreams(self, edges: Sequence[EdgeRow]) -> dict[Key, TaskRow]:
        keys = open_upstreams(edges)[:MOST_NAMED]
        found = await asyncio.gather(*(self._store.snapshot(key, 0, artifacts=False) for key in keys))
        return {shown.task.key: shown.task for shown in found if shown is not None}

    async def _began(self, row: TaskRow) -> int:
        """When the task's run was claimed; 0 = its log and the end of its journal do not tell."""
        if row.fence == 1:
            events = await self._store.events(row.key, 1, _EARLY, _EVENT_BYTES)
            return next((event.at for event in events if event.fence == row.fence), 0)
        after = (row.key, max(0, row.journal_n - JOURNAL))
        page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), after, JOURNAL))
        leases = [one.at for one in page.rows if isinstance(one, JournalRow) and one.kind is JournalKind.LEASED]
        return leases[-1] if leases else 0

    async def _history(self, kind: tuple[str, str, str, str, Lane]) -> Waits | None:
        tenant, owner, agent, queue, lane = kind
        search = Search(
            tenant,
            owner,
            agent,
            stands=_FINAL,
            queues=frozenset({queue}),
            lanes=frozenset({lane}),
            limit=HISTORY,
        )
        rows = [row for row in (await self._store.search(search)).rows if row.fence]
        return waits_of([wait for wait in await each(rows, self._waited) if wait is not None])

    async def _waited(self, row: TaskRow) -> int | None:
        """Microseconds from its submission, or from the moment that it was scheduled for, to its first run."""
        events = await self._store.events(row.key, 1, 1, _EVENT_BYTES)
        first: EventRow | None = next(iter(events), None)
        if first is None or first.fence != 1:
            return None
        began = row.created_at
        if row.journal_n:
            page = await self._store.rows(RowQuery(Table.JOURNAL, (row.key,), limit=1))
            for one in page.rows:
                if isinstance(one, JournalRow) and one.kind is JournalKind.PROMOTED and one.at <= first.at:
                    began = one.at
        return max(0, first.at - began)


def _serves(worker: WorkerRow, row: TaskRow, *, pulled: bool) -> bool:
    """Whether it runs tasks of this agent (the first of a process has no name) and, if it pulls its work, this one.

    pulled: only those that pull run the task's skill.
    """
    told = decode(worker.body) if worker.body else {}
    if (pulls := told.get(PULLS)) is None:
        return not pulled and bool(told.get("serves", "") == row.agent)
    theirs = (told.get("agent"), pulls["tenant"], pulls["owner"]) == (row.agent, row.tenant, row.owner)
    return theirs and row.skill in pulls["skills"] and (not pulls["lanes"] or row.lane in pulls["lanes"])
