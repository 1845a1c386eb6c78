"""What can stand around a skill's function, and around an agent's runs: hooks, listeners, the lifespan.

Hooks are functions like skills: async or plain, their parameters filled by name. `SkillFunction` is what `@agent.skill`
leaves in the function's place: called it is the function, and its decorators put hooks around it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar, overload

from a2a_server.agent.binding import Binding, Source
from a2a_server.agent.inspection import inspected, name_of, streams, threaded
from a2a_server.errors import ConfigurationError
from a2a_server.model.objects import State
from a2a_server.model.runs import LONGEST_CHECK_NAME, MOST_CHECKS, Happening

P = ParamSpec("P")
R = TypeVar("R", covariant=True)  # noqa: PLC0105 - as in typing's own examples
Function = TypeVar("Function", bound=Callable[..., Any])
Check = TypeVar("Check", bound="Callable[..., Awaitable[bool | str | None] | bool | str | None]")

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]

_GIVEN = {"validate_result": ("result",), "rollback": ("reason",)}
"""What a hook is given beside the skill's own parameters."""

_STATES = {state.name.lower().replace("_", "-"): state for state in State if state is not State.SUBMITTED}


@dataclass(frozen=True, slots=True)
class Hook:
    """A function of the agent that is called beside a skill. threaded: it is plain, and runs in a thread."""

    function: Callable[..., Any]
    binding: Binding
    threaded: bool


@dataclass(frozen=True, slots=True)
class ResultCheck:
    """A check of results. name: its own among those of its skill. required: a result that does not pass it fails."""

    name: str
    hook: Hook
    required: bool


