"""How runs end, and tasks that no run holds: completed, failed, canceled, paused, tried again.

While `cancel_at` is set every end but a returned result is CANCELED. A skill that rolls back does so in a run, under
its lease, before its task ends as failed or canceled. Where that has not happened the task gets a last run, in which
its handler is not called; `finish` takes the ends FAILED and CANCELED for rolled back. A task whose workers died too
often gets no last run.

Source: core.md sections 5 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.keeping import stored_files, use
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn, speech
from a2a_server.model.objects import TASK_URI, JsonObject, Message, Phase, Role, State
from a2a_server.model.rows import NO_KEY, JournalKind, StateRow, TaskRow
from a2a_server.model.runs import ASKED, Pause, Want
from a2a_server.model.times import timestamp
from a2a_server.policy import POISON_CRASHES, RetryPolicy, alarm


class EndKind(Enum):
    """How a run ended."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    TRANSIENT = "transient"
    CANCELED = "canceled"
    PAUSED = "paused"
    HANDED_BACK = "handed_back"


RESUMED = frozenset({EndKind.TRANSIENT, EndKind.PAUSED, EndKind.HANDED_BACK})
"""Ends after which the task usually runs again; what such a run left open may be continued."""

_FAILURES = {EndKind.REJECTED: State.REJECTED, EndKind.FAILED: State.FAILED}
_ASKING = {Want.INPUT: State.INPUT_REQUIRED, Want.AUTH: State.AUTH_REQUIRED}


@dataclass(frozen=True, slots=True)
class End:
    """The end of a run.

    text: what clients read (of a transient failure: its reason). after: delay before the next attempt in microseconds
    (None = the back-off's). jitter: uniform in 0.0-1.0, for the back-off. pause, patience: what was asked, and how long
    an answer may take, microseconds.
    """

    kind: EndKind
    text: str = ""
    message: Message | None = None
    partial: str = ""
    after: int | None = None
    jitter: float = 1.0
    pause: Pause | None = None
    patience: int = 0

    @property
    def is_message(self) -> bool:
        """Whether a message is all that the run came to."""
        return self.kind is EndKind.COMPLETED and self.message is not None and not self.partial


def fails(end: End, row: TaskRow) -> bool:
    """Whether the task ends as failed or canceled when its run ends so."""
    if end.kind is EndKind.COMPLETED:
        return False
    if row.cancel_at or end.kind in {EndKind.FAILED, EndKind.CANCELED}:
        return True
    return end.kind is EndKind.TRANSIENT and row.attempt + 1 >= row.max_attempts


def finish(turn: Turn, row: TaskRow, end: End, retries: RetryPolicy) -> TaskRow:
    """Take a leased task from its run, by how the run ended."""
    if end.kind is EndKind.COMPLETED:
        metadata: JsonObject | None = {TASK_URI: {"partial": end.partial}} if end.partial else None
        if end.message is not None:
            use(turn, row, stored_files(end.message.parts))
        return turn.status(row, State.COMPLETED, Phase.FINAL, end.message, metadata=metadata)
    if row.cancel_at or end.kind is EndKind.CANCELED:
        return _to_cancel(turn, row, rolled_back=end.kind in {EndKind.CANCELED, EndKind.FAILED})
    if end.kind in _FAILURES:
        return turn.status(row, _FAILURES[end.kind], Phase.FINAL, speech(row, end.text))
    if end.pause is not None:
        return _paused(turn, row, end.pause, end.patience)
    if end.kind is EndKind.HANDED_BACK:
        row = turn.put(moved(row, row.state, Phase.READY)._replace(worker=NO_KEY, due_at=row.deadline_at))
        return turn.journal(row, JournalKind.HANDED_BACK, fence=row.fence)
    return _retry(turn, row, end, retries)


