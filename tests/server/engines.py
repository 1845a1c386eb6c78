"""A running system without HTTP, over a store that misbehaves when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from a2a_server import Agent
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Generation, Message, Phase, Role, Scope, State, Task, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.requests import CancelRequest, SendRequest
from a2a_server.model.rows import Key, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.running import AgentRunner
from a2a_server.service.operations import Operations
from a2a_server.settings import Settings, load
from a2a_server.wiring import System
from a2a_server.wiring.backends import store_of
from tests.patience import PATIENCE
from tests.server.elsewhere import moved
from tests.server.waiting import until
from tests.unit.misbehaving import MisbehavingStore

LONG = 3600.0
"""A poll so rare that whatever needs one fails its test: longer than the settings allow."""

_ids = count(1)


@dataclass(frozen=True)
class Suspect:
    """An operation: the tasks have crashed their workers twice."""

    keys: tuple[Key, ...]
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.update(self.keys)

    def decide(self, turn: Turn) -> None:
        for key in self.keys:
            turn.put(turn.rows[key]._replace(crashes=2))


class Running:
    """A system that runs, and a client of it."""

    def __init__(self, system: System, store: MisbehavingStore) -> None:
        self.system = system
        self.store = store
        self.engine = system.engine
        self.operations = Operations(system.engine)

    async def send(self, text: str = "go", *, blocking: bool = True, **options: Any) -> Task:  # noqa: ANN401 - any option
        message = Message(Role.USER, (Text(text),), id=f"message-{next(_ids)}")
        request = SendRequest(Generation.V10, message, blocking=blocking, options=TaskOptions(**options))
        async with asyncio.timeout(PATIENCE):
            return as_task(await self.operations.send(Scope(), request))

    async def answer(self, task: Task, text: str, *, blocking: bool = True, number: str = "") -> Task:
        """The task after the next message of its conversation."""
        message = Message(Role.USER, (Text(text),), id=number or f"message-{next(_ids)}", task_id=task.id)
        request = SendRequest(Generation.V10, message, task.id, blocking=blocking)
        async with asyncio.timeout(PATIENCE):
            return as_task(await self.operations.send(Scope(), request))

    async def start(self, text: str = "go", **options: Any) -> str:  # noqa: ANN401 - any option
        """The id of a task that nobody waits for."""
        return (await self.send(text, blocking=False, **options)).id

    async def cancel(self, task_id: str) -> Task:
        async with asyncio.timeout(PATIENCE):
            return await self.operations.cancel(Scope(), CancelRequest(task_id))

    async def row(self, task_id: str) -> TaskRow:
        found = await self.store.inner.find(Scope(), "", task_id)
        assert found is not None
        return found

    async def reached(self, task_id: str, *states: State | Phase) -> TaskRow:
        """The task once it is in one of the states or phases."""
        async with asyncio.timeout(PATIENCE):
            while True:
                row = await self.row(task_id)
                if any(row.state is one or row.phase is one for one in states):
                    return row
                await asyncio.sleep(0.005)

    async def hold(self, which: Callable[[Needs], bool]) -> None:
        """Hold turns of this kind from now on."""
        self.store.holds = which
        self.store.held.clear()
        self.store.gate.clear()

    async def stop_with_held(self) -> None:
        """Stop gracefully; what is held goes on once the worker has heard of it."""
        async with asyncio.timeout(PATIENCE):
            await self.store.held.wait()
            stopping = asyncio.create_task(self.system.stop())
            await until(lambda: self.engine.worker._stopping)
            self.store.gate.set()
            await stopping


def as_task(answer: Task | Message) -> Task:
    assert isinstance(answer, Task)
    return answer


def loaded(chosen: Mapping[str, object]) -> Settings:
    """The settings of a system; only its poll may be rarer than they allow."""
    others = dict(chosen)
    polls = {"poll_seconds": others.pop("poll_seconds")} if "poll_seconds" in others else {}
    return load(None, **others).model_copy(update=polls)


@asynccontextmanager
async def running(
    agent: Agent,
    directory: Path,
    around: Callable[[AgentRunner], AgentRunner] = lambda runner: runner,
    **settings: object,
) -> AsyncIterator[Running]:
    """Run the agent on the database of this directory while the context lasts, or until it is stopped."""
    chosen: dict[str, object] = {
        "store": f"sqlite:///{directory}/tasks.db",
        "artifacts": f"file://{directory}/artifacts",
        "backoff_base_seconds": 0.01,
        "drain_seconds": 0.0,
        **settings,
    }
    places = moved(loaded(chosen))
    store = MisbehavingStore(store_of(places))
    system = System(agent, places, store=store, around=around)
    await system.start()
    found = Running(system, store)
    try:
        yield found
    finally:
        store.gate.set()
        store.down = False
        store.silent = store.doubtful = 0
        await system.stop()
