"""JSON-RPC over HTTP: the only way from a request to a method, through jsonrpcserver.

jsonrpcserver is entered where it calls a method, for one request at a time, with what `wire.jsonrpc` has read and
checked and `wire.versions` has looked up: its parser, its schema check, its task for every request and its binding of
arguments cost several times the call, and it would answer a whole batch with the error of one entry. That inner entry
is no public name, so
`tests/contracts/test_jsonrpcserver.py` holds each release to it. Every method is wrapped, because jsonrpcserver would
send the text of an unexpected exception to the client. Methods take two arguments by position, their context and the
params as they came, so that no client's parameter can be mistaken for anything else.

What comes out is either encoded JSON or a stream; `app` makes responses of them.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple, TypeAlias, TypeVar, cast

from jsonrpcserver import Error, Result, Success
from jsonrpcserver.async_dispatcher import call as call_method
from jsonrpcserver.request import Request as Named

from a2a_server.errors import (
    ClientError,
    Draining,
    ExtendedCardNotConfigured,
    InternalError,
    InvalidParams,
    InvalidRequest,
    Overloaded,
    PushNotSupported,
    StoreUnavailable,
    UnsupportedOperation,
)
from a2a_server.model.card import AgentCapabilities
from a2a_server.model.objects import Generation, Json, JsonObject, Scope
from a2a_server.model.requests import SendRequest, SubscribeRequest
from a2a_server.service.operations import Operations, Stream
from a2a_server.telemetry.observer import SILENT, UNKNOWN, Observer
from a2a_server.values import value_class
from a2a_server.wire import jsonrpc, pages, v10
from a2a_server.wire.operations import Operation
from a2a_server.wire.versions import Route, Wire, route, wire_of

_GENERATIONS: Final = {Generation.V01: "0.1", Generation.V03: "0.3", Generation.V10: "1.0"}

_log = logging.getLogger("a2a_server.web.rpc")


class Caller(NamedTuple):
    """What the HTTP request says beside its body.

    version: `A2A-Version`, '' = not said. last_event_id: `Last-Event-ID` as it came, None = absent.
    """

    scope: Scope
    version: str = ""
    last_event_id: str | None = None


@value_class(frozen=True, slots=True)
class Streaming:
    """The answer of a streaming method: each item of `stream` rendered by `wire` in an envelope with `id`."""

    stream: Stream
    wire: Wire
    id: jsonrpc.Id


class _Call(NamedTuple):
    caller: Caller
    route: Route
    base_url: str
    id: jsonrpc.Id


@value_class(frozen=True, slots=True)
class Busy:
    """An answer that says "try again later": HTTP 503 around the same body."""

    body: bytes
    retry_after_seconds: int


Answer: TypeAlias = bytes | Busy | Streaming
_Handler: TypeAlias = Callable[[_Call, JsonObject], Awaitable[bytes | Stream]]
_Method: TypeAlias = Callable[..., Awaitable[Result]]
_Resumable = TypeVar("_Resumable", SendRequest, SubscribeRequest)


class Dispatcher:
    """Answers JSON-RPC requests for one agent.

    base_url: where clients reach this server, known once it listens. capabilities: what the agent's card declares.
    """

    def __init__(
        self,
        operations: Operations,
        base_url: Callable[[], str],
        capabilities: AgentCapabilities | None = None,
        observer: Observer = SILENT,
    ) -> None:
        capabilities = capabilities or AgentCapabilities()
        no_stream = _refuse(
            UnsupportedOperation("The card says that this agent does not stream; send and read the task.")
        )
        self._operations = operations
        self._base_url = base_url
        self._observer = observer
        handlers: Mapping[Operation, _Handler] = {
            Operation.SEND: self._send,
            Operation.STREAM: no_stream if capabilities.streaming is False else self._stream,
            Operation.GET: self._get,
            Operation.CANCEL: self._cancel,
            Operation.SUBSCRIBE: no_stream if capabilities.streaming is False else self._subscribe,
            Operation.LIST: self._list,
            Operation.EXTENDED_CARD: _no_extended_card,
            **dict.fromkeys(
                (Operation.PUSH_SET, Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE),
                _refuse(PushNotSupported()),
            ),
        }
        self._methods: Final[dict[str, _Method]] = {
            operation: _method(operation, handler) for operation, handler in handlers.items()
        }

    async def answer(self, body: bytes, caller: Caller) -> Answer | None:
        """The answer to a request's body; None when it holds notifications only. Never raises for bad input."""
        try:
            document = jsonrpc.read(body)
            entries = jsonrpc.entries(document)
        except ClientError as error:
            self.note(time.perf_counter(), None, error.code)
            return jsonrpc.failure(None, v10.render_error(error))
        if isinstance(document, dict):
            return await self._entry(document, caller, len(body), batch=False)
        answers = [await self._entry(entry, caller, len(body), batch=True) for entry in entries]
        encoded = [
            answer.body if isinstance(answer, Busy) else answer
            for answer in answers
            if isinstance(answer, (Busy, bytes))
        ]
        return b"[" + b",".join(encoded) + b"]" if encoded else None

    async def _entry(self, entry: Json, caller: Caller, size: int, *, batch: bool) -> Answer | None:
        began_at = time.perf_counter()
        wire: Wire = v10
        served: Route | None = None
        try:
            request = jsonrpc.check(entry)
        except ClientError as error:
            self.note(began_at, None, error.code)
            return jsonrpc.failure(jsonrpc.identify(entry), v10.render_error(error))
        try:
            served = route(request.method, caller.version)
            wire = served.wire
            if request.params is not None and not isinstance(request.params, dict):
                raise InvalidParams("params must be an object", path="params")
            if served.operation.streams and (batch or request.notification):
                raise InvalidRequest(
                    "A streaming method cannot be part of a batch; send it alone."
                    if batch
                    else "A streaming method needs an id, which every event of its answer carries."
                )
            jsonrpc.check_limits(entry, size)
        except ClientError as error:
            self.note(began_at, served, error.code)
            return None if _silent(request, error) else jsonrpc.failure(request.id, wire.render_error(error))
        context = _Call(caller, served, self._base_url(), request.id)
        named = Named(served.operation, [request.params or {}], request.id)
        result = _outcome(await call_method(named, context, self._methods[served.operation]))
        self.note(began_at, served, result.code if isinstance(result, ClientError) else 0)
        if request.notification:
            return None
        if isinstance(result, bytes):
            return result
        if isinstance(result, Stream):
            return Streaming(result, wire_of(result.generation), request.id)
        failure = jsonrpc.failure(request.id, wire.render_error(result))
        return Busy(failure, result.retry_after_seconds) if isinstance(result, Overloaded) else failure

    def note(self, began_at: float, served: Route | None, code: int) -> None:
        """Count an answer, and log it for whoever debugs. code: of the error, 0 = success. Ids and names, no bodies."""
        generation = UNKNOWN if served is None else _GENERATIONS[served.wire.GENERATION]
        method = UNKNOWN if served is None else served.operation
        seconds = time.perf_counter() - began_at
        self._observer.answered(generation, method, code, seconds)
        if _log.isEnabledFor(logging.DEBUG):
            fields = {"method": method, "generation": generation, "code": code, "seconds": round(seconds, 6)}
            _log.debug("Answered a request.", extra=fields)

    async def _send(self, call: _Call, params: JsonObject) -> bytes:
        request = call.route.wire.parse_send(params)
        answer = await self._operations.send(call.caller.scope, request)
        return jsonrpc.success(call.id, call.route.wire.render_send(answer, call.base_url))

    async def _stream(self, call: _Call, params: JsonObject) -> Stream:
        request = call.route.wire.parse_send(params)
        return await _resumed(call.caller, request, self._operations.stream)

    async def _get(self, call: _Call, params: JsonObject) -> bytes:
        task = await self._operations.get(call.caller.scope, call.route.parse_get(params))
        return jsonrpc.success(call.id, call.route.answering(task.generation).render_task(task, call.base_url))

    async def _list(self, call: _Call, params: JsonObject) -> bytes:
        page = await self._operations.list(call.caller.scope, pages.parse_list(params))
        shown = pages.render_list(page.tasks, page.next_token, page.page_size, page.total, call.base_url)
        return jsonrpc.success(call.id, shown)

    async def _cancel(self, call: _Call, params: JsonObject) -> bytes:
        task = await self._operations.cancel(call.caller.scope, call.route.wire.parse_cancel(params))
        return jsonrpc.success(call.id, call.route.answering(task.generation).render_task(task, call.base_url))

    async def _subscribe(self, call: _Call, params: JsonObject) -> Stream:
        request = call.route.parse_subscribe(params)
        return await _resumed(call.caller, request, self._operations.subscribe)


