"""What a served agent counts, read as operators' machines read it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from a2a_server import Agent, Fail, File, Partial, Reject, Retry, TaskContext
from a2a_server.errors import StoreUnavailable
from a2a_server.model.objects import State
from a2a_server.testing import Connection, RpcError, connect
from tests.patience import PATIENCE
from tests.server.engines import LONG, running
from tests.server.waiting import until

OPEN = "application/openmetrics-text"


def agent_of(begun: asyncio.Event) -> Agent:
    agent = Agent("Counted")

    @agent.skill(id="works", default=True)
    async def works(text: str, task: TaskContext) -> object:
        match text:
            case "fail":
                raise Fail("no")
            case "reject":
                raise Reject("no")
            case "partial":
                return Partial("half", "time")
            case "retry":
                if task.attempt == 1:
                    raise Retry("later")
            case "wait":
                begun.set()
                await asyncio.Event().wait()
        return text

    return agent


async def read(server: Connection) -> dict[tuple[str, ...], float]:
    """Name and label values, ordered by the labels' names -> value."""
    response = await server._http.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, *(label for _, label in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_tasks_are_counted_by_how_they_end() -> None:
    begun = asyncio.Event()
    async with connect(agent_of(begun), timeout_seconds=3600) as server:
        for text in ("ok", "ok", "fail", "reject", "partial", "retry"):
            await server.send(text)
        await server.send("wait", options={"timeoutSeconds": 1})
        begun.clear()
        task = await server.send("wait", blocking=False)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        assert (await read(server))["active_tasks",] == 1
        await server.cancel(task["id"])
        await until(lambda: server._system.engine.worker.running == 0)
        found = await read(server)
    assert {
        name: found[f"tasks_{name}_total",] for name in ("created", "completed", "failed", "canceled", "rejected")
    } == {
        "created": 8,
        "completed": 4,
        "failed": 2,
        "canceled": 1,
        "rejected": 1,
    }
    assert (found["active_tasks",], found["task_duration_seconds_count",]) == (0, 8)
    assert found["task_duration_seconds_sum",] >= 1
    assert (found["a2a_claims_total", "works"], found["a2a_retries_total",]) == (9, 1)
    ends = {"completed": 4, "failed": 2, "rejected": 1, "retried": 1, "canceled": 1, "crashed": 0, "handed_back": 0}
    assert {end: found["a2a_runs_ended_total", end, "works"] for end in ends} == ends
    assert found["a2a_writer_turns_total", "committed"] == found["a2a_writer_turn_operations_count",] > 8
    assert (found["a2a_store_up",], found["a2a_writer_queue_operations",], found["a2a_writer_queue_bytes",]) == (
        1,
        0,
        0,
    )


async def test_a_repeated_send_is_no_new_task() -> None:
    async with connect(agent_of(asyncio.Event())) as server:
        for _ in range(3):
            await server.send("ok", message_id="same")
        found = await read(server)
    assert (found["tasks_created_total",], found["tasks_completed_total",]) == (1, 1)
    assert found["a2a_requests_total", "ok", "1.0", "send"] == 3


async def test_a_crash_is_a_rescue_and_another_run() -> None:
    async with connect(agent_of(asyncio.Event())) as server:
        crashed = server.crash_worker(at_event=2)
        await server.send("ok")
        await crashed
        found = await read(server)
    assert found["a2a_rescues_total",] == found["a2a_runs_ended_total", "crashed", "works"] == 1
    assert (found["tasks_created_total",], found["tasks_completed_total",]) == (1, 1)
    assert found["a2a_claims_total", "works"] == 2


async def test_tasks_that_wait_are_told_by_queue_and_phase() -> None:
    agent = Agent("Queued")
    begun = asyncio.Event()

    @agent.skill(id="narrow", max_concurrency=1)
    async def narrow(text: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with connect(agent, slots=1) as server:
        await server.send("first", blocking=False)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        for _ in range(2):
            await server.send("next", blocking=False)
        await server.send("later", blocking=False, options={"delaySeconds": 3600})
        found = await read(server)
        waits = {phase: found["queue_size", phase, "narrow"] for phase in ("ready", "held", "scheduled")}
    assert (waits["scheduled"], waits["ready"] + waits["held"]) == (1, 2)


async def test_requests_are_counted_by_words_of_ours_only() -> None:
    hostile = ["no/such\nmethod", 'x"} 1\n', "SendMessage\u2028", "é" * 300]
    async with connect(agent_of(asyncio.Event())) as server:
        await server.send("ok")
        await server.send("ok", generation="0.1")
        with pytest.raises(RpcError):
            await server.get("3d2c0f7e-unheard-of")
        with pytest.raises(RpcError):
            await server.cancel("3d2c0f7e-unheard-of", generation="0.1")
        for method in hostile:
            assert "error" in await server.rpc(method)
            assert "error" in await server.rpc("GetTask", {"id": method}, headers={"A2A-Version": "9.9"})
        await server._http.post("/", content=b"{", headers={"content-type": "application/json"})
        await server._http.post("/", content=b"{}", headers={"content-type": "text/html"})
        text = (await server._http.get("/metrics")).text
        found = await read(server)
    counted = {name[1:]: count for name, count in found.items() if name[0] == "a2a_requests_total"}
    assert counted["ok", "1.0", "send"] == counted["ok", "0.1", "send"] == 1
    assert counted["-32001", "1.0", "get"] == counted["-32001", "0.1", "cancel"] == 1
    assert counted["-32601", "unknown", "unknown"] >= 3
    assert counted["-32700", "unknown", "unknown"] == counted["-32005", "unknown", "unknown"] == 1
    assert {generation for _, generation, _ in counted} <= {"0.1", "0.3", "1.0", "unknown"}
    assert all(re.fullmatch(r"ok|-32\d{3}", code) for code, _, _ in counted)
    assert "unheard" not in text
    assert "such" not in text
    assert "é" not in text


async def test_no_id_becomes_a_label() -> None:
    name = "secret-7f3a"
    async with connect(agent_of(asyncio.Event())) as server:
        shown = (await server._http.get("/metrics")).text
        series = {line.rpartition(" ")[0] for line in shown.splitlines()}
        for number in range(5):
            await server.send(
                f"{name}-text-{number}",
                message_id=f"{name}-message-{number}",
                context_id=f"{name}-context-{number}",
                metadata={name: name},
                options={"title": name},
            )
            await server.send("ok", generation="0.1", task_id=f"{name}-task-{number}")
        later = (await server._http.get("/metrics")).text
    assert name not in later
    grown = {line.rpartition(" ")[0] for line in later.splitlines()} - series
    assert all(line.startswith(("a2a_request", "a2a_sweeps")) for line in grown if not line.startswith("#"))


async def streams_open(server: Connection, count: int) -> None:
    """Wait until so many are."""
    async with asyncio.timeout(PATIENCE):
        while (await read(server))["a2a_streams_open",] != count:  # noqa: ASYNC110 - nobody sets an event for it
            await asyncio.sleep(0.01)


async def test_streams_are_counted_while_they_are_open() -> None:
    begun = asyncio.Event()
    async with connect(agent_of(begun)) as server:
        numbers = [n async for n, _ in server.stream("ok")]
        found = await read(server)
        assert (found["a2a_streams_open",], found["a2a_requests_total", "ok", "1.0", "stream"]) == (0, 1)
        assert found["a2a_stream_events_total",] == max(n for n in numbers if n) - 1  # the first is in the snapshot
        following = server.stream("wait")
        await anext(following)
        await asyncio.wait_for(begun.wait(), PATIENCE)
        await streams_open(server, 1)
        await following.aclose()
        await streams_open(server, 0)


async def test_the_artifact_stores_traffic_is_counted() -> None:
    agent = Agent("Large")
    size = 300_000

    @agent.skill
    async def large(text: str) -> File:
        return File(raw=b"x" * size, filename="x", media_type="text/plain")

    async with connect(agent, inline_bytes=1000) as server:
        task = await server.send("go")
        stored = (await read(server))["a2a_artifact_bytes_total", "in"]
        assert stored >= size
        address = task["artifacts"][0]["parts"][0]["url"]
        content = (await server._http.get(address)).content
        found = await read(server)
    assert len(content) == size
    assert (found["a2a_artifact_bytes_total", "in"], found["a2a_artifact_bytes_total", "out"]) == (stored, size)


async def test_a_silent_store_hides_no_other_figure() -> None:
    begun = asyncio.Event()
    async with connect(agent_of(begun)) as server:
        await server.send("ok")

        async def silent(query: object) -> object:
            raise StoreUnavailable("a secret reason")

        server._system.engine.backends.store.totals = silent  # type: ignore[method-assign,assignment]  # misbehaves on purpose
        found = await read(server)
    assert (found["a2a_store_up",], found["tasks_completed_total",]) == (0, 1)
    assert not [name for name in found if name[0] == "queue_size"]


async def test_a_turn_that_fails_is_counted(tmp_path: Path) -> None:
    async with running(agent_of(asyncio.Event()), tmp_path, poll_seconds=LONG) as server:
        task_id = await server.start("ok", delaySeconds=3600)
        server.store.failure = RuntimeError("broken")
        server.store.silences = lambda needs: any(name.id == task_id for name in needs.names)
        server.store.silent = 1
        with pytest.raises(RuntimeError):
            await server.cancel(task_id)
        task = await server.cancel(task_id)
        body, _ = server.system.metrics.exposition("")
    assert task.status.state is State.CANCELED
    assert b'a2a_writer_turns_total{result="failed"} 1.0' in body
    assert b"tasks_canceled_total 1.0" in body


@pytest.mark.parametrize("accept", ["*/*", OPEN])
async def test_both_formats_are_served_and_head_has_no_body(accept: str) -> None:
    async with connect(agent_of(asyncio.Event())) as server:
        response = await server._http.get("/metrics", headers={"accept": accept})
        head = await server._http.head("/metrics", headers={"accept": accept})
        refused = await server._http.post("/metrics")
    assert (response.headers["content-type"].startswith(OPEN), head.content) == (accept == OPEN, b"")
    assert (response.status_code, head.status_code, refused.status_code) == (200, 200, 405)
    assert response.headers["cache-control"] == "no-store"
