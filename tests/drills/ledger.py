"""What the clients of a drill know: what they asked, what they were told, and every event that they were shown.

The ledger is the outside world's memory: it survives the server's deaths, and the checker holds the server to it.
States are lower-case names of 1.0 (`completed`), contents are strings (see `tests.drills.wires`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

TERMINAL = frozenset({"completed", "failed", "canceled", "rejected"})
ASKING = "input-required"


class Violation(NamedTuple):
    """A promise broken: by which rule, for which task ('' = none in particular), and what was seen."""

    rule: str
    task: str
    text: str


@dataclass(frozen=True, slots=True)
class Order:
    """A send. `id` is what makes it the same when it is repeated: the message's id, in v0.1 the task's.

    task: whose question it answers, '' = it makes a new task. skill: '' = the agent's default. options: more options of
    its task, by their names.
    """

    id: str
    generation: str
    line: str
    session: str = ""
    task: str = ""
    skill: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class View(NamedTuple):
    """A task as one answer showed it: artifacts as (key, content) in order, history as (role, text).

    text: of the status, so the question where the task asks.
    """

    id: str
    state: str
    artifacts: tuple[tuple[str, str], ...] = ()
    text: str = ""
    history: tuple[tuple[str, str], ...] = ()

    @property
    def asks(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == ASKING

    @property
    def settled(self) -> bool:
        """Whether it does not go on by itself."""
        return self.asks or self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Seen:
    """An item of a stream, whatever its generation called it.

    n: the event's number, None on an item that is not the last of a snapshot. sse_id: the event's id line.
    final: the flag that 1.0 dropped (None there). text: of the status. artifacts: of a task snapshot.
    """

    task: str
    n: int | None
    kind: str  # task, status or artifact
    state: str = ""
    final: bool | None = None
    artifact: str = ""
    content: str = ""
    append: bool = False
    artifacts: tuple[tuple[str, str], ...] = ()
    sse_id: str | None = None
    text: str = ""

    @property
    def terminal(self) -> bool:
        """Whether it tells the task's end."""
        return self.state in TERMINAL

    @property
    def asks(self) -> bool:
        """Whether it tells that the task waits for an answer."""
        return self.state == ASKING


@dataclass(slots=True)
class Stream:
    """What one follower saw of one task, over all its connections.

    whole: it began at event 1 without a snapshot, so it is the complete log. `last_n` is what it resumes from;
    items of a snapshot that was cut off are not kept.
    """

    task: str = ""
    generation: str = ""
    whole: bool = False
    items: list[Seen] = field(default_factory=list)
    resumed_after: list[int] = field(default_factory=list)
    last_n: int | None = None
    ended: bool = False
    _pending: list[Seen] = field(default_factory=list)

    def take(self, seen: Seen) -> bool:
        """Whether the item is kept now, together with those before it that had no number."""
        self.task = self.task or seen.task
        self._pending.append(seen)
        if seen.n is None:
            return False
        self.items.extend(self._pending)
        self._pending.clear()
        self.last_n = seen.n
        self.ended = self.ended or seen.terminal
        return True

    def cut(self) -> None:
        """The connection is gone."""
        self._pending.clear()
        if self.last_n is not None:
            self.resumed_after.append(self.last_n)


@dataclass(slots=True)
class Reply:
    """An answer that was sent to a task. acknowledged: the server is known to have it."""

    order: Order
    question: str
    acknowledged: bool = False


@dataclass(slots=True)
class Entry:
    """An acknowledged task. told: terminal states that any answer or event named. replies: in the order of sending."""

    id: str
    order: Order
    told: set[str] = field(default_factory=set)
    cancel_asked: bool = False
    replies: list[Reply] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Kill:
    """The moment of a kill: requests without an answer, and the ids of leased tasks as the store had them.

    hits: how many tasks it met at each moment of a conversation.
    """

    number: int
    in_flight: int
    leased: frozenset[str]
    hits: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Ledger:
    """Everything together. problems: faults that a client noticed by itself. waiting: answers without an answer."""

    tasks: dict[str, Entry] = field(default_factory=dict)
    streams: list[Stream] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    problems: list[Violation] = field(default_factory=list)
    answered: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, Reply] = field(default_factory=dict)
    repeated: int = 0

    def replied(self, order: Order, question: str) -> None:
        """A task's question is about to be answered with this order."""
        reply = self.waiting[order.id] = Reply(order, question)
        self.tasks[order.task].replies.append(reply)

    def acknowledge(self, order: Order, task: str, state: str = "") -> None:
        """An answer named the task of this order."""
        if order.task:
            self._acknowledge_reply(order, task)
            self.told(task, state)
            return
        if self.answered.setdefault(order.id, task) != task:
            self.problem(
                "another-task", task, f"order {order.id} was answered with task {self.answered[order.id]} before"
            )
        entry = self.tasks.setdefault(task, Entry(task, order))
        if entry.order != order:
            self.problem("another-task", task, f"two orders share it: {entry.order.id} and {order.id}")
        self.told(task, state)

    def _acknowledge_reply(self, order: Order, task: str) -> None:
        if order.task != task:
            self.problem("another-task", task, f"the answer {order.id} was meant for {order.task}")
        if reply := self.waiting.pop(order.id, None):
            reply.acknowledged = True

    def told(self, task: str, state: str) -> None:
        """Some answer showed the task in this state."""
        entry = self.tasks.get(task)
        if entry is not None and state in TERMINAL:
            entry.told.add(spoken(state, entry.order.generation))

    def problem(self, rule: str, task: str, text: str) -> None:
        """Note a fault."""
        self.problems.append(Violation(rule, task, text))


def spoken(state: str, generation: str) -> str:
    """The state as a generation says it: v0.1 has no word for rejected."""
    return "failed" if state == "rejected" and generation == "v0.1" else state


def assembled(items: Iterable[Seen]) -> dict[str, str]:
    """What a client holds of each artifact after obeying `append`."""
    held: dict[str, str] = {}
    for seen in items:
        if seen.kind == "task":
            held = dict(seen.artifacts)
        elif seen.kind == "artifact":
            held[seen.artifact] = (held.get(seen.artifact, "") if seen.append else "") + seen.content
    return held
