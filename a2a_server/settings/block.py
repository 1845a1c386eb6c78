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


class Block(BaseModel):
    """Settings that stand together under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object, info: ValidationInfo) -> object:
        return refuse_switches(cls.model_fields[info.field_name or ""].annotation, value)
