"""The tests' own clients read strictly: event streams by their standard, answers by their generation's documents."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from tests.clients import v01, v10
from tests.clients.rpc import BadAnswer, checked
from tests.clients.sse import ServerSentEvent, SseParser
from tests.drills.ledger import Order, Seen, View
from tests.drills.wires import After, MiddleWire, NewWire, OldWire, Refused

URL = "http://agent/"
EVENT = "urn:a2a-task-server:event:v1"


def parsed(text: str) -> list[tuple[str, str, str]]:
    return [(event.event, event.data, event.last_event_id) for event in SseParser().feed(text.encode())]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [("message", "first event", "1"), ("message", "second event", "")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
        ("\ufeffdata: a\r\rdata: b\r\n\r\n", [("message", "a", ""), ("message", "b", "")]),
        ("event: error\ndata: x\n\ndata: y\n\n", [("error", "x", ""), ("message", "y", "")]),
        ("id: 7\n\ndata: x\n\n", [("message", "x", "7")]),
        ("id: 7\ndata: x\n\nid: 8\0\ndata: y\n\n", [("message", "x", "7"), ("message", "y", "7")]),
        ("event: only\n\ndata: x\n\n", [("message", "x", "")]),
        ("unknown: x\ndata: ü\n\n", [("message", "ü", "")]),
    ],
)
def test_event_streams_are_read_as_the_standard_says(text: str, events: list[tuple[str, str, str]]) -> None:
    assert parsed(text) == events


def test_comments_and_retry_are_noticed() -> None:
    parser = SseParser()
    events = parser.feed(b"retry: 1500\nretry: soon\n: ping\n\nid: 3\ndata: x\n\ndata: y\n\n")
    assert events == [ServerSentEvent("x", id="3", last_event_id="3"), ServerSentEvent("y", last_event_id="3")]
    assert (parser.retry_ms, parser.comments) == (1500, 1)


@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_slicing_of_the_bytes_changes_nothing(cuts: list[int]) -> None:
    text = "\ufeffid: 1\r\ndata: ä\r\n\r\n: c\rdata: b\r\rid: 2\ndata: c\n\n".encode()
    parser, events, start = SseParser(), [], 0
    for end in [*sorted(cuts), len(text)]:
        events += parser.feed(text[start:end])
        start = max(start, min(end, len(text)))
    assert [(event.data, event.last_event_id) for event in events] == [("ä", "1"), ("b", "1"), ("c", "2")]
    assert parser.comments == 1


@pytest.mark.parametrize(
    "answer",
    [
        "nonsense",
        "[]",
        '{"jsonrpc":"1.0","id":"1","result":{}}',
        '{"jsonrpc":"2.0","id":"2","result":{}}',
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        '{"jsonrpc":"2.0","id":"1"}',
        '{"jsonrpc":"2.0","id":"1","result":{},"error":{"code":1,"message":"x"}}',
    ],
)
def test_an_answer_must_be_the_requests_own(answer: str) -> None:
    with pytest.raises(BadAnswer):
        checked(answer, "1")


class Agent:
    """Answers with canned results and remembers what it was asked."""

    def __init__(self, *results: dict[str, Any], error: dict[str, Any] | None = None, stream: bool = False) -> None:
        self.results, self.error, self.stream = results, error, stream
        self.asked: dict[str, Any] = {}
        self.headers = httpx2.Headers()
        self.http = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked, self.headers = json.loads(request.content), request.headers
        base = {"jsonrpc": "2.0", "id": self.asked["id"]}
        if self.error is not None:
            return httpx2.Response(200, json={**base, "error": self.error})
        if not self.stream:
            return httpx2.Response(200, json={**base, "result": self.results[0]})
        lines = []
        for result in self.results:
            meta = next((member["metadata"] for member in (result, *result.values()) if "metadata" in member), None)
            number = f"id: {meta[EVENT]['n']}\n" if meta else ""
            lines.append(f"{number}data: {json.dumps({**base, 'result': result})}\n\n")
        return httpx2.Response(200, text="".join(lines), headers={"content-type": "text/event-stream"})


OLD_TASK = {
    "id": "t1",
    "sessionId": "s1",
    "status": {"state": "completed", "timestamp": "2025-05-01T10:00:00Z"},
    "artifacts": [{"parts": [{"type": "text", "text": "echo"}], "index": 0}],
    "history": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}],
}
OLD_STREAM: list[dict[str, Any]] = [
    {"id": "t2", "status": {"state": "working"}, "final": False, "metadata": {EVENT: {"n": 1}}},
    {
        "id": "t2",
        "artifact": {"parts": [{"type": "text", "text": "par"}], "index": 0, "append": False, "lastChunk": False},
        "metadata": {EVENT: {"n": 2}},
    },
    {"id": "t2", "status": {"state": "completed"}, "final": True, "metadata": {EVENT: {"n": 3}}},
]


async def test_v01_sends_what_the_sample_sends() -> None:
    agent = Agent(OLD_TASK)
    async with agent.http:
        response = await v01.A2AClient(url=URL, http=agent.http).send_task(
            {"id": "t1", "sessionId": "s1", "message": v01.text_message("hi"), "historyLength": 5}
        )
    assert agent.asked["method"] == "tasks/send"
    assert agent.asked["params"] == {
        "id": "t1",
        "sessionId": "s1",
        "message": {
            "role": "user",
            "parts": [{"type": "text", "text": "hi", "metadata": None}],
            "metadata": None,
        },
        "acceptedOutputModes": None,
        "pushNotification": None,
        "historyLength": 5,
        "metadata": None,
    }
    assert response.result is not None
    assert response.result.status.state is v01.TaskState.COMPLETED


async def test_v01_makes_the_ids_itself() -> None:
    agent = Agent(OLD_TASK)
    async with agent.http:
        await v01.A2AClient(url=URL, http=agent.http).send_task({"message": v01.text_message("hi")})
    assert agent.asked["params"]["id"]
    assert agent.asked["params"]["sessionId"]


async def test_v01_items_become_neutral_ones() -> None:
    agent = Agent(*OLD_STREAM, stream=True)
    async with agent.http:
        wire = OldWire(URL, agent.http)
        seen = [item async for item in wire.subscribe("t2", After(4, by_header=True))]
    assert agent.headers["last-event-id"] == "4"
    assert seen == [
        Seen("t2", 1, "status", "working", final=False, sse_id="1"),
        Seen("t2", 2, "artifact", artifact="0", content="par", sse_id="2"),
        Seen("t2", 3, "status", "completed", final=True, sse_id="3"),
    ]


@pytest.mark.parametrize(
    "item",
    [
        {"id": "t2", "status": {"state": "rejected"}, "final": True},
        {"id": "t2", "final": True},
        {"status": {"state": "working"}},
        {"id": "t2", "artifact": {"index": 0}},
        {"id": "t2", "artifact": {"parts": [{"kind": "text", "text": "x"}]}},
        {"id": "t2", "artifact": {"parts": [{"type": "file", "file": {"name": "x"}}]}},
    ],
)
def test_v01_refuses_what_its_models_do_not_allow(item: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        v01.SendTaskStreamingResponse.model_validate({"jsonrpc": "2.0", "id": "1", "result": item})


async def test_v01_wire_reads_tasks_and_errors() -> None:
    agent = Agent(OLD_TASK)
    async with agent.http:
        view = await OldWire(URL, agent.http).send(Order("t1", "v0.1", "echo"), wait=False)
        assert view == View("t1", "completed", (("0", "echo"),), history=(("user", "hi"),))
        assert agent.asked["params"]["metadata"] == {"urn:a2a-task-server:task-options:v1": {"returnImmediately": True}}
        agent.error = {"code": -32001, "message": "Task not found"}
        with pytest.raises(Refused, match="-32001"):
            await OldWire(URL, agent.http).get("t1")


NEW_TASK = {
    "id": "T",
    "contextId": "C",
    "status": {"state": "TASK_STATE_WORKING", "timestamp": "2026-05-28T10:00:00.000Z"},
    "artifacts": [{"artifactId": "a", "parts": [{"text": "x"}, {"raw": "eQ=="}]}],
}


async def test_v10_sends_what_the_specification_shows() -> None:
    agent = Agent({"task": NEW_TASK})
    async with agent.http:
        view = await NewWire(URL, agent.http).send(Order("m1", "1.0", "hi"), wait=False)
    assert view == View("T", "working", (("a", "xy"),))
    assert agent.headers["a2a-version"] == "1.0"
    assert agent.asked["method"] == "SendMessage"
    assert agent.asked["params"] == {
        "message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hi"}]},
        "configuration": {"returnImmediately": True},
    }


async def test_v10_items_become_neutral_ones() -> None:
    ids = {"taskId": "T", "contextId": "C"}
    done = {"status": {"state": "TASK_STATE_INPUT_REQUIRED"}, "metadata": {EVENT: {"n": 6}}}
    chunk = {"artifact": {"artifactId": "a", "parts": [{"text": "z"}]}, "append": True, "metadata": {EVENT: {"n": 5}}}
    agent = Agent(
        {"task": {**NEW_TASK, "metadata": {EVENT: {"n": 4}}}},
        {"artifactUpdate": {**ids, **chunk}},
        {"statusUpdate": {**ids, **done}},
        stream=True,
    )
    async with agent.http:
        wire = NewWire(URL, agent.http)
        seen = [item async for item in wire.stream(Order("m1", "1.0", "hi"), After(3, by_header=False))]
    assert agent.asked["params"]["metadata"] == {"afterEvent": 3}
    assert "last-event-id" not in agent.headers
    assert seen == [
        Seen("T", 4, "task", "working", artifacts=(("a", "xy"),), sse_id="4"),
        Seen("T", 5, "artifact", artifact="a", content="z", append=True, sse_id="5"),
        Seen("T", 6, "status", "input-required", sse_id="6"),
    ]


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"task": NEW_TASK, "message": {}},
        {"update": {}},
        {"task": {**NEW_TASK, "contextId": ""}},
        {"task": {**NEW_TASK, "status": {"state": "completed"}}},
        {"task": {**NEW_TASK, "artifacts": [{"parts": [{"text": "x"}]}]}},
        {"statusUpdate": {"taskId": "T", "contextId": "C"}},
        {"artifactUpdate": {"taskId": "T", "contextId": "C", "artifact": {"artifactId": "a", "parts": []}}},
        {"message": {"messageId": "m", "role": "ROLE_AGENT"}},
    ],
)
def test_v10_refuses_what_the_specification_does_not_allow(result: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        v10.checked_item(result, None)


async def test_v10_errors_before_the_first_event_are_plain_json() -> None:
    agent = Agent(error={"code": -32004, "message": "no"}, stream=True)
    async with agent.http:
        with pytest.raises(Refused, match="-32004"):
            _ = [item async for item in NewWire(URL, agent.http).subscribe("T")]


MIDDLE_TASK: dict[str, Any] = {
    "kind": "task",
    "id": "T",
    "contextId": "C",
    "status": {
        "state": "input-required",
        "message": {"kind": "message", "messageId": "q", "role": "agent", "parts": [{"kind": "text", "text": "Who?"}]},
    },
    "artifacts": [
        {
            "artifactId": "a",
            "parts": [{"kind": "text", "text": "x"}, {"kind": "file", "file": {"bytes": "eQ=="}}],
        }
    ],
    "history": [{"kind": "message", "messageId": "m1", "role": "user", "parts": [{"kind": "text", "text": "hi"}]}],
}
MIDDLE_STREAM: list[dict[str, Any]] = [
    {**MIDDLE_TASK, "metadata": {EVENT: {"n": 4}}},
    {
        "kind": "artifact-update",
        "taskId": "T",
        "contextId": "C",
        "artifact": {"artifactId": "a", "parts": [{"kind": "data", "data": {"z": 1}}]},
        "append": True,
        "metadata": {EVENT: {"n": 5}},
    },
    {
        "kind": "status-update",
        "taskId": "T",
        "contextId": "C",
        "status": MIDDLE_TASK["status"],
        "final": True,
        "metadata": {EVENT: {"n": 6}},
    },
]
ANSWER = Order("m2", "0.3", "Ada", task="T")


async def test_v03_wire_answers_a_question() -> None:
    agent = Agent(MIDDLE_TASK)
    async with agent.http:
        view = await MiddleWire(URL, agent.http).send(ANSWER, wait=True)
    assert view == View("T", "input-required", (("a", "xy"),), "Who?", (("user", "hi"),))
    assert view.asks
    assert agent.asked["method"] == "message/send"
    message = {"kind": "message", "messageId": "m2", "role": "user", "parts": [{"kind": "text", "text": "Ada"}]}
    assert agent.asked["params"] == {"message": {**message, "taskId": "T"}, "configuration": {"blocking": True}}


async def test_v03_items_become_neutral_ones() -> None:
    agent = Agent(*MIDDLE_STREAM, stream=True)
    async with agent.http:
        wire = MiddleWire(URL, agent.http)
        seen = [item async for item in wire.stream(ANSWER, After(3, by_header=True))]
    assert agent.headers["last-event-id"] == "3"
    assert seen == [
        Seen("T", 4, "task", "input-required", artifacts=(("a", "xy"),), sse_id="4", text="Who?"),
        Seen("T", 5, "artifact", artifact="a", content='{"z": 1}', append=True, sse_id="5"),
        Seen("T", 6, "status", "input-required", final=True, sse_id="6", text="Who?"),
    ]


@pytest.mark.parametrize("wire", [OldWire, NewWire])
async def test_answers_name_their_task(wire: type[OldWire | NewWire]) -> None:
    agent = Agent(OLD_TASK if wire is OldWire else {"task": NEW_TASK})
    async with agent.http:
        await wire(URL, agent.http).send(Order("m2", "", "Ada", "s", task="T"), wait=True)
    params = agent.asked["params"]
    assert (params["id"] if wire is OldWire else params["message"]["taskId"]) == "T"
