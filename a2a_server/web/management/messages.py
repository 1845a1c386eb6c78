"""Messages that stand in things: a text, or the parts of A2A 1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from a2a_server.errors import InvalidParams
from a2a_server.model.objects import Message, Role, Text
from a2a_server.wire.v10 import parse_part, render_part

MOST_PARTS: Final = 1000
_MEMBERS: Final = {"parts", "metadata"}


def message_of(text: str | None, given: Mapping[str, Any] | None) -> Message:
    """The message that one of the two says; both absent = an empty text. Raises InvalidParams."""
    if text is not None and given is not None:
        raise InvalidParams("text or message must be given, and only one of them.", path="text")
    if given is None:
        return Message(Role.USER, (Text(text or ""),))
    for name in given:
        if name not in _MEMBERS:
            raise InvalidParams(f"message.{name} is not known here; known are: parts, metadata.", path="message")
    parts, metadata = given.get("parts"), given.get("metadata")
    if not isinstance(parts, list) or not 1 <= len(parts) <= MOST_PARTS:
        raise InvalidParams(f"message.parts must hold 1 to {MOST_PARTS} parts.", path="message.parts")
    if not (metadata is None or isinstance(metadata, dict)):
        raise InvalidParams("message.metadata must be an object.", path="message.metadata")
    found = tuple(parse_part(part, f"message.parts[{place}]") for place, part in enumerate(parts))
    return Message(Role.USER, found, metadata=metadata)


def message_shown(message: Message, base_url: str) -> dict[str, Any]:
    """The message as `message_of` takes it."""
    shown: dict[str, Any] = {"parts": [render_part(part, base_url) for part in message.parts]}
    return shown | ({"metadata": message.metadata} if message.metadata else {})
