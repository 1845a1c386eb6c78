"""The templates of the configuration, as the engine has them."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_server.errors import ConfigurationError, InvalidParams
from a2a_server.model.templates import Template
from a2a_server.service.templates import template_of
from a2a_server.settings import Settings


def templates_of(settings: Settings) -> Mapping[str, Template]:
    """By name. Raises ConfigurationError: an option breaks its rule."""
    found = {}
    for name, one in settings.templates.items():
        try:
            found[name] = template_of(one.options, text=one.text, description=one.description)
        except InvalidParams as error:
            raise ConfigurationError(f"templates.{name}: {error.message}") from None
    return found
