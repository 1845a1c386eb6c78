"""Reading a task with many open artifacts costs what its log costs, not its log once for each artifact."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from a2a_server.codec import encode_chunk
from a2a_server.model.objects import Artifact, Text
from a2a_server.model.rows import EventKind, EventRow, Key
from a2a_server.stores import sqlite_reads as reads
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.stores.sqlite_rows import Record, event_record, event_row
from tests.contracts.rows import TASK

EVENTS = 4_000
CHUNK = encode_chunk(Artifact("a", (Text("word "),)), append=True, last=False)


def steps_of_a_snapshot(db: sqlite3.Connection, key: Key, artifacts: int) -> int:
    """SQLite's own steps for a task whose artifacts took turns in its log; in hundreds."""
    task = TASK._replace(key=key, last_n=EVENTS)
    db.executemany(
        "INSERT INTO artifact VALUES (?, ?, 1, ?, 0, 0, 'a', 'text/plain', 0, '', 0, '', x'')",
        [(key, id, id + 1) for id in range(artifacts)],
    )
    events = [EventRow(key, n, EventKind.CHUNK, 0, 1, (n - 1) % artifacts, CHUNK) for n in range(1, EVENTS + 1)]
    db.executemany(
        "INSERT INTO event (task, n, kind, at, fence, artifact, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [event_record(event) for event in events],
    )
    steps = [0]

    def count() -> None:
        steps[0] += 1

    db.set_progress_handler(count, 100)
    snapshot = reads._snapshot(db, task, 0, artifacts=True)
    db.set_progress_handler(None, 0)
    assert len(snapshot.chunks) == EVENTS
    return steps[0]


async def test_many_open_artifacts_are_read_in_the_time_of_one_log(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tasks.db")
    await store.open()
    await store.close()
    db = sqlite3.connect(tmp_path / "tasks.db")
    few = steps_of_a_snapshot(db, Key(b"f" * 16), 2)
    many = steps_of_a_snapshot(db, Key(b"m" * 16), 400)
    db.close()
    assert many < few * 5


async def test_the_bodies_of_artifacts_that_are_kept_elsewhere_are_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[int] = []

    def seen(record: Record) -> EventRow:
        fetched.append(record[1])
        return event_row(record)

    monkeypatch.setattr(reads, "event_row", seen)
    store = SqliteStore(tmp_path / "tasks.db")
    await store.open()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as db:
        key = Key(b"k" * 16)
        row = "INSERT INTO artifact VALUES (?, ?, 1, ?, ?, ?, 'a', 'text/plain', 0, '', 0, ?, x'')"
        db.executemany(row, [(key, 0, 1, 0, 0, ""), (key, 1, 2, EVENTS, 1, "elsewhere")])
        events = [EventRow(key, n, EventKind.CHUNK, 0, 1, int(n > 1), CHUNK) for n in range(1, EVENTS + 1)]
        db.executemany(
            "INSERT INTO event (task, n, kind, at, fence, artifact, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [event_record(event) for event in events],
        )
        snapshot = reads._snapshot(db, TASK._replace(key=key, last_n=EVENTS), 0, artifacts=True)
    assert [chunk.n for chunk in snapshot.chunks] == fetched == [1]
