"""An agent whose tasks do what a test of the management API needs, and a client of that API."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from a2a_server import Agent, Fail, Message, Retry, Role, TaskContext, Text
from tests.patience import PATIENCE

Json = dict[str, Any]

agent = Agent("Managed")


@agent.skill(default=True)
async def echo(text: str) -> str:
    """Say it back."""
    return text


@agent.skill
async def wait(task: TaskContext) -> str:
    """Be at work until canceled."""
    task.progress(0.5, "half")
    await asyncio.Event().wait()
    return "never"


@agent.skill
async def ask(task: TaskContext, text: str) -> str:
    """Ask, and say what was answered."""
    return str(await task.ask("how many?"))


@agent.skill(max_attempts=1)
async def fail(text: str) -> str:
    """Fail."""
    raise Fail("it cannot be done")


@agent.skill
async def flaky(text: str = "") -> str:
    """Fail so that it is tried again tomorrow."""
    raise Retry("the line is busy", after_seconds=86_400)


@agent.skill
async def remember(task: TaskContext, number: int = 1) -> dict[str, int]:
    """Take two steps and a checkpoint."""
    first = await task.step("double", _double, number)
    await task.checkpoint("half way", {"first": first})
    second = await task.step("double", _double, first)
    return {"result": second}


@agent.skill
async def direct() -> Message:
    """Answer with a message instead of a task, where that is asked for."""
    return Message(Role.AGENT, (Text("directly"),))


def _double(number: int) -> int:
    return 2 * number


class Api:
    """The management API of a server, as JSON."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self.url = f"{url}/api/v1"

    async def ask(self, method: str, path: str, body: object = None, **more: Any) -> httpx2.Response:  # noqa: ANN401 - httpx's
        if body is not None:
            more["json"] = body
        return await self._http.request(method, self.url + path, **more)

    async def get(self, path: str, **params: Any) -> Json:  # noqa: ANN401 - httpx's
        return _json(await self.ask("GET", path, params=params), 200)

    async def create(self, **task: Any) -> Json:  # noqa: ANN401 - members of a task
        return _json(await self.ask("POST", "/tasks", task), 201)

    async def post(self, path: str, body: object = None, status: int = 200, **more: Any) -> Json:  # noqa: ANN401 - httpx's
        return _json(await self.ask("POST", path, body, **more), status)

    async def stop(self, task_id: str) -> None:
        """Cancel the task, wherever it is."""
        assert (await self.ask("POST", f"/tasks/{task_id}/cancel")).status_code in {200, 202}

    async def reached(self, task_id: str, *words: str) -> Json:
        """The task once its state or phase is one of these."""
        async with asyncio.timeout(PATIENCE):
            while True:
                task = await self.get(f"/tasks/{task_id}")
                if task["state"] in words or task["phase"] in words:
                    return task
                await asyncio.sleep(0.005)

    async def done(self, **task: Any) -> Json:  # noqa: ANN401 - members of a task
        """A new task that has ended."""
        made = await self.create(**task)
        return await self.reached(made["id"], "final")

    async def all(self, **params: Any) -> list[Json]:  # noqa: ANN401 - httpx's
        """Every task of a list, page by page."""
        found: list[Json] = []
        page = await self.get("/tasks", **params)
        found += page["tasks"]
        while "next" in page:
            page = await self.get("/tasks", **params, cursor=page["next"])
            found += page["tasks"]
        return found


def _json(response: httpx2.Response, status: int) -> Json:
    assert response.status_code == status, (response.status_code, response.text)
    found: Json = response.json()
    return found


def error_of(response: httpx2.Response) -> Json:
    """The error, whose shape is checked."""
    error: Json = response.json()["error"]
    assert error["code"] == response.status_code
    assert error["message"].endswith((".", ")")), error["message"]
    assert {"code", "status", "message"} <= error.keys() <= {"code", "status", "message", "details"}
    return error
