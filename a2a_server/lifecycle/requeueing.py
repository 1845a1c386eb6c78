"""When a task starts that waits for its time: sooner or later than it was going to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.editing import remembered_start
from a2a_server.lifecycle.states import TERMINAL, moved
from a2a_server.lifecycle.turn import Turn, speech
from a2a_server.model.objects import TASK_URI, JsonObject, Phase, State
from a2a_server.model.rows import JournalKind, TaskName, TaskRow
from a2a_server.model.times import timestamp
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND, alarm

REQUEUE_SECONDS = 60.0
"""The wait that nobody says."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Start the task that its owner calls `name` in `delay` microseconds; 0 = now. It waits for its time already."""

    name: TaskName
    delay: int = round(REQUEUE_SECONDS * SECOND)
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
        at = turn.now + self.delay
        row = turn.journal(row, JournalKind.LOG, level="info", text=f"Requeued to start at {timestamp(at)}.")
        spec = decode_spec(row.spec)
        if not row.fence and (starts_at := remembered_start(spec, at, row.deadline_at)):
            row = changed(row, spec=encode_spec(replace(spec, starts_at=starts_at)))
        if not self.delay:
            row = turn.put(moved(row, row.state, Phase.READY, due_at=row.deadline_at))
            return turn.journal(row, JournalKind.PROMOTED)
        due_at = alarm(at, row.deadline_at)
        if row.state is State.SUBMITTED:
            return turn.put(moved(row, row.state, Phase.SCHEDULED, due_at=due_at))
        number = row.attempt + 1
        text = f"Requeued. Next: attempt {number} of {row.max_attempts} at {timestamp(at)}."
        about: JsonObject = {TASK_URI: {"attempt": number, "maxAttempts": row.max_attempts, "retryAt": timestamp(at)}}
        return turn.status(row, row.state, Phase.SCHEDULED, speech(row, text), metadata=about, due_at=due_at)
