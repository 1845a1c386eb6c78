"""How a run ended: from what its handler returned or raised to an `End`. The one place that judges exceptions.

What clients read is either the agent's own text (`Reject`, `Fail`, `Retry`) or names the rule; causes go to the log.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from a2a_server.errors import Fail, Reject, Retry
from a2a_server.lifecycle.endings import Cause, End, EndKind, overran
from a2a_server.lifecycle.joining import Waiting
from a2a_server.lifecycle.labels import key_of
from a2a_server.model.runs import Completed, Join, Pause, SkillSpec, Stopping
from a2a_server.policy import SECOND

TRANSIENT = (OSError, TimeoutError)
"""Exceptions after which trying again may help, for every skill. Source: core.md section 13."""

LONGEST_WAIT_SECONDS: Final = 366 * 86_400
"""What an agent can ask to wait before the next attempt, at most; as long as a client can delay a task."""

_COMPLETED: Final = End(EndKind.COMPLETED)


def completed(result: Completed) -> End:
    """The end of a run that returned."""
    if result.message is None and not result.partial:
        return _COMPLETED
    return End(EndKind.COMPLETED, message=result.message, partial=_told(result.partial))


def paused(pause: Pause | Join, patience_seconds: float) -> End:
    """The end of a run that asked, or joins; `patience_seconds` is how long the answer may take."""
    if isinstance(pause, Join):
        keys = tuple(key_of(child) for child in pause.children)
        return End(EndKind.PAUSED, waiting=Waiting(keys, pause.need, pause.name, pause.note))
    return End(EndKind.PAUSED, pause=pause, patience=round(patience_seconds * SECOND))


def swallowed(pause: Pause | Join | None) -> End:
    """The end of a run whose handler asked or joined and went on."""
    did = "joined" if isinstance(pause, Join) else "asked"
    return End(
        EndKind.FAILED,
        f"The handler went on after it had {did}; it must let the exception Paused pass through it.",
        cause=Cause.INTERNAL,
    )


def stopped(reason: Stopping | None, *, cut_short: bool = False) -> End | None:
    """The end of a run that was stopped; None when the task is no longer this run's to end.

    cut_short: see `overran`.
    """
    match reason:
        case Stopping.CANCELED:
            return End(EndKind.CANCELED)
        case Stopping.DEADLINE:
            return overran(cut_short=cut_short)
        case Stopping.SHUTDOWN:
            return End(EndKind.HANDED_BACK)
        case Stopping.LEASE_LOST:
            return None
        case None:
            return End(EndKind.FAILED, "The agent canceled its own run.", cause=Cause.INTERNAL)


def raised(error: BaseException, skill: SkillSpec, *, error_id: str, jitter: float) -> End:
    """The end of a run that raised; `error_id` finds the cause in the log, `jitter` (0.0-1.0) spreads the retries."""
    match error:
        case Reject():
            return End(EndKind.REJECTED, _told(error.text))
        case Fail():
            return End(EndKind.FAILED, _told(error.text))
        case Retry():
            return End(EndKind.TRANSIENT, _told(error.text), after=_after(error.after_seconds), jitter=jitter)
    name = f"The skill '{skill.id}'"
    if isinstance(error, (*TRANSIENT, *skill.retry_on)):
        return End(EndKind.TRANSIENT, f"{name} met a transient failure (error {error_id}).", jitter=jitter)
    return End(EndKind.FAILED, f"{name} failed with an unexpected error (error {error_id}).", cause=Cause.INTERNAL)


def is_expected(error: BaseException) -> bool:
    """Whether the agent raised this on purpose, so that its log needs no traceback."""
    return isinstance(error, (Reject, Fail, Retry, asyncio.CancelledError))


def _told(text: object) -> str:
    """An agent may raise with anything; what clients read is text that can be written."""
    return str(text).encode(errors="replace").decode()


def _after(seconds: float | None) -> int | None:
    if seconds is None or math.isnan(seconds):
        return None
    return round(min(max(seconds, 0.0), LONGEST_WAIT_SECONDS) * SECOND)
