"""What no door may let in, or may answer otherwise: moments out of time, truth for a priority, slashes in disguise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from a2a_server import Agent, Retry, TaskContext
from a2a_server.testing import connect
from tests.server.managed import Api, Json, agent, error_of
from tests.server.managing import ended, managed, seen, sent

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2035-01-01T00:00:00Z"
OUT_OF_TIME = ("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "0001-01-01T00:00:00Z")
SIDE_BY_SIDE = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(http: httpx2.AsyncClient) -> AsyncIterator[Api]:
    async with connect(agent) as connection:
        yield Api(http, connection.url)


async def refused(api: Api, asked: tuple[str, str, object], field: str) -> str:
    before = await api.all()
    response = await api.ask(*asked)
    assert response.status_code == 400, response.text
    error = error_of(response)
    assert error["details"][0]["field"] == field
    assert await api.all() == before
    return str(error["message"])


@pytest.mark.parametrize("moment", OUT_OF_TIME)
@pytest.mark.parametrize("name", ["runAt", "deadline"])
async def test_a_moment_that_cannot_be_written_in_every_zone_is_refused_at_the_api(
    api: Api, name: str, moment: str
) -> None:
    rule = f"{name} must be a moment between 1970 and 2200."
    assert await refused(api, ("POST", "/tasks", {"text": "x", name: moment}), name) == rule
    assert await refused(api, ("POST", "/batches", {"tasks": [{"text": "x", name: moment}]}), f"tasks[0].{name}")


async def test_such_a_moment_is_refused_in_a_change_and_in_a_pause(api: Api) -> None:
    task = await api.create(text="x", runAt=LATER)
    for name in ("runAt", "deadline"):
        await refused(api, ("PATCH", f"/tasks/{task['id']}", {name: OUT_OF_TIME[0]}), name)
    await refused(api, ("POST", "/queues/echo/pause", {"until": OUT_OF_TIME[0]}), "until")
    assert (await api.get(f"/tasks/{task['id']}"))["runAt"] == "2035-01-01T00:00:00.000Z"


async def test_such_a_moment_is_refused_over_a2a_and_lists_go_on() -> None:
    async with managed(agent) as office:
        for name in ("runAt", "deadline"):
            with pytest.raises(Exception, match=f"{name} must be a moment between 1970 and 2200"):
                await sent(office, "x", "echo", **{name: OUT_OF_TIME[0]})
        assert (await office.get("/tasks"))["tasks"] == []


async def test_truth_is_no_priority(api: Api) -> None:
    rule = "must be critical, high, normal, low, backlog, or 1 to 5"
    assert rule in await refused(api, ("POST", "/tasks", {"text": "x", "priority": True}), "priority")
    bulk: Json = {"action": "reprioritise", "ids": ["x"], "priority": True}
    assert rule in await refused(api, ("POST", "/tasks/bulk", bulk), "priority")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/batches", {"tasks": []}, "tasks must have at least 1 item, not 0."),
        ("/events", {"ids": []}, "ids must have at least 1 item, not 0."),
        ("/tasks", {"text": "x", "title": "a\n"}, "title must be text without control characters."),
        (
            "/batches",
            {"tasks": [{"text": "x", "template": "no"}]},
            "tasks[0].template names a template, and there is none; leave it out.",
        ),
        (
            "/batches",
            {"tasks": [{"text": "x", "deadline": "2001-01-01T00:00:00Z"}]},
            "tasks[0].deadline: The deadline has passed; give a later one or none.",
        ),
    ],
)
async def test_errors_are_in_the_words_of_the_documents(api: Api, path: str, body: Json, message: str) -> None:
    error = error_of(await api.ask("POST", path, body))
    assert error["message"] == message


async def test_an_error_about_several_members_is_whole(api: Api) -> None:
    error = error_of(await api.ask("GET", "/events?ids=a&batch=b"))
    assert error["details"] == [{"field": "ids", "rule": "ids, batch and filters each choose tasks; give one of them"}]


@pytest.mark.parametrize("name", ["title", "tag", "contextId", "skill", "schedule", "template", "batch"])
async def test_a_stream_is_not_opened_for_what_no_store_can_hold(api: Api, name: str) -> None:
    error = error_of(await api.ask("GET", f"/events?{name}=a%00"))
    field = f"{name}[0]" if name in {"tag", "skill"} else name
    assert error["message"] == f"{field} must not hold the character U+0000."
    assert error["details"][0]["field"] == field


async def test_a_slash_in_disguise_is_no_part_of_the_prefix(api: Api) -> None:
    for path in ("%2Ftasks", "%2F"):
        assert (await api.ask("GET", path)).status_code == 404, path
    assert (await api.ask("GET", "/tasks")).status_code == 200


async def test_a_circle_is_named(api: Api) -> None:
    first = await api.create(text="x", runAt=LATER)
    second = await api.create(text="x", dependsOn=[first["id"]])
    third = await api.create(text="x", dependsOn=[second["id"]])
    path = f"/tasks/{first['id']}/dependencies"
    circle = f"({third['id']} → {second['id']} → {first['id']})"
    assert circle in await refused(api, ("POST", path, {"dependsOn": [third["id"]]}), "dependsOn[0]")
    free = await api.create(text="x", runAt=LATER)
    under: Json = {"text": "x", "parentTaskId": first["id"], "dependsOn": [free["id"], third["id"]]}
    for path_of_one in ("/tasks", "/tasks?dryRun=true"):
        assert circle in await refused(api, ("POST", path_of_one, under), "dependsOn[1]")
    itself = await refused(api, ("POST", path, {"dependsOn": [first["id"]]}), "dependsOn[0]")
    assert "this very task" in itself


async def test_a_long_circle_is_named_by_its_ends(api: Api) -> None:
    chain = [await api.create(text="x", runAt=LATER)]
    for _ in range(30):
        chain.append(await api.create(text="x", dependsOn=[chain[-1]["id"]]))
    path = f"/tasks/{chain[0]['id']}/dependencies"
    message = await refused(api, ("POST", path, {"dependsOn": [chain[-1]["id"]]}), "dependsOn[0]")
    named = message[message.index("(") + 1 : message.index(")")].split(" → ")
    assert (named[0], named[1], named[-2:]) == (chain[-1]["id"], chain[-2]["id"], ["…", chain[0]["id"]])
    assert len(named) < len(chain)


@pytest.mark.parametrize("kind", ["tasks", "schedules", "templates"])
async def test_patches_side_by_side_are_all_merged(api: Api, kind: str) -> None:
    if kind == "tasks":
        path, member = f"/tasks/{(await api.create(text='x', runAt=LATER))['id']}", "metadata"
    elif kind == "schedules":
        await api.ask("POST", "/schedules", {"id": "crowd", "intervalSeconds": 86_400, "text": "x"})
        path, member = "/schedules/crowd", "metadata"
    else:
        await api.ask("PUT", "/templates/crowd", {"text": "x", "options": {"parameters": {}}})
        path, member = "/templates/crowd", "options"
    given: list[Any] = [{f"k{n}": n} for n in range(SIDE_BY_SIDE)]
    patches = [{member: {"parameters": one} if kind == "templates" else one} for one in given]
    responses = await asyncio.gather(*(api.ask("PATCH", path, patch) for patch in patches))
    assert {response.status_code for response in responses} == {200}
    shown = (await api.get(path))[member]
    assert len(shown["parameters"] if kind == "templates" else shown) == SIDE_BY_SIDE


async def test_a_retry_after_what_is_no_number_ends_the_run() -> None:
    hasty = Agent("Hasty")

    @hasty.skill
    async def again(task: TaskContext) -> str:
        """Wait for what is no number."""
        delay: Any = {"text": ["soon"], "number": "0"}[task.text]
        raise Retry("later", after_seconds=delay)

    async with managed(hasty, max_attempts=2) as office:
        assert await ended(office, await sent(office, "text", "again")) == "TASK_STATE_FAILED"
        assert await ended(office, await sent(office, "number", "again")) == "TASK_STATE_FAILED"


async def test_progress_by_items_is_a_fraction_too_and_counts_for_its_batch() -> None:
    counter = Agent("Counter")
    going = asyncio.Event()

    @counter.skill
    async def count(task: TaskContext) -> str:
        """Do three of four."""
        await task.progress(done=3, total=4)
        await going.wait()
        return "done"

    async with managed(counter) as office:
        batch = await office.post("/batches", {"tasks": [{"text": "x"}]})
        path = f"/tasks/{batch['items'][0]['id']}"
        task = await seen(lambda: office.get(path), lambda task: "progress" in task)
        assert task["progress"] == {"fraction": 0.75, "done": 3, "total": 4}
        assert (await office.get(f"/batches/{batch['id']}"))["progress"] == 0.75
        going.set()
        await seen(lambda: office.get(path), lambda task: task["phase"] == "final")
        assert (await office.get(f"/batches/{batch['id']}"))["progress"] == 1.0


async def test_a_task_says_when_it_ended(api: Api) -> None:
    task = await api.done(text="x")
    assert task["endedAt"] == task["updatedAt"] >= task["startedAt"]
    rated = await api.post(f"/tasks/{task['id']}/feedback", {"rating": 5})
    assert rated["endedAt"] == task["endedAt"]
    assert "endedAt" not in await api.create(text="x", runAt=LATER)


async def test_the_text_of_a_last_failure_is_a_sentence_of_its_own() -> None:
    tired = Agent("Tired")

    @tired.skill
    async def rest() -> str:
        """Put it off."""
        raise Retry("not now", after_seconds=0)

    async with managed(tired, max_attempts=2) as office:
        task = await sent(office, "x", "rest")
        await ended(office, task)
        text = (await office.get(f"/tasks/{task}"))["error"]["text"]
        assert text == "not now. Tried 2 times; the task allows no more attempts (maxAttempts 2)."
