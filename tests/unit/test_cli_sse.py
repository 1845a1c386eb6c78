"""The client's side of a stream: the reader of server-sent events, and the follower that survives a broken one."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from a2a_server.cli.failures import RpcError, UnauthorizedError, UnreachableError, UsageError
from a2a_server.cli.follow import TRIES, Follower
from a2a_server.cli.rpc import Connection
from a2a_server.cli.sse import Reader, ServerEvent

Json = dict[str, Any]
URL = "http://127.0.0.1:9"

STREAM = (
    "\ufeff: a comment\nid: 1\ndata: first\n\n"
    "event: error\r\ndata: two\r\ndata:lines\r\n\r\n"
    "id: 3\rdata:  \u2028 inside\r\r"
    "retry: 1500\n\nid: bad\0id\nunknown: x\ndata\n\nid: 9\ndata: cut off"
).encode()
EVENTS = [
    ServerEvent("first", id="1"),
    ServerEvent("two\nlines", event="error"),
    ServerEvent(" \u2028 inside", id="3"),
    ServerEvent(""),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size: int) -> None:
    reader = Reader()
    chunks = (STREAM[at : at + size] for at in range(0, len(STREAM), size))
    assert [event for chunk in chunks for event in reader.feed(chunk)] == EVENTS
    assert reader.retry_seconds == 1.5


def test_a_long_line_in_many_chunks() -> None:
    reader = Reader()
    events = list(
        itertools.chain.from_iterable(reader.feed(chunk) for chunk in [b"data: ", *[b"x" * 1000] * 2000, b"\n\n"])
    )
    assert [len(event.data) for event in events] == [2_000_000]


Answer = Callable[[Json, httpx2.Request], httpx2.Response]


class Script:
    """A server that gives the next scripted answer to each request, and keeps what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[tuple[str, Json, str | None]] = []
        self._answers: Iterator[Answer] = iter(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.asked.append((body["method"], body["params"], request.headers.get("last-event-id")))
        assert request.headers["a2a-version"] == "1.0"
        return next(self._answers)(body, request)


class _Body(httpx2.AsyncByteStream):
    def __init__(self, chunks: list[bytes], failure: Exception | None) -> None:
        self._chunks = chunks
        self._failure = failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._failure is not None:
            raise self._failure


def streaming(*items: tuple[int | None, Json], failure: Exception | None = None) -> Answer:
    def answer(body: Json, request: httpx2.Request) -> httpx2.Response:
        chunks = []
        for n, result in items:
            data = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": result})
            number = "" if n is None else f"id: {n}\n"
            chunks.append(f"{number}data: {data}\n\n".encode())
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=_Body(chunks, failure))

    return answer


def result(value: Json) -> Answer:
    return lambda body, _: httpx2.Response(200, json={"jsonrpc": "2.0", "id": body["id"], "result": value})


def error(code: int, message: str = "no", status: int = 200) -> Answer:
    document = {"code": code, "message": message}
    return lambda body, _: httpx2.Response(status, json={"jsonrpc": "2.0", "id": body["id"], "error": document})


def refused(_: Json, request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("connection refused", request=request)


def task(state: str = "WORKING") -> Json:
    return {"task": {"id": "T", "contextId": "C", "status": {"state": f"TASK_STATE_{state}"}}}


def status(state: str) -> Json:
    return {"statusUpdate": {"taskId": "T", "contextId": "C", "status": {"state": f"TASK_STATE_{state}"}}}


def chunk(text: str) -> Json:
    return {"artifactUpdate": {"taskId": "T", "artifact": {"artifactId": "a", "parts": [{"text": text}]}}}


SEND: Json = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}]}}
CUT = httpx2.ReadError("cut")


async def no_pause(_: float) -> None:
    pass


async def follow(script: Script, send: Json | None = SEND, task_id: str = "") -> tuple[list[Json], Follower]:
    async with Connection(URL, transport=httpx2.MockTransport(script)) as connection:
        follower = Follower(connection, send=send, task_id=task_id, pause=no_pause)
        return [item async for item in follower.items()], follower


