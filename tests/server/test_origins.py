"""What a task says of where it came from, when what happened to it, and why it failed, whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import pytest
import pytest_asyncio

from a2a_server import Agent, Fail, Retry, TaskContext
from a2a_server.agents.task_manager import NAME
from tests.server.managing import Managed, managed, seen
from tests.server.test_agents_mount import MANAGER, called
from tests.server.waiting import until_asked

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = "2099-01-01T00:00:00Z"
USER: Final = {"type": "user", "id": "local"}
AGENT: Final = {"type": "agent", "id": "Origins"}
Json = dict[str, Any]


def agent() -> Agent:
    agent = Agent("Origins")
    never = asyncio.Event()

    @agent.skill(default=True)
    async def say(text: str) -> str:
        return text

    @agent.skill
    async def spawn(task: TaskContext) -> str:
        return (await task.spawn("a part", skill="say")).id

    @agent.skill(max_attempts=1)
    async def fail(task: TaskContext) -> str:
        match task.text:
            case "said":
                raise Fail("no")
            case "again":
                raise Retry("not now", after_seconds=0)
            case "slow":
                await never.wait()
                return "never"
            case _:
                raise ValueError(task.text)

    @agent.skill(max_attempts=2)
    async def second(task: TaskContext) -> str:
        if task.attempt == 1:
            raise Retry("once more", after_seconds=0)
        return "done"

    @agent.skill
    async def count(task: TaskContext) -> str:
        task.progress(done=3, total=4)
        task.progress(done=4, total=4)
        return "four"

    return agent


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office() -> AsyncIterator[Managed]:
    async with managed(agent()) as server:
        yield server


async def over(office: Managed, task_id: str) -> Json:
    """The task, ended."""
    return await seen(lambda: office.get(f"/tasks/{task_id}"), lambda task: task["phase"] == "final")


async def made(office: Managed, **task: Any) -> Json:  # noqa: ANN401 - members of a task
    """A new task of the management API, ended."""
    return await over(office, (await office.post("/tasks", task))["id"])


def origin(task: Json) -> tuple[Json | None, str | None, str | None]:
    return task.get("createdBy"), task.get("source"), task.get("method")


def moment(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def between(task: Json, first: str, last: str) -> float:
    return moment(task[last]) - moment(task[first])


OLD: Final = {"role": "user", "parts": [{"type": "text", "text": "x"}]}
MIDDLE: Final = {"role": "user", "parts": [{"kind": "text", "text": "x"}], "kind": "message"}
NEW: Final = {"role": "ROLE_USER", "parts": [{"text": "x"}]}


@pytest.mark.backends
@pytest.mark.parametrize(
    ("generation", "method", "message"),
    [
        ("0.1", "tasks/send", OLD),
        ("0.1", "tasks/sendSubscribe", OLD),
        ("0.3", "message/send", MIDDLE),
        ("0.3", "message/stream", MIDDLE),
        ("1.0", "SendMessage", NEW),
        ("1.0", "SendStreamingMessage", NEW),
    ],
)
async def test_the_method_of_each_generation_is_remembered(
    office: Managed, generation: str, method: str, message: Json
) -> None:
    context = uuid4().hex
    params: Json = (
        {"id": uuid4().hex, "sessionId": context, "message": message}
        if generation == "0.1"
        else {"message": {**message, "messageId": uuid4().hex, "contextId": context}}
    )
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = await office.http.post(office.server.url, json=body, headers={"A2A-Version": generation})
    assert answer.status_code == 200, answer.text
    (listed,) = (await office.get("/tasks", contextId=context))["tasks"]
    task = await over(office, listed["id"])
    assert (task["generation"], *origin(task)) == (generation, USER, "a2a", method)
    assert origin(listed) == origin(task)


@pytest.mark.backends
async def test_so_are_the_ways_of_the_management_api(office: Managed) -> None:
    task = await office.post("/tasks", {"text": "x"})
    assert origin(task) == (USER, "api", "POST /tasks")
    assert origin(await over(office, task["id"])) == origin(task)
    batch = await office.post("/batches", {"tasks": [{"text": "x"}]})
    assert origin(await over(office, batch["items"][0]["id"])) == (USER, "batch", "POST /batches")
    await office.post(f"/tasks/{task['id']}/feedback", {"rating": 5})
    again = await office.post(f"/tasks/{task['id']}/retry", {})
    assert origin(again) == (USER, "retry", "POST /tasks/{id}/retry")
    for atomic in (False, True):
        await over(office, again["id"])
        bulk = {"action": "retry", "ids": [again["id"]], "atomic": atomic}
        assert (await office.post("/tasks/bulk", bulk))["done"] == 1
        others = (await office.get("/tasks", limit=20))["tasks"]
        (last,) = [one for one in others if one.get("retryOf") == again["id"]]
        assert origin(last) == (USER, "retry", "POST /tasks/bulk")
        again = last
    dead = await made(office, text="again", skill="fail")
    letter = (await office.post("/dead-letters/retry", {"ids": [dead["id"]]}))["items"][0]
    assert origin(await over(office, letter["newId"])) == (USER, "retry", "POST /dead-letters/retry")


@pytest.mark.backends
async def test_a_schedule_makes_tasks_by_itself_and_by_hand(office: Managed) -> None:
    id = f"s-{uuid4().hex}"
    soon = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 0.3, UTC).isoformat()
    await office.post("/schedules", {"id": id, "runAt": soon, "text": "tick"})

    async def ticked() -> bool:
        return bool((await office.get("/tasks", schedule=id))["tasks"])

    await until_asked(ticked)
    (tick,) = (await office.get("/tasks", schedule=id))["tasks"]
    assert origin(tick) == ({"type": "system", "id": id}, "schedule", "tick")
    hand = f"s-{uuid4().hex}"
    await office.post("/schedules", {"id": hand, "intervalSeconds": 3600, "text": "tick"})
    task_id = (await office.post(f"/schedules/{hand}/trigger", {}))["taskId"]
    assert origin(await over(office, task_id)) == (USER, "schedule", "POST /schedules/{id}/trigger")
    again = await office.post(f"/tasks/{task_id}/retry", {})
    assert (again["schedule"], *origin(again)) == (hand, USER, "retry", "POST /tasks/{id}/retry")


@pytest.mark.backends
async def test_parts_are_the_handlers_or_the_clients(office: Managed) -> None:
    parent = await made(office, text="x", skill="spawn")
    (child,) = (await office.get(f"/tasks/{parent['id']}/children"))["tasks"]
    assert origin(child) == (AGENT, "spawn", "spawn")
    waiting = await office.post("/tasks", {"text": "x", "runAt": LATER})
    part = await made(office, text="x", parentTaskId=waiting["id"])
    assert (part["parentTaskId"], *origin(part)) == (waiting["id"], USER, "api", "POST /tasks")


@pytest.mark.backends
async def test_the_task_manager_speaks_for_its_caller(office: Managed) -> None:
    async def told(**data: Any) -> Json:  # noqa: ANN401 - a command's arguments
        message = {"messageId": uuid4().hex, "role": "ROLE_USER", "parts": [{"data": data}]}
        task = (await called(office.server.url, "SendMessage", {"message": message}, path=MANAGER))["task"]
        found: Json = task["artifacts"][0]["parts"][0]["data"]
        return found

    manager = {"type": "agent", "id": NAME}
    task = await told(operation="createTask", text="x")
    assert (task["owner"], *origin(task)) == ("local", manager, "api", "POST /tasks")
    shown = await told(operation="getTask", taskId=(await over(office, task["id"]))["id"])
    assert {"queuedAt", "assignedAt", "durationSeconds", "responseSeconds"} <= shown.keys()
    assert origin(shown) == origin(task)
    again = await told(operation="retryTask", taskId=task["id"])
    assert origin(again) == (manager, "retry", "POST /tasks/{id}/retry")
    batch = await told(operation="createBatch", tasks=[{"text": "x"}])
    assert origin(await office.get(f"/tasks/{batch['items'][0]['id']}")) == (manager, "batch", "POST /batches")


async def test_a_message_to_a_task_that_asks_changes_nothing_of_where_it_came_from() -> None:
    asking = Agent("Asking")

    @asking.skill
    async def ask(task: TaskContext) -> str:
        return str(await task.ask("which?"))

    async with managed(asking) as office:
        task = await office.post("/tasks", {"text": "x"})
        await seen(lambda: office.get(f"/tasks/{task['id']}"), lambda one: one["phase"] == "paused")
        params = {"message": {**NEW, "messageId": "answer", "taskId": task["id"]}}
        await called(office.server.url, "SendMessage", params, path="/")
        answered = await over(office, task["id"])
        assert origin(answered) == (USER, "api", "POST /tasks")
        assert moment(answered["assignedAt"]) > moment(answered["startedAt"])


@pytest.mark.backends
@pytest.mark.parametrize(
    ("task", "reason", "code"),
    [
        ({"text": "said", "skill": "fail"}, "failed", "failed"),
        ({"text": "broken", "skill": "fail"}, "failed", "internal"),
        ({"text": "again", "skill": "fail"}, "failed", "attempts"),
        ({"text": "slow", "skill": "fail", "timeoutSeconds": 0.05}, "failed", "timeout"),
        ({"text": "x", "completeWhen": 1}, "failed", "children"),
        ({"text": "x", "completeWhen": {"checks": ["format"]}}, "failed", "checks"),
    ],
)
async def test_a_task_that_failed_has_a_code(office: Managed, task: Json, reason: str, code: str) -> None:
    error = (await made(office, **task))["error"]
    assert (error["reason"], error["code"]) == (reason, code)
    assert error["text"]


async def test_other_ends_have_codes_too(office: Managed) -> None:
    bad = await made(office, text="said", skill="fail")
    waited = await made(office, text="x", dependsOn=[bad["id"]])
    assert waited["error"]["code"] == "dependency"
    canceled = await made(office, text="x", dependsOn=[bad["id"]], onDependencyFailure="cancel")
    assert (canceled["error"]["reason"], canceled["error"]["code"]) == ("canceled", "dependency")
    stopped = await office.post("/tasks", {"text": "x", "runAt": LATER})
    stopped = await office.post(f"/tasks/{stopped['id']}/cancel")
    assert stopped["error"] == {"reason": "canceled", "code": "canceled"}
    batch = await office.post("/batches", {"tasks": [{"text": "again", "skill": "fail"}]})
    await over(office, batch["items"][0]["id"])
    (failure,) = (await office.get(f"/batches/{batch['id']}"))["failures"]
    assert failure["error"]["code"] == "attempts"


async def test_a_code_outlives_what_is_undone_first() -> None:
    undoing = Agent("Undoing")

    @undoing.skill(max_attempts=1)
    async def work(text: str) -> str:
        raise Retry("never", after_seconds=0)

    @work.rollback
    async def undo(task: TaskContext) -> None:
        """Nothing is left of it."""

    async with managed(undoing) as office:
        assert (await made(office, text="x"))["error"]["code"] == "attempts"


@pytest.mark.backends
async def test_times_of_a_task_that_ran_at_once(office: Managed) -> None:
    task = await made(office, text="x")
    assert task["queuedAt"] == task["createdAt"]
    assert task["assignedAt"] == task["startedAt"]
    assert task["durationSeconds"] == pytest.approx(between(task, "startedAt", "endedAt"), abs=0.002)
    assert task["responseSeconds"] == pytest.approx(between(task, "createdAt", "startedAt"), abs=0.002)
    listed = next(one for one in (await office.get("/tasks"))["tasks"] if one["id"] == task["id"])
    assert listed["durationSeconds"] == task["durationSeconds"]
    assert listed["responseSeconds"] == task["responseSeconds"]
    assert not {"queuedAt", "assignedAt"} & listed.keys()


@pytest.mark.backends
async def test_every_answer_with_a_task_that_began_says_when(office: Managed) -> None:
    body = {"text": "slow", "skill": "fail", "uniqueKey": str(uuid4())}
    task = await office.post("/tasks", body)
    path = f"/tasks/{task['id']}"
    assert task["state"] == "working"
    assert task["startedAt"] == (await office.get(path))["startedAt"]
    assert (await office.post("/tasks", body))["startedAt"] == task["startedAt"]
    assert (await office.post(f"{path}/cancel"))["startedAt"] == task["startedAt"]
    ended = await over(office, task["id"])
    rated = await office.post(f"{path}/feedback", {"rating": 5})
    assert (rated["startedAt"], rated["durationSeconds"]) == (task["startedAt"], ended["durationSeconds"])


@pytest.mark.backends
async def test_a_task_that_waited_was_queued_when_it_could_run(office: Managed) -> None:
    first = await office.post("/tasks", {"text": "x", "runAt": LATER})
    second = await office.post("/tasks", {"text": "x", "dependsOn": [first["id"]]})
    for task in (first, second):
        assert not {"queuedAt", "assignedAt"} & (await office.get(f"/tasks/{task['id']}")).keys()
    await office.done("PATCH", f"/tasks/{first['id']}", {"runAt": None})
    started = await over(office, first["id"])
    assert moment(started["createdAt"]) < moment(started["queuedAt"]) <= moment(started["startedAt"])
    released = await over(office, second["id"])
    assert moment(started["endedAt"]) <= moment(released["queuedAt"]) <= moment(released["startedAt"])
    late = await office.post("/tasks", {"text": "x", "delaySeconds": 0.2})
    delayed = await over(office, late["id"])
    assert between(delayed, "createdAt", "queuedAt") >= 0.199


@pytest.mark.backends
async def test_a_task_that_never_ran_has_no_duration(office: Managed) -> None:
    task = await office.post("/tasks", {"text": "x", "runAt": LATER})
    canceled = await office.post(f"/tasks/{task['id']}/cancel")
    task = await office.get(f"/tasks/{task['id']}")
    assert not {"queuedAt", "assignedAt", "startedAt", "durationSeconds"} & task.keys()
    assert canceled["responseSeconds"] == task["responseSeconds"]
    assert task["responseSeconds"] == pytest.approx(between(task, "createdAt", "endedAt"), abs=0.002)


@pytest.mark.backends
async def test_a_second_run_is_the_last_claim_and_part_of_the_duration(office: Managed) -> None:
    task = await made(office, text="x", skill="second")
    assert moment(task["queuedAt"]) <= moment(task["startedAt"]) < moment(task["assignedAt"])
    assert task["durationSeconds"] >= between(task, "assignedAt", "endedAt")
    (claim,) = [one for one in (await office.get(f"/tasks/{task['id']}/journal"))["entries"] if one["kind"] == "leased"]
    assert claim["at"] == task["assignedAt"]


@pytest.mark.backends
async def test_throughput_is_of_the_last_items_that_were_told(office: Managed) -> None:
    task = await made(office, text="x", skill="count")
    events = (await office.get(f"/tasks/{task['id']}/events"))["events"]
    told = [one for one in events if one.get("progress", {}).get("done") == 4]
    assert len(told) == 1
    assert 4 / (moment(told[0]["at"]) - moment(task["startedAt"]) + 0.001) <= task["throughput"]
    assert "throughput" not in await made(office, text="x")
