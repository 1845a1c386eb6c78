"""A good request for every method of every generation, and what has to stand on the server for it.

The oracle takes these and spoils them; so what it sees comes from what it spoiled, and from nothing else. Source of
names and members: A2A v0.1.0, 0.3.0 and 1.0.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx2

from a2a_server.engine.engine import new_key
from a2a_server.model.objects import Phase
from a2a_server.model.queries import TaskQuery
from a2a_server.model.rows import NO_KEY
from a2a_server.model.turns import Changes, Needs
from a2a_server.testing import Connection
from a2a_server.wire.operations import Operation
from tests.server.behaviours import new_id

Json = dict[str, Any]

OPTIONS_URI = "urn:a2a-task-server:task-options:v1"

METHODS: Mapping[str, Mapping[Operation, str]] = {
    "0.1": {
        Operation.SEND: "tasks/send",
        Operation.STREAM: "tasks/sendSubscribe",
        Operation.GET: "tasks/get",
        Operation.CANCEL: "tasks/cancel",
        Operation.SUBSCRIBE: "tasks/resubscribe",
        Operation.PUSH_SET: "tasks/pushNotification/set",
        Operation.PUSH_GET: "tasks/pushNotification/get",
    },
    "0.3": {
        Operation.SEND: "message/send",
        Operation.STREAM: "message/stream",
        Operation.GET: "tasks/get",
        Operation.CANCEL: "tasks/cancel",
        Operation.SUBSCRIBE: "tasks/resubscribe",
        Operation.PUSH_SET: "tasks/pushNotificationConfig/set",
        Operation.PUSH_GET: "tasks/pushNotificationConfig/get",
        Operation.PUSH_LIST: "tasks/pushNotificationConfig/list",
        Operation.PUSH_DELETE: "tasks/pushNotificationConfig/delete",
        Operation.EXTENDED_CARD: "agent/getAuthenticatedExtendedCard",
    },
    "1.0": {
        Operation.SEND: "SendMessage",
        Operation.STREAM: "SendStreamingMessage",
        Operation.GET: "GetTask",
        Operation.LIST: "ListTasks",
        Operation.CANCEL: "CancelTask",
        Operation.SUBSCRIBE: "SubscribeToTask",
        Operation.PUSH_SET: "CreateTaskPushNotificationConfig",
        Operation.PUSH_GET: "GetTaskPushNotificationConfig",
        Operation.PUSH_LIST: "ListTaskPushNotificationConfigs",
        Operation.PUSH_DELETE: "DeleteTaskPushNotificationConfig",
        Operation.EXTENDED_CARD: "GetExtendedAgentCard",
    },
}
"""Every method there is; protocol.md section 1."""

JSON = {"Content-Type": "application/json"}
PART: Mapping[str, Json] = {
    "0.1": {"type": "text", "text": "echo y"},
    "0.3": {"kind": "text", "text": "echo y"},
    "1.0": {"text": "echo y"},
}
CONTEXT: Mapping[str, str] = {"0.1": "sessionId", "0.3": "message.contextId", "1.0": "message.contextId"}
"""The field that names the conversation."""
PUSH_CONFIG: Mapping[str, str] = {
    "0.1": "pushNotification",
    "0.3": "configuration.pushNotificationConfig",
    "1.0": "configuration.taskPushNotificationConfig",
}
"""The field of a send that asks for push notifications."""


@dataclass(frozen=True)
class Stage:
    """What stands on the server for one generation, made by its own methods.

    working: a task at work, in the conversation `context`. ended: a task for each terminal state. sent: the params of
    a send whose task has ended; foreign: a task of somebody else.
    """

    generation: str
    working: str
    context: str
    sent: Json
    foreign: str
    ended: Mapping[str, str] = field(default_factory=dict)


def call(method: str, params: object = ..., id: object = 7) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({} if params is ... else {"params": params})


def good(generation: str, operation: Operation, task: str) -> Json:
    """A request that breaks no rule; `task` is the task that it names, if it names one."""
    url = {"url": "https://example.org"}
    old = {"id": task, "pushNotificationConfigId": "p"}
    named: Json = {"id": task} if generation == "0.1" else old if generation == "0.3" else {"taskId": task, "id": "p"}
    params: Mapping[Operation, object] = {
        Operation.GET: {"id": task},
        Operation.LIST: {"pageSize": 1},
        Operation.CANCEL: {"id": task},
        Operation.SUBSCRIBE: {"id": task},
        Operation.PUSH_SET: {
            "0.1": {"id": task, "pushNotificationConfig": url},
            "0.3": {"taskId": task, "pushNotificationConfig": url},
            "1.0": {"taskId": task, **url},
        }[generation],
        Operation.PUSH_GET: named,
        Operation.PUSH_LIST: {"id": task} if generation == "0.3" else {"taskId": task},
        Operation.PUSH_DELETE: named,
        Operation.EXTENDED_CARD: ...,
    }
    given = said(generation) if operation in {Operation.SEND, Operation.STREAM} else params[operation]
    return call(METHODS[generation][operation], given)


def said(generation: str, text: str = "echo y", *, wait: bool = True) -> Json:
    """The params of a send that opens a task. wait: until it has ended."""
    part = PART[generation] | {"text": text}
    now = {"metadata": {OPTIONS_URI: {"returnImmediately": True}}}
    if generation == "0.1":
        return {"id": new_id(), "message": {"role": "user", "parts": [part]}} | ({} if wait else now)
    message: Json = {"messageId": new_id(), "role": "user", "parts": [part]}
    if generation == "0.3":
        return {"message": {"kind": "message", **message}, "configuration": {"blocking": wait}}
    return {"message": message | {"role": "ROLE_USER"}, "configuration": {"returnImmediately": not wait}}


def put(request: Json, path: str, value: object) -> Json:
    """`request` with `value` at `path` (of params, or `/` and a member of the request); `...` takes it away."""
    changed = deepcopy(request)
    *way, last = path[1:].split(".") if path.startswith("/") else ["params", *path.split(".")]
    place: Any = changed
    for step in way:
        place = place[int(step)] if step.isdecimal() else place.setdefault(step, {})
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdecimal() else last] = value
    return changed


async def set_up(server: Connection, http: httpx2.AsyncClient, generation: str) -> Stage:
    """The stage of one generation."""

    async def send(text: str, *, wait: bool = True) -> tuple[Json, Json]:
        params = said(generation, text, wait=wait)
        request = call(METHODS[generation][Operation.SEND], params)
        result: Json = (await http.post(server.url, content=json.dumps(request), headers=JSON)).json()["result"]
        return params, result["task"] if generation == "1.0" else result

    _, work = await send("sleep 80000", wait=False)
    sent, done = await send("echo x")
    _, failed = await send("fail")
    _, rejected = await send("reject")
    _, canceled = await send("sleep 80000", wait=False)
    cancel = call(METHODS[generation][Operation.CANCEL], {"id": canceled["id"]})
    assert "result" in (await http.post(server.url, content=json.dumps(cancel), headers=JSON)).json()
    ended = {"completed": done, "failed": failed, "rejected": rejected, "canceled": canceled}
    return Stage(
        generation,
        work["id"],
        work["sessionId" if generation == "0.1" else "contextId"],
        sent,
        await foreign_task(server, work["id"]),
        {state: task["id"] for state, task in ended.items()},
    )


async def foreign_task(server: Connection, like: str) -> str:
    """A copy of a task that belongs to somebody else; its id."""
    engine = server._system.engine
    store = engine.backends.store
    page = await store.page(TaskQuery("", "local", engine.agent, limit=100))
    [row] = [shown.task for shown in page.rows if shown.task.id == like]
    copy = row._replace(key=new_key(), owner="somebody else", id=new_id(), phase=Phase.FINAL, worker=NO_KEY, due_at=0)
    await store.turn(Needs(), lambda loaded: Changes(new_tasks=[copy]))
    return copy.id
