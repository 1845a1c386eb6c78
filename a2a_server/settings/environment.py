"""Settings from the environment. Apart from `sources`, so that a server without one starts without its library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_origin

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from a2a_server.errors import ConfigurationError
from a2a_server.settings.knobs import NESTED, PREFIX, Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def read() -> dict[str, Any]:
    """What the environment says, by name, blocks as mappings. An empty variable counts as absent.

    Raises:
        ConfigurationError: a block is given whole, and is no JSON.
    """
    try:
        return _Variables(
            cast("type[BaseSettings]", Settings),  # of a model it asks for the fields alone
            case_sensitive=False,
            env_prefix=PREFIX,
            env_nested_delimiter=NESTED,
            env_ignore_empty=True,
        )()
    except SettingsError as error:
        raise ConfigurationError(
            f"the environment: a whole block in one variable {PREFIX}… must be JSON; or give its settings one by one"
        ) from error


class _Variables(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401 - the library's signature
        """As the library, but for lists and amounts: they stay texts, which the setting's own rule takes apart."""
        if get_origin(field.annotation) in (tuple, dict):
            return value
        return super().decode_complex_value(field_name, field, value)
