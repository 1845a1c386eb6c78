"""The table of behaviours, spoken by every client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from a2a_server.testing import Connection
from tests.server.behaviours import CONVERSATIONS, RUNS, check_log, check_task, new_id
from tests.server.speakers import KINDS, speaker
from tests.server.spoken import Order, Speaker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=KINDS)
async def client(
    request: pytest.FixtureRequest, server: Connection, http: httpx2.AsyncClient
) -> AsyncIterator[Speaker]:
    async with speaker(request.param, server.url, http) as found:
        yield found


@pytest.mark.parametrize("name", RUNS)
async def test_send_and_get(client: Speaker, name: str) -> None:
    run = RUNS[name]
    task = await client.send(Order(run.line, new_id()))
    check_task(client, task, run)
    check_task(client, await client.get(task.id), run)


@pytest.mark.parametrize("name", RUNS)
async def test_stream(client: Speaker, name: str) -> None:
    run = RUNS[name]
    events = [event async for event in client.stream(Order(run.line, new_id()))]
    check_log(client, events, run.events, first_n=1)
    assert {event.task for event in events} == {events[0].task}
    check_task(client, await client.get(events[0].task), run)


@pytest.mark.parametrize("name", RUNS)
async def test_repeated_stream_is_the_log_again(client: Speaker, name: str) -> None:
    run = RUNS[name]
    order = Order(run.line, new_id())
    await client.send(order)
    check_log(client, [event async for event in client.stream(order)], run.events, first_n=1)
    check_log(client, [event async for event in client.stream(order, 2)], run.events[2:], first_n=3)


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_conversation(client: Speaker, name: str) -> None:
    await CONVERSATIONS[name](client)
