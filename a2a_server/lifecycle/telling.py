"""Who is told of a task's events, and how far they are. Source: core.md section 10 ("the log is the outbox").

A turn that adds an event which somebody wants only says when they are due; telling them happens outside of turns, at
least once, and is noted here.
"""

from __future__ import annotations

from typing import Final

from a2a_server.lifecycle.turn import Turn
from a2a_server.model.rows import Key, PushRow
from a2a_server.model.turns import Needs
from a2a_server.values import value_class

AGENT: Final = "agent"
"""The id of the push that tells the agent itself."""


@value_class(frozen=True, slots=True)
class Take:
    """Keep others from telling `push` for `hold` microseconds: whoever takes it tells, or dies and leaves it due."""

    push: PushRow
    hold: int
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task; its pushes come with it."""
        needs.tasks.add(self.push.task)

    def decide(self, turn: Turn) -> PushRow | None:
        """The push as it is now; None when somebody else was first, or it is gone, or not due any more."""
        if self.push.due_at > turn.now or self.push not in turn.pushes(self.push.task):
            return None
        taken = self.push._replace(due_at=turn.now + self.hold)
        turn.push(taken)
        return taken


@value_class(frozen=True, slots=True)
class Told:
    """Note what came of telling `push`, as it was read before.

    cursor_n: the last event that was told of. failed: the next one could not be; it is tried again after `delay`
    microseconds, or never (None).
    """

    push: PushRow
    cursor_n: int
    failed: bool = False
    delay: int | None = 0
    urgent: bool = True
    weight: int = 256

    @property
    def key(self) -> Key:
        """The task."""
        return self.push.task

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task; its pushes come with it."""
        needs.tasks.add(self.key)

    def decide(self, turn: Turn) -> PushRow | None:
        """The push as it is now; None when the task or the push is gone."""
        now = next((push for push in turn.pushes(self.key) if push.id == self.push.id), None)
        if now is None:
            return None
        cursor_n = max(now.cursor_n, self.cursor_n)
        if self.failed:
            dead = self.delay is None
            due_at = 0 if self.delay is None else turn.now + self.delay
            now = now._replace(cursor_n=cursor_n, tries=now.tries + 1, due_at=due_at, dead=dead)
        else:  # an event that came meanwhile has set a later moment
            due_at = 0 if now.due_at == self.push.due_at else now.due_at
            now = now._replace(cursor_n=cursor_n, tries=0, due_at=due_at)
        turn.push(now)
        return now
