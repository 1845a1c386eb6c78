"""The management API as an ASGI application: finds the route, reads and checks the request, answers.

Paths are matched as they came, before they are decoded, so that an id with a slash in it (`%2F`) can be named.

Against pages of other sites in a browser on this machine: bodies must be JSON, which a page cannot send elsewhere
without being allowed to, and what changes something is refused when it says that it comes from another origin.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope as HttpScope, Send

from a2a_server.errors import ClientError, Conflict, DataRejected, Draining, StoreUnavailable
from a2a_server.model.objects import Scope
from a2a_server.web import bodies
from a2a_server.web.conditional import has_it
from a2a_server.web.management import inputs, problems
from a2a_server.web.management.below import PREFIX
from a2a_server.web.management.openapi import Description
from a2a_server.web.management.problems import Refused
from a2a_server.web.management.table import EVENTS, JSON, LINES, Call, Reply, Route
from a2a_server.web.refusals import busy, refusal
from a2a_server.web.waits import Waits

BODY_BYTES: Final = 64 << 20
"""Largest body."""
BODIES_BYTES: Final = 256 << 20
"""All bodies that are read or answered at a time."""
MAX_VARIABLE: Final = 256

_NOT_HERE: Final = (
    "The management API answers only where the server is reached from its own machine alone, as long as there is no "
    "authentication: bind it to 127.0.0.1 (--host 127.0.0.1), and go through a tunnel or a proxy with its own log-in."
)
_OTHER_SITE: Final = "Pages of other sites cannot change anything here."
_LATER: Final = "The store does not answer at the moment; try again."
_CROWDED: Final = "Too many change the same things at the moment; try again."
_UNFIT: Final = "A value cannot be stored as it is: no name or text of it may hold the character U+0000."
_NO_RESOURCE: Final = f"There is no such resource; {PREFIX}/openapi.json describes those that there are."
_ABOVE: Final = tuple(PREFIX.split("/")[1:])
_DEPTH: Final = len(_ABOVE)


class ManagementApi:
    """Serves the routes, and the document of them all.

    routes: gives them; asked once, at the first request. local: whether only this machine reaches the server, as far as
    its settings say.
    """

    def __init__(self, routes: Callable[[], Awaitable[Sequence[Route]]], *, local: Callable[[], bool]) -> None:
        self._given = routes
        self._local = local
        self._bodies = bodies.Bodies(BODY_BYTES, BODIES_BYTES)
        self._waits = Waits()
        self._routes: dict[int, list[Route]] = {}

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except (ClientError, Refused) as error:
            response = problems.answer(error)
        except (StoreUnavailable, Draining):
            response = busy(_LATER, 5)
        except Conflict:
            response = busy(_CROWDED, 1)
        except DataRejected:
            response = refusal(400, _UNFIT)
        except ClientDisconnect:
            return
        if request.method == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not (self._local() and _reached_locally(request.scope)):
            raise Refused(403, _NOT_HERE)
        if not self._routes:
            self._routes = _by_length(await self._given())
        segments = _segments(request.scope)
        found = [
            (route, path)
            for route in self._routes.get(len(segments), ())
            if (path := _variables(route.segments, segments)) is not None
        ]
        if not found:
            raise Refused(404, _NO_RESOURCE)
        method = "GET" if request.method == "HEAD" else request.method
        literal = min(len(path) for _, path in found)  # what is spelled out goes before a variable
        for route, path in found:
            if route.method == method and len(path) == literal:
                return await self._served(route, path, request)
        allowed = sorted({route.method for route, path in found if len(path) == literal})
        return refusal(405, f"This resource takes {', '.join(allowed)}.", {"Allow": ", ".join(allowed)})

    async def _served(self, route: Route, path: Mapping[str, str], request: Request) -> Response:
        if route.method != "GET" and _from_elsewhere(request):
            raise Refused(403, _OTHER_SITE)
        share = bodies.Share(self._bodies)
        try:
            given, media_type = await self._read(route, request, share)
            if request.method == "HEAD" and route.media_type == EVENTS:
                return Response(media_type=EVENTS)
            wait = self._waits.begin(request.receive)
            try:
                return _response(route, request, await route.handler(_call(route, path, request, given, media_type)))
            except asyncio.CancelledError:
                if not wait.gone:
                    raise
                raise ClientDisconnect from None
            finally:
                self._waits.end(wait)
        finally:
            share.give_back()

    async def _read(self, route: Route, request: Request, share: bodies.Share) -> tuple[bytes, str]:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        taken = route.media_types if route.body is not None else frozenset({JSON})
        typed = media_type in taken
        headers = {name: value for name, value in request.headers.raw if name != b"content-type"}
        try:
            body = await self._bodies.read({**headers, b"content-type": JSON.encode()}, request.receive, share)
        except bodies.Refused as error:
            if error.status == 413:  # noqa: PLR2004 - content too large
                raise Refused(413, f"The body is larger than {BODY_BYTES} bytes; send it in parts.") from None
            raise Refused(error.status, error.error.message) from None
        if body and not typed:
            raise Refused(415, f"The content type must be {' or '.join(sorted(taken))}.")
        if body and route.body is None:
            raise Refused(400, "This resource takes no body; leave it out.")
        if route.body is not None and not body and not route.body_optional:
            raise inputs.missing(lines=typed and media_type in LINES)
        return body, media_type


def _by_length(routes: Sequence[Route]) -> dict[int, list[Route]]:
    found: dict[int, list[Route]] = defaultdict(list)
    for route in (*routes, Description(routes).route):
        found[len(route.segments)].append(route)
    return found


def _call(
    route: Route, path: Mapping[str, str], request: Request, body: bytes, media_type: str
) -> Call[object, object]:
    given, broken = inputs.parsed(route, media_type, body) if body else ({}, {})
    return Call(
        Scope(),
        path,
        inputs.queried(route, request.query_params),
        None if route.body is None or route.merge else inputs.modelled(route.body, given),
        given,
        inputs.revisions(request.headers) if route.revised else None,
        request,
        broken,
    )


def _response(route: Route, request: Request, reply: Reply | Response) -> Response:
    if isinstance(reply, Response):
        return reply
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **reply.headers}
    if reply.revision is not None:
        headers["ETag"] = etag = f'"{reply.revision}"'
        headers["Cache-Control"] = "no-cache"
        if route.method == "GET" and has_it(request, etag):
            return Response(status_code=304, headers=headers)
    if reply.content is None:
        return Response(status_code=reply.status or route.status, headers=headers)
    body = reply.content.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, reply.status or route.status, headers, media_type=JSON)


def _segments(scope: HttpScope) -> tuple[str, ...]:
    """The path below the prefix, as it was written and then decoded piece by piece. Raises Refused."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    above = scope.get("root_path", "").rstrip("/").count("/") + _DEPTH
    pieces = raw.partition(b"?")[0].split(b"/")[1 + above - _DEPTH :]
    if pieces and not pieces[-1]:
        pieces.pop()
    try:
        decoded = tuple(unquote_to_bytes(piece).decode() for piece in pieces)
    except UnicodeDecodeError:
        raise Refused(404, "There is no such resource; its path is not UTF-8.") from None
    if decoded[:_DEPTH] != _ABOVE:  # a %2F stood where the prefix has a slash
        raise Refused(404, _NO_RESOURCE)
    return decoded[_DEPTH:]


def _variables(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    """The variables of a path; None = it is another one."""
    found: dict[str, str] = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not (0 < len(given) <= MAX_VARIABLE and given.isprintable()):
                return None
            found[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return found


def _from_elsewhere(request: Request) -> bool:
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}:
        return True
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _reached_locally(scope: HttpScope) -> bool:
    """Whether the address that the request came to is one of this machine alone, where that is known."""
    server = scope.get("server")
    if server is not None:
        with suppress(ValueError):  # a name, or a socket's path: nothing is known of it
            return ipaddress.ip_address(server[0]).is_loopback
    return True
