"""The task manager's own agent: what its commands do and say, and whose tasks they reach."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from a2a_server import Agent, TaskContext
from a2a_server.errors import ClientError, TaskNotFound, UnsupportedOperation
from a2a_server.model.commands import OPERATION, OPERATIONS, Command
from a2a_server.model.objects import Scope
from a2a_server.service.sizing import Sizing
from a2a_server.testing import Connection, RpcError, connect
from a2a_server.web.management.commanding import Commands
from a2a_server.web.management.monitoring import MonitoringPages
from tests.server.test_agents_mount import called

DONE, FAILED, REJECTED = "TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_REJECTED"


class Stage:
    """A server whose skill does what it is told, and its task manager."""

    def __init__(self) -> None:
        self.agent = Agent("Stage")
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self._number = 0

        @self.agent.skill
        async def act(task: TaskContext, text: str) -> str:
            if text == "fail":
                raise ValueError
            if text == "ask":
                return f"heard {await task.ask('Which one?')}"
            if text == "hold":
                self.begun.release()
                await self.go.wait()
            return text

    async def told(self, sentence: str = "", /, **data: Any) -> dict[str, Any]:  # noqa: ANN401 - a command's arguments
        """The task manager's task, ended."""
        self._number += 1
        part = {"data": data} if data else {"text": sentence}
        message = {"messageId": f"m-{self._number}", "role": "ROLE_USER", "parts": [part]}
        found: dict[str, Any] = (await called(self.server.url, "SendMessage", {"message": message}))["task"]
        return found

    async def answered(self, sentence: str = "", /, **data: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
        task = await self.told(sentence, **data)
        assert task["status"]["state"] == DONE, task["status"]
        parts = task["artifacts"][0]["parts"]
        assert parts[1]["text"]
        answer: dict[str, Any] = parts[0]["data"]
        return answer

    server: Connection


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    async with connect(made.agent) as made.server:
        yield made
        made.go.set()


def reason(task: dict[str, Any]) -> str:
    return str(task["status"]["message"]["parts"][0]["text"])


async def test_a_task_is_made_found_explained_and_canceled(stage: Stage) -> None:
    made = await stage.answered(operation="createTask", text="hold", title="Hold it", priority="critical")
    assert (made["title"], made["priority"]) == ("Hold it", "critical")
    await stage.begun.acquire()
    assert (await stage.answered(f"get {made['id']}"))["status"] == "in_progress"
    explained = await stage.answered(f"why is {made['id']} not running")
    assert [one["kind"] for one in explained["reasons"]] == ["running"]
    listed = await stage.answered("list working tasks")
    assert [task["id"] for task in listed["tasks"]] == [made["id"]]
    assert (await stage.answered(f"cancel {made['id']}"))["id"] == made["id"]
    await ended(stage, made["id"])
    assert (await stage.answered(f"cancel {made['id']}"))["state"] == "canceled"
    events = (await stage.answered(f"events of {made['id']}"))["events"]
    assert [event["n"] for event in events] == [1, 2, 3]
    assert (await server_task(stage, made["id"]))["status"]["state"] == "TASK_STATE_CANCELED"


async def ended(stage: Stage, task_id: str) -> None:
    with suppress(RpcError):  # it may have ended already
        async for _ in stage.server.subscribe(task_id):
            pass


async def server_task(stage: Stage, task_id: str) -> dict[str, Any]:
    return dict(await stage.server.get(task_id))


async def test_what_is_only_rehearsed_is_told_as_that(stage: Stage) -> None:
    made = await stage.answered(operation="createTask", text="x", runAt="2099-01-01T00:00:00Z", title="old")
    for command in (
        {"operation": "changeTask", "taskId": made["id"], "title": "new"},
        {"operation": "replaceTask", "taskId": made["id"], "title": "new"},
        {"operation": "createBatch", "tasks": [{"text": "y"}]},
        {"operation": "deleteTask", "taskId": made["id"], "cancel": True},
        {"operation": "deleteTask", "taskId": made["id"], "cancel": "yes", "dryRun": "yes"},
    ):
        task = await stage.told(**{"dryRun": True, **command})
        assert task["status"]["state"] == DONE, task["status"]
        assert task["artifacts"][0]["parts"][1]["text"].startswith("Nothing was done; this would come of it:\n")
    assert [(one["id"], one["title"]) for one in (await stage.answered("list tasks"))["tasks"]] == [(made["id"], "old")]


async def test_a_question_is_answered(stage: Stage) -> None:
    asked = await stage.server.send("ask")
    explained = await stage.answered(operation="explain_task", task_id=asked["id"])
    assert [one["detail"] for one in explained["reasons"]] == ["Which one?"]
    await stage.answered(f"answer {asked['id']}: the blue one")
    await ended(stage, asked["id"])
    task = await server_task(stage, asked["id"])
    assert task["artifacts"][0]["parts"][0]["text"] == "heard the blue one"


async def test_lists_are_filtered_and_go_on_by_their_cursor(stage: Stage) -> None:
    for text in ("one", "two", "fail", "three"):
        await stage.server.send(text)
    failed = await stage.answered("list failed tasks")
    assert [(task["state"], task["status"]) for task in failed["tasks"]] == [("failed", "failed")]
    seen, cursor = [], ""
    for _ in range(4):
        page = await stage.answered(operation="list_tasks", limit=1, cursor=cursor, status=["completed", "failed"])
        seen += [task["id"] for task in page["tasks"]]
        cursor = page.get("next", "")
        if not cursor:
            break
    assert len(set(seen)) == 4
    counted = await stage.answered("count tasks")
    assert counted["states"] == {"completed": 3, "failed": 1}


async def test_counts_say_what_tasks_need_and_name_no_queue_of_the_house(stage: Stage) -> None:
    requires = {"tags": ["gpu"], "cpu": 1.5, "memoryBytes": 1 << 30}
    _, made = [await stage.answered(operation="createTask", text=text, requires=requires) for text in ("a", "b")]
    task = await stage.told("count tasks")
    data, text = (part.get("data") or part["text"] for part in task["artifacts"][0]["parts"])
    assert data["queues"] == {"act": {"ready": 2}}
    assert data["needing"] == [{"skill": "act", "requires": requires, "phases": {"ready": 2}}]
    assert text == "2 submitted.\nOf act, needing tags gpu, cpu 1.5, memoryBytes 1073741824: 2 ready."
    behind = (await stage.answered(f"explain {made['id']}"))["reasons"][-1]
    assert (behind["kind"], behind["queue"]) == ("behind", "act")
    assert behind["needs"] == ["tag gpu", "cpu 1.5", "memoryBytes 1073741824"]
    assert "of its queue that need the same of a worker, tag gpu, cpu 1.5, memory" in behind["text"]


async def test_help_says_what_is_understood(stage: Stage) -> None:
    task = await stage.told("help")
    parts = task["artifacts"][0]["parts"]
    assert {"listTasks", "bulk", "pauseQueue"} <= set(parts[0]["data"]["operations"])
    assert "why is TASK not running" in parts[1]["text"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"operation": "list_tasks", "state": "purple"}, "listTasks: state[0] must be "),
        ({"operation": "listTasks", "limit": 1000}, "listTasks: limit must be at most 200."),
        (
            {"operation": "listTasks", "contxtId": "x"},
            "listTasks: contxtId is not known here (did you mean contextId?)",
        ),
        ({"operation": "listTasks", "cursor": "!"}, "listTasks: cursor "),
        ({"operation": "getTask"}, "getTask: taskId is missing."),
        ({"operation": "getTask", "taskId": 3}, "getTask: taskId must be a text of 1 to 1024 characters."),
        ({"operation": "createTask", "text": 3}, "createTask: text "),
        ({"operation": "createTask", "text": "x", "skill": "none"}, "createTask: skill"),
        ({"operation": "createTask", "text": "x", "priority": "top"}, "createTask: priority must be critical, "),
        ({"operation": "createTask", "text": "x", "message": {"parts": []}}, "createTask: text and message are one"),
        ({"operation": "createBatch", "tasks": [{"text": "a"}, {"txet": "b"}]}, "createBatch: tasks[1].txet is not"),
        ({"operation": "createBatch", "tasks": 3}, "createBatch: tasks must be"),
        ({"operation": "bulk", "action": "cancel"}, "bulk: ids or filter must be given"),
        ({"operation": "createSchedule", "cron": "x", "text": "y"}, "createSchedule: cron"),
        ({"hello": "there"}, 'A data part must say "operation"'),
    ],
)
async def test_bad_input_is_rejected_and_stores_nothing(stage: Stage, data: dict[str, Any], said: str) -> None:
    task = await stage.told(**data)
    assert task["status"]["state"] == REJECTED
    assert reason(task).startswith(said)
    assert (await stage.answered("count tasks"))["states"] == {}


