"""Tasks that are deleted: one, or many in one transaction of the store, with the objects that only they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final
from uuid import UUID

from a2a_server.codec import decode, decode_parts, unpack_message
from a2a_server.engine.engine import Engine
from a2a_server.engine.graph import has_untold, is_part
from a2a_server.engine.paging import state_pages, takes_of
from a2a_server.engine.references import streamed_files
from a2a_server.errors import ClientError, EngineError, InvalidParams, Overloaded, TaskNotFound, UnsupportedOperation
from a2a_server.lifecycle.keeping import MARK, TOUCHED, USE, object_scope, stored_files, user_of
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import File, Phase, Scope
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import MessageRow, TaskRow
from a2a_server.service.each import each

MOST_EVENTS: Final = 50_000
"""Events of all tasks that go in one transaction, which keeps other writers waiting."""
_TRIES: Final = 3
_UNTOLD: Final = "Others have yet to learn that the task ended; try again in a moment."
_PART: Final = "The task is a part of one that has not ended, which counts it; delete it when that one has ended."


class Deleting:
    """Deletes tasks of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.backends.store

    async def delete(self, row: TaskRow) -> None:
        """The ended task is gone, with its rows and with the objects that nothing else refers to.

        Raises TaskNotFound, UnsupportedOperation, StoreUnavailable.
        """
        await self.check(row)
        objects = await self._objects(row)
        if not await self._store.erase([row.key]):
            raise TaskNotFound
        await self._discard(objects)

    async def check(self, row: TaskRow) -> None:
        """Raises UnsupportedOperation: the task, as the row has it, has to stay."""
        for reason in await self._reasons([row]):
            if reason:
                raise UnsupportedOperation(reason)

    async def delete_together(
        self, scope: Scope, ids: Sequence[str], *, dry_run: bool = False
    ) -> Mapping[str, ClientError]:
        """What speaks against it, by the ids of the tasks; if nothing does, all are gone at once, or (dry run) stay.

        Raises InvalidParams: they have too many events together; Overloaded, StoreUnavailable.
        """
        for _ in range(_TRIES):
            found = dict(zip(ids, await each(ids, lambda task_id: self._find(scope, task_id)), strict=True))
            rows = [row for row in found.values() if row is not None]
            refused: dict[str, ClientError] = {task_id: TaskNotFound() for task_id, row in found.items() if row is None}
            for row, reason in zip(rows, await self._reasons(rows), strict=True):
                if reason:
                    refused[row.id] = UnsupportedOperation(reason)
            if refused or not rows:
                return refused
            if (events := sum(row.last_n for row in rows)) > MOST_EVENTS:
                raise InvalidParams(
                    f"These tasks have {events} events together, more than the {MOST_EVENTS} that go in one turn; name "
                    "fewer, or leave out atomic.",
                    path="atomic",
                )
            if dry_run:
                return {}
            objects = await each(rows, self._objects)
            if await self._store.erase([row.key for row in rows], whole=True):
                await self._discard(chain.from_iterable(objects))
                return {}
        raise Overloaded("Others delete these tasks at the same moment; try again.", retry_after_seconds=1)

    async def _find(self, scope: Scope, task_id: str) -> TaskRow | None:
        return await self._store.find(scope, self._engine.agent, task_id)

    async def _reasons(self, rows: Sequence[TaskRow]) -> Sequence[str]:
        """Why each of them has to stay; empty = it need not."""
        reasons = await each(rows, self._reason)
        if _UNTOLD not in reasons:
            return reasons
        await self._engine.duties.settler.settle()
        return await each(rows, self._reason)

    async def _reason(self, row: TaskRow) -> str:
        if row.state not in TERMINAL:
            return "The task has not ended; cancel it first. Where it is deleted by itself, cancel=true does both."
        if await has_untold(self._store, row):
            return _UNTOLD
        if row.parent:
            head = (await self._store.heads([row.parent])).get(row.parent)
            if head is not None and head.phase is not Phase.FINAL:
                return _PART
        return _PART if await is_part(self._store, row) else ""

    async def _discard(self, objects: Iterable[str]) -> None:
        with suppress(EngineError):  # then the collector of unused objects does it
            await self._engine.backends.artifacts.delete([name for name in objects if not await self._is_used(name)])

    async def _objects(self, row: TaskRow) -> list[str]:
        """The objects that were made for the task."""
        names: set[str] = set()
        async for take in takes_of(self._store, row.key):
            names.add(take.location)
            if take.body:
                names.update(part.stored for part in decode_parts(take.body) if isinstance(part, File))
        async for file in streamed_files(self._store, row.key):
            names.add(file.stored)
        after: tuple[Any, ...] | None = None
        more = True
        while more:
            page = await self._store.rows(RowQuery(Table.MESSAGE, (row.key,), after, 200))
            for message in page.rows:
                if isinstance(message, MessageRow):
                    after = message[:2]
                    names.update(file.stored for file in stored_files(unpack_message(decode(message.body)).parts))
            more = page.more
        return sorted(name for name in names if name.startswith(f"{UUID(bytes=row.key)}/"))

    async def _is_used(self, name: str) -> bool:
        """Whether a message of a task refers to the object, or somebody is about to: a mark of theirs comes first."""
        async for rows in state_pages(self._store.rows, object_scope(name), MARK):
            if any(row.name == TOUCHED for row in rows):
                return True
        async for rows in state_pages(self._store.rows, object_scope(name), USE):
            if await self._store.heads([user_of(row) for row in rows]):
                return True
        return False
