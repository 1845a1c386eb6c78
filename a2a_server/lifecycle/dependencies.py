"""Tasks that wait for others: what a new task is tied to, edges added later, and what follows when an upstream ends.

Theory of operation
-------------------
Edges are the outbox. Whoever ties a task to an upstream has locked the upstream, so it is either seen to have ended, or
the turn that ends it sees `Interest.WAITED` and marks its edges. A turn that ends a task does not know who waits; it
marks, and `Settle` of a later turn reads what came (`Links.arrived`) and acts: once, because what was acted on changes
its sign in the same turn. Whoever dies between the two leaves edges that the next sweep finds.

A parent and its children are tied both ways: CHILD, so that they are canceled with it, and JOIN, so that it can wait.

Deadlocks: a new task is waited for by nobody but its parent, so it can only close a circle if it has both a parent and
dependencies; an edge that is added later always can. For these two the caller walks the graph outside of the turn and
names the revision of the owner's graph record that it read before; the turn refuses another one (Conflict: walk again)
and makes a new one. So of two that could close a circle together, the second always sees the edges of the first.
Source: core.md section 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set as AbstractSet
from dataclasses import field, replace
from typing import Final

from a2a_server.codec import decode_spec, encode_spec
from a2a_server.errors import Conflict, InvalidParams, LeaseLost, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.cancellation import cancel
from a2a_server.lifecycle.changing import changed
from a2a_server.lifecycle.dead_letters import Dead, mark
from a2a_server.lifecycle.endings import coded
from a2a_server.lifecycle.joining import look_again
from a2a_server.lifecycle.labels import id_of
from a2a_server.lifecycle.starting import starts_at_of
from a2a_server.lifecycle.states import moved
from a2a_server.lifecycle.turn import Turn, ended, speech
from a2a_server.model.objects import OPTIONS_URI, Phase, Scope, State, Wishes
from a2a_server.model.options import MOST_UPSTREAMS
from a2a_server.model.rows import (
    EdgeKind,
    EdgeRow,
    Interest,
    JournalKind,
    Key,
    RecordKey,
    RecordRow,
    SentKey,
    StateRow,
    TagRow,
    TaskName,
    TaskRow,
)
from a2a_server.model.turns import Needs
from a2a_server.policy import alarm
from a2a_server.values import value_class

DEPENDENCIES: Final = frozenset({EdgeKind.FAIL, EdgeKind.CANCEL, EdgeKind.RUN})
OPTIONS: Final = f'metadata["{OPTIONS_URI}"]'


@value_class(frozen=True, slots=True)
class Extras:
    """What few sends bring for their new task beside the message.

    depends_on, parent: ids of tasks of the same owner. run: the parent's run that spawns it (0 = no run does). labels:
    as `lifecycle.labels` spells them. states: rows to be remembered with the task, whatever their scope. sent: a key of
    its own that alone decides whether the task is there already. graph: the revision of the owner's graph record at
    which a walk found that nothing waits for itself; None = there was nothing to walk. path: where the options are, in
    texts of errors.
    """

    depends_on: tuple[str, ...] = ()
    on_failure: EdgeKind = EdgeKind.FAIL
    parent: str = ""
    run: int = 0
    labels: tuple[str, ...] = ()
    states: tuple[StateRow, ...] = ()
    sent: SentKey | None = None
    graph: int | None = None
    path: str = OPTIONS


def graph_key(scope: Scope) -> RecordKey:
    """The record that additions to an owner's graph which could close a circle are ordered by."""
    return RecordKey("graph", scope.tenant, scope.owner, "")


def unknown(path: str) -> InvalidParams:
    """How a task that is not there, or not the caller's, is refused."""
    return InvalidParams(f"{path} names no task of yours; give the id of one, or leave it out.", path=path)


def closed(path: str, parent: TaskRow) -> InvalidParams:
    """How a task that has ended is refused as a parent."""
    word = parent.state.name.lower()
    return InvalidParams(
        f"{path} names a task that has ended ({word}); it takes no more parts: leave it out.", path=path
    )


