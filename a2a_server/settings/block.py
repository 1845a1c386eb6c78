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
    return _paired(value, "amounts, each once: gpu=2,licence=5")


def ranked(value: object) -> object:
    """A text like `local=high` as the lanes by name, in small letters; anything else as it is. ValueError as above."""
    lanes = _paired(value, "lanes, each once: local=high")
    if not isinstance(lanes, dict):
        return lanes
    words = {name: lane.strip().lower() if isinstance(lane, str) else lane for name, lane in lanes.items()}
    return {name: "normal" if lane == "medium" else lane for name, lane in words.items()}


def _paired(value: object, rule: str) -> object:
    if not isinstance(value, str):
        return value
    pairs: dict[str, str] = {}
    for part in value.strip().removeprefix("{").removesuffix("}").split(","):
        name, equals, given = (word.strip() for word in part.partition("="))
        if name and (not equals or name in pairs):
            raise ValueError(f"must be names with {rule}")
        if name:
            pairs[name] = given
    return pairs


class Block(BaseModel):
    """Settings that stand together under one name."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object, info: ValidationInfo) -> object:
        return refuse_switches(cls.model_fields[info.field_name or ""].annotation, value)
