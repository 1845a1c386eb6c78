"""The artifact store in a directory. An object becomes visible by one atomic rename, once its bytes are on the disk.

The object `{key}/{artifact}/{fence}` is the file `{key}.{artifact}.{fence}` two directories down, which are named by
the first 6 and the first 8 of its characters. Keys begin with their time, so a directory holds the tasks of about a
minute, and walking the tree in order is walking the names in order ('.' sorts like '/' among the characters of names).
Uploads grow in `.incoming`, which no name can reach. Directories that become empty are removed.

An upload holds a lock on its file, which ends with its process; so a file there that nobody has locked is what a kill
left. Such files are removed at start, and whenever somebody begins to walk over all names, as the collector of unused
objects does every so often.

Weakness: a `put` that is canceled during its last step, sync and rename, may leave the object; the collector removes
what no row names. Two `put` of one name take no lock: both succeed, and as their content is the same, either may stay.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

from a2a_server.artifacts.names import NAME_CHARACTERS, is_name, require_name
from a2a_server.errors import ConfigurationError, ObjectMissing, StoreUnavailable, TooLarge
from a2a_server.model.queries import Stored, StoredName

INCOMING = ".incoming"
LEFTOVER_SECONDS = 60
"""Younger files are left alone: theirs may be the moment between being made and being locked."""
PIECE_BYTES = 256 * 1024
THREADS = 4

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CUTS = (6, 8)
_PUBLISH_TRIES = 10

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class FilesystemArtifacts:
    """An `ArtifactStore` under `directory`, which is created; several processes may share it.

    Files are made with mode 0600 and directories with 0700. `put` raises ValueError for a name that is not one of ours,
    `read` then finds no object, and `delete` passes over it.

    Args:
        directory: where objects live, on a local file system that renames atomically.

    Raises:
        ConfigurationError: the directory cannot be made or opened.

    Concurrency: any number of coroutines of one event loop; file operations run in threads of its own.
    """

    def __init__(self, directory: Path) -> None:
        try:
            _make_root(directory)
            self._root = os.open(directory, _FOLDER_FLAGS & ~os.O_NOFOLLOW)
        except OSError as error:
            raise ConfigurationError(
                f"artifacts: the directory {directory} cannot be used ({error.strerror}); name one that can be written"
            ) from error
        try:
            self._incoming = _make_folder(self._root, INCOMING)
            _remove_leftovers(self._incoming)
        except OSError as error:
            os.close(self._root)
            raise ConfigurationError(
                f"artifacts: the directory {directory} cannot be written ({error.strerror}); change its owner or mode"
            ) from error
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="artifacts")
        self._uploads: set[_Upload] = set()
        self._closed = False

    async def open(self) -> None:
        """The directory was opened when this was made."""

    async def put(self, name: str, chunks: AsyncIterable[bytes], *, limit_bytes: int, media_type: str) -> Stored:
        require_name(name)
        upload = _Upload(self._root, self._incoming, name.replace("/", "."))
        self._uploads.add(upload)
        try:
            size = await self._receive(upload, chunks, limit_bytes)
        except BaseException:
            if not self._closed:  # else close does it
                await self._run(upload.discard)
            raise
        finally:
            if not self._closed:
                self._uploads.discard(upload)
        return Stored(name, size, upload.sha256, media_type)

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        if start < 0:
            raise ValueError("start is a count of bytes, 0 or more")
        download = _Download(self._root, name)
        try:
            while piece := await self._run(download.piece, start, end):
                yield piece
                start += len(piece)
                if start == download.size:
                    break
        finally:
            download.close()

    async def link(self, name: str, filename: str, media_type: str, expires_seconds: int) -> str | None:  # noqa: ARG002
        return None

    async def delete(self, names: Collection[str]) -> None:
        flats = [name.replace("/", ".") for name in names if is_name(name)]
        await self._run(_delete, self._root, flats)

    async def list(self, after: str, limit: int) -> Sequence[StoredName]:
        if not after:
            await self._run(_remove_leftovers, self._incoming)
        return await self._run(_list, self._root, after.replace("/", "."), limit)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._threads.shutdown()
        for upload in tuple(self._uploads):
            upload.discard()
        os.close(self._incoming)
        os.close(self._root)

    async def _receive(self, upload: _Upload, chunks: AsyncIterable[bytes], limit_bytes: int) -> int:
        size = 0
        piece = bytearray()
        async for chunk in chunks:
            size += len(chunk)
            if size > limit_bytes:
                raise TooLarge(f"an object may have {limit_bytes} bytes")
            if not piece and len(chunk) >= PIECE_BYTES:
                await self._run(upload.write, chunk)
                continue
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                await self._run(upload.write, piece)
                piece = bytearray()
        await self._run(upload.finish, piece)
        return size

    async def _run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Run a file operation in a thread. It is waited for even when canceled: its descriptors are then free."""
        if self._closed:
            raise StoreUnavailable("the artifact store is closed")
        future = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        canceled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError as error:
                canceled = error
        failure = future.exception()
        if canceled is not None:
            raise canceled
        if isinstance(failure, OSError):
            raise StoreUnavailable(f"the artifact directory failed: {failure.strerror}") from failure
        return future.result()


