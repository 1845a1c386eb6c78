"""What the server's SQLite file holds, read beside the running server without a lock or a write of any kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from a2a_server import codec
from a2a_server.model.objects import Phase, State
from a2a_server.model.rows import EventRow, Key
from a2a_server.stores.sqlite_rows import EVENT_COLUMNS
from tests.drills.dumped import said, stored_event
from tests.drills.stored import Position, Rows, StoredTask

_TASK = "SELECT id, state, phase, last_n, fence, hex(worker), due_at, crashes FROM task"
_POSITION = """
SELECT id, phase, body,
  (SELECT count(*) FROM state WHERE scope = key AND space = 'ask'),
  (SELECT count(*) FROM message WHERE task = key AND role = 1) - 1,
  (SELECT count(*) FROM state WHERE scope = key AND space = 'step')
FROM (SELECT task.id, task.phase, task.key, message.body
      FROM task JOIN message ON message.task = task.key AND message.seq = 1 WHERE task.phase <> ?)
"""
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
            for key, name, body in db.execute("SELECT scope, name, body FROM state WHERE space = 'step'"):
                found.steps.setdefault(names.get(key, Key(key).hex()), {})[str(name)] = str(codec.decode(body))
        return found

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=5.0)) as db:
            yield db


def _task(row: tuple[str, int, int, int, int, str, int | None, int]) -> StoredTask:
    name, state, phase, last_n, fence, worker, due_at, crashes = row
    return StoredTask(name, said(State(state)), Phase(phase).name.lower(), last_n, fence, worker, due_at or 0, crashes)


def _position(row: tuple[str, int, bytes, int, int, int]) -> Position:
    name, phase, body, asked, answered, steps = row
    line = codec.unpack_message(codec.decode(body)).text
    return Position(name, Phase(phase).name.lower(), line, asked, answered, steps)
