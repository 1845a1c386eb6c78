"""Clients of several servers: every call goes to one of them by chance, so what one took another shows and cancels.

A connection that is refused is tried again, perhaps at another server. A server that dies under a call, or says that it
cannot now (its store is away, it is stopping), is `LOST`: the caller repeats it, and may meet another server then. So a
stream that broke goes on elsewhere.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import httpx2

from a2a_server.errors import Overloaded
from tests.clients.rpc import BadAnswer
from tests.clients.v01 import A2AClientHTTPError
from tests.drills.ledger import Ledger, Order, Seen, View
from tests.drills.load import Load
from tests.drills.talker import STYLES
from tests.drills.wires import LOST, After, Refused, Wire, wires

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_NOW = 503
_AGAIN_SECONDS = 0.15
_READ_SECONDS = 0.03
_REFUSALS = 40
_REFUSED_SECONDS = 0.05
LANES = 5
"""Conversations that each client has at a time."""


class Unavailable(httpx2.TransportError):
    """The server said that it cannot at the moment."""


@dataclass(slots=True)
class Calls:
    """What became of the calls of some clients.

    failed: by what they met. refused: connections, tried again. waiting: calls without an answer, by their numbers.
    """

    made: int = 0
    refused: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    waiting: dict[int, str] = field(default_factory=dict)

    @property
    def succeeded(self) -> float:
        """The part of them, 0.0 to 1.0."""
        return 1 - self.failed.total() / max(1, self.made)


class EitherWire:
    """One generation as several servers speak it."""

    def __init__(self, servers: Sequence[Wire], rng: random.Random, calls: Calls) -> None:
        self._servers = servers
        self._rng = rng
        self._calls = calls
        self.generation = servers[0].generation
        self.repeats_answers = servers[0].repeats_answers
        self.keeps_following = servers[0].keeps_following

    async def send(self, order: Order, *, wait: bool) -> View:
        return await self._called(lambda wire: wire.send(order, wait=wait), f"send {order}")

    async def get(self, task: str) -> View:
        return await self._called(lambda wire: wire.get(task), f"get {task}")

    async def cancel(self, task: str) -> View:
        return await self._called(lambda wire: wire.cancel(task), f"cancel {task}")

    def stream(self, order: Order, after: After | None = None) -> AsyncGenerator[Seen]:
        return self._streamed(lambda wire: wire.stream(order, after), f"stream {order} {after}")

    def subscribe(self, task: str, after: After | None = None) -> AsyncGenerator[Seen]:
        return self._streamed(lambda wire: wire.subscribe(task, after), f"subscribe {task} {after}")

    async def _called(self, ask: Callable[[Wire], Awaitable[View]], what: str) -> View:
        with self._counted() as number:
            for attempt in range(_REFUSALS):
                wire = await self._one(attempt)
                self._calls.waiting[number] = f"{what} of server {self._servers.index(wire)}"
                with suppress(httpx2.ConnectError):
                    return await ask(wire)
            raise httpx2.ConnectError("nobody accepts connections")

    async def _streamed(self, ask: Callable[[Wire], AsyncGenerator[Seen]], what: str) -> AsyncGenerator[Seen]:
        with self._counted() as number:
            for attempt in range(_REFUSALS):
                wire = await self._one(attempt)
                self._calls.waiting[number] = f"{what} of server {self._servers.index(wire)}"
                with suppress(httpx2.ConnectError):
                    async with aclosing(ask(wire)) as items:
                        async for seen in items:
                            yield seen
                    return
            raise httpx2.ConnectError("nobody accepts connections")

    async def _one(self, attempt: int) -> Wire:
        """A server, drawn. attempt: so many refused the connection, and so have not had the call."""
        if attempt:
            self._calls.refused += 1
            await asyncio.sleep(_REFUSED_SECONDS)
        return self._rng.choice(self._servers)

    @contextmanager
    def _counted(self) -> Iterator[int]:
        self._calls.made += 1
        number = self._calls.made
        try:
            with _not_now():
                yield number
        except LOST as error:
            self._calls.failed[type(error).__name__] += 1
            raise
        finally:
            self._calls.waiting.pop(number, None)


@contextmanager
def _not_now() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.code == Overloaded.code:
            raise Unavailable(str(error)) from error
        raise
    except BadAnswer as error:
        cause = error.__cause__
        if isinstance(cause, httpx2.HTTPStatusError) and cause.response.status_code == _NOT_NOW:
            raise Unavailable(str(error)) from error
        raise
    except A2AClientHTTPError as error:
        if error.status_code == _NOT_NOW:
            raise Unavailable(str(error)) from error
        raise


def either(urls: Sequence[str], http: httpx2.AsyncClient, rng: random.Random, calls: Calls) -> list[EitherWire]:
    """Every generation over these servers, the oldest first. calls: where to count."""
    each = [wires(url, http) for url in urls]
    return [EitherWire(servers, rng, calls) for servers in zip(*each, strict=True)]


class ClusterLoad(Load):
    """Some clients, each of which does whatever comes, several things at a time.

    clients: of each, every generation. drains: how many servers have been asked to end so far; one that ends answers
    whoever waits with the task as it is. readers: of each client, that do nothing but read tasks. calls: theirs.
    """

    def __init__(
        self,
        clients: Sequence[Sequence[Wire]],
        ledger: Ledger,
        seed: int,
        *,
        drains: Callable[[], int],
        calls: Calls,
        readers: int = 0,
    ) -> None:
        super().__init__([wire for client in clients for wire in client], ledger, seed)
        self._each = clients
        self._drains = drains
        self._calls = calls
        self._readers = readers
        self._early = 0

    def start(self) -> None:
        """The clients begin."""
        for number, client in enumerate(self._each):
            for lane in range(LANES):
                rng = random.Random(f"{self._seed}/{number}/{lane}")  # noqa: S311 - repeatable, not secret
                self._spawn(self._lane(client, rng))
            for reader in range(self._readers):
                rng = random.Random(f"{self._seed}/{number}/reader {reader}")  # noqa: S311 - repeatable, not secret
                self._spawn(self._reader(client, rng))

    async def finish(self, seconds: float) -> None:
        """The clients end what they have begun; what those wait for that cannot is noted."""
        self.stopping = True
        if seconds and self._clients:
            _, late = await asyncio.wait(self._clients, timeout=seconds)
            for waiting in self._calls.waiting.values() if late else ():
                self._ledger.problem("silent", "", f"no answer for up to {seconds:.0f} s: {waiting}")
        await super().finish(0.01)

    async def up(self) -> None:
        """A little later."""
        await asyncio.sleep(random.uniform(0.5, 1.5) * _AGAIN_SECONDS)  # noqa: S311 - spreads clients

    def _not_waited(self, view: View) -> None:
        self._early += 1
        if self._early > self._drains() * len(self._each) * LANES:
            super()._not_waited(view)

    async def _lane(self, client: Sequence[Wire], rng: random.Random) -> None:
        kinds: list[Callable[[Wire, random.Random], Awaitable[None]]] = [
            self._stream,
            self._wait,
            self._ask,
            self._cancel,
            self._subscribe,
            *(partial(self._talk, style) for style in STYLES),
            *[self._in_line] * 2,
            self._chain,
            self._have_parts,
        ]
        while not self.stopping:
            await rng.choice(kinds)(rng.choice(client), rng)
            await asyncio.sleep(rng.uniform(0.01, 0.1))

    async def _reader(self, client: Sequence[Wire], rng: random.Random) -> None:
        wires = {wire.generation: wire for wire in client}
        while not self.stopping:
            await asyncio.sleep(_READ_SECONDS)
            if self._ledger.tasks:
                entry = rng.choice(list(self._ledger.tasks.values()))
                await self.call(partial(wires[entry.order.generation].get, entry.id), entry.id, "get")
