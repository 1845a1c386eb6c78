"""The table of behaviours once more, spoken by clients that other people wrote, each in its own process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from a2a_server.examples.workbench import agent
from a2a_server.testing import Connection, connect
from tests.clients.foreign.driver import missing
from tests.server.behaviours import CONVERSATIONS, new_id
from tests.server.foreign import CLIENTS, ForeignSpeaker, foreign_speaker
from tests.server.relay import Relay, relay
from tests.server.spoken import Order
from tests.server.test_behaviours import (  # noqa: F401 - collected here too, with this module's `client`
    test_conversation,
    test_repeated_stream_is_the_log_again,
    test_send_and_get,
    test_stream,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = ["/.well-known/agent-card.json", "/.well-known/agent.json"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def wire() -> AsyncIterator[Relay]:
    async with relay() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(wire: Relay) -> AsyncIterator[Connection]:
    async with connect(agent, public_url=wire.url) as connection:
        wire.target = int(connection.url.rpartition(":")[2])
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=CLIENTS)
async def client(request: pytest.FixtureRequest, server: Connection, wire: Relay) -> AsyncIterator[ForeignSpeaker]:
    require_client(request.param)
    async with foreign_speaker(request.param, wire.url) as speaker:
        yield speaker


@pytest.fixture(autouse=True)
def what_the_client_cannot(request: pytest.FixtureRequest) -> None:
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if "client" in params:
        cannot = CLIENTS[params["client"]].cannot
        if known := {request.node.originalname, params.get("name")} & cannot.keys():
            pytest.skip(cannot[known.pop()])


def require_client(name: str) -> None:
    if reason := missing(CLIENTS[name].program):
        (pytest.fail if os.environ.get("A2A_TEST_REQUIRE_SERVICES") == "1" else pytest.skip)(reason)


async def test_limits_of_clients_name_tests() -> None:
    tests = {name for name in globals() if name.startswith("test_")}
    for limited in CLIENTS.values():
        assert limited.cannot.keys() <= tests | CONVERSATIONS.keys()


async def test_reads_the_card(client: ForeignSpeaker, wire: Relay) -> None:
    wire.forget()
    for path in PATHS:
        card = await client.driver.one("card", path=path)
        assert (card["name"], card["version"]) == ("Workbench", "1.0.0")
        assert [skill.get("id") if isinstance(skill, dict) else skill for skill in card["skills"]] == ["workbench"]
    check_version(wire, client.client.card_version)


async def test_calls_the_methods_of_its_generation(client: ForeignSpeaker, wire: Relay) -> None:
    wire.forget()
    task = await client.send(Order("echo x", new_id()))
    await client.get(task.id)
    delayed = await client.send(Order("echo x", new_id(), wait=False, options={"delaySeconds": 3600}))
    if client.client.streams:
        assert [event.kind async for event in client.stream(Order("echo x", new_id()))]
        following = client.subscribe(delayed.id)
        assert (await anext(following)).state == "submitted"
        await following.aclose()
    await client.cancel(delayed.id)
    assert set(wire.methods()) == set(client.client.methods)
    check_version(wire, client.client.version)


def check_version(wire: Relay, version: str) -> None:
    heads = wire.heads()
    assert heads
    for head in heads:
        said = [line for line in head.split("\r\n") if line.startswith("a2a-version:")]
        assert said == ([f"a2a-version: {version}"] if version else [])


async def test_a_question_is_answered(client: ForeignSpeaker) -> None:
    task = await client.send(Order("ask 2", new_id()))
    assert (task.state, task.said) == ("input-required", "question 1 of 2")
    assert (await client.get(task.id)).state == "input-required"
    again = await client.send(Order("one", new_id(), task.id, task.context))
    assert (again.id, again.state, again.said) == (task.id, "input-required", "question 2 of 2")
    if client.client.streams:
        events = [event async for event in client.stream(Order("two", new_id(), task.id, task.context))]
        assert (events[-1].task, events[-1].state) == (task.id, "completed")
    else:
        await client.send(Order("two", new_id(), task.id, task.context))
    ended = await client.get(task.id)
    assert (ended.state, ended.artifacts) == ("completed", {"text": ("one\ntwo",)})


async def test_a_stream_ends_with_a_question(client: ForeignSpeaker) -> None:
    if not client.client.streams:
        pytest.skip(client.client.cannot["test_stream"])
    events = [event async for event in client.stream(Order("ask 1", new_id()))]
    assert (events[-1].state, events[-1].said) == ("input-required", "question 1 of 1")
    assert (await client.cancel(events[-1].task)).state == "canceled"


@pytest.mark.parametrize("name", [name for name, client in CLIENTS.items() if client.streams])
async def test_heartbeats_disturb_no_stream(name: str) -> None:
    require_client(name)
    async with connect(agent, heartbeat_seconds=0.02) as server, foreign_speaker(name, server.url) as speaker:
        order = Order("stream 4 0.1", new_id())
        events = [event async for event in speaker.stream(order)]
        assert [event.n for event in events] == list(range(1, 8))
        task = await speaker.send(Order("stream 4 0.1", new_id(), wait=False))
        events = [event async for event in speaker.subscribe(task.id)]
        assert (events[-1].n, events[-1].state) == (7, "completed")
