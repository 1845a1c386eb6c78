"""Completion by named checks: a task completes only when they were recorded as passed, whatever door it came by."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent, Fail, TaskContext
from a2a_server.model.objects import TASK_URI, Phase, Scope, State, Task
from a2a_server.model.requests import GetRequest
from tests.server.engines import Running, running
from tests.server.managing import managed, seen
from tests.server.waiting import until

pytestmark = pytest.mark.backends


def checked_agent(go: asyncio.Event | None = None) -> Agent:  # noqa: C901 - many small skills
    """`sums` writes what it is told, and spawns a part for each word after a colon; two checks say what they think."""
    agent = Agent("Checked")

    @agent.skill(default=True)
    async def sums(task: TaskContext, text: str) -> str:
        text, _, parts = text.partition(":")
        for word in parts.split():
            await task.spawn(word, skill="part")
        return text

    @sums.validate_result(name="format", required=False)
    async def is_formatted(result: str) -> str | None:
        return "no capital" if result == result.lower() else None

    @sums.validate_result(name="totals")
    async def adds_up(result: str) -> bool:
        return "wrong" not in result

    @agent.skill
    async def part(text: str) -> str:
        if go is not None:
            await go.wait()
        if text == "fail":
            raise Fail("no")
        return text

    @agent.skill
    async def unchecked(text: str) -> str:
        return text

    @agent.skill
    def plainly(text: str) -> str:
        return text

    @plainly.validate_result(name="format", required=False)
    def plainly_formatted(result: str) -> bool:
        return result != result.lower()

    @agent.skill
    async def spawns(task: TaskContext, text: str) -> str:
        child = await task.spawn(text, skill="sums", complete_when={"checks": ["format"]})
        (found,) = await task.join(child)
        return f"{found.state.name}: {found.text}"

    return agent


def why(task: Task) -> str:
    return task.status.message.text if task.status.message else ""


def code_of(task: Task) -> str:
    about: Any = (task.status.metadata or {}).get(TASK_URI, {})
    return str(about.get("code", ""))


def recorded(task: Task) -> dict[str, bool]:
    about: Any = (task.status.metadata or {}).get(TASK_URI, {})
    return {one["name"]: one["passed"] for one in about.get("checks", ())}


async def end_of(server: Running, task_id: str) -> Task:
    await server.reached(task_id, Phase.FINAL)
    return await server.operations.get(Scope(), GetRequest(task_id))


async def test_a_task_completes_with_its_named_checks(tmp_path: Path) -> None:
    async with running(checked_agent(), tmp_path) as server:
        good = await server.send("Good", completeWhen={"checks": ["format", "totals", "format"]})
        assert (good.status.state, recorded(good)) == (State.COMPLETED, {"format": True, "totals": True})
        assert good.info["completeWhen"] == {"checks": ["format", "totals"]}
        assert (await server.send("bad")).status.state is State.COMPLETED
        bad = await server.send("bad", completeWhen={"checks": ["format"]})
        assert bad.status.state is State.FAILED
        assert '"format" did not pass (no capital)' in why(bad)
        assert "completeWhen" in why(bad)
        assert recorded(bad) == {"format": False, "totals": True}
        assert code_of(bad) == "checks"
        assert not bad.artifacts, "a result that misses a check is not written"
        wrong = await server.send("Wrong wrong", completeWhen={"checks": ["totals"]})
        assert '"totals" did not pass' in why(wrong)
        assert code_of(wrong) == code_of(await server.send("wrong")) == "checks"


@pytest.mark.parametrize("skill", ["sums", "unchecked", "plainly"])
async def test_a_check_that_nobody_recorded_fails_the_task(tmp_path: Path, skill: str) -> None:
    async with running(checked_agent(), tmp_path) as server:
        task = await server.send("Good", skill=skill, completeWhen={"checks": ["speling"]})
        assert task.status.state is State.FAILED
        assert '"speling" was never recorded. Recorded: ' in why(task)
        assert code_of(task) == "checks"
        assert why(task).endswith(
            {"sums": '"format" (passed), "totals" (passed).', "plainly": '"format" (passed).'}.get(skill, "nothing.")
        )


async def test_checks_and_children_together(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with running(checked_agent(go), tmp_path) as server:
        good = await server.start("Good: a b", completeWhen={"children": "all", "checks": ["format"]})
        await server.reached(good, Phase.WAITING)
        lost = await server.start("Good: a fail", completeWhen={"children": 2, "checks": ["format"]})
        await server.reached(lost, Phase.WAITING)
        early = await server.send("Good: a", completeWhen={"children": "any", "checks": ["never"]})
        assert early.status.state is State.FAILED, "what is decided already waits for nobody"
        go.set()
        end = await end_of(server, good)
        assert (end.status.state, recorded(end)) == (State.COMPLETED, {"format": True, "totals": True})
        assert end.info["completeWhen"] == {"children": "all", "checks": ["format"]}
        assert "needed 2 of its subtasks" in why(await end_of(server, lost))


async def test_a_run_that_spawns_names_checks_of_its_part(tmp_path: Path) -> None:
    async with running(checked_agent(), tmp_path) as server:
        assert _text(await server.send("Good", skill="spawns")) == "COMPLETED: Good"
        assert _text(await server.send("bad", skill="spawns")).startswith("FAILED: The task completes only")


def _text(task: Task) -> str:
    return task.artifacts[0].parts[0].text  # type: ignore[union-attr]  # it is a text


async def test_every_door_takes_it() -> None:
    """The management API, a batch, a template, and a send over A2A that names the template."""
    checks = {"checks": ["format"]}
    async with managed(checked_agent()) as office:

        async def ended(task_id: str) -> dict[str, Any]:
            return await seen(lambda: office.get(f"/tasks/{task_id}"), lambda task: task["phase"] == "final")

        made = await office.post("/tasks", {"text": "bad", "completeWhen": checks})
        assert made["completeWhen"] == checks
        task = await ended(made["id"])
        assert (task["state"], task["completeWhen"]) == ("failed", checks)
        assert '"format" did not pass' in task["error"]["text"]
        assert task["error"]["code"] == "checks"
        batch = await office.post(
            "/batches", {"tasks": [{"text": "Good", "completeWhen": {"children": "all", **checks}}]}
        )
        assert (await ended(batch["items"][0]["id"]))["state"] == "completed"
        await office.done("PUT", "/templates/strict", {"options": {"completeWhen": checks}})
        assert (await office.get("/templates/strict"))["options"]["completeWhen"] == checks
        await office.done("PUT", "/templates/short", {"options": {"completeWhen": "all"}})
        assert (await office.get("/templates/short"))["options"]["completeWhen"] == "all"
        task = await office.server.send("bad", options={"template": "strict"})
        assert task["status"]["state"] == "TASK_STATE_FAILED"
        retried = await office.post(f"/tasks/{task['id']}/retry", {"text": "Good"})
        assert retried["completeWhen"] == checks
        assert (await ended(retried["id"]))["state"] == "completed"


async def test_checks_are_those_of_the_run_that_gave_the_result(tmp_path: Path) -> None:
    agent, runs = Agent("Twice"), list[int]()

    @agent.skill(max_attempts=2)
    async def twice(task: TaskContext) -> str:
        runs.append(task.attempt)
        return "Good" if task.attempt == 1 else "bad"

    @twice.validate_result(name="format", required=False)
    async def formatted(task: TaskContext, result: str) -> bool:
        if result == "Good" and len(runs) == 1:
            raise OSError
        return result == "Good"

    async with running(agent, tmp_path) as server:
        task = await server.send("go", completeWhen={"checks": ["format"]})
        await until(lambda: len(runs) == 2)
        assert task.status.state is State.FAILED
