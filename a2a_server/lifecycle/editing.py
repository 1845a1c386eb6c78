"""Changing what a task was asked to be, as long as that still decides anything.

A change says how each member shall be; what is so already is no change. What may change when: the words for people
(title, description, kind, tags) always; priority, deadline, timeoutSeconds and maxAttempts until the task has ended;
context, metadata and parameters until its first run; runAt as long as the task waits for its time or for others. A run
that is at work keeps the times it began with.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from a2a_server.codec import decode_spec, decode_status, encode_spec
from a2a_server.errors import Changed, Conflict, InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.labels import labels_of
from a2a_server.lifecycle.prioritising import Prioritise
from a2a_server.lifecycle.starting import remembered_start, starts_at_of
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn, ended
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.objects import TASK_URI, Json, JsonObject, Lane, Phase, State, Wishes
from a2a_server.model.rows import JournalKind, TagRow, TaskName, TaskRow
from a2a_server.model.times import moment
from a2a_server.model.turns import Needs
from a2a_server.policy import alarm
from a2a_server.values import value_class

ALWAYS: Final = frozenset({"title", "description", "kind", "tags"})
UNTIL_ENDED: Final = frozenset({"priority", "deadline", "timeoutSeconds", "maxAttempts"})
UNTIL_RUN: Final = frozenset({"context", "metadata", "parameters"})
UNTIL_DUE: Final = frozenset({"runAt"})

_NOT_DUE: Final = frozenset({Phase.SCHEDULED, Phase.WAITING})
_MILLISECOND: Final = 1000
_NO_WISHES: Final = Wishes()


@value_class(frozen=True, slots=True)
class Wanted:
    """How a task shall be. Moments in microseconds, 0 = none."""

    title: str
    description: str
    kind: str
    tags: tuple[str, ...]
    lane: Lane
    deadline_at: int
    timeout_seconds: float
    max_attempts: int
    starts_at: int
    context: JsonObject | None
    metadata: JsonObject | None
    parameters: dict[str, Json]


def standing(row: TaskRow) -> Wanted:
    """How the task is."""
    spec = decode_spec(row.spec)
    wishes = spec.wishes or _NO_WISHES
    return Wanted(
        spec.title,
        wishes.description,
        wishes.kind,
        wishes.tags,
        row.lane,
        row.deadline_at,
        spec.timeout_seconds,
        row.max_attempts,
        starts_at_of(row, spec),
        wishes.context,
        spec.metadata,
        dict(spec.parameters),
    )


@value_class(frozen=True, slots=True)
class Edit:
    """Have a task be as it is wanted to be.

    row: as it was found, of any age. spared: members that stay as they are where they may not be changed any more.
    rev: the revision that `wanted` was made from, None = none. revisions: those that the caller names, None = any.
    patience: how long an answer may take, microseconds.
    """

    row: TaskRow
    wanted: Wanted
    spared: frozenset[str] = frozenset()
    rev: int | None = None
    revisions: frozenset[int] | None = None
    patience: int = 0
    urgent: bool = False

    @property
    def weight(self) -> int:
        """The row and what it becomes."""
        return 2 * len(self.row.spec) + 1024

    @property
    def name(self) -> TaskName:
        """The task."""
        return self.row.name

    def needs(self, needs: Needs, shard: str) -> None:
        """The task, and the end of its lane to be."""
        needs.names.add(self.name)
        Prioritise(self.row, self.wanted.lane).needs(needs, shard)

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now. One that is so already is left as it is, whatever its revision.

        Raises TaskNotFound; Changed: it is at none of `revisions`; Conflict: no longer at `rev`, look again;
        UnsupportedOperation: too late for a change; InvalidParams.
        """
        row = turn.named(self.name)
        if row is None or not row.visible:
            raise TaskNotFound
        before = standing(row)
        if self._is_so(before):  # also by this very change, whose turn was in doubt
            return row
        self._check_revision(turn, row)
        named = self._changed(row, before)
        if not named:
            return row
        wanted = _only(before, self.wanted, named)
        _check(turn, row, wanted, named)
        if "priority" in named:
            row = Prioritise(row, wanted.lane).decide(turn)
        return _written(turn, row, before, wanted, self.patience)

    def _is_so(self, before: Wanted) -> bool:
        return all(_same(name, field, before, self.wanted) for name, field in _FIELDS.items())

    def _check_revision(self, turn: Turn, row: TaskRow) -> None:
        touched = turn.before(row.key) is not row
        if self.revisions is not None and (touched or row.rev not in self.revisions):
            raise Changed(f"The task is at revision {row.rev + touched}; read it again, and change that.")
        if self.rev is not None and (touched or row.rev != self.rev):
            raise Conflict("task")

    def _changed(self, row: TaskRow, before: Wanted) -> frozenset[str]:
        """The members that change. Raises UnsupportedOperation."""
        allowed = ALWAYS
        if not ended(row):
            allowed |= UNTIL_ENDED
        if not (ended(row) or row.fence):
            allowed |= UNTIL_RUN | (UNTIL_DUE if row.phase in _NOT_DUE else frozenset())
        found = {name for name, field in _FIELDS.items() if not _same(name, field, before, self.wanted)}
        late = sorted(found - allowed - self.spared)
        if late:
            raise UnsupportedOperation(f"{late[0]} cannot be changed: the task {_too_late(row)}.", path=late[0])
        if "maxAttempts" in self.spared and self.wanted.max_attempts < _least_attempts(row):
            found -= {"maxAttempts"}
        return frozenset(found & allowed)


