"""Clients that other people wrote, as the table of behaviours sees them, and what each of them cannot do.

A reason in `cannot` is a limit of the client, seen in its code: such a test is skipped with it, never without.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.clients import v03, v10
from tests.clients.foreign.driver import Driver, Refusal, Unexpected, command, start
from tests.clients.rpc import JsonObject
from tests.server.behaviours import TERMINAL
from tests.server.speakers import _event, _seen
from tests.server.spoken import OPTIONS_URI, Event, Order, Refused, Seen


class _AnyCode(int):
    """Of a refusal whose code the client does not show: equal to every code."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    def __hash__(self) -> int:
        return 0


@dataclass(frozen=True)
class Spelling:
    """How the objects of a client are read."""

    task: Callable[[JsonObject], Seen]
    event: Callable[[JsonObject], Event]


@dataclass(frozen=True)
class Foreign:
    """generation: as the table of behaviours tells them apart. cannot: names of tests and conversations to reasons.

    program: of tests/clients/foreign; words: its own, behind the URL. methods: what it calls for send, get, cancel, and
    where it streams, stream and subscribe. version: the A2A-Version that it says with them; card_version: with a card;
    '' for none. hidden: what the client says, instead of the error, where a stream's answer is an error in plain JSON.
    """

    generation: str
    spelling: Spelling
    program: str
    methods: tuple[str, ...]
    words: tuple[str, ...] = ()
    version: str = ""
    card_version: str = ""
    hidden: str = ""
    cannot: Mapping[str, str] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        return "test_stream" not in self.cannot


class ForeignSpeaker:
    """A client program of another make. None of them shows the ids of events."""

    shows_all = False

    def __init__(self, client: Foreign, driver: Driver) -> None:
        self.generation = client.generation
        self.client = client
        self.driver = driver

    async def send(self, order: Order) -> Seen:
        return await self._one("send", **order_args(order, self.generation))

    async def stream(self, order: Order, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("stream", **order_args(order, self.generation, after))) as events:
            async for event in events:
                yield event

    async def get(self, task: str, history: int | None = None) -> Seen:
        return await self._one("get", task=task, history=history)

    async def cancel(self, task: str) -> Seen:
        return await self._one("cancel", task=task)

    async def subscribe(self, task: str, after: int | None = None) -> AsyncGenerator[Event]:
        async with aclosing(self._items("subscribe", task=task, after=after)) as events:
            async for event in events:
                yield event

    async def _one(self, op: str, **args: object) -> Seen:
        try:
            return self.client.spelling.task(await self.driver.one(op, **args))
        except Refusal as refusal:
            raise Refused(refusal.code, refusal.message) from refusal

    async def _items(self, op: str, **args: object) -> AsyncGenerator[Event]:
        try:
            async with aclosing(self.driver.items(op, **args)) as items:
                async for item in items:
                    yield self.client.spelling.event(item)
        except Refusal as refusal:
            raise Refused(refusal.code, refusal.message) from refusal
        except Unexpected as failure:
            if self.client.hidden and self.client.hidden in str(failure):
                raise Refused(_AnyCode(), str(failure)) from failure
            raise


@asynccontextmanager
async def foreign_speaker(name: str, url: str) -> AsyncIterator[ForeignSpeaker]:
    """The client of that name, connected to the server at `url`."""
    client = CLIENTS[name]
    async with start(command(client.program, url, *client.words)) as driver:
        yield ForeignSpeaker(client, driver)


def order_args(order: Order, generation: str, after: int | None = None) -> JsonObject:
    metadata = order.all_metadata
    if generation == "0.1" and not order.wait:
        metadata = {**metadata, OPTIONS_URI: {**order.options, "returnImmediately": True}}
    return {
        "id": order.id,
        "text": order.text,
        "task": order.task,
        "context": order.context,
        "history": order.history,
        "wait": order.wait,
        "metadata": metadata,
        "after": after,
    }


def _middle_event(item: JsonObject) -> Event:
    kind = str(item["kind"]).replace("-update", "Update")
    event = _event({kind: item}, None)
    if event.kind == "status" and event.state not in {"input-required", "auth-required"}:
        assert event.final is (event.state in TERMINAL)
    return replace(event, final=None)


def _named(task: JsonObject) -> JsonObject:
    # python-a2a drops the names of artifacts when it gets a task with text; here the only ones without are text.
    artifacts = [{"name": "text", **artifact} for artifact in task.get("artifacts", ())]
    return {**task, "contextId": task["sessionId"], "artifacts": artifacts}


def _no_event(_item: JsonObject) -> Event:
    raise NotImplementedError


FIRST = Spelling(lambda task: _seen(_named(task)), _no_event)
MIDDLE = Spelling(lambda task: _seen(v03.checked_task(task)), _middle_event)
NOW = Spelling(lambda task: _seen(v10.checked_task(task)), lambda item: _event(item, None))

NO_STREAM = "python-a2a streams from addresses of its own server alone (/stream, /tasks/stream), not over JSON-RPC"
NO_ERRORS = "python-a2a shows no error of the protocol: it makes up a task or a message instead"
NO_WORKING = "python-a2a's states have no word for working"
NO_HISTORY = "python-a2a cannot say historyLength with a send"

OLD_METHODS = ("tasks/send", "tasks/get", "tasks/cancel")
MIDDLE_METHODS = ("message/send", "tasks/get", "tasks/cancel", "message/stream", "tasks/resubscribe")
METHODS = ("SendMessage", "GetTask", "CancelTask", "SendStreamingMessage", "SubscribeToTask")

CLIENTS = {
    "a2a-sdk-0.3.26": Foreign(
        "0.3",
        MIDDLE,
        "a2a_sdk_03.py",
        MIDDLE_METHODS,
        hidden="Expected response header Content-Type",
    ),
    "a2a-js-0.3.14": Foreign(
        "0.3",
        MIDDLE,
        "a2a_js_03.mjs",
        MIDDLE_METHODS,
        hidden="Invalid response Content-Type for SSE",
    ),
    "a2a-js-1.3.0": Foreign("1.0", NOW, "a2a_js_1.mjs", METHODS, ("1.0",), "1.0", "1.0"),
    "a2a-js-1.3.0-as-0.3": Foreign("0.3", NOW, "a2a_js_1.mjs", MIDDLE_METHODS, ("0.3",), "0.3", "1.0"),
    "python-a2a-0.5.10": Foreign(
        "0.1",
        FIRST,
        "python_a2a_05.py",
        OLD_METHODS,
        cannot={
            "test_stream": NO_STREAM,
            "test_repeated_stream_is_the_log_again": NO_STREAM,
            "non_blocking": NO_WORKING,
            "history": NO_HISTORY,
            "cancel_during_execution": NO_STREAM,
            "cancel_of_a_terminal_task": NO_ERRORS,
            "unknown_task": NO_ERRORS,
            "message_to_a_terminal_task": NO_ERRORS,
            "message_to_a_working_task": NO_ERRORS,
            "subscribe_live": NO_STREAM,
            "join_a_working_task": NO_STREAM,
            "resume_with_last_event_id": NO_STREAM,
            "subscribe_to_a_terminal_task": NO_STREAM,
            "two_followers_see_the_same": NO_STREAM,
        },
    ),
}
