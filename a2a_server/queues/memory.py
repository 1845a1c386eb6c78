"""The work queue inside one process: a heap of hints for each queue, ordered by (lane, rank, key).

A key is hinted once: the newest hint replaces an older one of the same key, whose heap entry stays behind and is
skipped when it surfaces. What lives here is bounded, stale entries included. When it is full new hints are dropped, and
the next `take` of such a queue returns None at once, so that the worker asks the store.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from a2a_server.model.queries import QueueCapabilities
from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint

LIMIT_HINTS = 100_000


class MemoryQueue:
    """A `WorkQueue` for the workers of this process.

    Args:
        limit: how many hints are kept over all queues; further ones are dropped.

    Concurrency: any number of coroutines of one event loop; not thread-safe.
    """

    capabilities = QueueCapabilities(priorities=True)

    def __init__(self, limit: int = LIMIT_HINTS) -> None:
        self._limit = limit
        self._heaps: dict[str, list[Hint]] = {}  # a queue's hints compare by (lane, rank, key)
        self._entries = 0
        self._hints: dict[Key, Hint] = {}
        self._depth: dict[tuple[str, int], int] = {}
        self._lost: set[str] = set()
        self._waiting: dict[asyncio.Future[None], frozenset[str]] = {}
        self._closed = False

    async def open(self) -> None:
        """Nothing is elsewhere."""

    async def offer(self, hints: Sequence[Hint]) -> None:
        self.put(hints)

    def put(self, hints: Sequence[Hint]) -> None:
        """What `offer` does, at once."""
        if self._closed:
            return
        arrived = set()
        for hint in hints:
            if self._add(hint):
                arrived.add(hint.queue)
        if arrived and self._waiting:
            self._wake(arrived)

    async def take(self, queues: Collection[str], limit: int, timeout_seconds: float) -> Sequence[Key] | None:
        wanted = frozenset(queues)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not self._closed:
            keys = self._best(wanted, limit)
            if keys:
                return keys
            if keys is None or loop.time() >= deadline:
                break
            arrived = loop.create_future()
            timer = loop.call_at(deadline, _resolve, arrived)
            self._waiting[arrived] = wanted
            try:
                await arrived
            finally:
                timer.cancel()
                del self._waiting[arrived]
        return None

    async def depth(self) -> Mapping[tuple[str, int], int] | None:
        return dict(self._depth)

    def clear(self) -> None:
        """Forget every hint; takers go on waiting."""
        self._heaps.clear()
        self._hints.clear()
        self._depth.clear()
        self._lost.clear()
        self._entries = 0

    async def close(self) -> None:
        self._closed = True
        self.clear()
        for arrived in self._waiting:
            _resolve(arrived)

    def _add(self, hint: Hint) -> bool:
        queue, lane, _, key = hint
        known = self._hints.get(key)
        if known is not None and known == hint:
            return False
        if self._entries >= self._limit and not self._compact():
            self._lost.add(queue)
            return True
        if known is not None:
            self._count(known.queue, known.lane, -1)
        self._hints[key] = hint
        self._count(queue, lane, 1)
        self._entries += 1
        heap = self._heaps.get(queue)
        if heap is None:
            self._heaps[queue] = [hint]
        else:
            heapq.heappush(heap, hint)
        return True

    def _best(self, queues: frozenset[str], limit: int) -> list[Key] | None:
        if self._lost and not self._lost.isdisjoint(queues):
            self._lost -= queues
            return None
        heads = [(*head[1:], head) for queue in queues if (head := self._head(queue)) is not None]
        if len(heads) == 1:
            return self._first(heads[0][-1].queue, limit)
        heapq.heapify(heads)
        keys: list[Key] = []
        while heads and len(keys) < limit:
            hint = heads[0][-1]
            self._pop(hint.queue)
            del self._hints[hint.key]
            self._count(hint.queue, hint.lane, -1)
            keys.append(hint.key)
            following = self._head(hint.queue)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (*following[1:], following))
        return keys

    def _first(self, queue: str, limit: int) -> list[Key]:
        """The best of one queue."""
        heap, hints, keys = self._heaps[queue], self._hints, list[Key]()
        lanes: dict[int, int] = {}
        before = len(heap)
        if before <= limit:  # all of it: what came in its order is sorted at a glance
            heap.sort(reverse=True)
            pop: Callable[[], Hint] = heap.pop
        else:
            pop = partial(heapq.heappop, heap)
        while heap and len(keys) < limit:
            hint = pop()
            _, lane, _, key = hint
            if hints.get(key) is hint:
                del hints[key]
                keys.append(key)
                lanes[lane] = lanes.get(lane, 0) + 1
        self._entries -= before - len(heap)
        if not heap:
            del self._heaps[queue]
        for lane, count in lanes.items():
            self._count(queue, lane, -count)
        return keys

    def _head(self, queue: str) -> Hint | None:
        while (heap := self._heaps.get(queue)) is not None:
            if self._hints.get(heap[0].key) is heap[0]:
                return heap[0]
            self._pop(queue)
        return None

    def _pop(self, queue: str) -> None:
        heap = self._heaps[queue]
        heapq.heappop(heap)
        self._entries -= 1
        if not heap:
            del self._heaps[queue]

    def _compact(self) -> bool:
        # Only when half of it is stale: each rebuild then pays for as many offers as it costs.
        if len(self._hints) > self._limit // 2:
            return False
        self._heaps = {}
        for hint in self._hints.values():
            self._heaps.setdefault(hint.queue, []).append(hint)
        for heap in self._heaps.values():
            heapq.heapify(heap)
        self._entries = len(self._hints)
        return self._entries < self._limit

    def _count(self, queue: str, lane: int, change: int) -> None:
        place = (queue, lane)
        count = self._depth.get(place, 0) + change
        if count:
            self._depth[place] = count
        else:
            del self._depth[place]

    def _wake(self, queues: set[str]) -> None:
        # Every taker that could have one of them: a taker that is cancelled meanwhile must not swallow the only call.
        for arrived, wanted in self._waiting.items():
            if not wanted.isdisjoint(queues):
                _resolve(arrived)


def _resolve(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