def circular(path: str, circle: Sequence[str]) -> InvalidParams:
    """How an edge is refused that would have tasks wait for each other: ids, each of which waits for the next."""
    return InvalidParams(
        f"{path} names a task that waits, maybe by way of others, for this very task or for its parent "
        f"({' → '.join(circle)}), so none of them could ever go on; leave it out.",
        path=path,
    )


def check(turn: Turn, name: TaskName, extras: Extras, local: AbstractSet[str] = frozenset()) -> None:
    """Refuse what a new task cannot be tied to. local: ids of tasks that the same operation is about to make.

    Raises InvalidParams; LeaseLost for a run that lost its task; Conflict when the graph was changed since the walk.
    """
    for position, task_id in enumerate(extras.depends_on):
        row = None if task_id in local else turn.named(name._replace(id=task_id))
        if task_id not in local and (row is None or not row.visible):
            raise unknown(f"{extras.path}.dependsOn[{position}]")
    if extras.parent and extras.parent not in local:
        path = f"{extras.path}.parentTaskId"
        parent = turn.named(name._replace(id=extras.parent))
        if parent is None or not (parent.visible or extras.run):
            raise LeaseLost if extras.run else unknown(path)
        if extras.run and (parent.phase is not Phase.LEASED or parent.fence != extras.run):
            raise LeaseLost
        if ended(parent):
            raise closed(path, parent)
    if extras.graph is not None:
        take_graph(turn, Scope(name.tenant, name.owner), extras.graph)


def take_graph(turn: Turn, scope: Scope, seen: int) -> None:
    """Order an addition to the owner's graph behind those before it. Raises Conflict when it is not as it was seen."""
    key = graph_key(scope)
    record = turn.links.record(key)
    if (record.rev if record else 0) != seen:
        raise Conflict("graph")
    turn.links.keep(RecordRow(*key, 0, 0, b""))


@value_class(frozen=True, slots=True)
class Ties:
    """What a new task is tied to, as its turn finds it: its upstreams, and its parent.

    open: how many upstreams have not ended. broken: the first one that has ended otherwise than the task needs it to.
    """

    extras: Extras
    upstreams: tuple[TaskRow, ...] = ()
    parent: TaskRow | None = None
    open: int = 0
    broken: TaskRow | None = None

    @property
    def waits(self) -> bool:
        """Whether the task begins in phase WAITING."""
        return bool(self.open) or self.broken is not None


FREE: Final = Ties(Extras())
"""Tied to nothing."""


def ties_of(turn: Turn, name: TaskName, extras: Extras) -> Ties:
    """The ties of a new task that `check` let pass."""
    named = [turn.named(name._replace(id=task_id)) for task_id in dict.fromkeys(extras.depends_on)]
    upstreams = tuple([row for row in named if row is not None])
    parent = turn.named(name._replace(id=extras.parent)) if extras.parent else None
    done = [row for row in upstreams if ended(row)]
    amiss = [row for row in done if row.state is not State.COMPLETED and extras.on_failure is not EdgeKind.RUN]
    return Ties(extras, upstreams, parent, len(upstreams) - len(done), amiss[0] if amiss else None)


def tie(turn: Turn, row: TaskRow, ties: Ties) -> TaskRow:
    """Write what the new task is tied to, and judge it where that is decided already. The task as it is then."""
    links, extras = turn.links, ties.extras
    for upstream in ties.upstreams:
        links.tie(EdgeRow(upstream.key, row.key, extras.on_failure, _done(upstream)))
        _interest(turn, upstream.key, Interest.WAITED)
    if ties.parent is not None:
        links.tie(EdgeRow(ties.parent.key, row.key, EdgeKind.CHILD, _done(ties.parent)))
        links.tie(EdgeRow(row.key, ties.parent.key, EdgeKind.JOIN, 0))
        _interest(turn, ties.parent.key, Interest.WAITED | Interest.PARENT)
    for label in extras.labels:
        links.tag(TagRow(row.tenant, row.owner, label, row.key))
    for state in extras.states:
        turn.remember(state)
    if ties.parent is not None and ties.parent.state is State.CANCELED:
        return turn.status(row, State.CANCELED, Phase.FINAL)
    if (broken := ties.broken) is not None:
        return _break(turn, row, extras.on_failure, broken.id, broken.state)
    return row


