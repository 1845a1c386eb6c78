"""The JSON-RPC 2.0 envelope, on parsed JSON: what is a request, and the encoded answer around a result or an error.

What lives elsewhere: methods (`versions`), params (the generations' wires), and running a batch (web). `read` is the
only JSON parser for requests; it closes the holes that orjson leaves open (depth, integers that turn into floats).

Source: JSON-RPC 2.0 sections 4 to 6.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias, cast

import orjson

from a2a_server.errors import InvalidRequest, ParseError
from a2a_server.model.objects import Json, JsonObject
from a2a_server.wire.fields import shown, wrong

Id: TypeAlias = str | int | float | None

MAX_DEPTH = 64
"""How deep arrays and objects may be nested."""
MAX_BATCH = 100
"""How many requests a batch may hold."""
MAX_KEYS = 10_000
"""How many members all objects of one request may have together."""
MAX_VALUES = 100_000
"""How many members and array elements one request, or one batch, may have together."""
MAX_STRING_BYTES = 8 * 1024 * 1024
"""Longest string of a request, as UTF-8; names of members are strings too."""

_SHORTEST_MEMBER_BYTES = 5
_SHORTEST_VALUE_BYTES = 2
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# Goes over a body up to its next array or object.
_OPENING = rb'[^"\[{]*+(?:' + _STRING + rb'[^"\[{]*+)*+[\[{]'
# Goes over valid JSON up to an integer of 19 digits or more.
_NOTHING_HUGE = re.compile(
    rb'(?:[^"0-9]++|' + _STRING + rb"|[0-9]{1,18}+(?![0-9.eE])"
    rb"|[0-9]++(?:\.[0-9]++(?:[eE][+-]?+[0-9]++)?+|[eE][+-]?+[0-9]++))*+",
    re.DOTALL,
)
_DIGITS = re.compile(rb"[0-9]*+")
_LONGEST_INTEGER = len("9223372036854775808")
# Bodies up to here have fewer than MAX_VALUES values, and to look through them costs less than to walk their values.
_PLAIN_BYTES = 2048
_LONG_NUMBER = b"0" * _LONGEST_INTEGER
_DIGITS_AS_ZEROS = bytes(ord("0") if chr(byte).isascii() and chr(byte).isdecimal() else ord(" ") for byte in range(256))


class _Place(NamedTuple):
    holder: _Place | None
    step: str | int
    value: Json

    @property
    def path(self) -> str:
        steps: list[str] = []
        place: _Place | None = self
        while place is not None and place.holder is not None:
            steps.append(f"[{place.step}]" if isinstance(place.step, int) else f".{shown(place.step)}")
            place = place.holder
        if steps[-1:] == [".params"]:  # every path begins there
            steps.pop()
        return "".join(reversed(steps)).removeprefix(".") or "params"


class Request(NamedTuple):
    """One call. `params` as it came (None = absent or null; whether it must be an object, the method says).

    `notification`: it has no id and wants no answer. `id: null` is a request.
    """

    id: Id
    method: str
    params: Json
    notification: bool


def read(body: bytes, most_values: int = MAX_VALUES) -> Json:
    """The JSON value of a request's body.

    An object with more than `most_values` values is read, but neither its depth nor its integers are checked to the
    end: `check_limits` refuses it under its id.

    Raises:
        ParseError: it is not JSON (bad UTF-8, lone surrogates, NaN and Infinity included), nested deeper than
            `MAX_DEPTH`, has an integer outside -2**63 to 2**64 - 1, or more than `most_values` arrays and objects.
        InvalidRequest: a batch with more than `most_values` values.
    """
    if len(body) > most_values and _openings(body) > most_values + 1 and _crowded(most_values).match(body):
        raise ParseError(f"Invalid JSON payload: more than {most_values} arrays and objects")
    try:
        document = cast("Json", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise ParseError(f"Invalid JSON payload: not JSON at line {error.lineno}, column {error.colno}") from None
    if _is_plain(body):
        return document
    huge, crowded = _survey(document, most_values)
    if crowded:
        if isinstance(document, list):
            raise InvalidRequest(f"A batch must not hold more than {most_values} values in all")
        return document
    # orjson turns integers beyond 64 bits into floats: where there is such a float, the text is searched for them.
    if huge and (integer := _huge_integer(body)):
        raise ParseError(f"Invalid JSON payload: the integer {integer} has more than 64 bits; send it as a string")
    return document


def entries(document: Json) -> list[Json]:
    """The entries of a request or a batch, in order; each is still to be checked.

    Raises:
        InvalidRequest: the document is neither object nor array, or an array of none or more than `MAX_BATCH`.
    """
    if isinstance(document, dict):
        return [document]
    if not isinstance(document, list):
        raise InvalidRequest("A JSON-RPC request must be an object, or an array of them")
    if not 0 < len(document) <= MAX_BATCH:
        raise InvalidRequest(f"A batch must hold 1 to {MAX_BATCH} requests; this one holds {len(document)}")
    return document


def check(entry: Json) -> Request:
    """One entry as a request.

    Raises:
        InvalidRequest: no object, `jsonrpc` other than "2.0", `method` missing or no string, or an id that is an
            object, array or boolean. `identify` says which id answers it.
    """
    if not isinstance(entry, dict):
        raise InvalidRequest("A JSON-RPC request must be an object")
    id = entry.get("id")
    if isinstance(id, (bool, dict, list)):
        raise InvalidRequest("id must be a string, a number or null")
    if entry.get("jsonrpc") != "2.0":
        raise InvalidRequest('jsonrpc must be "2.0"')
    method = entry.get("method")
    if not isinstance(method, str):
        raise InvalidRequest("method is missing or no string")
    return Request(id, method, entry.get("params"), "id" not in entry)


def identify(entry: Json) -> Id:
    """The id that answers an entry which is no request: its own where it could be read, else None."""
    id = entry.get("id") if isinstance(entry, dict) else None
    return None if isinstance(id, (bool, dict, list)) else id


def check_limits(entry: Json, body_bytes: int, *, most_keys: int = MAX_KEYS, most_values: int = MAX_VALUES) -> None:
    """Hold a request to so many keys and values, and to `MAX_STRING_BYTES`.

    Args:
        entry: the whole request.
        body_bytes: size of the body that it came in; a small one cannot break a limit and is not searched.
        most_keys: how many members all its objects may have together.
        most_values: how many members and array elements.

    Raises:
        InvalidParams: a limit is broken; `path` is where.
    """
    if body_bytes <= min(most_keys * _SHORTEST_MEMBER_BYTES, most_values * _SHORTEST_VALUE_BYTES, MAX_STRING_BYTES):
        return
    keys = values = 0
    pending = [_Place(None, "", entry)]
    while pending:
        place = pending.pop()
        container = cast("JsonObject | list[Json]", place.value)
        values += len(container)
        if type(container) is dict:
            keys += len(container)
        if keys > most_keys:
            raise wrong(place.path, f"goes beyond {most_keys} members in all objects of a request")
        if values > most_values:
            raise wrong(place.path, f"goes beyond {most_values} values in all of a request")
        for step, value in container.items() if type(container) is dict else enumerate(container):
            kind = type(value)
            if kind is dict or kind is list:
                pending.append(_Place(place, step, value))
            elif kind is str and _too_long(cast("str", value)):
                raise wrong(_Place(place, step, None).path, f"must not be longer than {MAX_STRING_BYTES} bytes")
            if type(step) is str and _too_long(step):
                raise wrong(place.path, f"must not have member names longer than {MAX_STRING_BYTES} bytes")


def success(id: Id, result: JsonObject) -> bytes:
    """A response that carries a result. Raises TypeError for what no JSON can say (integers beyond 64 bits)."""
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "result": result})


def failure(id: Id, error: JsonObject) -> bytes:
    """A response that carries an error object, as a wire rendered it."""
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "error": error})


def _too_long(text: str) -> bool:
    return len(text) * 4 > MAX_STRING_BYTES and len(text.encode()) > MAX_STRING_BYTES


@lru_cache(maxsize=2)
def _crowded(most: int) -> re.Pattern[bytes]:
    # Arrays and objects cost most to parse, so where there are too many the body is not parsed at all.
    return re.compile(rb"(?:" + _OPENING + rb"){%d}+" % (most + 2), re.DOTALL)


def _openings(body: bytes) -> int:
    return body.count(b"[") + body.count(b"{")


def _is_plain(body: bytes) -> bool:
    """Whether a body is so short, shallow and without long numbers that no walk over its values can find a fault."""
    return (
        len(body) <= _PLAIN_BYTES
        and _openings(body) <= MAX_DEPTH
        and _LONG_NUMBER not in body.translate(_DIGITS_AS_ZEROS)
    )


def _survey(document: Json, most_values: int) -> tuple[bool, bool]:
    huge, values = False, 0
    level: list[Json] = [[document]]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Json] = []
        for container in cast("list[JsonObject | list[Json]]", level):
            values += len(container)
            if values > most_values + 1:
                return huge, True
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is dict or kind is list:
                    inner.append(value)
                elif kind is float and not -(2.0**63) < cast("float", value) < 2.0**64:
                    huge = True
        if not inner:
            return huge, False
        level = inner
    raise ParseError(f"Invalid JSON payload: nested deeper than {MAX_DEPTH} levels")


def _huge_integer(body: bytes) -> str:
    at = 0
    while (at := _end(_NOTHING_HUGE, body, at)) < len(body):
        start = at - 1 if body[at - 1 : at] == b"-" else at
        at = _end(_DIGITS, body, at)
        digits = body[start:at]
        if len(digits) > _LONGEST_INTEGER + 1 or not -(2**63) <= int(digits) < 2**64:
            return digits[: _LONGEST_INTEGER + 2].decode()
    return ""


def _end(pattern: re.Pattern[bytes], body: bytes, at: int) -> int:
    found = pattern.match(body, at)
    return found.end() if found else len(body)
