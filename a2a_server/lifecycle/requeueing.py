"""When a task starts that waits for its time: sooner or later than it was going to.

Who requeues a task may say how long it waits. Where nobody says it, the wait doubles with every requeue of the task
before, also with those whose wait was said; so whoever requeues again and again asks ever less often.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.starting import remembered_start
from a2a_server.lifecycle.states import TERMINAL, moved
from a2a_server.lifecycle.turn import Turn, speech
from a2a_server.model.objects import TASK_URI, JsonObject, Phase, State
from a2a_server.model.rows import JournalKind, TaskName, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND, RetryPolicy, alarm
from a2a_server.values import value_class

WAITS: Final = RetryPolicy(base=60 * SECOND, limit=3600 * SECOND)
"""The wait that nobody says: a minute at first, an hour at most."""


@value_class(frozen=True, slots=True)
class Requeue:
    """Start the task that its owner calls `name` in `delay` microseconds; 0 = now, None = by `WAITS`.

    It waits for its time already.
    """

    name: TaskName
    delay: int | None = None
    urgent: bool = False
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task."""
        needs.names.add(self.name)

    def check(self, turn: Turn) -> TaskRow:
        """The task, which waits for its time. Changes nothing. Raises TaskNotFound, UnsupportedOperation."""
        row = turn.named(self.name)
        if row is None or not row.visible:
            raise TaskNotFound
        if row.phase is not Phase.SCHEDULED:
            if row.state in TERMINAL:
                raise UnsupportedOperation(
                    f"The task has ended ({row.state.name.lower()}); try it again as a new task."
                )
            place = row.phase.name.lower()
            raise UnsupportedOperation(
                f"Only a task that waits for its time (phase scheduled) is requeued; this one is in phase {place}."
            )
        return row

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now. Raises as `check`."""
        row = self.check(turn)
        spec = decode_spec(row.spec)
        spec = replace(spec, requeued=spec.requeued + 1)
        delay = WAITS.delay(spec.requeued, jitter=1.0) if self.delay is None else self.delay
        at = turn.now + delay
        row = turn.journal(row, JournalKind.LOG, level="info", text=f"Requeued to start at {timestamp(at)}.")
        if not row.fence and (starts_at := remembered_start(spec, at, row.deadline_at)):
            spec = replace(spec, starts_at=starts_at)
        row = changed(row, spec=encode_spec(spec))
        if not delay:
            row = turn.put(moved(row, row.state, Phase.READY, due_at=row.deadline_at))
            return turn.journal(row, JournalKind.PROMOTED)
        due_at = alarm(at, row.deadline_at)
        if row.state is State.SUBMITTED:
            return turn.put(moved(row, row.state, Phase.SCHEDULED, due_at=due_at))
        number = row.attempt + 1
        text = f"Requeued. Next: attempt {number} of {row.max_attempts} at {timestamp(at)}."
        about: JsonObject = {TASK_URI: {"attempt": number, "maxAttempts": row.max_attempts, "retryAt": timestamp(at)}}
        return turn.status(row, row.state, Phase.SCHEDULED, speech(row, text), metadata=about, due_at=due_at)
