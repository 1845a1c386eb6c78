"""The agent card at both well-known addresses, and the JSON Schema of the task options that it links to.

Clients may keep the card for a while and ask again with its ETag. Source: A2A 1.0.1 section 8.2; RFC 9110 section 13.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from email.utils import formatdate

import orjson
from starlette.requests import Request
from starlette.responses import Response

from a2a_server.model.card import AgentCard
from a2a_server.model.options import TaskOptions
from a2a_server.wire import cards


class CardPages:
    """Serves one agent's card. card: as the agent gives it; base_url: known once the server listens."""

    def __init__(
        self, card: AgentCard, base_url: Callable[[], str], *, cache_seconds: int, changed_at: Callable[[], int]
    ) -> None:
        self._card = card
        self._base_url = base_url
        self._cache_seconds = cache_seconds
        self._changed_at = formatdate(changed_at() / 1_000_000, usegmt=True)
        self._forms: dict[tuple[str, bool], tuple[bytes, str]] = {}

    async def card(self, request: Request) -> Response:
        """GET /.well-known/agent-card.json and /.well-known/agent.json."""
        body, etag = self._form(pure=request.headers.get("a2a-version", "").startswith("1."))
        headers = {
            "ETag": etag,
            "Last-Modified": self._changed_at,
            "Cache-Control": f"public, max-age={self._cache_seconds}",
            "Vary": "A2A-Version",
        }
        if _known(request, etag, self._changed_at):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    async def options_schema(self, request: Request) -> Response:  # noqa: ARG002 - a route's shape
        """GET /.well-known/task-options.json."""
        schema = TaskOptions.model_json_schema(by_alias=True)
        return Response(orjson.dumps(schema), media_type="application/schema+json")

    def _form(self, *, pure: bool) -> tuple[bytes, str]:
        base_url = self._base_url()
        if (base_url, pure) not in self._forms:
            card = cards.with_interfaces(self._card, base_url + "/")
            body = orjson.dumps(cards.render(card, pure=pure), option=orjson.OPT_INDENT_2)
            self._forms[base_url, pure] = (body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        return self._forms[base_url, pure]


def _known(request: Request, etag: str, changed_at: str) -> bool:
    named = request.headers.get("if-none-match")
    if named is not None:
        tags = [tag.strip().removeprefix("W/") for tag in named.split(",")]
        return etag in tags or "*" in tags
    return request.headers.get("if-modified-since") == changed_at
