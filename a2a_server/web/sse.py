"""Streams as server-sent events.

Each event's `id:` is its number in the task's log, so a client that reconnects with `Last-Event-ID` continues without a
gap. A batch of events is one write.

Theory of operation. The headers are those of sse-starlette's response, and its guards are what a long stream has beside
it: pings, whether the client leaves, whether the process does. They are made when a stream has lasted
`SETTLED_SECONDS`, not with it: most streams are over before, and their tasks would cost more than the stream. Events
are sent by the task that answers the request, and the batch that ends the stream ends the response too. One timer a
stream begins the guards, and then sees to it that no write takes longer than `write_stall_seconds`; it is set for when
a write could at the earliest have taken so long, so an open stream costs it one call in that time.

Source: WHATWG HTML, section 9.2 (server-sent events); core.md section 7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

import orjson
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Message, Receive, Scope, Send

from a2a_server.errors import ClientError, EngineError, InternalError, Overloaded
from a2a_server.model.objects import Event, Task
from a2a_server.web.protocol import abort_of
from a2a_server.web.rpc import Streaming, new_error_id
from a2a_server.wire import jsonrpc

RETRY_MILLISECONDS = 1000
"""What clients are told to wait before they reconnect."""
SETTLED_SECONDS: Final = 1.0
"""A stream that lasts so long, or half as long as until its first ping, is guarded."""

_LINE_ENDS: Final = tuple((one.encode(), b"\\u%04x" % ord(one)) for one in "\x85\u2028\u2029")

_log = logging.getLogger("a2a_server.web.sse")


class EventStream:
    """The response that streams to one client. Any ASGI application's `__call__`.

    pieces: what is sent, each in one write; `Last` ends the stream. task: whose it is, for the log.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes], *, task: str, heartbeat_seconds: float, write_stall_seconds: float
    ) -> None:
        self.raw_headers = [*_HEADERS]
        self._task = task
        self._frames = pieces
        self._heartbeat_seconds = heartbeat_seconds
        self._stall_seconds = write_stall_seconds
        self._sender: asyncio.Task[object] | None = None
        self._sending_since = 0.0
        self._guards: _Guards | None = None
        self._over = False
        self._failure: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the task's last event, the client's departure or its silence."""
        loop = asyncio.get_running_loop()
        sender = self._sender = asyncio.current_task()
        settles = min(SETTLED_SECONDS, self._heartbeat_seconds / 2, self._stall_seconds)
        self._timer = loop.call_later(settles, self._settle, receive, send, self._heartbeat_seconds - settles)
        try:
            await self._stream(send)
        except asyncio.CancelledError:
            if not self._over or (sender is not None and sender.uncancel()):
                raise
        finally:
            self._sender = None
            self._timer.cancel()
            if self._guards is not None:
                self._guards.dismiss()
            await self._frames.aclose()
        if isinstance(self._failure, SendTimeoutError):
            _log.info("A stream was cut: its client took nothing for too long.", extra={"task": self._task})
            abort_of(scope)()
            await asyncio.sleep(0)
        elif self._failure is not None:
            raise self._failure

    async def _stream(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        data = b""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for data in self._frames:
            self._sending_since = loop.time()
            if type(data) is Last:
                await self._send_last(send, data)
            else:
                await send({"type": "http.response.body", "body": data, "more_body": True})
            self._sending_since = 0.0
        if type(data) is not Last:
            self._sending_since = loop.time()
            await self._send_last(send, b"")

    async def _send_last(self, send: Send, data: bytes) -> None:
        message = {"type": "http.response.body", "body": data, "more_body": False}
        if self._guards is None:
            await send(message)
        else:
            await self._guards.send_last(send, message)

    def _settle(self, receive: Receive, send: Send, first_heartbeat_seconds: float) -> None:
        self._guards = _Guards(first_heartbeat_seconds, self._heartbeat_seconds, self._stall_seconds)
        self._guards.begin(receive, send, self._end)
        self._look()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        due = (self._sending_since or loop.time()) + self._stall_seconds
        if due <= loop.time():
            self._end(SendTimeoutError())
        else:
            self._timer = loop.call_at(due, self._look)

    def _end(self, failure: BaseException | None) -> None:
        if self._sender is not None and not self._over:
            self._over = True
            self._failure = failure
            self._sender.cancel()


class _Guards(EventSourceResponse):
    """What a long stream has beside it; of sse-starlette's response all but the sending of events."""

    def __init__(self, first_heartbeat_seconds: float, heartbeat_seconds: float, write_stall_seconds: float) -> None:
        super().__init__(
            _no_events(),
            ping=first_heartbeat_seconds,
            ping_message_factory=self._heartbeat,
            sep="\n",
            send_timeout=write_stall_seconds,
        )
        self._heartbeat_seconds = heartbeat_seconds
        self._tasks: list[asyncio.Task[None]] = []
        del self.headers["connection"]  # the connection is the server's to keep or to close

    def begin(self, receive: Receive, send: Send, end: Callable[[BaseException | None], None]) -> None:
        """Start them; the first that is done ends the stream with what it failed by."""

        def done(guard: asyncio.Task[None]) -> None:
            if not guard.cancelled():
                end(guard.exception())

        loop = asyncio.get_running_loop()
        for guard in (
            self._ping(send),
            self._listen_for_exit_signal_with_grace(),
            self._listen_for_disconnect(receive),
        ):
            task = loop.create_task(guard)
            task.add_done_callback(done)
            self._tasks.append(task)

    async def send_last(self, send: Send, message: Message) -> None:
        """Send what ends the stream, behind a ping that may be under way."""
        async with self._send_lock:
            self.active = False
            await send(message)

    def _heartbeat(self) -> ServerSentEvent:
        self.ping_interval = self._heartbeat_seconds  # from the second one on
        return _Heartbeat()

    def dismiss(self) -> None:
        """The stream is over."""
        for task in self._tasks:
            task.cancel()


