"""A backup on disk: one directory, complete as soon as it has its name.

    manifest.json      what is in it: format, moment, and of every table its columns, number of rows and hash
    <table>.jsonl.gz   the rows of one table, a line each, as `wiring.dumps` writes them
    objects.jsonl.gz   a line for each object: its name, size in bytes and SHA-256
    objects.bin        their contents, one behind the other, in the same order

It grows as `.<name>.<pid>.part` beside its place, and gets its name once all of it is on the disk. A reader believes
nothing that the manifest's counts and hashes, or the manifest's own hash, do not confirm.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zlib
from collections import defaultdict
from collections.abc import AsyncIterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self, cast

import orjson

from a2a_server.codec import canonical
from a2a_server.errors import ConfigurationError, Damaged, ObjectMissing
from a2a_server.model.times import timestamp
from a2a_server.wiring.dumps import COLUMNS, Row, Sum, line_of, row_of, sum_of, tables
from a2a_server.wiring.objects import Moved

FORMAT: Final = 1
TABLES: Final = tables(blobs=False)
"""Large content is in objects.bin, wherever it was kept."""
MANIFEST: Final = "manifest.json"
OBJECTS: Final = "objects"
CONTENT: Final = "objects.bin"
PAGE_ROWS: Final = 500
PAGE_BYTES: Final = 1 << 20
PIECE_BYTES: Final = 256 * 1024
LEVEL: Final = 6
"""Of compression: what gzip takes."""
_BROKEN: Final = (OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError)
"""What reading a file or a line that was damaged may raise."""


class Kept(NamedTuple):
    """An object in a backup: where its content begins in objects.bin, and what is known of it."""

    name: str
    start: int
    size: int
    sha256: str


class BackupWriter:
    """Writes a backup to `path`, which must not exist. What is begun is taken away where the block ends with an error.

    Entering raises ConfigurationError: there is something at `path`, or it cannot be written. All methods raise
    OSError.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._place = self._path.with_name(f".{self._path.name[-100:]}.{os.getpid()}.part")
        self._sums: dict[str, Sum] = defaultdict(Sum)
        self._size = 0
        self._files = ExitStack()

    def __enter__(self) -> Self:
        if os.path.lexists(self._path):
            raise ConfigurationError(f"{self._path} exists; a backup is a new directory: give it another name.")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._place.mkdir(mode=0o700)
            enter = self._files.enter_context
            self._lines = {name: enter(_compressed(self._place / f"{name}.jsonl.gz")) for name in (*TABLES, OBJECTS)}
            self._content = enter(_synced(self._place / CONTENT))
        except OSError as error:
            self._discard()
            raise ConfigurationError(f"{self._place}: {error.strerror}; name another place for the backup.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._place.exists():
            self._discard()

    @property
    def sums(self) -> dict[str, Sum]:
        """What was written of each table."""
        return {table: self._sums[table] for table in TABLES}

    def rows(self, table: str, rows: Sequence[Row]) -> int:
        """Write rows of a table; how many of it there are now."""
        lines = [line_of(row) for row in rows]
        self._lines[table].write(b"".join(line + b"\n" for line in lines))
        self._sums[table] += sum_of(lines)
        return self._sums[table].rows

    async def object(self, name: str, pieces: AsyncIterable[bytes]) -> bool:
        """Write an object. False: it was not there any more, and nothing is written."""
        start, digest, size = self._size, hashlib.sha256(), 0
        try:
            async for piece in pieces:
                digest.update(piece)
                size += self._content.write(piece)
        except ObjectMissing:
            self._content.truncate(start)
            self._content.seek(start)
            return False
        self._size += size
        line = line_of((name, size, digest.hexdigest()))
        self._lines[OBJECTS].write(line + b"\n")
        self._sums[OBJECTS] += sum_of([line])
        return True

    def finish(self, *, at: int, version: str) -> Moved:
        """All of it is on the disk and has its name. at: the moment of the rows, microseconds. How many objects."""
        self._files.close()
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "version": version,
            "at": timestamp(at),
            "tables": {
                table: {
                    "columns": COLUMNS[table],
                    "rows": self._sums[table].rows,
                    "sha256": self._sums[table].hex,
                }
                for table in TABLES
            },
            "objects": {
                "count": self._sums[OBJECTS].rows,
                "bytes": self._size,
                "sha256": self._sums[OBJECTS].hex,
            },
        }
        signed = {**manifest, "sha256": _hash_of(manifest)}
        with _synced(self._place / MANIFEST) as file:
            file.write(orjson.dumps(signed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        _sync_directory(self._place)
        self._place.rename(self._path)
        _sync_directory(self._path.parent)
        return Moved(self._sums[OBJECTS].rows, self._size)

    def _discard(self) -> None:
        with suppress(OSError):
            self._files.close()
        shutil.rmtree(self._place, ignore_errors=True)


class BackupReader:
    """Reads the backup at `path`; nothing in it is changed. Every method raises Damaged, and names the file.

    Raises:
        ConfigurationError: there is no backup, or one that another version wrote in another format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._manifest = self._read_manifest()

    @property
    def at(self) -> str:
        """The moment of its rows, RFC 3339."""
        return str(self._manifest["at"])

    @property
    def id(self) -> str:
        """A hash that no other backup has."""
        return str(self._manifest["sha256"])

    @cached_property
    def sums(self) -> dict[str, Sum]:
        """What its tables add up to, as the manifest says it."""
        tables = self._manifest["tables"]
        return {table: Sum(tables[table]["rows"], int(tables[table]["sha256"], 16)) for table in TABLES}

    @property
    def moved(self) -> Moved:
        """How many objects, and of how many bytes, as the manifest says it."""
        return Moved(self._manifest["objects"]["count"], self._manifest["objects"]["bytes"])

    def pages(self) -> Iterator[tuple[str, Sequence[Row]]]:
        """Every row, a page at a time; behind the last one of a table it is known to be whole."""
        for table in TABLES:
            for lines in self._lines(table, self.sums[table]):
                try:
                    rows = [row_of(table, line) for line in lines]
                except _BROKEN as error:
                    raise self._damaged(f"{table}.jsonl.gz") from error
                yield table, rows

    def objects(self) -> Iterator[Kept]:
        """Every object, in order."""
        start = 0
        listed = self._manifest["objects"]
        for lines in self._lines(OBJECTS, Sum(listed["count"], int(listed["sha256"], 16))):
            for line in lines:
                try:
                    name, size, sha256 = orjson.loads(line)
                    kept = Kept(str(name), start, int(size), str(sha256))
                except _BROKEN as error:
                    raise self._damaged(f"{OBJECTS}.jsonl.gz") from error
                yield kept
                start += kept.size

    def content(self, kept: Kept) -> Iterator[bytes]:
        """What an object holds; behind its last piece it is known to be whole."""
        digest, left = hashlib.sha256(), kept.size
        try:
            with (self._path / CONTENT).open("rb") as file:
                file.seek(kept.start)
                while left and (piece := file.read(min(left, PIECE_BYTES))):
                    digest.update(piece)
                    left -= len(piece)
                    yield piece
        except OSError as error:
            raise self._damaged(CONTENT) from error
        if left or digest.hexdigest() != kept.sha256:
            raise self._damaged(CONTENT, f"the object {kept.name}")

    def _lines(self, name: str, expected: Sum) -> Iterator[list[bytes]]:
        found, page, size = Sum(), list[bytes](), 0
        try:
            with gzip.open(self._path / f"{name}.jsonl.gz") as file:
                for line in file:
                    page.append(line.removesuffix(b"\n"))
                    size += len(line)
                    if len(page) == PAGE_ROWS or size >= PAGE_BYTES:
                        found += sum_of(page)
                        yield page
                        page, size = [], 0
        except _BROKEN as error:
            raise self._damaged(f"{name}.jsonl.gz") from error
        if page:
            found += sum_of(page)
            yield page
        if found != expected:
            raise self._damaged(f"{name}.jsonl.gz")

    def _read_manifest(self) -> dict[str, Any]:
        path = self._path / MANIFEST
        try:
            body = path.read_bytes()
        except FileNotFoundError as error:
            raise ConfigurationError(f"{self._path} is no backup: there is no {MANIFEST} in it.") from error
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}; name a backup that can be read.") from error
        try:
            manifest = orjson.loads(body)
            id, number = manifest.pop("sha256"), manifest["format"]
        except (*_BROKEN, AttributeError) as error:
            raise self._damaged(MANIFEST) from error
        if id != _hash_of(manifest):
            raise self._damaged(MANIFEST)
        columns = {table: list(COLUMNS[table]) for table in TABLES}
        if number != FORMAT or {name: one["columns"] for name, one in manifest["tables"].items()} != columns:
            raise ConfigurationError(
                f"{self._path} was made by version {manifest['version']} in a format that this one does not read; "
                "restore it with that version."
            )
        return {**manifest, "sha256": id}

    def _damaged(self, file: str, what: str = "") -> Damaged:
        what = f"{what} in it" if what else "what is in it"
        return Damaged(f"{self._path / file} is damaged: {what} is not what was written. Use another backup.")


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _compressed(path: Path) -> Iterator[BinaryIO]:
    with _synced(path) as file, gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as lines:
        yield cast("BinaryIO", lines)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _hash_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(manifest)).hexdigest()
