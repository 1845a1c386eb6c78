"""Methods that v0.1 and 0.3 spell alike, whoever made the task; and what one generation alone has.

Source: protocol.md sections 1, 2, 4 and 5 (A2A v0.1.0, 0.3.0 and 1.0.1).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
import pytest_asyncio

from a2a_server import testing
from a2a_server.examples.workbench import agent
from a2a_server.model.objects import File, Scope
from a2a_server.model.runs import Completed
from a2a_server.running import Attempt
from a2a_server.testing import Connection, connect
from a2a_server.web.rpc import Caller, Dispatcher, Streaming
from a2a_server.web.sse import frames
from a2a_server.wire.operations import Operation
from tests.clients import rpc, v03
from tests.clients.rpc import Answer, JsonObject
from tests.clients.sse import ServerSentEvent, SseParser
from tests.clients.v10 import RpcError
from tests.server.asked import METHODS, said
from tests.server.behaviours import new_id
from tests.server.engines import running
from tests.server.scripted import Scripted, idle_agent, message

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Peer:
    """Sends anything to the workbench and shows everything that comes back."""

    def __init__(self, server: Connection, http: httpx2.AsyncClient) -> None:
        self.url = server.url
        self.http = http

    async def made(self, generation: str, text: str, *, wait: bool = True) -> str:
        result = await self.call(METHODS[generation][Operation.SEND], said(generation, text, wait=wait))
        return str(result["task"]["id"] if generation == "1.0" else result["id"])

    async def call(self, method: str, params: JsonObject, version: str = "") -> Any:  # noqa: ANN401 - any JSON
        return result(await rpc.post(self.http, self.url, request(method, params), headers(version)))

    async def stream(self, method: str, params: JsonObject, version: str = "") -> AsyncIterator[Answer]:
        body = request(method, params)
        async with aclosing(rpc.post_stream(self.http, self.url, body, headers(version))) as answers:
            async for answer in answers:
                result(answer.body)
                yield answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer(server: Connection, http: httpx2.AsyncClient) -> Peer:
    return Peer(server, http)


def request(method: str, params: JsonObject) -> JsonObject:
    return {"jsonrpc": "2.0", "id": new_id(), "method": method, "params": params}


def headers(version: str) -> dict[str, str]:
    return {"A2A-Version": version} if version else {}


def result(body: JsonObject) -> Any:  # noqa: ANN401 - any JSON
    if "error" in body:
        raise RpcError(body["error"])
    return body["result"]


def told_in(task: JsonObject) -> str:
    if "sessionId" in task:
        assert not {"kind", "contextId"} & task.keys()
        return "0.1"
    if task.get("kind") == "task":
        v03.checked_task(task)
        return "0.3"
    assert task["status"]["state"].startswith("TASK_STATE_")
    return "1.0"


def item_in(item: JsonObject) -> str:
    if "kind" in item:
        return "0.3"
    return "0.1" if "id" in item else "1.0"


VERSION = pytest.mark.parametrize("version", ["", "0.1", "0.2", "0.3", "1.0"])
MADE = pytest.mark.parametrize("made", ["0.1", "0.3", "1.0"])


def answered(version: str, made: str) -> str:
    """Rule: "remember on each task the generation that created it and render in that one"; a version says it all."""
    if version:
        return "0.3" if version == "0.2" else version
    return "0.1" if made == "0.1" else "0.3"


@MADE
@VERSION
async def test_a_task_is_told_as_it_was_made_unless_a_version_is_said(peer: Peer, made: str, version: str) -> None:
    methods = METHODS["1.0" if version == "1.0" else "0.3"]
    expected = answered(version, made)
    task = await peer.made(made, "echo x")
    got = await peer.call(methods[Operation.GET], {"id": task}, version)
    assert (got["id"], told_in(got)) == (task, expected)
    assert ("history" in got) is (expected != "0.1")  # an absent historyLength: all of it, and none in v0.1
    for length, messages in ((0, 0), (3, 1)):
        some = await peer.call(methods[Operation.GET], {"id": task, "historyLength": length}, version)
        assert len(some.get("history", [])) == messages
    live = await peer.made(made, "sleep 60", wait=False)
    canceled = await peer.call(methods[Operation.CANCEL], {"id": live}, version)
    assert (canceled["id"], told_in(canceled)) == (live, expected)


@MADE
@VERSION
async def test_a_task_is_followed_as_it_was_made_unless_a_version_is_said(peer: Peer, made: str, version: str) -> None:
    methods = METHODS["1.0" if version == "1.0" else "0.3"]
    expected = answered(version, made)
    task = await peer.made(made, "stream 1000 0.03", wait=False)
    items: list[JsonObject] = []
    canceled = False
    async for answer in peer.stream(methods[Operation.SUBSCRIBE], {"id": task}, version):
        items.append(answer.body["result"])
        if not canceled and items[-1].keys() & {"artifact", "artifactUpdate"}:
            canceled = True
            await peer.call(methods[Operation.CANCEL], {"id": task}, version)
    assert canceled
    assert {item_in(item) for item in items} == {expected}
    first = items[0]
    if expected == "0.1":
        assert "status" in first
    else:
        assert told_in(first if expected == "0.3" else first["task"]) == expected
    ended = peer.stream(methods[Operation.SUBSCRIBE], {"id": task}, version)
    if expected == "0.1":
        [status] = [answer.body["result"] async for answer in ended]
        assert (status["status"]["state"], status["final"]) == ("canceled", True)
    else:
        with pytest.raises(RpcError) as caught:
            await anext(ended)
        assert caught.value.code == -32004


@MADE
@pytest.mark.parametrize("version", ["", "0.1", "0.3"])
async def test_unknown_ids_get_the_same_bytes(peer: Peer, made: str, version: str) -> None:
    await peer.made(made, "echo x")
    answers = set()
    for operation in (Operation.GET, Operation.CANCEL, Operation.SUBSCRIBE):
        body = {"jsonrpc": "2.0", "id": 7, "method": METHODS["0.3"][operation], "params": {"id": "nobody knows it"}}
        answers.add((await peer.http.post(peer.url, json=body, headers=headers(version))).content)
    assert answers == {b'{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"Task not found"}}'}


async def test_what_0_3_has_and_this_server_does_not(peer: Peer) -> None:
    """errors.md: "push methods where not declared | -32003"; "extended card: not declared … 0.3: -32007"."""
    for operation in (Operation.PUSH_SET, Operation.PUSH_GET, Operation.PUSH_LIST, Operation.PUSH_DELETE):
        with pytest.raises(RpcError) as caught:
            await peer.call(METHODS["0.3"][operation], {"id": "x"})
        assert caught.value.code == -32003
    for method, code in (("agent/getAuthenticatedExtendedCard", -32007), ("GetExtendedAgentCard", -32004)):
        body = {"jsonrpc": "2.0", "id": 7, "method": method}
        answer = (await peer.http.post(peer.url, json=body)).json()
        assert answer["error"]["code"] == code


async def test_whether_a_send_of_0_3_waits_is_a_setting(http: httpx2.AsyncClient) -> None:
    """Section 5: "Ours: absent = wait, as clients expect; a setting `v03_default_blocking` turns it off"."""
    async with connect(agent, v03_default_blocking=False) as server:
        peer = Peer(server, http)
        for generation, configuration, state in (
            ("0.3", {}, {"submitted", "working"}),
            ("0.3", {"blocking": False}, {"submitted", "working"}),
            ("0.3", {"blocking": True}, {"completed"}),
            ("1.0", {}, {"TASK_STATE_COMPLETED"}),
        ):
            params = {**said(generation, "work 2 0.05"), "configuration": configuration}
            answer = await peer.call(METHODS[generation][Operation.SEND], params)
            assert answer.get("task", answer)["status"]["state"] in state
        old = await peer.call("tasks/send", said("0.1", "work 2 0.05"))
        assert old["status"]["state"] == "completed"


async def test_python_a2a_is_understood(peer: Peer) -> None:
    """Section 4: "POST {url}/tasks/send (path!) … wants result.artifacts[].parts[].type=="text"."""
    params = {
        "id": new_id(),
        "sessionId": new_id(),
        "status": {"state": "submitted", "timestamp": "2025-06-01T10:00:00.000000"},
        "message": {"content": {"text": "echo hi", "type": "text"}, "role": "user", "message_id": new_id()},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tasks/send", "params": params}
    for path in ("/tasks/send", "/a2a/tasks/send", "/"):
        params["id"] = new_id()
        answer = (await peer.http.post(peer.url.rstrip("/") + path, json=body)).json()
        assert (answer["result"]["id"], answer["result"]["sessionId"]) == (params["id"], params["sessionId"])
        assert answer["result"]["artifacts"][0]["parts"] == [{"type": "text", "text": "hi"}]


async def hello(attempt: Attempt) -> Completed:
    return Completed(message(f"{attempt.task.message.text}, yourself"))


async def test_an_answer_may_be_a_message(tmp_path: Path) -> None:
    """Section 8: "either exactly one Message then close, or Task first, then events"; v0.1 knows tasks alone."""
    script = Scripted(hello, direct=True)
    async with running(idle_agent(), tmp_path, script.around) as served:
        dispatcher = Dispatcher(served.operations, lambda: "http://agent")

        async def answer(method: str, params: JsonObject) -> JsonObject:
            encoded = await dispatcher.answer(orjson.dumps(request(method, params)), Caller(Scope()))
            assert isinstance(encoded, bytes)
            return dict(result(orjson.loads(encoded)))

        async def streamed(method: str, params: JsonObject) -> list[ServerSentEvent]:
            answered = await dispatcher.answer(orjson.dumps(request(method, params)), Caller(Scope()))
            assert isinstance(answered, Streaming)
            return SseParser().feed(b"".join([frame async for frame in frames(answered, "http://agent")]))

        for generation in ("0.3", "1.0"):
            methods = METHODS[generation]
            plain = await answer(methods[Operation.SEND], said(generation, "hello"))
            [only] = await streamed(methods[Operation.STREAM], said(generation, "hello"))
            assert only.id is None
            for shown in (plain, result(orjson.loads(only.data))):
                words = v03.checked_item(shown, None).value if generation == "0.3" else shown["message"]
                assert shown is words or set(shown) == {"message"}
                assert words["role"] == ("agent" if generation == "0.3" else "ROLE_AGENT")
                assert words["parts"][0]["text"] == "hello, yourself"
                assert words["contextId"]
                assert "taskId" not in words
        task = await answer("tasks/send", said("0.1", "hello"))
        assert told_in(task) == "0.1"
        assert task["status"]["message"]["parts"] == [{"type": "text", "text": "hello, yourself"}]


async def test_agents_own_tests_speak_0_3(server: Connection) -> None:
    task = await server.send("echo x", generation="0.3", context_id="a context of mine", options={"title": "t"})
    assert (told_in(task), task["contextId"], task["artifacts"][0]["parts"][0]["text"]) == (
        "0.3",
        "a context of mine",
        "x",
    )
    assert told_in(await server.get(task["id"], generation="0.3")) == "0.3"
    items = [item async for _, item in server.stream("echo x", generation="0.3")]
    assert [v03.checked_item(item, None).kind for item in items][:2] == ["task", "status-update"]
    given = File("a.bin", "image/png", raw=b"\x00\xff")
    mixed = await server.send("echo x", data={"k": 1}, files=[given], generation="0.3")
    assert [part["kind"] for part in v03.checked_task(mixed)["history"][0]["parts"]] == ["text", "data", "file"]
    with pytest.raises(testing.RpcError, match="-32004"):
        await server.send("echo y", generation="0.3", task_id=task["id"])
