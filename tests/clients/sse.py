"""A reader of event streams, written from the standard so that no library's leniency hides a fault of the server.

Source: WHATWG HTML, section 9.2.5 (parsing) and 9.2.6 (interpreting). Beyond the standard it counts comments, which
are the server's heartbeats, and tells whether an event had an `id` line of its own.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field

_LINE_END = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event. `id` is this very event's id line, `last_event_id` what a browser resumes from."""

    data: str
    event: str = "message"
    id: str | None = None
    last_event_id: str = ""


@dataclass(slots=True)
class SseParser:
    """Bytes in, events out, in any slicing of the bytes. `retry_ms` and `comments` tell what else was sent."""

    last_event_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _started: bool = False
    _after_cr: bool = False
    _line: list[str] = field(default_factory=list)
    _data: list[str] = field(default_factory=list)
    _event: str = ""
    _id: str | None = None
    _pending_id: str | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Everything that `chunk` completes. An event that the end of the stream leaves unfinished never comes out."""
        text = self._decoder.decode(chunk)
        if text and not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        events: list[ServerSentEvent] = []
        start = 0
        for end in _LINE_END.finditer(text):
            at = end.start()
            joined = self._after_cr and at == start and end[0] == "\n"  # the second half of CR LF ends no further line
            self._after_cr = end[0] == "\r"
            if not joined:
                self._line.append(text[start:at])
                line = "".join(self._line)
                self._line.clear()
                if (event := self._take(line)) is not None:
                    events.append(event)
            start = at + 1
        if start < len(text):
            self._after_cr = False
            self._line.append(text[start:])
        return events

    def _take(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(":")
        if colon and not name:
            self.comments += 1
            return None
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = self._pending_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        if self._pending_id is not None:
            self.last_event_id = self._pending_id
        own, name, data = self._id, self._event, self._data
        self._id, self._event, self._data = None, "", []
        if not data:
            return None
        return ServerSentEvent("\n".join(data), name or "message", own, self.last_event_id)


async def read_events(chunks: AsyncIterable[bytes], parser: SseParser | None = None) -> AsyncGenerator[ServerSentEvent]:
    """The events of a byte stream as they are completed."""
    parser = parser or SseParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