@pytest.mark.parametrize("text", [[], [{"text": "list tasks"}]])
async def test_a_data_part_that_is_no_object_is_rejected(stage: Stage, text: list[dict[str, str]]) -> None:
    message = {"messageId": "list", "role": "ROLE_USER", "parts": [{"data": [1, 2]}, *text]}
    task = (await called(stage.server.url, "SendMessage", {"message": message}))["task"]
    assert task["status"]["state"] == REJECTED
    assert reason(task) == 'A data part must be an object, such as {"operation": "listTasks"}.'


async def test_help_says_that_a_text_beside_a_data_part_is_not_read(stage: Stage) -> None:
    task = await stage.told("help")
    assert task["artifacts"][0]["parts"][1]["text"].endswith("a text beside it is not read.")


async def test_what_cannot_be_done_fails_and_says_why(stage: Stage) -> None:
    done = await stage.server.send("one")
    canceled = await stage.told(f"cancel {done['id']}")
    assert (canceled["status"]["state"], reason(canceled)) == (
        FAILED,
        f"Task {done['id']} cannot be canceled: it has ended (completed).",
    )
    missing = await stage.told("get nobody")
    assert reason(missing) == 'There is no task "nobody" of yours; listTasks shows those that there are.'


async def test_each_skill_takes_its_own_commands_and_the_first_takes_all(stage: Stage) -> None:
    options = {"urn:a2a-task-server:task-options:v1": {"skill": "monitoring"}}

    async def asked(text: str) -> dict[str, Any]:
        message = {"messageId": text, "role": "ROLE_USER", "parts": [{"text": text}]}
        found: dict[str, Any] = await called(stage.server.url, "SendMessage", {"message": message, "metadata": options})
        return dict(found["task"])

    assert (await asked("count tasks"))["status"]["state"] == DONE
    refused = await asked("list tasks")
    assert refused["status"]["state"] == REJECTED
    assert 'belongs to the skill "task_management"' in reason(refused)


