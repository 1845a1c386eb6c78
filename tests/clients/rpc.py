"""One JSON-RPC exchange over HTTP, answered by one object or by a stream of them. What both test clients stand on.

Nothing is forgiven: another content type, another request's id, or a result beside an error is a `BadAnswer`.
Transport errors (`httpx2.TransportError`: refused, reset, cut off, timed out) pass through, because drills cause them.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.clients.sse import SseParser, read_events
from tests.patience import PATIENCE

JsonObject = dict[str, Any]


class BadAnswer(Exception):
    """The server said something that the protocol does not allow."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response object as it came; `sse_id` is the event's id line, None outside of streams or where it has none."""

    body: JsonObject
    sse_id: str | None = None


def new_http(timeout_seconds: float = PATIENCE, connections: int = 200) -> httpx2.AsyncClient:
    """A client for one server: every wait is bounded, proxies of the environment are ignored."""
    return httpx2.AsyncClient(
        timeout=timeout_seconds,
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        trust_env=False,
        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # plain HTTP: to load the usual authorities takes 20 ms
    )


async def post(http: httpx2.AsyncClient, url: str, body: JsonObject, headers: Mapping[str, str]) -> JsonObject:
    """The response object for one request.

    Raises:
        httpx2.HTTPStatusError: the HTTP status is an error.
        BadAnswer: the answer is not this request's JSON-RPC response.
    """
    response = await http.post(url, json=body, headers=dict(headers))
    response.raise_for_status()
    return checked(response.content, body["id"])


async def post_stream(
    http: httpx2.AsyncClient,
    url: str,
    body: JsonObject,
    headers: Mapping[str, str],
    parser: SseParser | None = None,
) -> AsyncGenerator[Answer]:
    """The response objects of a stream; a plain JSON answer (an error before the first event) comes out as one.

    Closing the generator closes the connection, so leaving it early cuts the stream.

    Raises:
        httpx2.HTTPStatusError: the HTTP status is an error.
        BadAnswer: an answer is not this request's JSON-RPC response.
    """
    asked = {"Accept": "text/event-stream", **headers}
    async with http.stream("POST", url, json=body, headers=asked) as response:
        if response.is_error:
            await response.aread()
            response.raise_for_status()
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "application/json":
            yield Answer(checked(await response.aread(), body["id"]))
            return
        if kind != "text/event-stream":
            raise BadAnswer(f"a stream of type {kind!r}")
        async with aclosing(response.aiter_bytes()) as chunks, aclosing(read_events(chunks, parser)) as events:
            async for event in events:
                yield Answer(checked(event.data, body["id"]), event.id)


def checked(text: str | bytes, request_id: str | int) -> JsonObject:
    """The response object in `text`.

    Raises:
        BadAnswer: it is not JSON, no JSON-RPC response, or another request's.
    """
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadAnswer(f"not JSON: {text[:200]!r}") from error
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise BadAnswer(f"no JSON-RPC response: {text[:200]!r}")
    if body.get("id") != request_id:
        raise BadAnswer(f"asked as {request_id!r}, answered to {body.get('id')!r}")
    if ("result" in body) == ("error" in body):
        raise BadAnswer("either a result or an error must be there, never both")
    return body
