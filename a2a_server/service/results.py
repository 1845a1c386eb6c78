"""What came of a whole batch: its tasks counted, and their results in the order of its items."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from a2a_server.engine.engine import Engine
from a2a_server.errors import NothingThere
from a2a_server.model.management import MOST_AT_ONCE, TaskFilter
from a2a_server.model.objects import Scope, Task
from a2a_server.model.rows import TaskRow
from a2a_server.service.searching import Counted, Searching
from a2a_server.service.views import task_of
from a2a_server.values import value_class

AT_ONCE: Final = 20
"""Tasks that are read at a time."""
PAGE_BYTES: Final = 8 << 20
"""A page ends behind the tasks that bring it to so much, as far as the store keeps it itself."""


@value_class(frozen=True, slots=True)
class ResultPage:
    """Some tasks of a batch, each as it is found and with what came out of it; next: the cursor, None = the last."""

    results: Sequence[tuple[TaskRow, Task]]
    next: str | None


class Results:
    """Reads the batches of one engine. Concurrency: any number of callers."""

    def __init__(self, engine: Engine, searching: Searching) -> None:
        self._store = engine.backends.store
        self._objects = engine.backends.artifacts
        self._searching = searching

    async def counted(self, scope: Scope, batch: str) -> Counted:
        """The tasks of the batch. Raises NothingThere."""
        counted = await self._searching.counted(scope, TaskFilter(batch=batch), MOST_AT_ONCE)
        if not counted.states:
            raise no_batch()
        return counted

    async def page(self, scope: Scope, batch: str, limit: int, cursor: str) -> ResultPage:
        """Results in the order of the batch's items; large ones make a page shorter.

        Raises NothingThere, InvalidParams for a cursor of another list.
        """
        wanted = TaskFilter(batch=batch)
        found: list[tuple[TaskRow, Task]] = []
        size, following = 0, cursor or None
        while len(found) < limit and size < PAGE_BYTES:
            some = min(AT_ONCE, limit - len(found))
            page = await self._searching.page(scope, wanted, limit=some, cursor=following or "")
            shown = await asyncio.gather(*(self._shown(row) for row in page.rows))
            for row, (task, weight) in zip(page.rows, shown, strict=True):
                size += weight
                if task is not None:
                    found.append((row, task))
            following = page.next
            if following is None:
                break
        if not (found or cursor):
            raise no_batch()
        return ResultPage(found, following)

    async def _shown(self, row: TaskRow) -> tuple[Task | None, int]:
        snapshot = await self._store.snapshot(row.key, 0)
        if snapshot is None:  # erased at this moment
            return None, 0
        size = sum(len(one.body) for one in snapshot.artifacts) + sum(len(one.body) for one in snapshot.chunks)
        return await task_of(snapshot, self._objects), size


def no_batch() -> NothingThere:
    """What is said where a batch has no task that the caller may see."""
    return NothingThere("There is no batch of this id, or it is not yours, or its tasks were deleted.")