def adopt(turn: Turn, row: TaskRow, parts: Sequence[Key]) -> TaskRow:
    """Have tasks of the turn count as parts of a new one, though others are their parents; gone ones are left out."""
    for key in parts:
        if (part := turn.rows.get(key)) is not None:
            turn.links.tie(EdgeRow(part.key, row.key, EdgeKind.JOIN, _done(part)))
            _interest(turn, part.key, Interest.WAITED)
    if parts:
        _interest(turn, row.key, Interest.PARENT)
    return turn.rows[row.key]


def _done(upstream: TaskRow) -> int:
    return -int(upstream.state) if ended(upstream) else 0


def _interest(turn: Turn, key: Key, interest: int) -> None:
    row = turn.rows[key]
    if not ended(row) and row.pushes & interest != interest:
        turn.put(changed(row, pushes=row.pushes | interest))


def _break(turn: Turn, row: TaskRow, kind: int, upstream: str, state: State) -> TaskRow:
    text = f"Task {upstream}, which this one depends on, did not complete: it ended as {state.name.lower()}."
    reached = State.CANCELED if kind == EdgeKind.CANCEL else State.FAILED
    if reached is State.FAILED:
        mark(turn, row, Dead.DEPENDENCY)
    return turn.status(row, reached, Phase.FINAL, speech(row, text), metadata=coded(Dead.DEPENDENCY))


@value_class(frozen=True, slots=True)
class Settled:
    """What settling came to.

    unnamed: upstreams whose ids it takes to say why tasks end; settle again with `names`. ripe: parents that nobody
    runs any more, whose `completeWhen` is decided; what arrived at them is settled when they have ended.
    """

    count: int
    unnamed: tuple[Key, ...] = ()
    ripe: tuple[Key, ...] = ()


@value_class(frozen=True, slots=True)
class Settle:
    """Act on what the ends of upstreams mean for these tasks. Idempotent: what was acted on is marked.

    names: what clients call upstreams that did not complete; '' for one that is gone. grace: as of `Cancel`.
    """

    keys: tuple[Key, ...]
    grace: int
    names: Mapping[Key, str] = field(default_factory=dict)
    urgent: bool = True

    @property
    def weight(self) -> int:
        """A key and what is read for it."""
        return 64 * len(self.keys)

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """The tasks, their edges, and the takes of those that are canceled."""
        needs.tasks.update(self.keys)
        needs.waits.update(self.keys)
        needs.takes.update(self.keys)

    def decide(self, turn: Turn) -> Settled:
        """Never raises."""
        unnamed: dict[Key, None] = {}
        ripe: list[Key] = []
        count = 0
        for key in self.keys:
            arrived = turn.links.arrived(key)
            if not arrived or turn.links.tied(key):  # tied in this turn: its counts are not known before the next
                continue
            row = turn.rows.get(key)
            if row is not None and not ended(row):
                broken = _broken(row, arrived)
                if broken is not None and broken.upstream not in self.names:
                    unnamed[broken.upstream] = None
                    continue
                if self._settle(turn, row, arrived, broken):
                    ripe.append(key)
                    continue
            turn.links.settled(key)
            count += 1
        return Settled(count, tuple(unnamed), tuple(ripe))

    def _settle(self, turn: Turn, row: TaskRow, arrived: Sequence[EdgeRow], broken: EdgeRow | None) -> bool:
        """Whether the task is ripe."""
        if broken is not None:
            named = self.names[broken.upstream] or id_of(broken.upstream)
            _break(turn, row, broken.on_failure, named, State(broken.done))
        elif any(edge.on_failure == EdgeKind.CHILD and edge.done == State.CANCELED for edge in arrived):
            cancel(turn, row, self.grace)
        elif row.phase is Phase.WAITING and row.fence:
            return look_again(turn, row, sum(edge.on_failure == EdgeKind.JOIN for edge in arrived))
        elif row.phase is Phase.WAITING:
            _release(turn, row)
        return False


