"""A parent whose handler has returned while it has children: whether its `completeWhen` is met, and what it comes to.

The result of a parent that gave none of its own is one artifact, `results`, with one data part: a list with an object
for each child in the order in which they were made,

    [{"taskId": "0198…", "state": "completed", "result": …}, …]

`state` is the child's state as of now, in lower case. `result` is, of a child that completed, its data (the value of
its only data part, of several the list of them), else the text of its artifacts, else what it said in the end; null of
any other child, and of one that came to nothing. Where the results take more than 4 MiB together, those that do not
fit are null, and their objects have `"omitted": true` beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from a2a_server.codec import canonical, decode, encode, pack_message, unpack_message
from a2a_server.engine import outcomes
from a2a_server.engine.attempt import RunningAttempt
from a2a_server.lifecycle.endings import End, EndKind
from a2a_server.lifecycle.joining import RETURNED, Count, Waiting
from a2a_server.lifecycle.labels import id_of
from a2a_server.model.objects import Data, Json, JsonObject, State
from a2a_server.model.rows import EdgeRow
from a2a_server.model.runs import JOINED, ChildResult, Chunk, Completed

RESULTS: Final = "results"
MOST_BYTES: Final = 4 << 20
NAMED: Final = 5
"""Children that a failure names at most."""


def note_of(completed: Completed, *, own: bool) -> bytes:
    """What is remembered of a handler that has returned. own: it gave a result of its own."""
    said = None if completed.message is None else pack_message(completed.message)
    return encode({"m": said, "p": completed.partial, "o": own})


async def gathered(attempt: RunningAttempt, criterion: str, completed: Completed | None) -> End:
    """How the run ends. completed: what its handler returned; None = an earlier run's did."""
    if completed is not None:
        note = note_of(completed, own=completed.message is not None or attempt.wrote)
    else:
        note = await attempt.recall(JOINED, RETURNED) or note_of(Completed(), own=False)
    edges = await attempt.joins()
    count = _count(edges)
    waiting = Waiting((), len(edges), RETURNED, note, returned=True)
    if count.met(criterion):
        return await _completed(attempt, edges, waiting, decode(note))
    if count.lost(criterion):
        return End(EndKind.FAILED, await _lost(attempt, edges, criterion, count))
    return End(EndKind.PAUSED, waiting=waiting)


def _count(edges: Sequence[EdgeRow]) -> Count:
    still = sum(edge.done == 0 for edge in edges)
    completed = sum(abs(edge.done) == State.COMPLETED for edge in edges)
    return Count(still, completed, len(edges) - still - completed)


async def _completed(attempt: RunningAttempt, edges: Sequence[EdgeRow], waiting: Waiting, note: dict[str, Any]) -> End:
    if edges and not note["o"]:
        listed = await _listed([id_of(edge.upstream) for edge in edges], attempt.results)
        attempt.emit(Chunk(RESULTS, (Data(listed),), last=True))
    said = None if note["m"] is None else unpack_message(note["m"])
    end = outcomes.completed(Completed(said, note["p"]))
    return End(EndKind.COMPLETED, message=end.message, partial=end.partial, waiting=waiting)


async def _listed(ids: Sequence[str], results: Callable[[Sequence[str]], Awaitable[Sequence[ChildResult]]]) -> Json:
    listed: list[Json] = []
    size = 0
    for child in ids:
        (result,) = await results([child])
        entry: JsonObject = {"taskId": result.id, "state": result.state.name.lower(), "result": None}
        if result.state is State.COMPLETED:
            value: Json = result.text or None if result.data is None else result.data
            size += len(canonical(value))
            entry |= {"result": value} if size <= MOST_BYTES else {"omitted": True}
        listed.append(entry)
    return listed


async def _lost(attempt: RunningAttempt, edges: Sequence[EdgeRow], criterion: str, count: Count) -> str:
    failed = [id_of(edge.upstream) for edge in edges if edge.done and abs(edge.done) != State.COMPLETED]
    found = await attempt.results(failed[:NAMED])
    names = ", ".join(f"{child.id} ({child.state.name.lower()})" for child in found)
    more = f" and {len(failed) - NAMED} others" if len(failed) > NAMED else ""
    which = f" Not completed: {names}{more}." if failed else ""
    return (
        f"The task needed {criterion} of its subtasks to complete (completeWhen), which cannot come true any more: of "
        f"{count.all} {count.completed} completed.{which}"
    )
