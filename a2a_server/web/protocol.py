"""uvicorn's HTTP protocol with what it lacks (limits, deadlines, polite refusals) and without what it gets wrong.

Theory of operation. httptools reads strictly: bare LF, folded lines, NUL, contradicting lengths and odd chunk sizes are
errors. What it lets through is refused here: transfer codings other than chunked, chunked in HTTP/1.0, other versions,
and trailers, which uvicorn would mix into the headers. Heads are measured when they are there, and after every slice
of what came while they are not. One timer a connection waits for whatever the client owes: the rest of a head, or the
next piece of a body.

A refusal is written when everything asked before is answered, so that it is never taken for another answer. Then the
server ends its side and drops what still comes, for a while: who closes with unread bytes resets the connection, and
the client may never read why. The same holds where an application answered before it read the whole body.

uvicorn's `limit_concurrency` is not looked at: `ConnectionLimits` stands in its place. A connection that rests keeps
its timer while it is asked something: to start one for every rest would cost more than to look at the clock.

Closing politely waits until the peer has taken what was sent; a peer that reads nothing would keep its connection, and
what is buffered for it, for ever. So applications get `abort`.

A server may ignore `Upgrade` (RFC 9110 section 7.8), but httptools takes the body of such a request for another
protocol and drops it (uvicorn issue 2722). Java's HttpClient asks every server for h2c. So a request to upgrade is read
again without that header.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from a2a_server.errors import Overloaded
from a2a_server.web import limits as most
from a2a_server.web.cycle import Closer, Cycle, target
from a2a_server.web.limits import ConnectionLimits, Refusal
from a2a_server.wire import jsonrpc, v10

ABORT = "a2a_server.abort"
_SLICE_BYTES = 64 * 1024  # what httptools may make header lines of before they are counted
_READ_HERE = frozenset({b"transfer-encoding", b"expect"})


class _Owed(Enum):
    """What the client has to send next: nothing, the rest of a head, the rest of a body."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


