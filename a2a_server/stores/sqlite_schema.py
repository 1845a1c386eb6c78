"""Opens connections to a SQLite file and brings its schema up to date.

Migrations are the numbered files of `sql/`; each is applied once, in a transaction of its own, under the write lock,
so any number of processes may open the same new file at once. `meta` holds the number of the last one.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from a2a_server.errors import SchemaMismatch

BUSY_SECONDS = 5.0

_COMMON_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 4000",  # 16 MiB: hot pages are copied back once for many commits
    "PRAGMA journal_size_limit = 67108864",
)
WRITER_PRAGMAS = (*_COMMON_PRAGMAS, "PRAGMA cache_size = -65536")
READER_PRAGMAS = (*_COMMON_PRAGMAS, "PRAGMA cache_size = -16384", "PRAGMA query_only = ON")
# A beat lost in a power cut tells nobody anything, so it need not wait for the disk.
BEAT_PRAGMAS = (*_COMMON_PRAGMAS, "PRAGMA synchronous = NORMAL", "PRAGMA cache_size = -256")

_FIND_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
_READ_VERSION = "SELECT value FROM meta WHERE name = 'schema'"
_WRITE_VERSION = "INSERT INTO meta (name, value) VALUES ('schema', ?) ON CONFLICT DO UPDATE SET value = excluded.value"


def connect(path: Path, pragmas: tuple[str, ...], busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection in autocommit mode, with write-ahead log. Raises sqlite3.Error."""
    db = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, cached_statements=256, check_same_thread=False
    )
    try:
        _use_write_ahead_log(db, busy_seconds)
        for pragma in pragmas:
            db.execute(pragma)
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """The schema is the newest that this code knows. Returns its version before, 0 = none yet, and now.

    Raises:
        SchemaMismatch: The database is newer than this code, or is no database of this server.
        sqlite3.Error: The database cannot be written.
    """
    migrations = _migrations()
    before = None
    while True:
        db.execute("BEGIN IMMEDIATE")
        try:
            version = _version(db, path, newest=len(migrations))
            before = version if before is None else before
            if version < len(migrations):
                for statement in _statements(migrations[version]):
                    db.execute(statement)
                db.execute(_WRITE_VERSION, (str(version + 1),))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if version >= len(migrations) - 1:
            return before, len(migrations)


def versions(db: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """The schema's version in the file, 0 = none yet, and the newest that this code knows; changes nothing.

    Raises:
        SchemaMismatch: As `migrate`.
        sqlite3.Error: The database cannot be read.
    """
    newest = len(_migrations())
    return _version(db, path, newest), newest


def _use_write_ahead_log(db: sqlite3.Connection, busy_seconds: float) -> None:
    """Two connections that switch a new file at once do not wait for each other: SQLite tells one that it is busy."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - spreads retries, no secret
        else:
            return


def _version(db: sqlite3.Connection, path: Path, newest: int) -> int:
    tables = {name for (name,) in db.execute(_FIND_TABLES)}
    if not tables:
        return 0
    found = db.execute(_READ_VERSION).fetchone() if "meta" in tables else None
    if found is None or not found[0].isdecimal():
        raise SchemaMismatch(f"{path} is a database of another program: give this server a path of its own")
    version = int(found[0])
    if version > newest:
        raise SchemaMismatch(
            f"{path} has schema version {version}, this server knows versions up to {newest}: "
            "start the newer server again, or restore the backup made before the upgrade"
        )
    return version


def _migrations() -> list[str]:
    files = (entry for entry in (resources.files(__package__) / "sql").iterdir() if entry.name.endswith(".sql"))
    return [entry.read_text(encoding="utf-8") for entry in sorted(files, key=lambda entry: entry.name)]


def _statements(script: str) -> Iterator[str]:
    """One by one, because `executescript` would commit the transaction that they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
