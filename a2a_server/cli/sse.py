"""Reads server-sent events from bytes, however the network cut them. No I/O.

Lines are split here and not by the HTTP library, because JSON may hold U+2028 and its like, which end a line for
`str.splitlines` and not for an event stream.

Source: WHATWG HTML, section 9.2.6, interpreting an event stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `id` is None where this event has none of its own."""

    data: str
    event: str = "message"
    id: str | None = None


class Reader:
    """Feed it bytes as they come; it gives the events that are complete.

    retry_seconds: how long the server asks clients to wait before they reconnect; None until it says so.
    """

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        self._partial: list[bytes] = []
        self._after_return = False
        self._at_start = True
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that `chunk` completes. An event cut off by the end of the stream never comes."""
        for line in self._lines(chunk):
            event = self._line(line)
            if event is not None:
                yield event

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if self._after_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_return = False
        if not chunk:
            return
        self._after_return = chunk.endswith(b"\r")
        *whole, rest = _LINE_END.split(chunk)
        for line in whole:
            complete = b"".join((*self._partial, line))
            self._partial.clear()
            if self._at_start:
                complete = complete.removeprefix(_BOM)
                self._at_start = False
            yield complete.decode("utf-8", "replace")
        if rest:
            self._partial.append(rest)

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent("\n".join(self._data), self._event or "message", self._id) if self._data else None
        self._data, self._event, self._id = [], "", None
        return event
