"""Why a task is not running, over the management API and in what its owner reads over A2A."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from a2a_server import Agent, Retry, TaskContext
from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.sweeping import Bury
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import TASK_URI, Phase, Requires, Scope, Wishes
from a2a_server.model.rows import EdgeKind, EdgeRow, GateRow, TaskRow
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND
from a2a_server.testing import Connection, connect
from tests.patience import PATIENCE

pytestmark = pytest.mark.backends

Json = dict[str, Any]


def crew() -> tuple[Agent, asyncio.Event]:
    """An agent whose skills stop where the reasons begin, and what lets them go on."""
    agent, go = Agent("Crew"), asyncio.Event()

    @agent.skill(default=True)
    async def slow(text: str) -> str:
        await go.wait()
        return text

    @agent.skill(max_concurrency=1)
    async def lonely(text: str) -> str:
        await go.wait()
        return text

    @agent.skill
    async def asks(task: TaskContext, text: str) -> str:
        return await task.ask("Which colour?")

    @agent.skill
    async def flaky(text: str) -> str:
        raise Retry("the line is busy", after_seconds=3600)

    @agent.skill
    async def quick(text: str) -> str:
        return text

    return agent, go


@dataclass(frozen=True)
class Tied:
    """An operation: one task waits for another one, as dependencies do."""

    row: TaskRow
    upstream: TaskRow
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.update({self.row.key, self.upstream.key})

    def decide(self, turn: Turn) -> None:
        turn.put(turn.rows[self.row.key]._replace(phase=Phase.WAITING, due_at=0, unmet=1))
        turn.links.tie(EdgeRow(self.upstream.key, self.row.key, EdgeKind.FAIL, 0))


@dataclass(frozen=True)
class Closed:
    """An operation: a gate is closed until a moment."""

    key: str
    until: int
    reason: str
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.gates.add(self.key)

    def decide(self, turn: Turn) -> None:
        turn.gates.set(GateRow(self.key, None, 0, 0, 0, self.until, self.reason, 0))


@dataclass(frozen=True)
class Demanding:
    """An operation: a task needs this of its worker."""

    row: TaskRow
    requires: Requires
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.add(self.row.key)

    def decide(self, turn: Turn) -> None:
        row = turn.rows[self.row.key]
        spec = replace(decode_spec(row.spec), wishes=Wishes(requires=self.requires))
        turn.put(row._replace(spec=encode_spec(spec)))


async def explained(server: Connection, task_id: str) -> Json:
    answer = await server._http.get(f"/api/v1/tasks/{task_id}/explain")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert found["id"] == task_id
    return found


async def told(server: Connection, task_id: str) -> Json | None:
    """What GetTask tells of it."""
    task = await server.get(task_id)
    found: Json | None = task["metadata"][TASK_URI].get("explain")
    return found


async def start(server: Connection, skill: str, **options: object) -> str:
    """The id of a task that nobody waits for."""
    params = {"returnImmediately": True, "skill": skill, **options}
    task = await server.send("go", options=params)
    return str(task["id"])


async def row_of(server: Connection, task_id: str, *phases: Phase) -> TaskRow:
    """The task's row once it is in one of the phases."""
    store = server._system.engine.backends.store
    async with asyncio.timeout(PATIENCE):
        while True:
            row = await store.find(Scope(), server._system.engine.agent, task_id)
            assert row is not None
            if not phases or row.phase in phases:
                return row
            await asyncio.sleep(0.005)


