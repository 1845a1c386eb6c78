"""Further agents of a process, mounted beside the one that it serves: today the task manager's own.

Each has a name, which is its address, its place in queues' names and a part of what its tasks are found by; slots of
its own; and a card. None of them is reached through another's address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from a2a_server.agent import Agent
from a2a_server.agents.skill import SkillRunner
from a2a_server.agents.task_manager import NAME, task_manager
from a2a_server.engine.engine import Engine
from a2a_server.engine.limits import Limits
from a2a_server.engine.usage import Usage
from a2a_server.errors import StoreUnavailable
from a2a_server.model.commands import Answered, Command
from a2a_server.model.objects import Scope
from a2a_server.ports import TaskStore
from a2a_server.settings import Settings
from a2a_server.settings.addresses import is_loopback
from a2a_server.values import value_class

if TYPE_CHECKING:
    from a2a_server.web.management.commanding import Commands
    from a2a_server.web.management.table import Route

SLOTS = 32
"""Commands that the task manager carries out at once, in a process."""


@value_class(frozen=True, slots=True)
class Mount:
    """A further agent. id: what it says of itself beside its name. slots, threads: of its own worker."""

    name: str
    agent: Agent
    runner: SkillRunner
    id: str
    slots: int
    threads: int


class Mounted(NamedTuple):
    """A further agent with its engine."""

    mount: Mount
    engine: Engine


class Desk:
    """Passes the task manager's commands on, once there is an engine to carry them out."""

    def __init__(self) -> None:
        self._made: Callable[[], Awaitable[Commands]] | None = None
        self._commands: Commands | None = None

    def opened(
        self,
        engine: Engine,
        routes: Callable[[], Awaitable[Sequence[Route]]],
        settings: Settings,
        ledger: TaskStore,
        usage: Usage,
    ) -> None:
        """From now on commands are about the tasks of this engine's agent.

        routes: gives those of the management API; asked at the first command. ledger: of alerts. usage: what runs took.
        """

        async def made() -> Commands:
            table = await routes()
            # Read with the routes, for the first command.
            from a2a_server.service.sizing import Sizing
            from a2a_server.web.management.commanding import Commands
            from a2a_server.web.management.monitoring import MonitoringPages

            sizing = Sizing(usage)
            told = MonitoringPages(engine, ledger, sizing).routes()
            return Commands((*table, *told), engine.agent, sizing, lambda: is_loopback(settings.host))

        self._made = made

    async def answer(self, scope: Scope, command: Command, key: str) -> Answered:
        """See `agents.task_manager.Desk`."""
        if self._made is None:
            raise StoreUnavailable("the task manager has not begun")
        self._commands = self._commands or await self._made()
        return await self._commands.answer(scope, command, key)


def mounts_of(settings: Settings, desk: Desk) -> Sequence[Mount]:
    """The further agents that the settings ask for."""
    manager = settings.task_manager
    if not manager.capabilities:
        return ()
    agent = task_manager(desk, manager.name, manager.capabilities, version("a2a-task-server"))
    return (Mount(NAME, agent, SkillRunner(agent, threads=1), manager.id, SLOTS, 1),)


def mounted(engine: Engine, mounts: Sequence[Mount], limits: Limits, about: Mapping[str, object]) -> Sequence[Mounted]:
    """Their engines, on `engine`. about: the process."""
    made = []
    for mount in mounts:
        own = replace(
            limits,
            slots=mount.slots,
            threads=mount.threads,
            lanes=(),
            queues=(),
            client_max_concurrency=0,
            client_skill_max_concurrency=0,
            client_priorities={},
            agent_max_concurrency=0,
        )
        told = told_of(own, serves=mount.name, agent=mount.agent.name, agentId=mount.id, **about)
        made.append(Mounted(mount, engine.mount(mount.name, mount.runner, own, about=told)))
    return made


def told_of(limits: Limits, **about: object) -> dict[str, object]:
    """What a worker says of itself."""
    return {**about, "slots": limits.slots, "threads": limits.threads}
