"""What every block of settings has in common: frozen, nothing unknown, no switch where a number or a text is meant."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


def refuse_switches(annotation: object, value: object) -> object:
    """The value; ValueError where YAML read `on`, `off`, `true` or `false` for something that is no switch."""
    if isinstance(value, bool) and annotation is not bool:
        raise ValueError("true, false, on and off are no values of this setting")
    return value


def listed(value: object) -> object:
    """A text as the list of what stands between its commas; anything else as it is."""
    return tuple(name for part in value.split(",") if (name := part.strip())) if isinstance(value, str) else value


def counted(value: object) -> object:
    """A text like `gpu=2,licence=5` as the amounts by name; anything else as it is. ValueError: no such text."""
    if not isinstance(value, str):
        return value
    amounts: dict[str, str] = {}
    for part in value.strip().removeprefix("{").removesuffix("}").split(","):
        name, equals, amount = (word.strip() for word in part.partition("="))
        if name and (not equals or name in amounts):
            raise ValueError("must be names with amounts, each once: gpu=2,licence=5")
        if name:
            amounts[name] = amount
    return amounts


class Block(BaseModel):
    """Settings that stand together under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object, info: ValidationInfo) -> object:
        return refuse_switches(cls.model_fields[info.field_name or ""].annotation, value)
