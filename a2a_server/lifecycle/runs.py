"""Runs of a task: claimed and reported on; how they end is in `endings`.

Theory of operation
-------------------
Three counters: `fence` grows with every claim and is what every later write of the run must name; `attempt` grows when
a run ends in a retryable failure or a crash and is what `max_attempts` bounds; `crashes` grows when a run's worker
died. A run that pauses or is handed back costs nothing.
`alarm` of a leased task lies a little behind the moment at which its worker ends the run itself, so the sweeper acts
only for workers that could not. What that moment is, the timeout of the run or the deadline of the task, is decided as
the run begins and kept with the task (`TaskSpec.cut_short`): a run that is at work keeps its times, whatever becomes of
the task's deadline, and worker and sweeper say the same of it.

Source: core.md section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import LeaseLost
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.endings import RESUMED, Cause, End, EndKind, finish
from a2a_server.lifecycle.gates import NOBODY, Standing, place_of
from a2a_server.lifecycle.judging import judge
from a2a_server.lifecycle.requirements import UNBOUNDED, Pool, pool_of
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.objects import ArtifactEvent, JsonObject, Lane, Phase, State
from a2a_server.model.rows import ArtifactRow, EventKind, JournalKind, Key, StateRow, TaskRow
from a2a_server.model.turns import ClaimNeed, Needs
from a2a_server.policy import CLASS, SECOND, SUSPECT_CRASHES, SWEEP_SLACK, RetryPolicy
from a2a_server.values import value_class

ROW_FORMAT = 1
"""The format of task rows that this version writes and can run."""


def lease(turn: Turn, row: TaskRow, worker: Key, grace: int) -> TaskRow:
    """Give a READY task to a worker; the first claim makes it WORKING.

    grace: how long the worker lets a run clean up that it stopped, microseconds.
    """
    row, ends_at = _bounded(turn, row)
    due_at = ends_at + grace + SWEEP_SLACK
    row = changed(row, worker=worker, fence=row.fence + 1)
    if row.state is State.WORKING:
        row = turn.put(moved(row, State.WORKING, Phase.LEASED, due_at=due_at))
        return turn.journal(row, JournalKind.LEASED, fence=row.fence)
    return turn.status(row, State.WORKING, Phase.LEASED, due_at=due_at)


def _bounded(turn: Turn, row: TaskRow) -> tuple[TaskRow, int]:
    """The task with what ends a run that begins now, and when that is; last runs have their grace alone."""
    spec = decode_spec(row.spec)
    if spec.failing:
        return row, turn.now
    timeout_at = turn.now + round(spec.timeout_seconds * SECOND)
    cut_short = 0 < row.deadline_at <= timeout_at
    if cut_short is not spec.cut_short:
        row = changed(row, spec=encode_spec(replace(spec, cut_short=cut_short)))
    return row, row.deadline_at if cut_short else timeout_at


@value_class(frozen=True, slots=True)
class Claimed:
    """The tasks that the worker now runs. more: others may be claimable at once. waits: what the probe found."""

    rows: tuple[TaskRow, ...]
    more: bool
    waits: TaskRow | None = None


@value_class(frozen=True, slots=True)
class Claim:
    """Lease up to `limit` tasks of `queues` to `worker`.

    hinted: where to look first. suspects: whether it may take one task that has crashed its workers before. grace: see
    `lease`. lanes: only tasks of these, () = of all. standing: limits for everybody. pool: what the worker has left for
    tasks that need part of it; one that does not fit is left where it is. look: how many candidates to look at where
    that is more than `limit`: where gates refuse many, those behind them are found sooner.
    above: queues of which only tasks in `above_lanes` are taken. probe: a queue whose first ready task is looked at,
    and left, as it does not fit ('' = none). undoes: whether the worker can do last runs; else they are left where they
    are, with the alarm that ends them.
    """

    worker: Key
    queues: tuple[str, ...]
    limit: int
    hinted: tuple[Key, ...] = ()
    suspects: bool = True
    grace: int = 0
    lanes: tuple[Lane, ...] = ()
    standing: Standing | None = None
    pool: Pool = UNBOUNDED
    look: int = 0
    above: tuple[str, ...] = ()
    above_lanes: tuple[Lane, ...] = ()
    probe: str = ""
    undoes: bool = True
    urgent: bool = True
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """Candidates, and whom a gate that they leave unused could take instead."""
        needs.claims.append(self._need)
        needs.claims += [need for need in (self._above, self._probe) if need is not None]
        needs.workers.add(self.worker)
        needs.held = max(needs.held, self.limit)

    @property
    def _need(self) -> ClaimNeed:
        crashes = SUSPECT_CRASHES if self.suspects else SUSPECT_CRASHES - 1
        most = max(self.limit, self.look)
        return ClaimNeed(self.queues, most, self.hinted, crashes, ROW_FORMAT, self.lanes)

    @property
    def _above(self) -> ClaimNeed | None:
        return self._need._replace(queues=self.above, lanes=self.above_lanes) if self.above else None

    @property
    def _probe(self) -> ClaimNeed | None:
        return self._need._replace(queues=(self.probe,), limit=1, hinted=()) if self.probe else None

    def _candidates(self, turn: Turn) -> Sequence[Key]:
        found = turn.candidates(self._need)
        if (above := self._above) is None:
            return found
        return sorted({*found, *turn.candidates(above)}, key=lambda key: place_of(turn.rows[key]))

    def _waiting(self, turn: Turn) -> TaskRow | None:
        """The task that the probe found, unless a gate keeps it waiting anyway."""
        for key in turn.candidates(self._probe) if self._probe else ():
            row = turn.rows[key]
            closed = turn.gates.closed(row.gates, place_of(row))
            if row.phase is Phase.READY and not (closed and _holds(turn, row, closed)):
                return row
        return None

    def further(self, claimed: Claimed, most: int) -> int:
        """How many candidates the next claim should look at, at most `most`: more where gates refused what it saw."""
        refused = claimed.more and len(claimed.rows) < self.limit
        return min(2 * max(self.limit, self.look), most) if refused else 0

    def decide(self, turn: Turn) -> Claimed:
        """Never raises: an empty claim means "ask again later". A worker that was declared dead gets nothing."""
        if turn.is_dead(self.worker):
            return Claimed((), more=False)
        taken: list[TaskRow] = []
        suspects, pool = self.suspects, self.pool
        passed = False
        turn.gates.standing = self.standing or NOBODY
        for key in self._candidates(turn):
            row = turn.rows[key]
            suspect = row.crashes >= SUSPECT_CRASHES
            if row.phase is not Phase.READY or (suspect and not suspects) or (not self.undoes and is_last_run(row)):
                passed = True
                continue
            if (closed := turn.gates.closed(row.gates, place_of(row))) and (closed := _holds(turn, row, closed)):
                due_at = row.due_at if is_last_run(row) else row.deadline_at
                turn.put(moved(row, row.state, Phase.HELD, held_by=closed, due_at=due_at))
                passed = True
                continue
            if CLASS in row.queue:
                share = pool_of(row)
                if not share.fits(pool):
                    continue
                pool = pool.without(share)
            suspects = suspects and not suspect
            taken.append(lease(turn, row, self.worker, self.grace))
            if len(taken) == self.limit:
                break
        return Claimed(tuple(taken), more=passed or len(taken) == self.limit, waits=self._waiting(turn))


def _holds(turn: Turn, row: TaskRow, closed: str) -> str:
    """The gate that holds the task, one of whose gates is closed; '' = none, since it is a last run."""
    return turn.gates.closed(row.gates, place_of(row), last=True) if is_last_run(row) else closed


@value_class(frozen=True, slots=True)
class Draft:
    """An event (or, with `journal`, an entry of the journal) that has no number yet.

    said: what the body says, where it is nothing but text; whoever hears of the event need not decode it then.
    """

    kind: EventKind | None
    body: bytes = b""
    artifact: int | None = None
    journal: JsonObject | None = None
    said: ArtifactEvent | None = None


@value_class(frozen=True, slots=True)
class TakeDraft:
    """A take to write: `row` without the numbers that only the turn knows.

    opened, closed: the position of the draft that opened or closed it in this report (None = an earlier one did, or
    none has).
    """

    row: ArtifactRow
    opened: int | None = None
    closed: int | None = None


@value_class(frozen=True, slots=True)
class Reported:
    """The task after the report, and the takes as they were written."""

    row: TaskRow
    takes: tuple[ArtifactRow, ...] = ()


@value_class(frozen=True, slots=True)
class Report:
    """What a run said since its last report, and how it ended (None = it goes on).

    last_n: the number of the task's last event, as its run knows it. `max_events` bounds the task's log; beyond it the
    task fails.
    """

    key: Key
    fence: int
    drafts: tuple[Draft, ...] = ()
    takes: tuple[TakeDraft, ...] = ()
    states: tuple[StateRow, ...] = ()
    end: End | None = None
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    last_n: int = 0
    max_events: int = 1_000_000
    weight: int = 512
    urgent: bool = True

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task; when it ends, whom its gates take next, and the takes that the run may have left open."""
        needs.tasks.add(self.key)
        overflow = self._overflows(self.last_n)
        if self.end is not None and self.end.waiting is not None:
            needs.tasks.update(self.end.waiting.children)
            needs.waits.add(self.key)
        if self.end is not None or overflow:
            needs.held += 1
        if overflow or (self.end is not None and (self.end.kind in RESUMED or not self.takes)):
            needs.takes.add(self.key)

    def _overflows(self, last_n: int) -> bool:
        if last_n + len(self.drafts) < self.max_events:
            return False
        return last_n + sum(draft.kind is not None for draft in self.drafts) >= self.max_events

    def decide(self, turn: Turn) -> Reported:
        """Raises LeaseLost when the run no longer holds the task."""
        row = turn.rows.get(self.key)
        if row is None or row.phase is not Phase.LEASED or row.fence != self.fence:
            raise LeaseLost
        return self.written(turn, row)

    def written(self, turn: Turn, row: TaskRow) -> Reported:
        """Write it to the task that the run holds."""
        if not row.visible and any(draft.kind is not None for draft in self.drafts):
            row = turn.put(changed(row, visible=True))
        if self.end is not None:
            judge(turn, row, self.end)
        if self._overflows(row.last_n):
            text = f"The task wrote more events than the server keeps for one task ({self.max_events})."
            return Reported(finish(turn, row, End(EndKind.FAILED, text, cause=Cause.EVENTS), self.retries))
        numbers: list[int] = []
        for draft in self.drafts:
            if draft.kind is None:
                row = turn.journal(row, JournalKind.LOG, **(draft.journal or {}))
            else:
                row = turn.append(row, draft.kind, draft.body, draft.artifact, draft.said)
            numbers.append(row.last_n)
        takes = tuple(_numbered(draft, numbers, row.last_n) for draft in self.takes)
        for take in takes:
            turn.artifact(take)
        for state in self.states:
            turn.remember(state)
        if self.end is not None:
            row = finish(turn, row, self.end, self.retries)
        return Reported(row, takes)


def _numbered(draft: TakeDraft, numbers: list[int], last_n: int) -> ArtifactRow:
    row = draft.row
    first_n = row.first_n if draft.opened is None else numbers[draft.opened]
    if not row.closed:
        return row._replace(first_n=first_n)
    return row._replace(first_n=first_n, last_n=last_n if draft.closed is None else numbers[draft.closed])
