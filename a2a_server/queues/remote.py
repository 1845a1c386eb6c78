"""What every queue at a broker does the same way; a broker's own file says how to send, fetch and acknowledge.

Theory of operation. Nobody waits for a broker but three tasks of the queue itself. The *sender* passes on what `offer`
put into a bounded box. The *fetcher* asks the broker while somebody waits in `take`, and puts what comes into an inbox,
a `MemoryQueue`; `take` waits for that inbox alone. The *acknowledger* tells the broker which messages were taken: a
message is, when the first of its hints is. So a take that is canceled, which happens whenever its worker hears other
news, costs no connection and loses nothing: what was under way for it lies in the inbox for the next one. When nobody
has asked for a while, because all slots of the process are full, what lies there goes back to the broker.

A broker that fails is tried again with growing pauses, told once in the log when it goes and once when it is back.
Meanwhile takers wait as long as they said, and learn nothing: the store is asked anyway.

Weaknesses. Hints that were being sent when the broker failed are lost, and so are those of an outage beyond the box.
A hint that lies in the inbox of a process is not seen by others until it goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeAlias

from a2a_server.errors import ConfigurationError, EngineError
from a2a_server.model.objects import Lane
from a2a_server.model.queries import QueueCapabilities
from a2a_server.model.rows import Key
from a2a_server.model.turns import Hint
from a2a_server.queues.memory import LIMIT_HINTS, MemoryQueue
from a2a_server.settings.services import shown
from a2a_server.values import value_class

LANES: Final = range(max(Lane) + 1)
"""Lanes of hints, the best first; 0 is no task's, for checks."""

KEEP_SECONDS: Final = 24 * 3600
"""How long a broker keeps hints that nobody takes."""

SEND_SECONDS: Final = 5.0
"""What a broker may take to accept a batch, and to be reached."""

_BATCH_HINTS: Final = 1000
_OUTBOX_HINTS: Final = 20_000
_IDLE_SECONDS: Final = 2.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_FLUSH_SECONDS: Final = 1.0

_Loop: TypeAlias = asyncio.Task[None]

_log = logging.getLogger("a2a_server.queues")


@value_class(eq=False, frozen=True, slots=True)
class Want:
    """A take that waits: until `until`, by the loop's clock."""

    queues: frozenset[str]
    limit: int
    until: float


@dataclass(eq=False, slots=True)
class Delivery:
    """What came in one piece. `receipt` gives it back or acknowledges it; None = it was acknowledged already."""

    receipt: Any = None


