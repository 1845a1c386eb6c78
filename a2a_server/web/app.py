"""The HTTP application: routes, and the door that every JSON-RPC body comes through.

A JSON-RPC request does what it would do behind Starlette's middleware, router and request objects, but without them:
they would cost as much as the door itself. Whatever is not plainly such a request goes the usual way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, cast

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope as HttpScope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from a2a_server.model.objects import OPTIONS_URI, Scope
from a2a_server.values import value_class
from a2a_server.web.artifacts import ArtifactPages
from a2a_server.web.bodies import Bodies, Refused, Share
from a2a_server.web.card import CARD_PATHS, CardPages
from a2a_server.web.guards import ANY, HostCheck, LastResort, Names, broke
from a2a_server.web.health import HealthPages
from a2a_server.web.management.below import Below
from a2a_server.web.rpc import Answer, Busy, Caller, Dispatcher, Streaming
from a2a_server.web.sse import EventStream, frames
from a2a_server.web.uploads import Uploads
from a2a_server.web.waits import Waits
from a2a_server.wire import jsonrpc, v10
from a2a_server.wire.cards import OPTIONS_SCHEMA_PATH

RPC_PATHS = tuple(f"{prefix}/tasks/{verb}" for verb in ("send", "get", "cancel") for prefix in ("", "/a2a"))
"""Where python-a2a posts what everybody else posts to `/`."""
AGENTS: Final = "/agents/"
"""Where further agents answer, each behind its name."""
EXTENSIONS_HEADERS = (b"a2a-extensions", b"x-a2a-extensions")

_OURS: Final[frozenset[object]] = frozenset((ProxyHeadersMiddleware, HostCheck, LastResort))
_NOBODY: Final = Scope()
_JSON: Final = (b"content-type", b"application/json")


@value_class(frozen=True, slots=True)
class DoorLimits:
    """What requests and streams are held to. Bytes and seconds."""

    body_bytes: int
    bodies_bytes: int
    heartbeat_seconds: float
    write_stall_seconds: float


class _Whole:
    """An answer that is there as a whole. Any ASGI application's `__call__`."""

    __slots__ = ("body", "raw_headers", "status")

    def __init__(self, status: int, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
        self.status = status
        self.body = body
        self.raw_headers = [*headers]
        if status != 204:  # noqa: PLR2004 - it has no content, not even an empty one
            self.raw_headers.append((b"content-length", b"%d" % len(body)))
        if body:
            self.raw_headers.append(_JSON)

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        await send({"type": "http.response.start", "status": self.status, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


class Door:
    """Takes JSON-RPC requests in and gives answers out. bodies: what all doors of a server hold together."""

    def __init__(
        self, dispatcher: Dispatcher, base_url: Callable[[], str], limits: DoorLimits, bodies: Bodies | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._base_url = base_url
        self._limits = limits
        self._bodies = bodies or Bodies(limits.body_bytes, limits.bodies_bytes)
        self._waits = Waits()

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Answer a POST with a JSON-RPC request or batch; 500 where code breaks."""
        begun = False
        try:
            answer = await self._answer(scope, receive)
            begun = True
            await answer(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:  # noqa: BLE001 - the HTTP edge: logged there, and clients learn only its number
            await broke(scope, receive, send, begun=begun)

    async def rpc(self, request: Request) -> ASGIApp:
        """The same as a route."""
        return await self._answer(request.scope, request.receive)

    async def _answer(self, scope: HttpScope, receive: Receive) -> _Whole | EventStream:
        began_at = time.perf_counter()
        headers = dict(reversed([*scope["headers"]]))  # the first of a name counts
        share = Share(self._bodies)
        try:
            body = await self._bodies.read(headers, receive, share)
            wait = self._waits.begin(receive)
            try:
                answer = self._response(await self._dispatcher.answer(body, _caller(scope, headers)))
            except asyncio.CancelledError:
                if not wait.gone:
                    raise
                answer = _Whole(499)
            finally:
                self._waits.end(wait)
        except Refused as refusal:
            self._dispatcher.note(began_at, None, refusal.error.code)
            return _refused(refusal)
        except ClientDisconnect:
            return _Whole(400)
        finally:
            share.give_back()
        for name in EXTENSIONS_HEADERS:
            if name in headers and _names_options(scope, name):
                answer.raw_headers.append((name, OPTIONS_URI.encode()))
        return answer

    def _response(self, answered: Answer | None) -> _Whole | EventStream:
        match answered:
            case bytes():
                return _Whole(200, answered)
            case None:
                return _Whole(204)
            case Streaming():
                return EventStream(
                    frames(answered, self._base_url()),
                    task=answered.stream.task_id,
                    heartbeat_seconds=self._limits.heartbeat_seconds,
                    write_stall_seconds=self._limits.write_stall_seconds,
                )
            case Busy(body, retry_after_seconds):
                return _Whole(503, body, (b"retry-after", b"%d" % retry_after_seconds))


def _caller(scope: HttpScope, headers: Mapping[bytes, bytes]) -> Caller:
    version = headers.get(b"a2a-version", b"").decode("latin-1")
    if not version and scope.get("query_string"):
        version = QueryParams(scope["query_string"]).get("A2A-Version", "")
    last_event_id = headers.get(b"last-event-id")
    return Caller(_NOBODY, version, None if last_event_id is None else last_event_id.decode("latin-1"))


def _refused(refusal: Refused) -> _Whole:
    headers = [(b"connection", b"close")]  # what is left of the body is not read
    if refusal.error.retry_after_seconds:
        headers.append((b"retry-after", b"%d" % refusal.error.retry_after_seconds))
    return _Whole(refusal.status, jsonrpc.failure(None, v10.render_error(refusal.error)), *headers)


def _names_options(scope: HttpScope, header: bytes) -> bool:
    named = b",".join(value for name, value in scope["headers"] if name == header)
    return OPTIONS_URI in [uri.strip() for uri in named.decode("latin-1").split(",")]


@value_class(frozen=True, slots=True)
class Site:
    """An agent as clients reach it: the first one at `/`, further ones at `AGENTS` and their names."""

    door: Door
    cards: CardPages


class _Straight:
    """Hands JSON-RPC requests that name an allowed host to their door, and all else to the usual stack."""

    def __init__(self, doors: Mapping[str, Door], names: Names, usual: ASGIApp) -> None:
        self._doors = doors
        self._names = names
        self._usual = usual

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and (door := self._doors.get(scope["path"].removeprefix(scope.get("root_path", "")))) is not None
            and self._names.named_once(scope)
        ):
            await door(scope, receive, send)
        else:
            await self._usual(scope, receive, send)


class Application(Starlette):
    """The routes of a server, with a straight way to its agents' doors. doors: by path.

    There is none where somebody put middleware of their own before the routes: that has to see every request.
    """

    doors: Mapping[str, Door]

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's, behind the straight way."""
        usual = super().build_middleware_stack()
        kinds: list[object] = [middleware.cls for middleware in self.user_middleware]
        if not _OURS.issuperset(kinds) or kinds.count(HostCheck) > 1 or self.max_body_size is not None:
            return usual
        allowed = frozenset({ANY})
        if HostCheck in kinds:
            allowed = cast("frozenset[str]", self.user_middleware[kinds.index(HostCheck)].kwargs["allowed"])
        return _Straight(self.doors, Names(allowed), usual)


def application(
    root: Site,
    artifacts: ArtifactPages,
    uploads: Uploads,
    health: HealthPages,
    *,
    management: Callable[[], Awaitable[ASGIApp]],
    agents: Mapping[str, Site] | None = None,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """All routes of a server: those of its first agent, and of further ones by their names."""
    sites = {"/": root} | {AGENTS + name: site for name, site in (agents or {}).items()}
    app = Application(
        routes=[
            *(route for path, site in sites.items() for route in _routes(path, site)),
            Route("/livez", health.livez, methods=["GET"]),
            Route("/readyz", health.readyz, methods=["GET"]),
            Route("/metrics", health.metrics, methods=["GET"]),
            Below(management),
            Route("/artifacts", uploads.upload, methods=["POST"]),
            Route("/artifacts/{name:path}", artifacts.download, methods=["GET"]),
        ],
        middleware=[Middleware(LastResort)],
        lifespan=lifespan,
    )
    app.doors = {at: site.door for path, site in sites.items() for at in _door_paths(path)}
    return app


def _door_paths(path: str) -> Sequence[str]:
    below = path.rstrip("/")
    return [*dict.fromkeys((path, below + "/")), *(below + known for known in RPC_PATHS)]


def _routes(path: str, site: Site) -> Iterator[Route]:
    async def own(request: Request) -> ASGIApp:
        return await (site.door.rpc(request) if request.method == "POST" else site.cards.signpost())

    below, cards = path.rstrip("/"), site.cards
    yield Route(path, own, methods=["GET", "POST"])
    yield from (Route(at, site.door.rpc, methods=["POST"]) for at in _door_paths(path) if at != path)
    yield from (Route(below + known, cards.card, methods=["GET"]) for known in CARD_PATHS)
    yield Route(below + OPTIONS_SCHEMA_PATH, cards.options_schema, methods=["GET"])
