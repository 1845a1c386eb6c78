"""What is known about a skill: its options, checked, joined with what its function and the agent card say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from a2a_server.agent.binding import Binding, Source
from a2a_server.agent.hooks import Hooks
from a2a_server.agent.inspection import description_of, gives_message, inspected, name_of, streams, threaded
from a2a_server.errors import ConfigurationError, InvalidParams
from a2a_server.model.card import AgentSkill
from a2a_server.model.objects import OPTIONS_URI, Lane
from a2a_server.model.options import TaskOptions, spelled
from a2a_server.model.runs import SkillSpec, Together
from a2a_server.wording import plain_rule

_NAMED = 20

_Seconds = Annotated[float, Field(gt=0, le=366 * 86400)]
_Wait = Annotated[float, Field(ge=0, le=86400)]
_LongWait = Annotated[float, Field(ge=0, le=30 * 86400)]
_Modes = tuple[Annotated[str, Field(min_length=1)], ...]


_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}


def _rate(value: object) -> object:
    if not isinstance(value, str):
        return value
    number, slash, unit = (word.strip() for word in value.partition("/"))
    if not (slash and unit in _UNITS and number.isascii() and number.isdigit()):
        raise ValueError("no such rate")
    return int(number), _UNITS[unit]


def _trip(value: object) -> object:
    return (value, None) if isinstance(value, int) else value


def _rising(value: tuple[float, float] | None) -> tuple[float, float] | None:
    if value is not None and value[0] > value[1]:
        raise ValueError("must not have its first wait above its longest, as (1, 300) has not")
    return value


_FORMS = {
    "rate": "such as 10/s, 600/min, 1000/h or 5000/day, or (starts, seconds), both above 0",
    "breaker": "a number of failures, 0 to 1000, or (failures, seconds)",
    "retry_on": "an exception class, or a tuple of them",
}
"""What options are that can be given in several forms."""


class SkillOptions(BaseModel):
    """The options of `@agent.skill(…)`, with their rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(max_length=256)] = ""
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    input_modes: _Modes = ()
    output_modes: _Modes = ()
    timeout_seconds: _Seconds | None = None
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_concurrency: Annotated[int, Field(ge=1)] | None = None
    backoff_seconds: Annotated[tuple[_Wait, _LongWait] | None, AfterValidator(_rising)] = None
    priority: Lane | None = None
    default: bool = False
    direct: bool = False
    retry_on: tuple[type[Exception], ...] = ()
    rate: Annotated[tuple[Annotated[int, Field(ge=1)], _Seconds] | None, BeforeValidator(_rate)] = None
    breaker: Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], _Seconds | None] | None, BeforeValidator(_trip)] = (
        None
    )
    context: Together = Together.PARALLEL


@dataclass(frozen=True, slots=True)
class Skill:
    """A registered skill: what is known about it, what is called, with what, and what stands around it.

    streams: the function is a generator of either kind. `spec.threaded` tells plain functions from async ones.
    defaults: of the parameters that have one.
    """

    spec: SkillSpec
    function: Callable[..., Any]
    streams: bool
    binding: Binding
    hooks: Hooks
    defaults: Mapping[str, object]

    def values(self, arguments: Mapping[str, object]) -> dict[str, object]:
        """What a call with these arguments gives each parameter, defaults too; without the context."""
        own = {parameter.name for parameter in self.binding.parameters if parameter.source is Source.CONTEXT}
        return {name: value for name, value in {**self.defaults, **arguments}.items() if name not in own}


def skill_of(function: Callable[..., Any], options: dict[str, Any], card: Sequence[AgentSkill]) -> Skill:
    """The skill that `function` is with these options; what the card says about it wins over both.

    Raises:
        ConfigurationError: an option breaks its rule, or a parameter cannot be filled.
    """
    binding = inspected(function)
    chosen = _options(name_of(function), options)
    id_ = chosen.id or name_of(function)
    if not id_.isprintable():
        raise ConfigurationError(f"skill {name_of(function)}(): option id must be printable text")
    told = next((skill for skill in card if skill.id == id_), None) or AgentSkill(id=id_, name="", description="")
    spec = SkillSpec(
        id=id_,
        name=told.name or chosen.name or name_of(function).replace("_", " "),
        description=told.description or chosen.description or description_of(function),
        tags=tuple(told.tags) or chosen.tags,
        examples=tuple(told.examples or chosen.examples),
        input_modes=tuple(told.input_modes or chosen.input_modes),
        output_modes=tuple(told.output_modes or chosen.output_modes),
        default=chosen.default,
        threaded=threaded(function),
        timeout_seconds=chosen.timeout_seconds,
        max_attempts=chosen.max_attempts,
        max_concurrency=chosen.max_concurrency,
        backoff_seconds=chosen.backoff_seconds,
        priority=None if chosen.priority is None else chosen.priority.value,
        retry_on=chosen.retry_on,
        schema=binding.schema or {},
        direct=chosen.direct or gives_message(function),
        rate=chosen.rate,
        breaker=chosen.breaker,
        context=chosen.context,
        faults=binding.faults,
    )
    signature = inspect.signature(function).parameters.values()
    defaults = {one.name: one.default for one in signature if one.default is not one.empty}
    return Skill(spec, function, streams(function), binding, Hooks(), defaults)


def choose(skills: Sequence[SkillSpec], wanted: str = "") -> SkillSpec:
    """The skill that runs a task: the one `wanted`, else the only one, else the default (marked, or the first).

    Raises:
        InvalidParams: no skill has the wanted id; the text names those that there are.
    """
    for skill in skills:
        if skill.id == wanted if wanted else skill.default:
            return skill
    if not wanted:
        return skills[0]
    known = [skill.id for skill in skills]
    names = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
    raise InvalidParams(
        f'this agent has no skill "{wanted}"; its skills are: {names}', path=f'metadata["{OPTIONS_URI}"].skill'
    )


def _options(function: str, options: dict[str, Any]) -> SkillOptions:
    options = dict(options)
    if isinstance(options.get("retry_on"), type):
        options["retry_on"] = (options["retry_on"],)
    given = options.pop("priority", None)
    try:
        if given is not None:
            options["priority"] = TaskOptions.model_validate({"priority": given}).priority
    except ValidationError as error:
        raise ConfigurationError(
            f"skill {function}(): option priority must be critical, high, normal, low, backlog, or 1 to 5"
        ) from error
    try:
        return SkillOptions.model_validate(options)
    except ValidationError as error:
        faults = dict.fromkeys(map(_fault, error.errors(include_url=False, include_context=False)))
        raise ConfigurationError(f"skill {function}(): {'; '.join(faults)}") from error


def _fault(detail: ErrorDetails) -> str:
    name, known = str(detail["loc"][0]), list(SkillOptions.model_fields)
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are: {', '.join(known)}"
        return f"option {name} is not known; {hint}"
    if name in _FORMS:
        return f"option {name} must be {_FORMS[name]}"
    return f"option {spelled(detail['loc'])} {plain_rule(detail['msg'])}"
