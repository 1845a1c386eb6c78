"""Queues over the management API: what waits, what runs, and what a pause does; and what operators do now and then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent, Retry
from a2a_server.engine.retiring import DAY
from a2a_server.errors import UnsupportedOperation
from a2a_server.lifecycle.duties import DUTY
from a2a_server.model.objects import Scope
from a2a_server.model.rows import RecordRow
from a2a_server.service.maintaining import Maintaining
from a2a_server.settings import load
from a2a_server.wiring.system import System
from tests.server.engines import running
from tests.server.managing import Managed, ended, fields_of, managed, seen, sent
from tests.server.soon import TooLate, in_time

pytestmark = pytest.mark.asyncio(loop_scope="module")

GO: dict[str, asyncio.Event] = {}


def agent() -> Agent:
    agent = Agent("Office")

    @agent.skill(max_attempts=1)
    async def fetch(text: str) -> str:
        if text == "fail":
            raise Retry("The site is away.")
        return text

    @agent.skill(max_concurrency=1)
    async def wait(text: str) -> str:
        await GO.setdefault(text, asyncio.Event()).wait()
        return text

    @agent.skill
    async def quick(text: str) -> str:
        return text

    agent.pulled_skill("elsewhere")
    agent.pulled_skill("forlorn")
    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent()) as server:
        yield server


async def test_every_skill_has_a_queue(office: Managed) -> None:
    found = (await office.get("/queues"))["queues"]
    assert [(one["name"], one["pulled"], one["paused"]) for one in found] == [
        ("fetch", False, False),
        ("wait", False, False),
        ("quick", False, False),
        ("elsewhere", True, False),
        ("forlorn", True, False),
    ]
    assert found[0] == await office.get("/queues/fetch")


async def test_what_runs_is_held_and_waits_is_counted(office: Managed) -> None:
    ids = [await sent(office, "counted", "wait") for _ in range(3)]
    later = await sent(office, "counted", "wait", delaySeconds=3600)
    queue = await seen(lambda: office.get("/queues/wait"), lambda queue: queue["held"] == 2)
    assert (queue["running"], queue["scheduled"], queue["depth"]) == (1, 1, 0)
    GO["counted"].set()
    for one in ids:
        assert await ended(office, one) == "TASK_STATE_COMPLETED"
    await office.server.cancel(later)
    queue = await office.get("/queues/wait")
    assert (queue["running"], queue["held"], queue["scheduled"]) == (0, 0, 0)


async def test_depth_is_told_by_priority(office: Managed) -> None:
    for lane in ("high", "high", "low"):
        await sent(office, "x", "elsewhere", priority=lane)
    queue = await office.get("/queues/elsewhere")
    assert (queue["depth"], queue["lanes"]["high"], queue["lanes"]["low"], queue["lanes"]["normal"]) == (3, 2, 1, 0)


async def test_canceled_tasks_are_counted_in_no_lane(office: Managed) -> None:
    ids = [await sent(office, "x", "forlorn", priority=lane) for lane in ("high", "low")]
    assert (await office.get("/queues/forlorn"))["lanes"]["high"] == 1
    await office.server.cancel(ids[0])
    queue = await office.get("/queues/forlorn")
    assert (queue["depth"], queue.get("lanes")) == (1, None), "its hint may still be there"
    await office.server.cancel(ids[1])
    queue = await office.get("/queues/forlorn")
    assert (queue["depth"], set(queue["lanes"].values())) == (0, {0})


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(office: Managed) -> None:
    paused = await office.post("/queues/quick/pause", {"reason": "The model is being changed."})
    assert (paused["paused"], paused["reason"], "pausedUntil" in paused) == (True, "The model is being changed.", False)
    task = await sent(office, "later", "quick")
    assert await ended(office, await sent(office, "now", "fetch")) == "TASK_STATE_COMPLETED"
    await seen(lambda: office.get("/queues/quick"), lambda queue: queue["held"] == 1)
    assert (await office.server.get(task))["status"]["state"] == "TASK_STATE_SUBMITTED"
    resumed = await office.post("/queues/quick/resume")
    assert (resumed["paused"], "reason" in resumed) == (False, False)
    assert await ended(office, task) == "TASK_STATE_COMPLETED"


async def test_a_pause_may_have_an_end(office: Managed) -> None:
    async def pause(until: datetime) -> tuple[dict[str, Any], datetime]:
        response = await office.ask("POST", "/queues/quick/pause", {"until": until.isoformat()})
        if response.status_code == 400:
            raise TooLate
        return response.json(), until

    paused, until = await in_time(pause)
    assert paused["pausedUntil"].startswith(until.isoformat()[:19])
    assert await ended(office, await sent(office, "later", "quick")) == "TASK_STATE_COMPLETED"
    assert datetime.now(UTC) >= until
    assert (await office.get("/queues/quick"))["paused"] is False


BAD: list[tuple[dict[str, Any], str]] = [
    ({"until": "tomorrow"}, "until"),
    ({"until": "2099-01-01T00:00:00"}, "until"),
    ({"until": "2001-01-01T00:00:00Z"}, "until"),
    ({"until": 5}, "until"),
    ({"reason": 5}, "reason"),
    ({"reason": "x" * 1001}, "reason"),
    ({"why": "x"}, "why"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
async def test_bad_input_is_refused_and_changes_nothing(office: Managed, body: dict[str, Any], field: str) -> None:
    error = await office.refused(400, "POST", "/queues/quick/pause", body)
    assert fields_of(error)[0] == field
    assert (await office.get("/queues/quick"))["paused"] is False


@pytest.mark.parametrize(("method", "verb"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume")])
async def test_a_queue_that_is_not_there(office: Managed, method: str, verb: str) -> None:
    for name in ("nobody", "Quick", "quick%2Fx", "*"):
        await office.refused(404, method, f"/queues/{name}{verb}")


async def test_dead_letters_are_listed_in_pages_and_tried_again_once(office: Managed) -> None:
    ids = [await sent(office, "fail", "fetch") for _ in range(3)]
    for one in ids:
        assert await ended(office, one) == "TASK_STATE_FAILED"
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await office.get("/dead-letters", limit=2, reason="attempts", **cursor)
        found += page["deadLetters"]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert {one["taskId"] for one in found} == set(ids)
    assert {(one["skill"], one["reason"]) for one in found} == {("fetch", "attempts")}
    await office.refused(400, "GET", "/dead-letters", reason="poison", cursor=f"attempts.{'0' * 32}")
    first = await office.post("/dead-letters/retry", {"ids": [ids[0], "nobody", ids[0]]})
    assert (first["matched"], first["done"]) == (2, 1)
    again = {one["id"]: one for one in first["items"]}
    assert "newId" in again[ids[0]]
    rest = await office.post("/dead-letters/retry", {"reason": "attempts"})
    assert {one["id"] for one in rest["items"]} == set(ids[1:])
    assert rest["done"] == 2
    bulk = await office.post("/tasks/bulk", {"ids": ["nobody"], "action": "retry"})
    assert again["nobody"]["error"] == bulk["failed"][0]["error"] == {"code": 404, "message": "Task not found."}
    for one in [*again.values(), *rest["items"]]:
        if "newId" in one:
            await ended(office, one["newId"])


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/dead-letters?reason=boredom", None, "reason"),
        ("GET", "/dead-letters?limit=0", None, "limit"),
        ("GET", "/dead-letters?cursor=x", None, "cursor"),
        ("GET", "/dead-letters?cursor=boredom.00000000000000000000000000000000", None, "cursor"),
        ("POST", "/dead-letters/retry", {"ids": []}, "ids"),
        ("POST", "/dead-letters/retry", {"ids": ["x"], "reason": "poison"}, "ids"),
        ("POST", "/dead-letters/retry", {"reason": "boredom"}, "reason"),
        ("POST", "/dead-letters/retry", {"limit": 1001}, "limit"),
        ("POST", "/retention", {"dryRun": "yes"}, "dryRun"),
        ("POST", "/retention", {"days": 1}, "days"),
    ],
)
async def test_bad_input_of_operators(office: Managed, method: str, path: str, body: Any, field: str) -> None:  # noqa: ANN401
    assert fields_of(await office.refused(400, method, path, body))[0] == field


async def test_settings_are_shown_without_secrets(office: Managed) -> None:
    found = (await office.get("/settings"))["settings"]
    assert found["lease_seconds"]["value"] == 8
    assert found["lease_seconds"]["description"]
    settings = load(None, store="postgresql://somebody:hidden@127.0.0.1/tasks", artifacts="store://")
    door = httpx2.ASGITransport(System(agent(), settings).app)
    async with httpx2.AsyncClient(transport=door, base_url="http://127.0.0.1:8000", trust_env=False) as http:
        response = await http.get("/api/v1/settings")
    assert response.status_code == 200
    assert "hidden" not in response.text
    assert response.json()["settings"]["store"]["value"] == "postgresql://…@127.0.0.1/tasks"


async def ignored(rows: Sequence[RecordRow]) -> None:
    """Somebody else does it."""


@pytest.mark.embedded
async def test_retention_counts_first_and_deletes_then(tmp_path: Path) -> None:
    async with managed(agent(), store=f"sqlite:///{tmp_path}/tasks.db") as office:
        done = await sent(office, "x", "quick")
        await ended(office, done)
        later = await sent(office, "x", "quick", delaySeconds=3600)
        assert (await office.post("/retention", {"dryRun": True}))["states"] == {}
        engine = office.system.engine
        engine.duties.agenda.serve(DUTY, ignored)  # the server's own rounds
        store = engine.backends.store
        store._offset += 40 * DAY  # type: ignore[attr-defined]  # the store's clock
        assert await seen(
            lambda: office.post("/retention", {"dryRun": True}), lambda found: "completed" in found["states"]
        )
        counted = await office.post("/retention", {"dryRun": True})
        assert (counted["states"]["completed"]["retired"], counted["dryRun"]) == (1, True)
        assert (await office.server.get(done))["id"] == done
        retired = await office.post("/retention")
        assert (retired["states"]["completed"]["retired"], retired["dryRun"]) == (1, False)
        assert (await office.post("/retention"))["states"] == {}
        error = await office.server.rpc("GetTask", {"id": done}, headers={"A2A-Version": "1.0"})
        assert error["error"]["code"] == -32001
        assert (await office.server.get(later))["id"] == later


async def test_one_round_at_a_time(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        maintaining = Maintaining(server.engine)
        async with maintaining._going_on:
            with pytest.raises(UnsupportedOperation, match="goes on already"):
                await maintaining.retire(Scope(), dry_run=True)
        assert not (await maintaining.retire(Scope(), dry_run=True)).oldest