async def test_a_capability_that_is_not_offered_is_refused() -> None:
    stage = Stage()
    async with connect(stage.agent, task_manager={"capabilities": ["monitoring"]}) as stage.server:
        await stage.answered("count tasks")
        refused = await stage.told("list tasks")
        assert reason(refused) == 'This belongs to "task_management", which this task manager does not offer.'


async def test_a_command_reaches_the_tasks_of_its_own_owner_alone(stage: Stage) -> None:
    commands = await commands_of(stage, operators=False)
    ann, bob = Scope("", "ann"), Scope("acme", "ann")
    made = (await commands.answer(ann, Command("createTask", {"text": "one"}), "k")).data
    again = (await commands.answer(ann, Command("createTask", {"text": "one"}), "k")).data
    assert again["id"] == made["id"], "the same command carried out again"
    for other in (bob, Scope()):
        assert (await commands.answer(other, Command("listTasks"), "l")).data == {"tasks": []}
        for operation in ("getTask", "cancelTask", "explainTask", "listJournal", "deleteTask", "retryTask"):
            with pytest.raises(TaskNotFound):
                await commands.answer(other, Command(operation, {"taskId": made["id"]}), "m")


async def commands_of(stage: Stage, *, operators: bool = True) -> Commands:
    system = stage.server._system
    sizing = Sizing(system.usage)
    routes = (*await system.routes(), *MonitoringPages(system.engine, system.engine.backends.store, sizing).routes())
    return Commands(routes, system.engine.agent, sizing, lambda: operators)


