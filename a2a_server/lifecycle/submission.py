"""Sending a message: a new task, a repeat of an earlier send, or words for a task that is there.

Which of the three it is is decided by core.md section 3 and nowhere else. Where the worker of this process has a slot
for it and nothing is ahead, the new task is leased in the same turn (core.md section 2, direct dispatch).
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.runs import ROW_FORMAT, lease
from a2a_server.lifecycle.states import INTERRUPTED
from a2a_server.lifecycle.turn import PLAIN_STATUS, Turn, ended
from a2a_server.model.objects import OPTIONS_URI, Generation, Lane, Phase, Scope, State
from a2a_server.model.rows import NO_KEY, FairKey, Key, MessageRow, SentKey, SentRow, TaskName, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.policy import ahead, alarm

MAX_RANK = 2**53


@dataclass(frozen=True, slots=True)
class Submitted:
    """The task as it stands. repeat: the send had been accepted before. leased: the caller's worker runs it now.

    at_n: the event that the message's acceptance wrote.
    """

    row: TaskRow
    at_n: int
    repeat: bool = False
    leased: bool = False


@dataclass(frozen=True, slots=True)
class Submit:
    """Accept a message.

    key: of the task, should there be a new one. task_id, context: as the client gave them ('' = none); fresh_context is
    used when neither names one. message_id: the client's, or the content's hash where its generation has none. digest:
    hash of the canonical request. window: how long a repeat is recognised, microseconds (0 = never). starts_at and
    deadline_at: moments (0 = none). worker: whose reserved slot runs the task at once
    if nothing is ahead (NO_KEY = none); grace: see `runs.lease`.
    """

    key: Key
    scope: Scope
    agent: str
    generation: Generation
    task_id: str
    context: str
    fresh_context: str
    message_id: str
    digest: bytes
    body: bytes
    spec: bytes
    skill: str
    queue: str
    lane: Lane
    gates: tuple[str, ...]
    max_attempts: int
    window: int
    delay: int = 0
    starts_at: int = 0
    deadline_at: int = 0
    worker: Key = NO_KEY
    grace: int = 0

    @property
    def urgent(self) -> bool:
        """Clients' sends may be refused."""
        return False

    @property
    def weight(self) -> int:
        """The message and the specification."""
        return len(self.body) + len(self.spec) + 512

    @property
    def sent_key(self) -> SentKey:
        """What a repeat has in common with this."""
        return SentKey(self.scope.tenant, self.scope.owner, self.agent, self.task_id, self.message_id)

    @property
    def name(self) -> TaskName:
        """The task that the client named."""
        return TaskName(self.scope.tenant, self.scope.owner, self.agent, self.task_id)

    def needs(self, needs: Needs, shard: str) -> None:
        """The named task, the earlier send, the place in the queue, the gates."""
        if self.task_id:
            needs.names.add(self.name)
        if self.window:
            needs.sent.add(self.sent_key)
        needs.queues.add(self.queue)
        needs.fair.add(FairKey(shard, self.queue, self.lane, self.scope.tenant, self.scope.owner))
        needs.gates.update(self.gates)
        if self.worker:
            needs.workers.add(self.worker)

    def decide(self, turn: Turn) -> Submitted:
        """Raises TaskNotFound, UnsupportedOperation, InvalidParams."""
        if again := self._repeat(turn):
            return again
        if self.task_id:
            self._refuse_words(turn)
        if self.deadline_at and self.deadline_at <= turn.now:
            raise InvalidParams(
                "The deadline has passed; give a later one or none.", path=f'metadata["{OPTIONS_URI}"].deadline'
            )
        return self._create(turn)

    def _repeat(self, turn: Turn) -> Submitted | None:
        known = turn.sent_task(self.sent_key) if self.window else None
        if known is None:
            return None
        sent, row = known
        same = sent.hash == self.digest and turn.now < sent.expires_at
        answer = self.generation is Generation.V01 and row.state in INTERRUPTED
        return Submitted(row, sent.at_n, repeat=True) if same and not answer else None

    def _refuse_words(self, turn: Turn) -> None:
        row = turn.named(self.name)
        if row is None:
            if self.generation is Generation.V01:
                return
            raise TaskNotFound
        if self.context and self.context != row.context:
            raise InvalidParams(
                "The context is not the one that the task belongs to; leave it out or give the task's own.",
                path="sessionId" if self.generation is Generation.V01 else "message.contextId",
            )
        if ended(row):
            raise UnsupportedOperation(
                f"The task has ended ({row.state.name.lower()}) and takes no more messages; "
                "send the message as a new task."
            )
        raise UnsupportedOperation("The task is still at work; it takes messages when it asks.")

    def _create(self, turn: Turn) -> Submitted:
        starts_at = max(self.starts_at, turn.now + self.delay if self.delay else 0)
        later = starts_at > turn.now
        direct = bool(self.worker) and not later and self._direct(turn)
        row = turn.create(
            TaskRow(
                key=self.key,
                format=ROW_FORMAT,
                tenant=self.scope.tenant,
                owner=self.scope.owner,
                agent=self.agent,
                id=self.task_id or str(UUID(bytes=self.key)),
                context=self.context or self.fresh_context,
                generation=self.generation,
                visible=True,
                skill=self.skill,
                queue=self.queue,
                lane=self.lane,
                rank=0,
                gates=self.gates,
                held_by="",
                state=State.SUBMITTED,
                phase=Phase.SCHEDULED if later else Phase.READY,
                last_n=0,
                journal_n=0,
                rev=1,
                status_at=turn.now,
                created_at=turn.now,
                due_at=alarm(starts_at if later else 0, self.deadline_at),
                deadline_at=self.deadline_at,
                cancel_at=0,
                worker=NO_KEY,
                fence=0,
                attempt=0,
                max_attempts=self.max_attempts,
                crashes=0,
                unmet=0,
                parent=NO_KEY,
                pushes=0,
                status=PLAIN_STATUS[State.SUBMITTED],
                spec=self.spec,
            ),
            queued=not direct,
        )
        at_n = row.last_n
        turn.message(MessageRow(row.key, 1, at_n, 1, self.message_id, self.body))
        if self.window:
            turn.remember_sent(SentRow(*self.sent_key, self.digest, row.key, at_n, turn.now + self.window))
        if direct:
            row = lease(turn, row, self.worker, self.grace)
        return Submitted(row, at_n, leased=direct)

    def _direct(self, turn: Turn) -> bool:
        last = (self.lane, MAX_RANK, self.key)
        return not turn.is_dead(self.worker) and not (
            ahead(turn.heads, self.queue, self.lane) or turn.closed(self.gates, last)
        )
