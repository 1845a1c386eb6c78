"""Streams as server-sent events.

Each event's `id:` is its number in the task's log, so a client that reconnects with `Last-Event-ID` continues without a
gap. A batch of events is one write. sse-starlette sends, pings silent streams, and gives up on a client that takes
nothing for `write_stall_seconds`.

Source: WHATWG HTML, section 9.2 (server-sent events); core.md section 7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import orjson
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from a2a_server.errors import ClientError, EngineError, InternalError, Overloaded
from a2a_server.model.objects import Event, Task
from a2a_server.web.protocol import abort_of
from a2a_server.web.rpc import Streaming, new_error_id
from a2a_server.wire import jsonrpc

RETRY_MILLISECONDS = 1000
"""What clients are told to wait before they reconnect."""

_log = logging.getLogger("a2a_server.web.sse")


class EventStream(EventSourceResponse):
    """The response that streams one task to one client."""

    def __init__(
        self, answer: Streaming, base_url: str, *, heartbeat_seconds: float, write_stall_seconds: float
    ) -> None:
        self._task = answer.stream.task_id
        super().__init__(
            frames(answer, base_url),
            ping=heartbeat_seconds,
            ping_message_factory=_Heartbeat,
            sep="\n",
            send_timeout=write_stall_seconds,
        )
        del self.headers["connection"]  # the connection is the server's to keep or to close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the task's last event, the client's departure or its silence."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            _log.info("A stream was cut: its client took nothing for too long.", extra={"task": self._task})
            abort_of(scope)()
            await asyncio.sleep(0)


async def frames(answer: Streaming, base_url: str) -> AsyncIterator[bytes]:
    """The stream as bytes on the connection, a write each."""
    stream, wire = answer.stream, answer.wire
    prefix = b'{"jsonrpc":"2.0","id":' + _one_line(orjson.dumps(answer.id)) + b',"result":'
    form = (wire.GENERATION, base_url)

    def render(event: Event) -> bytes:
        return _one_line(orjson.dumps(wire.render_event(event, stream.task_id, stream.context_id, base_url)))

    yield b"retry: %d\n" % RETRY_MILLISECONDS  # no empty line: httpx-sse would make an event without data of it
    if stream.start is not None:
        items = wire.render_start(stream.start, base_url)
        last = b"id: %d\n" % stream.start.n if isinstance(stream.start, Task) else b""  # a direct answer is no event
        numbered = [b""] * (len(items) - 1) + [last]
        yield b"".join(
            b"%sdata: %s%s}\n\n" % (number, prefix, _one_line(orjson.dumps(item)))
            for number, item in zip(numbered, items, strict=True)
        )
    try:
        async for batch in stream.batches:
            yield b"".join(
                b"id: %d\ndata: %s%s}\n\n" % (event.row.n, prefix, event.form(form, render)) for event in batch
            )
    except (ClientError, EngineError) as error:
        shown = Overloaded(retry_after_seconds=2) if isinstance(error, EngineError) else error
        yield b"data: %s\n\n" % _one_line(jsonrpc.failure(answer.id, wire.render_error(shown)))
    except Exception:  # noqa: BLE001 - the RPC edge: logged here, and clients learn only its number
        error_id = new_error_id()
        _log.exception("Internal error %s in a stream.", error_id, extra={"error_id": error_id, "task": stream.task_id})
        shown = InternalError(error_id=error_id)
        yield b"data: %s\n\n" % _one_line(jsonrpc.failure(answer.id, wire.render_error(shown)))


class _Heartbeat(ServerSentEvent):
    """A comment without the empty line behind it, of which httpx-sse makes an event: a2a-sdk 0.3 fails at that."""

    def encode(self) -> bytes:
        return b": ping\n"


def _one_line(encoded: bytes) -> bytes:
    """JSON without what `str.splitlines` takes for the end of a line: clients split streams with it (httpx-sse)."""
    for character in "\x85\u2028\u2029":
        encoded = encoded.replace(character.encode(), b"\\u%04x" % ord(character))
    return encoded
