"""A graceful stop: what is on its way is handed back for free, and runs when the server is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from a2a_server import Agent
from a2a_server.errors import StoreUnavailable
from a2a_server.lifecycle.draining import DRAIN, SPACE, Drain
from a2a_server.lifecycle.submission import Submitted
from a2a_server.model.objects import Message, Phase, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.service.batching import Batching, Item
from a2a_server.service.sending import Sending
from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until


def agent_of(begun: list[str]) -> Agent:
    agent = Agent("Drained")

    @agent.skill(id="works")
    async def works(text: str) -> str:
        begun.append(text)
        return text

    return agent


async def completed_after_restart(directory: Path, task_ids: list[str], begun: list[str]) -> None:
    assert begun == []
    async with running(agent_of(begun), directory) as server:
        for task_id in task_ids:
            row = await server.reached(task_id, State.COMPLETED, State.FAILED)
            assert (row.state, row.attempt, row.crashes) == (State.COMPLETED, 0, 0)
    assert len(begun) == len(task_ids)


async def stopped_while(server: Running, task_ids: list[str]) -> None:
    await server.stop_with_held()
    await server.store.open()
    for task_id in task_ids:
        row = await server.row(task_id)
        assert (row.phase, row.fence, row.attempt, row.crashes, row.worker) == (Phase.READY, 1, 0, 0, b"")
    await server.store.close()


@pytest.mark.parametrize("drain_seconds", [0.0, 5.0])
async def test_a_claim_in_flight_is_handed_back(tmp_path: Path, drain_seconds: float) -> None:
    begun: list[str] = []
    async with running(agent_of(begun), tmp_path, poll_seconds=LONG, drain_seconds=drain_seconds) as server:
        await server.hold(lambda needs: bool(needs.claims))
        items = [Item(Message(Role.USER, (Text("go"),)), options=TaskOptions(maxAttempts=1)) for _ in range(5)]
        batch = await Batching(server.engine, Sending(server.engine, str)).submit(Scope(), items)  # nobody runs it yet
        tasks = [outcome.row.id for outcome in batch.outcomes if isinstance(outcome, Submitted)]
        assert len(tasks) == 5
        await stopped_while(server, tasks)
    await completed_after_restart(tmp_path, tasks, begun)


@pytest.mark.parametrize("drain_seconds", [0.0, 5.0])
async def test_a_direct_dispatch_in_flight_is_handed_back(tmp_path: Path, drain_seconds: float) -> None:
    begun: list[str] = []
    async with running(agent_of(begun), tmp_path, poll_seconds=LONG, drain_seconds=drain_seconds) as server:
        await server.hold(lambda needs: bool(needs.queues))
        sending = asyncio.create_task(server.start(maxAttempts=1))
        await server.stop_with_held()
        task_id = await sending
        await server.store.open()
        row = await server.row(task_id)
        assert (row.phase, row.fence, row.attempt, row.crashes) == (Phase.READY, 1, 0, 0)
        await server.store.close()
    await completed_after_restart(tmp_path, [task_id], begun)


async def test_a_run_that_is_being_restored_is_handed_back(tmp_path: Path) -> None:
    begun: list[str] = []
    async with running(agent_of(begun), tmp_path, poll_seconds=LONG) as server:
        server.store.held_snapshots = 1
        await server.hold(lambda _: False)
        task_id = await server.start(delaySeconds=1, maxAttempts=1)
        await stopped_while(server, [task_id])
    await completed_after_restart(tmp_path, [task_id], begun)


async def test_a_run_that_is_being_restored_may_end_while_there_is_time(tmp_path: Path) -> None:
    begun: list[str] = []
    async with running(agent_of(begun), tmp_path, poll_seconds=LONG, drain_seconds=3600.0) as server:
        server.store.held_snapshots = 1
        await server.hold(lambda _: False)
        task_id = await server.start(delaySeconds=1, maxAttempts=1)
        await server.stop_with_held()
        await server.store.open()
        row = await server.row(task_id)
        assert (row.state, row.fence, len(begun)) == (State.COMPLETED, 1, 1)
        await server.store.close()


@pytest.mark.parametrize("error", [ConnectionError("closing"), RuntimeError("closing")])
async def test_what_a_handler_raises_at_a_drain_is_part_of_the_stop(tmp_path: Path, error: Exception) -> None:
    agent = Agent("Drained")
    begun = asyncio.Event()

    @agent.skill(id="works")
    async def works(text: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise error from None

    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        task_id = await server.start(maxAttempts=1)
        await begun.wait()
        await server.system.stop()
        await server.store.open()
        row = await server.row(task_id)
        assert (row.state, row.phase, row.attempt, row.crashes) == (State.WORKING, Phase.READY, 0, 0)
        await server.store.close()
    again: list[str] = []
    await completed_after_restart(tmp_path, [task_id], again)


@pytest.mark.parametrize("generation", ["1.0", "0.1"])
async def test_a_send_during_the_drain_is_told_to_come_back(generation: str) -> None:
    agent = Agent("Drained")
    begun, release = asyncio.Event(), asyncio.Event()

    @agent.skill
    async def works(text: str) -> str:
        begun.set()
        await release.wait()
        return text

    method = {"1.0": "SendMessage", "0.1": "tasks/send"}[generation]
    said = {"role": "user", "parts": [{"type": "text", "text": "x"}]}
    if generation == "1.0":
        said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {"id": "t", "message": said}}
    if generation == "1.0":
        body["params"] = {"message": said}
    async with connect(agent) as server:
        await server.send("x", blocking=False)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        engine = server._system.engine
        free = dict(engine.worker._free)
        engine.hub.close()
        response = await server._http.post("/", json=body, headers={"A2A-Version": generation})
        assert (response.status_code, response.json()["error"]["code"]) == (503, -32050)
        assert int(response.headers["retry-after"]) >= 1
        await until(lambda: engine.worker._free == free)
        release.set()


async def test_an_operators_word_that_is_taken_back_in_doubt_was_heard(tmp_path: Path) -> None:
    """The store took the word back and did not say so: nobody will say it again."""
    async with running(agent_of([]), tmp_path, poll_seconds=LONG) as server:
        server.engine.writer._patience = 0.5
        worker = server.engine.worker
        assert await server.engine.submit(Drain(worker.id))
        server.store.doubtful = 1_000_000
        with pytest.raises(StoreUnavailable):
            await worker._look_for_word()
        server.store.doubtful = 0
        page = await server.store.rows(RowQuery(Table.STATE, (worker.id, SPACE, DRAIN), limit=1))
        assert not page.rows
        assert server.engine.told_to_drain.is_set()
