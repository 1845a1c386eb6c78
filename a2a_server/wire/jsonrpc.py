"""The JSON-RPC 2.0 envelope, on parsed JSON: what is a request, and answers around results that are encoded already.

What lives elsewhere: methods (`versions`), params (the generations' wires), and running a batch (web). `read` is the
only JSON parser for requests; it closes the holes that orjson leaves open (depth, integers that turn into floats).

Source: JSON-RPC 2.0 sections 4 to 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias, cast

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
MAX_STRING_BYTES = 8 * 1024 * 1024
"""Longest string of a request, as UTF-8."""

_SHORTEST_MEMBER_BYTES = 5
# In valid JSON: whole strings, so that digits inside them are passed over, and integers of 19 digits and more; what
# stands before or behind keeps fractions and exponents out.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|(?<![0-9.eE+-])-?[0-9]{19,}+(?![.eE])', re.DOTALL)
_LONGEST_INTEGER = len("-9223372036854775808")


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `params` as it came (None = absent or null; whether it must be an object, the method says).

    `notification`: it has no id and wants no answer. `id: null` is a request.
    """

    id: Id
    method: str
    params: Json
    notification: bool


def read(body: bytes) -> Json:
    """The JSON value of a request's body.

    Raises:
        ParseError: it is not JSON (bad UTF-8, lone surrogates, NaN and Infinity included), nested deeper than
            `MAX_DEPTH`, or has an integer outside -2**63 to 2**64 - 1.
    """
    try:
        document = cast("Json", orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise ParseError(f"Invalid JSON payload: not JSON at line {error.lineno}, column {error.colno}") from None
    # orjson turns integers beyond 64 bits into floats: where there is such a float, the text is searched for them.
    if _survey(document) and (integer := _huge_integer(body)):
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


def check_limits(params: Json, body_bytes: int) -> None:
    """Hold a request to `MAX_KEYS` and `MAX_STRING_BYTES`.

    Args:
        params: of one request.
        body_bytes: size of the body that it came in; a small one cannot break a limit and is not searched.

    Raises:
        InvalidParams: a limit is broken; `path` is where.
    """
    if body_bytes <= MAX_KEYS * _SHORTEST_MEMBER_BYTES:
        return
    keys = 0
    pending: list[tuple[str, Json]] = [("", params)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            keys += len(value)
            if keys > MAX_KEYS:
                raise wrong(path or "params", f"goes beyond {MAX_KEYS} members in all objects of a request")
            pending.extend((f"{path}.{shown(name)}".lstrip("."), inner) for name, inner in value.items())
        elif isinstance(value, list):
            pending.extend((f"{path}[{position}]", inner) for position, inner in enumerate(value))
        elif isinstance(value, str) and len(value) * 4 > MAX_STRING_BYTES and len(value.encode()) > MAX_STRING_BYTES:
            raise wrong(path or "params", f"must not be longer than {MAX_STRING_BYTES} bytes")


def success(id: Id, result: bytes) -> bytes:
    """A response around a result that is encoded JSON already."""
    return b'{"jsonrpc":"2.0","id":' + orjson.dumps(id) + b',"result":' + result + b"}"


def failure(id: Id, error: JsonObject) -> bytes:
    """A response that carries an error object, as a wire rendered it."""
    return b'{"jsonrpc":"2.0","id":' + orjson.dumps(id) + b',"error":' + orjson.dumps(error) + b"}"


def _survey(document: Json) -> bool:
    huge = False
    level: list[Json] = [[document]]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Json] = []
        for container in level:
            for value in container.values() if type(container) is dict else cast("list[Json]", container):
                kind = type(value)
                if kind is dict or kind is list:
                    inner.append(value)
                elif kind is float and not -(2.0**63) < cast("float", value) < 2.0**64:
                    huge = True
        if not inner:
            return huge
        level = inner
    raise ParseError(f"Invalid JSON payload: nested deeper than {MAX_DEPTH} levels")


def _huge_integer(body: bytes) -> str:
    for token in _TOKENS.finditer(body):
        digits = token[0]
        if digits.startswith(b'"'):
            continue
        if len(digits) > _LONGEST_INTEGER or not -(2**63) <= int(digits) < 2**64:
            return digits[: _LONGEST_INTEGER + 1].decode()
    return ""