def crashed(turn: Turn, row: TaskRow) -> TaskRow:
    """Take a leased task from a worker that died. Its next run starts at once, unless too many ended so."""
    row = row._replace(attempt=row.attempt + 1, crashes=row.crashes + 1)
    row = turn.journal(row, JournalKind.CRASH, fence=row.fence, worker=row.worker.hex())
    if row.crashes >= POISON_CRASHES:
        text = f"Workers stopped {row.crashes} times while they ran this task; it is not tried again."
        state, said = (State.CANCELED, None) if row.cancel_at else (State.FAILED, speech(row, text))
        return turn.status(row, state, Phase.FINAL, said)
    if row.cancel_at:
        return _to_cancel(turn, row)
    text = "The worker that ran the task stopped."
    if row.attempt >= row.max_attempts:
        return failed(turn, row, f"{text} The task allows no more attempts (maxAttempts {row.max_attempts}).")
    return _again(turn, row, text, 0)


def failed(turn: Turn, row: TaskRow, text: str) -> TaskRow:
    """End a task as failed from outside of its runs, at once or behind a last run."""
    spec = decode_spec(row.spec)
    if row.fence and spec.rolls_back and not spec.failing:
        return _last_run(turn, row._replace(spec=encode_spec(replace(spec, failing=text))))
    return turn.status(row, State.FAILED, Phase.FINAL, speech(row, spec.failing or text))


def canceled(turn: Turn, row: TaskRow) -> TaskRow:
    """Cancel a task that no run holds, at once or behind a last run."""
    return row if row.cancel_at else _to_cancel(turn, row._replace(cancel_at=turn.now))


def _to_cancel(turn: Turn, row: TaskRow, *, rolled_back: bool = False) -> TaskRow:
    if not rolled_back and row.fence and decode_spec(row.spec).rolls_back:
        return _last_run(turn, row)
    return turn.status(row, State.CANCELED, Phase.FINAL)


def _last_run(turn: Turn, row: TaskRow) -> TaskRow:
    if row.state is not State.WORKING:
        return turn.status(row, State.WORKING, Phase.READY)
    return turn.put(moved(row, row.state, Phase.READY)._replace(worker=NO_KEY, held_by="", due_at=0))


def _paused(turn: Turn, row: TaskRow, pause: Pause, patience: int) -> TaskRow:
    turn.remember(StateRow(row.key, ASKED, pause.name, 0, row.fence, pause.note))
    use(turn, row, stored_files(pause.message.parts))
    said = replace(pause.message, role=Role.AGENT, id=speech(row, "").id, context_id=row.context, task_id=row.id)
    due_at = alarm(turn.now + patience, row.deadline_at)
    return turn.status(row, _ASKING[pause.want], Phase.PAUSED, said, due_at=due_at)


def _retry(turn: Turn, row: TaskRow, end: End, retries: RetryPolicy) -> TaskRow:
    row = turn.journal(row._replace(attempt=row.attempt + 1), JournalKind.RETRY, fence=row.fence, reason=end.text)
    if row.attempt >= row.max_attempts:
        times = "once" if row.attempt == 1 else f"{row.attempt} times"
        text = f"{end.text} Tried {times}; the task allows no more attempts (maxAttempts {row.max_attempts})."
        return turn.status(row, State.FAILED, Phase.FINAL, speech(row, text))
    delay = retries.delay(row.attempt, end.jitter) if end.after is None else end.after
    return _again(turn, row, end.text, delay)


def _again(turn: Turn, row: TaskRow, reason: str, delay: int) -> TaskRow:
    at, number = turn.now + delay, row.attempt + 1
    metadata: JsonObject = {
        TASK_URI: {"attempt": number, "maxAttempts": row.max_attempts, "retryAt": timestamp(at)},
    }
    message = speech(row, f"{reason} Next: attempt {number} of {row.max_attempts} at {timestamp(at)}.")
    due_at = alarm(at if delay else 0, row.deadline_at)
    phase = Phase.SCHEDULED if delay else Phase.READY
    return turn.status(row, row.state, phase, message, metadata=metadata, due_at=due_at)
