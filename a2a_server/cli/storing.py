"""`store copy`, `backup` and `restore`: everything that a server keeps, somewhere else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from a2a_server.cli.failures import CommandError, Exit, UsageError
from a2a_server.cli.flags import Flags
from a2a_server.cli.output import emit, emit_json, say
from a2a_server.errors import EngineError

if TYPE_CHECKING:
    from a2a_server.wiring.copying import Copied, Tell

ResultT = TypeVar("ResultT")
Output = Annotated[Literal["text", "json"], Parameter(alias="-o", show_default=True)]


def copy(
    source: str,
    target: str,
    /,
    *,
    artifacts_from: str = "",
    artifacts_to: str = "",
    live: bool = False,
    output: Output = "text",
) -> int:
    """Copy a store into an empty one of any kind, and check the copy: each table by its count and a hash of its rows.

    Both must not be served. A copy that was interrupted goes on when it is begun again; until it is complete no server
    works with the target. What runs in the source runs again from the copy.

    Args:
        source: The store to copy: sqlite:///relative.db, postgresql://…, mongodb://….
        target: The store to fill; its tables are made.
        artifacts_from: Copy large content too, from this artifact store (file:…, s3://…, store://) of the source.
        artifacts_to: The empty artifact store that it goes to.
        live: Copy a source that is served (SQLite, PostgreSQL), as it is at one moment: what comes later stays behind.
        output: For people, or JSON: one object.
    """
    from a2a_server.settings import load
    from a2a_server.wiring.copying import copy_store

    if bool(artifacts_from) != bool(artifacts_to):
        raise UsageError("give both of --artifacts-from and --artifacts-to, or none: then large content stays in place")
    origin = load(None, store=source, artifacts=artifacts_from or None)
    goal = load(None, store=target, artifacts=artifacts_to or None)
    with _progress() as tell:
        copied = _run(copy_store(origin, goal, artifacts=bool(artifacts_from), live=live, tell=tell))
    _warn(copied, artifacts_from)
    if output == "json":
        emit_json(_described(copied))
        return Exit.OK
    emit(f"Copied {_counted(copied)}; the copy was read back, and is the same.\n")
    if not artifacts_from:
        emit("Large content was left where it is; --artifacts-from and --artifacts-to copy it too.\n")
    return Exit.OK


def backup(path: Path, /, *, output: Output = "text", flags: Flags | None = None) -> int:
    """Write everything that the store and the artifact store hold to a new directory.

    The server may run meanwhile (SQLite, PostgreSQL): the backup is one moment of it.

    Args:
        path: The directory to make; only its owner can read it.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    from a2a_server.cli import program_version
    from a2a_server.wiring.backup import back_up

    settings = (flags or Flags()).settings().settings
    with _progress() as tell:
        copied = _run(back_up(settings, path, version=program_version(), tell=tell))
    _warn(copied, settings.artifacts)
    if output == "json":
        emit_json({"path": str(path), **_described(copied)})
    else:
        emit(f"{path} holds {_counted(copied)}.\n")
    return Exit.OK


def restore(path: Path, /, *, verify_only: bool = False, output: Output = "text", flags: Flags | None = None) -> int:
    """Fill an empty store and an empty artifact store from a backup, after reading all of it and checking its hashes.

    A restore that was interrupted goes on when it is begun again; until it is complete no server works with the store.
    Tasks that ran at the moment of the backup run again.

    Args:
        path: The directory that `backup` made.
        verify_only: Only read the backup and check it; nothing is restored.
        output: For people, or JSON: one object.
        flags: Settings as flags.
    """
    from a2a_server.wiring import backup as backups
    from a2a_server.wiring.copying import Copied

    with _progress() as tell:
        if verify_only:
            reader = _ended(lambda: backups.verify(path, tell))
            copied = Copied(reader.sums, reader.moved)
        else:
            copied = _run(backups.restore((flags or Flags()).settings().settings, path, tell))
    if output == "json":
        emit_json({"path": str(path), **_described(copied)})
    else:
        done = f"{path} is whole: it holds" if verify_only else "Restored"
        emit(f"{done} {_counted(copied)}{'' if verify_only else '; they were read back, and are the same'}.\n")
    return Exit.OK


def _warn(copied: Copied, artifacts: str) -> None:
    from a2a_server.wiring.places import called

    if copied.missing:
        say(
            f"a2a-server: {_many(len(copied.missing), 'object')} named by tasks, but not found in {called(artifacts)} "
            f"(the first: {copied.missing[0]}); is this the artifact store of these tasks?"
        )


def _described(copied: Copied) -> dict[str, Any]:
    return {
        "tasks": copied.tasks,
        "tables": {table: {"rows": one.rows, "sha256": one.hex} for table, one in copied.sums.items()},
        "objects": {"count": copied.moved.objects, "bytes": copied.moved.size, "missing": len(copied.missing)},
    }


def _counted(copied: Copied) -> str:
    objects = f" and {_many(copied.moved.objects, 'object')} ({copied.moved.size:,} bytes)"
    return f"{_many(copied.tasks, 'task')} ({copied.rows:,} rows in all){objects if copied.moved.objects else ''}"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' if count != 1 else ''}"


def _run(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    return _ended(lambda: asyncio.run(work))


def _ended(work: Callable[[], ResultT]) -> ResultT:
    try:
        return work()
    except EngineError as error:
        raise CommandError(str(error) or type(error).__name__) from error


def _progress() -> AbstractContextManager[Tell]:
    return _bar() if sys.stderr.isatty() else nullcontext(lambda _doing, _done, _total: None)


@contextmanager
def _bar() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("opening", total=None)
        yield lambda doing, done, total: progress.update(bar, description=doing, completed=done, total=total)
