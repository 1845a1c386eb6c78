"""Two that want something else of the same task: a cancel and a result; and two schedulers that fire the same ticks.

Theory of operation. In one process on SQLite a handler returns when it is told to; its cancel is sent as often a little
earlier as a little later. One of them wins, and whoever is answered (who waits for the task, who cancels it) is told
what the log says. Then two server processes on PostgreSQL, and this one beside them, fire the ticks of the same
schedules, and every tick makes one task.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path
from typing import NamedTuple

from a2a_server import Agent, TaskContext
from a2a_server.errors import TaskNotCancelable
from a2a_server.model.objects import Generation, Message, Role, Scope, State, Task, Text
from a2a_server.model.requests import CancelRequest, SendRequest
from a2a_server.service.operations import Operations
from a2a_server.settings import load
from a2a_server.wiring import System
from tests.drills.cluster import Plan, running
from tests.drills.counts import Counts
from tests.drills.dumped import Dump, dumped, stored_event
from tests.drills.kin import check_kin, check_made
from tests.drills.ledger import TERMINAL, Violation
from tests.drills.office import office
from tests.drills.report import Report, say
from tests.patience import PATIENCE

RACERS = 8
SCHEDULES = 20
TICK_SECONDS = 1.0
_BREATHS = 12
"""Turns of the event loop by which the cancel comes later at most."""
_EARLIER_SECONDS = 0.02


class Race(NamedTuple):
    """What was said of one task. waited: the state that its sender was answered with; canceled: the one that the cancel
    was, None = it was refused, the task had ended. stored, told: the state of its row, and those that its log tells.
    """

    task: str
    waited: State
    canceled: State | None
    stored: State
    told: tuple[str, ...]


async def races(directory: Path, counts: Counts, seed: int) -> Report:
    """So many races, and so many ticks. Raises ServerFailure, and what `tests.services.own` raises."""
    begun = time.monotonic()
    run = await _canceled(directory, counts.races, seed)
    found = [violation for race in run for violation in check_race(race)]
    ends = Counter(race.stored.name.lower() for race in run)
    if min(ends[name] for name in ("completed", "canceled")) == 0:
        found.append(Violation("load", "", f"one side won every race: {dict(ends)}"))
    say(f"{len(run)} races: {dict(ends)}, {len(found)} violations")
    made, more = await _ticks(directory, counts.ticks, seed)
    figures: dict[str, object] = {"seed": seed, "races": len(run), **ends, "ticks": made}
    figures["seconds"] = round(time.monotonic() - begun, 1)
    return Report("races", figures, found + more)


def check_race(race: Race) -> list[Violation]:
    """What does not agree."""
    stored = race.stored.name.lower()
    found = []
    if race.stored not in {State.COMPLETED, State.CANCELED}:
        found.append(Violation("wrong-end", race.task, f"a race of a cancel and a result ended {stored}"))
    if [state for state in race.told if state in TERMINAL] != [stored] or race.told[-1] != stored:
        found.append(Violation("terminal-twice", race.task, f"it is {stored}, its log tells {race.told}"))
    if race.waited is not race.stored:
        found.append(Violation("told-otherwise", race.task, f"it is {stored}, its sender heard {race.waited.name}"))
    if race.canceled is not (race.stored if race.stored is State.CANCELED else None):
        heard = race.canceled.name if race.canceled else "that it had ended"
        found.append(Violation("told-otherwise", race.task, f"it is {stored}, its cancel was told {heard}"))
    return found


async def _canceled(directory: Path, number: int, seed: int) -> list[Race]:
    go: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
    agent = Agent("Races")

    @agent.skill
    async def work(task: TaskContext) -> str:
        await go[task.id].wait()
        return "done"

    files = (directory / "artifacts").as_uri()
    system = System(agent, load(None, store=f"sqlite:///{directory}/races.db", artifacts=files, drain_seconds=0))
    await system.start()
    numbers, found = count(), list[Race]()
    operations = Operations(system.engine)

    async def racer(rng: random.Random) -> None:
        while (position := next(numbers)) < number:
            found.append(await _race(system, operations, go, rng, f"r{position}"))

    try:
        await asyncio.gather(*(racer(random.Random(f"{seed}/{one}")) for one in range(RACERS)))  # noqa: S311 - repeatable
    finally:
        await system.stop()
    return found


async def _race(
    system: System, operations: Operations, go: defaultdict[str, asyncio.Event], rng: random.Random, name: str
) -> Race:
    message = Message(Role.USER, (Text("go"),), id=name)
    task = await operations.send(Scope(), SendRequest(Generation.V10, message, blocking=False))
    assert isinstance(task, Task)
    waiting = asyncio.ensure_future(operations.send(Scope(), SendRequest(Generation.V10, message, blocking=True)))
    await asyncio.sleep(rng.uniform(0, 0.002))

    async def cancel() -> State | None:
        try:
            return (await operations.cancel(Scope(), CancelRequest(task.id))).status.state
        except TaskNotCancelable:
            return None

    async def late(breaths: int) -> None:
        for _ in range(breaths):
            await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE):
        breaths = rng.randint(-_BREATHS, _BREATHS)
        if breaths < 0:
            canceling = asyncio.ensure_future(cancel())
            await asyncio.sleep(rng.choice((0, rng.uniform(0, _EARLIER_SECONDS))))
            go[task.id].set()
        else:
            go[task.id].set()
            await late(breaths)
            canceling = asyncio.ensure_future(cancel())
        canceled, waited = await canceling, await waiting
    assert isinstance(waited, Task)
    store = system.engine.backends.store
    row = await store.find(Scope(), "", task.id)
    assert row is not None
    told = tuple(stored_event(event).state for event in await store.events(row.key, 0, 100, 1 << 20))
    return Race(task.id, waited.status.state, canceled, row.state, told)


async def _ticks(directory: Path, ticks: int, seed: int) -> tuple[int, list[Violation]]:
    """How many ticks two processes fired, and what was wrong."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    each, dump = max(1, ticks // SCHEDULES), Dump()
    async with running(directory, Plan("store", working=(True, True), workers=0)) as cluster:
        settings = cluster.settings.model_copy(update={"workers": 0})
        async with office(settings, rng, f"{seed}", directory / "office.log") as desk:
            for number in range(SCHEDULES):
                await desk.schedule(f"every-{number}", each, TICK_SECONDS)
            deadline = time.monotonic() + each * TICK_SECONDS + PATIENCE
            while time.monotonic() < deadline:
                dump = await dumped(desk.system.engine.backends.store)
                over = all(row.state in TERMINAL for row in dump.rows.tasks.values())
                if over and sum(dump.rows.ticks.values()) >= each * SCHEDULES:
                    break
                await asyncio.sleep(0.5)
    found = check_kin(dump.rows, {}) + check_made(dump.rows, (), SCHEDULES, each)
    return sum(dump.rows.ticks.values()), found
