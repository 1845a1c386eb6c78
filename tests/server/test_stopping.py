"""A stop ends in time whatever the store does, and nothing acknowledged is lost by that."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.engine import engine as engine_module
from a2a_server.engine.closing import closed
from a2a_server.errors import StoreUnavailable
from a2a_server.model.objects import Scope, State
from a2a_server.model.turns import Needs
from a2a_server.settings import load
from a2a_server.wiring import System
from a2a_server.wiring.backends import store_of
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.fleet import shared_places
from tests.server.waiting import until, until_asked
from tests.services.proxy import Proxy
from tests.unit.misbehaving import MisbehavingStore

SPARE_SECONDS = 25.0
"""About 15, and room for a busy machine."""

ROOM_SECONDS = 12.0
"""For a busy machine: less than what the deadlines are that `hurried` shortens."""

BEAT_SECONDS = 0.05


class Held:
    """An agent whose handler goes on until it is canceled."""

    def __init__(self) -> None:
        self.begun = 0
        self.agent = Agent("Held")

        @self.agent.skill(id="waits")
        async def waits(text: str) -> str:
            self.begun += 1
            if text == "quick":
                return text
            await asyncio.Event().wait()
            raise AssertionError


@contextmanager
def hurried(monkeypatch: pytest.MonkeyPatch, *, closes: bool) -> Iterator[None]:
    """closes: the store can be closed, and has all the time that a slow machine takes for it."""

    async def unhurried(part: Any, seconds: float | None = None) -> None:  # noqa: ANN401 - any part
        await closed(part, PATIENCE if isinstance(part, MisbehavingStore) else seconds)

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "DRAINED_SECONDS", 0.2)
        patch.setattr(engine_module, "LEFT_SECONDS", 1.2)
        if closes:
            patch.setattr(engine_module, "closed", unhurried)
        yield


async def ends_within(running: Running, seconds: float) -> None:
    """It is measured in beats of a thread, which stands still with the machine, but not with the event loop."""
    beats, over = count(), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            next(beats)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        async with asyncio.timeout(PATIENCE):
            await running.system.stop()
    finally:
        over.set()
        thread.join()
    assert next(beats) < seconds / BEAT_SECONDS


@pytest.mark.parametrize("holds", ["turns", "claims", "everything"])
async def test_a_stop_does_not_wait_for_a_store_that_is_silent(
    tmp_path: Path, holds: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held()
    async with running(held.agent, tmp_path, poll_seconds=LONG, cancel_grace_seconds=0.1) as server:
        done = await server.send("quick")
        task_id = await server.start("slow")
        await until(lambda: held.begun == 2)
        await server.hold(lambda needs: bool(needs.claims) or holds != "claims")
        if holds == "claims":
            await server.start("timed", delaySeconds=0.3)
        late = asyncio.create_task(server.send("late")) if holds != "claims" else None
        await server.store.held.wait()
        behind = asyncio.create_task(server.send("behind"))
        await until(lambda: server.engine.writer.waiting > 0)
        if holds == "everything":
            closing = asyncio.Event()

            async def never() -> None:
                closing.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(server.store, "close", never)
        with hurried(monkeypatch, closes=holds != "everything"):
            await ends_within(server, 0.1 + 1.4 + ROOM_SECONDS)
        for sent in filter(None, (late, behind)):
            with pytest.raises(StoreUnavailable):
                await sent
        assert "what was still to be written" in caplog.text
        assert ("MisbehavingStore did not close in time" in caplog.text) == (holds == "everything")
        monkeypatch.undo()
        await server.store.inner.close()
        server.store.gate.set()
        await server.store.open()
        for known, state in ((done.id, State.COMPLETED), (task_id, State.WORKING)):
            assert (await server.row(known)).state is state
        await server.store.inner.close()
    async with running(held.agent, tmp_path) as again:

        async def rescued() -> bool:
            return (await again.row(task_id)).crashes == 1

        await until_asked(rescued)


@asynccontextmanager
async def behind_proxy(held: Held, places: dict[str, object], way: Proxy) -> AsyncIterator[Running]:
    chosen = load(None, drain_seconds=0.0, cancel_grace_seconds=0.1, **places)
    store = MisbehavingStore(store_of(chosen))
    made = Running(System(held.agent, chosen, store=store), store)
    await made.system.start()
    try:
        yield made
    finally:
        way.heal()
        await made.system.stop()


@pytest.mark.embedded
async def test_a_stop_ends_while_postgresql_is_silent(tmp_path: Path) -> None:
    held = Held()
    with shared_places(tmp_path, queue="store") as places, Proxy(str(places["store"])) as way:
        direct = dict(places)
        places["store"] = way.url
        async with behind_proxy(held, places, way) as server:
            done = await server.send("quick")
            task_id = await server.start("slow")
            await until(lambda: held.begun == 2)
            way.stall()
            asked = asyncio.Event()

            def noted(_: Needs) -> bool:
                asked.set()
                return False

            server.store.holds = noted
            late = asyncio.create_task(server.send("late"))
            await asked.wait()
            await ends_within(server, 0.1 + SPARE_SECONDS)
            with pytest.raises(StoreUnavailable):
                await late
        store = store_of(load(None, **direct))
        await store.open()
        try:
            for known, state in ((done.id, State.COMPLETED), (task_id, State.WORKING)):
                row = await store.find(Scope(), "", known)
                assert row is not None
                assert row.state is state
        finally:
            await store.close()
