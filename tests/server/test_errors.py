"""Bad input, row by row of the oracle: the code, the id, the field, and nothing of our insides in any text."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

from a2a_server.testing import Connection
from tests.server.behaviours import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS_URI = "urn:a2a-task-server:task-options:v1"
INSIDES = re.compile(
    r"Traceback|Error\(|Exception|\.py|/tmp|/usr/|/home/|site-packages|SELECT |INSERT |sqlite|pydantic|orjson|NoneType"
    r"|object at 0x|<class|a2a_server|asyncio",
    re.IGNORECASE,
)
TEXT = {"1.0": {"text": "echo y"}, "0.1": {"type": "text", "text": "echo y"}}
BOTH = pytest.mark.parametrize("generation", ["1.0", "0.1"])


async def post(
    server: Connection, http: httpx2.AsyncClient, body: bytes | str | object, **headers: str
) -> httpx2.Response:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await http.post(server.url, content=content, headers={"Content-Type": "application/json", **named})
    without_urn = response.text.replace("urn:a2a-task-server", "")
    assert not INSIDES.search(without_urn), response.text
    return response


def call(method: str, params: object = None, id: object = 7) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({} if params is None else {"params": params})


def send(generation: str = "1.0", **members: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """A good send with `members` of params put over it; a member that is `...` is taken away."""
    message: dict[str, Any] = {"role": "ROLE_USER", "messageId": new_id(), "parts": [TEXT["1.0"]]}
    params: dict[str, Any] = {"message": message}
    if generation == "0.1":
        params = {"id": new_id(), "message": {"role": "user", "parts": [TEXT["0.1"]]}}
    return {name: value for name, value in (params | members).items() if value is not ...}


def words(generation: str = "1.0", **members: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    message = send(generation)["message"] | members
    return send(generation, message={name: value for name, value in message.items() if value is not ...})


NO_PARAMS: tuple[object, ...] = (None, [], [1], "text", {})
NO_NUMBERS: tuple[object, ...] = ("4", -1, 5, 1.5, [], True)
SEND = {"1.0": "SendMessage", "0.1": "tasks/send"}
STREAM = {"1.0": "SendStreamingMessage", "0.1": "tasks/sendSubscribe"}
GET = {"1.0": "GetTask", "0.1": "tasks/get"}
CANCEL = {"1.0": "CancelTask", "0.1": "tasks/cancel"}
SUBSCRIBE = {"1.0": "SubscribeToTask", "0.1": "tasks/resubscribe"}


def check(response: httpx2.Response, code: int, id: object = 7, path: str | None = None) -> dict[str, Any]:
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (body["jsonrpc"], body["id"], body["error"]["code"]) == ("2.0", id, code)
    assert "result" not in body
    error: dict[str, Any] = body["error"]
    assert error["message"]
    if path is not None:
        data = error["data"]
        if isinstance(data, list):
            [bad] = [entry for entry in data if entry["@type"].endswith("google.rpc.BadRequest")]
            assert bad["fieldViolations"][0]["field"] == path
        else:
            assert data["field"] == path
    return error


DEEP = b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":' + b"[" * 65 + b"]" * 65 + b"}"
UNREADABLE = {
    "not JSON": b"{",
    "empty": b"",
    "bad UTF-8": b'{"jsonrpc":"2.0","id":7,"method":"\xff"}',
    "lone surrogate": b'{"jsonrpc":"2.0","id":7,"method":"\\ud800"}',
    "NaN": b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"x":NaN}}',
    "Infinity": b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"x":-Infinity}}',
    "too deep": DEEP,
    "2**64": b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"x":18446744073709551616}}',
    "5000 digits": b'{"jsonrpc":"2.0","id":7,"method":"GetTask","params":{"x":' + b"9" * 5000 + b"}}",
    "far too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_unreadable(server: Connection, http: httpx2.AsyncClient, name: str) -> None:
    check(await post(server, http, UNREADABLE[name]), -32700, None)


NO_REQUESTS: dict[str, tuple[object, object]] = {
    "a string": ("text", None),
    "a number": (1, None),
    "null": (None, None),
    "empty array": ([], None),
    "no version": ({"id": 7, "method": "GetTask"}, 7),
    "version 1.0": ({"jsonrpc": "1.0", "id": 7, "method": "GetTask"}, 7),
    "no method": ({"jsonrpc": "2.0", "id": 7}, 7),
    "method a number": ({"jsonrpc": "2.0", "id": 7, "method": 1}, 7),
    "id an object": (call("GetTask", {"id": "x"}, {}), None),
    "id an array": (call("GetTask", {"id": "x"}, [1]), None),
    "id a boolean": (call("GetTask", {"id": "x"}, id=True), None),
    "101 requests": ([call("GetTask", {"id": "x"})] * 101, None),
}


@pytest.mark.parametrize("name", NO_REQUESTS)
async def test_no_request(server: Connection, http: httpx2.AsyncClient, name: str) -> None:
    body, id = NO_REQUESTS[name]
    check(await post(server, http, json.dumps(body)), -32600, id)


@pytest.mark.parametrize("method", ["", "tasks/nothing", "sendMessage", "message/send", "call", "rpc.discover"])
async def test_unknown_method(server: Connection, http: httpx2.AsyncClient, method: str) -> None:
    check(await post(server, http, call(method, {"id": "x"})), -32601)


OPTIONS = 'metadata["urn:a2a-task-server:task-options:v1"]'
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "no message": ("1.0", send(message=...), "message"),
    "message a list": ("1.0", send(message=[]), "message"),
    "no message id": ("1.0", words(messageId=...), "message.messageId"),
    "empty message id": ("1.0", words(messageId=""), "message.messageId"),
    "long message id": ("1.0", words(messageId="x" * 257), "message.messageId"),
    "control characters": ("1.0", words(messageId="a\nb"), "message.messageId"),
    "no role": ("1.0", words(role=...), "message.role"),
    "agent's role": ("1.0", words(role="ROLE_AGENT"), "message.role"),
    "no parts": ("1.0", words(parts=...), "message.parts"),
    "empty parts": ("1.0", words(parts=[]), "message.parts"),
    "part of no kind": ("1.0", words(parts=[TEXT["1.0"], {}]), "message.parts[1]"),
    "part of two kinds": ("1.0", words(parts=[{"text": "x", "data": 1}]), "message.parts[0]"),
    "part with kind of 0.3": ("1.0", words(parts=[{"kind": "text"}]), "message.parts[0]"),
    "no base64": ("1.0", words(parts=[{"raw": "!"}]), "message.parts[0].raw"),
    "text a number": ("1.0", words(parts=[{"text": 1}]), "message.parts[0].text"),
    "negative history": ("1.0", send(configuration={"historyLength": -1}), "configuration.historyLength"),
    "history a string": ("1.0", send(configuration={"historyLength": "1"}), "configuration.historyLength"),
    "metadata a string": ("1.0", send(metadata="x"), "metadata"),
    "unknown option": ("1.0", send(metadata={OPTIONS_URI: {"skil": "x"}}), f"{OPTIONS}.skil"),
    "unsupported option": ("1.0", send(metadata={OPTIONS_URI: {"dependsOn": ["x"]}}), f"{OPTIONS}.dependsOn"),
    "wrong option": ("1.0", send(metadata={OPTIONS_URI: {"maxAttempts": 0}}), f"{OPTIONS}.maxAttempts"),
    "unknown skill": ("1.0", send(metadata={OPTIONS_URI: {"skill": "nothing"}}), f"{OPTIONS}.skill"),
    "huge delay": ("1.0", send(metadata={OPTIONS_URI: {"delaySeconds": 1e300}}), f"{OPTIONS}.delaySeconds"),
    "huge time limit": ("1.0", send(metadata={OPTIONS_URI: {"timeoutSeconds": 1e20}}), f"{OPTIONS}.timeoutSeconds"),
    "title a huge number": ("1.0", send(metadata={OPTIONS_URI: {"title": 1e300}}), f"{OPTIONS}.title"),
    "parameters a number": ("1.0", send(metadata={OPTIONS_URI: {"parameters": 1e300}}), f"{OPTIONS}.parameters"),
    "old: huge delay": ("0.1", send("0.1", metadata={OPTIONS_URI: {"delaySeconds": 1e300}}), f"{OPTIONS}.delaySeconds"),
    "old: huge attempts": ("0.1", send("0.1", metadata={OPTIONS_URI: {"maxAttempts": 1e20}}), f"{OPTIONS}.maxAttempts"),
    "moment without zone": ("1.0", send(metadata={OPTIONS_URI: {"runAt": "2026-01-01T00:00:00"}}), f"{OPTIONS}.runAt"),
    "afterEvent no number": ("1.0", send(metadata={"afterEvent": "x"}), "metadata.afterEvent"),
    "tenant": ("1.0", send(tenant="x"), "tenant"),
    "old: no id": ("0.1", send("0.1", id=...), "id"),
    "old: empty id": ("0.1", send("0.1", id=""), "id"),
    "old: long id": ("0.1", send("0.1", id="x" * 257), "id"),
    "old: no message": ("0.1", send("0.1", message=...), "message"),
    "old: role": ("0.1", words("0.1", role="agent"), "message.role"),
    "old: empty parts": ("0.1", words("0.1", parts=[]), "message.parts"),
    "old: part of no kind": ("0.1", words("0.1", parts=[{"text": "x"}]), "message.parts[0].type"),
    "old: part of a wrong kind": ("0.1", words("0.1", parts=[{"type": "video"}]), "message.parts[0].type"),
    "old: negative history": ("0.1", send("0.1", historyLength=-1), "historyLength"),
    "old: unknown option": ("0.1", send("0.1", metadata={OPTIONS_URI: {"x": 1}}), f"{OPTIONS}.x"),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", WRONG)
async def test_invalid_send(server: Connection, http: httpx2.AsyncClient, name: str, streaming: bool) -> None:
    generation, params, path = WRONG[name]
    method = (STREAM if streaming else SEND)[generation]
    check(await post(server, http, call(method, params)), -32602, path=path)


@BOTH
async def test_params_missing_or_no_object(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    for methods in (SEND, STREAM, GET, CANCEL, SUBSCRIBE):
        for params in NO_PARAMS:
            check(await post(server, http, call(methods[generation], params)), -32602)
    for params in ({"id": 1}, {"id": ""}, {"id": "x" * 257}, {"id": "\x00"}):
        check(await post(server, http, call(GET[generation], params)), -32602, path="id")
    wrong = {"id": "x", "historyLength": -1}
    check(await post(server, http, call(GET[generation], wrong)), -32602, path="historyLength")


async def test_versions(server: Connection, http: httpx2.AsyncClient) -> None:
    unknown = {"id": "nobody knows it"}
    for version in ("9.9", "2.0", "x", "1"):
        check(await post(server, http, call("GetTask", unknown), A2A_Version=version), -32009)
    check(await post(server, http, call("GetTask", unknown), A2A_Version="0.3"), -32009)
    check(await post(server, http, call("GetTask", unknown), A2A_Version="0.1"), -32009)
    check(await post(server, http, call("tasks/get", unknown), A2A_Version="1.0"), -32009)
    for version in ("1.0", "1.0.1", ""):
        check(await post(server, http, call("GetTask", unknown), A2A_Version=version), -32001)
    for version in ("0.3", "0.1", ""):
        check(await post(server, http, call("tasks/get", unknown), A2A_Version=version), -32001)
    url = f"{server.url}/?A2A-Version=9.9"
    check(await http.post(url, json=call("GetTask", unknown)), -32009)


@BOTH
async def test_unknown_task(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    answers = set()
    for methods in (GET, CANCEL, SUBSCRIBE):
        for id in ("nobody knows it", "nor this"):
            answers.add(check(await post(server, http, call(methods[generation], {"id": id})), -32001)["message"])
    assert len(answers) == 1


@BOTH
async def test_ended_and_working_tasks(server: Connection, http: httpx2.AsyncClient, generation: Any) -> None:  # noqa: ANN401 - a literal
    done = await server.send("echo x", generation=generation)
    check(await post(server, http, call(CANCEL[generation], {"id": done["id"]})), -32002)
    work = await server.send("sleep 60", generation=generation, blocking=False)
    for task in (done, work):
        more = send("0.1", id=task["id"]) if generation == "0.1" else words(taskId=task["id"])
        check(await post(server, http, call(SEND[generation], more)), -32004)
        check(await post(server, http, call(STREAM[generation], more)), -32004)
    other = (
        words(taskId=work["id"], contextId="another")
        if generation == "1.0"
        else {**send("0.1", id=work["id"]), "sessionId": "another"}
    )
    path = "message.contextId" if generation == "1.0" else "sessionId"
    check(await post(server, http, call(SEND[generation], other)), -32602, path=path)
    await server.cancel(work["id"], generation=generation)


@BOTH
async def test_events_that_are_not_there(server: Connection, http: httpx2.AsyncClient, generation: Any) -> None:  # noqa: ANN401 - a literal
    task = await server.send("echo x", generation=generation)  # four events
    for last in ("x", "-1", "5", "99999999999999999999", "1.5"):
        request = call(SUBSCRIBE[generation], {"id": task["id"]})
        check(await post(server, http, request, Last_Event_ID=last), -32602, path="Last-Event-ID")
    for after in NO_NUMBERS:
        request = call(SUBSCRIBE[generation], {"id": task["id"], "metadata": {"afterEvent": after}})
        check(await post(server, http, request), -32602)


@BOTH
async def test_the_place_that_named_the_event_is_named(
    server: Connection, http: httpx2.AsyncClient, generation: str
) -> None:
    sent = send(generation)
    assert "result" in (await post(server, http, call(SEND[generation], sent))).json()
    again = call(STREAM[generation], sent | {"metadata": {"afterEvent": 99}})
    check(await post(server, http, again), -32602, path="metadata.afterEvent")
    check(await post(server, http, again, Last_Event_ID="98"), -32602, path="Last-Event-ID")


PUSH = {
    "CreateTaskPushNotificationConfig": {"taskId": "x", "url": "https://example.org"},
    "GetTaskPushNotificationConfig": {"taskId": "x", "id": "p"},
    "ListTaskPushNotificationConfigs": {"taskId": "x"},
    "DeleteTaskPushNotificationConfig": {"taskId": "x", "id": "p"},
    "tasks/pushNotification/set": {"id": "x", "pushNotificationConfig": {"url": "https://example.org"}},
    "tasks/pushNotification/get": {"id": "x"},
}


@pytest.mark.parametrize("method", PUSH)
async def test_push_is_not_declared(server: Connection, http: httpx2.AsyncClient, method: str) -> None:
    error = check(await post(server, http, call(method, PUSH[method])), -32003)
    assert error["message"] == "Push Notification is not supported"


async def test_push_with_a_send(server: Connection, http: httpx2.AsyncClient) -> None:
    new = send(configuration={"taskPushNotificationConfig": {"url": "https://example.org"}})
    check(await post(server, http, call("SendMessage", new)), -32003)
    old = send("0.1", pushNotification={"url": "https://example.org"})
    check(await post(server, http, call("tasks/send", old)), -32003)


async def test_extended_card_is_not_declared(server: Connection, http: httpx2.AsyncClient) -> None:
    check(await post(server, http, call("GetExtendedAgentCard")), -32004)
    check(await post(server, http, call("GetExtendedAgentCard", {})), -32004)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
async def test_content_type(server: Connection, http: httpx2.AsyncClient, kind: str) -> None:
    response = await post(server, http, call("GetTask", {"id": "x"}), Content_Type=kind)
    assert response.status_code == 415
    assert (response.json()["error"]["code"], response.json()["id"]) == (-32005, None)


async def test_content_types_and_encodings(server: Connection, http: httpx2.AsyncClient) -> None:
    request = call("GetTask", {"id": "nobody knows it"})
    for kind in ("application/a2a+json", "application/json; charset=utf-8", "APPLICATION/JSON"):
        check(await post(server, http, request, Content_Type=kind), -32001)
    for coding in ("gzip", "br", "identity, gzip"):
        response = await post(server, http, request, Content_Encoding=coding)
        assert (response.status_code, response.json()["error"]["code"]) == (415, -32005)


async def test_body_too_large(server: Connection, http: httpx2.AsyncClient) -> None:
    limit = 10 * 1024 * 1024
    response = await post(server, http, b" " * (limit + 1))
    assert (response.status_code, response.json()["error"]["code"], response.json()["id"]) == (413, -32600, None)
    assert str(limit) in response.json()["error"]["message"]


async def test_too_many_members(server: Connection, http: httpx2.AsyncClient) -> None:
    many = {f"k{index}": 0 for index in range(10_001)}
    error = check(await post(server, http, call("SendMessage", send(metadata=many))), -32602, path="metadata")
    assert "10000" in error["message"]
    crowded = call("SendMessage", send(metadata={"numbers": [1] * 100_001}))
    error = check(await post(server, http, crowded), -32602, path="metadata.numbers")
    assert "100000" in error["message"]


async def test_notifications(server: Connection, http: httpx2.AsyncClient) -> None:
    id = new_id()
    request = {"jsonrpc": "2.0", "method": "tasks/send", "params": send("0.1", id=id)}
    response = await post(server, http, request)
    assert (response.status_code, response.content) == (204, b"")
    assert (await server.get(id, generation="0.1"))["status"]["state"] == "completed"
    for method in ("tasks/nothing", "GetTask"):
        response = await post(server, http, {"jsonrpc": "2.0", "method": method, "params": {"id": "nobody knows it"}})
        assert (response.status_code, response.content) == (204, b"")
    check(
        await post(server, http, {"jsonrpc": "2.0", "method": "SendStreamingMessage", "params": send()}), -32600, None
    )


async def test_ids_come_back(server: Connection, http: httpx2.AsyncClient) -> None:
    for id in (0, -5, 1.5, "", "text", "\u2028", None, 2**63 - 1):
        check(await post(server, http, call("GetTask", {"id": "nobody knows it"}, id)), -32001, id)


async def test_batches(server: Connection, http: httpx2.AsyncClient) -> None:
    task = await server.send("echo x")
    batch = [
        call("GetTask", {"id": task["id"]}, 1),
        call("GetTask", {"id": "nobody knows it"}, "two"),
        {"jsonrpc": "2.0", "method": "GetTask", "params": {"id": task["id"]}},
        7,
        call("SendStreamingMessage", send(), 4),
        call("tasks/get", {"id": task["id"]}, None),
        call("nothing", None, 6),
    ]
    response = await post(server, http, batch)
    answers = response.json()
    assert response.status_code == 200
    assert [answer["id"] for answer in answers] == [1, "two", None, 4, None, 6]
    assert answers[0]["result"]["id"] == answers[4]["result"]["id"] == task["id"]
    codes = [answer["error"]["code"] for answer in answers if "error" in answer]
    assert codes == [-32001, -32600, -32600, -32601]
    silent = await post(server, http, [{"jsonrpc": "2.0", "method": "GetTask", "params": {"id": "x"}}] * 2)
    assert (silent.status_code, silent.content) == (204, b"")
    full = (await post(server, http, [call("GetTask", {"id": task["id"]}, n) for n in range(100)])).json()
    assert [answer["id"] for answer in full] == list(range(100))


async def test_batches_run_in_order(server: Connection, http: httpx2.AsyncClient) -> None:
    id = new_id()
    batch = [call("tasks/send", send("0.1", id=id), 1), call("tasks/get", {"id": id}, 2)]
    first, second = (await post(server, http, batch)).json()
    assert first["result"]["status"] == second["result"]["status"]


async def test_shapes_of_error_data(server: Connection, http: httpx2.AsyncClient) -> None:
    new = check(await post(server, http, call("GetTask", {"id": "nobody knows it"})), -32001)
    assert new["data"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "TASK_NOT_FOUND",
        "domain": "a2a-protocol.org",
    }
    old = check(await post(server, http, call("tasks/get", {"id": "nobody knows it"})), -32001)
    assert isinstance(old.get("data", {}), dict)


@BOTH
async def test_overload(server: Connection, http: httpx2.AsyncClient, generation: str) -> None:
    writer = server._system.engine.writer
    most, writer._max_operations = writer._max_operations, 0
    try:
        for methods in (SEND, STREAM):
            response = await post(server, http, call(methods[generation], send(generation)))
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert (response.json()["error"]["code"], response.json()["id"]) == (-32050, 7)
    finally:
        writer._max_operations = most
    assert (await server.send("echo x"))["status"]["state"] == "TASK_STATE_COMPLETED"
