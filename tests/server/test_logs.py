"""What the log says of a task and of a request, with the fields that programs find it by."""

from __future__ import annotations

import json
import logging

import pytest

from a2a_server import Agent
from a2a_server.telemetry import JsonLines
from a2a_server.testing import connect

SECRET = "swordfish\n\u2028INFO forged"


def agent_of() -> Agent:
    agent = Agent("Logged")

    @agent.skill(id="works")
    async def works(text: str) -> str:
        if text == "raise":
            raise RuntimeError("broken")
        return text

    return agent


def fields(record: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(record)
    assert line.splitlines() == [line]
    found: dict[str, object] = json.loads(line)
    return found


async def test_a_skill_that_raises_is_logged_with_its_task_and_the_number_that_clients_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connect(agent_of()) as server:
        task = await server.send("raise")
    (record,) = [record for record in caplog.records if "raised" in record.getMessage()]
    logged = fields(record)
    assert (logged["task"], logged["skill"]) == (task["id"], "works")
    assert str(logged["error_id"]) in json.dumps(task["status"])
    assert "RuntimeError: broken" in str(logged["error"])


@pytest.mark.parametrize("streaming", [False, True], ids=["answer", "stream"])
async def test_an_internal_error_has_one_number_in_its_answer_and_in_the_log(
    caplog: pytest.LogCaptureFixture, streaming: bool
) -> None:
    async with connect(agent_of()) as server:

        async def broken(*arguments: object) -> object:
            raise RuntimeError("a secret reason")

        if streaming:
            server._system.engine.backends.store.events = broken  # type: ignore[method-assign,assignment]  # misbehaves on purpose
            server._system.engine.hub._extend = lambda *_: None  # type: ignore[method-assign]  # misbehaves on purpose
            message = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
            request = {"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message}}
            response = await server._http.post("/", json=request, headers={"A2A-Version": "1.0"})
            text = response.text.rpartition("data: ")[2]
        else:
            server._system.engine.backends.store.find_snapshot = broken  # type: ignore[method-assign,assignment]  # misbehaves on purpose
            text = json.dumps(await server.rpc("GetTask", {"id": "x"}, headers={"A2A-Version": "1.0"}))
    (record,) = [record for record in caplog.records if "Internal error" in record.getMessage()]
    logged = fields(record)
    assert json.loads(text)["error"]["code"] == -32603
    assert len(str(logged["error_id"])) == 12
    assert str(logged["error_id"]) in text
    assert "secret" not in text
    assert ("task" in logged) is streaming


async def test_requests_are_logged_for_who_debugs_without_their_bodies(caplog: pytest.LogCaptureFixture) -> None:
    async with connect(agent_of()) as server:
        with caplog.at_level(logging.DEBUG, "a2a_server.web"):
            await server.send(SECRET)
            await server.rpc(SECRET)
        with caplog.at_level(logging.INFO, "a2a_server.web"):
            await server.send("quiet")
    lines = [fields(record) for record in caplog.records if record.name == "a2a_server.web.rpc"]
    assert [(line["method"], line["generation"], line["code"]) for line in lines] == [
        ("send", "1.0", 0),
        ("unknown", "unknown", -32601),
    ]
    assert all(isinstance(line["seconds"], float) and line["level"] == "debug" for line in lines)
    assert "swordfish" not in json.dumps(lines)
