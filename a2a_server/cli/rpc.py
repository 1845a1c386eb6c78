"""One A2A 1.0 server over HTTP: calls, streams, files, and what their failures mean. Following a task is `follow`."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, NamedTuple, Self, TypeAlias
from urllib.parse import quote

import httpx2

from a2a_server.cli import sse
from a2a_server.cli.failures import BusyError, CommandError, RpcError, UnauthorizedError, UnreachableError, UsageError
from a2a_server.cli.invoked import command
from a2a_server.model.objects import EVENT_URI

Json: TypeAlias = dict[str, Any]

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 45.0  # three heartbeats of a stream
MOST_REDIRECTS = 3
PIECE_BYTES = 256 * 1024
_UNSUPPORTED = -32004


class Item(NamedTuple):
    """One answer of a stream, and the number of its event where the server numbers them."""

    n: int | None
    result: Json


class BrokenError(Exception):
    """The connection broke after the request may have arrived. `quiet`: it only said nothing for too long."""

    def __init__(self, reason: str, *, quiet: bool = False) -> None:
        self.quiet = quiet
        super().__init__(reason)


class Connection:
    """Talks to the server at `url`; use it as an asynchronous context manager.

    Every method raises UnreachableError where nothing listens, UnauthorizedError, BusyError, RpcError for the
    protocol's errors, BrokenError, and CommandError for answers that no A2A server gives.
    """

    def __init__(self, url: str, token: str = "", transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.url = url
        headers = {"A2A-Version": "1.0", "Accept": "application/json, text/event-stream"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise UsageError(f"--url: {error}: {url!r}") from error
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise UsageError(f"--url must begin with http:// or https:// and name a host: {url!r}")
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_local(parsed.host),  # a proxy for the web must not get what is for this machine
            transport=transport,
        )
        self._address = parsed
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def call(self, method: str, params: Json) -> Json:
        """The result of one request."""
        async with self._post(method, params, {}) as response:
            return _result(await _document(response, self.url))

    async def stream(self, method: str, params: Json, after: int | None = None) -> AsyncGenerator[Item, None]:
        """The items of one stream, from event `after` + 1 where given. Ends when the server closes it."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self._post(method, params, headers) as response:
            if _media_type(response) != "text/event-stream":
                yield Item(None, _result(await _document(response, self.url)))
                return
            reader = sse.Reader()
            async for chunk in response.aiter_bytes():
                for event in reader.feed(chunk):
                    yield _item(event, self.url)

    async def upload(self, file: BinaryIO, name: str, media_type: str) -> Json:
        """What the server says of a file that it took: `id`, `url`, `size` and more. The file is sent as it is read."""
        headers = {
            "Accept": "application/json",
            "Content-Type": media_type,
            "Content-Length": str(os.fstat(file.fileno()).st_size - file.tell()),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        }
        async with (
            self.sending(),
            self._client.stream("POST", self.below("artifacts"), content=_pieces(file), headers=headers) as response,
        ):
            if response.status_code in {404, 405}:
                raise CommandError(f"{self.url} takes no uploads; send files of at most 64 KiB, or by an address")
            if response.status_code != httpx2.codes.CREATED:
                await refuse(response, self.url)
            document = await _document(response, self.url)
        if not isinstance(document.get("url"), str):
            raise CommandError("the server's answer to an upload has no url")
        return document

    @asynccontextmanager
    async def download(self, address: httpx2.URL, headers: dict[str, str]) -> AsyncIterator[httpx2.Response]:
        """The response to a GET, whatever its status, unread. The token goes to the server's own origin alone."""
        request = self._client.build_request("GET", address, headers={"Accept-Encoding": "identity", **headers})
        if not self.is_own(address):
            request.headers.pop("authorization", None)
        async with self.sending():
            response = await self._client.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()

    @property
    def http(self) -> httpx2.AsyncClient:
        """What requests are sent by."""
        return self._client

    def below(self, path: str) -> httpx2.URL:
        """The address of a path under the server's, without query."""
        return self._address.copy_with(path=f"{self._address.path.rstrip('/')}/{path}", query=None, fragment=None)

    def is_own(self, address: httpx2.URL) -> bool:
        """Whether the address lies on the server's own origin; all names of this machine are one host."""
        own = self._address
        here = own.host == address.host or (is_local(own.host) and is_local(address.host))
        return here and (own.scheme, _port(own)) == (address.scheme, _port(address))

    @asynccontextmanager
    async def _post(self, method: str, params: Json, headers: dict[str, str]) -> AsyncIterator[httpx2.Response]:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        # Compressors hold chunks back.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        body = json.dumps(request).encode()
        async with self.sending():
            for _ in range(MOST_REDIRECTS):
                async with self._client.stream("POST", self._address, content=body, headers=headers) as response:
                    if (moved := _moved(response)) is not None:
                        self._address = moved
                        continue
                    if response.status_code != httpx2.codes.OK:
                        await refuse(response, self.url)
                    yield response
                    return
            raise _stranger(self.url, "redirects in a circle")

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Say what a failure of the connection means, in whatever is done inside."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol) as error:
            reason = "no answer" if isinstance(error, httpx2.ConnectTimeout) else _reason(error)
            raise UnreachableError(
                f"cannot reach {self.url} ({reason}). Start a server there, for example with `{command('demo')}`, "
                "or name another with --url."
            ) from error
        except httpx2.ReadTimeout as error:
            raise BrokenError("no sign of life", quiet=True) from error
        except httpx2.TransportError as error:
            raise BrokenError(_reason(error)) from error


