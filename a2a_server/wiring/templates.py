"""The templates of the configuration, as the engine has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from a2a_server.errors import ConfigurationError, InvalidParams
from a2a_server.model.runs import SkillSpec
from a2a_server.model.templates import Template
from a2a_server.service.templates import check_usable, template_of
from a2a_server.settings import Settings


def templates_of(settings: Settings, skills: Sequence[SkillSpec] = ()) -> Mapping[str, Template]:
    """By name. skills: of the agent that they are for; () = it is not known.

    Raises ConfigurationError: an option breaks its rule, or names a skill or a resource that is not there.
    """
    found = {}
    for name, one in settings.templates.items():
        try:
            found[name] = template_of(one.options, text=one.text, description=one.description)
            check_usable(found[name], skills, settings.resources)
        except InvalidParams as error:
            raise ConfigurationError(f"templates.{name}.{_placed(error)}") from None
    return found


def _placed(error: InvalidParams) -> str:
    return error.message if error.message.startswith(error.path) else f"{error.path}: {error.message}"
