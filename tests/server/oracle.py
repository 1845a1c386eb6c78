"""What bad input gets: each row of errors.md as a function from (generation, operation) to what is tried and answered.

Each row says something of every operation, if only that it does not apply; an operation or a generation that a row says
nothing of is an error when the table is made. What breaks the rules of single fields is in `fields_broken`.

Not here yet, because it is not there yet: authentication, rate limits, media types of messages, required extensions,
configured extended cards, push notifications.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from a2a_server.wire.operations import Operation
from tests.server import fields_broken
from tests.server.asked import CONTEXT, METHODS, PUSH_CONFIG, Json, Stage, good, put

LIMIT_BYTES = 10 * 1024 * 1024
SENDS = frozenset({Operation.SEND, Operation.STREAM})
BY_ID = frozenset({Operation.GET, Operation.CANCEL, Operation.SUBSCRIBE})
PUSH = frozenset({Operation.PUSH_SET, Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE})
LIST = frozenset({Operation.LIST})
CARD = frozenset({Operation.EXTENDED_CARD})
STREAMS = frozenset({Operation.STREAM, Operation.SUBSCRIBE})
EVERY = SENDS | BY_ID | PUSH | LIST | CARD


@dataclass(frozen=True)
class Answer:
    """What comes back. field: which one the error names, '' = none. says: what its text must hold.

    style: the generation whose error object it is; before a method is known that is the newest.
    """

    code: int
    field: str = ""
    id: object = 7
    http: int = 200
    says: str = ""
    style: str = ""


@dataclass(frozen=True)
class Try:
    """One input. body: the request object, an array of them, or bytes as they are, made when the stage stands."""

    name: str
    body: Callable[[Stage], object]
    answer: Answer
    headers: Mapping[str, str] = field(default_factory=dict)


Tries: TypeAlias = tuple[Try, ...]
Row: TypeAlias = Callable[[str, Operation], Tries]

ROWS: dict[str, Row] = {}
"""By what errors.md calls the input."""


def row(line: str) -> Callable[[Row], Row]:
    def add(function: Row) -> Row:
        assert line not in ROWS
        ROWS[line] = function
        return function

    return add


def product() -> Iterator[tuple[str, str, Operation, Try]]:
    """Every row × method × generation × try."""
    for line, tries in ROWS.items():
        for generation, methods in METHODS.items():
            for operation in methods:
                for one in tries(generation, operation):
                    yield line, generation, operation, one


def by(operation: Operation, *groups: tuple[Collection[Operation], Tries]) -> Tries:
    """The tries of the one group that has the operation."""
    [tries] = [tries for operations, tries in groups if operation in operations]
    return tries


def about(generation: str, operation: Operation, *changes: tuple[str, object]) -> Callable[[Stage], Json]:
    """The good request about the task at work, with changes."""

    def body(stage: Stage) -> Json:
        request = good(generation, operation, stage.working)
        for path, value in changes:
            request = put(request, path, value(stage) if callable(value) else value)
        return request

    return body


def raw(generation: str, operation: Operation, text: bytes) -> Callable[[Stage], bytes]:
    """The good request with `text` as the value of one more member of its params."""

    def body(stage: Stage) -> bytes:
        request = good(generation, operation, stage.working)
        params = request.get("params", {})
        return json.dumps(request | {"params": {**params, "more": "HERE"}}).encode().replace(b'"HERE"', text)

    return body


@row("not JSON, bad UTF-8, lone surrogate, NaN/Infinity, deeper than 64, an integer ≥ 2^64 or absurdly long")
def unreadable(generation: str, operation: Operation) -> Tries:
    answer = Answer(-32700, id=None, style="1.0")
    values = {
        "no value": b"",
        "a word": b"undefined",
        "two values": b"1 2",
        "bad UTF-8": b'"\xff"',
        "a lone surrogate": b'"\\ud800"',
        "NaN": b"NaN",
        "Infinity": b"-Infinity",
        "depth 65": b"[" * 63 + b"]" * 63,
        "depth 100000": b"[" * 100_000,
        "2**64": b"18446744073709551616",
        "-2**63 - 1": b"-9223372036854775809",
        "5000 digits": b"9" * 5000,
    }
    return by(
        operation,
        (EVERY, tuple(Try(name, raw(generation, operation, text), answer) for name, text in values.items())),
    )


@row("jsonrpc not 2.0; method missing or not a string; id an object, array or boolean")
def no_request(generation: str, operation: Operation) -> Tries:
    wrong: list[tuple[str, object, object]] = [
        ("/jsonrpc", ..., 7),
        ("/jsonrpc", "1.0", 7),
        ("/jsonrpc", 2.0, 7),
        ("/method", ..., 7),
        ("/method", 1, 7),
        ("/method", None, 7),
        ("/id", {}, None),
        ("/id", [1], None),
        ("/id", True, None),
    ]
    return by(
        operation,
        (
            EVERY,
            tuple(
                Try(f"{path} {value}", about(generation, operation, (path, value)), Answer(-32600, id=id, style="1.0"))
                for path, value, id in wrong
            ),
        ),
    )


@row("unknown method; method of no generation")
def unknown_method(generation: str, operation: Operation) -> Tries:
    method = METHODS[generation][operation]
    near = (method.swapcase(), f"{method} ", f"/{method}", f"{method}\0", "", "call", "rpc.discover", "x" * 1000)
    answer = Answer(-32601, style="1.0")
    tries = [Try(ascii(name)[:40], about(generation, operation, ("/method", name)), answer) for name in near]
    explicit = {"A2A-Version": "1.0"}
    return by(
        operation,
        (EVERY, (*tries, Try("1.0", about(generation, operation, ("/method", "tasks/list")), answer, explicit))),
    )


@row("params missing or not an object where one is needed")
def no_params(generation: str, operation: Operation) -> Tries:
    shapes: tuple[object, ...] = ([], [1], "text", 1, True)
    wrong = tuple(
        Try(f"{value!r}", about(generation, operation, ("/params", value)), Answer(-32602, "params"))
        for value in shapes
    )

    def none(field: str) -> Tries:
        absent: tuple[object, ...] = (..., None, {})
        return wrong + tuple(
            Try(f"{value!r}", about(generation, operation, ("/params", value)), Answer(-32602, field))
            for value in absent
        )

    return by(
        operation,
        (SENDS, none("id" if generation == "0.1" else "message")),
        (BY_ID, none("id")),
        (PUSH | LIST | CARD, wrong),  # push and the card are refused whatever they say; a list needs no params
    )


@row("missing, wrong-typed or empty required fields; a part without or with a wrong kind; negative historyLength; …")
def broken_fields(generation: str, operation: Operation) -> Tries:
    tries = tuple(
        Try(f"{path} = {value!r:.60}", about(generation, operation, (path, value)), Answer(-32602, named))
        for path, value, named in fields_broken.of(generation, operation)
    )
    return by(operation, (SENDS | BY_ID | LIST, tries), (PUSH | CARD, ()))


@row("A2A-Version not served (9.9), or a method that its explicit version does not have")
def versions(generation: str, operation: Operation) -> Tries:
    method = METHODS[generation][operation]
    has = {version for version, methods in METHODS.items() if method in methods.values()}
    wrong = ["9.9", "2.0", "1.1", "0.4", "1", "x", "1.0 beta", *sorted(set(METHODS) - has)]
    answer = Answer(-32009, style="1.0")
    return by(
        operation,
        (
            EVERY,
            tuple(Try(version, about(generation, operation), answer, {"A2A-Version": version}) for version in wrong),
        ),
    )


@row("more keys, longer strings or longer ids than the limits")
def limits(generation: str, operation: Operation) -> Tries:
    many = dict.fromkeys(map(str, range(10_001)), 0)
    long = "x" * (8 * 1024 * 1024 + 1)
    tries: list[Try] = [
        Try("keys", about(generation, operation, ("more", many)), Answer(-32602, "more", says="10000")),
        Try("values", about(generation, operation, ("more", [1] * 100_001)), Answer(-32602, "more", says="100000")),
        Try("string", about(generation, operation, ("more", long)), Answer(-32602, "more", says="8388608")),
        Try("name", about(generation, operation, ("more", {long: 1})), Answer(-32602, "more", says="8388608")),
    ]
    return by(operation, (EVERY, tuple(tries)))


@row("unknown task, or not the caller's")
def unknown_task(generation: str, operation: Operation) -> Tries:
    at = "id" if operation in BY_ID else "message.taskId"
    tries = (
        Try("unknown", about(generation, operation, (at, "nobody knows it")), Answer(-32001)),
        Try("foreign", about(generation, operation, (at, lambda stage: stage.foreign)), Answer(-32001)),
    )
    made_by_clients = generation == "0.1"
    return by(operation, (BY_ID, tries), (SENDS, () if made_by_clients else tries), (PUSH | LIST | CARD, ()))


@row("cancel of a terminal task")
def cancel_of_terminal(generation: str, operation: Operation) -> Tries:
    tries = tuple(
        Try(state, about(generation, operation, ("id", lambda stage, state=state: stage.ended[state])), Answer(-32002))
        for state in ("completed", "failed", "rejected", "canceled")
    )
    return by(operation, ({Operation.CANCEL}, tries), (EVERY - {Operation.CANCEL}, ()))


@row("message to a terminal task; message to a task that is not interrupted")
def message_out_of_turn(generation: str, operation: Operation) -> Tries:
    at = "id" if generation == "0.1" else "message.taskId"
    ended = tuple(
        Try(state, about(generation, operation, (at, lambda stage, state=state: stage.ended[state])), Answer(-32004))
        for state in ("completed", "failed", "rejected", "canceled")
    )
    working = Try("working", about(generation, operation, (at, lambda stage: stage.working)), Answer(-32004))
    return by(operation, (SENDS, (*ended, working)), (EVERY - SENDS, ()))


@row("1.0 SubscribeToTask or 0.3 resubscribe of a terminal task without Last-Event-ID or afterEvent")
def subscribe_to_terminal(generation: str, operation: Operation) -> Tries:
    tries = tuple(
        Try(state, about(generation, operation, ("id", lambda stage, state=state: stage.ended[state])), Answer(-32004))
        for state in ("completed", "failed", "rejected", "canceled")
    )
    streams_its_end = generation == "0.1"
    return by(
        operation,
        ({Operation.SUBSCRIBE}, () if streams_its_end else tries),
        (EVERY - {Operation.SUBSCRIBE}, ()),
    )


@row("contextId that is not the task's")
def wrong_context(generation: str, operation: Operation) -> Tries:
    at, context = "id" if generation == "0.1" else "message.taskId", CONTEXT[generation]
    tries = tuple(
        Try(name, about(generation, operation, (at, task), (context, "another")), Answer(-32602, context))
        for name, task in (
            ("working", lambda stage: stage.working),
            ("ended", lambda stage: stage.ended["completed"]),
        )
    )
    return by(operation, (SENDS, tries), (EVERY - SENDS, ()))


@row("Last-Event-ID/afterEvent not a number, or beyond the last event")
def no_such_event(generation: str, operation: Operation) -> Tries:
    if operation is Operation.SUBSCRIBE:
        body = about(generation, operation, ("id", lambda stage: stage.ended["completed"]))
    else:
        body = about(generation, operation, ("/params", lambda stage: stage.sent))
    texts = ("x", "-1", "1.5", "5", "99", "9" * 18, "9" * 20, "0x1")
    header = "Last-Event-ID"
    named = [Try(f"{header} {text}", body, Answer(-32602, header), {header: text}) for text in texts]
    numbers: tuple[object, ...] = ("4", "x", -1, 1.5, True, [], {"n": 1}, 5, 99, 2**62)
    given = [
        Try(
            f"afterEvent {value!r}",
            lambda stage, value=value: put(body(stage), "metadata.afterEvent", value),  # type: ignore[misc]  # bound in the loop
            Answer(-32602, "metadata.afterEvent"),
        )
        for value in numbers
    ]
    return by(operation, (STREAMS, (*named, *given)), (EVERY - STREAMS, ()))


@row("push methods where not declared")
def push(generation: str, operation: Operation) -> Tries:
    config = PUSH_CONFIG[generation]
    named = config if generation != "1.0" else ""  # 1.0 names fields of invalid params only
    says = "Push Notification is not supported"
    with_a_send = Try(
        "in a send", about(generation, operation, (config, {"url": "https://a.b"})), Answer(-32003, named, says=says)
    )
    refused = (
        Try("good", about(generation, operation), Answer(-32003, says=says)),
        Try("empty", about(generation, operation, ("/params", {})), Answer(-32003, says=says)),
    )
    return by(operation, (PUSH, refused), (SENDS, (with_a_send,)), (BY_ID | LIST | CARD, ()))


@row("extended card: not declared")
def extended_card(generation: str, operation: Operation) -> Tries:
    answer = Answer(-32007 if generation == "0.3" else -32004)
    tries = (
        Try("without params", about(generation, operation), answer),
        Try("with params", about(generation, operation, ("/params", {})), answer),
    )
    return by(operation, (CARD, tries), (EVERY - CARD, ()))


@row("request content type other than application/json, application/a2a+json; any Content-Encoding")
def content_types(generation: str, operation: Operation) -> Tries:
    answer = Answer(-32005, id=None, http=415, style="1.0")
    types = ("", "text/plain", "text/json", "application/jsonx", "application/x-www-form-urlencoded", "application/*")
    codings = ("gzip", "br", "deflate", "identity, gzip", "x")
    body = about(generation, operation)
    return by(
        operation,
        (
            EVERY,
            (
                *(Try(f"type {kind}", body, answer, {"Content-Type": kind}) for kind in types),
                *(Try(f"coding {coding}", body, answer, {"Content-Encoding": coding}) for coding in codings),
            ),
        ),
    )


@row("body over the limit")
def body_too_large(generation: str, operation: Operation) -> Tries:
    def body(stage: Stage) -> bytes:
        return json.dumps(good(generation, operation, stage.working)).encode().ljust(LIMIT_BYTES + 1)

    answer = Answer(-32600, id=None, http=413, says=str(LIMIT_BYTES), style="1.0")
    return by(operation, (EVERY, (Try("one byte too long", body, answer),)))


@row("notification: a streaming method needs an id")
def streaming_notification(generation: str, operation: Operation) -> Tries:
    one = Try("no id", about(generation, operation, ("/id", ...)), Answer(-32600, id=None))
    return by(operation, (STREAMS, (one,)), (EVERY - STREAMS, ()))


@row("batch of more than 100")
def long_batch(generation: str, operation: Operation) -> Tries:
    def body(stage: Stage) -> object:
        return [good(generation, operation, stage.working)] * 101

    return by(operation, (EVERY, (Try("101", body, Answer(-32600, id=None, style="1.0")),)))
