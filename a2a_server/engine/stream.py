"""Who waits for what: watches on tasks, and the streams that follow them.

Theory of operation
-------------------
One hub per process. Whoever wants to know of a task holds a `Watch` on it, registers first and reads the store then, so
nothing falls in between. Doorbells carry new events into the watch's ring; once a second one look at the store finds
what doorbells lost. A follower pulls: it takes what the ring has behind its own number, and what the ring has no more
(or never had) it pages from the log. So a slow reader holds nothing in memory but its own page, and all readers of one
event share it with its encoded forms.

Whoever makes a task may ask for more (`whole`): its watch then keeps what doorbells tell of the task from its beginning
on, and while nothing was missed it answers as the store would, without asking it (`told`).

Whoever watches many tasks at once (`crowds`) hears every bell and holds no watch.

Rings are bounded for each task and for the process; an event that finds no room is simply not in a ring, and read from
the log. Weakness: a reader that is always slower than the ring reads the store for every page.

Source: core.md section 7.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Final

from a2a_server.codec import decode_event
from a2a_server.engine.crowds import Crowds
from a2a_server.engine.limits import Limits
from a2a_server.engine.told import Told
from a2a_server.errors import Draining, StoreUnavailable
from a2a_server.lifecycle.states import settled
from a2a_server.model.objects import Event, Phase, State
from a2a_server.model.queries import Snapshot
from a2a_server.model.rows import EventRow, Head, Key, TaskRow
from a2a_server.model.turns import Bell
from a2a_server.ports import TaskStore
from a2a_server.telemetry.observer import SILENT, Observer

TOLD_BYTES: Final = 4 << 20
"""What doorbells told of one task is kept up to here; of a larger one the store is asked."""
TOLD_SHARE: Final = 4
"""All that was told may be so large a part of what rings may be; it takes none of their room."""

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
    """What this process knows of one task that somebody watches.

    told: what bells told of it since it began, None = that was not wanted, or something was missed.
    """

    __slots__ = (
        "_ends",
        "_waiters",
        "key",
        "last_n",
        "phase",
        "readers",
        "ring",
        "ring_bytes",
        "state",
        "told",
        "visible",
    )

    def __init__(self, key: Key, *, whole: bool = False) -> None:
        self.key = key
        self.readers = 0
        self.last_n = 0
        self.state: State | None = None
        self.phase: Phase | None = None
        self.visible = True
        self.told = Told() if whole else None
        self.ring: list[LoggedEvent] = []
        self.ring_bytes = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._ends: set[asyncio.Future[None]] = set()

    def learn(self, row: TaskRow) -> None:
        """Take in what the store said after this watch was registered; others may wait for just that."""
        if row.last_n < self.last_n:
            return
        known = self.last_n, self.state, self.visible
        self.last_n, self.state, self.phase = row.last_n, row.state, row.phase
        self.visible = row.visible
        if known != (row.last_n, row.state, row.visible):
            self.wake()

    def since(self, n: int) -> list[LoggedEvent] | None:
        """The ring's events behind `n`; None when the ring no longer has the first of them."""
        if n >= self.last_n:
            return []
        ring = self.ring
        if not ring or ring[0].row.n > n + 1 or ring[-1].row.n < self.last_n:
            return None
        return ring[n + 1 - ring[0].row.n :]

    def snapshot(self, history: int | None) -> Snapshot | None:
        """The task with its newest `history` messages, as `TaskStore.snapshot`; None = the store must be asked."""
        told = self.told
        if told is None or told.row is None or told.row.last_n != self.last_n:
            return None
        return told.snapshot([event.row for event in self.ring], history)

    @property
    def settled(self) -> bool:
        """Whether the task is terminal or interrupted."""
        return self.state is not None and settled(self.state)

    async def moved(self) -> None:
        """Wait for the next change. Raises Draining when the process stops."""
        await _notice(self._waiters)

    async def ended(self) -> None:
        """Wait for a change after which the task is terminal or interrupted. Raises Draining when the process stops."""
        await _notice(self._ends)

    def wake(self, error: Exception | None = None) -> None:
        """Let everyone look again whom the change may concern."""
        if self._waiters:
            _notify(self._waiters, error)
        if self._ends and (error is not None or self.settled):
            _notify(self._ends, error)


async def _notice(waiters: set[asyncio.Future[None]]) -> None:
    waiter = asyncio.get_running_loop().create_future()
    waiters.add(waiter)
    try:
        await waiter
    finally:
        waiters.discard(waiter)


