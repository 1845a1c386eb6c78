"""What a request of the management API says, checked by the models of its route: query, body, If-Match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast, get_origin

import orjson
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, QueryParams

from a2a_server.errors import InvalidParams, ParseError
from a2a_server.model.objects import Json, JsonObject
from a2a_server.web.management.problems import Refused, invalid
from a2a_server.web.management.table import LINES, Route
from a2a_server.web.refusals import Detail
from a2a_server.wire import jsonrpc
from a2a_server.wire.fields import shown

MOST_VALUES: Final = 1_000_000
"""Members and elements that one body may hold, and as many members alone."""
MOST_LINES: Final = 10_000
"""JSON lines of one body."""

_DIGITS: Final = re.compile(r"-?[0-9]+", re.ASCII)
_REVISION: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"', re.ASCII)
_EXACT: Final = 2.0**53


def queried(route: Route, params: QueryParams) -> BaseModel:
    """The query string. Raises Refused: a parameter is unknown, wrong, no text for a store, or there more than once."""
    given: dict[str, str | list[str]] = {}
    model = route.query
    many = repeated(model)
    for name in params:
        values = params.getlist(name)
        for place, value in enumerate(values):
            if "\0" in value:  # on which a stream would break when it is open already
                field = f"{shown(name)}[{place}]" if name in many else shown(name)
                rule = "must not hold the character U+0000"
                raise Refused(400, f"{field} {rule}.", [Detail(field, rule)])
        if name in many:
            given[name] = values
        elif len(values) > 1:
            rule = "must not be given more than once"
            raise Refused(400, f"{shown(name)} {rule}.", [Detail(shown(name), rule)])
        else:
            given[name] = values[0]
    return asked(model, given)


def asked(model: type[BaseModel], given: Mapping[str, object]) -> BaseModel:
    """What a model makes of parameters that may all be text. Raises Refused.

    Whole numbers are decimal digits alone: what Python reads as one beside (1.0, +5, 5_0) is none.
    """
    for name in _whole_numbers(model) & given.keys():
        value = given[name]
        if isinstance(value, str) and _DIGITS.fullmatch(value) is None:
            rule = "must be a whole number, in decimal digits"
            raise Refused(400, f"{name} {rule}.", [Detail(name, rule)])
    try:
        return model.model_validate(given, strict=False)
    except ValidationError as error:
        raise invalid(error, model) from None


def _whole_numbers(model: type[BaseModel]) -> frozenset[str]:
    fields = model.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if field.annotation in {int, int | None})


def repeated(model: type[BaseModel]) -> frozenset[str]:
    """Its members that may be given more than once."""
    fields = model.model_fields.items()
    return frozenset(field.alias or name for name, field in fields if get_origin(field.annotation) is tuple)


def parsed(route: Route, media_type: str, body: bytes) -> tuple[JsonObject, Mapping[int, InvalidParams]]:
    """The members of a body; and of JSON lines what is wrong with those that are null because they are no JSON.

    Raises ParseError, InvalidRequest, InvalidParams, Refused.
    """
    if media_type in LINES:
        lines, broken = _lines(body)
        return {route.lines: lines}, broken
    document = jsonrpc.read(body, MOST_VALUES)
    if type(document) is not dict:
        raise Refused(400, "The body must be a JSON object.", [Detail("body", "must be a JSON object")])
    jsonrpc.check_limits(document, len(body), most_keys=MOST_VALUES, most_values=MOST_VALUES)
    return document, {}


def missing(*, lines: bool) -> Refused:
    """What a body that holds nothing is refused with. lines: it was to be JSON lines."""
    if not lines:
        return Refused(400, "The body is missing; it must be a JSON object.")
    text = "The body has no line; it must have one, a JSON object, for each task."
    return Refused(400, text, [Detail("body", "must have at least 1 line")])


def modelled(model: type[BaseModel], given: Mapping[str, Json], at: str = "") -> BaseModel:
    """What a model makes of JSON. Raises Refused.

    Numbers that are whole are integers, however they are written: 3.0 attempts are 3.
    """
    said = {name: _whole(value) for name, value in given.items()}
    try:
        return model.model_validate_json(orjson.dumps(said), strict=True)
    except ValidationError as error:
        raise invalid(error, model, at) from None


def revisions(headers: Headers) -> frozenset[int] | None:
    """The revisions that If-Match names; None = any will do. Source: RFC 9110 section 13.1.1.

    What is no revision of ours, and every weak one, matches nothing.
    """
    named = headers.getlist("if-match")
    if not named or named == ["*"]:
        return None
    tags = [tag.strip() for one in named for tag in one.split(",")]
    return frozenset(int(found[1]) for tag in tags if (found := _REVISION.fullmatch(tag)))


def _whole(value: Json) -> Json:
    whole = type(value) is float and value.is_integer() and abs(value) < _EXACT
    return int(cast("float", value)) if whole else value


def _lines(body: bytes) -> tuple[list[Json], dict[int, InvalidParams]]:
    lines = body.split(b"\n", MOST_LINES + 1)
    found: list[Json] = []
    broken: dict[int, InvalidParams] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if number > MOST_LINES + 1 or len(found) == MOST_LINES:
            rule = f"must have at most {MOST_LINES} lines"
            raise Refused(400, f"The body {rule}; send the others in another one.", [Detail("body", rule)])
        try:
            value = jsonrpc.read(line, MOST_VALUES)
        except ParseError as error:
            value, why = None, error.message.removeprefix("Invalid JSON payload: ").replace(" at line 1,", " at")
            broken[len(found)] = InvalidParams(f"line {number}: {why}.", path=f"line {number}")
        found.append(value)
    if not found:
        raise missing(lines=True)
    jsonrpc.check_limits(found, len(body), most_keys=MOST_VALUES, most_values=MOST_VALUES)
    return found, broken
