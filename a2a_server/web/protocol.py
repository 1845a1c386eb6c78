"""uvicorn's HTTP protocol with the one thing that it keeps from applications: cutting a connection.

Closing politely waits until the peer has taken what was sent; a peer that reads nothing would keep its connection, and
what is buffered for it, for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

ABORT = "a2a_server.abort"


class Protocol(HttpToolsProtocol):
    """Offers `abort` to applications as an extension of the ASGI scope."""

    def on_message_begin(self) -> None:
        """A request begins: its scope gets the extension."""
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions


def abort_of(scope: Any) -> Callable[[], None]:  # noqa: ANN401 - an ASGI scope, whoever's types it has
    """What cuts the connection of a request; does nothing under a server that does not offer it."""
    abort: Callable[[], None] = scope.get("extensions", {}).get(ABORT, lambda: None)
    return abort