def _notify(waiters: set[asyncio.Future[None]], error: Exception | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


class Hold:
    """A watch that is held until the end of `with`, or until `release`.

    One that is dropped without either, by a stream that nobody ever read, is released at the hub's next look.
    """

    __slots__ = ("_hub", "watch")

    def __init__(self, hub: Hub, watch: Watch) -> None:
        self.watch = watch
        self._hub: Hub | None = hub

    def __enter__(self) -> Watch:
        return self.watch

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the watch back. May be called twice."""
        hub, self._hub = self._hub, None
        if hub is not None:
            hub.release(self.watch)

    def __del__(self) -> None:  # in whatever thread collects garbage
        if self._hub is not None:
            self._hub.dropped.append(self.watch)


class Hub:
    """All watches of this process. Concurrency: belongs to the event loop."""

    def __init__(self, store: TaskStore, limits: Limits, observer: Observer = SILENT) -> None:
        self._store = store
        self._limits = limits
        self._observer = observer
        self.dropped: deque[Watch] = deque()
        self._watches: dict[Key, Watch] = {}
        self._ring_bytes = 0
        self._told_bytes = 0
        self.crowds = Crowds()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the process stops."""
        return self._closed

    @property
    def watched(self) -> int:
        """How many tasks are watched."""
        return len(self._watches)

    def watches(self, key: Key) -> bool:
        """Whether somebody watches this task."""
        return key in self._watches

    def watch(self, key: Key, *, whole: bool = False) -> Hold:
        """Hold a watch on a task. Register first, read the store then. Raises Draining when the process stops.

        whole: the task is about to begin, and its watch shall be able to tell all of it.
        """
        if self._closed:
            raise Draining
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = Watch(key, whole=whole)
        watch.readers += 1
        return Hold(self, watch)

    def release(self, watch: Watch) -> None:
        """Take back a watch; what holds it calls this once."""
        watch.readers -= 1
        if not watch.readers:
            self._forget(watch)
            self._ring_bytes -= watch.ring_bytes
            del self._watches[watch.key]

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Take in doorbells."""
        watches = self._watches
        for bell in bells:
            watch, row = watches.get(bell.key), bell.row
            if watch is None:
                continue
            if row is None:
                self._look(watch, bell.head)
                continue
            if watch.told is not None:
                self._tell(watch, watch.told, row, bell)
            if row.last_n >= watch.last_n:
                self._extend(watch, bell.events, row.last_n)
                watch.state, watch.phase, watch.visible = row.state, row.phase, row.visible
            watch.wake()
        self.crowds.on_bells(bells)

    async def on_silence(self) -> None:
        """Doorbells were lost: nothing that they told is whole any more, and the store is asked."""
        for watch in self._watches.values():
            self._forget(watch)
        self.crowds.on_silence()
        await self.check()

    async def check(self) -> None:
        """Ask the store about every watched task: doorbells may have been lost."""
        while self.dropped:
            self.release(self.dropped.popleft())
        if not self._watches:
            return
        try:
            heads = await self._store.heads(list(self._watches))
        except StoreUnavailable:
            return
        for key, head in heads.items():
            if (watch := self._watches.get(key)) is not None:
                self._look(watch, head)

    def close(self) -> None:
        """End every wait and every stream; clients resume elsewhere."""
        self._closed = True
        for watch in self._watches.values():
            watch.wake(Draining())
        self.crowds.close()

    async def settle(self, watch: Watch, after: int) -> None:
        """Wait until the task is terminal or interrupted by an event behind `after`. Raises Draining."""
        while not (watch.last_n > after and watch.settled):
            if self._closed:
                raise Draining
            await watch.ended()

    async def shown(self, watch: Watch) -> None:
        """Wait until the task is visible, or terminal or interrupted. Raises Draining."""
        while not (watch.visible or watch.settled):
            if self._closed:
                raise Draining
            await watch.moved()

    async def follow(self, watch: Watch, after: int) -> AsyncIterator[Sequence[LoggedEvent]]:
        """Every event behind number `after`, in order and without a gap, in batches as they come.

        The reader leaves at the event that it takes for the end; it ends by itself only when the task is deleted.
        Raises Draining.
        """
        n = after
        self._observer.stream_opened()
        try:
            while True:
                batch = watch.since(n)
                if batch is None:
                    rows = await self._store.events(watch.key, n, self._limits.ring_events, self._limits.ring_bytes)
                    batch = [LoggedEvent(row) for row in rows]
                    if not batch and watch.key not in await self._store.heads([watch.key]):
                        return  # the task was retired, and its log with it
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

    def _look(self, watch: Watch, head: Head | None) -> None:
        """Take in how far a task is that another process may have moved."""
        if head is not None and (
            head.last_n > watch.last_n
            or (head.last_n == watch.last_n and (watch.state is None or head.visible > watch.visible))
        ):
            watch.last_n, watch.state, watch.phase = head.last_n, head.state, head.phase
            watch.visible = head.visible
            watch.wake()

    def _extend(self, watch: Watch, events: Sequence[EventRow], last_n: int) -> None:
        ring, limits = watch.ring, self._limits
        for row in events:
            newest = ring[-1].row.n if ring else row.n - 1
            if row.n <= newest:
                continue
            size = len(row.body)
            full = self._ring_bytes + size > limits.rings_bytes
            if row.n > newest + 1 or full:
                self._shrink(watch, len(ring))
            if full:
                continue
            ring.append(LoggedEvent(row))
            watch.ring_bytes += size
            self._ring_bytes += size
        while ring and (len(ring) > limits.ring_events or watch.ring_bytes > limits.ring_bytes):
            self._shrink(watch, 1)
        watch.last_n = last_n

    def _shrink(self, watch: Watch, count: int) -> None:
        size = sum(len(event.row.body) for event in watch.ring[:count])
        del watch.ring[:count]
        watch.ring_bytes -= size
        self._ring_bytes -= size

    def _tell(self, watch: Watch, told: Told, row: TaskRow, bell: Bell) -> None:
        before = told.size
        whole = told.take_in(row, bell)
        self._told_bytes += told.size - before
        if not whole or told.size > TOLD_BYTES or self._told_bytes > self._limits.rings_bytes // TOLD_SHARE:
            self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        if watch.told is not None:
            self._told_bytes -= watch.told.size
            watch.told = None