async def test_a_limit_that_is_used_up_and_the_run_that_uses_it() -> None:
    agent, go = crew()
    async with connect(agent) as server:
        first, second = await start(server, "lonely"), await start(server, "lonely")
        row = await row_of(server, first, Phase.LEASED)
        await row_of(server, second, Phase.HELD)
        held = await explained(server, second)
        [reason] = held["reasons"]
        assert (held["phase"], held["status"], held["state"]) == ("held", "blocked", "submitted")
        assert (reason["kind"], reason["gate"]) == ("limit", "skill:lonely")
        assert (reason["used"], reason["capacity"]) == (1, 1)
        third = await start(server, "lonely")
        await row_of(server, third, Phase.HELD)
        limit, behind = (await explained(server, third))["reasons"]
        assert (limit["kind"], behind["kind"], behind["lanes"]) == ("limit", "behind", {"normal": 1})
        assert behind["text"] == "It stands behind 1 task that waits for the same (1 in lane normal)."
        running = await explained(server, first)
        [reason] = running["reasons"]
        assert (reason["kind"], reason["worker"], reason["run"]) == ("running", row.worker.hex(), 1)
        assert reason["at"] >= (await server.get(first))["status"]["timestamp"][:19]
        brief = await told(server, second)
        assert brief == {"reasons": [{"kind": "limit", "text": "The limit of its skill is used up: 1 of 1."}]}
        assert await told(server, first) is None
        go.set()
        await row_of(server, second, Phase.FINAL)
        [reason] = (await explained(server, second))["reasons"]
        assert (reason["kind"], reason["state"]) == ("ended", "completed")
        assert await told(server, second) is None


async def test_those_before_it_and_when_it_may_start() -> None:
    agent, go = crew()
    async with connect(agent, slots=1) as server:
        go.set()
        for _ in range(3):
            await server.send("go", options={"skill": "slow"})
        go.clear()
        first = await start(server, "slow")
        await row_of(server, first, Phase.LEASED)
        high = await start(server, "slow", priority="high")
        last = [await start(server, "slow") for _ in range(2)][-1]
        found = await explained(server, last)
        [reason] = found["reasons"]
        assert (reason["kind"], reason["count"], reason["lanes"]) == ("behind", 2, {"high": 1, "normal": 1})
        assert "more" not in reason
        assert found["estimate"]["tasks"] == 3
        assert 0 <= found["estimate"]["medianSeconds"] <= found["estimate"]["p95Seconds"] < 3600
        assert found["estimate"]["startsAt"].endswith("Z")
        assert [one["kind"] for one in (await explained(server, high))["reasons"]] == ["next"]
        assert "estimate" not in await explained(server, high)  # no task of that lane has ended
        go.set()


async def test_a_task_that_asks_its_sender() -> None:
    agent, _ = crew()
    async with connect(agent) as server:
        task = await server.send("go", options={"skill": "asks"})
        found = await explained(server, task["id"])
        [reason] = found["reasons"]
        assert (reason["kind"], reason["detail"]) == ("asks", "Which colour?")
        assert reason["until"] > reason["text"][-1:]
        assert await told(server, task["id"]) is None  # its status says it


async def test_a_task_that_is_tried_again_or_starts_later() -> None:
    agent, _ = crew()
    async with connect(agent) as server:
        task_id = await start(server, "flaky")
        row = await row_of(server, task_id, Phase.SCHEDULED)
        [reason] = (await explained(server, task_id))["reasons"]
        assert (reason["kind"], reason["attempt"], reason["maxAttempts"]) == ("retry", 2, row.max_attempts)
        later = await start(server, "quick", delaySeconds=3600)
        engine = server._system.engine
        await engine.submit(Closed("skill:quick", engine.clock() + 7200 * SECOND, "the printer is jammed"))
        first, second = (await explained(server, later))["reasons"]
        assert first["kind"] == "scheduled"
        assert (second["kind"], second["detail"]) == ("paused", "the printer is jammed")
        assert second["until"] > first["at"]


async def test_a_task_that_waits_for_another_one() -> None:
    agent, go = crew()
    async with connect(agent) as server:
        upstream, waiting = await start(server, "slow"), await start(server, "quick", delaySeconds=3600)
        above = await row_of(server, upstream, Phase.LEASED)
        await server._system.engine.submit(Tied(await row_of(server, waiting), above))
        [reason] = (await explained(server, waiting))["reasons"]
        assert (reason["kind"], reason["task"], reason["state"]) == ("dependency", upstream, "working")
        go.set()


