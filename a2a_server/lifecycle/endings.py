"""How runs end, and tasks that no run holds: completed, failed, canceled, paused, tried again.

While `cancel_at` is set every end but a returned result is CANCELED. A task whose skill has something to undo does not
end as failed or canceled at once: it gets a last run, in which its handler is not called and the roll-back is. Why it
ends is written first (`TaskSpec.failing`), so nothing that is undone goes on afterwards, whoever dies. A last run has
an end of its own: a task that nobody takes up for `LAST_RUN_WAIT` ends without, and so does one whose workers died too
often, because whatever kills workers must not be started again.

Source: core.md sections 5 and 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, StrEnum
from typing import Final, cast

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.criteria import unpassed
from a2a_server.lifecycle.dead_letters import Dead, mark
from a2a_server.lifecycle.joining import Waiting, grew, wait
from a2a_server.lifecycle.keeping import stored_files, use
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn, sentence, speech
from a2a_server.lifecycle.undoing import is_last_run
from a2a_server.model.objects import TASK_URI, JsonObject, Message, Phase, Role, State
from a2a_server.model.rows import NO_KEY, JournalKind, StateRow, TaskRow
from a2a_server.model.runs import ASKED, Checked, Pause, Want
from a2a_server.model.times import timestamp
from a2a_server.policy import POISON_CRASHES, SECOND, RetryPolicy, alarm
from a2a_server.values import value_class


class EndKind(Enum):
    """How a run ended."""

    COMPLETED = "completed"
    REJECTED = "rejected"
    FAILED = "failed"
    TRANSIENT = "transient"
    CANCELED = "canceled"
    PAUSED = "paused"
    HANDED_BACK = "handed_back"


class Cause(StrEnum):
    """Why a task failed that is no dead letter, where nobody said that it must."""

    INTERNAL = "internal"
    CHECKS = "checks"
    CHILDREN = "children"
    EVENTS = "events"


RESUMED = frozenset({EndKind.TRANSIENT, EndKind.PAUSED, EndKind.HANDED_BACK})
"""Ends after which the task usually runs again; what such a run left open may be continued."""

TOO_LONG: Final = "The run took longer than the task's timeoutSeconds and was ended."
TOO_LATE: Final = "The task did not end before its deadline."

_UNTOLD = "The task failed."
LAST_RUN_WAIT: Final = 600 * SECOND
"""How long a task waits for its last run before it ends without."""

_ASKING = {Want.INPUT: State.INPUT_REQUIRED, Want.AUTH: State.AUTH_REQUIRED}


SETTLED = frozenset({EndKind.REJECTED, EndKind.FAILED, EndKind.CANCELED, EndKind.HANDED_BACK})
"""Ends that say what becomes of the task, whatever becomes of its artifacts."""


@value_class(frozen=True, slots=True)
class End:
    """The end of a run.

    text: what clients read (of a transient failure: its reason). after: delay before the next attempt in microseconds
    (None = the back-off's). jitter: uniform in 0.0-1.0, for the back-off. pause, patience: what was asked, and how long
    an answer may take, microseconds. waiting: the children that a run that paused waits for; of one that completed,
    those whose ends it took in. dead: why a failed task is a dead letter, None = it is none. checks: what was said of
    its result. cause: why it failed otherwise, None = its agent said so.
    """

    kind: EndKind
    text: str = ""
    message: Message | None = None
    partial: str = ""
    after: int | None = None
    jitter: float = 1.0
    pause: Pause | None = None
    patience: int = 0
    waiting: Waiting | None = None
    dead: Dead | None = None
    checks: Sequence[Checked] = ()
    cause: Cause | None = None


def overran(*, cut_short: bool) -> End:
    """The end of a run whose time is up. cut_short: by its task's deadline; else one run may not take longer."""
    text, dead = (TOO_LATE, Dead.DEADLINE) if cut_short else (TOO_LONG, Dead.TIMEOUT)
    return End(EndKind.FAILED, text, dead=dead)


def finish(turn: Turn, row: TaskRow, end: End, retries: RetryPolicy) -> TaskRow:
    """Take a leased task from its run, by how the run ended."""
    if _gave_a_result(end) and (missed := unpassed(_named_checks(row), end.checks)):
        end = End(EndKind.FAILED, missed, checks=end.checks, cause=Cause.CHECKS)
    if end.kind is EndKind.COMPLETED and not _has_more_children(turn, row, end):
        if end.message is not None:
            use(turn, row, stored_files(end.message.parts))
        return turn.status(row, State.COMPLETED, Phase.FINAL, end.message, metadata=_about(end))
    if end.kind is EndKind.HANDED_BACK and (not row.cancel_at or is_last_run(row)):
        row = turn.put(moved(row, row.state, Phase.READY, worker=NO_KEY, due_at=waits_until(turn, row)))
        return turn.journal(row, JournalKind.HANDED_BACK, fence=row.fence)
    if row.cancel_at or end.kind is EndKind.CANCELED:
        return canceled(turn, row)
    if end.kind is EndKind.REJECTED:
        return turn.status(row, State.REJECTED, Phase.FINAL, speech(row, end.text))
    if end.waiting is not None or end.pause is not None:
        return _waits(turn, row, end)
    failing = end.kind is EndKind.FAILED
    about, code = _about(end), _code(row, end)
    return failed(turn, row, end.text, end.dead, about=about, code=code) if failing else _retry(turn, row, end, retries)


def _gave_a_result(end: End) -> bool:
    return end.kind is EndKind.COMPLETED or (end.waiting is not None and end.waiting.returned)


def _named_checks(row: TaskRow) -> Sequence[str]:
    wishes = decode_spec(row.spec).wishes
    return () if wishes is None else wishes.checks


def _about(end: End) -> JsonObject | None:
    about: JsonObject = {"partial": end.partial} if end.partial else {}
    if end.checks:
        about["checks"] = [cast("JsonObject", check) for check in end.checks]
    return {TASK_URI: about} if about else None


def _code(row: TaskRow, end: End) -> str:
    missed = [check for check in end.checks if not check["passed"]]
    if end.cause is None and missed:
        named = _named_checks(row)
        return Cause.CHECKS if any(check["required"] or check["name"] in named for check in missed) else ""
    return end.cause or ""


def _waits(turn: Turn, row: TaskRow, end: End) -> TaskRow:
    if end.waiting is not None:
        return wait(turn, row, end.waiting)
    return row if end.pause is None else _paused(turn, row, end.pause, end.patience)


def _has_more_children(turn: Turn, row: TaskRow, end: End) -> bool:
    return end.waiting is not None and grew(turn, row, end.waiting.need)


def crashed(turn: Turn, row: TaskRow) -> TaskRow:
    """Take a leased task from a worker that died. Its next run starts at once, unless too many ended so."""
    row = changed(row, attempt=row.attempt + 1, crashes=row.crashes + 1)
    row = turn.journal(row, JournalKind.CRASH, fence=row.fence, worker=row.worker.hex())
    if row.crashes >= POISON_CRASHES:
        if not row.cancel_at:
            mark(turn, row, Dead.POISON)
        text = f"Workers stopped {row.crashes} times while they ran this task; it is not tried again."
        return _end(turn, row, text, code=Dead.POISON)
    if is_last_run(row):
        return turn.put(moved(row, row.state, Phase.READY, worker=NO_KEY, due_at=waits_until(turn, row)))
    if row.cancel_at:
        return canceled(turn, row)
    text = "The worker that ran the task stopped."
    if row.attempt >= row.max_attempts:
        text = f"{text} The task allows no more attempts (maxAttempts {row.max_attempts})."
        return failed(turn, row, text, Dead.ATTEMPTS)
    return _again(turn, row, text, 0)


def failed(
    turn: Turn, row: TaskRow, text: str, dead: Dead | None = None, *, about: JsonObject | None = None, code: str = ""
) -> TaskRow:
    """End a task as failed: at once, or behind a last run.

    dead: why it is a dead letter, None = it is none. about: metadata of its last status; a last run brings its own.
    code: names why it failed where `dead` does not.
    """
    if dead is not None and not row.cancel_at:
        mark(turn, row, dead)
    code = dead or code
    return _last_run(turn, row, text, code) if _owes_a_run(row) else _end(turn, row, text, about, code)


def canceled(turn: Turn, row: TaskRow) -> TaskRow:
    """End a task as canceled: at once, or behind a last run."""
    asked = row if row.cancel_at else changed(row, cancel_at=turn.now)
    if _owes_a_run(row):
        return _last_run(turn, asked, "The task was canceled.")
    if is_last_run(row) and row.phase is not Phase.LEASED:  # that run ends it
        return row if row.cancel_at else turn.put(asked)
    return _end(turn, asked, "")


def given_up(turn: Turn, row: TaskRow) -> TaskRow:
    """End a task whose last run took too long, or never came."""
    return _end(turn, row, "")


def waits_until(turn: Turn, row: TaskRow) -> int:
    """The alarm of a task that waits to be run: its deadline, and for a last run the longest wait."""
    return turn.now + LAST_RUN_WAIT if is_last_run(row) else row.deadline_at


def _owes_a_run(row: TaskRow) -> bool:
    spec = decode_spec(row.spec)
    return bool(row.fence) and spec.rolls_back and not spec.failing


def _last_run(turn: Turn, row: TaskRow, reason: str, code: str = "") -> TaskRow:
    spec = replace(decode_spec(row.spec), failing=reason or _UNTOLD, failing_code=code)
    row = changed(row, spec=encode_spec(spec))
    due_at = turn.now + LAST_RUN_WAIT
    if row.state is not State.WORKING:
        return turn.status(row, State.WORKING, Phase.READY, due_at=due_at)
    return turn.put(moved(row, row.state, Phase.READY, worker=NO_KEY, held_by="", due_at=due_at))


def _end(turn: Turn, row: TaskRow, text: str, about: JsonObject | None = None, code: str = "") -> TaskRow:
    if row.cancel_at:
        return turn.status(row, State.CANCELED, Phase.FINAL)
    spec = decode_spec(row.spec)
    said = speech(row, spec.failing or text)
    return turn.status(row, State.FAILED, Phase.FINAL, said, metadata=coded(spec.failing_code or code, about))


def coded(code: str, about: JsonObject | None = None) -> JsonObject | None:
    """The metadata of a last status, with the name of why the task ended so; '' = there is nothing to name."""
    if not code:
        return about
    told = (about or {}).get(TASK_URI)
    return {TASK_URI: {**(told if isinstance(told, dict) else {}), "code": str(code)}}


def _paused(turn: Turn, row: TaskRow, pause: Pause, patience: int) -> TaskRow:
    turn.remember(StateRow(row.key, ASKED, pause.name, 0, row.fence, pause.note))
    use(turn, row, stored_files(pause.message.parts))
    said = replace(pause.message, role=Role.AGENT, id=speech(row, "").id, context_id=row.context, task_id=row.id)
    due_at = alarm(turn.now + patience, row.deadline_at)
    return turn.status(row, _ASKING[pause.want], Phase.PAUSED, said, due_at=due_at)


def _retry(turn: Turn, row: TaskRow, end: End, retries: RetryPolicy) -> TaskRow:
    row = turn.journal(changed(row, attempt=row.attempt + 1), JournalKind.RETRY, fence=row.fence, reason=end.text)
    if row.attempt >= row.max_attempts:
        times = "once" if row.attempt == 1 else f"{row.attempt} times"
        text = f"{sentence(end.text)} Tried {times}; the task allows no more attempts (maxAttempts {row.max_attempts})."
        return failed(turn, row, text, Dead.ATTEMPTS)
    delay = retries.delay(row.attempt, end.jitter) if end.after is None else end.after
    return _again(turn, row, end.text, delay)


def _again(turn: Turn, row: TaskRow, reason: str, delay: int) -> TaskRow:
    at, number = turn.now + delay, row.attempt + 1
    metadata: JsonObject = {
        TASK_URI: {"attempt": number, "maxAttempts": row.max_attempts, "retryAt": timestamp(at)},
    }
    message = speech(row, f"{sentence(reason)} Next: attempt {number} of {row.max_attempts} at {timestamp(at)}.")
    due_at = alarm(at if delay else 0, row.deadline_at)
    phase = Phase.SCHEDULED if delay else Phase.READY
    return turn.status(row, row.state, phase, message, metadata=metadata, due_at=due_at)
