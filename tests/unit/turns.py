"""The rows of a store in memory, with the semantics that model.turns gives them, and a clock that tests set.

Every operation is decided twice on the same rows: a decision is pure, so both must come to the same changes and must
leave what was loaded alone. Revisions and new keys are guarded as every store does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import fields
from typing import Any

from a2a_server.codec import decode_status, encode, encode_spec
from a2a_server.errors import ClientError, Conflict, EngineError
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.operation import Operation
from a2a_server.lifecycle.runs import Claim, Claimed, Report
from a2a_server.lifecycle.submission import Submit, Submitted
from a2a_server.lifecycle.sweeping import Rescue
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.gates import gate_of
from a2a_server.model.objects import Generation, Lane, Phase, Scope, TaskSpec
from a2a_server.model.rows import (
    ArtifactRow,
    EdgeRow,
    EventRow,
    FairKey,
    GateRow,
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
    TaskRow,
    WorkerRow,
)
from a2a_server.model.turns import Changes, ClaimNeed, Loaded, Needs
from a2a_server.policy import SECOND, gates_of, queue_of

SHARD = "shard"
START = 1_700_000_000 * SECOND
TTL = 8 * SECOND
SPEC = encode_spec(TaskSpec(timeout_seconds=60.0))
WORKER = Key(b"worker-0".ljust(16, b"\0"))
LIVING = WorkerRow(WORKER, 0, TTL, dead=False, format=1, body=b"")


class MemoryTurns:
    """Rows, and the one way to change them. `turn` is the last turn that was decided, for its bells and hints."""

    def __init__(self, now: int = START) -> None:
        self.now = now
        self.tasks: dict[Key, TaskRow] = {}
        self.events: defaultdict[Key, list[EventRow]] = defaultdict(list)
        self.journal: defaultdict[Key, list[JournalRow]] = defaultdict(list)
        self.messages: list[MessageRow] = []
        self.artifacts: dict[tuple[Key, int, int], ArtifactRow] = {}
        self.states: dict[tuple[bytes, str, str], StateRow] = {}
        self.sent: dict[SentKey, SentRow] = {}
        self.gates: dict[str, GateRow] = {}
        self.fair: dict[FairKey, int] = {}
        self.tally: Counter[TallyKey] = Counter()
        self.workers: dict[Key, WorkerRow] = {}
        self.pushes: dict[tuple[Key, str], PushRow] = {}
        self.edges: dict[tuple[Key, Key], EdgeRow] = {}
        self.tags: set[TagRow] = set()
        self.records: dict[RecordKey, RecordRow] = {}
        self.turn = Turn(Loaded(now), SHARD)

    def do(self, *operations: Operation[Any]) -> list[Any]:
        """Decide the operations in one turn and apply its changes; outcomes in order, errors among them."""
        needs = Needs()
        for operation in operations:
            operation.needs(needs, SHARD)
        loaded = self.load(needs)
        for worker in {one.worker for one in operations if isinstance(one, Claim | Submit) and one.worker}:
            loaded.workers.setdefault(worker, WorkerRow(worker, self.now, TTL, dead=False, format=1, body=b""))
        before = _copied(loaded)
        outcomes, changes, turn = _decided(operations, loaded, needs)
        again = _decided(operations, loaded, needs)
        assert changes == again[1], "the same rows must give the same changes"
        assert loaded == before, "what was loaded was changed"
        self.turn = turn
        self.apply(changes)
        return outcomes

    def one(self, operation: Operation[Any]) -> Any:  # noqa: ANN401 - the operation's result
        """The outcome of one operation. Raises what it raised."""
        (outcome,) = self.do(operation)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def register(self, worker: Key = WORKER, ttl: int = TTL) -> Key:
        self.workers[worker] = WorkerRow(worker, self.now, ttl, dead=False, format=1, body=b"")
        return worker

    def newest_takes(self, task: Key) -> list[ArtifactRow]:
        newest = {row.id: row for _, row in sorted(self.artifacts.items()) if row.task == task}
        return list(newest.values())

    def load(self, needs: Needs) -> Loaded:
        found = Loaded(self.now)
        found.names = {row.name: row.key for row in self.tasks.values() if row.name in needs.names}
        found.sent = {key: row for key in needs.sent if (row := self.sent.get(key)) and row.task in self.tasks}
        found.claims = [self._candidates(need) for need in needs.claims]
        sought = needs.tasks.union(needs.takes, found.names.values(), *found.claims)
        sought |= {row.task for row in found.sent.values()}
        found.tasks = {key: self.tasks[key] for key in sought if key in self.tasks}
        self._load_gates(found, needs.gates)
        for gate in list(found.gates) if needs.held else ():
            if held := self._best([row for row in self._in(Phase.HELD) if row.held_by == gate])[: needs.held]:
                found.held[gate] = held
                found.tasks |= {key: self.tasks[key] for key in held}
        self._load_gates(found, ())
        for ready in self._in(Phase.READY):
            if ready.queue in needs.queues:
                place = (ready.queue, int(ready.lane))
                found.heads[place] = min(ready.rank, found.heads.get(place, ready.rank))
        found.fair = {key: self.fair[key] for key in needs.fair if key in self.fair}
        found.leased = {gate: self._used(gate) for gate in needs.recount}
        found.workers = {key: self.workers[key] for key in needs.workers if key in self.workers}
        takes = {key: tuple(row for row in self.newest_takes(key) if not row.closed) for key in needs.takes}
        found.takes = {key: rows for key, rows in takes.items() if rows}
        for key in found.tasks:
            if pushes := tuple(row for row in self.pushes.values() if row.task == key):
                found.pushes[key] = pushes
        for key in needs.waits:
            edges = [edge for edge in self.edges.values() if edge.downstream == key]
            if edges:
                found.waits[key] = dict(Counter((edge.on_failure, edge.done) for edge in edges))
            if arrived := tuple(sorted(edge for edge in edges if edge.done > 0)):
                found.arrived[key] = arrived
        found.records = {key: self.records[key] for key in needs.records if key in self.records}
        return found

    def unsettled(self) -> tuple[Key, ...]:
        """The tasks that `DueKind.SETTLE` gives."""
        return tuple(sorted({edge.downstream for edge in self.edges.values() if edge.done > 0}))

    def apply(self, changes: Changes) -> None:
        """All or none. Raises Conflict."""
        names = {row.name for row in self.tasks.values()}
        for row in changes.new_tasks:
            if row.key in self.tasks or row.name in names:
                raise Conflict(row.id)
        for row in changes.tasks:
            if self.tasks[row.key].rev != row.rev - 1:
                raise Conflict(row.id)
        for gate in changes.gates:
            if gate.rev != (self.gates[gate.key].rev + 1 if gate.key in self.gates else 1):
                raise Conflict(gate.key)
        self._keep_records(changes)
        self.tasks |= {row.key: row for row in (*changes.new_tasks, *changes.tasks)}
        for event in changes.events:
            self.events[event.task].append(event)
        for entry in changes.journal:
            self.journal[entry.task].append(entry)
        self.messages += changes.messages
        assert len({take[:3] for take in changes.artifacts}) == len(changes.artifacts), "a take is written once a turn"
        self.artifacts |= {(take.task, take.id, take.take): take for take in changes.artifacts}
        self.states |= {(state.scope, state.space, state.name): state for state in changes.states}
        self.sent |= {sent.key: sent for sent in changes.sent}
        self.gates |= {gate.key: gate for gate in changes.gates}
        self.gates = {key: gate for key, gate in self.gates.items() if key not in changes.gone_gates}
        self.fair |= changes.fair
        self.fair = {key: vt for key, vt in self.fair.items() if key not in changes.gone_fair}
        for (shard, key), count in changes.tally.items():
            assert shard == SHARD
            self.tally[key] += count
        living = {key: row for key, row in self.workers.items() if key not in changes.gone_workers}
        self.workers = living | {worker.id: worker for worker in changes.workers}
        self.pushes |= {(push.task, push.id): push for push in changes.pushes}
        self._tie(changes)
        self.tags = (self.tags | set(changes.tags)) - set(changes.gone_tags)

    def _keep_records(self, changes: Changes) -> None:
        for record in changes.records:
            if record.rev != (self.records[record.key].rev + 1 if record.key in self.records else 1):
                raise Conflict(record.id)
        for gone, rev in changes.gone_records:
            if gone not in self.records or self.records[gone].rev != rev:
                raise Conflict(gone.id)
        self.records |= {record.key: record for record in changes.records}
        for gone, _ in changes.gone_records:
            del self.records[gone]

    def _tie(self, changes: Changes) -> None:
        for edge in changes.edges:
            self.edges.setdefault((edge.upstream, edge.downstream), edge)
        for pair, edge in self.edges.items():
            if edge.done == 0 and edge.upstream in changes.ended:
                self.edges[pair] = edge._replace(done=changes.ended[edge.upstream])
        for edge in changes.settled:
            pair = (edge.upstream, edge.downstream)
            if pair in self.edges and self.edges[pair].done > 0:
                self.edges[pair] = self.edges[pair]._replace(done=-self.edges[pair].done)

    def _used(self, gate: str) -> int:
        named = [gate_of(name) for row in self._in(Phase.LEASED) for name in row.gates]
        return sum(amount for key, amount in named if key == gate)

    def _in(self, phase: Phase) -> list[TaskRow]:
        return [row for row in self.tasks.values() if row.phase is phase]

    def _best(self, rows: Iterable[TaskRow]) -> tuple[Key, ...]:
        return tuple(row.key for row in sorted(rows, key=lambda row: (row.lane, row.rank, row.key)))

    def _candidates(self, need: ClaimNeed) -> tuple[Key, ...]:
        ready = [
            row
            for row in self._in(Phase.READY)
            if row.queue in need.queues
            and row.crashes <= need.max_crashes
            and row.format <= need.max_format
            and (not need.lanes or row.lane in need.lanes)
        ]
        keys = {*self._best(ready)[: need.limit], *(row.key for row in ready if row.key in need.hinted)}
        return self._best(self.tasks[key] for key in keys)

    def _load_gates(self, found: Loaded, names: Iterable[str]) -> None:
        wanted = {*names, *(gate_of(gate)[0] for row in found.tasks.values() for gate in row.gates)}
        found.gates |= {name: self.gates[name] for name in wanted if name in self.gates}


def _copied(loaded: Loaded) -> Loaded:
    """As deep as it gets: rows are tuples."""
    return Loaded(**{field.name: copy(getattr(loaded, field.name)) for field in fields(loaded)})


def _decided(operations: Sequence[Operation[Any]], loaded: Loaded, needs: Needs) -> tuple[list[Any], Changes, Turn]:
    turn = Turn(loaded, SHARD, needs.claims)
    outcomes: list[Any] = []
    for operation in operations:
        try:
            outcomes.append(operation.decide(turn))
        except (ClientError, EngineError) as refusal:
            outcomes.append(refusal)
    return outcomes, turn.changes(), turn


def key(number: int) -> Key:
    """Numbered keys are in the order of their numbers."""
    return Key(number.to_bytes(16, "big"))


def words(row: TaskRow) -> str:
    """What the task's status says."""
    status, _ = decode_status(row.status, row.status_at)
    return status.message.text if status.message else ""


