"""Several agents in one server: addresses, cards, tasks that stay apart, and slots of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from a2a_server import Agent
from a2a_server.agents.skill import SkillRunner
from a2a_server.model.objects import Generation, Message, Phase, Role, Scope, Task, Text
from a2a_server.model.requests import SendRequest
from a2a_server.model.runs import Happening
from a2a_server.service.operations import Operations
from a2a_server.settings import load
from a2a_server.testing import Connection, RpcError, connect
from a2a_server.wiring import System
from a2a_server.wiring.mounting import SLOTS
from a2a_server.wiring.system import limits_of
from tests.patience import PATIENCE
from tests.server.waiting import until, until_asked

MANAGER = "/agents/task-manager"
DONE = "TASK_STATE_COMPLETED"


def echoing() -> Agent:
    agent = Agent("Echo")

    @agent.skill
    async def echo(text: str) -> str:
        return text

    return agent


async def called(url: str, method: str, params: dict[str, Any], *, version: str = "1.0", path: str = MANAGER) -> Any:  # noqa: ANN401 - JSON
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as http:
        answer = await http.post(path, json=body, headers={"A2A-Version": version})
        found = answer.json()
        return found.get("result", found)


def said(text: str, number: str = "m-1") -> dict[str, Any]:
    return {"message": {"messageId": number, "role": "ROLE_USER", "parts": [{"text": text}]}}


async def fetched(server: Connection, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE) as http:
        return await http.get(path)


async def test_each_agent_has_its_card_where_it_answers() -> None:
    async with connect(echoing()) as server:
        card: dict[str, Any] = {}
        for name in ("agent-card.json", "agent.json"):
            card = (await fetched(server, f"{MANAGER}/.well-known/{name}")).json()
            assert card["name"] == "TaskManager"
            assert [skill["id"] for skill in card["skills"]] == [
                "task_management",
                "execution_management",
                "monitoring",
            ]
            assert {one["url"] for one in card["supportedInterfaces"]} == {server.url + MANAGER}
        schema = card["capabilities"]["extensions"][0]["params"]["schema"]
        assert (await fetched(server, schema.removeprefix(server.url))).status_code == 200
        assert (await fetched(server, "/.well-known/agent-card.json")).json()["name"] == "Echo"
        signpost = await fetched(server, MANAGER)
        assert f"{server.url}{MANAGER}/.well-known/agent-card.json" in signpost.text
        assert (await fetched(server, "/agents/nobody")).status_code == 404


@pytest.mark.parametrize(
    ("method", "version", "params"),
    [
        ("SendMessage", "1.0", said("count tasks")),
        (
            "message/send",
            "0.3",
            {
                "message": {
                    "kind": "message",
                    "messageId": "m",
                    "role": "user",
                    "parts": [{"kind": "text", "text": "help"}],
                }
            },
        ),
        ("tasks/send", "0.1", {"id": "t", "message": {"role": "user", "parts": [{"type": "text", "text": "help"}]}}),
    ],
)
@pytest.mark.parametrize("path", [MANAGER, f"{MANAGER}/"])
async def test_every_generation_is_spoken_there(method: str, version: str, params: dict[str, Any], path: str) -> None:
    async with connect(echoing()) as server:
        found = await called(server.url, method, params, version=version, path=path)
        task = found.get("task", found)

        async def done() -> bool:
            nonlocal task
            ask = "GetTask" if version == "1.0" else "tasks/get"
            task = await called(server.url, ask, {"id": task["id"]}, version=version)
            return task["status"]["state"] in {DONE, "completed"}

        await until_asked(done)
        if version == "0.1":
            streamed = await called(
                server.url, "tasks/send", {**params, "id": "u"}, version=version, path=f"{MANAGER}/tasks/send"
            )
            assert streamed["id"] == "u"


async def test_tasks_of_one_agent_are_not_found_at_another() -> None:
    async with connect(echoing()) as server:
        mine = await server.send("hello")
        theirs = (await called(server.url, "SendMessage", said("count tasks")))["task"]
        with pytest.raises(RpcError, match="not found"):
            await server.get(theirs["id"])
        refused = await called(server.url, "GetTask", {"id": mine["id"]})
        assert refused["error"]["code"] == -32001
        listed = await called(server.url, "ListTasks", {})
        assert [task["id"] for task in listed["tasks"]] == [theirs["id"]]


async def test_a_server_full_of_the_users_tasks_still_answers_the_task_manager() -> None:
    agent, held = Agent("Held"), asyncio.Event()

    @agent.skill
    async def hold(text: str) -> str:
        await held.wait()
        return text

    async with connect(agent, slots=1) as server:
        [(_, manager)] = server._system.mounted
        assert manager.worker.used == {False: (0, SLOTS), True: (0, 1)}
        for _ in range(5):
            await server.send("go", blocking=False)
        answered = (await called(server.url, "SendMessage", said("count tasks")))["task"]
        assert answered["status"]["state"] == DONE
        states = answered["artifacts"][0]["parts"][0]["data"]["states"]
        assert states == {"working": 1, "submitted": 4}
        held.set()


async def test_skills_of_two_agents_that_are_called_the_same_have_limits_of_their_own() -> None:
    agent, held, begun = Agent("Monitor"), asyncio.Event(), asyncio.Semaphore(0)

    @agent.skill(id="task_management", max_concurrency=1)
    async def one_at_a_time(text: str) -> str:
        begun.release()
        await held.wait()
        return text

    async with connect(agent) as server:
        first = await server.send("go", blocking=False)
        await begun.acquire()
        second = await server.send("go", blocking=False)
        store = server._system.engine.backends.store

        async def is_held() -> bool:
            row = await store.find(Scope(), "", second["id"])
            return row is not None and row.phase is Phase.HELD

        await until_asked(is_held)
        answered = (await called(server.url, "SendMessage", said(f"why is {second['id']} not running")))["task"]
        assert answered["status"]["state"] == DONE
        [reason] = answered["artifacts"][0]["parts"][0]["data"]["reasons"]
        assert reason["kind"] == "limit"
        held.set()
        assert {first["id"], second["id"]} == {
            task["id"]
            for task in (await server.rpc("ListTasks", {}, headers={"A2A-Version": "1.0"}))["result"]["tasks"]
        }


async def test_without_capabilities_there_is_no_task_manager() -> None:
    async with connect(echoing(), task_manager={"capabilities": []}) as server:
        assert (await fetched(server, f"{MANAGER}/.well-known/agent-card.json")).status_code == 404
        assert (await server.send("hello"))["status"]["state"] == DONE


async def test_a_crash_of_the_users_worker_takes_nothing_from_the_task_manager() -> None:
    async with connect(echoing()) as server:
        await server.crash_worker()
        answered = (await called(server.url, "SendMessage", said("list workers")))["task"]
        workers = answered["artifacts"][0]["parts"][0]["data"]["workers"]
        assert sorted(worker["agent"] for worker in workers) == ["Echo", "TaskManager"]


class Told:
    """An agent that hears what became of its tasks."""

    def __init__(self, name: str) -> None:
        self.agent = Agent(name)
        self.heard: list[str] = []

        @self.agent.skill
        async def say(text: str) -> str:
            return f"{name}: {text}"

        @self.agent.on("completed")
        async def hear(event: Happening) -> None:
            self.heard.append(event.task.message.text)


async def test_a_further_agent_of_ones_own_runs_its_tasks_and_hears_of_them(tmp_path: Path) -> None:
    root, other = Told("Root"), Told("Other")
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file://{tmp_path}/artifacts"}
    settings = load(None, **places, drain_seconds=0)
    system = System(root.agent, settings)
    mounted = system.engine.mount("other", SkillRunner(other.agent), limits_of(settings), about={})
    await system.start()
    try:
        for engine, text in ((system.engine, "one"), (mounted, "two")):
            message = Message(Role.USER, (Text(text),), id=text)
            answered = await Operations(engine).send(Scope(), SendRequest(Generation.V10, message))
            assert isinstance(answered, Task)
            assert answered.artifacts[0].parts == (Text(f"{'Root' if text == 'one' else 'Other'}: {text}"),)
        await until(lambda: bool(root.heard and other.heard))
        assert (root.heard, other.heard) == (["one"], ["two"])
    finally:
        await system.stop()
