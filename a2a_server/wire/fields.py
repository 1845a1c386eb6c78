"""Reading the fields of a JSON object by rule, naming the field that breaks one.

Every reader takes the object, the member's name and `at`, the path that leads to the object with its dot
(`message.parts[0].`); an explicit null is the same as an absent member (ProtoJSON, and what v0.1 clients send).
All of them raise `InvalidParams` with the field's path, and nothing else. Each looks first for what nearly every
request has there, an absent member or a good one, because every request passes here.
"""

from __future__ import annotations

from typing import cast

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Json, JsonObject

MAX_ID = 256
"""Longest id that a client may choose, in characters."""
MAX_REFERENCES = 100
"""Most ids of other tasks that a message refers to."""
MAX_PARTS = 1000
"""Most parts of a message."""
MAX_LABEL = 255
"""Longest file name or media type, in characters."""
MAX_HISTORY = 2**31 - 1
"""Largest historyLength: int32 in a2a.proto."""
MAX_NUMBER = 2**63 - 1
"""Largest event number that a store can keep."""

_SHOWN_CHARACTERS = 64


def wrong(path: str, rule: str) -> InvalidParams:
    """The error that says which field breaks which rule; `rule` goes on after the field's path."""
    return InvalidParams(f"{path} {rule}", path=path)


def shown(text: str) -> str:
    """Text of a client as an error may repeat it: cut to 64 characters, quoted where it is empty or not printable."""
    return text if 0 < len(text) <= _SHOWN_CHARACTERS and text.isprintable() else ascii(text[:_SHOWN_CHARACTERS])


def members(value: object, path: str) -> JsonObject:
    """The object that must stand at `path`."""
    if type(value) is dict:
        return cast("JsonObject", value)
    if value is None:
        raise wrong(path, "is missing; it must be an object")
    raise wrong(path, "must be an object")


def optional_object(holder: JsonObject, name: str, at: str = "") -> JsonObject | None:
    """The object member, or None when it is absent or has no members."""
    value = holder.get(name)
    if not value and (value is None or type(value) is dict):
        return None
    return members(value, f"{at}{name}")


def string(holder: JsonObject, name: str, at: str = "") -> str:
    """The string member, '' when it is absent."""
    value = holder.get(name)
    if type(value) is str:
        return value
    if value is None:
        return ""
    raise wrong(f"{at}{name}", "must be a string")


def label(holder: JsonObject, name: str, at: str = "", most: int = MAX_LABEL) -> str:
    """The printable string member of at most `most` characters, '' when it is absent.

    Printable is what `str.isprintable` says: letters, marks, numbers, punctuation, symbols and the space.
    """
    if holder.get(name) is None:
        return ""
    value = string(holder, name, at)
    if value and (len(value) > most or not value.isprintable()):
        raise wrong(f"{at}{name}", f"must be 1 to {most} printable characters, without control characters")
    return value


def identifier(holder: JsonObject, name: str, at: str = "") -> str:
    """The id that a client chose or was given: a label of at most 256 characters, '' when it is absent."""
    return "" if holder.get(name) is None else label(holder, name, at, MAX_ID)


def required_identifier(holder: JsonObject, name: str, at: str = "") -> str:
    """The id that must be there and must not be empty."""
    value = holder.get(name)
    if type(value) is str and 0 < len(value) <= MAX_ID and value.isprintable():
        return value
    label(holder, name, at, MAX_ID)  # raises for whatever is there
    raise wrong(f"{at}{name}", f"is missing; it must be an id of 1 to {MAX_ID} printable characters")


def boolean(holder: JsonObject, name: str, at: str = "") -> bool | None:
    """The boolean member, None when it is absent."""
    value = holder.get(name)
    if value is None or value is True or value is False:
        return value
    raise wrong(f"{at}{name}", "must be true or false")


def natural(holder: JsonObject, name: str, at: str = "", most: int = MAX_NUMBER) -> int | None:
    """The integer member from 0 to `most`, None when it is absent.

    `5.0` is the integer 5: metadata that passed through google.protobuf.Struct holds nothing but doubles.
    """
    value = holder.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is int and 0 <= value <= most:
        return value
    raise wrong(f"{at}{name}", f"must be an integer from 0 to {most}")


def array(holder: JsonObject, name: str, at: str = "", most: int | None = None) -> list[Json]:
    """The array member of at most `most` elements (None = any number), empty when it is absent."""
    value = holder.get(name)
    if type(value) is list:
        if most is not None and len(value) > most:
            raise wrong(f"{at}{name}", f"must not hold more than {most} elements")
        return value
    if value is None:
        return []
    raise wrong(f"{at}{name}", "must be an array")


def strings(holder: JsonObject, name: str, at: str = "") -> tuple[str, ...]:
    """The array of strings, empty when it is absent."""
    values = holder.get(name)
    if values is None:
        return ()
    found = array(holder, name, at)
    for position, value in enumerate(found):
        if type(value) is not str:
            raise wrong(f"{at}{name}[{position}]", "must be a string")
    return tuple(cast("list[str]", found))


def identifiers(holder: JsonObject, name: str, at: str = "") -> tuple[str, ...]:
    """The array of ids, empty when it is absent."""
    if holder.get(name) is None:
        return ()
    found = strings(holder, name, at)
    if len(found) > MAX_REFERENCES:
        raise wrong(f"{at}{name}", f"must hold at most {MAX_REFERENCES} ids")
    for position, value in enumerate(found):
        if not 0 < len(value) <= MAX_ID or not value.isprintable():
            raise wrong(f"{at}{name}[{position}]", f"must be an id of 1 to {MAX_ID} printable characters")
    return found
