"""Where the management API is, and the way to it: its application is read at the first request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = "/api/v1"


class Below(BaseRoute):
    """Everything below the prefix, whatever characters its path has: Starlette's own routes end at a line break.

    management: gives what answers there; asked at every request.
    """

    def __init__(self, management: Callable[[], Awaitable[ASGIApp]]) -> None:
        self._management = management

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is one of the API's."""
        path = scope["path"].removeprefix(scope.get("root_path", "")) if scope["type"] == "http" else ""
        return (Match.FULL if path == PREFIX or path.startswith(f"{PREFIX}/") else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        await (await self._management())(scope, receive, send)
