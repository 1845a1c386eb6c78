"""What is said of tasks that have ended: feedback of their owners, and the checks of their results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_server import Agent, Fail, Partial, Retry, SyncTask, TaskContext
from a2a_server.model.objects import TASK_URI
from tests.server.managing import Managed, fields_of, managed, sent

agent = Agent("Checked")


@agent.skill(default=True)
async def write(text: str) -> str:
    """Say it back."""
    return text


@write.validate_result(name="not-empty")
async def not_empty(result: str) -> str | None:
    return None if result else "There is nothing in it."


@write.validate_result(name="polite", required=False)
def polite(result: str) -> bool:
    return "please" in result


@write.validate_result(required=False)
async def spelled(task: TaskContext, result: str) -> None:
    if "teh" in result:
        raise Fail("teh is no word")


@agent.skill
async def wait(task: TaskContext) -> str:
    """Ask, and wait for the answer."""
    return str(await task.ask("how many?"))


@agent.skill
async def half() -> Partial:
    """A part of it."""
    return Partial("half", "the archive was away")


@agent.skill(max_attempts=2)
async def undo(task: TaskContext, text: str) -> str:
    """Fails its check, and is undone."""
    if text == "retry" and task.attempt == 1:
        raise Retry("later", after_seconds=0)
    return text


@undo.validate_result
def good(result: str) -> bool:
    return result == "retry"


@undo.rollback
def undone(task: SyncTask, reason: str) -> None:
    task.log("info", f"undone: {reason}")


@pytest.fixture
async def office() -> AsyncIterator[Managed]:
    async with managed(agent) as made:
        yield made


async def ended(office: Managed, text: str, skill: str) -> dict[str, Any]:
    task = await office.server.send(text, options={"skill": skill})
    return await office.get(f"/tasks/{task['id']}")


async def test_feedback_is_kept_shown_and_replaced(office: Managed) -> None:
    task = await ended(office, "please", "write")
    assert "feedback" not in task
    path = f"/tasks/{task['id']}"
    rated = await office.post(f"{path}/feedback", {"rating": 2, "comment": "so-so"})
    [first] = rated["feedback"]
    assert (first["rating"], first["comment"], first["by"]) == (2, "so-so", "local")
    assert rated["revision"] > task["revision"]
    [second] = (await office.post(f"{path}/feedback", {"rating": 5}))["feedback"]
    assert (second["rating"], second.get("comment"), second["by"]) == (5, None, "local")
    assert (await office.get(path))["feedback"] == [second]
    entries = (await office.get(f"{path}/journal"))["entries"]
    said = [entry["data"]["text"] for entry in entries if entry["kind"] == "log"]
    assert said == ["local rated it 2 of 5.", "local rated it 5 of 5."]
    assert all("feedback" not in one for one in (await office.get("/tasks"))["tasks"])
    await office.done("DELETE", path)
    await office.refused(404, "POST", f"{path}/feedback", {"rating": 5})


async def test_feedback_on_a_task_that_goes_on_is_refused(office: Managed) -> None:
    task_id = await sent(office, "x", "wait")
    error = await office.refused(409, "POST", f"/tasks/{task_id}/feedback", {"rating": 5})
    assert "has not ended" in error["message"]
    assert "feedback" not in await office.get(f"/tasks/{task_id}")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "rating"),
        ({"rating": 0}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": 4.5}, "rating"),
        ({"rating": "5"}, "rating"),
        ({"rating": True}, "rating"),
        ({"rating": 5, "comment": 3}, "comment"),
        ({"rating": 5, "comment": "x" * 10_001}, "comment"),
        ({"rating": 5, "by": "me"}, "by"),
    ],
)
async def test_bad_feedback_is_named_and_nothing_is_kept(office: Managed, body: dict[str, Any], field: str) -> None:
    task = await ended(office, "please", "write")
    error = await office.refused(400, "POST", f"/tasks/{task['id']}/feedback", body)
    assert fields_of(error) == [field]
    assert await office.get(f"/tasks/{task['id']}") == task


async def test_checks_are_recorded_whatever_they_say(office: Managed) -> None:
    task = await ended(office, "teh end", "write")
    assert task["state"] == "completed"
    assert task["checks"] == [
        {"name": "not-empty", "passed": True, "required": True},
        {
            "name": "polite",
            "passed": False,
            "required": False,
            "message": "The result did not pass the agent's own check.",
        },
        {"name": "spelled", "passed": False, "required": False, "message": "teh is no word"},
    ]
    assert [one["checks"] for one in (await office.get("/tasks"))["tasks"]] == [task["checks"]]
    shown = (await office.server.get(task["id"]))["metadata"][TASK_URI]
    assert [(one["name"], one["passed"]) for one in shown["checks"]] == [
        ("not-empty", True),
        ("polite", False),
        ("spelled", False),
    ]


async def test_a_required_check_fails_the_task_and_all_are_recorded(office: Managed) -> None:
    task = await ended(office, "", "write")
    assert (task["state"], task["error"]["text"]) == ("failed", "There is nothing in it.")
    assert [(one["name"], one["passed"]) for one in task["checks"]] == [
        ("not-empty", False),
        ("polite", False),
        ("spelled", True),
    ]
    assert task["checks"][0]["message"] == "There is nothing in it."


async def test_checks_are_recorded_behind_a_roll_back_and_a_retry(office: Managed) -> None:
    undone = await ended(office, "bad", "undo")
    assert (undone["state"], [one["passed"] for one in undone["checks"]]) == ("failed", [False])
    journal = (await office.get(f"/tasks/{undone['id']}/journal"))["entries"]
    assert [one["data"]["text"][:7] for one in journal if one["kind"] == "log"] == ["undone:"]
    retried = await ended(office, "retry", "undo")
    assert (retried["state"], [one["passed"] for one in retried["checks"]]) == ("completed", [True])


async def test_why_a_result_is_not_whole_is_shown(office: Managed) -> None:
    task = await ended(office, "x", "half")
    assert (task["state"], task["partial"]) == ("completed", "the archive was away")
    assert "checks" not in task
