"""What stands around every route: whom the request was meant for, and an answer where code broke.

Against DNS rebinding: a browser that was made to believe that a foreign name is this machine says that name in `Host`.
JSON content types and the absence of CORS headers keep out what other sites' pages send to the right name.

Source: RFC 9110 section 7.2, RFC 9112 section 3.2.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from a2a_server.web.protocol import abort_of
from a2a_server.web.rpc import new_error_id

LOCAL = ("127.0.0.1", "::1", "localhost")
ANY = "*"
REMEMBERED = 128
"""How many forms of `Host` are remembered: names come with any port."""

_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
_log = logging.getLogger("a2a_server.web.guards")


def allowed_names(host: str, public_url: str, more: Iterable[str]) -> frozenset[str]:
    """The names that requests may be meant for: this machine's own, the bound and the public one, and `more`."""
    public = urlsplit(public_url).hostname or ""
    return frozenset(_name(name) for name in (*LOCAL, host, public, *more) if name)


class Names:
    """The names that requests may be meant for. `*` among them allows every one."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._ours = lru_cache(REMEMBERED)(self._are_ours)

    def named_once(self, scope: Scope) -> bool:
        """Whether the request says `Host` once, and one of these names in it."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and self._ours(hosts[0])

    def _are_ours(self, host: bytes) -> bool:
        return ANY in self._allowed or _host(host.decode("latin-1")) in self._allowed


class HostCheck:
    """Refuses requests whose `Host` is none of `allowed` (400), before anything of their body is read.

    The port does not matter: a name that is ours is ours at any. `*` among them allows every name. Without `Host` only
    HTTP/1.0 from this machine is served.
    """

    def __init__(self, app: ASGIApp, allowed: frozenset[str]) -> None:
        self._app = app
        self._names = Names(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, or the refusal."""
        if scope["type"] != "http" or self._names.named_once(scope) or self._nameless(scope):
            await self._app(scope, receive, send)
            return
        text = "The Host header names no host of this server; its name belongs into the setting allowed_hosts.\n"
        await PlainTextResponse(text, 400, {"Connection": "close"})(scope, receive, send)

    def _nameless(self, scope: Scope) -> bool:
        named = any(name == b"host" for name, _ in scope["headers"])
        return not named and scope["http_version"] == "1.0" and _local(scope)


class LastResort:
    """Answers 500 where code broke: the client learns a number, the log the rest, once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, or the number."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        except Exception:  # noqa: BLE001 - the HTTP edge: logged here, and clients learn only its number
            await broke(scope, receive, send, begun=begun)


async def broke(scope: Scope, receive: Receive, send: Send, *, begun: bool) -> None:
    """Log the exception that is being handled, and answer 500; cut the connection where an answer has begun."""
    error_id = new_error_id()
    where = scope["method"], ascii(scope["path"])
    _log.exception("Internal error %s in %s %s.", error_id, *where, extra={"error_id": error_id})
    if begun:
        abort_of(scope)()
        await asyncio.sleep(0)  # the connection learns that it is lost
        return
    body = orjson.dumps({"error": "Internal error", "errorId": error_id})
    await Response(body, 500, media_type="application/json")(scope, receive, send)


def _host(header: str) -> str:
    found = _HOST.fullmatch(header)
    return _name(found[1]) if found else ""


def _name(name: str) -> str:
    return name.strip().lower().removesuffix(".").removeprefix("[").removesuffix("]")


def _local(scope: Scope) -> bool:
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