class Protocol(HttpToolsProtocol):
    """One connection. Offers `abort` to applications as an extension of the ASGI scope, and upgrades to nothing."""

    # beside the attributes of uvicorn's class: more than thirty would share no names between connections
    __slots__ = (
        "_answered", "_body_bytes", "_closer", "_deaf", "_draining", "_limits", "_lines", "_lingers", "_message_bytes",
        "_owed", "_progress", "_refusal", "_rests_since", "_silent", "_slice_bytes", "_timer", "_unseen_bytes",
        "_was_paused",
    )  # fmt: skip

    def __init__(self, *arguments: Any, limits: ConnectionLimits | None = None, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self._limits = limits or ConnectionLimits()
        self._owed = _Owed.NOTHING
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None
        self._deaf = False  # what comes is dropped
        self._lingers = self._draining = self._was_paused = False
        self._answered: RequestResponseCycle | None = None
        self._silent = True  # nothing has come at all
        self._lines: list[tuple[bytes, bytes]] = []  # of the head, or the trailer, that is being read
        self._slice_bytes = self._message_bytes = self._body_bytes = 0
        self._progress = self._unseen_bytes = 0
        self._rests_since = self.loop.time()  # 0 = something is being asked or answered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a head, unless there are too many connections."""
        super().connection_made(transport)
        self._closer = Closer(self)
        if len(self.connections) > self._limits.connections:
            self._deaf = True
            transport.write(self._written(most.TOO_MANY_CONNECTIONS))
            transport.close()
        else:
            self._timer = self.loop.call_later(self._limits.header_seconds, self._head_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is owed any more, and whoever answers is told: uvicorn tells only the request that came last."""
        self._stop_timer()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Read on, as far as the limits allow."""
        if self._deaf:
            return
        self._silent = False
        self._unset_keepalive_if_required()
        for begin in range(0, len(data), _SLICE_BYTES):
            if not self._read(data[begin : begin + _SLICE_BYTES]):
                return
        self._set_timer()

    def on_message_begin(self) -> None:
        """A request begins: its scope gets the extension."""
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions
        self._owed = _Owed.HEAD
        self._lines = self.headers
        self._message_bytes = self._slice_bytes
        self._progress = -1

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        super().on_url(url)
        if len(self.url) > most.MAX_TARGET_BYTES:
            self._refuse_and_stop(most.TARGET_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line; a trailer line is counted and dropped."""
        self._lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there: the request begins to be answered, or waits for those before it."""
        if self._too_many_lines():
            self._refuse_and_stop(most.HEAD_TOO_LARGE)
        version = self.parser.get_http_version()
        said = [(name, value.lower()) for name, value in self.headers if name in _READ_HERE]
        codings = [value for name, value in said if name == b"transfer-encoding"] if said else []
        if version not in ("1.1", "1.0"):
            self._refuse_and_stop(most.WRONG_VERSION)
        if codings and (codings != [b"chunked"] or version == "1.0"):
            self._refuse_and_stop(most.NOT_ONE_LENGTH)
        if len(self.pipeline) >= most.MAX_PIPELINED:
            self._refuse_and_stop(most.TOO_MANY_AT_ONCE)
        self.expect_100_continue = (b"expect", b"100-continue") in said
        self._complete_scope(version)
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self._begin_cycle(keep_alive=version == "1.1" and self.parser.should_keep_alive())
        self._stop_timer()
        self._owed = _Owed.BODY
        self._lines = []
        self._body_bytes = 0
        self._progress = -1

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        super().on_body(body)
        self._body_bytes += len(body)
        self._was_paused = self._was_paused or self.flow.read_paused

    def on_message_complete(self) -> None:
        """The request is there."""
        if self._too_many_lines():
            self._refuse_and_stop(most.HEAD_TOO_LARGE)
        super().on_message_complete()
        self._stop_timer()
        self._owed = _Owed.NOTHING

    def on_response_complete(self) -> None:
        """Go on with the next request, or with what had to wait for this answer."""
        self.server_state.total_requests += 1
        if self._lingers:
            return
        last = not self.pipeline
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if last:
                self._rest()
            else:
                self._start_asgi_task(*self.pipeline.pop())
        if not last:
            return
        if self._refusal is not None:
            self._say(self._refusal)
        elif self.cycle.more_body:
            self.linger()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where it has rested long enough; else look again when it may have."""
        self.timeout_keep_alive_task = None
        if not self._rests_since:
            return
        left = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def linger(self) -> None:
        """End this side; close when the client has ended its own, or after a while."""
        if self._lingers or self.transport.is_closing():
            return
        self._lingers = self._deaf = True
        self._unset_keepalive_if_required()
        self._stop_timer()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._timer = self.loop.call_later(most.LINGER_SECONDS, self.transport.abort)

    def drain(self, recent_seconds: float) -> None:
        """From now on an answer that begins is the last and says so; what has rested for longer is closed at once."""
        self._draining = True
        if not self._idle():
            self.cycle.keep_alive = self.cycle.keep_alive and self.cycle.response_started
        elif self._rests_since and self.loop.time() - self._rests_since > recent_seconds:
            self.transport.close()

    @property
    def awaits(self) -> bool:
        """Whether a request may still come, or has not come as a whole."""
        return (self._idle() or self.cycle.more_body) and not (self._deaf or self.transport.is_closing())

    @property
    def lingers(self) -> bool:
        """Whether this side has said its last word."""
        return self._lingers

    def plain_head(self) -> bytes:
        """The request line and the headers that were read, without `Upgrade`."""
        kept = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, kept)

    def _complete_scope(self, version: str) -> None:
        scope, (path, raw_path, query) = self.scope, target(self.url)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + path
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        scope["query_string"] = query

    def _begin_cycle(self, *, keep_alive: bool) -> None:
        before: RequestResponseCycle | None = self.cycle
        self.cycle = Cycle(
            self.scope,
            cast("asyncio.Transport", self._closer),
            self.flow,
            self.logger,
            self.access_logger,
            self.access_log,
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            keep_alive and not self._draining,
            self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _rest(self) -> None:
        self._rests_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _unset_keepalive_if_required(self) -> None:
        self._rests_since = 0.0

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - an ASGI application
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _should_upgrade(self) -> bool:
        return self.parser.get_method() != b"CONNECT"  # passes over the request as it stood

    def _read(self, data: bytes) -> bool:
        while data:
            self._slice_bytes = len(data)
            self._message_bytes += len(data)
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                if self.parser.get_method() != b"CONNECT":
                    data = self.plain_head() + data[pause.args[0] :]
                    continue
                self._refuse(most.MALFORMED)
            except httptools.HttpParserError:
                self._refuse(self._refusal or most.MALFORMED)
            else:
                if self._owed is not _Owed.NOTHING and (self._too_many_lines() or self._too_long_unseen(len(data))):
                    self._refuse(most.HEAD_TOO_LARGE)
            break
        return not self._deaf

    def _too_many_lines(self) -> bool:
        """Whether the lines that were read break a limit; in a short message only their number can."""
        if len(self._lines) > most.MAX_HEADERS:
            return True
        if not self._lines or self._message_bytes <= most.MAX_HEADER_BYTES:
            return False
        sizes = [len(name) + 2 + len(value) for name, value in self._lines]
        return max(sizes) > most.MAX_HEADER_BYTES or sum(sizes) > most.MAX_HEAD_BYTES

    def _too_long_unseen(self, size: int) -> bool:
        """Whether so much came since the parser last gave something out."""
        progress = len(self.url) + len(self._lines) + self._body_bytes
        self._unseen_bytes = self._unseen_bytes + size if progress == self._progress else 0
        self._progress = progress
        return self._unseen_bytes > most.MAX_HEADER_BYTES

    def _refuse_and_stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise httptools.HttpParserError

    def _refuse(self, refusal: Refusal) -> None:
        """Read nothing more; say why once everything asked before is answered."""
        self._deaf = True
        self._refusal = refusal
        self._stop_timer()
        self._unset_keepalive_if_required()
        if self._owed is _Owed.BODY and not self._give_up():
            return
        if self._idle() or self.cycle.disconnected:
            self._say(refusal)

    def _give_up(self) -> bool:
        """The request whose body is at fault goes unanswered; whether there is still something to say."""
        cycle = self.cycle
        if self.pipeline:
            self.pipeline.popleft()
            return True
        if cycle.response_complete:
            self.linger()
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.abort()
        return not cycle.response_started

    def _say(self, refusal: Refusal) -> None:
        if not self.transport.is_closing():
            self.transport.write(self._written(refusal))
            self.linger()

    def _written(self, refusal: Refusal) -> bytes:
        content, kind = refusal.text.encode(), b"text/plain; charset=utf-8"
        headers = [*self.server_state.default_headers]
        if refusal.retry_after_seconds:
            again = Overloaded(refusal.text, retry_after_seconds=refusal.retry_after_seconds)
            content, kind = jsonrpc.failure(None, v10.render_error(again)), b"application/json"
            headers.append((b"retry-after", b"%d" % refusal.retry_after_seconds))
        headers += [(b"content-type", kind), (b"content-length", b"%d" % len(content)), (b"connection", b"close")]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        return STATUS_LINE[refusal.status] + lines + b"\r\n" + content

    def _idle(self) -> bool:
        latest: RequestResponseCycle | None = self.cycle
        return latest is None or latest.response_complete

    def _set_timer(self) -> None:
        if self._timer is not None:
            return
        if self._owed is _Owed.BODY:
            self._watch_body()
        elif self._owed is _Owed.HEAD or self._idle():  # line ends before a request are no request
            self._timer = self.loop.call_later(self._limits.header_seconds, self._head_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_late(self) -> None:
        if self._silent:
            self._deaf = True
            self.transport.close()
        else:
            self._refuse(most.HEAD_TOO_SLOW)

    def _watch_body(self) -> None:
        self._was_paused = self.flow.read_paused
        self._timer = self.loop.call_later(self._limits.body_stall_seconds, self._window_over, self._body_bytes)

    def _window_over(self, before: int) -> None:
        due = max(1.0, self._limits.body_stall_seconds * self._limits.body_bytes_per_second)
        if self._body_bytes - before >= due or self._was_paused or self.flow.read_paused:
            self._watch_body()
        else:
            self._refuse(most.BODY_TOO_SLOW)


def abort_of(scope: Any) -> Callable[[], None]:  # noqa: ANN401 - an ASGI scope, whoever's types it has
    """What cuts the connection of a request; does nothing under a server that does not offer it."""
    abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, lambda: None)
    return abort
