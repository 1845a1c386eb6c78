"""The HTTP application: routes, and the door that every JSON-RPC body comes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from a2a_server.model.objects import OPTIONS_URI, Scope
from a2a_server.web.artifacts import ArtifactPages
from a2a_server.web.bodies import Bodies, Refused
from a2a_server.web.card import CARD_PATHS, CardPages
from a2a_server.web.guards import LastResort
from a2a_server.web.health import HealthPages
from a2a_server.web.rpc import Answer, Busy, Caller, Dispatcher, Streaming
from a2a_server.web.sse import EventStream
from a2a_server.web.uploads import Uploads
from a2a_server.wire import jsonrpc, v10
from a2a_server.wire.cards import OPTIONS_SCHEMA_PATH

RPC_PATHS = tuple(f"{prefix}/tasks/{verb}" for verb in ("send", "get", "cancel") for prefix in ("", "/a2a"))
"""Where python-a2a posts what everybody else posts to `/`."""
EXTENSIONS_HEADERS = ("a2a-extensions", "x-a2a-extensions")
HANG_UP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """What requests and streams are held to. Bytes and seconds."""

    body_bytes: int
    bodies_bytes: int
    heartbeat_seconds: float
    write_stall_seconds: float


class _HangUp:
    """Cancels the task that answers a request when its client goes away, so that a long wait ends.

    It listens only after `HANG_UP_SECONDS`: most answers are there before.
    """

    def __init__(self, request: Request) -> None:
        self.happened = False
        self._request = request
        self._answering = asyncio.current_task()
        self._listening: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(HANG_UP_SECONDS, self._begin)

    def forget(self) -> None:
        """The answer is there, or the client is gone."""
        self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()

    def _begin(self) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        if self._answering is not None:
            self.happened = True
            self._answering.cancel()


class Door:
    """Takes JSON-RPC requests in and gives answers out."""

    def __init__(self, dispatcher: Dispatcher, base_url: Callable[[], str], limits: DoorLimits) -> None:
        self._dispatcher = dispatcher
        self._base_url = base_url
        self._limits = limits
        self._bodies = Bodies(limits.body_bytes, limits.bodies_bytes)

    async def rpc(self, request: Request) -> Response:
        """POST / with a JSON-RPC request or batch."""
        began_at = time.perf_counter()
        with self._bodies.share() as share:
            try:
                body = await self._bodies.read(request, share)
            except Refused as refusal:
                self._dispatcher.note(began_at, None, refusal.error.code)
                return _refused(refusal)
            except ClientDisconnect:
                return Response(status_code=400)
            return await self._answered(request, body)

    async def _answered(self, request: Request, body: bytes) -> Response:
        caller = Caller(
            Scope(),
            request.headers.get("a2a-version") or request.query_params.get("A2A-Version") or "",
            request.headers.get("last-event-id"),
        )
        hang_up = _HangUp(request)
        try:
            answered = await self._dispatcher.answer(body, caller)
        except asyncio.CancelledError:
            if not hang_up.happened:
                raise
            return Response(status_code=499)
        finally:
            hang_up.forget()
        response = self._response(answered)
        for name in EXTENSIONS_HEADERS:
            if _names_options(request, name):
                response.headers[name] = OPTIONS_URI
        return response

    def _response(self, answered: Answer | None) -> Response:
        match answered:
            case None:
                return Response(status_code=204)
            case Streaming():
                return EventStream(
                    answered,
                    self._base_url(),
                    heartbeat_seconds=self._limits.heartbeat_seconds,
                    write_stall_seconds=self._limits.write_stall_seconds,
                )
            case Busy(body, retry_after_seconds):
                headers = {"Retry-After": str(retry_after_seconds)}
                return Response(body, 503, headers, media_type="application/json")
            case _:
                return Response(answered, media_type="application/json")


def _refused(refusal: Refused) -> Response:
    headers = {"Connection": "close"}  # what is left of the body is not read
    if refusal.error.retry_after_seconds:
        headers["Retry-After"] = str(refusal.error.retry_after_seconds)
    answer = jsonrpc.failure(None, v10.render_error(refusal.error))
    return Response(answer, refusal.status, headers, media_type="application/json")


def _names_options(request: Request, header: str) -> bool:
    named = ",".join(request.headers.getlist(header))
    return OPTIONS_URI in [uri.strip() for uri in named.split(",")]


def application(
    door: Door,
    cards: CardPages,
    artifacts: ArtifactPages,
    uploads: Uploads,
    health: HealthPages,
    *,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """All routes of one agent's server."""

    async def root(request: Request) -> Response:
        return await (door.rpc(request) if request.method == "POST" else cards.signpost())

    return Starlette(
        routes=[
            Route("/", root, methods=["GET", "POST"]),
            *(Route(path, door.rpc, methods=["POST"]) for path in RPC_PATHS),
            *(Route(path, cards.card, methods=["GET"]) for path in CARD_PATHS),
            Route(OPTIONS_SCHEMA_PATH, cards.options_schema, methods=["GET"]),
            Route("/livez", health.livez, methods=["GET"]),
            Route("/readyz", health.readyz, methods=["GET"]),
            Route("/metrics", health.metrics, methods=["GET"]),
            Route("/artifacts", uploads.upload, methods=["POST"]),
            Route("/artifacts/{name:path}", artifacts.download, methods=["GET"]),
        ],
        middleware=[Middleware(LastResort)],
        lifespan=lifespan,
    )
