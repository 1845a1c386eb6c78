"""The knobs as a list, for `config show`, the pages of docs/ and `.env.example`. Blocks are flattened: `block.name`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le
from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from a2a_server.settings.knobs import NESTED, PREFIX, Settings

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting. `aliases` are other names it may be given by; `recorded` says what will use it, '' = it has effect.

    kind, bounds: its type and its range in words. path: the names that lead to it in `Settings`.
    """

    path: Path
    kind: str
    bounds: str
    default: object
    description: str
    aliases: tuple[str, ...] = ()
    recorded: str = ""

    @property
    def name(self) -> str:
        """`port`, `task_manager.id`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + NESTED.join(self.path).upper()

    @property
    def meaning(self) -> str:
        """The description, and the honest word where it has no effect yet."""
        return f"{self.description} Recorded; used by {self.recorded}." if self.recorded else self.description


def knobs() -> list[Knob]:
    """Every knob, in the order of `Settings`, those of blocks in the place of their block."""
    return list(_knobs(Settings, ()))


def value_of(settings: Settings, knob: Knob) -> Any:  # noqa: ANN401 - JSON
    """The knob's value as JSON, without what is secret in it."""
    found: Any = settings
    for name in knob.path:
        found = getattr(found, name)
    return without_secrets(found)


def without_secrets(value: object) -> Any:  # noqa: ANN401 - JSON; a return for each kind of value
    """The value as JSON; a secret, and user and password in an address, as `…`."""
    if isinstance(value, SecretStr):
        return "…" if value.get_secret_value() else ""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, dict):
        return {name: without_secrets(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [without_secrets(item) for item in value]
    if isinstance(value, str) and "://" in value:
        host = urlsplit(value).netloc
        _, at, place = host.rpartition("@")
        return value.replace(host, f"…@{place}", 1) if at else value
    return value


def shown(value: object) -> str:
    """A value, as `value_of` gives it, for people and for the environment."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def names_of(field: FieldInfo, name: str) -> tuple[str, ...]:
    """The names that a field may be given by, ours first."""
    alias = field.validation_alias
    others = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else []
    return (name, *(other for other in others if other != name))


def block_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a block."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _knobs(model: type[BaseModel], above: Path) -> Iterator[Knob]:
    for name, field in model.model_fields.items():
        block = block_of(field)
        if block is not None:
            yield from _knobs(block, (*above, name))
            continue
        extra = field.json_schema_extra
        yield Knob(
            path=(*above, name),
            kind=_kind(field.annotation),
            bounds=_bounds(field),
            default=without_secrets(field.get_default(call_default_factory=True)),
            description=field.description or "",
            aliases=names_of(field, name)[1:],
            recorded=str(extra.get("recorded", "")) if isinstance(extra, dict) else "",
        )


def _kind(annotation: object) -> str:
    if get_origin(annotation) is Literal:
        return "one of"
    if get_origin(annotation) is tuple:
        return "list of texts"
    if get_origin(annotation) is dict:
        return "mapping"
    kinds: dict[object, str] = {int: "whole number", float: "number", bool: "true or false", SecretStr: "secret"}
    return kinds.get(annotation, "text")


def _bounds(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    words = []
    for rule in field.metadata:
        match rule:
            case Ge(least):
                words.append(f"{_number(least)} or more")
            case Gt(least):
                words.append(f"more than {_number(least)}")
            case Le(most):
                words.append(f"at most {_number(most)}")
            case _:
                pass
    return ", ".join(words)


def _number(value: object) -> str:
    return f"{value:,}".replace(",", "_") if isinstance(value, int) else str(value)
