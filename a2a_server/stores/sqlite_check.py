"""Looks at a database file without changing anything beside or in it, for `check`; also while a server serves it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from a2a_server.errors import ConfigurationError, SchemaMismatch
from a2a_server.stores.sqlite_schema import versions
from a2a_server.stores.standing import MISSING, standing


def examine(path: Path) -> str:
    """What a server that starts with this file would find, in words.

    Raises:
        ConfigurationError: It could not use it; the text says what to do.
    """
    if not path.exists():
        return _missing(path)
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file; name another --store")
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
        raise ConfigurationError(
            f"{path} or its directory cannot be written; change their owner, or name another --store"
        )
    try:
        version, newest = _versions(path)
    except SchemaMismatch as error:
        raise ConfigurationError(str(error)) from error
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{path} cannot be read as a SQLite database; restore a backup, or name another --store"
        ) from error
    state = standing(version, newest, mended_by="the next start")
    served = "; a server process serves it now, and a second one would be refused" if _is_served(path) else ""
    return f"{path}: {state}{served}"


def _missing(path: Path) -> str:
    above = path.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path} cannot be made: {above} is no directory that can be written")
    return f"{path} {MISSING}"


def _versions(path: Path) -> tuple[int, int]:
    # A read-only connection makes the two side files of a write-ahead log that has none; an immutable one does not, and
    # sees everything where there is no log.
    log = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=1.0)
    try:
        return versions(db, path)
    finally:
        db.close()


def _is_served(path: Path) -> bool:
    try:
        file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
