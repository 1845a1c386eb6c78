"""Who dumps thousands of tasks does not starve who sends one, and nothing goes before what is critical.

Theory of operation. One system in this process, on SQLite, has few slots. `ann` has a backlog; `bob` sends one task
after the other. From the logs it is counted how many of ann's tasks began after bob's was stored and before it began:
at most those that a slot was free for, and one claim. Then both send tasks of every lane, and no claim may take a lower
one while a critical one waits. Moments are those of the store's turns, of which there is one at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from a2a_server import Agent
from a2a_server.engine.claiming import CLAIM_LIMIT
from a2a_server.lifecycle.limits import Pause, Resume
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Lane, Message, Phase, Role, Scope, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.rows import Key
from a2a_server.service.batching import Batching, Item
from a2a_server.service.sending import Sending
from a2a_server.settings import load
from a2a_server.wiring import System
from tests.drills.counts import Counts
from tests.drills.ledger import Violation
from tests.drills.report import Report
from tests.patience import PATIENCE

SLOTS = 8
ANN, BOB = Scope(owner="ann"), Scope(owner="bob")
MOST_BEFORE = SLOTS + min(SLOTS, CLAIM_LIMIT)
_MIXED = 10


class Turn(NamedTuple):
    """When a task was stored, and when it began, by the store's clock; 0 = it did not."""

    task: str
    lane: Lane
    stored_at: int
    begun_at: int


async def fairness(directory: Path, counts: Counts, seed: int) -> Report:
    """So many trials against one backlog."""
    begun = time.monotonic()
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    settings = load(
        None,
        store=f"sqlite:///{directory}/fairness.db",
        artifacts=(directory / "artifacts").as_uri(),
        slots=SLOTS,
        drain_seconds=0,
    )
    system = System(_agent(), settings)
    trial = Trial(system)
    await system.start()
    try:
        await trial.engine.submit(Pause("queue:work"))
        ann = await trial.send(ANN, [Lane.NORMAL] * counts.backlog)
        await trial.engine.submit(Resume("queue:work"))
        waits: list[int] = []
        for _ in range(counts.trials):
            bob = (await trial.send(BOB, [Lane.NORMAL]))[0]
            await trial.begun([bob])
            waits.append(before(await trial.turn(bob), await trial.newest(ann)))
            await asyncio.sleep(rng.uniform(0, 0.005))
        left = await trial.waiting(ann)
        mixed = await trial.mix(rng, counts.trials)
        turns = [turn for key in (*ann, *mixed) if (turn := await trial.turn(key)).begun_at]
    finally:
        await system.stop()
    found = [
        Violation("unfair", "", f"{wait} of the backlog began before one that was sent alone; {MOST_BEFORE} may")
        for wait in waits
        if wait > MOST_BEFORE
    ]
    if not left:
        found.append(Violation("load", "", "the backlog was done before the last trial"))
    found += check_lanes(turns)
    figures: dict[str, object] = {
        "seed": seed,
        "backlog": counts.backlog,
        "trials": counts.trials,
        "before_most": max(waits),
        "before_mean": round(sum(waits) / len(waits), 1),
        "left": left,
        "critical": sum(turn.lane is Lane.CRITICAL for turn in turns),
        "seconds": round(time.monotonic() - begun, 1),
    }
    return Report("fairness", figures, found)


def _agent() -> Agent:
    agent = Agent("Fairness")

    @agent.skill
    async def work(text: str) -> str:
        await asyncio.sleep(0.001)
        return text

    return agent


class Trial:
    """What is sent to one system, and read of it."""

    def __init__(self, system: System) -> None:
        self.engine = system.engine
        self._batching = Batching(system.engine, Sending(system.engine, str))
        self._turns: dict[Key, Turn] = {}
        self._lanes: dict[Key, Lane] = {}
        self._first = 0

    async def send(self, scope: Scope, lanes: Sequence[Lane]) -> list[Key]:
        """The keys of that many new tasks, each in its lane."""
        items = [Item(Message(Role.USER, (Text("x"),)), options=TaskOptions(priority=lane)) for lane in lanes]
        made = (await self._batching.submit(scope, items, atomic=False)).outcomes
        keys = [one.row.key for one in made if isinstance(one, Submitted)]
        self._lanes |= zip(keys, lanes, strict=True)
        return keys

    async def begun(self, keys: Sequence[Key]) -> None:
        """All of them have begun. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            left = list(keys)
            while left:
                left = [key for key in left if not (await self.turn(key)).begun_at]
                await asyncio.sleep(0.002)

    async def turn(self, key: Key) -> Turn:
        """What its log says."""
        if key not in self._turns:
            events = await self.engine.backends.store.events(key, 0, 3, 1 << 20)
            begun_at = next((event.at for event in events if event.fence), 0)
            turn = Turn(key.hex(), self._lanes[key], events[0].at, begun_at)
            if not begun_at:
                return turn
            self._turns[key] = turn
        return self._turns[key]

    async def newest(self, backlog: Sequence[Key]) -> list[Turn]:
        """Of a backlog, which goes in order, those that began last."""
        while self._first < len(backlog):
            turn = await self.turn(backlog[self._first])
            if not turn.begun_at:
                break
            self._first += 1
        near = backlog[max(0, self._first - 20 * MOST_BEFORE) : self._first + 2 * MOST_BEFORE]
        return [await self.turn(key) for key in near]

    async def waiting(self, keys: Sequence[Key]) -> int:
        """How many of them have not begun."""
        count = 0
        for start in range(0, len(keys), 500):
            heads = await self.engine.backends.store.heads(keys[start : start + 500])
            count += sum(head.phase is not Phase.FINAL for head in heads.values())
        return count

    async def mix(self, rng: random.Random, rounds: int) -> list[Key]:
        """Tasks of every lane from both, sent while others of them wait; all have begun."""
        keys: list[Key] = []
        for _ in range(rounds):
            lanes = [rng.choice((Lane.CRITICAL, Lane.HIGH)) for _ in range(_MIXED)]
            keys += await self.send(rng.choice((ANN, BOB)), lanes)
        await self.begun(keys)
        return keys


def before(one: Turn, others: Sequence[Turn]) -> int:
    """How many of the others began after `one` was stored and before it began."""
    return sum(one.stored_at < other.begun_at < one.begun_at for other in others)


def check_lanes(turns: Sequence[Turn]) -> list[Violation]:
    """Whether a lower lane began while a critical task waited, of those that have begun."""
    found = []
    critical = [turn for turn in turns if turn.lane is Lane.CRITICAL]
    for turn in turns:
        passed = [one for one in critical if one.stored_at < turn.begun_at < one.begun_at]
        if turn.lane is not Lane.CRITICAL and passed:
            text = f"{turn.lane.name.lower()} began while {len(passed)} critical tasks waited, {passed[0].task} first"
            found.append(Violation("lane", turn.task, text))
    return found
