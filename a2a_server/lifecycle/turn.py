"""The rows of one turn while its operations are decided, one after the other.

A `Turn` starts from what the store loaded, takes every change through `put`, `create` and the other verbs here, and in
the end knows the row writes (`changes`) and what to tell the world after the commit (`bells`, `hints`, `alarm`).
Operations of one task see each other's changes and make one row write. What follows from a change whoever makes it is
done here, once: event numbers, gates' use, the audit of what a run takes, waking tasks that a gate held, closing an
ended task's takes, the tally, revisions.

An operation raises before its first change; so one that fails leaves the others of its turn alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from a2a_server.codec import decode, decode_status, encode, encode_status, pack_message
from a2a_server.lifecycle.auditing import moves
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.gates import Gates
from a2a_server.lifecycle.links import Links
from a2a_server.lifecycle.states import INTERRUPTED, TERMINAL, moved
from a2a_server.model.objects import ArtifactEvent, JsonObject, Message, Phase, Role, State, Text
from a2a_server.model.rows import (
    NO_KEY,
    ArtifactRow,
    EventKind,
    EventRow,
    FairKey,
    FreshRow,
    Interest,
    JournalKind,
    JournalRow,
    Key,
    MessageRow,
    PushRow,
    SentKey,
    SentRow,
    StateRow,
    TallyKey,
    TaskName,
    TaskRow,
    WorkerRow,
)
from a2a_server.model.turns import Bell, Changes, ClaimNeed, Hint, Loaded
from a2a_server.policy import rank

PLAIN_STATUS: Final = {state: encode_status(state) for state in State}
"""Bodies of status events that carry nothing but the state."""


class Turn:
    """What `loaded` becomes.

    shard: this writer's share of the counters that every process adds to. claims: the needs that `loaded.claims`
    answers, in order.
    """

    __slots__ = (
        "_artifacts",
        "_changes",
        "_claims",
        "_events",
        "_loaded",
        "_names",
        "_pushes",
        "_sent",
        "_touched",
        "_workers",
        "fair",
        "gates",
        "heads",
        "links",
        "now",
        "rows",
        "shard",
    )

    def __init__(self, loaded: Loaded, shard: str, claims: Sequence[ClaimNeed] = ()) -> None:
        self.now = loaded.now
        self.shard = shard
        self.rows = dict(loaded.tasks)
        self.gates = Gates(loaded)
        self.heads = dict(loaded.heads)
        self.fair = dict(loaded.fair)
        self._sent = dict(loaded.sent)
        self._names = dict(loaded.names)
        self._pushes: dict[Key, dict[str, PushRow]] = {}
        if loaded.pushes:
            self._pushes = {key: {row.id: row for row in rows} for key, rows in loaded.pushes.items()}
        self._workers = dict(loaded.workers)
        self._claims = dict(zip(claims, loaded.claims, strict=True))
        self._loaded = loaded
        self._changes = Changes()
        self.links = Links(loaded, self._changes)
        self._touched: dict[Key, None] = {}
        self._events: dict[Key, list[EventRow]] = {}
        self._artifacts: dict[Key, dict[tuple[int, int], ArtifactRow]] = {}

    def before(self, key: Key) -> TaskRow | None:
        """The task as it was when the turn began; None = it was not, or nobody asked for it."""
        return self._loaded.tasks.get(key)

    def named(self, name: TaskName) -> TaskRow | None:
        """The task that clients call so."""
        key = self._names.get(name)
        return None if key is None else self.rows[key]

    def know(self, row: TaskRow) -> None:
        """Let a task of the turn be found by its name, which nobody asked for."""
        self._names[row.name] = row.key

    def worker(self, key: Key) -> WorkerRow | None:
        """A worker's row."""
        return self._workers.get(key)

    def is_dead(self, worker: Key) -> bool:
        """Whether the worker was declared dead, which is for ever, or has no row: what it takes would be an orphan."""
        row = self._workers.get(worker)
        return row is None or row.dead

    def candidates(self, need: ClaimNeed) -> tuple[Key, ...]:
        """What the claim that named `need` may look at, best first."""
        return self._claims[need]

    def sent_task(self, key: SentKey) -> tuple[SentRow, TaskRow] | None:
        """An earlier send with this key and its task, where both still exist."""
        sent = self._sent.get(key)
        row = None if sent is None else self.rows.get(sent.task)
        return None if sent is None or row is None else (sent, row)

    def create(self, row: TaskRow, *, queued: bool = True) -> TaskRow:
        """Add a new task; it gets its first event and its rank. queued: it takes its owner's turn in the queue."""
        place = self.place(row, queued=queued)
        row = self._keep(changed(row, rank=place, last_n=row.last_n + 1))
        self._names[row.name] = row.key
        return self._log(row, EventKind.STATUS, row.status, None)

    def place(self, row: TaskRow, *, queued: bool = True) -> int:
        """The rank that the task gets at the end of its owner's share of its lane. queued: its owner's turn is used.

        The turn has loaded the heads of the queue, and the owner's virtual time in the lane.
        """
        key = FairKey(self.shard, row.queue, row.lane, row.tenant, row.owner)
        place = rank(self.heads.get((row.queue, row.lane)), self.fair.get(key), self.now)
        if queued:
            self.fair[key] = self._changes.fair[key] = place + 1
            if (gone := self._changes.gone_fair) and key in gone:
                gone.remove(key)
            if row.phase is Phase.READY:
                self.heads.setdefault((row.queue, row.lane), place)
        return place

    def head_of(self, key: FairKey) -> int | None:
        """The rank of the first ready task of the lane."""
        return self.heads.get((key.queue, key.lane))

    def forget_place(self, key: FairKey) -> None:
        """Delete an owner's virtual time."""
        del self.fair[key]
        self._changes.gone_fair.append(key)

    def put(self, row: TaskRow) -> TaskRow:
        """Take the row as it is now, whatever moved; gates and the audit of what it takes follow its phase."""
        before = self.rows[row.key]
        self._keep(row)
        self.gates.follow(before, row)
        if row.phase is not before.phase and (entry := moves(before, row, self.now)):
            self.remember(entry)
        return row

    def status(
        self,
        row: TaskRow,
        state: State,
        phase: Phase,
        message: Message | None = None,
        *,
        metadata: JsonObject | None = None,
        due_at: int = 0,
    ) -> TaskRow:
        """Move the task and say so in its log. In phase FINAL it gives up worker, alarm and hold, and its takes close.

        Takes close as they stand: their content stays in the chunk events. A question that is no longer open becomes
        part of the task's history.
        """
        if row.state in INTERRUPTED and state is not row.state:
            self._keep_question(row)
        reached = state is not row.state
        plain = message is None and metadata is None
        body = PLAIN_STATUS[state] if plain else encode_status(state, message, None, metadata)
        row = moved(
            row,
            state,
            phase,
            visible=row.visible or _decides(state, phase, is_message=message is not None and metadata is None),
            last_n=row.last_n + 1,
            status=body,
            status_at=max(self.now, row.status_at),
            due_at=due_at,
            worker=row.worker if phase is Phase.LEASED else NO_KEY,
            held_by="",
        )
        self._log(self.put(row), EventKind.STATUS, body, None)
        if reached and row.pushes:
            for push in self.pushes(row.key):
                if not push.dead and (not push.body or int(state) in decode(push.body)):
                    self.push(push._replace(due_at=self.now))
        if phase is Phase.FINAL:
            if row.pushes & Interest.WAITED:
                self.links.ended(row.key, state)
            for take in self._open_takes(row.key):
                self.artifact(take._replace(closed=True, last_n=row.last_n))
        return row

    def append(
        self, row: TaskRow, kind: EventKind, body: bytes, artifact: int | None, said: ArtifactEvent | None = None
    ) -> TaskRow:
        """Add an event that moves nothing; a status body (a progress note) becomes the task's latest status.

        said: as a draft's.
        """
        last_n = row.last_n + 1
        if kind is EventKind.STATUS:
            row = self.put(changed(row, last_n=last_n, status=body, status_at=max(self.now, row.status_at)))
        else:
            row = self._keep(changed(row, last_n=last_n))
        return self._log(row, kind, body, artifact, said)

    def journal(self, row: TaskRow, kind: JournalKind, **entry: object) -> TaskRow:
        """Add to the audit trail."""
        row = self.put(changed(row, journal_n=row.journal_n + 1))
        self._changes.journal.append(JournalRow(row.key, row.journal_n, kind, self.now, encode(entry)))
        return row

    def message(self, row: MessageRow) -> None:
        """Add to the task's history."""
        self._changes.messages.append(row)

    def artifact(self, row: ArtifactRow) -> None:
        """Write an artifact's take."""
        self._artifacts.setdefault(row.task, {})[row.id, row.take] = row

    def remember(self, row: StateRow) -> None:
        """Write a remembered value."""
        self._changes.states.append(row)

    def remember_sent(self, row: SentRow) -> None:
        """Write what a repeated send will be answered with."""
        self._sent[row.key] = row
        self._changes.sent.append(row)

    def pushes(self, key: Key) -> tuple[PushRow, ...]:
        """Who is told of the task."""
        return tuple(self._pushes.get(key, {}).values())

    def push(self, row: PushRow) -> None:
        """Write who is told, how far they are, and when they are due."""
        self._pushes.setdefault(row.task, {})[row.id] = row

    def forget(self, worker: Key) -> None:
        """Delete a worker's row: whoever still beats under it learns that it is dead."""
        del self._workers[worker]
        self._changes.gone_workers.append(worker)

    def bury(self, row: WorkerRow) -> None:
        """Declare a worker dead."""
        self._workers[row.id] = row
        self._changes.workers.append(row)

    def changes(self) -> Changes:
        """All row writes. Call once, when every operation is decided."""
        for key in list(self.gates.woken()):
            row = self.rows[key]
            self.put(moved(row, row.state, Phase.READY, held_by=""))
        changes, loaded = self._changes, self._loaded
        if self._artifacts:
            changes.artifacts = [row for takes in self._artifacts.values() for row in takes.values()]
        for key, pushes in self._pushes.items():
            before_pushes = loaded.pushes.get(key, ())
            changes.pushes += [push for push in pushes.values() if push not in before_pushes]
        for key in self._touched:
            row, before = self.rows[key], loaded.tasks.get(key)
            if before is None:
                changes.new_tasks.append(row)
            else:
                row = self.rows[key] = changed(row, rev=before.rev + 1)
                changes.tasks.append(row)
            self._count(before, row)
        changes.gates, changes.gone_gates = self.gates.changes()
        self.links.finish()
        return changes

    @property
    def bells(self) -> list[Bell]:
        """Every task that changed, as it is now, with what was written of it."""
        rows, events, takes = self.rows, self._events, self._artifacts
        said: dict[Key, list[MessageRow]] = {}
        for row in self._changes.messages:
            said.setdefault(row.task, []).append(row)
        return [
            Bell(
                key,
                rows.get(key),
                tuple(events.get(key, ())),
                tuple(takes.get(key, {}).values()),
                tuple(said.get(key, ())),
            )
            for key in self._touched | dict.fromkeys(takes)
        ]

    @property
    def hints(self) -> list[Hint]:
        """Every task that became claimable, or is claimable in another lane than before."""
        before = self._loaded.tasks
        return [
            Hint(row.queue, row.lane, row.rank, key)
            for key in self._touched
            if (row := self.rows[key]).phase is Phase.READY
            and (key not in before or before[key].phase is not Phase.READY or before[key].lane is not row.lane)
        ]

    @property
    def openings(self) -> dict[str, int]:
        """Microseconds until each closed gate opens that holds tasks, as far as the turn knows."""
        return self.gates.openings

    @property
    def alarm(self) -> int | None:
        """Microseconds until the earliest alarm that was set, None = none was."""
        due = min((due for key in self._touched if (due := self.rows[key].due_at)), default=0)
        return due - self.now if due else None

    def _keep(self, row: TaskRow) -> TaskRow:
        self.rows[row.key] = row
        self._touched[row.key] = None
        return row

    def _log(
        self, row: TaskRow, kind: EventKind, body: bytes, artifact: int | None, said: ArtifactEvent | None = None
    ) -> TaskRow:
        event = EventRow(row.key, row.last_n, kind, max(self.now, row.status_at), row.fence, artifact, body)
        if said is not None:
            event = FreshRow.of(event, said)
        self._changes.events.append(event)
        self._events.setdefault(row.key, []).append(event)
        return row

    def _keep_question(self, row: TaskRow) -> None:
        status, _ = decode_status(row.status, row.status_at)
        if asked := status.message:  # a task that asks writes no events, so its question is its last one
            self.message(MessageRow(row.key, row.last_n, row.last_n + 1, 2, asked.id, encode(pack_message(asked))))

    def _open_takes(self, key: Key) -> list[ArtifactRow]:
        before, written = self._loaded.takes.get(key, ()), self._artifacts.get(key, {})
        if not before and all(row.closed for row in written.values()):
            return []
        takes = {(row.id, row.take): row for row in before} | written
        newest = {row.id: row for _, row in sorted(takes.items())}
        return [row for row in newest.values() if not row.closed]

    def _count(self, before: TaskRow | None, row: TaskRow) -> None:
        old = _tally_key(before) if before is not None and before.visible else None
        new = _tally_key(row) if row.visible else None
        if old == new:
            return
        tally = self._changes.tally
        for key, step in ((old, -1), (new, 1)):
            if key is not None:
                tally[self.shard, key] = tally.get((self.shard, key), 0) + step


def _decides(state: State, phase: Phase, *, is_message: bool) -> bool:
    """Whether a task that might have been a direct answer is a task from now on."""
    return state in INTERRUPTED or (phase is Phase.FINAL and not (state is State.COMPLETED and is_message))


def _tally_key(row: TaskRow) -> TallyKey:
    return TallyKey(row.tenant, row.owner, row.agent, row.queue, row.state, row.phase)


def sentence(text: str) -> str:
    """What an agent said, so that another sentence may follow."""
    said = text.rstrip()
    return said if not said or said.endswith((".", "!", "?", "…", "。")) else f"{said}."


def speech(row: TaskRow, text: str, serial: str = "") -> Message:
    """A status message of the agent, with an id of its own: by default the number of the event it comes with."""
    number = serial or str(row.last_n + 1)
    return Message(Role.AGENT, (Text(text),), f"{row.key.hex()}-{number}", row.context, row.id)


def ended(row: TaskRow) -> bool:
    """Whether the task is in a terminal state."""
    return row.state in TERMINAL
