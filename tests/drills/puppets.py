"""An agent whose handlers do what they are told while they run: two skills, `wide`, and `narrow` with room for two.

What a handler asked, spawned and joined is done again in its next run, as a handler has to that is run again; then it
waits to be told more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from a2a_server import Agent, Fail, Reject, Retry, TaskContext
from a2a_server.context.family import TaskHandle

WIDE, NARROW = "wide", "narrow"
ROOM = 2


class Do(StrEnum):
    """What a handler is told."""

    COMPLETE = "complete"
    FAIL = "fail"
    REJECT = "reject"
    RETRY = "retry"
    ASK = "ask"
    SPAWN = "spawn"
    JOIN = "join"


@dataclass(frozen=True, slots=True)
class Word:
    """done: gets the id of the task that was spawned. given: to the spawn. wait: seconds until the retry."""

    do: Do
    given: dict[str, Any] = field(default_factory=dict)
    wait: float = 0.0
    done: asyncio.Future[str] | None = None


class Puppets:
    """The strings of all handlers. stubborn: tasks whose handlers return a result when they are canceled."""

    def __init__(self) -> None:
        self.stubborn: set[str] = set()
        self._listens: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._told: defaultdict[str, asyncio.Queue[Word]] = defaultdict(asyncio.Queue)
        self._done: defaultdict[str, list[Word]] = defaultdict(list)

    def tell(self, task: str, word: Word) -> None:
        """Have the handler of that task do it, in this run or the next."""
        self._told[task].put_nowait(word)

    async def listens(self, task: str) -> None:
        """The handler of that task has begun, and waits to be told something."""
        await self._listens[task].wait()

    def forget(self) -> None:
        """All tasks so far have ended."""
        self.stubborn.clear()
        self._listens.clear()
        self._told.clear()
        self._done.clear()

    def agent(self) -> Agent:
        """The agent."""
        agent = Agent("Puppets")

        @agent.skill(id=WIDE, default=True)
        async def wide(task: TaskContext) -> str:
            return await self._play(task)

        @agent.skill(id=NARROW, max_concurrency=ROOM)
        async def narrow(task: TaskContext) -> str:
            return await self._play(task)

        return agent

    async def _play(self, task: TaskContext) -> str:
        children: list[TaskHandle] = []
        for word in self._done[task.id]:
            await self._again(task, word, children)
        self._listens[task.id].set()
        try:
            while True:
                word = await self._told[task.id].get()
                if word.do is Do.COMPLETE:
                    return "done"
                await self._one(task, word, children)
        except asyncio.CancelledError:
            if task.id in self.stubborn:
                return "done all the same"
            raise
        finally:
            self._listens[task.id].clear()

    async def _one(self, task: TaskContext, word: Word, children: list[TaskHandle]) -> None:
        match word.do:
            case Do.FAIL:
                raise Fail("As told.")
            case Do.REJECT:
                raise Reject("As told.")
            case Do.RETRY:
                raise Retry("As told.", after_seconds=word.wait)
            case _:
                self._done[task.id].append(word)
                await self._again(task, word, children)

    async def _again(self, task: TaskContext, word: Word, children: list[TaskHandle]) -> None:
        match word.do:
            case Do.ASK:
                await task.ask("And now?")
            case Do.SPAWN:
                after = [one for one in children if one.id in word.given.get("after", ())]
                given = {name: value for name, value in word.given.items() if name != "after"}
                children.append(await task.spawn("part", depends_on=after, **given))
                if word.done is not None and not word.done.done():
                    word.done.set_result(children[-1].id)
            case _:
                await task.join(*children)
