"""Agents as users write them: a name and functions that are its skills.

How functions are inspected is in `inspection`, how a call's arguments come about in `binding`, what values become in
`values`. Running a skill is `agents.skill`; nothing here knows of runs, threads or events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, overload

import orjson

from a2a_server.agent.binding import Binding, Parameter, Source, Unbound
from a2a_server.agent.hooks import (
    Function,
    Hook,
    Lifespan,
    Listener,
    P,
    R,
    SkillFunction,
    lifespan_of,
    listener_of,
)
from a2a_server.agent.inspection import ContextParameter
from a2a_server.agent.skills import Skill, choose, skill_of
from a2a_server.agent.values import Partial
from a2a_server.errors import ConfigurationError, Retry
from a2a_server.model.card import AgentCard, AgentSkill, read_card
from a2a_server.model.objects import Lane
from a2a_server.model.runs import SkillSpec

__all__ = [
    "Agent",
    "Binding",
    "ContextParameter",
    "Hook",
    "Listener",
    "Parameter",
    "Partial",
    "Skill",
    "SkillFunction",
    "Source",
    "Unbound",
    "choose",
]


class Agent:
    """An agent: what clients can ask for, each thing a function.

    ```python
    agent = Agent("Echo")

    @agent.skill
    async def echo(text: str) -> str:
        \"\"\"Say it back.\"\"\"
        return text
    ```

    Args:
        name: what clients see.
        description: what the agent is for, for people and for agents that choose one.
        version: of the agent, in any form.

    Raises:
        ConfigurationError: the name is empty.
    """

    def __init__(self, name: str, description: str = "", version: str = "0.1.0") -> None:
        self._card = read_card({"name": name, "description": description, "version": version})
        self._skills: dict[str, Skill] = {}
        self._listeners: list[Listener] = []
        self._lifespan: Lifespan | None = None

    @classmethod
    def from_card(cls, path: str | PathLike[str]) -> Self:
        """An agent with everything that a card file says: provider, icon, documentation, texts of skills, and so on.

        What the file says about a skill wins over what its function says; a skill needs a function all the same.

        Args:
            path: of a JSON file in the 1.0 form; members of older generations are accepted and ignored.

        Raises:
            ConfigurationError: the file cannot be read, or is no agent card; the text names the member at fault.
        """
        try:
            data = orjson.loads(Path(path).read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise ConfigurationError(f"{path}: is not JSON: {error}") from error
        try:
            card = read_card(data)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from error
        agent = cls(card.name, card.description, card.version)
        agent._card = card
        return agent

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, skills={list(self._skills)!r})"

    @property
    def name(self) -> str:
        """What clients see."""
        return self._card.name

    @property
    def description(self) -> str:
        """What the agent is for."""
        return self._card.description

    @property
    def version(self) -> str:
        """The agent's version."""
        return self._card.version

    @property
    def skills(self) -> tuple[Skill, ...]:
        """The registered skills in the order of registration; exactly one is the default."""
        skills = tuple(_with_hooks(skill) for skill in self._skills.values())
        if skills and not any(skill.spec.default for skill in skills):
            return (replace(skills[0], spec=replace(skills[0].spec, default=True)), *skills[1:])
        return skills

    @property
    def specs(self) -> tuple[SkillSpec, ...]:
        """What the engine knows about `skills`."""
        return tuple(skill.spec for skill in self.skills)

    @property
    def card(self) -> AgentCard:
        """The agent card with the registered skills filled in; a new one each time.

        Raises:
            ConfigurationError: as `check`.
        """
        self.check()
        written = {skill.id: skill for skill in self._card.skills}
        skills = [_card_skill(skill.spec, written.get(skill.spec.id)) for skill in self.skills]
        return self._card.model_copy(update={"skills": skills}, deep=True)

    def check(self) -> None:
        """Make sure that the agent can be served.

        Raises:
            ConfigurationError: it has no skill, or its card file names one that no function implements.
        """
        for skill in self._card.skills:
            if skill.id not in self._skills:
                near = get_close_matches(skill.id, self._skills, n=1)
                hint = f' (is it "{near[0]}"?)' if near else ""
                raise ConfigurationError(
                    f'agent card: skill "{skill.id}" has no function{hint}; write one with '
                    f'@agent.skill(id="{skill.id}"), or take it out of the card'
                )
        if not self._skills:
            raise ConfigurationError(f'agent "{self.name}" has no skill; decorate a function with @agent.skill')

    @overload
    def skill(self, function: Callable[P, R], /) -> SkillFunction[P, R]: ...

    @overload
    def skill(
        self,
        /,
        *,
        id: str = "",
        name: str = "",
        description: str = "",
        tags: Sequence[str] = (),
        examples: Sequence[str] = (),
        input_modes: Sequence[str] = (),
        output_modes: Sequence[str] = (),
        timeout_seconds: float | None = None,
        max_attempts: int | None = None,
        max_concurrency: int | None = None,
        priority: Lane | int | str | None = None,
        backoff_seconds: tuple[float, float] | None = None,
        default: bool = False,
        direct: bool = False,
        retry_on: type[Exception] | tuple[type[Exception], ...] = (),
        rate: str | tuple[int, float] | None = None,
        breaker: int | tuple[int, float] | None = None,
        context: Literal["parallel", "serial", "reject", "replace"] = "parallel",
    ) -> Callable[[Callable[P, R]], SkillFunction[P, R]]: ...

    def skill(
        self, function: Callable[P, R] | None = None, /, **options: Any
    ) -> SkillFunction[P, R] | Callable[[Callable[P, R]], SkillFunction[P, R]]:
        """Register a function as a skill. It can be called as before, and carries decorators for hooks around it.

        It may be async or plain (then it runs in a thread), and may return its result or yield pieces of it. Its
        parameters are filled by name from the message's data part; one required `str` takes the text, `File` and
        `list[File]` take files, `TaskContext` (`SyncTask` in plain functions) everything else, a pydantic model the
        whole data part. What is required and missing the task asks for.

        Args:
            function: given when used bare, `@agent.skill`.
            **options: when used with options, `@agent.skill(…)`:
                id: unique in the agent; default: the function's name.
                name, description: for people; defaults: the function's name, the first paragraph of its docstring.
                tags, examples: for people and agents that choose a skill.
                input_modes, output_modes: media types; default: those of the agent.
                timeout_seconds: longest time of one run; default: the server's.
                max_attempts: tries in all, 1 = at most once; default: the server's.
                max_concurrency: runs at the same time, in all processes together; default: no limit.
                backoff_seconds: the wait before the second attempt, which doubles, and the longest; default: the
                    server's `backoff_base_seconds` and `backoff_limit_seconds`.
                priority: of its tasks unless they say otherwise: critical, high, normal, low, backlog, or 1 to 5;
                    default: what `client_priorities` has for the client, else normal.
                default: runs when a client names no skill; else the first registered one does.
                direct: a `Message` that comes first is the whole answer, without a task; default: whether the return
                    type has a `Message` in it.
                retry_on: exception classes after which the task is tried again, beside `Retry`, OSError and
                    TimeoutError.
                rate: starts per time, in all processes together: "10/s", "600/min", "1000/h", "5000/day", or (starts,
                    seconds). So many at once, and on average; default: no limit.
                breaker: failed runs in a row after which no task starts for a while, then one at a time until a run
                    succeeds; or (failures, seconds). 0 = never; default: the server's `breaker_failures`.
                context: what several tasks of one conversation do: run in parallel (default), one at a time (serial),
                    refuse the second until the first has ended (reject), or cancel the first (replace).

        Raises:
            ConfigurationError: an option or a parameter that cannot work; the text names it and the way out.
        """
        if function is not None:
            return self._register(function, options)

        def decorate(function: Callable[P, R]) -> SkillFunction[P, R]:
            return self._register(function, options)

        return decorate

    def pulled_skill(self, id: str, /, **options: Any) -> None:  # noqa: ANN401 - each has its rule
        """Declare a skill that only agents run that pull their work over HTTP; no worker of ours takes its tasks.

        Args:
            id: unique in the agent.
            **options: as of `skill`; those that tell of a function (`direct`, `retry_on`) have no effect.

        Raises:
            ConfigurationError: an option that cannot work; the text names it and the way out.
        """
        options = {"name": id, "description": options.get("name", id), **options, "id": id}
        skill = skill_of(served_elsewhere, options, self._card.skills)
        self._add(replace(skill, spec=replace(skill.spec, pulled=True, direct=False)))

    def on(self, *states: str) -> Callable[[Function], Function]:
        """Call a function when a task reached one of the states, after that is committed, at least once.

        ```python
        @agent.on("completed", "failed")
        async def tell(event: Happening) -> None: ...
        ```

        What it raises has it called again later, up to ten times; events of one task come in their order.

        Args:
            states: of working, input-required, auth-required, completed, failed, canceled, rejected.

        Raises:
            ConfigurationError: a state that is none, or a function that does not take one `Happening`.
        """

        def decorate(function: Function) -> Function:
            self._listeners.append(listener_of(states, function))
            return function

        return decorate

    def lifespan(self, function: Function) -> Function:
        """Open resources once in every worker process, before its first run, and close them behind its last.

        ```python
        @agent.lifespan
        async def resources():
            async with open_model() as model:
                yield model  # task.resources
        ```

        Args:
            function: an async generator function that yields once, or a function that gives an async context manager;
                with no parameter, or one for the agent.

        Raises:
            ConfigurationError: there is one already, or the function is neither.
        """
        if self._lifespan is not None:
            raise ConfigurationError(f'agent "{self.name}" has a lifespan already; open both resources in one')
        self._lifespan = lifespan_of(function, self)
        return function

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Who hears of tasks' states."""
        return tuple(self._listeners)

    @property
    def opens(self) -> Lifespan | None:
        """How the resources of a process are opened and closed; None = there are none."""
        return self._lifespan

    def _register(self, function: Callable[P, R], options: dict[str, Any]) -> SkillFunction[P, R]:
        if isinstance(function, SkillFunction):
            function = function.function
        skill = skill_of(function, options, self._card.skills)
        self._add(skill)
        return SkillFunction(function, skill.hooks)

    def _add(self, skill: Skill) -> None:
        if skill.spec.id in self._skills:
            raise ConfigurationError(
                f'skill "{skill.spec.id}" is registered twice; give one of them another id: @agent.skill(id="…")'
            )
        if skill.spec.default:
            other = next((one for one in self._skills.values() if one.spec.default), None)
            if other is not None:
                raise ConfigurationError(
                    f'skills "{other.spec.id}" and "{skill.spec.id}" are both marked default=True; only one can be'
                )
        self._skills[skill.spec.id] = skill


async def served_elsewhere() -> None:
    """Stands for the function of a skill that is run by others. Raises Retry: it was called here all the same."""
    raise Retry("Agents that pull their work run this skill.")


def _with_hooks(skill: Skill) -> Skill:
    hooks = skill.hooks
    if hooks.rollback is None and not hooks.results:
        return skill
    return replace(skill, spec=replace(skill.spec, rolls_back=hooks.rollback is not None, checks=bool(hooks.results)))


def _card_skill(spec: SkillSpec, written: AgentSkill | None) -> AgentSkill:
    return AgentSkill(
        id=spec.id,
        name=spec.name,
        description=spec.description or spec.name,
        tags=list(spec.tags),
        examples=list(spec.examples) or None,
        input_modes=list(spec.input_modes) or None,
        output_modes=list(spec.output_modes) or None,
        security_requirements=written.security_requirements if written else None,
    )
