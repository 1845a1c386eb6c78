"""What people name and write beside a send: ids of things, and task options that stand in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from a2a_server.agent import choose
from a2a_server.engine.admitting import check_resources
from a2a_server.errors import InvalidParams
from a2a_server.model.objects import OPTIONS_URI, Data, Json, Message
from a2a_server.model.options import NO_OPTIONS, TaskOptions
from a2a_server.model.runs import SkillSpec
from a2a_server.wire.extensions import asked
from a2a_server.wording import plain_rule

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_PATH: Final = f'metadata["{OPTIONS_URI}"]'


def checked_id(given: str, what: str = "id") -> str:
    """The id itself. Raises InvalidParams."""
    if _ID.fullmatch(given) is None:
        raise InvalidParams(
            f"{what} must be 1 to 128 letters, digits, dots, hyphens and underscores, a letter or digit first.",
            path=what,
        )
    return given


def check_parameters(skill: SkillSpec, parameters: Mapping[str, Json], *messages: Message) -> None:
    """Refuse parameters that the skill would reject its task for. Raises InvalidParams for the first of them.

    What a data part of a message says stands instead of the parameter of its name, and may make whole what is not.
    """
    said = [part.data for message in messages for part in message.parts if isinstance(part, Data)]
    instead = {name for value in said if isinstance(value, dict) for name in value}
    for name, place, rule in _faults(skill, parameters):
        if name not in instead and (name or not instead):
            raise _refused(skill, place, rule)


def check_standing(options: TaskOptions, skills: Sequence[SkillSpec], resources: Mapping[str, int]) -> None:
    """Refuse options that stand for later tasks, and that none of these could be made with.

    skills: of the agent; () = they are not known, so what depends on them is not looked at. resources: all that there
    are, with their amounts. Parameters need not be complete: the later tasks bring the others. Raises InvalidParams.
    """
    check_resources(options.requires, resources)
    if not skills:
        return
    skill = choose(skills, options.skill)
    if options.skill or len(skills) == 1:  # else whoever makes the task may name another one
        for name, place, rule in _faults(skill, options.parameters):
            if name in options.parameters:
                raise _refused(skill, place, rule)


def _faults(skill: SkillSpec, parameters: Mapping[str, Json]) -> Iterator[tuple[str, str, str]]:
    if skill.faults is not None and parameters:
        for place, rule in skill.faults(parameters).items():
            yield re.split(r"[.\[]", place)[0], place, rule


def _refused(skill: SkillSpec, place: str, rule: str) -> InvalidParams:
    path = f"{_PATH}.parameters" + (f".{place}" if place else "")
    return InvalidParams(f"{path} {_broken(rule)}, as the skill {skill.id} takes it.", path=path)


def _broken(rule: str) -> str:
    plain = plain_rule(rule.removeprefix("Value error, ")).rstrip(".")
    return plain if plain.startswith("must ") else f"breaks a rule ({plain})"


def options_in(given: Mapping[str, Any], where: str, *, never: Mapping[str, str]) -> TaskOptions:
    """Task options as they stand in a thing under the name `where`.

    never: options that make no sense in it, each with the reason. Raises InvalidParams.
    """
    for name, reason in never.items():
        if given.get(name) is not None:
            raise InvalidParams(f"{where}.{name} {reason}; leave it out.", path=f"{where}.{name}")
    if not given:
        return NO_OPTIONS
    with options_under(where):
        return asked({"metadata": {OPTIONS_URI: dict(given)}}).options


@contextmanager
def options_under(where: str) -> Iterator[None]:
    """Errors about task options name them as they stand in a thing under the name `where`."""
    try:
        yield
    except InvalidParams as error:
        raise InvalidParams(error.message.replace(_PATH, where), path=error.path.replace(_PATH, where)) from None
