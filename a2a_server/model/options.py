"""Task options: what a client may ask of the task manager with a send, in every generation.

They travel as `metadata["urn:a2a-task-server:task-options:v1"]`; this model is their one definition, and its JSON
Schema is what the card links to. An option that is unknown or not supported yet is an error, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from a2a_server.model.objects import JsonObject, Lane
from a2a_server.model.runs import LONGEST_CHECK_NAME, MOST_CHECKS
from a2a_server.model.times import InTime

_LANES = {lane.name.lower(): lane.value for lane in Lane} | {"medium": Lane.NORMAL.value}


def _lane(value: object) -> object:
    if isinstance(value, bool):
        return ""  # no priority, where Python would take it for 0 or 1
    return _LANES.get(value.lower(), value) if isinstance(value, str) else value


_LANE_SCHEMAS: list[dict[str, Any]] = [
    {"enum": list(_LANES)},
    {"type": "integer", "minimum": min(Lane), "maximum": max(Lane)},
]
Priority = Annotated[Lane, BeforeValidator(_lane), WithJsonSchema({"anyOf": _LANE_SCHEMAS})]
"""A lane by its name or its number."""


_PRINTED = r"^[^\x00-\x1f\x7f]+$"
_CHILDREN_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^(all|any|[1-9][0-9]{0,5})$"},
        {"type": "integer", "minimum": 1, "maximum": 999_999},
    ]
}
_CRITERION_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": r"^(|all|any|[1-9][0-9]{0,5})$"},
        {"type": "integer", "minimum": 1, "maximum": 999_999},
        {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                "children": _CHILDREN_SCHEMA,
                "checks": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MOST_CHECKS,
                    "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_CHECK_NAME, "pattern": _PRINTED},
                },
            },
        },
        {"type": "null"},
    ]
}


_CheckName = Annotated[str, Field(min_length=1, max_length=LONGEST_CHECK_NAME, pattern=_PRINTED)]
_Word = Annotated[str, Field(min_length=1, max_length=128, pattern=_PRINTED)]
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_TaskId = Annotated[str, Field(min_length=1, max_length=256, pattern=_PLAIN)]
_Resource = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
MOST_UPSTREAMS = 1000
"""Tasks that one task may depend on."""
MOST_TAGS = 32


class Requirements(BaseModel):
    """What a task needs of the worker that runs it. Sizes in bytes."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, defer_build=True)

    tags: tuple[_Word, ...] = Field((), max_length=16, description="Words that the worker must have all of.")
    tools: tuple[_Word, ...] = Field((), max_length=16, description="Tools that the worker must offer.")
    agents: tuple[_Word, ...] = Field((), max_length=16, description="Agents that the worker must reach.")
    cpu: float = Field(0.0, ge=0, le=4096, description="Cores, out of the worker's pool, while it runs.")
    memory_bytes: int = Field(0, ge=0, le=1 << 50, description="Memory, out of the worker's pool.")
    storage_bytes: int = Field(0, ge=0, le=1 << 60, description="Storage, out of the worker's pool.")
    resources: dict[_Resource, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        default_factory=dict, max_length=4, description="Named resources that all workers share, with amounts."
    )
    duration_seconds: float = Field(
        0.0, ge=0, le=366 * 86400, description="How long it may take; 0 = as long as the skill took so far."
    )


_CHILDREN = re.compile(r"all|any|[1-9][0-9]{0,5}")
_SHORT_RULE = (
    'must be all, any, a number from 1 to 999999, or an object such as {"children": "all", "checks": ["format"]}'
)