@dataclass(slots=True)
class Hooks:
    """What stands around one skill."""

    validate: Hook | None = None
    results: list[ResultCheck] = field(default_factory=list)
    rollback: Hook | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of states: `function` takes one `Happening`."""

    states: frozenset[State]
    function: Callable[[Happening], Any]
    threaded: bool


class SkillFunction(Generic[P, R]):
    """A skill's function, which can be called as before; its decorators put hooks around the skill.

    Hooks take any of the skill's parameters by name, and a `TaskContext` (`SyncTask` in plain functions).
    """

    __name__: str

    def __init__(self, function: Callable[P, R], hooks: Hooks) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._hooks = hooks

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function gives."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<skill {name_of(self.function)}>"

    def validate(self, hook: Check) -> Check:
        """Call `hook` before the skill's first run: a task it says no to is REJECTED.

        It says no by returning False, by returning the reason as a text, or by raising `Reject`. Once it has said yes
        it is not called again, whatever becomes of the run.

        Raises:
            ConfigurationError: the skill has such a hook, or a parameter of it cannot be filled.
        """
        self._hooks.validate = self._hook(hook, self._hooks.validate, "validate")
        return hook

    @overload
    def validate_result(self, hook: Check, /) -> Check: ...

    @overload
    def validate_result(
        self, hook: None = None, /, *, name: str = "", required: bool = True
    ) -> Callable[[Check], Check]: ...

    def validate_result(self, hook: Any = None, /, *, name: str = "", required: bool = True) -> Any:
        """Call `hook` with the parameter `result` before a result is written, and record what it says.

        It says no as for `validate`, and by raising `Fail`. The result is what the skill returned, before it is
        written; of a generator it is the list of what it yielded, which clients have seen by then. A skill may have
        several: all are called, in the order in which they are written.

        Args:
            hook: the function.
            name: under which the task shows what it said, up to 128 characters; '' = the function's.
            required: whether a task that it says no to FAILS, with the text of the first that does; else it is only
                recorded.

        Raises:
            ConfigurationError: as `validate`, or it takes no `result`, or its name is another check's, or too long.
        """
        if hook is None:
            return functools.partial(self._checked_by, name=name, required=required)
        return self._checked_by(hook, name=name, required=required)

    def rollback(self, hook: Function) -> Function:
        """Call `hook` before the task ends as failed or canceled, to undo what its runs did; `reason: str` says why.

        It is called under the task's lease, at least once, and ended after `cancel_grace_seconds`. What it raises goes
        to the task's journal, and the task ends all the same.

        Raises:
            ConfigurationError: as `validate`.
        """
        self._hooks.rollback = self._hook(hook, self._hooks.rollback, "rollback")
        return hook

    def _checked_by(self, hook: Check, *, name: str, required: bool) -> Check:
        made = self._hook(hook, None, "validate_result")
        if not any(parameter.name == "result" for parameter in made.binding.parameters):
            raise ConfigurationError(
                f"hook {name_of(hook)}(): validate_result needs a parameter for the result: result"
            )
        name = name or name_of(hook)
        self._check_name(name, self._hooks.results, hook)
        self._hooks.results.append(ResultCheck(name, made, required))
        return hook

    def _check_name(self, name: str, others: Sequence[ResultCheck], hook: Callable[..., Any]) -> None:
        wrong = ""
        if not (name.isprintable() and len(name) <= LONGEST_CHECK_NAME):
            wrong = f"its name must be printable text of at most {LONGEST_CHECK_NAME} characters"
        elif any(other.name == name for other in others):
            wrong = f'the skill {name_of(self.function)} has a check "{name}" already; give it another name'
        elif len(others) == MOST_CHECKS:
            wrong = f"a skill has at most {MOST_CHECKS} checks of its results"
        if wrong:
            raise ConfigurationError(f"hook {name_of(hook)}(): {wrong}")

    def _hook(self, hook: Callable[..., Any], before: Hook | None, kind: str) -> Hook:
        if before is not None:
            name, other = name_of(hook), name_of(before.function)
            raise ConfigurationError(f"hook {name}(): the skill {name_of(self.function)} has {kind} {other} already")
        if streams(hook):
            raise ConfigurationError(f"hook {name_of(hook)}(): a hook is no generator; return what it has to say")
        made = Hook(hook, inspected(hook), threaded(hook))
        own = [*inspect.signature(self.function).parameters, *_GIVEN.get(kind, ())]
        for parameter in made.binding.parameters:
            if parameter.source is not Source.CONTEXT and parameter.name not in own:
                known = ", ".join(own) or "none"
                raise ConfigurationError(
                    f'hook {name_of(hook)}(): parameter "{parameter.name}" is none that {kind} of the skill '
                    f"{name_of(self.function)} fills ({known}); rename it, or take it out"
                )
        return made


def listener_of(states: tuple[str, ...], function: Callable[..., Any]) -> Listener:
    """The listener that `@agent.on(*states)` makes of a function.

    Raises:
        ConfigurationError: no state is named, one is none, or the function does not take one thing.
    """
    name = name_of(function)
    unknown = [state for state in states if state not in _STATES]
    if unknown or not states:
        known = ", ".join(_STATES)
        raise ConfigurationError(f"listener {name}(): name states of {known}; {', '.join(unknown) or 'none'} is none")
    required = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    if len(required) != 1 or streams(function):
        raise ConfigurationError(f"listener {name}(): write it with one parameter: def {name}(event: Happening)")
    return Listener(frozenset(_STATES[state] for state in states), function, threaded(function))


def lifespan_of(function: Callable[..., Any], agent: object) -> Lifespan:
    """How the function opens and closes the resources of a process.

    Raises:
        ConfigurationError: it is no async generator function and no function that gives an async context manager, or
            it takes more than the agent.
    """
    name = name_of(function)
    required = [one for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    if len(required) > 1:
        raise ConfigurationError(f"lifespan {name}(): it gets nothing, or the agent; take out the other parameters")
    given: tuple[object, ...] = (agent,) if required else ()
    if inspect.isasyncgenfunction(function):
        generator: Callable[..., AsyncGenerator[Any, None]] = function
        return functools.partial(asynccontextmanager(generator), *given)
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(f"lifespan {name}(): write it as an async generator: async def {name}(): … yield …")
    return functools.partial(function, *given)
