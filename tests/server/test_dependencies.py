"""Tasks that wait for others: over the wire's own options, in every order of ends, and when workers die in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from a2a_server import Agent, Fail, Reject
from a2a_server.errors import InvalidParams, TaskNotFound, UnsupportedOperation
from a2a_server.model.objects import Generation, JsonObject, Message, Phase, Role, Scope, State, Task, Text
from a2a_server.model.options import OnDependencyFailure, TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import GetRequest, SendRequest
from a2a_server.service.dependencies import Dependencies
from a2a_server.service.management import Management
from tests.server.engines import LONG, Running, running
from tests.server.soon import TooLate, in_time
from tests.server.waiting import until

pytestmark = pytest.mark.backends

OPTIONS = 'metadata["urn:a2a-task-server:task-options:v1"]'


def gated() -> tuple[Agent, asyncio.Event, list[str]]:
    agent, go, ran = Agent("Gated"), asyncio.Event(), list[str]()

    @agent.skill
    async def work(text: str) -> str:
        ran.append(text)
        if text.startswith("wait"):
            await go.wait()
        if text.endswith("fail"):
            raise Fail("failed as asked")
        if text.endswith("reject"):
            raise Reject("rejected as asked")
        return text

    return agent, go, ran


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[tuple[Running, asyncio.Event, list[str]]]:
    agent, go, ran = gated()
    async with running(agent, tmp_path) as server:
        yield server, go, ran


def info(task: Task) -> JsonObject:
    return task.info


async def said(server: Running, task_id: str) -> str:
    task = await server.operations.get(Scope(), GetRequest(task_id))
    return task.status.message.text if task.status.message else ""


async def test_a_task_waits_for_all_that_it_depends_on(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, go, ran = scene
    first, second = await server.start("wait 1"), await server.start("wait 2")
    last = await server.send("last", blocking=False, dependsOn=(first, second))
    assert last.status.state is State.SUBMITTED
    assert info(last)["phase"] == "waiting"
    assert info(last)["status"] == "blocked"
    assert info(last)["unmet"] == 2
    assert info(last)["dependsOn"] == [first, second]
    assert "last" not in ran
    go.set()
    row = await server.reached(last.id, State.COMPLETED)
    assert row.unmet == 0
    assert sorted(ran[:2]) == ["wait 1", "wait 2"]
    assert ran[2:] == ["last"]


async def test_it_starts_at_once_behind_what_has_ended(tmp_path: Path) -> None:
    agent, _, _ = gated()
    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        first = await server.send("first")
        last = await server.send("last", dependsOn=(first.id,))
        assert last.status.state is State.COMPLETED


async def test_a_bell_settles_without_a_poll(tmp_path: Path) -> None:
    agent, go, _ = gated()
    async with running(agent, tmp_path, poll_seconds=LONG) as server:
        ids = [await server.start("wait")]
        for index in range(5):
            ids.append(await server.start(f"step {index}", dependsOn=(ids[-1],)))
        go.set()
        await server.reached(ids[-1], State.COMPLETED)


@pytest.mark.parametrize(("how", "reached"), [("fail", State.FAILED), ("reject", State.REJECTED)])
@pytest.mark.parametrize("early", [True, False])
async def test_one_that_does_not_complete_fails_those_behind_it(
    scene: tuple[Running, asyncio.Event, list[str]], how: str, reached: State, early: bool
) -> None:
    server, go, ran = scene
    if early:
        go.set()
    first = await server.start(f"wait {how}")
    if early:
        await server.reached(first, reached)
    failing = await server.start("failing", dependsOn=(first,))
    behind = await server.start("behind", dependsOn=(failing,))
    canceled = await server.start("canceled", dependsOn=(first,), onDependencyFailure="cancel")
    running_on = await server.start("running on", dependsOn=(first,), onDependencyFailure="run")
    go.set()
    await server.reached(failing, State.FAILED)
    await server.reached(behind, State.FAILED)
    await server.reached(canceled, State.CANCELED)
    await server.reached(running_on, State.COMPLETED)
    text = f"Task {first}, which this one depends on, did not complete: it ended as {reached.name.lower()}."
    assert await said(server, failing) == text
    assert await said(server, canceled) == text
    assert failing in await said(server, behind)
    assert ran[1:] == ["running on"]


async def test_a_canceled_one_fails_those_behind_it(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, _, ran = scene
    first = await server.start("wait")
    second = await server.start("second", dependsOn=(first,))
    await until(lambda: ran == ["wait"])
    await server.cancel(first)
    await server.reached(second, State.FAILED)
    assert "canceled" in await said(server, second)
    assert ran == ["wait"]


async def test_one_that_waits_can_be_canceled(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, go, ran = scene
    first = await server.start("wait")
    second = await server.start("second", dependsOn=(first,))
    assert (await server.cancel(second)).status.state is State.CANCELED
    go.set()
    await server.reached(first, State.COMPLETED)
    assert ran == ["wait"]


async def test_what_is_to_start_later_does_not_start_when_released(
    scene: tuple[Running, asyncio.Event, list[str]],
) -> None:
    server, go, _ = scene
    first = await server.start("wait")
    run_at = datetime.now(UTC) + timedelta(hours=1)
    later = await server.start("later", dependsOn=(first,), runAt=run_at)
    delayed = await server.start("delayed", dependsOn=(first,), delaySeconds=0.05)
    go.set()
    row = await server.reached(later, Phase.SCHEDULED)
    assert row.due_at == round(run_at.timestamp() * 1e6)
    await server.reached(delayed, State.COMPLETED)


async def test_a_deadline_ends_the_wait(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, _, _ = scene
    first = await server.start("wait")

    async def send(deadline: datetime) -> str:
        try:
            return await server.start("second", dependsOn=(first,), deadline=deadline)
        except InvalidParams as error:
            raise TooLate from error

    second = await in_time(send)
    await server.reached(second, State.FAILED)
    assert "deadline" in await said(server, second)


async def test_unknown_foreign_and_own_ids_are_refused_alike(
    scene: tuple[Running, asyncio.Event, list[str]],
) -> None:
    server, _, _ = scene
    message = Message(Role.USER, (Text("go"),), id="theirs")
    theirs = await server.operations.send(Scope("", "other"), SendRequest(Generation.V10, message, blocking=True))
    assert isinstance(theirs, Task)
    mine = (await server.send("mine")).id
    texts = set()
    for foreign in ("nothing", theirs.id):
        with pytest.raises(InvalidParams) as refused:
            await server.send("x", dependsOn=(mine, foreign))
        assert refused.value.path == f"{OPTIONS}.dependsOn[1]"
        texts.add(refused.value.message)
        with pytest.raises(InvalidParams) as refused:
            await server.send("x", parentTaskId=foreign)
        assert refused.value.path == f"{OPTIONS}.parentTaskId"
    own = Message(Role.USER, (Text("go"),), id="own")
    options = TaskOptions(dependsOn=(mine, "own-id"))
    request = SendRequest(Generation.V01, own, "own-id", options=options)
    with pytest.raises(InvalidParams) as refused:
        await server.operations.send(Scope(), request)
    texts.add(refused.value.message)
    assert len(texts) == 1
    assert texts.pop().startswith(f"{OPTIONS}.dependsOn[1] names no task of yours; ")


async def test_a_task_is_not_deleted_before_others_have_learned_that_it_ended(tmp_path: Path) -> None:
    agent, go, _ = gated()
    async with running(agent, tmp_path, poll_seconds=0.05) as server:
        settle = server.engine.duties.settler.settle
        server.engine.duties.settler.settle = _never  # type: ignore[method-assign]
        first = await server.start("wait")
        second = await server.start("second", dependsOn=(first,))
        go.set()
        await server.reached(first, State.COMPLETED)
        management = Management(server.engine, str)
        with pytest.raises(UnsupportedOperation, match="have yet to learn"):
            await management.delete(Scope(), first)
        server.engine.duties.settler.settle = settle  # type: ignore[method-assign]
        await management.delete(Scope(), first)
        await server.reached(second, State.COMPLETED)


async def test_a_crash_between_end_and_settling_loses_nobody(tmp_path: Path) -> None:
    agent, go, ran = gated()
    async with running(agent, tmp_path, poll_seconds=0.05) as server:
        server.engine.duties.settler.settle = _never  # type: ignore[method-assign]  # it dies before it settles
        first = await server.start("wait")
        second = await server.start("second", dependsOn=(first,))
        go.set()
        await server.reached(first, State.COMPLETED)
        key = (await server.row(second)).key
        (edge,) = (await server.store.inner.rows(RowQuery(Table.EDGE_TO, (key,)))).rows
        assert edge[3] == State.COMPLETED
        assert (await server.row(second)).phase is Phase.WAITING
    async with running(agent, tmp_path) as server:
        await server.reached(second, State.COMPLETED)
        (edge,) = (await server.store.inner.rows(RowQuery(Table.EDGE_TO, (key,)))).rows
        assert edge[3] == -State.COMPLETED
    assert ran == ["wait", "second"]


async def _never() -> int:
    return 0


async def test_an_edge_that_is_added_later(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, go, ran = scene
    dependencies = Dependencies(server.engine)
    first, other = await server.start("wait 1"), await server.start("other", delaySeconds=3600)
    later = await server.start("later", delaySeconds=3600)
    free = await server.start("free", delaySeconds=3600)
    await until(lambda: ran == ["wait 1"])
    row = await dependencies.add(Scope(), later, first)
    assert (row.phase, row.unmet) == (Phase.WAITING, 1)
    again = await dependencies.add(Scope(), later, first)
    assert (again.phase, again.unmet) == (Phase.WAITING, 1)
    await dependencies.add(Scope(), other, later)
    shown = await server.operations.get(Scope(), GetRequest(later))
    assert info(shown)["dependsOn"] == [first]
    for task_id, upstream in ((later, other), (later, later), (other, "nothing")):
        with pytest.raises(InvalidParams) as refused:
            await dependencies.add(Scope(), task_id, upstream)
        assert refused.value.path == "dependsOn"
    with pytest.raises(UnsupportedOperation):
        await dependencies.add(Scope(), first, free)
    with pytest.raises(TaskNotFound):
        await dependencies.add(Scope("", "somebody else"), later, first)
    go.set()
    row = await server.reached(later, Phase.SCHEDULED)
    assert row.unmet == 0
    assert (await server.row(other)).phase is Phase.WAITING
    assert ran == ["wait 1"]


async def test_an_edge_to_one_that_failed_fails_the_task(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, _, _ = scene
    failed = await server.send("fail")
    later = await server.start("later", delaySeconds=3600)
    row = await Dependencies(server.engine).add(Scope(), later, failed.id)
    assert row.state is State.FAILED
    anyway = await server.start("anyway", delaySeconds=3600)
    row = await Dependencies(server.engine).add(Scope(), anyway, failed.id, OnDependencyFailure.RUN)
    assert row.phase is Phase.SCHEDULED


async def test_of_edges_that_close_a_circle_together_one_is_refused(
    scene: tuple[Running, asyncio.Event, list[str]],
) -> None:
    server, _, _ = scene
    dependencies = Dependencies(server.engine)
    for _ in range(5):
        ids = [await server.start("x", delaySeconds=3600) for _ in range(4)]
        pairs = [(ids[n], ids[(n + 1) % 4]) for n in range(4)]
        added = await asyncio.gather(*(dependencies.add(Scope(), *pair) for pair in pairs), return_exceptions=True)
        refused = [outcome for outcome in added if isinstance(outcome, BaseException)]
        assert [type(error) for error in refused] == [InvalidParams]


async def test_the_key_of_a_unique_task_answers_with_it(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, _, ran = scene
    first = await server.send("one", uniqueKey="key", title="First")
    again = await server.send("another", uniqueKey="key")
    assert again.id == first.id
    assert info(again)["title"] == "First"
    other = await server.send("other", uniqueKey="other key")
    assert other.id != first.id
    together = await asyncio.gather(*(server.send(f"{n}", uniqueKey="many") for n in range(10)))
    assert len({task.id for task in together}) == 1
    assert len(ran) == 3


async def test_labels_and_wishes_are_kept_and_shown(scene: tuple[Running, asyncio.Event, list[str]]) -> None:
    server, _, _ = scene
    task = await server.send(
        "x", title="Größe MATTERS" + "x" * 80, tags=("red", "title:x"), kind="analysis", description="d"
    )
    assert info(task)["tags"] == ["red", "title:x"]
    assert info(task)["kind"] == "analysis"
    assert info(task)["description"] == "d"
    key = (await server.row(task.id)).key
    rows = (await server.store.inner.rows(RowQuery(Table.TAG_OF, (key,)))).rows
    assert sorted(str(row[2]) for row in rows) == [
        "tag:red",
        "tag:title:x",
        "title:" + ("grösse matters" + "x" * 80)[:64],
    ]
