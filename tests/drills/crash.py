"""The crash drill: kill -9 under load, start again, compare what clients know with what is there.

Theory of operation: `Load` keeps every generation busy. For every kill the drill waits until enough tasks have been
acknowledged since the last one, at least 20 requests are in flight and at least 10 tasks are leased, then a random
moment longer. Which tasks ran, and at which moment of their conversations, is read from the file while nobody serves
it; a moment that no kill ever met fails the drill. After the restart the file must show within
10 s that nothing belongs to the dead and that everything unfinished will be moved. At the end each acknowledged task is
read back, many logs are read again from event 1, and `checker` compares.

Weakness: one machine and one disk; a power cut, which loses what the kernel held, is not rehearsed here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from a2a_server.settings import load
from tests.clients.rpc import BadAnswer, new_http
from tests.clients.v01 import A2AClientError
from tests.drills.checker import check, check_recovery
from tests.drills.conversations import Moment, check_hits, moments
from tests.drills.counts import (
    MIN_ACKNOWLEDGED_PER_KILL,
    MIN_IN_FLIGHT,
    MIN_LEASED,
    POISON_KILLS,
    RECOVERY_SECONDS,
    Counts,
)
from tests.drills.follower import Follower
from tests.drills.kin import check_made
from tests.drills.ledger import TERMINAL, Entry, Kill, Ledger, Stream, View, Violation
from tests.drills.load import Load
from tests.drills.office import office
from tests.drills.report import Report, say
from tests.drills.server import Server
from tests.drills.store import StoreReader
from tests.drills.wires import LOST, Refused, Wire, wires
from tests.patience import PATIENCE

_TOP_UP_SECONDS = 2.5
_READERS = 16
GRAPH_NODES = 200
SCHEDULES = 3
TICKS_PER_KILL = 2
TICK_SECONDS = 1.0


class DrillFailure(Exception):
    """The drill could not be carried out; no statement about the server's promises."""


async def crash(directory: Path, counts: Counts, seed: int) -> Report:
    """Kill a server `counts.kills` times. Raises DrillFailure, ServerFailure."""
    server = Server(directory, "tests/drills/agent.py")
    async with new_http(timeout_seconds=PATIENCE) as http:
        every = wires(server.url, http)
        ledger = Ledger()
        load = Load(every, ledger, seed)
        drill = CrashDrill(server, StoreReader(server.database), load, ledger, every, random.Random(seed))  # noqa: S311 - not for secrets
        try:
            await drill.prepare(counts, seed)
            await server.start()
            return await drill.run(counts, seed)
        finally:
            load.back()
            await load.finish(0)
            await server.kill()