def is_unsupported(error: RpcError) -> bool:
    """The task or the agent does not take the operation now (UnsupportedOperationError)."""
    return error.code == _UNSUPPORTED


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece


def _port(url: httpx2.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _moved(response: httpx2.Response) -> httpx2.URL | None:
    # A mounted server answers so where the address lacks its last slash. What another origin says is not followed:
    # it would get the token and the message.
    location = response.headers.get("location")
    if response.status_code not in {307, 308} or not location:
        return None
    here = response.request.url
    there = here.join(location)
    same = (here.scheme, here.host, here.port) == (there.scheme, there.host, there.port)
    return there if same else None


def is_local(host: str) -> bool:
    """Whether the host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _media_type(response: httpx2.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _document(response: httpx2.Response, url: str) -> Json:
    await response.aread()
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _stranger(url, f"{_media_type(response) or 'no content type'}, HTTP {response.status_code}")
    return document


def _stranger(url: str, what: str) -> CommandError:
    return CommandError(f"{url} does not answer as an A2A server ({what}). Check --url.")


def _result(document: Json) -> Json:
    error = document.get("error")
    if isinstance(error, dict):
        raise RpcError(int(error.get("code", 0)), _error_text(error))
    result = document.get("result")
    if not isinstance(result, dict):
        raise CommandError("the server's answer has neither a result nor an error")
    return result


def _error_text(error: Json) -> str:
    text = str(error.get("message") or "unnamed error")
    details = error.get("data")
    for detail in error.get("details") or ():
        field, rule = str(detail.get("field", "")), str(detail.get("rule", ""))
        text = text if field in text and rule in text else f"{text} ({field}: {rule})"
    for detail in details if isinstance(details, list) else ():
        for violation in detail.get("fieldViolations", ()) if isinstance(detail, dict) else ():
            field, description = str(violation.get("field", "")), str(violation.get("description", ""))
            more = ": ".join(part for part in (field, description) if part and part not in text)
            text = f"{text} ({more})" if more else text
    return text


async def refuse(response: httpx2.Response, url: str) -> None:
    """Raise what an answer that is no success means."""
    status = response.status_code
    await response.aread()
    try:
        error = response.json().get("error")
    except (ValueError, AttributeError):
        error = None
    told = _error_text(error) if isinstance(error, dict) else ""
    if status in {401, 403}:
        way_out = "Give a token with --token or A2A_TOKEN." if status == httpx2.codes.UNAUTHORIZED else ""
        raise UnauthorizedError(f"{url}: {told or f'not allowed (HTTP {status})'}. {way_out}".rstrip())
    if status in {429, 502, 503, 504}:
        raise BusyError(f"{url}: {told or f'busy (HTTP {status})'}")
    if isinstance(error, dict):
        raise RpcError(int(error.get("code", 0)), told)
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        raise CommandError(f"the server at {url} failed (HTTP {status}); its log says why.")
    raise _stranger(url, f"HTTP {status}")


def _item(event: sse.ServerEvent, url: str) -> Item:
    try:
        document = json.loads(event.data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _stranger(url, "an event that is no JSON object")
    result = _result(document)
    if event.id is not None and event.id.isascii() and event.id.isdigit():
        return Item(int(event.id), result)
    return Item(_number(result), result)


def _number(result: Json) -> int | None:
    for inner in result.values():
        metadata = inner.get("metadata") if isinstance(inner, dict) else None
        note = metadata.get(EVENT_URI) if isinstance(metadata, dict) else None
        if isinstance(note, dict) and isinstance(note.get("n"), int):
            return int(note["n"])
    return None
