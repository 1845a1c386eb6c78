"""Agents that pull their work, by hand, and what they pull."""

from __future__ import annotations

import asyncio
from typing import Any

from a2a_server import Agent
from a2a_server.model.objects import Scope
from a2a_server.model.rows import TaskRow
from tests.patience import PATIENCE
from tests.server.managing import Managed


def agent() -> Agent:
    agent = Agent("Office")
    agent.pulled_skill("translate", description="Done elsewhere.", max_attempts=3)
    agent.pulled_skill("other")

    @agent.skill
    async def here(text: str) -> str:
        return text

    @agent.skill(direct=True)
    async def answers(text: str) -> str:
        await asyncio.Event().wait()
        return text

    @agent.skill
    async def undoes(text: str) -> str:
        return text

    @undoes.rollback
    async def undo() -> None:
        """Nothing."""

    return agent


class Puller:
    """An agent that pulls, by hand."""

    def __init__(self, office: Managed, id: str) -> None:
        self.office = office
        self.id = id

    async def claim(self, **body: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any member
        found: list[dict[str, Any]] = (await self.office.post(f"/workers/{self.id}/claim", body))["tasks"]
        return found

    async def one(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not (tasks := await self.claim(waitSeconds=10)):
                pass
        [task] = tasks
        return task

    def path(self, task: dict[str, Any], verb: str) -> str:
        return f"/workers/{self.id}/tasks/{task['id']}/{verb}"

    async def say(self, task: dict[str, Any], *events: dict[str, Any]) -> dict[str, Any]:
        return await self.office.post(self.path(task, "events"), {"fence": task["fence"], "events": list(events)})

    async def end(self, task: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
        return await self.office.post(self.path(task, verb), {"fence": task["fence"], **body})


async def puller(office: Managed, *skills: str, **body: Any) -> Puller:  # noqa: ANN401 - any member
    found = await office.post("/workers", {"skills": skills or ("translate",), "leaseSeconds": 60, **body})
    return Puller(office, found["id"])


async def asked(office: Managed, text: str = "hello", skill: str = "translate", **options: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return await office.server.send(text, blocking=False, options={"skill": skill, **options})


def chunk(name: str, text: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return {"artifact": {"name": name, "parts": [{"text": text}], **more}}


def texts(task: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: "".join(part.get("text", "") for part in one["parts"]) for one in task.get("artifacts", ())}


async def row_of(office: Managed, task_id: str) -> TaskRow:
    engine = office.system.engine
    found = await engine.backends.store.find(Scope(), engine.agent, task_id)
    assert found is not None
    return found
