"""Where a task came from: what made it, who asked for it, by which way it came. All of it is read from its row."""

from __future__ import annotations

from typing import Final

from a2a_server.model.objects import Method, TaskSpec, Wishes
from a2a_server.model.rows import TaskRow
from a2a_server.values import value_class
from a2a_server.wire import v01, v03, v10
from a2a_server.wire.operations import Operation

_WIRES: Final = (v01, v03, v10)
_SENDS: Final = {
    (wire.GENERATION, method): next(name for name, served in wire.METHODS.items() if served is operation)
    for wire in _WIRES
    for method, operation in ((Method.SEND, Operation.SEND), (Method.STREAM, Operation.STREAM))
}
_WORDS: Final = {
    Method.TASK: "POST /tasks",
    Method.BATCH: "POST /batches",
    Method.RETRY: "POST /tasks/{id}/retry",
    Method.BULK: "POST /tasks/bulk",
    Method.DEAD_LETTERS: "POST /dead-letters/retry",
    Method.TRIGGER: "POST /schedules/{id}/trigger",
    Method.TICK: "tick",
    Method.SPAWN: "spawn",
}
_SOURCES: Final = {
    Method.SEND: "a2a",
    Method.STREAM: "a2a",
    Method.TASK: "api",
    Method.BATCH: "batch",
    Method.RETRY: "retry",
    Method.BULK: "retry",
    Method.DEAD_LETTERS: "retry",
    Method.TRIGGER: "schedule",
    Method.TICK: "schedule",
    Method.SPAWN: "spawn",
}
_NO_WISHES: Final = Wishes()


@value_class(frozen=True, slots=True)
class Origin:
    """Where a task came from. '' = it was made before this was remembered, and nothing else tells.

    kind, id: who asked for it: `user` (its owner), `agent` (its name), `system` (the schedule's id).
    """

    method: str
    source: str
    kind: str
    id: str


def origin_of(row: TaskRow, spec: TaskSpec, agent: str) -> Origin:
    """Where the task came from. agent: what its agent's card calls it."""
    method, wishes = spec.method, spec.wishes or _NO_WISHES
    word = _WORDS.get(method) or _SENDS.get((row.generation, method), "")
    source = _SOURCES.get(method) or _source_before(wishes)
    if spec.through:
        return Origin(word, source, "agent", spec.through)
    if method is Method.SPAWN:
        return Origin(word, source, "agent", row.agent or agent)
    if method is Method.TICK or (method is Method.UNKNOWN and source == "schedule"):
        return Origin(word, source, "system", wishes.schedule)
    return Origin(word, source, "user" if source else "", row.owner if source else "")


def _source_before(wishes: Wishes) -> str:
    """Of a task whose method was not remembered, by what it is tied to; parts are made by agents and by clients."""
    if wishes.retry_of:
        return "retry"
    if wishes.schedule:
        return "schedule"
    if wishes.batch:
        return "batch"
    return "" if wishes.parent else "a2a"
