"""A task as its doorbells told of it, from its first revision on: the log is the source of every snapshot.

A task's revision grows by one with every turn that changes it, so whoever heard of revision 1 and of every later one
has missed nothing: its row, its messages and its takes are then what the store has. Chunks of takes that are nowhere
else are kept here where one is all of its take, which may be too large for a ring; the others the watch's ring has.

Whatever is out of order (a bell that is lost, late, repeated, or of another process) makes the account worthless, for
good: its reader asks the store instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import ArtifactRow, EventKind, EventRow, MessageRow, TaskRow
from a2a_server.model.turns import Bell


class Told:
    """What bells told of one task. size: bytes of content that it holds beside the task's row."""

    __slots__ = ("_lone", "_messages", "_takes", "row", "size")

    def __init__(self) -> None:
        self.row: TaskRow | None = None
        self.size = 0
        self._messages: list[MessageRow] = []
        self._takes: dict[int, ArtifactRow] = {}
        self._lone: dict[int, EventRow] = {}

    def take_in(self, row: TaskRow, bell: Bell) -> bool:
        """Add what the next bell tells, `row` being the task's; False = it is not the next one."""
        before = self.row
        if row.rev != (1 if before is None else before.rev + 1):
            return False
        self.row = row
        for message in bell.messages:
            self._messages.append(message)
            self.size += len(message.body)
        for take in bell.takes:
            known = self._takes.get(take.id)
            if known is None or known.take <= take.take:
                self._takes[take.id] = take
                self.size += len(take.body) - (0 if known is None else len(known.body))
                self._keep_lone(take, bell.events)
        return True

    def snapshot(self, log: Sequence[EventRow], history: int | None) -> Snapshot | None:
        """What `TaskStore.snapshot` gives; None where `log`, the newest events, lacks a chunk that is nowhere else."""
        row = self.row
        if row is None:
            return None
        messages = sorted(self._messages, key=_place) if len(self._messages) > 1 else self._messages
        if history is not None:
            messages = messages[max(0, len(messages) - history) :]
        takes = [self._takes[id] for id in sorted(self._takes)]
        chunks = _chunks([take for take in takes if take.id not in self._lone], row.last_n, log)
        if chunks is None:
            return None
        if self._lone:
            chunks = tuple(sorted((*chunks, *self._lone.values()), key=_number))
        return Snapshot(row, tuple(messages), tuple(takes), chunks)

    def _keep_lone(self, take: ArtifactRow, events: Sequence[EventRow]) -> None:
        if (known := self._lone.pop(take.id, None)) is not None:
            self.size -= len(known.body)
        if not take.closed or take.body or take.location or take.first_n != take.last_n:
            return
        for event in events:
            if event.n == take.first_n:
                self._lone[take.id] = event
                self.size += len(event.body)


def _place(message: MessageRow) -> int:
    return message.seq


def _number(event: EventRow) -> int:
    return event.n


def _chunks(takes: Sequence[ArtifactRow], last_n: int, log: Sequence[EventRow]) -> tuple[EventRow, ...] | None:
    """The chunks of every take whose content is nowhere else, by number; None when the log has not all of them."""
    spans = {
        take.id: (take.first_n, take.last_n if take.closed else last_n)
        for take in takes
        if not take.body and not take.location
    }
    if not spans:
        return ()
    if not log or log[0].n > min(first for first, _ in spans.values()) or log[-1].n != last_n:
        return None
    found: list[EventRow] = []
    for event in log:
        if event.artifact is not None and event.kind is EventKind.CHUNK and event.artifact in spans:
            first, last = spans[event.artifact]
            if first <= event.n <= last:
                found.append(event)
    return tuple(found)