async def test_a_broken_stream_goes_on_behind_the_last_event() -> None:
    script = Script(
        streaming((1, task()), (2, chunk("a")), failure=CUT),
        refused,
        streaming((2, chunk("a")), (3, chunk("b"))),
        streaming((4, status("COMPLETED"))),
    )
    items, follower = await follow(script)
    assert items == [task(), chunk("a"), chunk("b"), status("COMPLETED")]
    assert [(method, after) for method, _, after in script.asked] == [
        ("SendStreamingMessage", None),
        ("SubscribeToTask", "2"),
        ("SubscribeToTask", "2"),
        ("SubscribeToTask", "3"),
    ]
    assert (follower.task_id, follower.n) == ("T", 4)


async def test_before_the_first_event_the_same_message_is_sent_again() -> None:
    script = Script(streaming(failure=CUT), streaming((1, task()), (2, status("FAILED"))))
    items, follower = await follow(script)
    assert [params for _, params, _ in script.asked] == [SEND, SEND]
    assert items[-1] == status("FAILED")
    assert follower.status == {"state": "TASK_STATE_FAILED"}


async def test_a_conversation_stops_at_a_question_and_a_subscription_does_not() -> None:
    items, _ = await follow(Script(streaming((1, task()), (2, status("INPUT_REQUIRED")))))
    assert items[-1] == status("INPUT_REQUIRED")
    resumed = Script(streaming((1, task()), failure=CUT), streaming((2, status("INPUT_REQUIRED")), (3, status("X"))))
    items, _ = await follow(resumed)
    assert items[-1] == status("INPUT_REQUIRED")
    script = Script(streaming((1, task("INPUT_REQUIRED")), (2, status("COMPLETED"))))
    items, _ = await follow(script, None, task_id="T")
    assert items[-1] == status("COMPLETED")


async def test_a_direct_answer_ends_it() -> None:
    message = {"message": {"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "yo"}]}}
    items, follower = await follow(Script(streaming((None, message))))
    assert items == [message]
    assert follower.message == message["message"]


async def test_a_subscription_to_an_ended_task_shows_the_task() -> None:
    ended = task("COMPLETED")
    items, _ = await follow(Script(error(-32004), result(ended["task"])), None, task_id="T")
    assert items == [ended]


async def test_a_server_that_does_not_stream_is_asked_until_the_end() -> None:
    script = Script(error(-32004), result(task()), result(task()["task"]), result(task("COMPLETED")["task"]))
    items, _ = await follow(script)
    assert items == [task("COMPLETED")]
    assert [method for method, _, _ in script.asked] == ["SendStreamingMessage", "SendMessage", "GetTask", "GetTask"]


async def test_event_numbers_are_read_from_metadata_where_lines_have_none() -> None:
    numbered = {
        "statusUpdate": status("WORKING")["statusUpdate"] | {"metadata": {"urn:a2a-task-server:event:v1": {"n": 7}}}
    }
    script = Script(streaming((None, task()), (None, numbered)), streaming((8, status("COMPLETED"))))
    await follow(script)
    assert script.asked[-1][2] == "7"


async def test_nobody_there_is_said_at_once_and_lost_contact_after_all_tries() -> None:
    with pytest.raises(UnreachableError, match=r"cannot reach http://127.0.0.1:9 .*a2a-server demo"):
        await follow(Script(refused))
    script = Script(streaming((1, task()), failure=CUT), *[refused] * TRIES)
    with pytest.raises(UnreachableError, match="lost"):
        await follow(script)
    assert len(script.asked) == TRIES + 1


async def test_errors_of_the_protocol_and_of_http() -> None:
    with pytest.raises(RpcError, match="Task not found"):
        await follow(Script(error(-32001, "Task not found")), None, task_id="T")
    with pytest.raises(UnauthorizedError, match="A2A_TOKEN"):
        await follow(Script(error(-32051, "who are you", status=401)))
    with pytest.raises(UsageError):
        Connection("localhost:8000")
