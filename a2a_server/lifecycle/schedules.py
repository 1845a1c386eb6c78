"""Schedules: made, changed, paused, and their ticks.

Theory of operation
-------------------
A schedule is a record whose alarm is its next tick. `Fire` locks the record, looks whether it is still the one that was
read, makes the task and moves the alarm to the next tick, all in one turn: so of any number of schedulers one makes the
task of a tick, and whoever comes later finds another record and does nothing. Should a schedule be deleted and made
again under its id, the key that its sends have (`tick_key`) still names each tick once.

Ticks that nobody was there for: `skip` makes a task for the newest one only, and only if it is at most `LATE` old;
`once` makes one for the newest, however old; `all` makes one for each, the oldest first, up to `MOST_BEHIND`, and then
goes on with the newest. Those that are passed over for a newer one count as skipped: all ticks of an interval, and
`MOST_BEHIND` at most of a cron expression, whose ticks can only be counted one by one.

A clock that jumps ahead and back leaves alarms that lie behind the ticks which come next (`is_silenced`). `Realign`
sets them to the next tick from now on; ticks that were acted on meanwhile have their tasks already, under their names.

Weakness: a tick is a promise that a task is made, not that it ran; what is made in the wrong order by `all` is put
right by nobody.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from a2a_server.codec import decode, encode, pack_message, unpack_message
from a2a_server.errors import ClientError, InvalidParams, TaskNotCancelable, TaskNotFound
from a2a_server.lifecycle.cancellation import Cancel
from a2a_server.lifecycle.making import Make
from a2a_server.lifecycle.records import check_rev
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.lifecycle.submission import Submitted
from a2a_server.lifecycle.ticking import first_open, first_tick, last_tick, ticks_between
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import Key, RecordKey, RecordRow, TaskName
from a2a_server.model.schedules import Missed, Overlap, Schedule, Timing
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND
from a2a_server.values import value_class

LATE: Final = 60 * SECOND
"""A tick that is so late is missed."""
MOST_BEHIND: Final = 100
"""Missed ticks that are made up for one by one."""
ERROR_CHARACTERS: Final = 500


def packed(schedule: Schedule) -> bytes:
    """The body of its record."""
    timing = schedule.timing
    body: dict[str, Any] = {
        "a": schedule.agent,
        "t": [timing.starts_at, timing.cron, timing.zone, timing.interval, timing.ends_at],
        "m": pack_message(schedule.message),
        "o": schedule.options,
        "x": schedule.metadata,
        "c": schedule.context,
        "i": schedule.missed.value,
        "l": schedule.overlap.value,
        "n": schedule.max_runs,
        "p": schedule.paused,
        "d": schedule.description,
        "b": schedule.created_at,
        "r": [schedule.runs, schedule.skipped, schedule.behind, schedule.last_at],
        "k": [schedule.last_task.hex(), schedule.last_id],
        "e": schedule.last_error,
    }
    return encode(body)


def unpacked(row: RecordRow) -> Schedule:
    """The schedule that a record keeps."""
    body = decode(row.body)
    runs, skipped, behind, last_at = body["r"]
    last_task, last_id = body["k"]
    return Schedule(
        body["a"],
        Timing(*body["t"]),
        unpack_message(body["m"]),
        body["o"],
        body["x"],
        body["c"],
        Missed(body["i"]),
        Overlap(body["l"]),
        body["n"],
        body["p"],
        body["d"],
        body["b"],
        runs,
        skipped,
        behind,
        last_at,
        Key(bytes.fromhex(last_task)),
        last_id,
        body["e"],
    )


def tick_key(schedule_id: str, tick: int) -> str:
    """What names a tick among all sends of its owner."""
    return f"cron:{schedule_id}:{tick}"


def alarm_of(schedule: Schedule, at: int, now: int) -> int:
    """When its next tick is, at or after `at`, as it stands at `now`; 0 = it has none, or is paused."""
    if schedule.paused or (schedule.max_runs and schedule.runs >= schedule.max_runs):
        return 0
    return first_tick(schedule.timing, max(at, first_open(schedule, now))) or 0


def is_silenced(schedule: Schedule, due_at: int, now: int) -> bool:
    """Whether its alarm lies behind the tick that comes next, or is none: a clock set it that went back since."""
    upcoming = alarm_of(schedule, now, now)
    return upcoming > 0 and not 0 < due_at <= upcoming


@value_class(frozen=True, slots=True)
class Kept:
    """A schedule with the record that keeps it."""

    row: RecordRow
    schedule: Schedule


@value_class(frozen=True, slots=True)
class CreateSchedule:
    """Make a schedule. Idempotent: the same one again changes nothing."""

    key: RecordKey
    schedule: Schedule
    urgent: bool = False
    weight: int = 2048

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> Kept:
        """Raises InvalidParams: there is another one of this id."""
        if (row := turn.links.record(self.key)) is not None:
            kept = unpacked(row)
            if _asked(kept) != _asked(self.schedule):
                raise InvalidParams(
                    "id: there is a schedule of this id; change that one, or choose another id.", path="id"
                )
            return Kept(row, kept)
        schedule = replace(self.schedule, created_at=turn.now)
        due_at = alarm_of(schedule, schedule.timing.starts_at, turn.now)
        return Kept(turn.links.keep(RecordRow(*self.key, 0, due_at, packed(schedule))), schedule)


def _asked(schedule: Schedule) -> Schedule:
    """The schedule without what came of it; a start that nobody gave is the moment at which it was made."""
    return replace(
        _with_history(schedule, Schedule("", schedule.timing, schedule.message, {})),
        timing=replace(schedule.timing, starts_at=0),
    )


def _with_history(schedule: Schedule, history: Schedule) -> Schedule:
    """The schedule with what came of another one."""
    return replace(
        schedule,
        created_at=history.created_at,
        runs=history.runs,
        skipped=history.skipped,
        behind=history.behind,
        last_at=history.last_at,
        last_task=history.last_task,
        last_id=history.last_id,
        last_error=history.last_error,
    )


@value_class(frozen=True, slots=True)
class ChangeSchedule:
    """Change a schedule. schedule: what it shall be, None = as it is; paused: None = as it is.

    rev: only if the record still has this one, 0 = whichever.
    """

    key: RecordKey
    schedule: Schedule | None = None
    paused: bool | None = None
    rev: int = 0
    urgent: bool = False
    weight: int = 2048

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The record."""
        needs.records.add(self.key)

    def decide(self, turn: Turn) -> Kept | None:
        """None: there is no such schedule. Raises InvalidParams: it has another rev.

        Ticks that fell into its pause are gone. What has come of it so far stays.
        """
        row = turn.links.record(self.key)
        if row is None:
            return None
        before = unpacked(row)
        after = before
        if self.schedule is not None:
            after = _with_history(self.schedule, before)
        if self.paused is not None:
            after = replace(after, paused=self.paused)
        if after == before:  # also by this very change, whose turn was in doubt
            return Kept(row, before)
        check_rev(row, self.rev)
        same_time = after.timing == before.timing and not before.paused and row.due_at
        goes_on = same_time and not is_silenced(after, row.due_at, turn.now)
        due_at = alarm_of(after, row.due_at if goes_on else turn.now, turn.now)
        return Kept(turn.links.keep(row._replace(due_at=due_at, body=packed(after))), after)


