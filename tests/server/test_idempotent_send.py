"""The same message sent again is the same task. Each test is a sentence of core.md section 3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from a2a_server.codec import encode_spec
from a2a_server.engine.engine import new_key
from a2a_server.engine.writer import Writer
from a2a_server.examples.workbench import agent
from a2a_server.lifecycle.submission import Submit
from a2a_server.model.objects import Generation, Lane, Scope, TaskSpec
from a2a_server.model.queries import TallyQuery, TaskQuery
from a2a_server.ports import TaskStore
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.testing import Connection, Protocol, RpcError, connect
from tests.patience import PATIENCE
from tests.server.behaviours import new_id

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.backends]


async def numbers(stream: AsyncGenerator[tuple[int | None, dict[str, Any]]]) -> list[int | None]:
    return [n async for n, _ in stream]


async def test_non_blocking_repeat_returns_the_task_now(server: Connection) -> None:
    id = new_id()
    first = await server.send("sleep 60", message_id=id, blocking=False)
    again = await server.send("sleep 60", message_id=id, blocking=False)
    assert again["id"] == first["id"]
    assert again["status"]["state"] == "TASK_STATE_WORKING"
    await server.cancel(first["id"])


async def test_blocking_repeat_waits_like_the_first(server: Connection) -> None:
    id = new_id()
    first, again, third = await asyncio.gather(*(server.send("sleep 0.2", message_id=id) for _ in range(3)))
    assert first["id"] == again["id"] == third["id"]
    assert {task["status"]["state"] for task in (first, again, third)} == {"TASK_STATE_COMPLETED"}


async def test_repeat_after_the_end(server: Connection) -> None:
    id = new_id()
    first = await server.send("echo x", message_id=id)
    assert await server.send("echo x", message_id=id) == first
    assert await server.send("echo x", message_id=id, blocking=False) == first


async def test_streaming_repeat_replays_the_log(server: Connection) -> None:
    id = new_id()
    first = [pair async for pair in server.stream("stream 3", message_id=id)]
    assert [n for n, _ in first] == [1, 2, 3, 4, 5, 6]
    again = [pair async for pair in server.stream("stream 3", message_id=id)]
    assert again[1:] == first[1:]
    assert again[0][1]["task"]["id"] == first[0][1]["task"]["id"]
    assert again[0][1]["task"]["status"] == first[0][1]["task"]["status"]


async def test_streaming_repeat_continues_behind_the_named_event(server: Connection) -> None:
    id = new_id()
    await server.send("stream 3", message_id=id)
    assert await numbers(server.stream("stream 3", message_id=id, after=0)) == [1, 2, 3, 4, 5, 6]
    assert await numbers(server.stream("stream 3", message_id=id, after=4)) == [5, 6]
    assert await numbers(server.stream("stream 3", message_id=id, metadata={"afterEvent": 4})) == [5, 6]
    assert await numbers(server.stream("stream 3", message_id=id, after=6)) == []
    with pytest.raises(RpcError, match="-32602"):
        await numbers(server.stream("stream 3", message_id=id, after=7))


async def test_a_lost_stream_is_found_again_by_sending_again(server: Connection) -> None:
    id = new_id()
    stream = server.stream("stream 10 0.02", message_id=id)
    seen = [n for n, _ in [await anext(stream) for _ in range(4)]]
    await stream.aclose()
    seen += await numbers(server.stream("stream 10 0.02", message_id=id, after=seen[-1]))
    assert seen == list(range(1, 14))


async def test_same_id_with_other_content_is_a_new_task(server: Connection) -> None:
    id = new_id()
    tasks = [
        await server.send("echo x", message_id=id),
        await server.send("echo y", message_id=id),
        await server.send("echo y", message_id=id, context_id="another context"),
        await server.send("echo y", message_id=id, options={"title": "another option"}),
        await server.send("echo y", message_id=id, metadata={"other": "metadata"}),
    ]
    assert len({task["id"] for task in tasks}) == len(tasks)


async def test_other_id_with_the_same_content_is_a_new_task(server: Connection) -> None:
    first, second = await server.send("echo x"), await server.send("echo x")
    assert first["id"] != second["id"]


async def test_the_way_of_waiting_is_no_content(server: Connection) -> None:
    id = new_id()
    by_option = await server.send("sleep 0.1", message_id=id, blocking=False)
    message = {"messageId": id, "role": "ROLE_USER", "parts": [{"text": "sleep 0.1"}]}
    params = {"message": message, "configuration": {"returnImmediately": True, "historyLength": 0}}
    answer = await server.rpc("SendMessage", params)
    assert answer["result"]["task"]["id"] == by_option["id"]
    assert (await server.send("sleep 0.1", message_id=id))["id"] == by_option["id"]


async def test_two_at_once_are_one_task(server: Connection) -> None:
    ids = [new_id() for _ in range(20)]
    sends = [server.send("echo x", message_id=id, blocking=False) for id in ids for _ in range(2)]
    tasks = await asyncio.gather(*sends)
    assert [task["id"] for task in tasks[::2]] == [task["id"] for task in tasks[1::2]]
    assert len({task["id"] for task in tasks}) == len(ids)


async def test_v01_repeats_by_task_id_and_content(server: Connection) -> None:
    id = new_id()
    first = await server.send("echo x", task_id=id, generation="0.1")
    again = await server.send("echo x", task_id=id, generation="0.1")
    assert (first["id"], again["status"], again["artifacts"]) == (id, first["status"], first["artifacts"])
    stream = [pair async for pair in server.stream("echo x", task_id=id, generation="0.1")]
    assert [n for n, _ in stream] == [1, 2, 3, 4]
    assert stream[-1][1]["final"] is True
    assert await numbers(server.stream("echo x", task_id=id, generation="0.1", after=2)) == [3, 4]
    with pytest.raises(RpcError, match="-32004"):  # other words for a task that has ended
        await server.send("echo y", task_id=id, generation="0.1")


async def test_v01_repeat_of_a_running_task(server: Connection) -> None:
    id = new_id()
    first = await server.send("sleep 0.2", task_id=id, generation="0.1", blocking=False)
    assert first["status"]["state"] in {"submitted", "working"}
    again = await server.send("sleep 0.2", task_id=id, generation="0.1")
    assert (again["id"], again["status"]["state"]) == (id, "completed")


async def test_window_off() -> None:
    async with connect(agent, idempotency_seconds=0) as server:
        first = await server.send("echo x", message_id="same")
        second = await server.send("echo x", message_id="same")
        assert first["id"] != second["id"]
        await server.send("echo x", task_id="mine", generation="0.1")
        with pytest.raises(RpcError, match="-32004"):
            await server.send("echo x", task_id="mine", generation="0.1")


@pytest.mark.embedded
async def test_window_expires(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    async with connect(agent, idempotency_seconds=0.05, **places) as server:
        first = await server.send("echo x", message_id="same")
        store = server._system.engine.backends.store
        assert isinstance(store, SqliteStore)
        store._offset += 1_000_000  # a second later
        second = await server.send("echo x", message_id="same")
        assert first["id"] != second["id"]


async def test_repeat_survives_a_restart(tmp_path: Path) -> None:
    places = {"store": f"sqlite:///{tmp_path}/tasks.db", "artifacts": f"file:///{tmp_path}/artifacts"}
    async with connect(agent, **places) as server:
        first = await server.send("stream 3", message_id="same")
    async with connect(agent, **places) as server:
        assert await server.send("stream 3", message_id="same") == first
        assert await numbers(server.stream("stream 3", message_id="same")) == [1, 2, 3, 4, 5, 6]


def submit(message_id: str, words: bytes = b"words", task_id: str = "") -> Submit:
    return Submit(
        key=new_key(),
        scope=Scope(),
        agent="",
        generation=Generation.V01 if task_id else Generation.V10,
        task_id=task_id,
        context="",
        fresh_context=message_id,
        message_id=message_id,
        digest=sha256(words).digest(),
        body=b"body",
        spec=encode_spec(TaskSpec()),
        skill="skill",
        queue="skill",
        lane=Lane.NORMAL,
        gates=("skill:skill",),
        max_attempts=4,
        window=60_000_000,
    )


async def silence(*_: object) -> None:
    """Nobody is told."""


@asynccontextmanager
async def writer(path: Path, shard: str) -> AsyncIterator[tuple[Writer, TaskStore]]:
    store = SqliteStore(path)
    await store.open()
    limits = {"max_operations": 10_000, "max_bytes": 64 << 20, "patience_seconds": PATIENCE}
    found = Writer(store, silence, shard=shard, **limits)  # type: ignore[arg-type]  # numbers of two kinds
    running = asyncio.create_task(found.run())
    try:
        yield found, store
    finally:
        found.close()
        await running
        await store.close()


@pytest.mark.parametrize("generation", ["0.1", "1.0"])
async def test_two_writers_race_on_one_database(tmp_path: Path, generation: str) -> None:
    count = 400
    async with writer(tmp_path / "tasks.db", "a") as (one, store), writer(tmp_path / "tasks.db", "b") as (two, _):
        for start in range(0, count, 50):
            names = [f"{generation}-{index}" for index in range(start, start + 50)]
            task_ids = names if generation == "0.1" else [""] * len(names)
            pairs = [
                asyncio.gather(one.submit(submit(name, task_id=id)), two.submit(submit(name, task_id=id)))
                for name, id in zip(names, task_ids, strict=True)
            ]
            for first, second in await asyncio.gather(*pairs):
                assert first.row.key == second.row.key
                assert sorted([first.repeat, second.repeat]) == [False, True]
                assert first.at_n == second.at_n == 1
        page = await store.page(TaskQuery("", "local", "", limit=count + 1))
        assert len(page.rows) == count
        assert sum((await store.totals(TallyQuery())).values()) == count


@pytest.mark.parametrize("others", [{}, {"title": "a title"}])
async def test_return_immediately_is_no_content(server: Connection, others: dict[str, str]) -> None:
    id = new_id()
    ways: list[dict[str, object]] = [{}, {"returnImmediately": False}, {"returnImmediately": True}]
    tasks = [await server.send("echo x", message_id=id, options={**others, **way}) for way in ways]
    assert len({task["id"] for task in tasks}) == 1


@pytest.mark.parametrize("first", [{}, {"context_id": "mine"}])
async def test_v01_repeats_with_and_without_a_session(server: Connection, first: dict[str, str]) -> None:
    id = new_id()
    sent = await server.send("echo x", task_id=id, generation="0.1", **first)  # type: ignore[arg-type]  # any words of a send
    for said in ({}, {"context_id": sent["sessionId"]}):
        again = await server.send("echo x", task_id=id, generation="0.1", **said)
        assert (again["id"], again["status"], again["sessionId"]) == (id, sent["status"], sent["sessionId"])


@pytest.mark.parametrize("generation", ["1.0", "0.1"])
async def test_a_fresh_stream_starts_at_its_beginning(server: Connection, generation: Protocol) -> None:
    stream = server.stream("stream 3", task_id=new_id() if generation == "0.1" else "", generation=generation, after=7)
    assert await numbers(stream) == [1, 2, 3, 4, 5, 6]
