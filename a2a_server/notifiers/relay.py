"""What every notifier between processes is but for its carrier: what is sent, when, and what happens when it is cut.

Theory of operation: listeners of this process hear what is rung here at once and whole, by a `LocalNotifier` inside.
For other processes the newest head of each task is noted, and one task sends what is noted as soon as the carrier is
free: at once when idle, and when busy many rings become few payloads. A link to the broker counts as up when a payload
of our own came back by it, and is given up when none does for a while, so that whatever breaks (the broker, a
connection that dies without a word, a subscription that is gone) is noticed in one way. Then a new link is made, after
growing pauses and for ever; our listeners are told to poll, and so are the others if they missed a bell.

Weaknesses: while there is no link, others hear nothing and find everything at their next poll. A broker that drops
payloads without closing anything loses bells unnoticed; the next poll finds these too. Every process hears every bell
of every other, so the cost of hearing grows with the whole cluster's turns.

Source: core.md sections 7 and 12.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from itertools import islice
from random import Random
from secrets import token_hex
from typing import Final, Protocol

from a2a_server.errors import ConfigurationError, StoreUnavailable
from a2a_server.model.rows import Head, Key
from a2a_server.model.turns import Bell, Hint
from a2a_server.notifiers.local import LocalNotifier
from a2a_server.notifiers.payload import hello, join, opening, pack, poll, split, told_of
from a2a_server.values import value_class

LIMIT_TASKS: Final = 10_000
"""Tasks whose heads may wait to be sent; beyond, others are told to poll instead."""
TOGETHER: Final = 2_000
"""Tasks whose heads are sent at once."""
_REASON_CHARS: Final = 300
_AGAIN_SECONDS: Final = 0.2

_log = logging.getLogger("a2a_server.notifiers")


class Link(Protocol):
    """A connection, or several that live and die together, on which payloads are heard already."""

    async def send(self, payloads: Sequence[bytes]) -> None:
        """Give payloads to the broker. Raises what the driver raises."""
        ...

    async def stay(self) -> None:
        """Pass on what arrives until the connection is gone: then return, or raise what it died of."""
        ...


class Carrier(Protocol):
    """A broker that takes payloads to every process, this one included.

    address: as logs may show it. limit_bytes: the longest payload that it takes. gap_seconds: the least time from the
    end of one `send` to the next, which is what makes one payload of many rings.
    """

    address: str
    limit_bytes: int
    gap_seconds: float

    def link(self, heard: Callable[[bytes], None]) -> AbstractAsyncContextManager[Link]:
        """A new link; leaving it gives everything back within seconds. Raises what the driver raises."""
        ...

    def explain(self, error: Exception) -> StoreUnavailable | ConfigurationError | None:
        """What is wrong, for whoever runs the server; None for an error that the driver does not speak of."""
        ...


@value_class(frozen=True, slots=True)
class Pace:
    """How long a relay waits, in seconds.

    link: for a link to be up, each step. send: for the broker to take payloads. pulse: without hearing itself before it
    says hello, and as long again before it gives the link up. steady: how long a link must live to count as a good one.
    first, most: the pauses before a link is tried again, doubling. last: for the last bells at `close`.
    """

    link: float = 5.0
    send: float = 5.0
    pulse: float = 10.0
    steady: float = 10.0
    first: float = 0.1
    most: float = 5.0
    last: float = 0.5


PACE: Final = Pace()


class Relay:
    """A `Notifier` over a carrier.

    Args:
        carrier: the broker.
        pace: how long to wait for what.
        random: spreads the attempts of many processes to reach a broker that is back.

    Concurrency: any number of coroutines of one event loop; not thread-safe.
    """

    def __init__(self, carrier: Carrier, *, pace: Pace = PACE, random: Random | None = None) -> None:
        self._carrier = carrier
        self._pace = pace
        self._random = random or Random()  # noqa: S311 - spreads reconnections, guards nothing
        self._local = LocalNotifier()
        self._origin = token_hex(8)
        self._mine = opening(self._origin)
        self._backlog: dict[Key, tuple[Head, Hint | None]] = {}
        self._owed = False  # the others missed bells of ours
        self._up = False
        self._out = 0  # payloads sent that have not come back
        self._news = asyncio.Event()
        self._sent = asyncio.Event()
        self._echo = asyncio.Event()
        self._garbled = False
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._serving is not None:
            return
        loop = asyncio.get_running_loop()
        opened = loop.create_future()
        self._serving = serving = loop.create_task(self._serve(opened))
        try:
            await opened
        except BaseException:
            self._serving = None
            await _canceled([serving])
            raise

    async def ring(self, bells: Sequence[Bell], but: AsyncIterator[Sequence[Bell]] | None = None) -> None:
        self._local.tell(bells, but)
        if not self._up:
            self._owed = self._owed or bool(bells)
            return
        backlog = self._backlog
        for bell in bells:
            if bell.row is not None:
                backlog[bell.key] = told_of(bell.row)
        if len(backlog) > LIMIT_TASKS:
            backlog.clear()
            self._owed = True
        if backlog or self._owed:
            self._sent.clear()
            self._news.set()

    def listen(self) -> AsyncIterator[Sequence[Bell]]:
        return self._local.listen()

    async def close(self) -> None:
        await self._local.close()
        serving, self._serving = self._serving, None
        if serving is None:
            return
        if self._up and self._backlog:  # what a drain hands back is for others to hear of
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.last):
                    await self._sent.wait()
        await _canceled([serving])

    async def _serve(self, opened: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        failures, quiet = 0, False
        while True:
            began, cause = loop.time(), Exception()
            try:
                await self._keep(opened)
            except Exception as error:  # noqa: BLE001 - while a connection dies a driver may raise anything
                cause = error
            finally:
                self._owed = self._owed or bool(self._backlog) or self._out > 0
                self._backlog.clear()
                was_up, self._up = self._up, False
            if not opened.done():
                opened.set_exception(self._carrier.explain(cause) or cause)
                return
            quiet = quiet and not was_up
            if not quiet:
                self._complain(cause)
                quiet = True
            failures = 1 if was_up and loop.time() - began > self._pace.steady else failures + 1
            if failures > 1:
                pause = min(self._pace.most, self._pace.first * 2.0 ** min(failures - 2, 20))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))

    async def _keep(self, opened: asyncio.Future[None]) -> None:
        self._echo.clear()
        self._out = 0
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._pace.link):
                link = await stack.enter_async_context(self._carrier.link(self._heard))
            await _first_ended(_stay(link), self._talk(link, opened))

    async def _talk(self, link: Link, opened: asyncio.Future[None]) -> None:
        await self._prove(link)
        if opened.done():
            _log.warning("%s: doorbells reach other processes again.", self._carrier.address)
        else:
            opened.set_result(None)
        self._up = True
        self._local.missed()
        await _first_ended(self._speak(link), self._pulse())

    async def _prove(self, link: Link) -> None:
        """Until a payload of our own came back; it tells the others to poll if they missed any."""
        first = poll(self._origin) if self._owed else hello(self._origin)
        self._out += 1
        async with asyncio.timeout(self._pace.send):
            await link.send([first])
        await self._hear_ourselves(self._pace.link)
        self._owed = False

    async def _speak(self, link: Link) -> None:
        while True:
            if not self._news.is_set():
                self._sent.set()
            await self._news.wait()
            payloads = self._taken()
            self._out += len(payloads)
            async with asyncio.timeout(self._pace.send):
                await link.send(payloads)
            if self._carrier.gap_seconds:
                await asyncio.sleep(self._carrier.gap_seconds)

    async def _pulse(self) -> None:
        while True:
            self._echo.clear()
            await asyncio.sleep(self._pace.pulse)
            if not self._echo.is_set():
                self._news.set()  # nothing to tell is a hello
                await self._hear_ourselves(self._pace.pulse)

    async def _hear_ourselves(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._echo.wait()
        except TimeoutError:
            raise ConnectionError(f"what is sent does not come back within {seconds:g} s") from None

    def _taken(self) -> list[bytes]:
        backlog, payloads = self._backlog, []
        if self._owed:
            self._owed = False
            payloads.append(poll(self._origin))
        keys = list(islice(backlog, TOGETHER))
        packed = [pack(key, *backlog.pop(key)) for key in keys]
        payloads += join(self._origin, packed, self._carrier.limit_bytes)
        if not backlog:
            self._news.clear()
        return payloads or [hello(self._origin)]

    def _heard(self, payload: bytes) -> None:
        if payload.startswith(self._mine):
            self._echo.set()
            self._out -= 1
            return
        try:
            bells, missed = split(payload)
        except ValueError as error:
            level = logging.DEBUG if self._garbled else logging.WARNING
            self._garbled = True
            _log.log(level, "%s: a doorbell cannot be read: %s.", self._carrier.address, error)
            return
        if missed:
            self._local.missed()
        self._local.tell(bells)

    def _complain(self, cause: Exception) -> None:
        reason = self._carrier.explain(cause)
        _log.warning(
            "Doorbells do not reach other processes, which find what they tell by polling: %s",
            str(reason) if reason is not None else f"{self._carrier.address}: {cause!r}",
            exc_info=cause if reason is None else None,
        )


def unreachable(address: str, error: Exception | str) -> StoreUnavailable:
    """For a broker that does not answer now."""
    return StoreUnavailable(f"{address} cannot be reached: {_reason(error)}. Is it running, and is this its address?")


def refused(address: str, error: Exception | str) -> ConfigurationError:
    """For a broker that answers, and will not have us."""
    return ConfigurationError(
        f"{address} does not let doorbells pass: {_reason(error)}. Correct the notifier's address, its user or what"
        " the user may do there."
    )


async def _stay(link: Link) -> None:
    await link.stay()
    raise ConnectionError("the connection was closed")


def _reason(error: Exception | str) -> str:
    text = " ".join(str(error).split())[:_REASON_CHARS].rstrip(". ")
    return text or ("it does not answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


async def _first_ended(*parts: Coroutine[object, object, None]) -> None:
    """Run parts that end by an error alone: raises the first one's. A task group may swallow a cancellation then."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _canceled(tasks)
    errors = [task.exception() for task in tasks if not task.cancelled()]
    for error in filter(None, errors):
        raise error


async def _canceled(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Cancel tasks until they have ended: while its connection dies a driver may swallow a cancellation."""
    every = tuple(tasks)
    running = {task for task in every if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    for task in every:
        if not task.cancelled():
            task.exception()  # what it died of with its connection is nobody's news any more
