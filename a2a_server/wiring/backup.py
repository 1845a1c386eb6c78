"""A store with its objects into a backup, and a backup into an empty store.

Theory of operation
-------------------
A backup takes the rows first, as one moment of the store, and then the objects. Objects are never changed, and what a
row names is deleted only a day after the last row that named it, so all that the rows name is there; what is newer than
the rows is unused in the restored store, whose collector deletes it.

A restore first reads the whole backup and believes nothing that its hashes do not confirm; then it fills the store,
reads it back, and compares it with the manifest. Until that is done the store is marked, and no server works with it.
A restore that was interrupted goes on when it is begun again. Tasks that ran at the moment of the backup run again at
once: workers are not restored, so every lease is an orphan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from a2a_server.errors import Damaged, TooLarge
from a2a_server.ports import ArtifactStore
from a2a_server.settings import Settings
from a2a_server.wiring.backup_files import TABLES, BackupReader, BackupWriter, Kept
from a2a_server.wiring.copying import Copied, Tell, check, pour
from a2a_server.wiring.dumps import dumped
from a2a_server.wiring.objects import MEDIA_TYPE, Named, objects_of
from a2a_server.wiring.places import called, filled_objects, now_of, read_objects, source, target

ItemT = TypeVar("ItemT")


async def back_up(settings: Settings, path: Path, *, version: str, tell: Tell) -> Copied:
    """There is a backup at `path` of the store and the artifact store, as of one moment; they may be served meanwhile.

    Raises ConfigurationError: there is something at `path`, or one of them cannot be used; SchemaMismatch; OSError.
    """
    named = Named()
    async with AsyncExitStack() as stack:
        writer = stack.enter_context(BackupWriter(path))
        store = await stack.enter_async_context(source(settings, live=True))
        artifacts = await stack.enter_async_context(read_objects(settings, store))
        at = await now_of(store)
        async with dumped(store, TABLES) as pages:
            async for table, rows in pages:
                named.saw(table, rows)
                tell(f"copying {table}", writer.rows(table, rows), None)
        done = 0
        async for one in objects_of(artifacts):
            if await writer.object(one.name, artifacts.read(one.name)):
                named.found(one.name)
                done += 1
            tell("copying objects", done, None)
        moved = writer.finish(at=at, version=version)
        return Copied(writer.sums, moved, named.missing)


def verify(path: Path, tell: Tell) -> BackupReader:
    """The backup, which is whole: every row and every object was read. Raises ConfigurationError, Damaged."""
    reader = BackupReader(path)
    counts = dict.fromkeys(TABLES, 0)
    for table, rows in reader.pages():
        counts[table] += len(rows)
        tell(f"reading {table}", counts[table], reader.sums[table].rows)
    for done, kept in enumerate(reader.objects(), 1):
        for _ in reader.content(kept):
            pass
        tell("reading objects", done, reader.moved.objects)
    return reader


async def restore(settings: Settings, path: Path, tell: Tell) -> Copied:
    """The store and the artifact store, empty before, hold what the backup holds.

    Raises ConfigurationError: there is no backup, or the store is served or not empty; Damaged; SchemaMismatch.
    """
    reader = verify(path, tell)
    async with AsyncExitStack() as stack:
        filled = await stack.enter_async_context(target(settings, f"the backup of {reader.at} ({reader.id[:16]})"))
        artifacts = await stack.enter_async_context(filled_objects(settings, filled))
        await filled.begin()
        sums = await pour(_each(reader.pages()), filled.store, tell, reader.sums)
        await check(sums, filled.store, TABLES, tell, where=called(settings.store))
        for done, kept in enumerate(reader.objects(), 1):
            await _put(artifacts, reader, kept)
            tell("copying objects", done, reader.moved.objects)
    return Copied(sums, reader.moved)


async def _put(artifacts: ArtifactStore, reader: BackupReader, kept: Kept) -> None:
    content = _each(reader.content(kept))
    try:
        stored = await artifacts.put(kept.name, content, limit_bytes=kept.size, media_type=MEDIA_TYPE)
    except TooLarge as error:
        raise Damaged(f"the object {kept.name} changed while it was read; restore once more.") from error
    if (stored.size, stored.sha256) != (kept.size, kept.sha256):
        raise Damaged(f"the object {kept.name} did not come as it is in the backup; restore once more.")


async def _each(items: Iterator[ItemT]) -> AsyncIterator[ItemT]:
    for item in items:
        yield item
