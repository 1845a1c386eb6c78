"""Deletes objects that nothing refers to: of tasks that were erased, of attempts that lost, uploads that nobody used.

Theory of operation
-------------------
The artifact store is walked in the order of names. An object younger than `unused_object_seconds` is left alone:
whoever stored it may be about to commit what refers to it. An older one is needed as long as its own task's takes or
events name it, a message of any existing task refers to it, or somebody meant to use it a short while ago
(lifecycle.keeping). What is not needed is condemned first and looked at again, so a send that refers to it at this
moment either is seen, or sees the mark and is refused. Then the object is deleted, and its rows are forgotten.

Any number of collectors may walk at once: each sets and clears marks of its own only. One that was killed between mark
and deletion leaves an object that no new message can refer to; the next walk deletes it, or takes off an old mark.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Final
from uuid import UUID

from a2a_server.codec import decode_parts
from a2a_server.engine.archiving import is_archive
from a2a_server.engine.paging import state_pages, takes_of
from a2a_server.engine.references import streamed_files
from a2a_server.engine.writer import Writer
from a2a_server.errors import ClientError, EngineError
from a2a_server.lifecycle.keeping import (
    CONDEMNED,
    MARK,
    TOUCHED,
    USE,
    Keep,
    Note,
    marked_at,
    object_scope,
    user_of,
)
from a2a_server.model.objects import File
from a2a_server.model.queries import StoredName
from a2a_server.model.rows import NO_KEY, Key, StateRow
from a2a_server.policy import SECOND
from a2a_server.ports import ArtifactStore, TaskStore

PAGE_OBJECTS: Final = 200
"""Objects that are looked at in one step."""
REMEMBERED: Final = 100_000
"""Names known to be needed as long as their task exists; what is forgotten is looked up again."""
PAUSE_SECONDS: Final = 0.05
"""Between two steps: collecting is never urgent."""

_log = logging.getLogger("a2a_server.engine.collector")


class Collector:
    """Collects unused objects. id: tells this collector's marks from others'. clock: microseconds."""

    def __init__(
        self,
        store: TaskStore,
        artifacts: ArtifactStore,
        writer: Writer,
        *,
        id: str,
        collect_seconds: float,
        unused_object_seconds: float,
        clock: Callable[[], int],
        random: Random,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._writer = writer
        self._mark = f"{CONDEMNED}:{id}"
        self._collect_seconds = collect_seconds
        self._unused = round(unused_object_seconds * SECOND)
        self._clock = clock
        self._random = random
        self._named_by_task: set[str] = set()

    async def run(self) -> None:
        """Collect for ever, about every `collect_seconds`; the first time after a random share of them."""
        wait = self._collect_seconds * self._random.random()
        while True:
            await asyncio.sleep(wait)
            try:
                if count := await self.collect():
                    _log.info("Deleted %d objects that nothing refers to.", count)
            except (EngineError, ClientError) as error:
                _log.warning("Collecting unused objects failed (%s); it is tried again.", type(error).__name__)
            except Exception:  # noqa: BLE001 - a bug here must not end collecting for ever; it is logged each time
                _log.exception("Collecting unused objects failed; it is tried again.")
            wait = self._collect_seconds * self._random.uniform(0.8, 1.2)

    async def collect(self) -> int:
        """Walk all objects once. Returns how many were deleted. Idempotent. Raises what the stores raise."""
        deleted = 0
        after = ""
        while page := await self._artifacts.list(after, PAGE_OBJECTS):
            after = page[-1].name
            deleted += await self._step(page)
            await asyncio.sleep(PAUSE_SECONDS)
        return deleted

    async def _step(self, page: Sequence[StoredName]) -> int:
        then = self._clock() - self._unused
        old = [entry.name for entry in page if entry.stored_at < then and not is_archive(entry.name)]
        needed = await self._named(old)
        return await self.discard([name for name in old if name not in needed])

    async def discard(self, names: Sequence[str], but: Key = NO_KEY) -> int:
        """Delete those of these objects that nothing refers to, or this one task only. Returns how many. Idempotent.

        Raises what the stores raise.
        """
        unused = [name for name in names if not await self._in_use(name, but)]
        if not unused:
            return 0
        await self._keep([Note(name, MARK, self._mark, {}) for name in unused])
        gone = [name for name in unused if not await self._in_use(name, but)]
        await self._artifacts.delete(gone)
        for name in gone:
            await self._forget(name)
        return len(gone)

    async def _named(self, names: Sequence[str]) -> set[str]:
        """Those of the names that takes or events of their own task hold."""
        by_task: dict[Key, set[str]] = {}
        for name in names:
            by_task.setdefault(_task_of(name), set()).add(name)
        found: set[str] = set()
        for key in await self._store.heads(list(by_task)):
            found |= await self._named_by(key, by_task[key])
        return found

    async def _named_by(self, key: Key, names: set[str]) -> set[str]:
        missing = names - self._named_by_task
        if missing:
            async for row in takes_of(self._store, key):
                missing -= {row.location}
                if row.body:
                    missing -= {part.stored for part in decode_parts(row.body) if isinstance(part, File)}
        if any("/files/" in name for name in missing):
            async for file in streamed_files(self._store, key):
                missing.discard(file.stored)
                if not missing:
                    break
        found = names - missing
        if len(self._named_by_task) + len(found) > REMEMBERED:
            self._named_by_task.clear()
        self._named_by_task |= found
        return found

    async def _in_use(self, name: str, but: Key) -> bool:
        """Whether a message of another task refers to the object, or somebody was about to a short while ago.

        Where it is so, marks that condemn it are taken off: this collector's, and those of collectors that died.
        """
        long_ago = self._clock() - self._unused
        old_marks: list[Note] = []
        touched = False
        async for marks in self._pages(name, MARK):
            for mark in marks:
                touched = touched or (mark.name == TOUCHED and marked_at(mark) >= long_ago)
                if mark.name == self._mark or (mark.name.startswith(CONDEMNED) and marked_at(mark) < long_ago):
                    old_marks.append(Note(name, MARK, mark.name))
        if not (touched or await self._has_user(name, but)):
            return False
        await self._keep(old_marks)
        return True

    async def _has_user(self, name: str, but: Key) -> bool:
        async for rows in self._pages(name, USE):
            users = {user_of(row) for row in rows} - {but}
            if users and await self._store.heads(users):
                return True
        return False

    async def _forget(self, name: str) -> None:
        for space in (USE, MARK):
            async for rows in self._pages(name, space):
                await self._keep([Note(name, space, row.name) for row in rows])

    def _pages(self, name: str, space: str) -> AsyncIterator[Sequence[StateRow]]:
        return state_pages(self._store.rows, object_scope(name), space)

    async def _keep(self, notes: list[Note]) -> None:
        if notes:
            await self._writer.submit(Keep(tuple(notes), urgent=True))


def _task_of(name: str) -> Key:
    try:
        return Key(UUID(name.partition("/")[0]).bytes)
    except ValueError:  # none of ours; no task has such a key
        return Key(b"")