class RemoteQueue(ABC):
    """The common part of queues at a broker; `open` first, in the event loop that uses it.

    Concurrency: any number of coroutines of one event loop; not thread-safe.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities()

    def __init__(self, url: str) -> None:
        self.address = shown(url)
        self._outbox = deque[Hint]()
        self._offered = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()
        self._inbox = MemoryQueue()
        self._held: dict[Key, tuple[Hint, Delivery]] = {}
        self._wants: set[Want] = set()
        self._asked = asyncio.Event()
        self._whole = asyncio.Lock()  # held over what must not be cut in two when the queue is closed
        self._idle = True
        self._receipts: list[Any] = []
        self._taken = asyncio.Event()
        self._tasks: list[_Loop] = []
        self._closed = False

    async def open(self) -> None:
        try:
            async with asyncio.timeout(2 * SEND_SECONDS):
                await self._connect()
        except BaseException as error:
            await self._let_go()  # and no more: a start is tried again
            refusal = error if isinstance(error, ConfigurationError) else self._refusal(error)
            if refusal is None:
                raise
            raise refusal from error
        loop = asyncio.get_running_loop()
        for does, step, wake in (
            ("sending hints to", self._send_next, self._offered),
            ("fetching hints from", self._fetch_next, self._asked),
            ("acknowledging hints at", self._acknowledge_next, self._taken),
        ):
            self._tasks.append(loop.create_task(self._serve(does, step, wake)))

    async def offer(self, hints: Sequence[Hint]) -> None:
        if self._closed or not hints:
            return
        self._send_soon(hints)

    async def take(self, queues: Collection[str], limit: int, timeout_seconds: float) -> Sequence[Key] | None:
        wanted = frozenset(queues)
        want = Want(wanted, limit, asyncio.get_running_loop().time() + timeout_seconds)
        if wanted and not self._closed:
            self._wants.add(want)
            self._asked.set()
        try:
            keys = await self._inbox.take(wanted, limit, timeout_seconds)
        finally:
            self._wants.discard(want)
        for key in keys or ():
            self._acknowledge_soon(self._held.pop(key)[1])
        return keys

    async def depth(self) -> Mapping[tuple[str, int], int] | None:
        depth = Counter(await self._inbox.depth() or {})
        try:
            async with asyncio.timeout(SEND_SECONDS):
                depth.update(await self._depth())
        except Exception as error:  # noqa: BLE001 - whatever the driver raises: the broker cannot tell now
            _log.debug("%s did not tell its depth: %s", self.address, type(error).__name__)
            return None
        return {place: count for place, count in depth.items() if count}

    async def close(self) -> None:
        first, self._closed = not self._closed, True
        await self._inbox.close()
        if not first:
            return
        if self._tasks:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._last_words(*self._tasks)
        await _ended(*self._tasks)
        await self._let_go()

    async def _let_go(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._disconnect()

    @abstractmethod
    async def _connect(self) -> None:
        """Reach the broker and check that it can be used; raises what the driver raises."""

    @abstractmethod
    def _refusal(self, error: BaseException) -> Exception | None:
        """The error of ours that `_connect` failing so comes out of `open` as; None = let it out."""

    @abstractmethod
    async def _send(self, hints: Sequence[Hint]) -> None:
        """Pass these on."""

    @abstractmethod
    async def _fetch_next(self) -> bool:
        """Wait until somebody asks (`_somebody_asks`), then get what there is into `_receive`; called for ever.

        Returns whether the broker was asked.
        """

    @abstractmethod
    async def _acknowledge(self, receipts: Sequence[Any]) -> None:
        """Tell the broker that these were taken."""

    @abstractmethod
    async def _return(self, receipts: Sequence[Any]) -> None:
        """Let others have these, and ask for nothing more until somebody asks."""

    @abstractmethod
    async def _depth(self) -> Mapping[tuple[str, int], int]:
        """What waits at the broker."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Let the broker go; it may be connected again."""

    async def _somebody_asks(self) -> bool:
        """True once a take waits; False when none has for a while, and what is held should go back."""
        try:
            async with asyncio.timeout(None if self._idle else _IDLE_SECONDS):
                while True:
                    await self._asked.wait()
                    self._asked.clear()
                    if self._wants:
                        self._idle = False
                        return True
        except TimeoutError:
            self._idle = not self._wants
            return not self._idle

    def _wanted(self) -> frozenset[str]:
        return frozenset[str]().union(*(want.queues for want in self._wants))

    def _receive(self, hints: Sequence[Hint], receipt: object = None) -> None:
        """Hold what came; it is acknowledged when the first of it is taken."""
        delivery = Delivery(receipt)
        if self._closed:
            self._send_soon(hints if receipt is None else ())  # what has a receipt goes back without us
            return
        if len(self._held) + len(hints) > LIMIT_HINTS or not hints:
            self._acknowledge_soon(delivery)
            return
        for hint in hints:
            if known := self._held.get(hint.key):
                self._acknowledge_soon(known[1])
            self._held[hint.key] = hint, delivery
        self._inbox.put(hints)

    def _give_back(self) -> list[Any]:
        """Hold nothing any more. Returns the receipts to give back; what the broker has no more is sent again."""
        held, self._held = self._held, {}
        self._inbox.clear()
        self._send_soon([hint for hint, delivery in held.values() if delivery.receipt is None])
        receipts = {id(delivery): delivery.receipt for _, delivery in held.values()}
        return [receipt for receipt in receipts.values() if receipt is not None]

    def _send_soon(self, hints: Sequence[Hint]) -> None:
        self._outbox.extend(hints[: _OUTBOX_HINTS - len(self._outbox)])
        if self._outbox:
            self._offered.set()
            self._sent.clear()

    def _acknowledge_soon(self, delivery: Delivery) -> None:
        if delivery.receipt is not None:
            self._receipts.append(delivery.receipt)
            delivery.receipt = None
            self._taken.set()

    async def _send_next(self) -> bool:
        await self._offered.wait()
        batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), _BATCH_HINTS))]
        if not batch:
            self._offered.clear()
            self._sent.set()
            return False
        async with asyncio.timeout(SEND_SECONDS):
            await self._send(batch)
        return True

    async def _acknowledge_next(self) -> bool:
        await self._taken.wait()
        self._taken.clear()
        receipts, self._receipts = self._receipts, []
        if not receipts:
            return False
        async with asyncio.timeout(SEND_SECONDS):
            await self._acknowledge(receipts)
        return True

    async def _last_words(self, sender: _Loop, fetcher: _Loop, acknowledger: _Loop) -> None:
        """What is held goes back and hints of the last turns go out before the broker is let go, when it lives."""
        async with self._whole:
            await _ended(fetcher)
        await self._return(self._give_back())
        if not sender.done():
            await self._sent.wait()
        await _ended(acknowledger)
        if self._receipts:
            await self._acknowledge(self._receipts)

    async def _serve(self, does: str, step: Callable[[], Awaitable[bool]], wake: asyncio.Event) -> None:
        """Take steps until canceled; one that fails is told once, and followed by a pause."""
        pause, own = 0.0, asyncio.current_task()
        while own is None or not own.cancelling():  # a driver may have swallowed the cancellation itself
            try:
                reached = await step()
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, hints must flow again after it
                if not pause:
                    _log.warning(
                        "%s: %s it failed (%s); it is tried again, and meanwhile the store alone is asked.",
                        self.address,
                        does,
                        self.told(error),
                    )
                pause = min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                wake.set()
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret, only apart from others
            else:
                if pause and reached:
                    _log.info("%s: %s it works again.", self.address, does)
                    pause = 0.0

    def told(self, error: BaseException) -> str:
        """An error in a line of the log: its kind, as drivers' texts may hold passwords."""
        return str(error) if isinstance(error, EngineError | ConfigurationError) else type(error).__name__


async def _ended(*tasks: _Loop) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