async def test_what_is_about_the_server_is_for_operators(stage: Stage) -> None:
    commands = await commands_of(stage, operators=False)
    for operation, (_, for_operators) in OPERATIONS.items():
        if for_operators:
            with pytest.raises(UnsupportedOperation, match="bound to this machine"):
                await commands.answer(Scope(), Command(operation), "n")


async def test_every_operation_is_one_of_the_apis_that_answers_with_json(stage: Stage) -> None:
    routes = {route.operation: route for route in await stage.server._system.routes()}
    assert OPERATIONS.keys() - routes.keys() == {"countTasks", "listAlerts", "reportSizing"}
    assert {name for name in routes if name not in OPERATIONS} == PULLING | {
        "about",
        "followTasks",
        "followNamedTasks",
    }
    for route in (*routes.values(), *(await commands_of(stage))._routes.values()):
        if route.operation in OPERATIONS:
            members = [*route.variables, "taskId", *(field.alias for field in route.query.model_fields.values())]
            assert OPERATION not in members
            body = {} if route.body is None else {field.alias for field in route.body.model_fields.values()}
            assert not set(route.variables) & set(body), "an argument would have two places"


PULLING = {
    "registerWorker",
    "removeWorker",
    "beatWorker",
    "claimTasks",
    "reportEvents",
    "completeTask",
    "failTask",
    "releaseTask",
}


