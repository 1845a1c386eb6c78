"""An agent whose every word to the engine is written in the test: the port AgentRunner, without the agent API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from a2a_server import Agent
from a2a_server.codec import decode, encode
from a2a_server.model.objects import Message, Role, State, Text
from a2a_server.model.runs import ASKED, Completed, Happening, Pause, SkillSpec, Want
from a2a_server.running import AgentRunner, Attempt
from tests.server.engines import Running, running

Handler = Callable[[Attempt], Awaitable[Completed | str | None]]


class Scripted:
    """Runs `handler` as its only skill. Every call of the engine is written down in order: `calls`."""

    def __init__(self, handler: Handler, *, listens_for: Sequence[State] = (), **skill: object) -> None:
        self.calls: list[tuple[str, str]] = []
        self.told: list[Happening] = []
        self.tell_failures = 0
        self.roll_back_with: Handler | None = None
        self.open_with: Exception | None = None
        self.close_with: Exception | None = None
        self._handler = handler
        self._spec = SkillSpec("script", "script", default=True, **skill)  # type: ignore[arg-type]  # any field of a skill
        self._listens_for = frozenset(listens_for)

    def around(self, runner: AgentRunner) -> AgentRunner:
        return self

    @property
    def skills(self) -> Sequence[SkillSpec]:
        return (self._spec,)

    @property
    def listens_for(self) -> frozenset[State]:
        return self._listens_for

    async def open(self) -> None:
        self.calls.append(("open", ""))
        if self.open_with is not None:
            raise self.open_with

    async def close(self) -> None:
        self.calls.append(("close", ""))
        if self.close_with is not None:
            raise self.close_with

    async def run(self, attempt: Attempt) -> Completed:
        self.calls.append(("run", attempt.task.message.text))
        result = await self._handler(attempt)
        if isinstance(result, Completed):
            return result
        return Completed(message(result) if result is not None else None)

    async def roll_back(self, attempt: Attempt, reason: str) -> None:
        self.calls.append(("roll_back", reason))
        if self.roll_back_with is not None:
            await self.roll_back_with(attempt)

    async def tell(self, happening: Happening) -> None:
        self.calls.append(("tell", happening.state.name))
        if self.tell_failures:
            self.tell_failures -= 1
            raise OSError("nobody listens")
        self.told.append(happening)


def message(text: str) -> Message:
    return Message(Role.AGENT, (Text(text),), id="said")


async def ask(attempt: Attempt, question: str, name: str = "1", want: Want = Want.INPUT) -> str:
    """What the agent API makes of a question, in as few words as it takes."""
    heard = [one for one in attempt.task.history if one.role is Role.USER]
    note = await attempt.recall(ASKED, name)
    if note is None:
        attempt.pause(Pause(want, message(question), name, encode(len(heard))))
    return heard[int(decode(note))].text


def idle_agent() -> Agent:
    """The agent behind a script: it gives the card, and runs nothing."""
    agent = Agent("Scripted")

    @agent.skill
    async def script(text: str) -> str:
        return text

    return agent


def serving(script: Scripted, directory: Path, **settings: object) -> AbstractAsyncContextManager[Running]:
    return running(idle_agent(), directory, script.around, **settings)
