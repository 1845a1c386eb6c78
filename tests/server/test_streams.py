"""Streams as bytes on a connection: headers, numbers, hints, heartbeats, cuts, and what draining does to them."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from a2a_server import Agent
from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from tests.clients import v01, v10
from tests.clients.rpc import new_http
from tests.clients.sse import SseParser, read_events
from tests.patience import PATIENCE
from tests.server.behaviours import new_id
from tests.server.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.backends]

EVENT_URI = "urn:a2a-task-server:event:v1"
BOTH = pytest.mark.parametrize("generation", ["1.0", "0.1"])
METHODS = {"1.0": "SendStreamingMessage", "0.1": "tasks/sendSubscribe"}


def request(text: str, generation: str = "1.0") -> dict[str, Any]:
    message: dict[str, Any] = {"messageId": new_id(), "role": "ROLE_USER", "parts": [{"text": text}]}
    params: dict[str, Any] = {"message": message}
    if generation == "0.1":
        params = {"id": new_id(), "message": {"role": "user", "parts": [{"type": "text", "text": text}]}}
    return {"jsonrpc": "2.0", "id": "the id", "method": METHODS[generation], "params": params}


@BOTH
async def test_headers_numbers_and_hint(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    parser = SseParser()
    async with http.stream("POST", server.url, json=request("stream 3", generation)) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert "no-store" in response.headers["cache-control"] or "no-cache" in response.headers["cache-control"]
        assert response.headers["x-accel-buffering"] == "no"
        events = [event async for event in read_events(response.aiter_bytes(), parser)]
    assert [event.id for event in events] == [str(n) for n in range(1, 7)]
    assert {event.event for event in events} == {"message"}
    assert parser.retry_ms == 1000
    assert parser.comments == 0
    assert all('"id":"the id"' in event.data and "\n" not in event.data for event in events)


@BOTH
async def test_every_event_says_its_number(server: Connection, generation: Any) -> None:  # noqa: ANN401 - a literal
    async for n, item in server.stream("work 2", generation=generation):
        inner = item if generation == "0.1" else next(iter(item.values()))
        assert inner["metadata"][EVENT_URI] == {"n": n}


@BOTH
async def test_resume_at_every_event(server: Connection, generation: Any) -> None:  # noqa: ANN401 - a literal
    task_id = new_id()
    whole = [
        pair
        async for pair in server.stream(
            "stream 6", task_id=task_id if generation == "0.1" else "", generation=generation
        )
    ]
    if generation == "1.0":
        task_id = whole[0][1]["task"]["id"]
    assert [n for n, _ in whole] == list(range(1, 10))
    for after in range(1, 10):
        rest = [pair async for pair in server.subscribe(task_id, after, generation=generation)]
        assert rest == whole[after:]
    first = [n async for n, _ in server.subscribe(task_id, 0, generation=generation)]
    assert first == list(range(1, 10))


async def test_resume_without_the_header(server: Connection, http: httpx2.AsyncClient) -> None:
    task = await server.send("stream 6")
    new = v10.Client(server.url, http=http)
    old = v01.A2AClient(url=server.url, http=http)
    made = await server.send("stream 6", generation="0.1")
    for after in range(10):
        metadata = {"afterEvent": after}
        numbers = [item.sse_id async for item in new.subscribe(task["id"], metadata=metadata)]
        assert numbers == [str(n) for n in range(after + 1, 10)]
        events = old.resubscribe_to_task({"id": made["id"], "metadata": metadata})
        assert [event.sse_id async for event in events] == numbers
    both = new.subscribe(task["id"], metadata={"afterEvent": 2}, last_event_id=7)  # the header is the newer one
    assert [item.sse_id async for item in both] == ["8", "9"]


@BOTH
async def test_cut_and_resume_while_it_runs(server: Connection, generation: Any) -> None:  # noqa: ANN401 - a literal
    task_id = new_id()
    order: dict[str, Any] = {"generation": generation} | ({"task_id": task_id} if generation == "0.1" else {})
    stream = server.stream("stream 12 0.01", **order)
    n, item = await anext(stream)
    await stream.aclose()
    task_id = task_id if generation == "0.1" else item["task"]["id"]
    seen = [n]
    while seen[-1] != 15:
        async with aclosing(server.subscribe(task_id, seen[-1], generation=generation)) as rest:
            seen += [(await anext(rest))[0]]
    assert seen == list(range(1, 16))


def waiting_agent() -> tuple[Agent, asyncio.Event]:
    """An agent that says nothing until the event is set."""
    bench, go_on = Agent("Bench"), asyncio.Event()

    @bench.skill
    async def wait(text: str) -> str:
        await go_on.wait()
        return text

    return bench, go_on


async def test_heartbeats_fill_silence() -> None:
    bench, go_on = waiting_agent()
    parser = SseParser()

    async def read(response: httpx2.Response) -> list[str | None]:
        return [event.id async for event in read_events(response.aiter_bytes(), parser)]

    async with (
        connect(bench, heartbeat_seconds=0.05) as server,
        new_http() as http,
        http.stream("POST", server.url, json=request("x")) as response,
    ):
        reading = asyncio.create_task(read(response))
        try:
            await until(lambda: parser.comments >= 3)
            go_on.set()
            assert await asyncio.wait_for(reading, PATIENCE) == ["1", "2", "3", "4"]
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_a_heartbeat_is_a_bare_comment() -> None:
    bench, go_on = waiting_agent()
    text = ""
    async with (
        connect(bench, heartbeat_seconds=0.02) as server,
        new_http() as http,
        http.stream("POST", server.url, json=request("x")) as response,
    ):
        async with asyncio.timeout(PATIENCE):
            async for piece in response.aiter_text():
                text += piece
                if text.count("\n:") >= 3:
                    go_on.set()
    assert {line for line in text.split("\n") if line.startswith(":")} == {": ping"}


async def test_v0_1_reads_a_task_of_1_0_in_its_own_form(server: Connection, http: httpx2.AsyncClient) -> None:
    task = await server.send("echo x")
    seen = await server.get(task["id"], generation="0.1")
    assert (seen["status"]["state"], seen["sessionId"]) == ("completed", task["contextId"])
    assert seen["artifacts"][0]["parts"] == [{"type": "text", "text": "x"}]
    items = [item async for _, item in server.subscribe(task["id"], 0, generation="0.1")]
    assert [item.get("final") for item in items] == [False, False, None, True]
    work = await server.send("sleep 60", blocking=False)
    canceled = await server.cancel(work["id"], generation="0.1")
    assert canceled["status"]["state"] == "canceled"


async def test_v0_1_gets_the_last_status_of_an_ended_task(server: Connection) -> None:
    """Oracle: "v0.1 resubscribe of a terminal task | one status event, `final: true`, close"."""
    task = await server.send("stream 3", generation="0.1")
    assert task["artifacts"]
    [(n, item)] = [pair async for pair in server.subscribe(task["id"], generation="0.1")]
    assert (n, item["status"]["state"], item["final"]) == (6, "completed", True)


async def test_errors_before_the_first_event_are_plain_json(server: Connection, http: httpx2.AsyncClient) -> None:
    for method in ("SubscribeToTask", "tasks/resubscribe"):
        params = {"id": "nobody knows it"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = await http.post(server.url, json=body, headers={"Accept": "text/event-stream"})
        assert response.headers["content-type"] == "application/json"
        assert response.json()["error"]["code"] == -32001


async def test_a_client_that_hangs_up_leaves_the_task_running() -> None:
    bench, go_on = waiting_agent()
    async with connect(bench) as server:
        stream = server.stream("streamed")
        _, start = await anext(stream)
        await stream.aclose()
        id = new_id()
        waiting = asyncio.create_task(server.send("blocking", message_id=id))
        async with aclosing(server.stream("blocking", message_id=id)) as other:
            await anext(other)
        waiting.cancel()
        await asyncio.wait([waiting])
        hub = server._system.engine.hub
        await until(lambda: not hub.watched)
        go_on.set()
        assert (await server.send("blocking", message_id=id))["status"]["state"] == "TASK_STATE_COMPLETED"
        numbers = [n async for n, _ in server.subscribe(start["task"]["id"], 1)]
        assert numbers == [2, 3, 4]


async def test_draining_ends_streams_and_answers_waits(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    seen: list[int | None] = []

    async def read(stream: Any) -> None:  # noqa: ANN401 - either generator
        async for n, _ in stream:
            seen.append(n)

    async with connect(agent, **places) as server:
        waiting = asyncio.create_task(server.send("sleep 3600"))
        stream = server.stream("sleep 3600", message_id="mine")
        n, start = await anext(stream)
        seen.append(n)
        reading = asyncio.create_task(read(stream))
        async with aclosing(server.subscribe(start["task"]["id"])) as other:
            await anext(other)
        hub = server._system.engine.hub
        await until(lambda: hub.watched == 2 and len(seen) == 2)
        hub.close()
        async with asyncio.timeout(PATIENCE):
            answer = await waiting
            await reading
        assert answer["status"]["state"] == "TASK_STATE_WORKING"
        assert seen == [1, 2]
    async with connect(agent, **places) as server:
        task = await server.get(start["task"]["id"])
        assert task["status"]["state"] == "TASK_STATE_WORKING"
        for id in (answer["id"], task["id"]):
            assert (await server.cancel(id))["status"]["state"] == "TASK_STATE_CANCELED"
        assert [n async for n, _ in server.subscribe(task["id"], seen[-1])] == [3]


async def test_a_reader_that_never_reads_is_cut() -> None:
    async with connect(agent, write_stall_seconds=0.3) as server:
        address = httpx2.URL(server.url)
        body = json.dumps(request("stream 20000")).encode()
        head = (
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
        )
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, (address.host, address.port))
            await loop.sock_sendall(deaf, head + body)
            hub = server._system.engine.hub
            await until(lambda: hub.watched == 1)
            mine = deaf.getsockname()
            await until(lambda: not hub.watched)
            await until(lambda: all(held.raddr != mine for held in psutil.Process().net_connections("tcp")))
            received = bytearray()
            async with asyncio.timeout(PATIENCE):
                while piece := await loop.sock_recv(deaf, 65536):
                    received += piece
        assert b"chunk 0" in received
        assert b"TASK_STATE_COMPLETED" not in received
        assert (await server.send("echo still here"))["status"]["state"] == "TASK_STATE_COMPLETED"
