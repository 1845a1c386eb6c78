"""What no client of a wire can ask for: batches of tasks, and schedules, by the services that make them.

An office is one more process of a drill, without a worker: it writes where all write.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from a2a_server.errors import EngineError, Overloaded
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Lane, Message, Role, Scope, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.schedules import Missed, SchedulePlan
from a2a_server.service.batching import Batching, Item
from a2a_server.service.schedules import Schedules
from a2a_server.service.sending import Sending
from a2a_server.settings import Settings
from a2a_server.wiring import System
from tests.drills.agent import agent
from tests.patience import PATIENCE

T = TypeVar("T")
LINES = ("sleep 0.2", "echo node", "stream 4 0.05", "steps 1 0.05", "flaky 1", "fail")
_AGAIN_SECONDS = 0.2
_TRIES = round(PATIENCE / _AGAIN_SECONDS)


@dataclass(slots=True)
class Office:
    """Makes tasks in ways of its own. Every call is repeated until it is known to have been done."""

    system: System
    rng: random.Random
    name: str
    scope: Scope = field(default_factory=Scope)
    _numbers: count[int] = field(default_factory=count)

    async def graph(self, nodes: int) -> list[str]:
        """The ids of the tasks of a batch, each of which follows up to three that stand before it."""
        items = [self._node(position) for position in range(nodes)]
        engine = self.system.engine
        for _ in range(_TRIES):
            try:
                batch = await Batching(engine, Sending(engine, str)).submit(self.scope, items)
            except (EngineError, Overloaded):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return [one.row.id for one in batch.outcomes if isinstance(one, Submitted)]
        raise TimeoutError(f"a batch of {nodes} tasks was not taken")

    async def schedule(self, name: str, ticks: int, seconds: float) -> None:
        """So many ticks, so far apart; those that nobody was there for are made up for."""
        plan = SchedulePlan(interval_seconds=seconds, max_runs=ticks, missed=Missed.ALL, options={"skill": "workbench"})
        schedules = Schedules(self.system.engine)
        for _ in range(_TRIES):
            try:
                await schedules.create(self.scope, plan, Message(Role.USER, (Text("sleep 0.1"),)), name)
            except (EngineError, Overloaded):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return
        raise TimeoutError(f"the schedule {name} was not taken")

    async def ticked(self, ticks: int, seconds: float) -> None:
        """All its schedules have made so many tasks, or so many seconds have passed."""
        deadline = time.monotonic() + seconds
        schedules = Schedules(self.system.engine)
        while time.monotonic() < deadline:
            with suppress(EngineError, Overloaded):
                if all(one.schedule.runs >= ticks for one in await schedules.known(self.scope)):
                    return
            await asyncio.sleep(_AGAIN_SECONDS)

    def _node(self, position: int) -> Item:
        before = self.rng.sample(range(position), min(position, self.rng.randint(0, 3)))
        how = self.rng.choices(("run", "fail", "cancel"), weights=(6, 1, 1))[0]
        options = TaskOptions(
            skill="workbench",
            priority=self.rng.choice(list(Lane)),
            dependsOn=[f"#{one}" for one in before],
            onDependencyFailure=how,
        )
        message = Message(Role.USER, (Text(self.rng.choice(LINES)),), id=f"{self.name}-{next(self._numbers)}")
        return Item(message, options=options)


@asynccontextmanager
async def office(settings: Settings, rng: random.Random, name: str, log: Path) -> AsyncIterator[Office]:
    """An office on this store, while the context lasts. log: gets what the system says."""
    system = System(agent, settings)
    with said_in(log):
        await system.start()
        try:
            yield Office(system, rng, name)
        finally:
            await system.stop()


@contextmanager
def said_in(log: Path) -> Iterator[None]:
    """What systems in this process say goes into a file."""
    logger, handler = logging.getLogger("a2a_server"), logging.FileHandler(log)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
        handler.close()
