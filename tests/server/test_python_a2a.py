"""python-a2a's own ways to speak, beside the operations: what works, and what it does where it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from a2a_server.testing import Connection
from tests.clients.foreign.driver import Unexpected
from tests.server.behaviours import new_id
from tests.server.foreign import ForeignSpeaker, foreign_speaker, order_args
from tests.server.spoken import Order
from tests.server.test_foreign_clients import require_client

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: Connection) -> AsyncIterator[ForeignSpeaker]:
    require_client("python-a2a-0.5.10")
    async with foreign_speaker("python-a2a-0.5.10", server.url) as speaker:
        yield speaker


def said(text: str) -> dict[str, Any]:
    return order_args(Order(text, new_id()), "0.1")


async def test_asks_and_is_answered(client: ForeignSpeaker) -> None:
    assert await client.driver.one("ask", text="echo hello, wörld \u2028 ✓") == "hello, wörld \u2028 ✓"


@pytest.mark.parametrize("op", ["stream", "send_subscribe"])
async def test_falls_back_to_one_piece_where_it_would_stream(client: ForeignSpeaker, op: str) -> None:
    [whole] = [item async for item in client.driver.items(op, **said("stream 3"))]
    state = whole["status"] if op == "stream" else whole["status"]["state"]
    assert state == "completed"
    assert whole["artifacts"][0]["parts"] == [{"type": "text", "text": "chunk 0chunk 1chunk 2"}]


async def test_a_response_that_it_would_stream_comes_whole(client: ForeignSpeaker) -> None:
    assert [item async for item in client.driver.items("respond", **said("stream 3"))] == ["chunk 0chunk 1chunk 2"]


async def test_it_follows_no_task_and_says_so(client: ForeignSpeaker) -> None:
    task = await client.send(Order("echo x", new_id()))
    with pytest.raises(Unexpected, match="Agent does not support streaming"):
        await client.driver.one("subscribe", task=task.id, after=None)


@pytest.mark.parametrize("op", ["get", "cancel"])
async def test_an_error_becomes_a_task_of_its_own_making(client: ForeignSpeaker, op: str) -> None:
    made_up = await client.driver.one(op, task="nobody knows it", history=None)
    assert made_up["id"] != "nobody knows it"
    assert made_up.keys() == {"id", "sessionId", "status"}


async def test_a_second_message_to_an_ended_task_changes_nothing(client: ForeignSpeaker) -> None:
    task = await client.send(Order("echo x", new_id()))
    made_up = await client.driver.one("send", **order_args(Order("echo y", new_id(), task.id, task.context), "0.1"))
    assert made_up["id"] != task.id
    assert (await client.get(task.id)).artifacts == {"text": ("x",)}
