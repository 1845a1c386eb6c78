"""Retention: what ended long ago goes with all it had, what is needed stays, and a crash in between loses nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest

from a2a_server import Agent, Artifact, Fail, File, Reject, TaskContext
from a2a_server.engine.archiving import archive_name, is_archive
from a2a_server.engine.retiring import DAY, Retention, Retiring, retention_of
from a2a_server.errors import StoreUnavailable
from a2a_server.lifecycle.duties import DUTY, Arrange, Hold, duty_key
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.objects import Generation, Message, Role, Scope, State, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table, TallyQuery
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import EdgeKind, EdgeRow, Interest, Key, PushRow, RecordRow
from a2a_server.model.turns import Needs
from a2a_server.ports import ArtifactStore, TaskStore
from a2a_server.service.files import Files
from tests.patience import PATIENCE
from tests.server.engines import Running, as_task, running

pytestmark = pytest.mark.embedded

ME = Scope()
LARGE = 100_000


def agent() -> Agent:
    agent = Agent("Past")

    @agent.skill(default=True)
    async def do(text: str) -> str:
        if text == "fail":
            raise Fail("failed")
        if text == "reject":
            raise Reject("rejected")
        if text == "wait":
            await asyncio.Event().wait()
        return text

    @agent.skill
    async def make() -> Artifact:
        return Artifact("out", (File("a.bin", raw=bytes(LARGE)), Text("small")))

    @agent.skill
    async def pass_on(task: TaskContext) -> AsyncIterator[Artifact]:
        (made,) = await task.join(await task.spawn("go", skill="make"))
        yield Artifact("theirs", made.artifacts[0].parts[:1])
        raise Fail("failed")

    @agent.skill
    async def size(source: File) -> str:
        return str(source.size)

    return agent


def retiring(
    server: Running, retention: Retention | None = None, artifacts: Killed | None = None, store: Killed | None = None
) -> Retiring:
    engine = server.engine
    return Retiring(
        engine.backends.store if store is None else cast("TaskStore", store),
        engine.backends.artifacts if artifacts is None else cast("ArtifactStore", artifacts),
        engine.duties.collector,
        engine.writer,
        retention or retention_of(engine.limits),
        period_seconds=3600,
        clock=engine.clock,
        random=Random(1),  # noqa: S311 - repeatable
    )


async def days_pass(server: Running, days: float) -> None:
    """Only for tests that retire themselves: the server's own duty rests."""
    server.engine.duties.agenda._acts.pop(DUTY, None)
    server.store.inner._offset += round(days * DAY)  # type: ignore[attr-defined]  # the store's clock
    await server.engine.submit(Arrange(duty_key("other"), 0))  # a turn, from which the engine learns the time


async def names(server: Running) -> list[str]:
    return [entry.name for entry in await server.engine.backends.artifacts.list("", 1000)]


async def exists(server: Running, task_id: str) -> bool:
    return await server.store.inner.find(ME, "", task_id) is not None


class Change:
    """An operation that changes a task's row, and writes rows that hang on it."""

    urgent = True
    weight = 1

    def __init__(self, key: Key, push: PushRow | None = None, edge: EdgeRow | None = None, **fields: Any) -> None:  # noqa: ANN401 - any field
        self.key, self.push, self.edge, self.fields = key, push, edge, fields

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.add(self.key)

    def decide(self, turn: Turn) -> None:
        turn.put(turn.rows[self.key]._replace(**self.fields))
        if self.push:
            turn.push(self.push)
        if self.edge:
            turn.links.tie(self.edge)


