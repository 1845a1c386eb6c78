"""What the values of a skill become: parts of messages and artifacts, and progress that can be told.

Nothing here emits anything; `agents.skill` and `context` do, with what these functions give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import orjson
from pydantic_core import PydanticSerializationError, to_jsonable_python

from a2a_server.errors import Fail
from a2a_server.model.objects import Data, File, Json, JsonObject, Message, Part, Progress, Text

NAME_LENGTH = 256
LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Partial:
    """A result that is not whole: `return Partial(rows, "the archive was unreachable")`.

    The task completes with `result` like with any other result, and clients see `why` beside it.

    Args:
        result: what the skill would have returned by itself.
        why: what is missing, for people; not empty.
    """

    result: object
    why: str

    def __post_init__(self) -> None:
        if not self.why:
            raise ValueError("Partial needs to say why the result is not whole")


def json_value(value: object) -> Json:
    """`value` as JSON, a copy of its own: models and dataclasses become objects, NaN and infinities become null.

    Raises:
        Fail: the value is nothing that JSON can hold; the text names its type.
    """
    try:
        return cast("Json", orjson.loads(orjson.dumps(to_jsonable_python(value, bytes_mode="base64"))))
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        raise Fail(f"The skill gave a value of type {type(value).__name__} that cannot be written as JSON.") from error


def part_of(value: object, *, media_type: str = "", filename: str = "") -> Part:
    """The part that carries `value`: `str` a text, `bytes` a file, a part itself, and anything else a data part.

    Args:
        value: the content.
        media_type: of the part, '' = the usual one of its kind.
        filename: of the file that bytes become.

    Raises:
        Fail: no part can carry the value; the text names its type.
    """
    match value:
        case str():
            return Text(text_of(value), media_type)
        case bytes() | bytearray() | memoryview():
            return File(filename, media_type or "application/octet-stream", raw=bytes(value))
        case Text() | Data() | File():
            return clean(value)
        case _:
            return Data(json_value(value), media_type)


def clean(part: Part) -> Part:
    """The part with its content checked; data is copied, so that changing it later changes nothing.

    Raises:
        Fail: it is no part, or its content cannot be written.
    """
    match part:
        case Text() | Data() | File():
            text_of(part.media_type)
            text_of(part.filename)
    match part:
        case Text():
            return replace(part, text=text_of(part.text), metadata=metadata_of(part.metadata))
        case Data():
            return replace(part, data=json_value(part.data), metadata=metadata_of(part.metadata))
        case File():
            if (part.raw is not None) + bool(part.url) + bool(part.stored) != 1:
                raise Fail("The skill gave a file with none, or more than one, of raw, url and stored.")
            return replace(part, metadata=metadata_of(part.metadata))
    raise Fail(f"The skill gave a {type(part).__name__} where a Text, Data or File part belongs.")


def metadata_of(metadata: Mapping[str, Json] | None) -> JsonObject | None:
    """The metadata, checked and copied; None where there is none."""
    return cast("JsonObject", json_value(metadata)) if metadata else None


def artifact_name(name: object) -> str:
    """The name itself.

    Raises:
        Fail: it is not 1 to 256 printable characters.
    """
    if isinstance(name, str) and 1 <= len(name) <= NAME_LENGTH and name.isprintable():
        return name
    raise Fail(f"The skill named an artifact wrongly: a name is 1 to {NAME_LENGTH} printable characters.")


def text_of(text: object) -> str:
    """The text itself.

    Raises:
        Fail: it is no text, or one that cannot be written as UTF-8.
    """
    if not isinstance(text, str):
        raise Fail(f"The skill gave a {type(text).__name__} where a text belongs.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Fail("The skill gave a text with a lone surrogate, which is no Unicode character.") from error
    return text


def progress_of(progress: Progress) -> Progress:
    """The progress with plain numbers, whole ones as integers.

    Raises:
        ValueError: it says nothing, a fraction outside 0.0-1.0, more done than there is, or figures beyond 2^53.
        Fail: a note that is no text.
    """
    fraction, done, total = progress.fraction, progress.done, progress.total
    if fraction is not None and done is not None:
        raise ValueError("progress: give a fraction, or done and total, not both")
    if fraction is not None and not 0.0 <= fraction <= 1.0:
        raise ValueError(f"progress: fraction must be from 0.0 to 1.0, not {fraction!r}")
    if done is None and total is not None:
        raise ValueError("progress: total needs done, how many of them are ready")
    if done is not None and not 0 <= done <= (LARGEST if total is None else total) <= LARGEST:
        raise ValueError(f"progress: done must be from 0 to total, and both below 2^53, not {done!r} of {total!r}")
    if fraction is None and done is None and not progress.note:
        raise ValueError("progress: give a fraction, done and total, or a note")
    return Progress(None if fraction is None else float(fraction), _count(done), _count(total), text_of(progress.note))


def data_of(message: Message) -> JsonObject:
    """The data parts that are objects, merged in their order."""
    merged: JsonObject = {}
    for part in message.parts:
        if isinstance(part, Data) and isinstance(part.data, dict):
            merged.update(part.data)
    return merged


def _count(figure: float | None) -> float | None:
    if figure is None:
        return None
    return int(figure) if int(figure) == figure else float(figure)
