"""Rows for tests of stores: plausible defaults, numbered keys, and turns that only write."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from a2a_server.errors import Conflict
from a2a_server.model.objects import Generation, Lane, Phase, State
from a2a_server.model.rows import (
    NO_KEY,
    ArtifactRow,
    EdgeKind,
    EdgeRow,
    EventKind,
    EventRow,
    GateRow,
    Key,
    MessageRow,
    RecordRow,
    SentKey,
    SentRow,
    TagRow,
    TallyKey,
    TaskName,
    TaskRow,
    WorkerRow,
)
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore

TASK = TaskRow(
    key=NO_KEY,
    format=1,
    tenant="",
    owner="local",
    agent="Echo",
    id="",
    context="context",
    generation=Generation.V10,
    visible=True,
    skill="echo",
    queue="echo",
    lane=Lane.NORMAL,
    rank=0,
    gates=("client:local", "skill:echo"),
    held_by="",
    state=State.SUBMITTED,
    phase=Phase.READY,
    last_n=1,
    journal_n=0,
    rev=1,
    status_at=1_000,
    created_at=1_000,
    due_at=0,
    deadline_at=0,
    cancel_at=0,
    worker=NO_KEY,
    fence=0,
    attempt=0,
    max_attempts=4,
    crashes=0,
    unmet=0,
    parent=NO_KEY,
    pushes=0,
    status=b"status",
    spec=b"spec",
)
ARTIFACT = ArtifactRow(
    task=NO_KEY,
    id=0,
    take=1,
    first_n=1,
    last_n=0,
    closed=False,
    name="text",
    media_type="text/plain",
    size=0,
    sha256="",
    created_at=1_000,
    location="",
    body=b"",
)
GATE = GateRow(key="", capacity=None, used=0, tokens=0, refilled_at=0, closed_until=0, reason="", rev=1)


def key(number: int) -> Key:
    """Numbered keys are in the order of their numbers."""
    return Key(number.to_bytes(16, "big"))


def task(number: int, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field of a row
    return TASK._replace(**{"key": key(number), "id": f"task-{number}", **fields})


def held(number: int, gate: str, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field of a row
    return task(number, **{"phase": Phase.HELD, "held_by": gate, "gates": (gate,), **fields})


def leased(number: int, worker: Key, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field of a row
    return task(number, **{"phase": Phase.LEASED, "state": State.WORKING, "worker": worker, "fence": 1, **fields})


def final(number: int, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field of a row
    return task(number, **{"phase": Phase.FINAL, "state": State.COMPLETED, **fields})


def status(number: int, n: int, body: bytes = b"event") -> EventRow:
    return EventRow(key(number), n, EventKind.STATUS, 1_000, 0, None, body)


def chunk(number: int, n: int, artifact: int = 0, body: bytes = b"chunk") -> EventRow:
    return EventRow(key(number), n, EventKind.CHUNK, 1_000, 1, artifact, body)


def message(number: int, seq: int, at_n: int = 1) -> MessageRow:
    return MessageRow(key(number), seq, at_n, 1, f"message-{seq}", b"message")


def artifact(number: int, **fields: Any) -> ArtifactRow:  # noqa: ANN401 - any field of a row
    return ARTIFACT._replace(**{"task": key(number), **fields})


def gate(name: str, **fields: Any) -> GateRow:  # noqa: ANN401 - any field of a row
    return GATE._replace(**{"key": name, **fields})


def sent(number: int, message_id: str = "message", at_n: int = 1) -> SentRow:
    return SentRow("", "local", "Echo", "", message_id, b"\0hash", key(number), at_n, 9_000)


def sent_key(message_id: str = "message") -> SentKey:
    return sent(0, message_id).key


def worker(number: int, *, ttl: int = 8_000_000, dead: bool = False) -> WorkerRow:
    return WorkerRow(key(number), 0, ttl, dead, 1, b"worker")


def edge(upstream: int, downstream: int, kind: EdgeKind = EdgeKind.FAIL, done: int = 0) -> EdgeRow:
    return EdgeRow(key(upstream), key(downstream), int(kind), done)


def tag(number: int, label: str = "blue") -> TagRow:
    return TagRow("", "local", label, key(number))


def record(name: str, **fields: Any) -> RecordRow:  # noqa: ANN401 - any field of a row
    return RecordRow("schedule", "", "local", name, 1, 0, b"record")._replace(**fields)


def name(number: int) -> TaskName:
    return task(number).name


def tally_key(row: TaskRow) -> TallyKey:
    return TallyKey(row.tenant, row.owner, row.agent, row.queue, row.state, row.phase)


def numbers(keys: Iterable[bytes]) -> list[int]:
    """What `key` made these of."""
    return [int.from_bytes(each, "big") for each in keys]


def next_rev(row: TaskRow, **fields: Any) -> TaskRow:  # noqa: ANN401 - any field of a row
    return row._replace(rev=row.rev + 1, **fields)


def writes(changes: Changes) -> Callable[[Loaded], Changes]:
    """A decision that is made already."""
    return lambda loaded: changes


async def put(store: TaskStore, **changes: Any) -> Loaded:  # noqa: ANN401 - any field of Changes
    return await store.turn(Needs(), writes(Changes(**changes)))


async def get(store: TaskStore, **needs: Any) -> Loaded:  # noqa: ANN401 - any field of Needs
    return await store.turn(Needs(**needs), writes(Changes()))


async def get_task(store: TaskStore, number: int) -> TaskRow:
    return (await get(store, tasks={key(number)})).tasks[key(number)]


async def refused(store: TaskStore, changes: Changes) -> int:
    """How often it was decided before Conflict came out."""
    calls = 0

    def decide(loaded: Loaded) -> Changes:
        nonlocal calls
        calls += 1
        return changes

    with pytest.raises(Conflict):
        await store.turn(Needs(), decide)
    return calls