def submit(number: int, **options: Any) -> Submit:  # noqa: ANN401 - any field of a submission
    """A send of its own; `skill`, `owner` and `agent` also give queue and gates."""
    skill, owner, agent = options.pop("skill", "echo"), options.pop("owner", "local"), options.get("agent", "")
    queue = queue_of(agent, skill)
    given: dict[str, Any] = {
        "key": key(number),
        "scope": Scope("", owner),
        "agent": agent,
        "generation": Generation.V10,
        "task_id": "",
        "context": "",
        "fresh_context": f"context-{number}",
        "message_id": f"message-{number}",
        "digest": b"digest",
        "body": encode({"p": [{"t": "hello"}]}),
        "spec": SPEC,
        "skill": skill,
        "queue": queue,
        "lane": Lane.NORMAL,
        "gates": gates_of(owner=owner, agent=agent, skill=skill, queue=queue),
        "max_attempts": 4,
        "window": 86_400 * SECOND,
    }
    return Submit(**{**given, **options})


def claim(limit: int = 10, *, worker: Key = WORKER, queues: tuple[str, ...] = ("echo",), **options: Any) -> Claim:  # noqa: ANN401 - any field of a claim
    return Claim(worker, queues, limit, **options)


def report(row: TaskRow, kind: EndKind | None = None, text: str = "", **options: Any) -> Report:  # noqa: ANN401 - any field of a report
    """A report of the run that holds the row; with `kind`, its end."""
    end = options.pop("end", None) or (None if kind is None else End(kind, text))
    return Report(row.key, row.fence, end=end, last_n=row.last_n, **options)


def cancel(row: TaskRow, grace: int = 5 * SECOND) -> Cancel:
    return Cancel(row.name, grace, row.key)


def started(store: MemoryTurns, number: int = 1, **options: Any) -> TaskRow:  # noqa: ANN401 - any field of a submission
    """A task that a worker runs."""
    store.register()
    submission = submit(number, **options)
    sent: Submitted = store.one(submission)
    claimed: Claimed = store.one(claim(1, queues=(submission.queue,)))
    (row,) = claimed.rows
    assert row.key == sent.row.key
    return row


def crash(store: MemoryTurns, row: TaskRow) -> TaskRow:
    """The task after its worker died and the sweeper found it; the worker is back under its old name."""
    del store.workers[row.worker]
    assert store.one(Rescue({row.key: row.fence}, (row.worker,))) == 1
    store.register(row.worker)
    return store.tasks[row.key]
