"""The agent card at both well-known addresses, the JSON Schema of the task options that it links to, and a signpost.

Clients may keep them for a while and ask again with the ETag. Source: A2A 1.0.1 section 8.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from a2a_server.model.card import AgentCard
from a2a_server.model.options import options_schema
from a2a_server.web.conditional import has_it
from a2a_server.wire import cards

CARD_PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")


class CardPages:
    """Serves one agent's card.

    card: as the agent gives it. base_url: known once the server listens. path: where behind it the agent answers.
    """

    def __init__(
        self,
        card: AgentCard,
        base_url: Callable[[], str],
        *,
        cache_seconds: int,
        changed_at: Callable[[], int],
        path: str = "/",
    ) -> None:
        self._card = card
        self._base_url = base_url
        self._path = path
        self._cache_seconds = cache_seconds
        self._changed_at = datetime.fromtimestamp(changed_at() // 1_000_000, UTC)
        self._forms: dict[tuple[str, bool], bytes] = {}

    async def card(self, request: Request) -> Response:
        """GET /.well-known/agent-card.json and /.well-known/agent.json."""
        version = request.headers.get("a2a-version") or request.query_params.get("A2A-Version") or ""
        body = self._form(pure=version == "1.0" or version.startswith("1.0."))
        return self._cacheable(request, body, "application/json", {"Vary": "A2A-Version"})

    async def options_schema(self, request: Request) -> Response:
        """GET /.well-known/task-options.json."""
        return self._cacheable(request, self._schema, "application/schema+json", {})

    @cached_property
    def _schema(self) -> bytes:
        return orjson.dumps(options_schema(), option=orjson.OPT_INDENT_2)

    async def signpost(self) -> Response:
        """GET of the agent's own address by a person: what this is, and where to go on."""
        return PlainTextResponse(
            f"{self._card.name} is an A2A agent: send JSON-RPC requests here, by POST.\n"
            f"Its card says the rest: {self._base_url()}{self._path.rstrip('/')}{CARD_PATHS[0]}\n"
        )

    def _cacheable(self, request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers |= {
            "ETag": etag,
            "Last-Modified": format_datetime(self._changed_at, usegmt=True),
            "Cache-Control": f"public, max-age={self._cache_seconds}",
        }
        if has_it(request, etag, self._changed_at):
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=media_type, headers=headers)

    def _form(self, *, pure: bool) -> bytes:
        base_url = self._base_url()
        if (base_url, pure) not in self._forms:
            card = cards.with_interfaces(self._card, base_url + self._path)
            self._forms[base_url, pure] = orjson.dumps(cards.render(card, pure=pure), option=orjson.OPT_INDENT_2)
        return self._forms[base_url, pure]
