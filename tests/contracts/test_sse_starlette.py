"""The inner names of sse-starlette that `web/sse.py` lives on: a release that changes them fails here."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from a2a_server.web.sse import _Guards
from tests.patience import PATIENCE


async def test_pings_come_behind_one_interval_each_and_the_first_may_have_its_own() -> None:
    guards = _Guards(0.01, 3600, 30)
    pinged = asyncio.Event()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        pinged.set()

    task = asyncio.create_task(guards._ping(send))
    async with asyncio.timeout(PATIENCE):
        await pinged.wait()
    assert sent == [{"type": "http.response.body", "body": b": ping\n", "more_body": True}]
    assert guards.ping_interval == 3600
    task.cancel()


async def test_nothing_is_sent_behind_the_end_of_a_stream() -> None:
    guards = _Guards(0.01, 0.01, 30)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await guards.send_last(send, {"type": "http.response.body", "body": b"", "more_body": False})
    async with asyncio.timeout(PATIENCE):
        await guards._ping(send)  # it sees that the stream is over, and ends
    assert len(sent) == 1


async def test_the_watch_on_the_client_ends_when_it_leaves() -> None:
    guards = _Guards(3600, 3600, 30)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async with asyncio.timeout(PATIENCE):
        await guards._listen_for_disconnect(receive)
    assert not guards.active


async def test_a_guard_that_ends_ends_the_stream_with_what_it_failed_by() -> None:
    guards = _Guards(3600, 3600, 30)
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        raise OSError("gone")

    async def send(message: Message) -> None:
        pytest.fail("nothing is to be said")

    guards.begin(receive, send, ended.set_result)
    async with asyncio.timeout(PATIENCE):
        assert isinstance(await ended, OSError)
    guards.dismiss()
