"""When the first runs of tasks began: read from their logs once, and remembered, because it never changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from a2a_server.codec import decode_event
from a2a_server.lifecycle.turn import PLAIN_STATUS
from a2a_server.model.objects import Phase, State, StatusEvent
from a2a_server.model.rows import EventKind, Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.ports import TaskStore

MOST_REMEMBERED: Final = 20_000
AT_ONCE: Final = 20
"""Logs that are read at a time."""

_FIRST_EVENTS: Final = 4
_NEXT_EVENTS: Final = 100
"""Of a fork, which begins with an event for each message that it was given."""
_FIRST_BYTES: Final = 4 << 20
_BEGUN_AT_ONCE: Final = 2
"""The event that says so of a task of which nothing else was said before."""


class Starts:
    """Of the tasks of one store. Concurrency: belongs to the event loop."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store
        self._known: dict[Key, int] = {}

    def hear(self, bell: Bell) -> None:
        """Take in what a doorbell says, if it is that: others say of a first run that it goes on or ended."""
        if bell.row is not None and bell.row.fence == 1 and bell.row.phase is Phase.LEASED:
            for event in bell.events:
                if event.kind is EventKind.STATUS and event.fence == 1 and event.body == PLAIN_STATUS[State.WORKING]:
                    self._remember(bell.key, event.at)
                    return

    def known(self, row: TaskRow) -> int:
        """When the task's first run began, microseconds; 0 = it has not, or that is not known without reading."""
        if not row.fence:
            return 0
        if row.state is State.WORKING and row.last_n == _BEGUN_AT_ONCE:
            return row.status_at
        return self._known.get(row.key, 0)

    async def of(self, rows: Sequence[TaskRow]) -> Mapping[Key, int]:
        """When they began, as `known`, read where it has to be. Raises StoreUnavailable."""
        found = {row.key: self.known(row) for row in rows}
        unread = [row.key for row in rows if row.fence and not found[row.key]]
        for start in range(0, len(unread), AT_ONCE):
            some = unread[start : start + AT_ONCE]
            found |= zip(some, await asyncio.gather(*map(self._read, some)), strict=True)
        return found

    async def _read(self, key: Key) -> int:
        after, events = 1, await self._store.events(key, 1, _FIRST_EVENTS, _FIRST_BYTES)
        while events:
            for event in events:
                said = decode_event(event) if event.kind is EventKind.STATUS else None
                if isinstance(said, StatusEvent) and said.status.state is State.WORKING:
                    self._remember(key, event.at)
                    return event.at
                after = event.n
            events = await self._store.events(key, after, _NEXT_EVENTS, _FIRST_BYTES)
        return 0

    def _remember(self, key: Key, at: int) -> None:
        if key not in self._known and len(self._known) >= MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known.setdefault(key, at)
