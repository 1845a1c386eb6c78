"""The store that is copied from and the one that is copied to, open, and refused where copying them could go wrong.

From a store that is served a copy is consistent only where a dump is one moment; what is acknowledged later is not in
it. A store that is filled must not be served at all: the database of one process is locked, the others are asked for
living workers, and the mark of `engine.unfinished` keeps servers from starting on half of a copy.

Weakness: a process that serves without workers (`--workers 0`) is on no list, so nothing here sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from a2a_server.engine.reaching import reached
from a2a_server.engine.unfinished import mark_unfinished, refuse_unfinished, unfinished
from a2a_server.errors import ConfigurationError
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import WorkerRow
from a2a_server.model.turns import Changes, Needs
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.settings import Settings, kind_of, local_path
from a2a_server.settings.services import shown
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.wiring.backends import artifacts_of, shares, store_of
from a2a_server.wiring.dumps import dumped, tables

ONE_MOMENT: Final = frozenset({"sqlite", "postgresql"})
"""Kinds of stores whose dump is one moment, whatever else happens."""


class Target(NamedTuple):
    """The store that is filled from `origin`. goes_on: it holds a part of this very copy already."""

    store: TaskStore
    origin: str
    goes_on: bool

    async def begin(self) -> None:
        """Mark the store: from now on it is half of a copy. Behind everything that may still refuse it."""
        await mark_unfinished(self.store, self.origin)


@asynccontextmanager
async def source(settings: Settings, *, live: bool, way_out: str = "") -> AsyncIterator[TaskStore]:
    """The store that is read, open.

    live: it may be served meanwhile, where its dump is one moment. way_out: what else can be done where it is served.
    Raises ConfigurationError: it is served, is not there, or holds a part of a copy; SchemaMismatch.
    """
    if not shares(settings) and not local_path(settings.store).is_file():
        raise ConfigurationError(f"there is no database {called(settings.store)}; name another one.")
    served = live and kind_of(settings.store) in ONE_MOMENT
    with _locked(settings, way_out, wanted=not served):
        async with _opened(settings) as store:
            if not served:
                await _refuse_workers(settings, store, way_out)
            await refuse_unfinished(store)
            yield store


@asynccontextmanager
async def target(settings: Settings, origin: str) -> AsyncIterator[Target]:
    """The store that is filled, open; empty, or with a part of a copy of `origin`.

    Its mark goes when the block ends well. Raises ConfigurationError, SchemaMismatch.
    """
    with _locked(settings, "", wanted=True):
        async with _opened(settings) as store:
            await _refuse_workers(settings, store, "")
            begun = await unfinished(store)
            if begun and begun != origin:
                raise ConfigurationError(
                    f"{called(settings.store)} holds a part of a copy of {begun}: go on with that one, or name another "
                    "store, or make this one anew."
                )
            if not begun:
                await _refuse_rows(settings, store)
            yield Target(store, origin, bool(begun))
            await mark_unfinished(store, "")


@asynccontextmanager
async def read_objects(settings: Settings, store: TaskStore) -> AsyncIterator[ArtifactStore]:
    """The artifact store that is read, open. Raises ConfigurationError: it is not there."""
    if kind_of(settings.artifacts) == "file" and not local_path(settings.artifacts).is_dir():
        raise ConfigurationError(
            f"there is no directory {called(settings.artifacts)} with the artifacts; name the one that is meant."
        )
    async with _opened_objects(settings, store) as artifacts:
        yield artifacts


@asynccontextmanager
async def filled_objects(settings: Settings, goal: Target) -> AsyncIterator[ArtifactStore]:
    """The artifact store that is filled, open: made where it can be, empty unless the copy goes on.

    Raises ConfigurationError.
    """
    async with _opened_objects(settings, goal.store) as artifacts:
        if not goal.goes_on and await artifacts.list("", 1):
            raise ConfigurationError(
                f"{called(settings.artifacts)} holds objects already, which the store would take for its own and "
                "delete: name an empty place."
            )
        yield artifacts


async def now_of(store: TaskStore) -> int:
    """The store's time in microseconds."""
    return (await store.turn(Needs(), lambda _: Changes())).now


def called(address: str) -> str:
    """The address as people are told it: a path, or a URL without its password."""
    return str(local_path(address)) if kind_of(address) in ("sqlite", "file") else shown(address)


def identity(address: str) -> str:
    """The address as marks keep it: a path that is whole, or a URL without user and password.

    Options may name another database, and may be secret: of them there is a hash.
    """
    if kind_of(address) in ("sqlite", "file"):
        return str(local_path(address).resolve())
    options = urlsplit(address).query
    return f"{shown(address)}{f' ({hashlib.sha256(options.encode()).hexdigest()[:8]})' if options else ''}"


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[TaskStore]:
    store = store_of(settings)
    try:
        await reached(store.open, seconds=0, random=Random())  # noqa: S311 - as above
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _opened_objects(settings: Settings, store: TaskStore) -> AsyncIterator[ArtifactStore]:
    artifacts = artifacts_of(settings, store)
    try:
        await reached(artifacts.open, seconds=0, random=Random())  # noqa: S311 - as above
        yield artifacts
    finally:
        await artifacts.close()


@contextmanager
def _locked(settings: Settings, way_out: str, *, wanted: bool) -> Iterator[None]:
    if not wanted or shares(settings):
        yield
        return
    lock = FileLock(local_path(settings.store))
    try:
        lock.acquire()
    except ConfigurationError as error:
        if isinstance(error.__cause__, BlockingIOError):
            name = called(settings.store)
            raise ConfigurationError(f"a server process serves {name}: stop it first{way_out}.") from error
        raise
    try:
        yield
    finally:
        lock.release()


async def _refuse_workers(settings: Settings, store: TaskStore, way_out: str) -> None:
    if not shares(settings):
        return  # the lock says more: a process that was killed just now does not live
    now = await now_of(store)
    page = await store.rows(RowQuery(Table.WORKER, limit=10_000))
    workers = [row for row in page.rows if isinstance(row, WorkerRow)]
    alive = [row.id.hex() for row in workers if not row.dead and row.seen_at + row.ttl >= now]
    if alive:
        way_out = way_out if kind_of(settings.store) in ONE_MOMENT else ""
        raise ConfigurationError(
            f"{called(settings.store)} is served, by {len(alive)} workers ({', '.join(alive[:3])}…): stop all its "
            f"processes first, `a2a-server workers` lists them{way_out}."
        )


async def _refuse_rows(settings: Settings, store: TaskStore) -> None:
    async with dumped(store, tables(blobs=True)) as pages:
        async for table, _ in pages:
            raise ConfigurationError(
                f"{called(settings.store)} is not empty, its table {table} has rows: name an empty store. (A copy that "
                "was interrupted goes on by itself, when it is begun again from the same source.)"
            )
