"""A server that stops hears the requests that are on their way to it, and says with the answer that it closes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import uvloop

from a2a_server import Agent
from a2a_server.settings import load
from a2a_server.web.protocol import Protocol
from a2a_server.wiring import Server, System, serve_in_loop, serving
from tests.patience import PATIENCE
from tests.server.raw import Answer, Connection, dial
from tests.server.waiting import until

LONG = 3600.0
"""A server that waits so long without need fails its test, which has less patience."""
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Held:
    """A server whose skill goes on when it is told to, and its end."""

    port: int
    server: Server
    running: asyncio.Task[None]
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def stop_begun(self) -> None:
        """It was told to stop, and accepts no connections any more."""
        self.server.should_exit = True
        await until(lambda: not self.server.servers[0].is_serving())

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.running


@asynccontextmanager
async def held(directory: Path, drain_seconds: float = LONG) -> AsyncIterator[Held]:
    agent = Agent("Held")

    @agent.skill
    async def works(text: str) -> str:
        made.begun.set()
        await made.release.wait()
        return text

    places = {"store": f"sqlite:///{directory}/tasks.db", "artifacts": f"file:///{directory}/artifacts"}
    clients = dict.fromkeys(("header_seconds", "body_stall_seconds", "keep_alive_seconds"), LONG)
    settings = load(None, host="127.0.0.1", port=0, drain_seconds=drain_seconds, **clients, **places)
    listening: asyncio.Queue[Server] = asyncio.Queue()
    running = asyncio.create_task(serve_in_loop(System(agent, settings), listening.put_nowait))
    async with asyncio.timeout(PATIENCE):
        server = await listening.get()
    made = Held(server.servers[0].sockets[0].getsockname()[1], server, running)
    try:
        yield made
    finally:
        made.release.set()
        server.should_exit = server.force_exit = True
        await made.ended()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LAST_REQUEST_SECONDS", LONG)
    monkeypatch.setattr(serving, "RECENT_SECONDS", LONG)
    monkeypatch.setattr(serving, "_LOOK_SECONDS", 0.0)


def post(method: str, **params: object) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def message(text: str) -> dict[str, object]:
    return {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]}


async def kept(connection: Connection) -> None:
    """The connection was used, and stays open."""
    await connection.say(GET)
    answer = await connection.answer()
    assert answer.status == 200
    assert "connection" not in answer.headers


async def last(connection: Connection) -> Answer:
    """The answer, behind which there is nothing."""
    answer = await connection.answer()
    assert answer.headers["connection"] == "close"
    assert await connection.everything() == b""
    return answer


@pytest.mark.parametrize("used", [True, False])
async def test_a_request_on_an_idle_connection_is_answered(tmp_path: Path, used: bool) -> None:
    async with held(tmp_path) as server, dial(server.port) as connection:
        if used:
            await kept(connection)
        else:
            await until(lambda: len(server.server.server_state.connections) == 1)
        await server.stop_begun()
        await connection.say(GET)
        assert (await last(connection)).body == b"ok\n"
        await server.ended()  # at once: nobody can ask any more


async def test_a_request_whose_head_has_begun_is_answered(tmp_path: Path) -> None:
    async with held(tmp_path) as server, dial(server.port) as connection, dial(server.port) as other:
        await kept(connection)
        await connection.say(GET[:20])
        await kept(other)  # so the server has read what came before
        await server.stop_begun()
        await other.say(GET)
        await last(other)
        await connection.say(GET[20:])
        assert (await last(connection)).status == 200
        await server.ended()


async def test_a_request_whose_body_has_begun_is_answered_as_ever(tmp_path: Path) -> None:
    sent = post("SendStreamingMessage", message=message("mine"))
    async with held(tmp_path) as server, dial(server.port) as connection, dial(server.port) as idle:
        await connection.say(sent[:-5])
        await kept(idle)
        await server.stop_begun()
        await idle.say(GET)
        await last(idle)
        await connection.say(sent[-5:])
        async with asyncio.timeout(PATIENCE):
            head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head
        server.release.set()
        await server.ended()


async def test_waits_go_on_while_others_may_ask(tmp_path: Path) -> None:
    async with held(tmp_path) as server, dial(server.port) as asking, dial(server.port) as idle:
        await kept(idle)
        await asking.say(post("SendMessage", message=message("mine")))
        async with asyncio.timeout(PATIENCE):
            await server.begun.wait()
        async with dial(server.port) as behind:
            await kept(behind)
            await server.stop_begun()
            await behind.say(post("SendMessage", message=message("behind")))
            server.release.set()
            for connection in (asking, behind):
                answer = json.loads((await last(connection)).body)
                assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        await idle.say(GET)
        await last(idle)
        await server.ended()


async def test_streams_end_when_nobody_can_ask_any_more(tmp_path: Path) -> None:
    async with held(tmp_path) as server, dial(server.port) as streaming, dial(server.port) as idle:
        await kept(idle)
        await streaming.say(post("SendStreamingMessage", message=message("mine")))
        async with asyncio.timeout(PATIENCE):
            head = await streaming.reader.readuntil(b"\r\n\r\n")
            await server.begun.wait()
        assert b"connection: close" not in head
        await server.stop_begun()
        hub = server.server._system.engine.hub
        closed_before = hub.closed
        await idle.say(GET)
        await last(idle)
        assert (await streaming.everything()).endswith(b"0\r\n\r\n")
        assert (closed_before, hub.closed) == (False, True)
        server.release.set()
        await server.ended()


async def test_a_connection_whose_stream_ended_meanwhile_may_be_asked_on(tmp_path: Path) -> None:
    """The head of that answer went out before anybody knew of the stop."""
    async with held(tmp_path) as server, dial(server.port) as streaming, dial(server.port) as idle:
        await kept(idle)
        await streaming.say(post("SendStreamingMessage", message=message("mine")))
        async with asyncio.timeout(PATIENCE):
            await streaming.reader.readuntil(b"\r\n\r\n")
            await server.begun.wait()
        await server.stop_begun()
        server.release.set()
        async with asyncio.timeout(PATIENCE):
            assert b"TASK_STATE_COMPLETED" in await streaming.reader.readuntil(b"\r\n0\r\n\r\n")
        await streaming.say(GET)
        assert (await last(streaming)).body == b"ok\n"
        await idle.say(GET)
        await last(idle)
        await server.ended()


async def test_when_waits_end_nobody_can_ask_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LAST_REQUEST_SECONDS", 0.0)
    async with held(tmp_path) as server, dial(server.port) as connection:
        await kept(connection)
        hub, connections = server.server._system.engine.hub, server.server.server_state.connections
        awaited: list[bool] = []
        close = hub.close

        def noted() -> None:
            awaited.append(any(cast("Protocol", each).awaits for each in connections))
            close()

        monkeypatch.setattr(hub, "close", noted)
        server.server.should_exit = True
        assert await connection.everything() == b""
        await server.ended()
        assert awaited[0] is False


async def test_a_connection_on_which_nobody_asks_is_closed_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LAST_REQUEST_SECONDS", 0.2)
    async with held(tmp_path) as server, dial(server.port) as connection:
        await kept(connection)
        server.server.should_exit = True
        assert await connection.everything() == b""
        await server.ended()


async def test_a_connection_that_was_idle_for_long_is_closed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "RECENT_SECONDS", 0.0)
    async with held(tmp_path) as server, dial(server.port) as connection:
        await kept(connection)
        server.server.should_exit = True
        assert await connection.everything() == b""
        await server.ended()


async def test_who_gives_running_handlers_no_time_gives_connections_none(tmp_path: Path) -> None:
    async with held(tmp_path, drain_seconds=0.0) as server, dial(server.port) as connection:
        await kept(connection)
        server.server.should_exit = True
        assert await connection.everything() == b""
        await server.ended()


async def test_a_second_signal_waits_for_no_request(tmp_path: Path) -> None:
    async with held(tmp_path) as server, dial(server.port) as connection:
        await kept(connection)
        await server.stop_begun()
        server.server.force_exit = True
        assert await connection.everything() == b""
        await server.ended()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_connection_that_nobody_has_accepted_yet_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    shutdown = Server.shutdown
    late: list[socket.socket] = []

    def dialled(server: Server, sockets: list[socket.socket]) -> Awaitable[None]:
        """Without a turn of the loop between the client's connect and the stop."""
        late.append(socket.create_connection(sockets[0].getsockname()))
        return shutdown(server, sockets)

    monkeypatch.setattr(Server, "shutdown", dialled)

    async def answered() -> None:
        async with held(tmp_path) as server:
            await server.stop_begun()
            connection = Connection(*await asyncio.open_connection(sock=late[0]))
            await connection.say(GET)
            assert (await last(connection)).body == b"ok\n"
            await connection.close()
            await server.ended()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(answered())
