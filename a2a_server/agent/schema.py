"""The JSON Schema of a skill's parameters, and the example that error texts show. Pure; pydantic does the work."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from a2a_server.model.objects import Json, JsonObject

_DEPTH = 4
_SAMPLES: dict[str, Json] = {"string": "…", "integer": 1, "number": 0.5, "boolean": True, "null": None}


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter for the schema. whole: its members are the parameters; else it is a parameter called `name`."""

    name: str
    adapter: TypeAdapter[Any]
    whole: bool
    required: bool
    default: object = None


def schema_of(fields: Sequence[Entry]) -> JsonObject:
    """The object schema that takes all `fields` at once.

    Raises:
        pydantic.PydanticInvalidForJsonSchema: a type that JSON Schema has no words for.
    """
    schemas, shared = TypeAdapter.json_schemas([(field.name, "validation", field.adapter) for field in fields])
    definitions: dict[str, Any] = shared.get("$defs", {})
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in fields:
        schema = schemas[(field.name, "validation")]
        if field.whole:
            schema = _resolved(schema, definitions)
            if "properties" not in schema and len(fields) == 1:
                return cast("JsonObject", schema | ({"$defs": definitions} if definitions else {}))
            properties |= schema.get("properties", {})
            required += [name for name in schema.get("required", ()) if field.required]
        else:
            properties[field.name] = schema if field.required else schema | _default(field)
            required += [field.name] if field.required else []
    answer: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        answer["required"] = list(dict.fromkeys(required))
    if definitions:
        answer["$defs"] = definitions
    return cast("JsonObject", answer)


def example(schema: JsonObject, names: Collection[str] = ()) -> Json:
    """The smallest value that `schema` is likely to take; an object shows the members `names` besides the required."""
    known = cast("dict[str, Any]", schema)
    shown = [*known.get("required", ()), *(name for name in names if name in known.get("properties", {}))]
    return _example(known | ({"required": shown} if shown else {}), known.get("$defs", {}), _DEPTH)


def _example(schema: dict[str, Any], definitions: dict[str, Any], depth: int) -> Json:
    schema = _resolved(schema, definitions)
    for key in ("examples", "enum"):
        if schema.get(key):
            return cast("Json", schema[key][0])
    for key in ("default", "const"):
        if schema.get(key) is not None:
            return cast("Json", schema[key])
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _example(schema[key][0], definitions, depth)
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        names = schema.get("required", ()) if depth else ()
        return {name: _example(properties.get(name, {}), definitions, depth - 1) for name in names}
    if kind == "array":
        return [_example(schema.get("items", {}), definitions, depth - 1)] if depth else []
    return _bounded(schema) if kind in {"integer", "number"} else _SAMPLES.get(str(kind), "…")


def _bounded(schema: dict[str, Any]) -> Json:
    if "minimum" in schema:
        return cast("Json", schema["minimum"])
    if "exclusiveMinimum" in schema:
        return cast("Json", schema["exclusiveMinimum"] + 1)
    return cast("Json", schema.get("maximum", _SAMPLES[schema["type"]]))


def _resolved(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = definitions[schema["$ref"].rpartition("/")[2]] | rest
    if len(schema.get("allOf", ())) == 1:
        return _resolved(schema["allOf"][0], definitions)
    return schema


def _default(field: Entry) -> dict[str, Any]:
    try:
        return {"default": field.adapter.dump_python(field.default, mode="json", warnings=False)}
    except PydanticSerializationError:
        return {}
