"""Sending a message: a new task, a repeat of an earlier send, or words for a task that is there.

Which of the three it is is decided by core.md section 3 and nowhere else. Where the worker of this process has a slot
for it and nothing is ahead, the new task is leased in the same turn (core.md section 2, direct dispatch).
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace

from a2a_server.codec import decode_spec, encode, encode_spec
from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.admission import Admission
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.dependencies import FREE, Extras, Ties, check, graph_key, tie, ties_of
from a2a_server.lifecycle.gates import NOBODY, Standing, keys_of
from a2a_server.lifecycle.keeping import use
from a2a_server.lifecycle.labels import FOR_EVER, id_of
from a2a_server.lifecycle.runs import ROW_FORMAT, lease
from a2a_server.lifecycle.states import INTERRUPTED
from a2a_server.lifecycle.telling import AGENT
from a2a_server.lifecycle.turn import PLAIN_STATUS, Turn, ended
from a2a_server.model.objects import OPTIONS_URI, File, Generation, Lane, Phase, Scope, State
from a2a_server.model.rows import (
    NO_KEY,
    FairKey,
    Interest,
    Key,
    MessageRow,
    PushRow,
    SentKey,
    SentRow,
    TaskName,
    TaskRow,
)
from a2a_server.model.turns import Needs
from a2a_server.policy import ahead, alarm, is_shared
from a2a_server.values import value_class

MAX_RANK = 2**53


@value_class(frozen=True, slots=True)
class Submitted:
    """The task as it stands. repeat: the send had been accepted before. leased: the caller's worker runs it now.

    at_n: the event that the message's acceptance wrote.
    """

    row: TaskRow
    at_n: int
    repeat: bool = False
    leased: bool = False


@value_class(frozen=True, slots=True)
class Submit:
    """Accept a message.

    key: of the task, should there be a new one. task_id, context: as the client gave them ('' = none);
    fresh_context is used when neither names one. message_id: the client's, or the content's hash where its
    generation has none. digest: hash of the canonical request. window: how long a repeat is recognised,
    microseconds (0 = never). starts_at and deadline_at: moments (0 = none). worker: whose reserved slot runs the
    task at once if nothing is ahead (NO_KEY = none); grace: see `runs.lease`. visible: False while the answer may
    still be a message instead of a task. tells: states of the task that the agent itself wants to hear of. files:
    parts of the message that refer to objects. references: tasks that the message refers to. asked: the path of a
    task option that only a new task can be given ('' = none). extras: what only few new tasks bring. admission: what
    the new task has to pass (None = nothing); standing: limits for everybody.
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
    visible: bool = True
    tells: tuple[State, ...] = ()
    files: tuple[File, ...] = ()
    references: tuple[str, ...] = ()
    asked: str = ""
    extras: Extras | None = None
    admission: Admission | None = None
    standing: Standing | None = None

    @property
    def urgent(self) -> bool:
        """Clients' sends may be refused; what a run spawns waits."""
        return self.extras is not None and bool(self.extras.run)

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
        needs.names.update(map(self._of_the_same_owner, self.references))
        if self.window:
            needs.sent.add(self.sent_key)
        needs.queues.add(self.queue)
        needs.fair.add(FairKey(shard, self.queue, self.lane, self.scope.tenant, self.scope.owner))
        needs.gates.update(keys_of(self.gates))
        if self.worker:
            needs.workers.add(self.worker)
            if is_shared(self.gates):  # nobody overtakes the first one that such a gate holds
                needs.held = max(needs.held, 1)
        if self.admission is not None:
            self.admission.needs(needs)
        if self.extras is not None:
            self._need_extras(needs, self.extras)

    def _need_extras(self, needs: Needs, extras: Extras) -> None:
        needs.names.update(map(self._of_the_same_owner, extras.depends_on))
        if extras.parent:
            needs.names.add(self._of_the_same_owner(extras.parent))
        if extras.sent is not None:
            needs.sent.add(extras.sent)
        if extras.graph is not None:
            needs.records.add(graph_key(self.scope))

    def decide(self, turn: Turn) -> Submitted:
        """Raises TaskNotFound, UnsupportedOperation, InvalidParams."""
        if again := self.repeat(turn):
            return again
        self._check_references(turn)
        if self.task_id and (row := self._named(turn)) is not None:
            return self._heard(turn, row)
        self._check_new(turn, frozenset())
        return self.create(turn)

    def check(self, turn: Turn, local: AbstractSet[str] = frozenset()) -> None:
        """Refuse what would make no new task. local: ids of tasks that the same operation is about to make.

        Changes no task. Raises InvalidParams, UnsupportedOperation, Conflict, LeaseLost.
        """
        self._check_references(turn)
        self._check_new(turn, local)

    def _check_new(self, turn: Turn, local: AbstractSet[str]) -> None:
        if self.deadline_at and self.deadline_at <= turn.now:
            raise InvalidParams(
                "The deadline has passed; give a later one or none.", path=f'metadata["{OPTIONS_URI}"].deadline'
            )
        if self.extras is not None:
            check(turn, self.name, self.extras, local)
        if self.admission is not None:
            self.admission.check(turn)

    def repeat(self, turn: Turn) -> Submitted | None:
        """What an earlier send came to that this one only repeats."""
        if self.extras is not None and self.extras.sent is not None and (found := turn.sent_task(self.extras.sent)):
            return Submitted(found[1], found[0].at_n, repeat=True)
        known = turn.sent_task(self.sent_key) if self.window else None
        if known is None:
            return None
        sent, row = known
        same = sent.hash == self.digest and turn.now < sent.expires_at and decode_spec(row.spec).heard <= sent.at_n
        answer = self.generation is Generation.V01 and row.state in INTERRUPTED
        return Submitted(row, sent.at_n, repeat=True) if same and not answer else None

    def _of_the_same_owner(self, task_id: str) -> TaskName:
        return self.name._replace(id=task_id)

    def _check_references(self, turn: Turn) -> None:
        for position, task_id in enumerate(self.references):
            row = turn.named(self._of_the_same_owner(task_id))
            if row is None or not row.visible:
                path = f"message.referenceTaskIds[{position}]"
                raise InvalidParams(f"{path} names no task of yours; leave it out.", path=path)

    def _named(self, turn: Turn) -> TaskRow | None:
        row = turn.named(self.name)
        if row is None:
            if self.generation is Generation.V01:
                return None
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
        if row.state not in INTERRUPTED:
            raise UnsupportedOperation("The task is still at work; it takes messages when it asks.")
        if self.asked:
            raise InvalidParams(
                f"{self.asked} can only be given with a new task; leave it out to answer this one.", path=self.asked
            )
        return row

    def _heard(self, turn: Turn, row: TaskRow) -> Submitted:
        """The answer to what the task asked; `working` is the event that tells of it."""
        at_n = row.last_n + 1
        before, said = decode_spec(row.spec), decode_spec(self.spec)
        metadata = before.metadata if said.metadata is None else {**(before.metadata or {}), **said.metadata}
        spec = encode_spec(replace(before, metadata=metadata, heard=at_n))
        row = turn.status(changed(row, spec=spec), State.WORKING, Phase.READY, due_at=row.deadline_at)
        self._accept(turn, row, at_n)
        return Submitted(row, at_n)

    def create(self, turn: Turn) -> Submitted:
        """The new task, which nothing speaks against."""
        if self.admission is not None:
            self.admission.admit(turn, self.key)
        turn.gates.standing = self.standing or NOBODY
        extras = self.extras
        ties = FREE if extras is None else ties_of(turn, self.name, extras)
        starts_at = max(self.starts_at, turn.now + self.delay if self.delay else 0)
        later = starts_at > turn.now
        waits = ties.waits
        direct = bool(self.worker) and not (later or waits) and self._direct(turn)
        row = turn.create(
            TaskRow(
                key=self.key,
                format=ROW_FORMAT,
                tenant=self.scope.tenant,
                owner=self.scope.owner,
                agent=self.agent,
                id=self.task_id or id_of(self.key),
                context=self.context or self.fresh_context,
                generation=self.generation,
                visible=self.visible,
                skill=self.skill,
                queue=self.queue,
                lane=self.lane,
                rank=0,
                gates=self.gates,
                held_by="",
                state=State.SUBMITTED,
                phase=Phase.WAITING if waits else Phase.SCHEDULED if later else Phase.READY,
                last_n=0,
                journal_n=0,
                rev=1,
                status_at=turn.now,
                created_at=turn.now,
                due_at=alarm(starts_at if later and not waits else 0, self.deadline_at),
                deadline_at=self.deadline_at,
                cancel_at=0,
                worker=NO_KEY,
                fence=0,
                attempt=0,
                max_attempts=self.max_attempts,
                crashes=0,
                unmet=ties.open,
                parent=NO_KEY if ties.parent is None else ties.parent.key,
                pushes=self._interest(ties),
                status=PLAIN_STATUS[State.SUBMITTED],
                spec=self._delayed(starts_at) if later and (waits or 0 < self.deadline_at <= starts_at) else self.spec,
            ),
            queued=not direct,
        )
        if self.tells:
            states = encode([int(state) for state in self.tells])
            turn.push(PushRow(row.key, AGENT, 0, 1, 0, 0, dead=False, body=states))
        at_n = row.last_n
        self._accept(turn, row, at_n)
        if extras is not None:
            row = tie(turn, row, ties)
            if extras.sent is not None:
                turn.remember_sent(SentRow(*extras.sent, self.digest, row.key, at_n, FOR_EVER))
        if direct:
            row = lease(turn, row, self.worker, self.grace)
        return Submitted(row, at_n, leased=direct)

    def _interest(self, ties: Ties) -> int:
        told = Interest.TOLD if self.tells else Interest.NONE
        return told if ties.parent is None else told | Interest.WAITED

    def _delayed(self, starts_at: int) -> bytes:
        return encode_spec(replace(decode_spec(self.spec), starts_at=starts_at))

    def _accept(self, turn: Turn, row: TaskRow, at_n: int) -> None:
        turn.message(MessageRow(row.key, at_n, at_n, 1, self.message_id, self.body))
        use(turn, row, self.files)
        if self.window:
            turn.remember_sent(SentRow(*self.sent_key, self.digest, row.key, at_n, turn.now + self.window))

    def _direct(self, turn: Turn) -> bool:
        last = (self.lane, MAX_RANK, self.key)
        return not turn.is_dead(self.worker) and not (
            ahead(turn.heads, self.queue, self.lane) or turn.gates.closed(self.gates, last)
        )


@value_class(frozen=True, slots=True)
class Show:
    """Make a task visible, unless a message was all that it came to."""

    key: Key
    urgent: bool = True
    weight: int = 256

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The task."""
        needs.tasks.add(self.key)

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now; invisible = its status message is the direct answer. Raises TaskNotFound."""
        row = turn.rows.get(self.key)
        if row is None:
            raise TaskNotFound
        return row if row.visible or row.state is State.COMPLETED else turn.put(changed(row, visible=True))
