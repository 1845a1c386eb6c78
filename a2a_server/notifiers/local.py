"""The notifier inside one process: every listener has a bounded backlog of batches, and an empty batch says it overran.

A batch is kept as it was rung, its events included, so followers need no read from the store. The backlog is bounded in
batches and in bytes; a listener that is too far behind loses all of it and is told to poll instead.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Self

from a2a_server.model.turns import Bell

LIMIT_BATCHES = 1024
LIMIT_BYTES = 64 * 1024 * 1024
_FAR_BYTES = 512  # about what a bell from another process takes


class LocalNotifier:
    """A `Notifier` for the listeners of this process. A listener that nobody holds any more is forgotten.

    Args:
        limit_batches: how many batches a listener may be behind.
        limit_bytes: how many bytes of rows and events a listener may be behind.

    Concurrency: any number of coroutines of one event loop, each iterating a listener of its own; not thread-safe.
    """

    def __init__(self, limit_batches: int = LIMIT_BATCHES, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_batches = limit_batches
        self._limit_bytes = limit_bytes
        self._listeners: weakref.WeakSet[_Listener] = weakref.WeakSet()
        self._closed = False

    async def open(self) -> None:
        """Nothing is elsewhere."""

    async def ring(self, bells: Sequence[Bell], but: AsyncIterator[Sequence[Bell]] | None = None) -> None:
        self.tell(bells, but)

    def tell(self, bells: Sequence[Bell], but: AsyncIterator[Sequence[Bell]] | None = None) -> None:
        """What `ring` does, at once."""
        listeners = self._listeners
        if not bells or not listeners or (len(listeners) == 1 and but in listeners):
            return
        batch = tuple(bells)
        size = sum(map(_size, batch))
        for listener in listeners:
            if listener is not but:
                listener.add(batch, size)

    def missed(self) -> None:
        """Tell every listener to poll, behind what it has still to hear."""
        for listener in self._listeners:
            listener.poll()

    def listen(self) -> AsyncIterator[Sequence[Bell]]:
        listener = _Listener(self._limit_batches, self._limit_bytes)
        if self._closed:
            listener.end()
        else:
            self._listeners.add(listener)
        return listener

    async def close(self) -> None:
        self._closed = True
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()


class _Listener:
    def __init__(self, limit_batches: int, limit_bytes: int) -> None:
        self._limit_batches = limit_batches
        self._limit_bytes = limit_bytes
        self._batches: deque[tuple[Sequence[Bell], int]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Sequence[Bell]:
        while not self._batches:
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        batch, size = self._batches.popleft()
        self._bytes -= size
        return batch

    def add(self, batch: Sequence[Bell], size: int) -> None:
        self._batches.append((batch, size))
        self._bytes += size
        if len(self._batches) > self._limit_batches or self._bytes > self._limit_bytes:
            self._batches.clear()
            self._batches.append(((), 0))
            self._bytes = 0
        self._arrived.set()

    def poll(self) -> None:
        if not self._batches or self._batches[-1][0]:
            self.add((), 0)

    def end(self) -> None:
        self._ended = True
        self._batches.clear()
        self._arrived.set()


def _size(bell: Bell) -> int:
    _, row, events, takes, messages, head, _ = bell
    size = _FAR_BYTES if head is not None else 0
    if row is not None:
        size += len(row.spec) + len(row.status)
    for kept in (events, takes, messages):
        for each in kept:
            size += len(each.body)
    return size