def _as_text(value: object) -> object:
    """A number as text. Those that passed through google.protobuf.Struct are doubles."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _children(value: object) -> object:
    value = _as_text(value)
    if not isinstance(value, str) or not _CHILDREN.fullmatch(value):
        raise PydanticCustomError("children", "must be all, any, or a number from 1 to 999999")
    return value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class CompleteWhen(BaseModel):
    """What must be so for a task to complete, beside that its handler returned."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, defer_build=True)

    children: Annotated[str, BeforeValidator(_children), WithJsonSchema(_CHILDREN_SCHEMA)] = Field(
        "",
        description="It waits for its subtasks when it returns, until so many have completed: all, any, or a number; "
        "absent = it does not wait.",
    )
    checks: Annotated[tuple[_CheckName, ...], BeforeValidator(_as_tuple)] = Field(
        (), min_length=1, max_length=MOST_CHECKS, description="Checks of its result, by name, that must have passed."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.children and not self.checks:
            raise PydanticCustomError("empty", "must have children, checks, or both")
        return self

    @model_serializer(mode="plain")
    def _shortest(self) -> Any:  # noqa: ANN401 - JSON
        return criterion_shown(self.children, self.checks)


def criterion_shown(children: str, checks: Sequence[str]) -> str | JsonObject | None:
    """What a task completes by as clients write it: the short form where there is one, None = nothing."""
    if not checks:
        return children or None
    return {"children": children, "checks": list(checks)} if children else {"checks": list(checks)}


def _criterion(value: object) -> object:
    value = _as_text(value)
    if value == "":
        return None
    if isinstance(value, str) and _CHILDREN.fullmatch(value):
        return {"children": value}
    if value is None or isinstance(value, (dict, CompleteWhen)):
        return value
    raise PydanticCustomError("complete_when", _SHORT_RULE)


class OnDependencyFailure(StrEnum):
    """What becomes of a task when one that it depends on does not complete."""

    FAIL = "fail"
    CANCEL = "cancel"
    RUN = "run"


class TaskOptions(BaseModel):
    """Options of one send. Durations in seconds, moments in RFC 3339 with a time zone."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        title="A2A task options",
        defer_build=True,
    )

    skill: str = Field(
        "", max_length=256, pattern=_PLAIN, description="Id of the skill to run; empty = the server chooses."
    )
    title: str = Field("", max_length=255, pattern=_PLAIN, description="A name for people.")
    priority: Annotated[
        Lane | None, BeforeValidator(_lane), WithJsonSchema({"anyOf": [*_LANE_SCHEMAS, {"type": "null"}]})
    ] = Field(None, description="critical, high, normal (medium), low, backlog, or 1 to 5; absent = the skill's.")
    run_at: InTime | None = Field(None, description="Do not start before this moment.")
    delay_seconds: float = Field(
        0.0, ge=0, le=366 * 86400, description="Do not start before this much time has passed."
    )
    timeout_seconds: float | None = Field(
        None, gt=0, le=366 * 86400, description="Longest time of one run; absent = the skill's."
    )
    deadline: InTime | None = Field(None, description="The task fails if it has not ended by then.")
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
    description: str = Field("", max_length=10_000, description="What it is about, for people.")
    kind: Literal["", "processing", "analysis", "integration", "control"] = Field(
        "", description="What sort of work it is, for people and filters."
    )
    tags: tuple[_Word, ...] = Field((), max_length=MOST_TAGS, description="Labels to find it by.")
    context: dict[str, Any] | None = Field(None, description="Free JSON for the agent.")
    depends_on: tuple[_TaskId, ...] = Field(
        (), max_length=MOST_UPSTREAMS, description="Tasks of yours that must have ended before it starts."
    )
    on_dependency_failure: OnDependencyFailure = Field(
        OnDependencyFailure.FAIL,
        description="If one of them does not complete: fail, be canceled, or run all the same.",
    )
    parent_task_id: str = Field(
        "", max_length=256, pattern=_PLAIN, description="A task of yours that this one is a part of."
    )
    complete_when: Annotated[CompleteWhen | None, BeforeValidator(_criterion), WithJsonSchema(_CRITERION_SCHEMA)] = (
        Field(
            None,
            description="What must be so for it to complete: all, any, or a number of its subtasks, for which it waits "
            "when it returns; or an object with such children, checks of its result that must have passed, or both.",
        )
    )
    requires: Requirements | None = Field(None, description="What it needs of the worker that runs it.")
    unique_key: str = Field(
        "",
        max_length=256,
        pattern=_PLAIN,
        description="At most one task has this key: a second send answers with the first one's.",
    )
    template: str = Field(
        "", max_length=256, pattern=_PLAIN, description="Name of a template that gives what is absent here."
    )


NO_OPTIONS = TaskOptions.model_construct()
"""What most sends ask for; made without the checks, which take a while to be built."""


def microseconds(moment: datetime) -> int:
    """A moment as integer microseconds since the epoch."""
    return round(moment.timestamp() * 1e6)


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's hook
        return False


def spelled(place: Sequence[int | str]) -> str:
    """A place in JSON as people write it: `requires.tags[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def options_schema() -> dict[str, Any]:
    """The JSON Schema of the task options, as clients write them."""
    schema = TaskOptions.model_json_schema(by_alias=True, schema_generator=_Untitled)
    return {"$schema": _Untitled.schema_dialect, **schema}
