"""What people name and write beside a send: ids of things, and task options that stand in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import OPTIONS_URI, Data, Json, Message
from a2a_server.model.options import NO_OPTIONS, TaskOptions, plain_rule
from a2a_server.model.runs import SkillSpec
from a2a_server.wire.extensions import asked

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


def check_parameters(skill: SkillSpec, parameters: Mapping[str, Json], message: Message) -> None:
    """Refuse parameters that the skill would reject its task for. Raises InvalidParams for the first of them.

    What a data part of the message says stands instead of the parameter of its name.
    """
    if skill.faults is None or not parameters:
        return
    said = [part.data for part in message.parts if isinstance(part, Data)]
    instead = {name for value in said if isinstance(value, dict) for name in value}
    for place, rule in skill.faults(parameters).items():
        if re.split(r"[.\[]", place)[0] not in instead:
            path = f"{_PATH}.parameters" + (f".{place}" if place else "")
            raise InvalidParams(f"{path} {_broken(rule)}, as the skill {skill.id} takes it.", path=path)


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
    try:
        return asked({"metadata": {OPTIONS_URI: dict(given)}}).options
    except InvalidParams as error:
        raise InvalidParams(error.message.replace(_PATH, where), path=error.path.replace(_PATH, where)) from None
