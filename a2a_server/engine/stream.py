"""Who waits for what: watches on tasks, and the streams that follow them.

Theory of operation
-------------------
One hub per process. Whoever wants to know of a task holds a `Watch` on it, registers first and reads the store then, so
nothing falls in between. Doorbells carry new events into the watch's ring; once a second one look at the store finds
what doorbells lost. A follower pulls: it takes what the ring has behind its own number, and what the ring has no more
(or never had) it pages from the log. So a slow reader holds nothing in memory but its own page, and all readers of one
event share it with its encoded forms.

Rings are bounded for each task and for the process; an event that finds no room is simply not in a ring, and read from
the log. Weakness: a reader that is always slower than the ring reads the store for every page.

Source: core.md section 7.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

from a2a_server.codec import decode_event
from a2a_server.engine.limits import Limits
from a2a_server.errors import Draining, StoreUnavailable
from a2a_server.lifecycle.states import settled
from a2a_server.model.objects import Event, Phase, State
from a2a_server.model.rows import EventRow, Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.ports import TaskStore
from a2a_server.telemetry.observer import SILENT, Observer

_log = logging.getLogger("a2a_server.engine.stream")


class LoggedEvent:
    """An event that several readers share, with the forms that it was already rendered in."""

    __slots__ = ("_event", "_forms", "row")

    def __init__(self, row: EventRow) -> None:
        self.row = row
        self._event: Event | None = None
        self._forms: dict[Hashable, bytes] = {}

    @property
    def event(self) -> Event:
        """The event, decoded once."""
        if self._event is None:
            self._event = decode_event(self.row)
        return self._event

    def form(self, name: Hashable, render: Callable[[Event], bytes]) -> bytes:
        """The event rendered as `name`, rendered once."""
        found = self._forms.get(name)
        if found is None:
            found = self._forms[name] = render(self.event)
        return found


class Watch:
    """What this process knows of one task that somebody watches."""

    __slots__ = ("_waiters", "key", "last_n", "phase", "readers", "ring", "ring_bytes", "state", "visible")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.readers = 0
        self.last_n = 0
        self.state: State | None = None
        self.phase: Phase | None = None
        self.visible = True
        self.ring: deque[LoggedEvent] = deque()
        self.ring_bytes = 0
        self._waiters: set[asyncio.Future[None]] = set()

    def learn(self, row: TaskRow) -> None:
        """Take in what the store said after this watch was registered."""
        if row.last_n >= self.last_n:
            self.last_n, self.state, self.phase = row.last_n, row.state, row.phase
            self.visible = row.visible

    def since(self, n: int) -> list[LoggedEvent] | None:
        """The ring's events behind `n`; None when the ring no longer has the first of them."""
        if n >= self.last_n:
            return []
        if not self.ring or self.ring[0].row.n > n + 1 or self.ring[-1].row.n < self.last_n:
            return None
        skip = n + 1 - self.ring[0].row.n
        return [event for index, event in enumerate(self.ring) if index >= skip]

    async def moved(self) -> None:
        """Wait for the next change. Raises Draining when the process stops."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def wake(self, error: Exception | None = None) -> None:
        """Let everyone look again."""
        for waiter in self._waiters:
            if not waiter.done():
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)


class Hub:
    """All watches of this process. Concurrency: belongs to the event loop."""

    def __init__(self, store: TaskStore, limits: Limits, observer: Observer = SILENT) -> None:
        self._store = store
        self._limits = limits
        self._observer = observer
        self._watches: dict[Key, Watch] = {}
        self._ring_bytes = 0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the process stops."""
        return self._closed

    @property
    def watched(self) -> int:
        """How many tasks are watched."""
        return len(self._watches)

    @contextmanager
    def watch(self, key: Key) -> Iterator[Watch]:
        """Hold a watch on a task. Register first, read the store then. Raises Draining when the process stops."""
        if self._closed:
            raise Draining
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(key)
        watch.readers += 1
        try:
            yield watch
        finally:
            watch.readers -= 1
            if not watch.readers:
                self._ring_bytes -= watch.ring_bytes
                del self._watches[key]

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Take in doorbells."""
        for bell in bells:
            watch = self._watches.get(bell.key)
            if watch is None or bell.row is None:
                continue
            if bell.row.last_n >= watch.last_n:
                self._extend(watch, bell.events, bell.row.last_n)
                watch.state, watch.phase = bell.row.state, bell.row.phase
                watch.visible = bell.row.visible
            watch.wake()

    async def check(self) -> None:
        """Ask the store about every watched task: doorbells may have been lost."""
        if not self._watches:
            return
        try:
            heads = await self._store.heads(list(self._watches))
        except StoreUnavailable:
            return
        for key, head in heads.items():
            watch = self._watches.get(key)
            if watch is not None and (
                head.last_n > watch.last_n or (head.last_n == watch.last_n and watch.state is None)
            ):
                watch.last_n, watch.state, watch.phase = head.last_n, head.state, head.phase
                watch.wake()

    def close(self) -> None:
        """End every wait and every stream; clients resume elsewhere."""
        self._closed = True
        for watch in self._watches.values():
            watch.wake(Draining())

    async def settle(self, watch: Watch, after: int) -> None:
        """Wait until the task is terminal or interrupted by an event behind `after`. Raises Draining."""
        while not (watch.state is not None and settled(watch.state) and watch.last_n > after):
            if self._closed:
                raise Draining
            await watch.moved()

    async def shown(self, watch: Watch) -> None:
        """Wait until the task is visible, or terminal or interrupted. Raises Draining."""
        while not (watch.visible or (watch.state is not None and settled(watch.state))):
            if self._closed:
                raise Draining
            await watch.moved()

    async def follow(self, watch: Watch, after: int) -> AsyncIterator[Sequence[LoggedEvent]]:
        """Every event behind number `after`, in order and without a gap, in batches as they come.

        It does not end by itself: the reader leaves at the event that it takes for the end. Raises Draining.
        """
        n = after
        self._observer.stream_opened()
        try:
            while True:
                batch = watch.since(n)
                if batch is None:
                    rows = await self._store.events(watch.key, n, self._limits.ring_events, self._limits.ring_bytes)
                    batch = [LoggedEvent(row) for row in rows]
                if batch:
                    n = batch[-1].row.n
                    self._observer.stream_sent(len(batch))
                    yield batch
                    continue
                if self._closed:
                    raise Draining
                await watch.moved()
        finally:
            self._observer.stream_closed()

    def _extend(self, watch: Watch, events: Sequence[EventRow], last_n: int) -> None:
        ring = watch.ring
        for row in events:
            newest = ring[-1].row.n if ring else row.n - 1
            if row.n <= newest:
                continue
            full = self._ring_bytes + len(row.body) > self._limits.rings_bytes
            if row.n > newest + 1 or full:
                self._shrink(watch, len(ring))
            if full:
                continue
            ring.append(LoggedEvent(row))
            watch.ring_bytes += len(row.body)
            self._ring_bytes += len(row.body)
        while ring and (len(ring) > self._limits.ring_events or watch.ring_bytes > self._limits.ring_bytes):
            self._shrink(watch, 1)
        watch.last_n = last_n

    def _shrink(self, watch: Watch, count: int) -> None:
        for _ in range(count):
            size = len(watch.ring.popleft().row.body)
            watch.ring_bytes -= size
            self._ring_bytes -= size
