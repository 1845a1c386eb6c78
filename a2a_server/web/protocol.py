"""uvicorn's HTTP protocol with what it keeps from applications (cutting a connection) and what it gets wrong.

Closing politely waits until the peer has taken what was sent; a peer that reads nothing would keep its connection, and
what is buffered for it, for ever.

A server may ignore `Upgrade` (RFC 9110 section 7.8), but httptools takes the body of such a request for another
protocol and drops it (uvicorn issue 2722). Java's HttpClient asks every server for h2c. So a request to upgrade is read
again without that header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "a2a_server.abort"


class Protocol(HttpToolsProtocol):
    """Offers `abort` to applications as an extension of the ASGI scope, and upgrades to nothing."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        self.parser = _Parser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def on_message_begin(self) -> None:
        """A request begins: its scope gets the extension."""
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions

    def plain_head(self) -> bytes:
        """The request line and the headers that were read, without `Upgrade`."""
        kept = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%s %s HTTP/%s\r\n%s\r\n" % (self.parser.get_method(), self.url, version, kept)

    def _should_upgrade(self) -> bool:
        return self.parser.get_method() != b"CONNECT"  # passes over the request as it stood


class _Parser(httptools.HttpRequestParser):
    def __init__(self, protocol: Protocol) -> None:
        super().__init__(protocol)
        self._protocol = protocol

    def feed_data(self, data: Any) -> None:  # noqa: ANN401 - uvicorn gives bytes
        while data:
            try:
                super().feed_data(data)
            except httptools.HttpParserUpgrade as pause:
                if self.get_method() == b"CONNECT":
                    raise
                data = self._protocol.plain_head() + data[pause.args[0] :]
            else:
                return


def abort_of(scope: Any) -> Callable[[], None]:  # noqa: ANN401 - an ASGI scope, whoever's types it has
    """What cuts the connection of a request; does nothing under a server that does not offer it."""
    abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, lambda: None)
    return abort
