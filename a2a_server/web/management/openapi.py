"""The table of routes as an OpenAPI 3.1 document, `GET /api/v1/openapi.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from starlette.responses import Response

from a2a_server.web.conditional import has_it
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.table import JSON, LINES, Call, NoQuery, Reply, Route

_REFS: Final = "#/components/schemas/"
_ETAG: Final = {"ETag": {"description": "The revision, in quotes.", "schema": {"type": "string"}}}
_LINK: Final = {"Link": {"description": "The next page of JSON lines, as rel=next.", "schema": {"type": "string"}}}
_MADE: Final[Mapping[str, Any]] = {
    "Location": {"description": "The address of what was made.", "required": True, "schema": {"type": "string"}}
}
_KNOWN: Final[Mapping[str, Any]] = {
    "Location": {
        "description": "The address of what was there already, where something was.",
        "schema": {"type": "string"},
    }
}
_LINE_TEXT: Final = {"schema": {"type": "string"}}
_VARIABLES: Final[Mapping[str, str]] = {
    "batches/{id}": "The batch, by the id that its making answered with.",
    "limits/{key}": "The limit, by its key as the list of limits shows it, percent-encoded.",
    "queues/{name}": "The queue, by its name as the list of queues shows it, percent-encoded.",
    "schedules/{id}": "The schedule, by its id.",
    "tasks/{id}": "The task, by its id.",
    "tasks/{taskId}": "The task that the worker runs, by its id.",
    "templates/{name}": "The template, by its name.",
    "workers/{id}": "The worker, by its id.",
}
"""What the variables of paths stand for, by the segment before them."""
_CONDITIONS: Final[Mapping[str, str]] = {
    "If-Match": "Do it only if the thing has one of these revisions: its ETag, or several, separated by commas; else "
    "412. Absent, or *, = whichever it has.",
    "If-None-Match": "The ETags of what you have; 304 if the thing still has one of them.",
}
_ALWAYS: Final = (400, 403, 503)
_OF_BODIES: Final = (413, 415)


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Detail(_Shown):
    """A field of the request and the rule that it breaks."""

    field: str
    rule: str


class Problem(_Shown):
    """What went wrong, and what to do."""

    code: int
    status: str
    message: str
    details: list[Detail] | None = None


class Error(_Shown):
    """Every answer that is no success."""

    error: Problem


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's hook
        return False


class Description:
    """Serves the document."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self.route = Route(
            "GET", "/openapi.json", "describe", "This document.", self._answer, "api", media_type="application/json"
        )

    @cached_property
    def document(self) -> bytes:
        """The document."""
        return orjson.dumps(document((*self._routes, self.route)), option=orjson.OPT_INDENT_2)

    async def _answer(self, call: Call[NoQuery, None]) -> Reply | Response:
        etag = f'"{hashlib.sha256(self.document).hexdigest()[:32]}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if has_it(call.request, etag):
            return Response(status_code=304, headers=headers)
        return Response(self.document, headers=headers, media_type=JSON)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document of these routes."""
    schemas, definitions = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, schemas, definitions)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Management API", "version": version("a2a-task-server")},
        "paths": paths,
        "components": {"schemas": definitions},
    }


def _schemas(routes: Sequence[Route]) -> tuple[Mapping[type[BaseModel], Any], dict[str, Any]]:
    """A reference for each model, and what they refer to."""
    wanted: dict[type[BaseModel], JsonSchemaMode] = {Error: "serialization"}
    for route in routes:
        if route.body is not None:
            wanted[route.body] = "validation"
        for result in (route.result, *route.also.values()):
            if result is not None:
                wanted[result] = "serialization"
    found, whole = models_json_schema(
        list(wanted.items()), by_alias=True, ref_template=_REFS + "{model}", schema_generator=_Untitled
    )
    return {model: found[model, mode] for model, mode in wanted.items()}, whole.get("$defs", {})


def _patch(reference: Mapping[str, str], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a merge patch: every member may be null, which takes it away."""
    whole = definitions[reference["$ref"].rpartition("/")[2]]
    members = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in whole["properties"].items()}
    return {"type": "object", "properties": members, "additionalProperties": False}


def _operation(route: Route, schemas: Mapping[type[BaseModel], Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        content = {JSON: {"schema": _patch(schemas[route.body], definitions) if route.merge else schemas[route.body]}}
        for other in sorted(route.media_types - {JSON}):
            content[other] = content[JSON] if route.merge else _LINE_TEXT
        shown["requestBody"] = {"required": not route.body_optional, "content": content}
    return shown


def _parameters(route: Route) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1, "maxLength": 256}
    shown: list[dict[str, Any]] = [
        {
            "name": after[1:-1],
            "in": "path",
            "required": True,
            "schema": text,
            "description": _VARIABLES[f"{before}/{after}"],
        }
        for before, after in pairwise(route.segments)
        if after.startswith("{")
    ]
    whole = TypeAdapter(route.query).json_schema(by_alias=True, schema_generator=_Untitled)
    for name, schema in whole.get("properties", {}).items():
        said = _inlined(schema, whole.get("$defs", {}))
        about = said.pop("description", None)
        one = {"name": name, "in": "query", "required": name in whole.get("required", ()), "schema": said}
        shown.append({**one, "description": about} if about else one)
    if route.revised:
        name = "If-None-Match" if route.method == "GET" else "If-Match"
        one = {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        shown.append({**one, "description": _CONDITIONS[name]})
    return shown


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """A parameter's schema without references; absent and null are one thing in a query string."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if (ref := schema.get("$ref")) is not None:
        return _inlined(definitions[ref.rpartition("/")[2]], definitions)
    shown = {name: _inlined(value, definitions) for name, value in schema.items() if name != "default"}
    kinds = [one for one in shown.get("anyOf", ()) if one != {"type": "null"}]
    if "anyOf" in shown and len(kinds) == 1:
        del shown["anyOf"]
        return {**kinds[0], **shown}
    return {**shown, "anyOf": kinds} if kinds else shown


def _responses(route: Route, schemas: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for status, result in {route.status: route.result, **route.also}.items():
        one: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if result is not None:
            one["content"] = {JSON: {"schema": schemas[result]}}
            if route.result_lines:
                one["content"] |= dict.fromkeys(sorted(LINES), _LINE_TEXT)
        elif status == route.status and status != HTTPStatus.NO_CONTENT:
            one["content"] = {route.media_type: {}}
        headers = _headers(route, status) if result is not None else {}
        shown[str(status)] = {**one, "headers": headers} if headers else one
    if route.revised and route.method == "GET":
        shown["304"] = {"description": HTTPStatus(304).phrase}
    failing = {*_ALWAYS, *route.errors}
    if route.body is not None:
        failing.update(_OF_BODIES)
    if route.variables:
        failing.add(404)
    if route.revised and route.method != "GET":
        failing.add(412)
    for status in sorted(failing):
        about = HTTPStatus(status).phrase
        shown[str(status)] = {"description": about, "content": {JSON: {"schema": schemas[Error]}}}
    return shown


def _headers(route: Route, status: int) -> Mapping[str, Any]:
    """Of a success that shows something."""
    found: dict[str, Any] = {**(_LINK if route.result_lines else {}), **(_ETAG if route.revised else {})}
    if route.status == HTTPStatus.CREATED:
        found |= _MADE if status == route.status else _KNOWN
    return found