async def _no_events() -> AsyncGenerator[bytes]:
    return
    yield


class Last(bytes):
    """The piece of a stream behind which nothing comes."""


async def frames(answer: Streaming, base_url: str) -> AsyncGenerator[bytes]:
    """The stream as bytes on the connection, a write each; `Last` where it is known to be the last one."""
    stream, wire = answer.stream, answer.wire
    prefix = b'{"jsonrpc":"2.0","id":' + one_line(orjson.dumps(answer.id)) + b',"result":'
    form = (wire, base_url)

    def render(event: Event) -> bytes:
        return one_line(orjson.dumps(wire.render_event(event, stream.task_id, stream.context_id, base_url)))

    head = b"retry: %d\n" % RETRY_MILLISECONDS  # no empty line: httpx-sse would make an event without data of it
    if stream.start is not None:
        items = wire.render_start(stream.start, base_url)
        last = b"id: %d\n" % stream.start.n if isinstance(stream.start, Task) else b""  # a direct answer is no event
        numbered = [b""] * (len(items) - 1) + [last]
        head += b"".join(
            b"%sdata: %s%s}\n\n" % (number, prefix, one_line(orjson.dumps(item)))
            for number, item in zip(numbered, items, strict=True)
        )
    yield head
    try:
        async for batch in stream.batches:
            data = b"".join(
                [b"id: %d\ndata: %s%s}\n\n" % (event.row.n, prefix, event.form(form, render)) for event in batch]
            )
            yield Last(data) if stream.ends(batch[-1]) else data
    except (ClientError, EngineError) as error:
        shown = Overloaded(retry_after_seconds=2) if isinstance(error, EngineError) else error
        yield Last(b"data: %s\n\n" % one_line(jsonrpc.failure(answer.id, wire.render_error(shown))))
    except Exception:  # noqa: BLE001 - the RPC edge: logged here, and clients learn only its number
        error_id = new_error_id()
        _log.exception("Internal error %s in a stream.", error_id, extra={"error_id": error_id, "task": stream.task_id})
        shown = InternalError(error_id=error_id)
        yield Last(b"data: %s\n\n" % one_line(jsonrpc.failure(answer.id, wire.render_error(shown))))


class _Heartbeat(ServerSentEvent):
    """A comment without the empty line behind it, of which httpx-sse makes an event: a2a-sdk 0.3 fails at that."""

    def encode(self) -> bytes:
        return b": ping\n"


def one_line(encoded: bytes) -> bytes:
    """The JSON without what `str.splitlines` takes for the end of a line: clients split streams with it (httpx-sse)."""
    if not encoded.isascii():
        for found, escaped in _LINE_ENDS:
            encoded = encoded.replace(found, escaped)
    return encoded


_HEADERS: Final = tuple(_Guards(SETTLED_SECONDS, SETTLED_SECONDS, SETTLED_SECONDS).raw_headers)
