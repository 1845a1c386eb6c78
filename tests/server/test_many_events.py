"""Many tasks in one stream, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from a2a_server import Agent, Progress, TaskContext
from a2a_server.cli.sse import Reader, ServerEvent
from a2a_server.codec import decode_spec, encode_spec
from a2a_server.lifecycle.labels import BATCH
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Phase, Scope, Wishes
from a2a_server.model.rows import Key, TagRow
from a2a_server.model.turns import Needs
from a2a_server.testing import Connection, connect
from tests.patience import PATIENCE

pytestmark = pytest.mark.backends

Json = dict[str, Any]


@dataclass(frozen=True)
class Batched:
    """An operation: these tasks are a batch."""

    keys: tuple[Key, ...]
    batch: str
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.update(self.keys)

    def decide(self, turn: Turn) -> None:
        for key in self.keys:
            row = turn.rows[key]
            spec = replace(decode_spec(row.spec), wishes=Wishes(batch=self.batch))
            turn.put(row._replace(spec=encode_spec(spec)))
            turn.links.tag(TagRow(row.tenant, row.owner, BATCH + self.batch, key))


class Crew:
    """An agent with a task that works when it is told to."""

    def __init__(self) -> None:
        self.agent = agent = Agent("Crew")
        self.go = asyncio.Event()

        @agent.skill(default=True)
        async def work(task: TaskContext, text: str) -> AsyncIterator[Progress | str]:
            yield Progress(done=1, total=2, note="half")
            await self.go.wait()
            yield text

        @agent.skill
        async def asks(task: TaskContext, text: str) -> str:
            return await task.ask("Which colour?")


class Streamed:
    """Events of one stream, as they come. last: the last one of each task; tasks: all that was told of each."""

    def __init__(self, events: AsyncIterator[ServerEvent]) -> None:
        self._events = events
        self.tasks: dict[str, Json] = {}
        self.last: dict[str, Json] = {}
        self.kinds: list[str] = []
        self.cursor = ""

    async def next(self) -> tuple[str, Json]:
        async with asyncio.timeout(PATIENCE):
            event = await anext(self._events)
        data = json.loads(event.data)
        self.cursor = event.id or self.cursor
        self.kinds.append(event.event)
        if event.event == "task":
            self.last[data["taskId"]] = data
            self.tasks[data["taskId"]] = {**self.tasks.get(data["taskId"], {}), **data}
        return event.event, data

    async def until(self, wanted: str) -> Json:
        while True:
            kind, data = await self.next()
            if kind == wanted:
                return data

    async def reached(self, task_id: str, **wanted: object) -> Json:
        while any(self.tasks.get(task_id, {}).get(name) != value for name, value in wanted.items()):
            await self.next()
        return self.tasks[task_id]


@asynccontextmanager
async def streamed(
    server: Connection,
    query: Any,  # noqa: ANN401 - httpx's
    headers: dict[str, str] | None = None,
    body: Json | None = None,
) -> AsyncIterator[Streamed]:
    async def events() -> AsyncIterator[ServerEvent]:
        reader = Reader()
        async for chunk in response.aiter_bytes():
            for event in reader.feed(chunk):
                yield event

    async with server._http.stream(
        "POST" if body else "GET", "/api/v1/events", params=query, headers=headers, json=body
    ) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Streamed(events())


async def start(server: Connection, text: str = "go", **options: object) -> str:
    """The id of a task that nobody waits for."""
    task = await server.send(text, options={"returnImmediately": True, **options})
    return str(task["id"])


async def keys(server: Connection, ids: list[str]) -> tuple[Key, ...]:
    store, agent = server._system.engine.backends.store, server._system.engine.agent
    found = [await store.find(Scope(), agent, id) for id in ids]
    return tuple(row.key for row in found if row is not None)


async def test_named_tasks_from_snapshot_to_end() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        ids = [await start(server, f"text {n}", title=f"Task {n}") for n in range(3)]
        other = await start(server)
        async with streamed(server, {"ids": ids}) as stream:
            ready = await stream.until("ready")
            assert stream.kinds == ["task"] * 3 + ["ready"]
            assert (ready["totals"]["total"], ready["totals"]["ended"]) == (3, 0)
            first = await stream.reached(ids[0], state="working", progress={"done": 1, "total": 2, "note": "half"})
            assert (first["title"], first["skill"], first["priority"]) == ("Task 0", "work", "normal")
            assert (first["phase"], first["status"], first["attempt"]) == ("leased", "in_progress", 1)
            shown = (await server._http.get(f"/api/v1/tasks/{ids[0]}")).json()
            assert first["startedAt"] == shown["startedAt"]
            listed = (await server._http.get("/api/v1/tasks")).json()["tasks"]
            assert {task["id"]: task["startedAt"] for task in listed}[ids[0]] == shown["startedAt"]
            crew.go.set()
            end = await stream.until("end")
            assert end == {"totals": {"total": 3, "ended": 3, "states": {"completed": 3}}}
            assert all(one.keys() >= {"title", "priority", "skill", "startedAt"} for one in stream.last.values())
            assert {task["state"] for task in stream.tasks.values()} == {"completed"}
            assert set(stream.tasks) == set(ids)
            assert other not in stream.tasks
            with pytest.raises(StopAsyncIteration):
                await stream.next()
        async with streamed(server, {"ids": ids, "after": stream.cursor}) as again:
            await again.until("end")
            assert again.kinds[-2:] == ["ready", "end"]


async def test_a_question_is_told_with_its_text() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        task_id = await start(server, skill="asks")
        async with streamed(server, {"ids": task_id}) as stream:
            task = await stream.reached(task_id, state="input-required")
            assert (task["text"], task["status"]) == ("Which colour?", "blocked")


async def test_a_batch_ends_and_new_tasks_of_it_appear() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        ids = [await start(server) for _ in range(3)]
        engine = server._system.engine
        await engine.submit(Batched(await keys(server, ids[:2]), "night"))
        async with streamed(server, {"batch": "night"}) as stream:
            await stream.until("ready")
            assert set(stream.tasks) == set(ids[:2])
            await engine.submit(Batched(await keys(server, ids[2:]), "night"))
            await stream.reached(ids[2], state="working")
            crew.go.set()
            await stream.until("end")
            assert {task["state"] for task in stream.tasks.values()} == {"completed"}
        answer = await server._http.get("/api/v1/events", params={"batch": "none"})
        assert answer.status_code == 404
        assert "batch" in answer.json()["error"]["message"]


async def test_a_filter_follows_new_tasks_and_lets_others_go() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        async with streamed(server, [("state", "working"), ("skill", "work")]) as stream:
            await stream.until("ready")
            task_id = await start(server)
            await start(server, skill="asks")
            task = await stream.reached(task_id, state="working")
            assert task["skill"] == "work"
            crew.go.set()
            await stream.reached(task_id, left=True)
            assert stream.tasks[task_id]["state"] == "completed"
            assert set(stream.tasks) == {task_id}
        async with streamed(server, {}) as everything:
            await everything.until("ready")
            assert len(everything.tasks) == 2


async def test_status_owner_agent_and_moments_choose_as_in_a_list() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        task_id, asking = await start(server), await start(server, skill="asks")
        mine = {"owner": "local", "agent": "Crew"}
        async with streamed(server, {**mine, "status": "blocked"}) as stream:
            await stream.reached(asking, status="blocked")
            assert task_id not in stream.tasks
        at = (await server._http.get(f"/api/v1/tasks/{asking}")).json()["createdAt"]
        for query, found in (
            ({"createdFrom": "2199-01-01T00:00:00Z"}, set()),
            ({"createdTo": "1999-01-01T00:00:00Z"}, set()),
            ({"updatedFrom": "2199-01-01T00:00:00Z"}, set()),
            ({"createdFrom": "1999-01-01T00:00:00Z", "createdTo": "2199-01-01T00:00:00Z"}, {task_id, asking}),
            ({"updatedFrom": at, "status": "blocked"}, {asking}),
        ):
            listed = (await server._http.get("/api/v1/tasks", params={**mine, **query})).json()["tasks"]
            assert {task["id"] for task in listed} == found
            async with streamed(server, {**mine, **query}) as stream:
                await stream.until("ready")
                assert set(stream.tasks) == found


async def test_a_stream_goes_on_where_an_earlier_one_broke() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        ids = [await start(server) for _ in range(2)]
        asking = await start(server, skill="asks")
        async with streamed(server, {"ids": [*ids, asking]}) as stream:
            await stream.until("ready")
            assert stream.cursor.isdigit()
        crew.go.set()
        for task_id in ids:
            await server.subscribe(task_id, 0).__anext__()
        async with streamed(server, {"ids": [*ids, asking]}, {"Last-Event-ID": stream.cursor}) as again:
            for task_id in ids:
                await again.reached(task_id, state="completed")
            await again.reached(asking, state="input-required")


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"ids": "none"}, 404, "ids[0]"),
        ({"ids": "a", "batch": "b"}, 400, "ids"),
        ({"batch": "b", "skill": "work"}, 400, "ids"),
        ({"after": "yesterday"}, 400, "after"),
        ({"after": "99999999999999999"}, 400, "after"),
        ({"state": "lost"}, 400, "state"),
        ({"parentTaskId": "none"}, 404, "parentTaskId"),
        ({"colour": "red"}, 400, "colour"),
        ({"status": "lost"}, 400, "status[0]"),
        ({"updatedTo": "2035-01-01T00:00:00Z"}, 400, "updatedTo"),
        ({"createdFrom": "yesterday"}, 400, "createdFrom"),
        ({"owner": "somebody"}, 404, "owner"),
        ({"agent": "Other"}, 404, "agent"),
        ({"ids": "a", "status": "blocked"}, 400, "ids"),
        ({"ids": "a", "updatedFrom": "2035-01-01T00:00:00Z"}, 400, "ids"),
    ],
)
async def test_what_cannot_be_followed(query: Json, status: int, field: str) -> None:
    async with connect(Crew().agent) as server:
        answer = await server._http.get("/api/v1/events", params=query)
        assert answer.status_code == status, answer.text
        assert field in answer.json()["error"]["message"]


async def test_a_thousand_names_fit_and_one_more_does_not() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        task_id = await start(server)
        async with streamed(server, None, body={"ids": [task_id] * 1_000}) as stream:
            await stream.until("ready")
            assert stream.kinds == ["task", "ready"]
        for ids in ([task_id] * 1_001, [], [""]):
            answer = await server._http.post("/api/v1/events", json={"ids": ids})
            assert answer.status_code == 400


async def test_the_end_of_the_server_ends_the_stream_and_heads_end_at_once() -> None:
    crew = Crew()
    async with connect(crew.agent) as server:
        task_id = await start(server)
        answer = await server._http.head("/api/v1/events", params={"ids": task_id})
        assert (answer.status_code, answer.content) == (200, b"")
        async with streamed(server, {"ids": task_id}) as stream:
            await stream.until("ready")
            await stream.reached(task_id, phase=Phase.LEASED.name.lower())
            server._system.engine.hub.close()
            with pytest.raises(StopAsyncIteration):
                await stream.until("end")


async def test_a_silent_stream_sends_signs_of_life() -> None:
    crew = Crew()
    async with connect(crew.agent, heartbeat_seconds=0.05) as server:
        task_id = await start(server)
        async with (
            asyncio.timeout(PATIENCE),
            server._http.stream("GET", "/api/v1/events", params={"ids": task_id}) as response,
        ):
            seen = b""
            async for chunk in response.aiter_bytes():
                seen += chunk
                if seen.count(b": ping") >= 2:
                    break
        assert seen.startswith(b"retry: 1000\n")