@value_class(frozen=True, slots=True)
class Realign:
    """Let schedules tick again whose alarms were set by a clock that went back since."""

    keys: tuple[RecordKey, ...]
    urgent: bool = False
    weight: int = 2048

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The records."""
        needs.records.update(self.keys)

    def decide(self, turn: Turn) -> int:
        """How many were silenced."""
        count = 0
        for key in self.keys:
            row = turn.links.record(key)
            if row is not None and is_silenced(schedule := unpacked(row), row.due_at, turn.now):
                turn.links.keep(row._replace(due_at=alarm_of(schedule, turn.now, turn.now)))
                count += 1
        return count


def due_tick(schedule: Schedule, due_at: int, now: int) -> tuple[int, bool]:
    """The tick that is to be acted on at `now`, `due_at` being the first that was not, and whether it makes a task."""
    if schedule.missed is Missed.ALL and schedule.behind < MOST_BEHIND:
        return due_at, True
    newest = last_tick(schedule.timing, due_at, now)
    return newest, schedule.missed is not Missed.SKIP or now - newest <= LATE


@value_class(frozen=True, slots=True)
class Fired:
    """What came of a tick. made: the task, None = none was made. stale: somebody else acted, or nothing is due."""

    made: Submitted | None = None
    why_not: str = ""
    stale: bool = False


@value_class(frozen=True, slots=True)
class Fire:
    """Make the task of a schedule's tick, and set the next one.

    seen: the record as it was read. tick: which one. make: what makes its task, None = none is to be made. why_not: why
    none can be. grace: how long the run of an earlier task may take to stop, microseconds. by_hand: the task is made
    beside the ticks, which go on as they were.
    """

    seen: RecordRow
    tick: int
    make: Make | None
    why_not: str = ""
    grace: int = 0
    by_hand: bool = False
    urgent: bool = True

    @property
    def weight(self) -> int:
        """The record and the task."""
        return 2048 + (self.make.weight if self.make else 0)

    @property
    def _former(self) -> Cancel | None:
        """What would end the newest task so far."""
        schedule = unpacked(self.seen)
        if not schedule.last_task:
            return None
        name = TaskName(self.seen.tenant, self.seen.owner, schedule.agent, schedule.last_id)
        return Cancel(name, self.grace, schedule.last_task)

    def needs(self, needs: Needs, shard: str) -> None:
        """The record, what the new task needs, and the newest one so far."""
        needs.records.add(self.seen.key)
        if self.make is not None:
            self.make.needs(needs, shard)
        if self._former is not None:
            self._former.needs(needs, shard)

    def decide(self, turn: Turn) -> Fired:
        """Why no task is made is noted in the schedule. Raises Conflict, having changed nothing: read it anew."""
        row = turn.links.record(self.seen.key)
        if row is None or row != self.seen:
            return Fired(stale=True)
        before = unpacked(row)
        if not self.by_hand and not self._is_due(before, turn.now):
            return Fired(stale=True)
        made, why_not = self._made(turn, before)
        if self.by_hand and made is not None and made.repeat:
            return Fired(made)
        after = replace(before, last_error=why_not[:ERROR_CHARACTERS])
        if made is not None and not made.repeat:
            after = replace(after, runs=before.runs + 1, last_task=made.row.key, last_id=made.row.id)
        if not self.by_hand:
            upcoming = first_tick(before.timing, self.tick + 1)
            late = upcoming is not None and upcoming <= turn.now
            after = replace(
                after,
                skipped=before.skipped + self._passed_over(before) + (made is None),
                behind=before.behind + 1 if late else 0,
                last_at=self.tick,
            )
        due_at = alarm_of(after, row.due_at if self.by_hand else self.tick + 1, turn.now) if row.due_at else 0
        turn.links.keep(row._replace(due_at=due_at, body=packed(after)))
        return Fired(made, why_not)

    def _passed_over(self, schedule: Schedule) -> int:
        return ticks_between(schedule.timing, self.seen.due_at, self.tick, MOST_BEHIND)

    def _is_due(self, schedule: Schedule, now: int) -> bool:
        """Whether it is the tick that the store's own time says; the clock of who read the record may be behind."""
        if not 0 < self.seen.due_at <= now:
            return False
        tick, makes = due_tick(schedule, self.seen.due_at, now)
        return tick == self.tick and (makes or self.make is None)

    def _made(self, turn: Turn, schedule: Schedule) -> tuple[Submitted | None, str]:
        if self.make is None:
            return None, self.why_not
        if known := self.make.known(turn):
            return known, ""
        former = turn.named(self._former.name) if self._former else None
        busy = former is not None and former.key == schedule.last_task and former.state not in TERMINAL
        if busy and schedule.overlap is Overlap.FORBID:
            return None, "The task of an earlier tick has not ended."
        try:
            made = self.make.decide(turn)
        except ClientError as error:
            return None, error.message
        if busy and schedule.overlap is Overlap.REPLACE and self._former:
            with suppress(TaskNotCancelable, TaskNotFound):
                self._former.decide(turn)
        return made, ""