def _method(operation: Operation, handler: _Handler) -> _Method:
    async def call(context: _Call, params: JsonObject, /) -> Result:
        try:
            return Success(await handler(context, params))
        except ClientError as error:
            return _refused(error)
        except StoreUnavailable:
            return _refused(Overloaded("The store does not answer at the moment; try again.", retry_after_seconds=2))
        except Draining:
            return _refused(Overloaded("The server is stopping; try again.", retry_after_seconds=1))
        except Exception:  # noqa: BLE001 - the RPC edge: logged here, and clients learn only its number
            error_id = new_error_id()
            _log.exception("Internal error %s in %s.", error_id, operation, extra={"error_id": error_id})
            return _refused(InternalError(error_id=error_id))

    return call


def new_error_id() -> str:
    """What names an internal error in its answer and in the log."""
    return secrets.token_hex(6)


def _outcome(result: Result) -> bytes | Stream | ClientError:
    """The result of a success, or the data of an error."""
    (outcome,) = vars(result).values()  # jsonrpcserver's Either offers no other way to what it holds
    return cast("bytes | Stream | ClientError", outcome[-1])


def _refused(error: ClientError) -> Result:
    return Error(error.code, error.message, error)


async def _resumed(
    caller: Caller, request: _Resumable, operation: Callable[[Scope, _Resumable], Awaitable[Stream]]
) -> Stream:
    header = caller.last_event_id
    if header is None:
        return await operation(caller.scope, request)
    if not (header.isascii() and header.isdecimal() and len(header) <= 18):  # noqa: PLR2004 - below 2**63
        raise InvalidParams("Last-Event-ID must be the number of an event", path="Last-Event-ID")
    try:
        return await operation(caller.scope, replace(request, after=int(header)))
    except InvalidParams as error:
        if error.path != "metadata.afterEvent":
            raise
        raise InvalidParams(error.message, path="Last-Event-ID") from None


def _refuse(error: ClientError) -> _Handler:
    async def refuse(call: _Call, params: JsonObject) -> bytes:  # noqa: ARG001 - the handlers' shape
        raise type(error)(error.message)

    return refuse


async def _no_extended_card(call: _Call, params: JsonObject) -> bytes:  # noqa: ARG001 - the handlers' shape
    if call.route.wire.GENERATION is Generation.V03:  # it has no other word for it
        raise ExtendedCardNotConfigured
    raise UnsupportedOperation("The card declares no extended card.")


def _silent(request: jsonrpc.Request, error: ClientError) -> bool:
    return request.notification and not isinstance(error, InvalidRequest)
