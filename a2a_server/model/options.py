"""Task options: what a client may ask of the task manager with a send, in every generation.

They travel as `metadata["urn:a2a-task-server:task-options:v1"]`; this model is their one definition, and its JSON
Schema is what the card links to. An option that is unknown or not supported yet is an error, never ignored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema

from a2a_server.model.objects import Lane

_LANES = {lane.name.lower(): lane.value for lane in Lane} | {"medium": Lane.NORMAL.value}


def _lane(value: object) -> object:
    return _LANES.get(value.lower(), value) if isinstance(value, str) else value


_WORDS = (
    ("Field required", "is missing"),
    ("Input should", "must"),
    ("String should", "must"),
    ("List should", "must"),
    ("Value should", "must"),
    ("less than or equal to", "at most"),
    ("greater than or equal to", "at least"),
    ("be greater than", "be above"),
    ("be less than", "be below"),
)
_LANE_SCHEMA = {
    "anyOf": [
        {"enum": list(_LANES)},
        {"type": "integer", "minimum": min(Lane), "maximum": max(Lane)},
        {"type": "null"},
    ]
}


class TaskOptions(BaseModel):
    """Options of one send. Durations in seconds, moments in RFC 3339 with a time zone."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        title="A2A task options",
        defer_build=True,
    )

    skill: str = Field("", max_length=256, description="Id of the skill to run; empty = the server chooses.")
    title: str = Field("", max_length=255, description="A name for people.")
    priority: Annotated[Lane | None, BeforeValidator(_lane), WithJsonSchema(_LANE_SCHEMA)] = Field(
        None, description="critical, high, normal (medium), low, backlog, or 1 to 5; absent = the skill's."
    )
    run_at: AwareDatetime | None = Field(None, description="Do not start before this moment.")
    delay_seconds: float = Field(
        0.0, ge=0, le=366 * 86400, description="Do not start before this much time has passed."
    )
    timeout_seconds: float | None = Field(
        None, gt=0, le=366 * 86400, description="Longest time of one run; absent = the skill's."
    )
    deadline: AwareDatetime | None = Field(None, description="The task fails if it has not ended by then.")
    max_attempts: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="How often the task may be tried; 1 = at most once. Absent = the skill's.",
    )
    return_immediately: bool | None = Field(
        None,
        description="Answer as soon as the task is stored, in every generation; absent = as the request itself says.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the skill by name; the message's data part wins over them."
    )


NO_OPTIONS = TaskOptions.model_construct()
"""What most sends ask for; made without the checks, which take a while to be built."""


def microseconds(moment: datetime) -> int:
    """A moment as integer microseconds since the epoch."""
    return round(moment.timestamp() * 1e6)


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's hook
        return False


def plain_rule(text: str) -> str:
    """Pydantic's text for a broken rule, as it reads behind the name of a field."""
    for theirs, ours in _WORDS:
        text = text.replace(theirs, ours)
    return text


def options_schema() -> dict[str, Any]:
    """The JSON Schema of the task options, as clients write them."""
    schema = TaskOptions.model_json_schema(by_alias=True, schema_generator=_Untitled)
    return {"$schema": _Untitled.schema_dialect, **schema}
