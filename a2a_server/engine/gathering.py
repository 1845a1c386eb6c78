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
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Final

from a2a_server.codec import canonical, decode, decode_spec, encode, pack_message, unpack_message
from a2a_server.engine import outcomes
from a2a_server.engine.attempt import RunningAttempt
from a2a_server.engine.children import Family
from a2a_server.engine.limits import Limits
from a2a_server.engine.taskview import view_of
from a2a_server.engine.writer import Writer
from a2a_server.errors import Conflict, LeaseLost
from a2a_server.lifecycle.endings import Cause, End, EndKind
from a2a_server.lifecycle.gathering import GatheredReport, waits_left
from a2a_server.lifecycle.joining import RETURNED, Count, Waiting
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.runs import Report
from a2a_server.model.objects import Data, Json, JsonObject, Message, Role, State
from a2a_server.model.rows import EdgeRow, Key, TaskRow
from a2a_server.model.runs import CHECKS, JOINED, ChildResult, Chunk, Completed
from a2a_server.ports import ArtifactStore, TaskStore

RESULTS: Final = "results"
MOST_BYTES: Final = 4 << 20
NOBODY: Final = Message(Role.USER, ())
"""In the place of the messages of a task that no handler of ours sees."""
NAMED: Final = 5
"""Children that a failure names at most."""


def note_of(completed: Completed, *, own: bool) -> bytes:
    """What is remembered of a handler that has returned. own: it gave a result of its own."""
    said = None if completed.message is None else pack_message(completed.message)
    return encode({"m": said, "p": completed.partial, "o": own})


async def gathered(attempt: RunningAttempt, criterion: str, note: bytes | None, *, left: bool = False) -> End:
    """How the run ends. note: of what its handler returned; None = an earlier run's did. left: no run comes back."""
    if note is None:
        note = await attempt.recall(JOINED, RETURNED) or note_of(Completed(), own=False)
    edges = await attempt.joins()
    count = _count(edges)
    waiting = Waiting((), len(edges), RETURNED, note, returned=True, left=left)
    if count.met(criterion):
        return await _completed(attempt, edges, waiting, decode(note))
    if count.lost(criterion):
        return End(EndKind.FAILED, await _lost(attempt, edges, criterion, count), cause=Cause.CHILDREN)
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


def family_of(
    store: TaskStore, artifacts: ArtifactStore, limits: Limits
) -> Callable[[TaskRow, Callable[[], None]], Family]:
    """How the children of a task are read that no run of ours has."""
    return lambda row, check: Family(row, store, artifacts, retry_seconds=limits.poll_seconds, check=check)


def contents(report: Report) -> dict[str, Any]:
    """The fields of a report."""
    return {field.name: getattr(report, field.name) for field in fields(report)}


class LeftAttempt(RunningAttempt):
    """What is left of the run of an agent that pulled its task and completed it: to end it by its children."""

    __slots__ = ()

    def _report(self, end: End | None) -> Report:
        return GatheredReport(**contents(super()._report(end)))


class Gatherer:
    """Ends tasks that were left to their children. Any number of processes may try: one of them does."""

    def __init__(self, store: TaskStore, artifacts: ArtifactStore, writer: Writer, limits: Limits) -> None:
        self._store = store
        self._artifacts = artifacts
        self._writer = writer
        self._limits = limits

    async def end(self, key: Key) -> None:
        """End the task if its `completeWhen` is decided. Raises what the store and the writer raise."""
        snapshot = await self._store.snapshot(key, 0)
        if snapshot is None or not waits_left(snapshot.task):
            return
        row = snapshot.task
        wishes = decode_spec(row.spec).wishes
        attempt = LeftAttempt(
            row,
            view_of(row, (NOBODY,)),
            writer=self._writer,
            store=self._store,
            artifacts=self._artifacts,
            limits=self._limits,
            retries=self._limits.retries,
            on_lost=_unheard,
            awaited=_awaited,
            spawning=family_of(self._store, self._artifacts, self._limits),
        )
        attempt.restore(snapshot)
        noted = await attempt.recall(CHECKS, CHECKS)
        checks = () if noted is None else decode(noted)["checks"]
        end = await gathered(attempt, "" if wishes is None else wishes.complete_when, None)
        if end.kind is EndKind.PAUSED:
            return
        with suppress(LeaseLost, Conflict):  # it has ended, or has another child: the next look tells
            await attempt.finish(replace(end, checks=checks))


def _awaited(row: TaskRow) -> bool:  # noqa: ARG001 - nothing else is done for the task meanwhile
    return True


def _unheard(error: Exception) -> None:
    """`finish` raises it."""