def _broken(row: TaskRow, arrived: Sequence[EdgeRow]) -> EdgeRow | None:
    if row.phase is not Phase.WAITING or row.fence:
        return None
    kinds = (EdgeKind.FAIL, EdgeKind.CANCEL)
    return next((edge for edge in arrived if edge.on_failure in kinds and edge.done != State.COMPLETED), None)


def _release(turn: Turn, row: TaskRow) -> None:
    waits = turn.links.waits(row.key)
    still = sum(count for (kind, done), count in waits.items() if not done and kind in DEPENDENCIES)
    if still:
        if still != row.unmet:
            turn.put(changed(row, unmet=still))
        return
    starts_at = decode_spec(row.spec).starts_at
    later = starts_at > turn.now
    due_at = alarm(starts_at if later else 0, row.deadline_at)
    row = turn.put(moved(row, row.state, Phase.SCHEDULED if later else Phase.READY, unmet=0, due_at=due_at))
    if not later:
        turn.journal(row, JournalKind.PROMOTED)


@value_class(frozen=True, slots=True)
class AddDependency:
    """Have a task that has not begun wait for another one too.

    graph: the revision of the owner's graph record before a walk from the upstream did not come upon the task.
    """

    task: TaskName
    upstream: str
    on_failure: EdgeKind
    graph: int
    path: str = "dependsOn"
    urgent: bool = False
    weight: int = 512

    def needs(self, needs: Needs, shard: str) -> None:  # noqa: ARG002 - the protocol's
        """Both tasks, and the graph."""
        needs.names.update((self.task, self.task._replace(id=self.upstream)))
        needs.records.add(graph_key(Scope(self.task.tenant, self.task.owner)))

    def decide(self, turn: Turn) -> TaskRow:
        """The task as it is now. Idempotent.

        Raises TaskNotFound, InvalidParams; UnsupportedOperation for a task that has begun; Conflict when the graph was
        changed since the walk.
        """
        row, upstream = turn.named(self.task), turn.named(self.task._replace(id=self.upstream))
        if row is None or not row.visible:
            raise TaskNotFound
        if upstream is None or not upstream.visible or upstream.key == row.key:
            raise unknown(self.path)
        spec = decode_spec(row.spec)
        wishes = spec.wishes or Wishes()
        if self.upstream in wishes.depends_on:
            return row
        if row.fence or ended(row):
            raise UnsupportedOperation("The task has begun; only one that has not can be given more to wait for.")
        self._check_edge(row, upstream, wishes)
        take_graph(turn, Scope(row.tenant, row.owner), self.graph)
        turn.links.tie(EdgeRow(upstream.key, row.key, self.on_failure, _done(upstream)))
        starts_at = starts_at_of(row, spec)
        wishes = replace(wishes, depends_on=(*wishes.depends_on, self.upstream))
        row = changed(row, spec=encode_spec(replace(spec, wishes=wishes, starts_at=starts_at)))
        if not ended(upstream):
            _interest(turn, upstream.key, Interest.WAITED)
            return turn.put(
                moved(row, row.state, Phase.WAITING, unmet=row.unmet + 1, held_by="", due_at=row.deadline_at)
            )
        row = turn.put(row)
        if self.on_failure is EdgeKind.RUN or upstream.state is State.COMPLETED:
            return row
        return _break(turn, row, self.on_failure, upstream.id, upstream.state)

    def _check_edge(self, row: TaskRow, upstream: TaskRow, wishes: Wishes) -> None:
        if upstream.parent == row.key:
            raise InvalidParams(
                f"{self.path} names a part of this very task, which it follows already; give the task completeWhen, or "
                "name another one.",
                path=self.path,
            )
        if len(wishes.depends_on) >= MOST_UPSTREAMS:
            raise InvalidParams(
                f"The task waits for {MOST_UPSTREAMS} others, and more there cannot be.", path=self.path
            )
