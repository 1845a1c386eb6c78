"""The lock that a serving process holds on its database file, so that every lease it finds at start is an orphan.

Stores do not take it: commands that look at a database, and tests, open stores beside a serving process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from a2a_server.errors import ConfigurationError

_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html, section 1.3


class FileLock:
    """One process at a time serves `database`: an exclusive `flock` on the file `<database>.lock` beside it.

    The kernel gives it back when the process ends, however it ends; the file stays. A process forked while it is held
    holds it too. Not meaningful on network file systems, where SQLite itself is not safe.
    """

    def __init__(self, database: str | Path) -> None:
        self._database = Path(database)
        self._file: int | None = None

    def acquire(self) -> None:
        """The lock is held. Idempotent.

        Raises:
            ConfigurationError: Another process holds it, the lock file cannot be opened, or what is there is no
                database.
        """
        if self._file is not None:
            return
        path = self._database.with_name(f"{self._database.name}.lock")
        self._refuse_foreign()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}; the database needs a writable directory") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise ConfigurationError(
                f"another server process serves {self._database}: stop it, or give this one another --store"
            ) from error
        self._file = file

    def _refuse_foreign(self) -> None:
        try:
            with self._database.open("rb") as file:
                head = file.read(len(_MAGIC))
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(f"{self._database}: {error.strerror}; name another --store") from error
        if head and head != _MAGIC:
            raise ConfigurationError(f"{self._database} is no SQLite database; name another file as --store")

    def release(self) -> None:
        """The lock is free. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
