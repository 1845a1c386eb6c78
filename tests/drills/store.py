"""What the server's SQLite file holds, read beside the running server without a lock or a write of any kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from a2a_server import codec
from a2a_server.lifecycle.schedules import unpacked
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import EdgeRow, EventRow, Key, RecordRow
from a2a_server.model.schedule_keys import SCHEDULE
from a2a_server.stores.sqlite_rows import EVENT_COLUMNS
from tests.drills.dumped import is_own, said, schedule_of, stored_edge, stored_event
from tests.drills.stored import Position, Rows, StoredSend, StoredTask
from tests.patience import PATIENCE

_TASK = (
    "SELECT id, state, phase, last_n, fence, hex(worker), due_at, crashes, "
    "coalesce((SELECT id FROM task AS parent WHERE parent.key = task.parent), ''), spec, gates, held_by FROM task"
)
_POSITION = """
SELECT id, phase, body,
  (SELECT count(*) FROM state WHERE scope = key AND space = 'ask'),
  (SELECT count(*) FROM message WHERE task = key AND role = 1) - 1,
  (SELECT count(*) FROM state WHERE scope = key AND space = 'step')
FROM (SELECT task.id, task.phase, task.key, message.body
      FROM task JOIN message ON message.task = task.key AND message.seq = 1 WHERE task.phase <> ?)
"""
_SCHEDULES = "SELECT kind, tenant, owner, id, rev, due_at, body FROM record WHERE kind = ?"
_EVENTS = f"SELECT {EVENT_COLUMNS} FROM event ORDER BY task, n"  # noqa: S608 - our own columns


class StoreReader:
    """Read-only look at the database at `path`; every call opens it anew, because the server comes and goes.

    Raises:
        sqlite3.Error: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def leased(self) -> frozenset[str]:
        """Ids of the tasks that a worker runs."""
        with self._open() as db:
            rows = db.execute("SELECT id FROM task WHERE phase = ?", (Phase.LEASED.value,))
            return frozenset(str(row[0]) for row in rows)

    def workers(self) -> frozenset[str]:
        """Every worker that ever registered and has not been declared dead."""
        with self._open() as db:
            return frozenset(str(row[0]) for row in db.execute("SELECT hex(id) FROM worker WHERE dead = 0"))

    def unfinished(self) -> list[StoredTask]:
        """Tasks that have not ended."""
        with self._open() as db:
            return [_task(row) for row in db.execute(f"{_TASK} WHERE phase <> ?", (Phase.FINAL.value,))]

    def positions(self) -> list[Position]:
        """How far each task is that has not ended."""
        with self._open() as db:
            return [_position(row) for row in db.execute(_POSITION, (Phase.FINAL.value,))]

    def rows(self) -> Rows:
        """Everything that the checker looks at."""
        found = Rows()
        with self._open() as db:
            db.execute("BEGIN")
            for row in db.execute(_TASK):
                found.tasks[str(row[0])] = _task(row)
            names = {key: str(name) for key, name in db.execute("SELECT key, id FROM task")}
            for event in map(EventRow._make, db.execute(_EVENTS)):
                found.events.setdefault(names.get(event.task, event.task.hex()), []).append(stored_event(event))
            for key, message in db.execute("SELECT task, id FROM message WHERE role = 1 AND seq = 1"):
                found.messages.setdefault(str(message), []).append(names.get(key, Key(key).hex()))
            for edge in map(EdgeRow._make, db.execute("SELECT upstream, downstream, on_failure, done FROM edge")):
                found.edges.append(stored_edge(edge, lambda key: names.get(Key(key), key.hex())))
            for name, key in db.execute("SELECT message_id, task FROM sent"):
                if is_own(name):
                    found.sends.append(StoredSend(name, names.get(key, Key(key).hex())))
            for record in map(RecordRow._make, db.execute(_SCHEDULES, (SCHEDULE,))):
                found.ticks[record.id] = unpacked(record).runs
            for key, name, body in db.execute("SELECT scope, name, body FROM state WHERE space = 'step'"):
                found.steps.setdefault(names.get(key, Key(key).hex()), {})[str(name)] = str(codec.decode(body))
        return found

    def waiting(self) -> frozenset[str]:
        """Ids of the tasks that an upstream will move which has not ended, or whose end has not been acted on."""
        with self._open() as db:
            rows = db.execute("SELECT id FROM task WHERE key IN (SELECT downstream FROM edge WHERE done >= 0)")
            return frozenset(str(row[0]) for row in rows)

    def ticks(self) -> dict[str, int]:
        """By schedule, how many of its ticks are still to come (-1 = without end)."""
        with self._open() as db:
            kept = [unpacked(record) for record in map(RecordRow._make, db.execute(_SCHEDULES, (SCHEDULE,)))]
            return {one.last_id: one.max_runs - one.runs if one.max_runs else -1 for one in kept}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as db:
            yield db


def _task(row: tuple[str, int, int, int, int, str, int | None, int, str, bytes, str, str]) -> StoredTask:
    name, state, phase, last_n, fence, worker, due_at, crashes, parent, spec, gates, held_by = row
    return StoredTask(
        name,
        said(State(state)),
        Phase(phase).name.lower(),
        last_n,
        fence,
        worker,
        due_at or 0,
        crashes,
        parent,
        schedule_of(spec),
        tuple(gates.split("\n")),
        held_by,
    )


def _position(row: tuple[str, int, bytes, int, int, int]) -> Position:
    name, phase, body, asked, answered, steps = row
    line = codec.unpack_message(codec.decode(body)).text
    return Position(name, Phase(phase).name.lower(), line, asked, answered, steps)
