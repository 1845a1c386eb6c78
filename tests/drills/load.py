"""Some fifty clients of every generation that keep a server busy, note everything, and survive its deaths.

Each client is of one kind: streams, waits for answers, asks often and little, cancels, subscribes to what it sent,
talks with tasks that ask, chains tasks, or has families of tasks.
A request without an answer is repeated word for word once the server is back. Seeded: the same seed asks the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from types import MappingProxyType

import httpx2

from tests.clients.rpc import BadAnswer
from tests.clients.v01 import A2AClientError
from tests.drills.follower import Follower
from tests.drills.ledger import Ledger, Order, Stream, View
from tests.drills.talker import STYLES, Talker
from tests.drills.wires import LOST, Refused, Wire
from tests.patience import PATIENCE

_TRIES = 1_000
_NOT_CANCELABLE = -32002

STREAMERS, WAITERS, ASKERS, CANCELERS, SUBSCRIBERS, CHAINERS, PARENTS, CROWDS = 14, 8, 10, 4, 4, 4, 4, 2
FAMILY, NARROW = "family", "narrow"
"""Skills of the drills' agent: one whose tasks have parts, and one with room for two."""
NO_OPTIONS: Mapping[str, object] = MappingProxyType({})
PRIORITIES = ("critical", "high", "normal", "low", "backlog")
ON_FAILURE = ("fail", "cancel", "run")
TALKERS_EACH = 2
"""Of every generation in every style."""


