"""Everything that a store holds, as the checker looks at it, by the port's own `dump`: the same for every store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from a2a_server import codec
from a2a_server.lifecycle.labels import own_key
from a2a_server.lifecycle.schedules import unpacked
from a2a_server.model.objects import Phase, State, StatusEvent
from a2a_server.model.rows import (
    EdgeKind,
    EdgeRow,
    EventKind,
    EventRow,
    JournalRow,
    MessageRow,
    RecordRow,
    SentRow,
    StateRow,
    TallyKey,
    TaskRow,
)
from a2a_server.model.schedule_keys import SCHEDULE
from a2a_server.ports import TaskStore
from tests.drills.laws import Told
from tests.drills.ledger import Violation
from tests.drills.stored import Rows, StoredEdge, StoredEvent, StoredSend, StoredTask

_KINDS = {EventKind.STATUS: "status", EventKind.CHUNK: "artifact"}
_USER = 1


@dataclass(slots=True)
class Dump:
    """What the checker asks of it, the journal of each task, and how many tasks are where: true, and tallied."""

    rows: Rows = field(default_factory=Rows)
    journal: dict[str, list[Told]] = field(default_factory=dict)
    counted: Counter[tuple[State, Phase]] = field(default_factory=Counter)
    tallied: Counter[tuple[State, Phase]] = field(default_factory=Counter)
    _names: dict[bytes, str] = field(default_factory=dict)

    def check_tally(self) -> list[Violation]:
        """Whether the store counts as many visible tasks as it has."""
        found = []
        for state, phase in sorted({**self.counted, **self.tallied}):
            there, counted = self.counted[state, phase], self.tallied[state, phase]
            if there != counted:
                found.append(Violation("tally", "", f"{state.name} {phase.name}: counted are {counted} of {there}"))
        return found

    def named(self) -> Dump:
        """Itself, with parents by their ids: a parent may come behind its children."""
        for row in self.rows.tasks.values():
            self.rows.tasks[row.id] = row._replace(parent=self._names.get(bytes.fromhex(row.parent), row.parent))
        return self

    def take(self, table: str, row: Any) -> None:  # noqa: ANN401 - rows of any table
        """One row. Tasks come first."""
        match table:
            case "task":
                self._task(cast("TaskRow", row))
            case "event":
                event = cast("EventRow", row)
                self.rows.events.setdefault(self._name(event.task), []).append(stored_event(event))
            case "journal":
                self._journal(cast("JournalRow", row))
            case "message":
                message = cast("MessageRow", row)
                if message.role == _USER and message.seq == 1:
                    self.rows.messages.setdefault(message.id, []).append(self._name(message.task))
            case "state":
                state = cast("StateRow", row)
                if state.space == "step":
                    steps = self.rows.steps.setdefault(self._name(state.scope), {})
                    steps[state.name] = str(codec.decode(state.body))
            case "tally":
                _, key, count = cast("tuple[str, TallyKey, int]", row)
                self.tallied[key.state, key.phase] += count
            case _:
                self._tie(table, row)

    def _tie(self, table: str, row: Any) -> None:  # noqa: ANN401 - as above
        if table == "edge":
            self.rows.edges.append(stored_edge(cast("EdgeRow", row), self._name))
        elif table == "sent":
            sent = cast("SentRow", row)
            if is_own(sent.message_id):
                self.rows.sends.append(StoredSend(sent.message_id, self._name(sent.task)))
        elif table == "record" and (record := cast("RecordRow", row)).kind == SCHEDULE:
            self.rows.ticks[record.id] = unpacked(record).runs

    def _name(self, key: bytes) -> str:
        return self._names.get(key, key.hex())

    def _task(self, row: TaskRow) -> None:
        self._names[row.key] = row.id
        self.rows.tasks[row.id] = StoredTask(
            row.id,
            said(row.state),
            row.phase.name.lower(),
            row.last_n,
            row.fence,
            row.worker.hex(),
            row.due_at,
            row.crashes,
            row.parent.hex(),
            schedule_of(row.spec),
            row.gates,
            row.held_by,
        )
        if row.visible:
            self.counted[row.state, row.phase] += 1

    def _journal(self, row: JournalRow) -> None:
        body = codec.decode(row.body) if row.body else {}
        fence = body.get("fence", 0) if isinstance(body, dict) else 0
        told = self.journal.setdefault(self._name(row.task), [])
        told.append(Told(row.n, row.kind.name.lower(), int(fence)))


async def dumped(store: TaskStore) -> Dump:
    """The whole store. Raises StoreUnavailable."""
    found = Dump()
    async for table, records in store.dump():
        for row in records:
            found.take(table, row)
    return found.named()


def stored_event(row: EventRow) -> StoredEvent:
    """The event as words."""
    event = codec.decode_event(row._replace(kind=EventKind(row.kind)))
    kind = _KINDS[EventKind(row.kind)]
    if not isinstance(event, StatusEvent):
        return StoredEvent(row.n, kind, row.fence, at=row.at)
    status, progress = event.status, event.progress
    text = status.message.text if status.message else ""
    done, note = (int(progress.done or 0), progress.note) if progress else (0, "")
    return StoredEvent(row.n, kind, row.fence, said(status.state), text, done, note, row.at)


def stored_edge(row: EdgeRow, name: Callable[[bytes], str]) -> StoredEdge:
    """The edge as words. name: of a task's key."""
    return StoredEdge(name(row.upstream), name(row.downstream), EdgeKind(row.on_failure).name.lower(), row.done >= 0)


def schedule_of(spec: bytes) -> str:
    """The id of the schedule that made the task; '' = none did."""
    wishes = codec.decode_spec(spec).wishes
    return wishes.schedule if wishes else ""


def is_own(message_id: str) -> bool:
    """Whether the server made the name of a send: for a spawn, or for a tick."""
    return message_id.startswith(own_key(""))


def said(state: State) -> str:
    """The state's name of 1.0."""
    return state.name.lower().replace("_", "-")