async def test_what_is_carried_out_again_is_made_once(stage: Stage) -> None:
    commands = await commands_of(stage)

    async def twice(operation: str, **arguments: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a command's arguments
        command, key = Command(operation, arguments), "-".join((operation, *arguments))
        found = [(await commands.answer(Scope(), command, key)).data for _ in range(2)]
        return found[0], found[1]

    first, again = await twice("createBatch", tasks=[{"text": "one"}, {"text": "two", "dependsOn": ["#0"]}])
    assert (first["id"], [item["id"] for item in first["items"]]) == (
        again["id"],
        [one["id"] for one in again["items"]],
    )
    first, again = await twice("createSchedule", cron="0 3 * * *", text="one")
    assert first == again
    assert len((await stage.answered("list schedules"))["schedules"]) == 1
    first, again = await twice("triggerSchedule", scheduleId=first["id"])
    assert first == again
    await ended(stage, first["taskId"])
    first, again = await twice("retryTask", taskId=first["taskId"])
    assert first["id"] == again["id"]
    message = {"parts": [{"text": "one"}], "metadata": {"mine": 1}}
    for arguments in ({"message": message}, {"text": "one", "dryRun": False}):
        first, again = await twice("createTask", **arguments)
        assert first["id"] == again["id"]


async def test_tasks_are_changed_rated_retried_and_deleted(stage: Stage) -> None:
    task = await stage.server.send("one")
    changed = await stage.answered(operation="changeTask", taskId=task["id"], title="First")
    assert changed["title"] == "First"
    rated = await stage.answered(f"rate {task['id']} 4: good")
    assert [(one["rating"], one["comment"], one["by"]) for one in rated["feedback"]] == [(4, "good", "local")]
    wrong = await stage.told(f"rate {task['id']} 9")
    assert reason(wrong).startswith("giveFeedback: rating must be at most 5")
    again = await stage.answered(f"retry {task['id']}")
    assert again["retryOf"] == task["id"]
    await ended(stage, again["id"])
    counted = await stage.answered(operation="bulk", action="delete", filter={"state": ["completed"]}, dryRun=True)
    assert (counted["matched"], counted["done"]) == (2, 0)
    assert await stage.answered(f"delete {task['id']}") == {"id": task["id"]}
    assert reason(await stage.told(f"get {task['id']}")).startswith("There is no task")


async def test_queues_limits_schedules_and_templates(stage: Stage) -> None:
    assert (await stage.answered("pause queue act"))["paused"]
    assert [queue["paused"] for queue in (await stage.answered("list queues"))["queues"]] == [True]
    assert not (await stage.answered("resume queue act"))["paused"]
    limit = await stage.answered(operation="setLimit", key="skill:act", capacity=3)
    assert limit["capacity"] == 3
    assert limit in (await stage.answered("list limits"))["limits"]
    await stage.answered(operation="createSchedule", id="nightly", cron="0 3 * * *", text="one")
    assert (await stage.answered("pause schedule nightly"))["paused"]
    triggered = await stage.answered("trigger schedule nightly")
    await ended(stage, triggered["taskId"])
    assert (await stage.answered(f"get {triggered['taskId']}"))["schedule"] == "nightly"
    assert await stage.answered(operation="deleteSchedule", scheduleId="nightly") == {"id": "nightly"}
    await stage.answered(operation="createTemplate", name="greeting", text="hello")
    made = await stage.answered(operation="createTask", template="greeting")
    await ended(stage, made["id"])
    assert (await server_task(stage, made["id"]))["artifacts"][0]["parts"][0]["text"] == "hello"
    assert [one["name"] for one in (await stage.answered("list templates"))["templates"]] == ["greeting"]
    assert (await stage.answered("list dead letters"))["deadLetters"] == []
    refused = await stage.told("drain worker nobody")
    assert (refused["status"]["state"], reason(refused)[:24]) == (FAILED, "There is no such worker;")


RUBBISH: tuple[object, ...] = (None, -1, 1e400, True, "", "\0", "x" * 2000, "{}", [None], [[]], {"id": {}}, "../..")


async def test_no_argument_makes_an_error_of_the_servers(stage: Stage) -> None:
    commands = await commands_of(stage)
    ended_id = (await stage.server.send("one"))["id"]
    for operation in OPERATIONS:
        route = commands._routes[operation]
        models = (route.query, *(() if route.body is None else (route.body,)))
        names = {str(field.alias) for model in models for field in model.model_fields.values()}
        path = {"id": ended_id, "name": "act", "key": "skill:act"}
        given = {name: path[name] for name in route.variables}
        for name in sorted({*names, *route.variables, "other"}):
            for value in RUBBISH:
                with suppress(ClientError):
                    await commands.answer(Scope(), Command(operation, {**given, name: value}), "k")


async def test_the_cards_name_and_the_workers_id_are_the_settings() -> None:
    stage = Stage()
    manager = {"id": "task-manager-1", "name": "Keeper"}
    async with connect(stage.agent, task_manager=manager) as stage.server:
        workers = (await stage.answered("list workers"))["workers"]
        told = {(worker["agent"], worker.get("serves"), worker.get("agentId")) for worker in workers}
        assert told == {("Stage", None, None), ("Keeper", "task-manager", "task-manager-1")}


async def test_commands_are_durable_tasks(stage: Stage) -> None:
    stage.go.set()
    task = await stage.told("run act: hold")
    again = await called(stage.server.url, "GetTask", {"id": task["id"]})
    assert again["artifacts"] == task["artifacts"]
    row = await stage.server._system.engine.backends.store.find(Scope(), "task-manager", task["id"])
    assert row is not None
    assert (row.agent, row.queue) == ("task-manager", "task-manager/task_management")