async def test_each_state_has_its_own_time(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        tasks = {text: await server.send(text) for text in ("ok", "fail", "reject")}
        waiting = await server.start("wait", delaySeconds=3600 * 24 * 300)
        canceled = await server.cancel(await server.start("wait"))
        await days_pass(server, 29)
        assert (await retiring(server).retire()).retired == {}
        await days_pass(server, 2)
        assert (await retiring(server).survey()).retired == {State.COMPLETED: 1}
        assert await exists(server, tasks["ok"].id)
        assert (await retiring(server).retire()).retired == {State.COMPLETED: 1}
        assert not await exists(server, tasks["ok"].id)
        await days_pass(server, 60)
        survey = await retiring(server).survey()
        assert survey.retired == {State.FAILED: 1, State.REJECTED: 1, State.CANCELED: 1}
        assert 90 * DAY < survey.oldest[State.FAILED] < 92 * DAY
        assert (await retiring(server).retire()).retired == survey.retired
        assert not await exists(server, canceled.id)
        assert await exists(server, waiting)
        assert (await retiring(server).retire()).retired == {}


async def test_for_ever(tmp_path: Path) -> None:
    days: dict[str, Any] = {f"retention_{state}_days": 0 for state in ("completed", "failed", "canceled", "rejected")}
    async with running(agent(), tmp_path, **days) as server:
        task = await server.send("ok")
        await days_pass(server, 4000)
        assert (await retiring(server).retire()).retired == {}
        assert await exists(server, task.id)


async def test_the_server_does_it_by_itself(tmp_path: Path) -> None:
    async with running(agent(), tmp_path, retire_seconds=1) as server:
        task = await server.send("ok")
        server.store.inner._offset += 31 * DAY  # type: ignore[attr-defined]  # the store's clock
        server.engine.duties.sweeper.expect(0)
        async with asyncio.timeout(PATIENCE):
            while await exists(server, task.id):  # noqa: ASYNC110 - nothing tells of a deletion
                await asyncio.sleep(0.01)
        later = await server.send("ok")
        assert await exists(server, later.id)


async def test_one_process_at_a_time_has_the_duty(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        server.engine.duties.agenda._acts.pop(DUTY)
        key = duty_key("mine")
        await server.engine.submit(Arrange(key, 0))
        (seen,) = (await server.store.rows(RowQuery(Table.RECORD, tuple(key)))).rows
        assert isinstance(seen, RecordRow)
        first, second = await asyncio.gather(*(server.engine.submit(Hold(seen, 10 * DAY)) for _ in range(2)))
        assert (first is None) != (second is None)
        held = first or second
        assert await server.engine.submit(Hold(held, DAY)) is None
        longer = await server.engine.submit(Hold(held, DAY, due=False))
        assert longer.rev == held.rev + 1
        assert await server.engine.submit(Hold(held, DAY, due=False)) is None


async def test_objects_go_with_their_task_but_not_those_that_another_one_needs(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        made = await server.send(skill="make")
        kept = await server.send(skill="make")
        inbound = SendRequest(
            Generation.V10,
            Message(Role.USER, (File(raw=bytes(LARGE)),), id="in"),
            options=TaskOptions(skill="size"),
        )
        sized = as_task(await server.operations.send(ME, inbound))
        assert len(await names(server)) == 3
        row = await server.row(kept.id)
        url = f"/artifacts/{next(name for name in await names(server) if name.startswith(str(UUID(bytes=row.key))))}"
        await days_pass(server, 20)
        user = SendRequest(
            Generation.V10, Message(Role.USER, (File(url=url),), id="use"), options=TaskOptions(skill="size")
        )
        assert as_task(await server.operations.send(ME, user)).status.state is State.COMPLETED
        await days_pass(server, 11)
        assert (await retiring(server).retire()).retired == {State.COMPLETED: 3}
        assert not any([await exists(server, one.id) for one in (made, kept, sized)])
        assert [f"/artifacts/{name}" for name in await names(server)] == [url]
        await days_pass(server, 31)
        assert (await retiring(server).retire()).retired == {State.COMPLETED: 1}


async def unsettled() -> int:
    return 0


async def test_a_part_that_a_retry_took_over_stays_as_long_as_that_is_at_work(tmp_path: Path) -> None:
    """It counts there by its edge, which would go with it: fewer parts would have completed than did."""
    async with running(agent(), tmp_path) as server:
        whole = await server.row(await server.start("wait", delaySeconds=3600 * 24 * 300))
        part, other = [await server.row((await server.send("ok")).id) for _ in range(2)]
        edge = EdgeRow(part.key, whole.key, EdgeKind.JOIN, -int(State.COMPLETED))
        await server.engine.submit(Change(part.key, edge=edge, pushes=Interest.WAITED))
        await days_pass(server, 31)
        survey = await retiring(server).retire()
        assert (survey.retired, survey.waiting) == ({State.COMPLETED: 1}, {State.COMPLETED: 1})
        assert not await exists(server, other.id)
        await server.cancel(whole.id)
        await retiring(server).retire()
        assert not await exists(server, part.id)


async def test_a_task_that_somebody_waits_for_stays(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        server.engine.duties.settler.settle = unsettled  # type: ignore[method-assign]  # as if every process had just died
        parent = await server.row(await server.start("wait", delaySeconds=3600 * 24 * 300))
        rows = [await server.row((await server.send("ok")).id) for _ in range(4)]
        child, told, given_up, followed = rows
        push = PushRow(told.key, "hook", 10, 1, 1, 3, dead=False, body=b"")
        dead = push._replace(task=given_up.key, dead=True)
        edge = EdgeRow(followed.key, parent.key, EdgeKind.RUN, int(State.COMPLETED))
        await server.engine.submit(Change(child.key, parent=parent.key))
        await server.engine.submit(Change(told.key, push, pushes=Interest.TOLD))
        await server.engine.submit(Change(given_up.key, dead, pushes=Interest.TOLD))
        await server.engine.submit(Change(followed.key, edge=edge, pushes=Interest.WAITED))
        await days_pass(server, 31)
        survey = await retiring(server).retire()
        assert (survey.retired, survey.waiting) == ({State.COMPLETED: 1}, {State.COMPLETED: 3})
        assert not await exists(server, given_up.id)
        await server.engine.submit(Change(told.key, push._replace(due_at=0)))
        await server.cancel(parent.id)
        survey = await retiring(server).retire()
        assert survey.retired[State.COMPLETED] >= 2
        assert not await exists(server, child.id)
        assert not await exists(server, told.id)


class Killed:
    """Artifacts or a store of a process that is killed at one of its calls."""

    def __init__(self, inner: object, call: str, *, before: bool) -> None:
        self._inner, self._call, self._before = inner, call, before

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it stands before
        found = getattr(self._inner, name)
        if name != self._call:
            return found

        async def dies(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever it stands before
            if not self._before:
                await found(*given, **named)
            raise StoreUnavailable("killed")

        return dies


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("part", "call"), [("artifacts", "put"), ("artifacts", "delete"), ("store", "erase")])
async def test_killed_at_any_point_the_next_one_ends_it(tmp_path: Path, part: str, call: str, before: bool) -> None:
    async with running(agent(), tmp_path) as server:
        task = await server.send(skill="make")
        row = await server.row(task.id)
        await days_pass(server, 31)
        backends = server.engine.backends
        retention = Retention({State.COMPLETED: DAY}, archive=True)
        dying = Killed(getattr(backends, part), call, before=before)
        one = retiring(server, retention, **{part: dying})
        one._collector._artifacts = dying if part == "artifacts" else backends.artifacts
        with pytest.raises(StoreUnavailable):
            await one.retire()
        one._collector._artifacts = backends.artifacts
        assert await exists(server, task.id) == (call != "erase" or before)
        survey = await retiring(server, retention).retire()
        assert survey.retired == ({} if call == "erase" and not before else {State.COMPLETED: 1})
        assert not await exists(server, task.id)
        assert await names(server) == [archive_name(row)]
        assert (await retiring(server, retention).retire()).retired == {}


async def archived(server: Running, name: str) -> list[dict[str, Any]]:
    pieces = [piece async for piece in server.engine.backends.artifacts.read(name)]
    return [json.loads(line) for line in gzip.decompress(b"".join(pieces)).splitlines()]


async def test_an_archive_has_the_whole_task_and_the_collector_leaves_it(tmp_path: Path) -> None:
    async with running(agent(), tmp_path, archive=True) as server:
        task = await server.send("remember", skill="make", title="Kept")
        row = await server.row(task.id)
        await days_pass(server, 31)
        survey = await retiring(server).retire()
        assert (survey.retired, survey.archived) == ({State.COMPLETED: 1}, 1)
        lines = await archived(server, archive_name(row))
        tables = [line["table"] for line in lines]
        assert tables == sorted(tables, key=["task", "message", "event", "journal", "artifact"].index)
        assert {"task", "message", "event", "artifact"} <= set(tables)
        assert lines[0]["id"] == task.id
        assert lines[0]["state"] == "completed"
        assert lines[0]["spec"]["t"] == "Kept"
        assert [line["n"] for line in lines if line["table"] == "event"] == list(range(1, row.last_n + 1))
        assert "remember" in json.dumps(lines)
        (take,) = (line for line in lines if line["table"] == "artifact")
        assert take["name"] == "out"
        chunk = next(line["body"] for line in lines if line["table"] == "event" and line["kind"] == "chunk")
        assert (chunk["p"][0]["z"], len(chunk["p"][0]["h"])) == (LARGE, 64)
        collector = server.engine.duties.collector
        collector._clock = lambda: 2**53
        assert await collector.collect() == 0
        assert await names(server) == [archive_name(row)]
        assert is_archive(archive_name(row))


async def test_a_task_that_cannot_be_archived_stays(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        task = await server.send("ok")
        await days_pass(server, 31)
        tiny = Retention({State.COMPLETED: DAY}, archive=True, limit_bytes=10)
        survey = await retiring(server, tiny).retire()
        assert (survey.retired, survey.waiting) == ({}, {State.COMPLETED: 1})
        assert await exists(server, task.id)
        assert await names(server) == []


async def test_nothing_is_left_of_a_retired_task(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        await server.send(skill="make", tags=["a"], title="T")
        await server.send("fail")
        await days_pass(server, 91)
        assert (await retiring(server).retire()).retired.total() == 2
        assert await server.store.totals(TallyQuery()) == {}
    left: dict[str, int] = {}
    with closing(sqlite3.connect(tmp_path / "tasks.db")) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if count := db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]:  # noqa: S608 - the store's own table
                left[table] = count
    assert set(left) <= {"meta", "worker", "gate", "fair", "record", "tally"}, left


async def test_many_are_retired_in_slices(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        await asyncio.gather(*(server.send("ok") for _ in range(450)))
        await days_pass(server, 31)
        assert (await retiring(server).retire()).retired == {State.COMPLETED: 450}


async def test_a_stream_of_a_task_that_is_deleted_ends(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        task = await server.send("ok")
        row = await server.row(task.id)
        with server.engine.hub.watch(row.key) as watch:
            watch.learn(row)
            await days_pass(server, 31)
            assert (await retiring(server).retire()).retired.total() == 1
            async with asyncio.timeout(PATIENCE):
                assert [batch async for batch in server.engine.hub.follow(watch, 1)] == []


async def test_a_file_that_a_parent_passed_on_is_kept_when_the_part_that_made_it_goes(tmp_path: Path) -> None:
    async with running(agent(), tmp_path) as server:
        parent = await server.send(skill="pass_on")
        assert parent.status.state is State.FAILED
        (file,) = parent.artifacts[0].parts
        assert isinstance(file, File)
        await days_pass(server, 31)
        assert (await retiring(server).retire()).retired == {State.COMPLETED: 1}
        assert await names(server) == [file.stored]
        assert await Files(server.store).find(ME, file.stored) is not None
