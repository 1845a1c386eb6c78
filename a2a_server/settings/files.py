"""Settings files, YAML and TOML. Apart from `sources`, so that a server without one starts without their parsers."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeGuard

import yaml

from a2a_server.errors import ConfigurationError


def read(config: Path) -> dict[str, object]:
    """What the file says, by name, blocks as mappings.

    Raises:
        ConfigurationError: it cannot be read, or holds no mapping; the text names the file, and no value.
    """
    try:
        text = config.read_text(encoding="utf-8")
        if config.suffix == ".toml":
            content: object = tomllib.loads(text)
        elif config.suffix in (".yaml", ".yml"):
            content = yaml.safe_load(text)
        else:
            raise ConfigurationError(f"{config}: a settings file ends in .yaml, .yml or .toml")
    except OSError as error:
        raise ConfigurationError(f"{config}: the settings file cannot be read ({error.strerror})") from error
    except yaml.MarkedYAMLError as error:  # its text quotes the file, which may hold secrets
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{config}: no valid YAML{line} ({error.problem})") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{config}: no valid text or syntax ({error})") from None
    if content is None:
        return {}
    if not _is_mapping(content):
        raise ConfigurationError(f"{config}: a settings file is a mapping of names to values")
    return content


def _is_mapping(content: object) -> TypeGuard[dict[str, object]]:
    return isinstance(content, dict) and all(
        isinstance(name, str) and (not isinstance(value, dict) or _is_mapping(value)) for name, value in content.items()
    )