async def test_nobody_is_there_to_run_it() -> None:
    agent, _ = crew()
    async with connect(agent) as server:
        engine = server._system.engine
        worker = engine.worker.id
        engine.worker.crash()
        await engine.submit(Bury((worker,), certain=True))
        task_id = await start(server, "quick")
        [*_, reason] = (await explained(server, task_id))["reasons"]
        assert (reason["kind"], reason["queue"]) == ("worker", "quick")
        assert "No worker lives" in reason["text"]


async def test_a_skill_that_agents_pull_waits_for_one_that_takes_it() -> None:
    agent, _ = crew()
    agent.pulled_skill("translate", description="Translates.")
    async with connect(agent) as server:
        registered = await server._http.post("/api/v1/workers", json={"skills": ["quick"]})
        assert registered.status_code == 201
        [reason] = (await explained(server, await start(server, "translate")))["reasons"]
        assert (reason["kind"], reason["queue"]) == ("worker", "translate")


async def test_an_agent_that_pulls_one_skill_runs_no_other() -> None:
    agent, _ = crew()
    agent.pulled_skill("translate", description="Translates.")
    async with connect(agent) as server:
        engine = server._system.engine
        worker = engine.worker.id
        engine.worker.crash()
        await engine.submit(Bury((worker,), certain=True))
        registered = await server._http.post("/api/v1/workers", json={"skills": ["translate"]})
        assert registered.status_code == 201
        [*_, reason] = (await explained(server, await start(server, "quick")))["reasons"]
        assert reason["kind"] == "worker"
        [reason] = (await explained(server, await start(server, "translate")))["reasons"]
        assert reason["kind"] == "next"


async def test_no_worker_has_what_it_needs() -> None:
    agent, go = crew()
    async with connect(agent, slots=1) as server:
        first = await start(server, "slow")
        await row_of(server, first, Phase.LEASED)
        task_id = await start(server, "slow")
        await server._system.engine.submit(Demanding(await row_of(server, task_id), Requires(tags=("gpu",))))
        [reason] = (await explained(server, task_id))["reasons"]
        assert (reason["kind"], reason["missing"]) == ("worker", ["tag gpu"])
        go.set()


@pytest.mark.parametrize(
    ("settings", "takes", "needs", "short"),
    [
        ({"worker_cpu": 2}, {"cpu": 1.5}, {"cpu": 1}, "cpu 1 (1.5 of 2 in use)"),
        ({"worker_memory_bytes": 100}, {"memoryBytes": 60}, {"memoryBytes": 50}, "memoryBytes 50 (60 of 100 in use)"),
        ({"worker_storage_bytes": 9}, {"storageBytes": 6}, {"storageBytes": 5}, "storageBytes 5 (6 of 9 in use)"),
    ],
)
async def test_the_pool_of_its_worker_is_in_use(
    settings: dict[str, float], takes: Json, needs: Json, short: str
) -> None:
    agent, go = crew()
    async with connect(agent, **settings) as server:
        first = await start(server, "slow", requires=takes)
        row = await row_of(server, first, Phase.LEASED)
        waiting = await start(server, "slow", requires=needs)
        [reason] = (await explained(server, waiting))["reasons"]
        assert (reason["kind"], reason["worker"], reason["missing"]) == ("room", row.worker.hex(), [short])
        brief = await told(server, waiting)
        assert brief == {"reasons": [{"kind": "room", "text": reason["text"]}]}
        go.set()
        await row_of(server, waiting, Phase.FINAL)


async def test_what_is_not_there_and_what_lists_leave_out() -> None:
    agent, _ = crew()
    async with connect(agent) as server:
        assert (await server._http.get("/api/v1/tasks/none/explain")).status_code == 404
        await start(server, "quick", delaySeconds=3600)
        request = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
        answer = await server._http.post("/", json=request, headers={"A2A-Version": "1.0"})
        [task] = answer.json()["result"]["tasks"]
        assert "explain" not in task["metadata"][TASK_URI]