_FIELDS: Final = {
    "title": "title",
    "description": "description",
    "kind": "kind",
    "tags": "tags",
    "priority": "lane",
    "deadline": "deadline_at",
    "timeoutSeconds": "timeout_seconds",
    "maxAttempts": "max_attempts",
    "runAt": "starts_at",
    "context": "context",
    "metadata": "metadata",
    "parameters": "parameters",
}


def _same(name: str, field: str, before: Wanted, wanted: Wanted) -> bool:
    was, shall = getattr(before, field), getattr(wanted, field)
    if name in {"deadline", "runAt"}:  # moments are shown in milliseconds, and come back so
        return bool(was // _MILLISECOND == shall // _MILLISECOND)
    return bool(was == shall)


def _only(before: Wanted, wanted: Wanted, named: frozenset[str]) -> Wanted:
    return replace(before, **{_FIELDS[name]: getattr(wanted, _FIELDS[name]) for name in named})


def _check(turn: Turn, row: TaskRow, wanted: Wanted, named: frozenset[str]) -> None:
    if "deadline" in named and 0 < wanted.deadline_at <= turn.now:
        raise InvalidParams("deadline has passed; give a later one or none.", path="deadline")
    least = _least_attempts(row)
    if "maxAttempts" in named and wanted.max_attempts < least:
        raise InvalidParams(_too_few(row, least), path="maxAttempts")


def _too_late(row: TaskRow) -> str:
    if ended(row):
        return f"has ended ({row.state.name.lower()})"
    return "has begun to run" if row.fence else "waits for its turn already"


def _least_attempts(row: TaskRow) -> int:
    """The number of the attempt that goes on or comes next; of a last run, which is none, how many were made."""
    return row.attempt if is_last_run(row) else row.attempt + 1


def _too_few(row: TaskRow, least: int) -> str:
    must = f"maxAttempts must be at least {least}"
    if row.attempt == least:
        return f"{must}: so many attempts were made."
    made = "1 attempt was made" if row.attempt == 1 else f"{row.attempt} attempts were made"
    if row.phase is Phase.LEASED:
        return f"{must}: {made}, and attempt {least} is at work; to have none of it, cancel the task."
    return f"{must}: {made}, and the task waits for attempt {least}; to have none of it, cancel the task."


def _written(turn: Turn, row: TaskRow, before: Wanted, wanted: Wanted, patience: int) -> TaskRow:
    spec = decode_spec(row.spec)
    wishes = replace(
        spec.wishes or _NO_WISHES,
        description=wanted.description,
        kind=wanted.kind,
        tags=wanted.tags,
        context=wanted.context,
    )
    starts_at = spec.starts_at
    if row.phase is Phase.WAITING and not row.fence:
        starts_at = wanted.starts_at
    elif row.phase is Phase.SCHEDULED and not row.fence:
        starts_at = remembered_start(spec, wanted.starts_at, wanted.deadline_at)
    now = replace(
        spec,
        title=wanted.title,
        timeout_seconds=wanted.timeout_seconds,
        metadata=wanted.metadata,
        parameters=wanted.parameters,
        wishes=None if wishes == _NO_WISHES else wishes,
        starts_at=starts_at,
    )
    _relabel(turn, row, labels_of(spec.title, spec.wishes), labels_of(now.title, now.wishes))
    row = changed(
        row,
        spec=encode_spec(now),
        deadline_at=wanted.deadline_at,
        max_attempts=wanted.max_attempts,
    )
    if row.phase is Phase.SCHEDULED and row.state is State.SUBMITTED and wanted.starts_at <= turn.now:
        row = turn.put(moved(row, row.state, Phase.READY, due_at=wanted.deadline_at))
        return turn.journal(row, JournalKind.PROMOTED)
    return turn.put(changed(row, due_at=_due_at(row, before, wanted, patience)))


def _due_at(row: TaskRow, before: Wanted, wanted: Wanted, patience: int) -> int:
    if row.phase in {Phase.LEASED, Phase.FINAL} or is_last_run(row):
        return row.due_at
    if row.phase is Phase.SCHEDULED and row.state is State.SUBMITTED:
        return alarm(wanted.starts_at, wanted.deadline_at)
    if row.phase not in {Phase.SCHEDULED, Phase.PAUSED}:
        return wanted.deadline_at
    at = row.due_at
    if at == before.deadline_at:  # which came first; what comes behind it is found again
        at = _retry_at(row) if row.phase is Phase.SCHEDULED else row.status_at + patience
    return alarm(at, wanted.deadline_at)


def _retry_at(row: TaskRow) -> int:
    """When the next attempt is, as the task's status says."""
    status, _ = decode_status(row.status, row.status_at)
    about = (status.metadata or {}).get(TASK_URI)
    said = about.get("retryAt") if isinstance(about, dict) else None
    return moment(said) if isinstance(said, str) else row.due_at


def _relabel(turn: Turn, row: TaskRow, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    for label in before:
        if label not in now:
            turn.links.untag(TagRow(row.tenant, row.owner, label, row.key))
    for label in now:
        if label not in before:
            turn.links.tag(TagRow(row.tenant, row.owner, label, row.key))