class Load:
    """The clients of one drill. `in_flight`: requests and streams that wait for the server at this moment."""

    def __init__(self, wires: Sequence[Wire], ledger: Ledger, seed: int) -> None:
        self.in_flight = 0
        self.stopping = False
        self._wires = wires
        self._ledger = ledger
        self._seed = seed
        self._numbers = count()
        self._is_up = asyncio.Event()
        self._is_up.set()
        self._clients: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """The clients begin."""
        kinds: list[Callable[[Wire, random.Random], Awaitable[None]]] = [
            *[self._stream] * STREAMERS,
            *[self._wait] * WAITERS,
            *[self._ask] * ASKERS,
            *[self._cancel] * CANCELERS,
            *[self._subscribe] * SUBSCRIBERS,
            *[self._chain] * CHAINERS,
            *[self._have_parts] * PARENTS,
            *[self._in_line] * CROWDS,
        ]
        clients = [(kind, self._wires[number % len(self._wires)]) for number, kind in enumerate(kinds)]
        talkers = [partial(self._talk, style) for style in STYLES] * TALKERS_EACH
        clients += [(talk, wire) for talk in talkers for wire in self._wires]
        for number, (kind, wire) in enumerate(clients):
            rng = random.Random(f"{self._seed}/{number}")  # noqa: S311 - repeatable, not secret
            self._spawn(self._client(kind, wire, rng))

    async def finish(self, seconds: float) -> None:
        """The clients end what they have begun; those that cannot are noted and canceled."""
        self.stopping = True
        if not self._clients:
            return
        _, late = await asyncio.wait(self._clients, timeout=seconds)
        for task in late:
            task.cancel()
            self._ledger.problem("unfinished", "", f"a client still waits after {seconds:.0f} s")
        await asyncio.gather(*late, return_exceptions=True)

    def down(self) -> None:
        """The server is about to die: who loses it waits."""
        self._is_up.clear()

    def back(self) -> None:
        """The server answers again."""
        self._is_up.set()

    async def up(self) -> None:
        """The server is there, as far as is known."""
        await asyncio.wait_for(self._is_up.wait(), PATIENCE)
        await asyncio.sleep(0.02)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Counts as in flight."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def top_up(self, tasks: int) -> None:
        """More tasks that run for a while."""
        for number in range(tasks):
            wire = self._wires[number % len(self._wires)]
            self._spawn(self._send_quietly(wire, self._order(wire, "sleep 2")))

    async def run_long(self) -> None:
        """A task that outlives the time between two kills, so that it may end as poison."""
        wire = self._wires[next(self._numbers) % len(self._wires)]
        self._spawn(self._send_quietly(wire, self._order(wire, "sleep 8")))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._clients.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ledger.problem("client", "", f"a client broke: {error!r}")

    async def _client(
        self, kind: Callable[[Wire, random.Random], Awaitable[None]], wire: Wire, rng: random.Random
    ) -> None:
        await asyncio.sleep(rng.uniform(0, 0.3))
        while not self.stopping:
            await kind(wire, rng)
            await asyncio.sleep(rng.uniform(0.01, 0.12))

    async def _send_quietly(self, wire: Wire, order: Order) -> None:
        await self.send(wire, order, wait=False)

    async def _stream(self, wire: Wire, rng: random.Random) -> None:
        line = f"stream {rng.randint(5, 25)} {rng.uniform(0.02, 0.08):.3f}"
        await Follower(wire, self._ledger, self, Stream(), self._order(wire, line)).run()

    async def _wait(self, wire: Wire, rng: random.Random) -> None:
        lines = (f"sleep {rng.uniform(0.2, 1.0):.2f}", "stream 10 0.05", "work 10 0.05", "flaky 1", "echo wait")
        await self.send(wire, self._order(wire, rng.choices(lines, weights=(6, 4, 4, 1, 2))[0]), wait=True)

    async def _ask(self, wire: Wire, rng: random.Random) -> None:
        lines = (f"echo ask {rng.random()}", "stream 4 0.05", "blob 2000", "fail", "reject", "flaky 2", "work 5 0.05")
        order = self._order(wire, rng.choices(lines, weights=(12, 4, 2, 2, 2, 1, 2))[0])
        view = await self.send(wire, order, wait=rng.random() < 0.3)
        if view is not None and rng.random() < 0.5:
            other = self._wires[-1] if rng.random() < 0.2 else wire
            await self.call(lambda: other.get(view.id), view.id, "get")

    async def _cancel(self, wire: Wire, rng: random.Random) -> None:
        line = rng.choice(("stream 60 0.05", "sleep 3", "work 60 0.05", "talk 1 0.1"))
        view = await self.send(wire, self._order(wire, line), wait=False)
        if view is None:
            return
        await asyncio.sleep(rng.uniform(0, 0.8))
        self._ledger.tasks[view.id].cancel_asked = True
        await self._canceled(wire, view)

    async def _canceled(self, wire: Wire, view: View) -> None:
        await self.call(lambda: wire.cancel(view.id), view.id, "cancel", allowed=_NOT_CANCELABLE)

    async def _subscribe(self, wire: Wire, rng: random.Random) -> None:
        line = f"stream {rng.randint(10, 25)} {rng.uniform(0.03, 0.07):.3f}"
        view = await self.send(wire, self._order(wire, line), wait=False)
        if view is None:
            return
        await asyncio.sleep(rng.uniform(0, 0.5))
        followers = [Follower(wire, self._ledger, self, Stream(view.id)) for _ in range(rng.randint(1, 2))]
        await asyncio.gather(*(follower.run() for follower in followers))

    async def _talk(self, style: str, wire: Wire, rng: random.Random) -> None:
        word = rng.choices(("ask", "talk", "steps"), weights=(3, 4, 2))[0]
        line = f"{word} {rng.randint(1, 3)} {rng.uniform(0.05, 0.15):.2f}"
        await Talker(wire, self._ledger, self, rng, self._order(wire, line)).run(style)

    async def _chain(self, wire: Wire, rng: random.Random) -> None:
        """A task, some that follow it, and one behind all of them; the first one may be canceled."""
        lines = (f"sleep {rng.uniform(0.1, 0.6):.2f}", "echo chain", "stream 5 0.05", "steps 2 0.05", "fail", "flaky 1")
        first = await self.send(wire, self._order(wire, rng.choice(lines), options=self._in_any_lane(rng)), wait=False)
        if first is None:
            return
        behind = [first.id]
        for _ in range(rng.randint(1, 3)):
            upstreams = [first.id, *rng.sample(behind, rng.randint(0, 1))]
            view = await self.send(wire, self._behind(wire, rng, upstreams, rng.choice(lines)), wait=False)
            behind += [view.id] if view else []
        if rng.random() < 0.25:
            self._ledger.tasks[first.id].cancel_asked = True
            await self._canceled(wire, first)
        last = self._behind(wire, rng, behind, "echo last")
        await self.send(wire, last, wait=True)

    def _behind(self, wire: Wire, rng: random.Random, upstreams: Sequence[str], line: str) -> Order:
        ties = {"dependsOn": list(dict.fromkeys(upstreams)), "onDependencyFailure": rng.choice(ON_FAILURE)}
        late = {"delaySeconds": round(rng.uniform(0.05, 0.8), 2)} if rng.random() < 0.2 else {}
        return self._order(wire, line, options={**self._in_any_lane(rng), **ties, **late})

    def _in_any_lane(self, rng: random.Random) -> dict[str, object]:
        return {"priority": rng.choice(PRIORITIES)}

    async def _have_parts(self, wire: Wire, rng: random.Random) -> None:
        """A task that spawns others and joins them; it may be canceled, and its parts with it."""
        line = rng.choice(("echo part #", f"sleep {rng.uniform(0.1, 0.8):.2f}", "stream 5 0.1", "flaky 1"))
        order = self._order(wire, f"family {rng.randint(1, 4)} {line}", FAMILY, self._in_any_lane(rng))
        if rng.random() < 0.8:
            await self.send(wire, order, wait=True)
            return
        view = await self.send(wire, order, wait=False)
        if view is not None:
            await asyncio.sleep(rng.uniform(0, 0.8))
            self._ledger.tasks[view.id].cancel_asked = True
            await self._canceled(wire, view)

    async def _in_line(self, wire: Wire, rng: random.Random) -> None:
        """Two tasks that wait for room in a gate; one of them may be canceled."""
        lines = [rng.choice((f"sleep {rng.uniform(0.05, 0.5):.2f}", "stream 5 0.05", "steps 2 0.05")) for _ in range(2)]
        first, second = (self._order(wire, line, NARROW, self._in_any_lane(rng)) for line in lines)
        view = await self.send(wire, first, wait=False)
        if view is not None and rng.random() < 0.2:
            self._ledger.tasks[view.id].cancel_asked = True
            await self._canceled(wire, view)
        await self.send(wire, second, wait=True)

    def _order(self, wire: Wire, line: str, skill: str = "", options: Mapping[str, object] = NO_OPTIONS) -> Order:
        number, seed = next(self._numbers), self._seed
        return Order(
            f"{seed}-{number}", wire.generation, line, f"session-{seed}-{number}", skill=skill, options=options
        )

    async def send(self, wire: Wire, order: Order, *, wait: bool) -> View | None:
        """What came of the order, sent until it is answered; None if it was refused."""
        view = await self.call(lambda: wire.send(order, wait=wait), order.id, f"send {order.line!r}")
        if view is not None:
            self._ledger.acknowledge(order, view.id, view.state)
            if wait and not view.settled:
                self._not_waited(view)
        return view

    def _not_waited(self, view: View) -> None:
        self._ledger.problem("not-waited", view.id, f"a blocking send was answered with {view}")

    async def call(self, ask: Callable[[], Awaitable[View]], name: str, what: str, allowed: int = 0) -> View | None:
        """The answer to a request that is repeated until there is one; None if it was refused, with what is not allowed
        noted."""
        for attempt in range(_TRIES):
            self._ledger.repeated += attempt > 0
            try:
                with self.request():
                    view = await ask()
            except httpx2.ReadTimeout:
                self._ledger.problem("silent", name, f"no answer to {what}")
            except LOST:
                pass
            except Refused as refused:
                if refused.code != allowed:
                    self._ledger.problem("refused", name, f"{what}: {refused}")
                return None
            except (BadAnswer, A2AClientError) as error:
                self._ledger.problem("bad-answer", name, f"{what}: {error}")
                return None
            else:
                self._ledger.told(view.id, view.state)
                return view
            await self.up()
        self._ledger.problem("silent", name, f"{what} was tried {_TRIES} times")
        return None