@dataclass(slots=True)
class CrashDrill:
    """One drill in progress."""

    server: Server
    store: StoreReader
    load: Load
    ledger: Ledger
    wires: Sequence[Wire]
    rng: random.Random
    violations: list[Violation] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    graph: Sequence[str] = ()

    async def prepare(self, counts: Counts, seed: int) -> None:
        """A graph of tasks and some schedules are there before the first request."""
        given = {"store": f"sqlite:///{self.server.database}", "workers": 1, "slots": 1, "queues": ("nothing",)}
        settings = load(None, artifacts=(self.server.directory / "artifacts").as_uri(), **given)
        async with office(settings, self.rng, f"{seed}-graph", self.server.directory / "office.log") as desk:
            self.graph = await desk.graph(GRAPH_NODES)
            for number in range(SCHEDULES):
                await desk.schedule(f"every-{number}", TICKS_PER_KILL * counts.kills, TICK_SECONDS)

    async def run(self, counts: Counts, seed: int) -> Report:
        """Everything, from the first request to the verdict."""
        begun = time.monotonic()
        self.load.start()
        full = 0
        while full < counts.kills:
            full += await self._cycle(full + 1, counts.kills)
            weak = len(self.ledger.kills) - full
            if weak > counts.kills // 2 + 3:
                raise DrillFailure(f"{weak} kills met fewer than {MIN_LEASED} leased tasks")
        killed = time.monotonic()
        say("the last kill is over; waiting for the tasks to end")
        await self.load.finish(PATIENCE)
        await self._all_ended(killed + PATIENCE)
        views = await self._views()
        await self._replays(counts.replays, views)
        code = await self.server.stop()
        rows = self.store.rows()
        self.violations += check(self.ledger, views, rows)
        self.violations += check_made(rows, self.graph, SCHEDULES, TICKS_PER_KILL * counts.kills)
        kills = self.ledger.kills
        acknowledged = len(self.ledger.tasks)
        if acknowledged < MIN_ACKNOWLEDGED_PER_KILL * len(kills):
            text = f"{acknowledged} acknowledged tasks are too few for {len(kills)} kills"
            self.violations.append(Violation("load", "", text))
        hits = {moment: [kill.hits.get(moment, 0) for kill in kills] for moment in Moment}
        self.violations += check_hits(kills)
        figures: dict[str, object] = {
            "seed": seed,
            "kills": full,
            "kills_with_too_few_leased": len(kills) - full,
            "acknowledged": acknowledged,
            "acknowledged_per_kill": round(acknowledged / max(1, len(kills)), 1),
            "in_flight_least": min(kill.in_flight for kill in kills),
            "leased_least": min((leased for kill in kills if (leased := len(kill.leased)) >= MIN_LEASED), default=0),
            "hits_least": {str(moment): min(met) for moment, met in hits.items()},
            "hits_sum": {str(moment): sum(met) for moment, met in hits.items()},
            "answers": sum(len(entry.replies) for entry in self.ledger.tasks.values()),
            "streams": len(self.ledger.streams),
            "resumptions": sum(len(stream.resumed_after) for stream in self.ledger.streams),
            "events_seen": sum(len(stream.items) for stream in self.ledger.streams),
            "events_stored": sum(map(len, rows.events.values())),
            "repeated_requests": self.ledger.repeated,
            "followers": sum(edge.kind in {"fail", "cancel", "run"} for edge in rows.edges),
            "parts": sum(bool(row.parent) for row in rows.tasks.values()),
            "ticks": sum(rows.ticks.values()),
            "poisoned": sum(row.crashes >= POISON_KILLS for row in rows.tasks.values()),
            "restart_longest_seconds": round(max(self.restarts), 2),
            "recovery_longest_seconds": round(max(self.recoveries), 2),
            "exit_code": code,
            "killing_seconds": round(killed - begun, 1),
            "seconds": round(time.monotonic() - begun, 1),
        }
        return Report("crash", figures, self.violations)

    async def _cycle(self, number: int, kills: int) -> bool:
        """One kill and the recovery from it; False if too few tasks were leased for it to count."""
        target = len(self.ledger.tasks) + self.rng.randint(MIN_ACKNOWLEDGED_PER_KILL + 5, 160)
        if number % 4 == 1 and kills - number > POISON_KILLS:
            await self.load.run_long()
        await self._busy(target)
        in_flight, answering = self.load.in_flight, set(self.ledger.waiting)
        self.load.down()
        await self.server.kill()
        leased = self.store.leased()
        dead = self.store.workers()
        self.ledger.kills.append(Kill(number, in_flight, leased, self._hits(answering)))
        self.restarts.append(await self.server.start())
        self.load.back()
        await self._recovered(dead)
        say(
            f"kill {number}/{kills}: {in_flight} in flight, {len(leased)} leased, "
            f"{len(self.ledger.tasks)} acknowledged, {len(self.ledger.problems)} problems; "
            f"restart {self.restarts[-1]:.2f} s, recovered after {self.recoveries[-1]:.2f} s"
        )
        return len(leased) >= MIN_LEASED

    def _hits(self, answering: Collection[str]) -> Mapping[str, int]:
        """How many tasks stand at each moment of a conversation, while nobody serves them.

        answering: ids of the answers that were in flight when the server died.
        """
        positions = {position.id: position for position in self.store.positions()}
        hits: Counter[str] = Counter(moment for position in positions.values() for moment in moments(position))
        for reply in [reply for name, reply in self.ledger.waiting.items() if name in answering]:
            task = reply.order.task
            hits[Moment.IN_ANSWER] += 1
            if task in positions and positions[task].answered < len(self.ledger.tasks[task].replies):
                hits[Moment.UNKEPT_ANSWER] += 1
        return hits

    async def _busy(self, target: int) -> None:
        """Returns at a random moment at which enough is going on. Raises DrillFailure."""
        begun = time.monotonic()
        topped_up = begun
        drawn = False
        while (now := time.monotonic()) < begun + PATIENCE:
            enough = len(self.ledger.tasks) >= target and self.load.in_flight >= MIN_IN_FLIGHT
            leased = len(self.store.leased()) if enough else 0
            if leased >= MIN_LEASED + 2:
                if drawn:
                    return
                drawn = True
                await asyncio.sleep(self.rng.uniform(0, 0.5))
                continue
            if now - topped_up > _TOP_UP_SECONDS:
                self.load.top_up(MIN_LEASED)
                topped_up = now
            await asyncio.sleep(0.02)
        missing = f"{len(self.ledger.tasks)}/{target} acknowledged, {self.load.in_flight} in flight"
        raise DrillFailure(f"not busy enough to be killed after {PATIENCE:.0f} s: {missing}; {self._problems()}")

    async def _recovered(self, dead: frozenset[str]) -> None:
        """Waits until nothing belongs to the dead and nothing is stuck; notes what still is after 10 s."""
        begun = time.monotonic()
        while True:
            waited = time.monotonic() - begun  # before it looks, so that a late look is not taken for an early one
            living = self.store.workers() - dead
            wrong = check_recovery(self.store.unfinished(), living, self.store.waiting())
            if not wrong or waited > RECOVERY_SECONDS:
                break
            await asyncio.sleep(0.1)
        self.recoveries.append(time.monotonic() - begun)
        self.violations += wrong

    async def _all_ended(self, deadline: float) -> None:
        while self.store.unfinished() or any(self.store.ticks().values()):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.2)

    async def _views(self) -> dict[str, View]:
        """Each acknowledged task as its own generation shows it."""
        views: dict[str, View] = {}
        waiting = list(self.ledger.tasks.values())

        async def reader() -> None:
            while waiting:
                entry = waiting.pop()
                try:
                    views[entry.id] = await self._wire(entry).get(entry.id)
                except Refused as refused:
                    self.ledger.problem("lost", entry.id, str(refused))
                except (BadAnswer, A2AClientError, *LOST) as error:
                    self.ledger.problem("bad-answer", entry.id, f"get: {error}")

        await asyncio.gather(*(reader() for _ in range(_READERS)))
        return views

    async def _replays(self, most: int, views: Mapping[str, View]) -> None:
        """The whole log of ended tasks once more, first of those that ran at a kill."""
        ran = {task for kill in self.ledger.kills for task in kill.leased}
        ended = {task for task, view in views.items() if view.state in TERMINAL}
        entries = [entry for entry in self.ledger.tasks.values() if entry.id in ended]
        self.rng.shuffle(entries)
        waiting = sorted(entries, key=lambda entry: entry.id not in ran)[:most]

        async def reader() -> None:
            while waiting:
                entry = waiting.pop()
                stream = Stream(entry.id, whole=True)
                await Follower(self._wire(entry), self.ledger, self.load, stream).run()

        await asyncio.gather(*(reader() for _ in range(_READERS)))

    def _wire(self, entry: Entry) -> Wire:
        return next(wire for wire in self.wires if wire.generation == entry.order.generation)

    def _problems(self) -> str:
        counted = Counter(f"{rule}: {text}" for rule, _, text in self.ledger.problems)
        return "; ".join(f"{text} ({times} times)" for text, times in counted.most_common(12)) or "nobody complained"