class _Upload:
    """A file in `.incoming` on its way to its name. Its methods block; each runs in a thread, one after the other."""

    def __init__(self, root: int, incoming: int, flat: str) -> None:
        self._root = root
        self._incoming = incoming
        self._flat = flat
        self._temporary = f"{os.getpid()}-{secrets.token_hex(16)}"
        self._file = -1
        self._exists = False
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, piece: bytes | bytearray) -> None:
        if self._file < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._temporary, flags, 0o600, dir_fd=self._incoming)
            self._exists = True
            with suppress(OSError):  # a file system without locks: there nothing is taken for a leftover either
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._hash.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._file, view) :]

    def finish(self, piece: bytes | bytearray) -> None:
        self.write(piece)
        os.fsync(self._file)
        self._publish()

    def _publish(self) -> None:
        for tries_left in reversed(range(_PUBLISH_TRIES)):
            try:
                with _folders(self._root, self._flat, create=True) as folders:
                    os.rename(self._temporary, self._flat, src_dir_fd=self._incoming, dst_dir_fd=folders[-1])
                    self._exists = False
                    for folder in reversed(folders):
                        os.fsync(folder)
            except FileNotFoundError:  # a delete removed a directory that was empty for a moment
                if not tries_left:
                    raise
            else:
                break
        self.discard()

    def discard(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._exists:
            self._exists = False
            with suppress(OSError):  # then it is removed as a leftover
                os.unlink(self._temporary, dir_fd=self._incoming)


class _Download:
    """An object that is read. `piece` blocks and runs in a thread."""

    def __init__(self, root: int, name: str) -> None:
        self._root = root
        self._name = name
        self._file = -1
        self.size = -1
        """In bytes, once a piece was read."""

    def piece(self, start: int, end: int | None) -> bytes:
        if self._file < 0:
            self._file = self._open()
            status = os.fstat(self._file)
            if not stat.S_ISREG(status.st_mode):
                raise ObjectMissing(f"no object {self._name}")
            self.size = status.st_size
        size = PIECE_BYTES if end is None else min(PIECE_BYTES, end - start)
        return os.pread(self._file, size, start) if size > 0 else b""

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        if not is_name(self._name):
            raise ObjectMissing("no object has such a name")
        flat = self._name.replace("/", ".")
        try:
            with _folders(self._root, flat) as folders:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                return os.open(flat, flags, dir_fd=folders[-1])
        except OSError as error:
            if _is_absent(error):
                raise ObjectMissing(f"no object {self._name}") from error
            raise


def _is_absent(error: OSError) -> bool:
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # ELOOP: a symbolic link, which is never ours


@contextmanager
def _folders(root: int, flat: str, *, create: bool = False) -> Iterator[tuple[int, ...]]:
    """The directories above an object, the root first."""
    with ExitStack() as stack:
        folders = [root]
        for cut in _CUTS:
            name = flat[:cut]
            folder = _make_folder(folders[-1], name) if create else os.open(name, _FOLDER_FLAGS, dir_fd=folders[-1])
            stack.callback(os.close, folder)
            folders.append(folder)
        yield tuple(folders)


def _make_root(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:  # an object is as durable as every directory above it
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _make_folder(parent: int, name: str) -> int:
    with suppress(FileNotFoundError):
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)


def _remove_leftovers(incoming: int) -> None:
    older_than = time.time() - LEFTOVER_SECONDS
    with os.scandir(incoming) as entries:
        for entry in entries:
            with suppress(OSError):  # its upload is alive, or another process was quicker, or the operator has to do it
                if entry.stat(follow_symlinks=False).st_mtime < older_than:
                    _remove_unlocked(incoming, entry.name)


def _remove_unlocked(incoming: int, name: str) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=incoming)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=incoming)
    finally:
        os.close(file)


def _delete(root: int, flats: Collection[str]) -> None:
    for flat in flats:
        try:
            with _folders(root, flat) as (_, outer, inner):
                os.unlink(flat, dir_fd=inner)
                with suppress(OSError):  # not empty
                    os.rmdir(flat[: _CUTS[1]], dir_fd=outer)
                    os.rmdir(flat[: _CUTS[0]], dir_fd=root)
        except OSError as error:
            if not _is_absent(error):
                raise


def _list(root: int, after: str, limit: int) -> list[StoredName]:
    return list(islice(_walk(root, after, "", (*_CUTS, NAME_CHARACTERS)), limit))


def _walk(folder: int, after: str, prefix: str, cuts: tuple[int, ...]) -> Iterator[StoredName]:
    """Objects in order; `cuts` are the lengths of the names in this directory and below."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.startswith(prefix) and e.name >= after[: cuts[0]])
    for name in names:
        if len(cuts) == 1:
            if name > after and (stored := _stored(folder, name)) is not None:
                yield stored
            continue
        try:
            inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
        except OSError as error:
            if _is_absent(error):  # just removed, or none of ours
                continue
            raise
        try:
            yield from _walk(inner, after, name, cuts[1:])
        finally:
            os.close(inner)


def _stored(folder: int, flat: str) -> StoredName | None:
    name = flat.replace(".", "/")
    try:
        status = os.stat(flat, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode) or not is_name(name):
        return None
    return StoredName(name, status.st_size, status.st_mtime_ns // 1000)
