"""Answers that take long end with their clients, however many came before them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from a2a_server.web import waits
from a2a_server.web.waits import Waits
from tests.patience import PATIENCE
from tests.server.waiting import until


async def answering(
    all_waits: Waits, receive: Callable[[], Awaitable[dict[str, object]]], answered: asyncio.Event
) -> bool:
    """Whether the client went away before the answer was there."""
    wait = all_waits.begin(receive)
    try:
        await answered.wait()
    except asyncio.CancelledError:
        if not wait.gone:
            raise
    finally:
        all_waits.end(wait)
    return wait.gone


async def leaves() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def stays() -> dict[str, object]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_who_leaves_ends_only_the_own_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SECONDS", 0.01)
    all_waits = Waits()
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):  # the clock stops when nobody waits, and starts again
            answered = asyncio.Event()
            other = asyncio.create_task(answering(all_waits, stays, answered))
            assert await asyncio.create_task(answering(all_waits, leaves, answered))
            assert not other.done()
            answered.set()
            assert not await other
            await until(lambda: all_waits._ticks_in is None)


async def test_a_wait_that_somebody_else_cancels_is_canceled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "SECONDS", 0.01)
    waiting = asyncio.create_task(answering(Waits(), stays, asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
