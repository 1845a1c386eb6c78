"""Schedules on a running server: tasks on time, one a tick whoever fires, and what people ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.codec import decode_spec
from a2a_server.engine import agenda
from a2a_server.engine.agenda import Agenda
from a2a_server.engine.scheduling import Scheduler
from a2a_server.engine.writer import Writer
from a2a_server.errors import InvalidParams, UnsupportedOperation
from a2a_server.model.objects import Data, File, Generation, Message, Role, Scope, State, Text
from a2a_server.model.queries import TaskQuery
from a2a_server.model.requests import SendRequest
from a2a_server.model.rows import TaskRow
from a2a_server.model.schedule_keys import SCHEDULE
from a2a_server.model.schedules import SchedulePlan
from a2a_server.policy import SECOND
from a2a_server.service.schedules import Schedules
from tests.patience import PATIENCE
from tests.server.engines import Running, running
from tests.server.waiting import until

pytestmark = pytest.mark.embedded

ME = Scope()


def agent() -> Agent:
    agent = Agent("Clockwork")

    @agent.skill(default=True)
    async def tell(text: str = "nothing", count: int = 1) -> str:
        return text * count

    @agent.skill
    async def wait(text: str) -> None:
        await asyncio.Event().wait()

    return agent


def message(text: str = "tick") -> Message:
    return Message(Role.USER, (Text(text),))


class Clockwork:
    """A running server, its schedules, and its clock."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.schedules = Schedules(server.engine)

    async def create(self, schedule_id: str = "often", *, text: str = "tick", **plan: Any) -> None:  # noqa: ANN401 - any field
        chosen = {"interval_seconds": 60, **plan} if "cron" not in plan and "run_at" not in plan else plan
        await self.schedules.create(ME, SchedulePlan(**chosen), message(text), schedule_id)

    def pass_by(self, seconds: float) -> None:
        self.server.store.inner._offset += round(seconds * SECOND)  # type: ignore[attr-defined]  # the store's clock
        self.server.engine.duties.sweeper.expect(0)

    def go_back(self, seconds: float) -> None:
        """As if it were set while no server runs: the store's time never goes back otherwise."""
        self.server.store.inner._latest = 0  # type: ignore[attr-defined]
        self.pass_by(-seconds)

    async def tasks(self) -> list[TaskRow]:
        page = await self.server.store.page(TaskQuery("", "local", "", limit=5000))
        return sorted((snapshot.task for snapshot in page.rows), key=lambda row: row.key)

    async def until_tasks(self, count: int, *states: State) -> list[TaskRow]:
        async with asyncio.timeout(PATIENCE):
            while True:
                found = [row for row in await self.tasks() if not states or row.state in states]
                if len(found) >= count:
                    assert len(found) == count
                    return found
                await asyncio.sleep(0.005)


@asynccontextmanager
async def clockwork(directory: Path, **settings: Any) -> AsyncIterator[Clockwork]:  # noqa: ANN401 - any field
    async with running(agent(), directory, **settings) as server:
        yield Clockwork(server)


async def test_a_schedule_makes_its_tasks(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        await clock.create(options={"title": "Ticking", "parameters": {"count": 2}, "priority": "high"})
        assert await clock.tasks() == []
        clock.pass_by(61)
        (row,) = await clock.until_tasks(1, State.COMPLETED)
        spec = decode_spec(row.spec)
        assert (spec.title, row.lane.name) == ("Ticking", "HIGH")
        assert spec.wishes is not None
        assert spec.wishes.schedule == "often"
        clock.pass_by(60)
        first, second = await clock.until_tasks(2, State.COMPLETED)
        assert first.context != second.context
        view = await clock.schedules.get(ME, "often", upcoming=3)
        assert view is not None
        assert view.schedule.runs == 2
        assert view.due_at == view.upcoming[0]
        assert [after - view.due_at for after in view.upcoming] == [0, 60 * SECOND, 120 * SECOND]


async def test_one_moment_and_a_common_context(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        await clock.create(run_at=datetime(2020, 1, 1, tzinfo=UTC), context_id="ours")
        (row,) = await clock.until_tasks(1, State.COMPLETED)
        assert row.context == "ours"
        view = await clock.schedules.get(ME, "often")
        assert view is not None
        assert (view.due_at, view.upcoming) == (0, ())


async def test_a_thousand_ticks_and_two_schedulers_make_a_thousand_tasks(tmp_path: Path) -> None:
    many, rounds = 20, 50
    async with clockwork(tmp_path) as clock:
        engine = clock.server.engine
        writer = Writer(
            engine.backends.store, engine._tell, shard="1", max_operations=1000, max_bytes=1 << 20, patience_seconds=8
        )
        running_writer = asyncio.create_task(writer.run())
        other = Agenda(engine.backends.store)
        scheduler = Scheduler(writer, clock.schedules.made, clock=engine.clock, grace=0)
        other.serve(SCHEDULE, scheduler.fire)
        for number in range(many):
            await clock.create(f"every-{number}", text=str(number), interval_seconds=3600)
        for _ in range(rounds):
            clock.pass_by(3600)  # so long that the test's own time makes no tick
            for _ in range(3):
                await asyncio.gather(other.ring_records(), engine.duties.agenda.ring_records())
        rows = await clock.until_tasks(many * rounds)
        assert len({row.id for row in rows}) == many * rounds
        views = await clock.schedules.known(ME)
        assert [view.schedule.runs for view in views] == [rounds] * many
        writer.close()
        await running_writer


async def test_what_was_missed_while_no_server_ran(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        for missed in ("skip", "once", "all"):
            await clock.create(missed, text=missed, interval_seconds=3600, missed=missed)
    async with running(agent(), tmp_path) as server:
        clock = Clockwork(server)
        assert await clock.tasks() == []
        clock.pass_by(5 * 3600 + 600)
        rows = await clock.until_tasks(6, State.COMPLETED)
        names = sorted(spec.wishes.schedule for row in rows if (spec := decode_spec(row.spec)).wishes)
        assert names == ["all"] * 5 + ["once"]
        skipped = await clock.schedules.get(ME, "skip")
        assert skipped is not None
        assert (skipped.schedule.runs, skipped.schedule.skipped) == (0, 5)
        assert "Nobody was there" in skipped.schedule.last_error
        once = await clock.schedules.get(ME, "once")
        assert once is not None
        assert (once.schedule.runs, once.schedule.skipped) == (1, 4)


async def test_a_clock_that_was_far_ahead_silences_no_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "MENDED_AT_ONCE", 1)
    async with clockwork(tmp_path) as clock:
        await clock.create("cron", cron="30 2 * * *")
        await clock.create("often")
        await clock.create("paused", paused=True)
        before = {view.id: view.due_at for view in await clock.schedules.known(ME)}
        clock.pass_by(100 * 86_400)
        await clock.until_tasks(2, State.COMPLETED)
        clock.go_back(100 * 86_400)
        await clock.server.start("as any turn, it says what time it is")
        ahead = await clock.schedules.get(ME, "often")
        assert ahead is not None
        assert ahead.due_at > before["often"] + 99 * 86_400 * SECOND
        duties = clock.server.engine.duties
        assert duties.agenda.mend_records in duties.sweeper._tidies
        await duties.agenda.mend_records()
        after = {view.id: view for view in await clock.schedules.known(ME)}
        assert {name: view.due_at - before[name] for name, view in after.items()} in (
            {"cron": 0, "often": late, "paused": 0} for late in (0, 60 * SECOND)
        )
        assert all(view.upcoming[:1] == ((view.due_at,) if view.due_at else ()) for view in after.values())
        clock.pass_by(61)
        await clock.until_tasks(4, State.COMPLETED)


async def test_pause_resume_change_and_delete(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        await clock.create()
        paused = await clock.schedules.pause(ME, "often")
        assert paused is not None
        assert (paused.due_at, paused.upcoming) == (0, ())
        clock.pass_by(3600)
        resumed = await clock.schedules.resume(ME, "often")
        assert resumed is not None
        assert resumed.due_at > clock.server.engine.clock()
        plan = SchedulePlan(cron="0 9 * * 1-5", time_zone="Europe/Berlin")
        with pytest.raises(InvalidParams, match="changed meanwhile"):
            await clock.schedules.update(ME, "often", plan, message(), rev=1)
        changed = await clock.schedules.update(ME, "often", plan, message(), rev=resumed.rev)
        assert changed is not None
        assert changed.schedule.timing.zone == "Europe/Berlin"
        assert [view.id for view in await clock.schedules.known(ME)] == ["often"]
        for one in (Scope(owner="other"), Scope("tenant")):
            assert await clock.schedules.known(one) == []
            assert await clock.schedules.get(one, "often") is None
            assert await clock.schedules.pause(one, "often") is None
            assert await clock.schedules.trigger(one, "often") is None
            assert not await clock.schedules.delete(one, "often")
        assert await clock.schedules.delete(ME, "often")
        assert await clock.schedules.get(ME, "often") is None
        assert await clock.tasks() == []


async def test_by_hand_once_for_a_key(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        await clock.create(overlap="forbid", options={"skill": "wait"})
        task = await clock.schedules.trigger(ME, "often", "now")
        again = await clock.schedules.trigger(ME, "often", "now")
        assert task is not None
        assert again is not None
        assert again.id == task.id
        with pytest.raises(UnsupportedOperation, match="has not ended"):
            await clock.schedules.trigger(ME, "often")
        await clock.server.cancel(task.id)
        other = await clock.schedules.trigger(ME, "often")
        assert other is not None
        assert other.id != task.id
        await clock.server.cancel(other.id)


async def test_a_schedule_whose_task_cannot_be_made_is_refused_and_stores_nothing(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        for plan, said, words in (
            ({"options": {"skill": "none"}}, message(), "skill"),
            ({"options": {"titel": "x"}}, message(), r"options\.titel"),
            ({"options": {"deadline": "2030-01-01T00:00:00Z"}}, message(), "options.deadline is one moment"),
            ({"options": {"template": "none"}}, message(), "template"),
            ({"cron": "0 0 30 2 *"}, message(), "30 February"),
            ({}, Message(Role.USER, (File(stored="a/b/1"),)), "kept for a task"),
            ({}, Message(Role.USER, (Data("x" * 300_000),)), "at most 262144 bytes"),
            ({}, Message(Role.USER, (Text("x"),), task_id="t"), "must not name tasks"),
        ):
            chosen = plan if "cron" in plan else {"interval_seconds": 60, **plan}
            with pytest.raises(InvalidParams, match=words):
                await clock.schedules.create(ME, SchedulePlan(**chosen), said, "often")
        with pytest.raises(InvalidParams, match="1 to 128 letters"):
            await clock.create("no spaces")
        assert await clock.schedules.known(ME) == []


async def test_a_tick_that_cannot_be_made_any_more_is_noted(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        await clock.create(options={"skill": "wait"})
    only = Agent("Less")

    @only.skill
    async def tell(text: str) -> str:
        return text

    async with running(only, tmp_path) as server:
        clock = Clockwork(server)
        clock.pass_by(61)
        async with asyncio.timeout(PATIENCE):
            while not (  # noqa: ASYNC110 - nothing tells of a tick that made no task
                (view := await clock.schedules.get(ME, "often")) and view.schedule.last_error
            ):
                await asyncio.sleep(0.005)
        assert "wait" in view.schedule.last_error
        assert view.due_at > server.engine.clock()
        assert await clock.tasks() == []


async def test_a_schedule_leaves_no_file_behind_but_its_tasks_do(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        part = File(raw=b"x" * 100_000, media_type="text/plain")
        said = Message(Role.USER, (Text("tick"), part))
        await clock.schedules.create(ME, SchedulePlan(interval_seconds=60), said, "often")
        artifacts = clock.server.engine.backends.artifacts
        assert await artifacts.list("", 10) == []
        assert await clock.schedules.trigger(ME, "often") is not None
        assert len(await artifacts.list("", 10)) == 1


async def test_no_tick_can_make_a_parent_wait_for_itself(tmp_path: Path) -> None:
    async with clockwork(tmp_path) as clock:
        parent = await clock.server.start("tick", delaySeconds=3600)
        later = await clock.server.start("tick", dependsOn=(parent,))
        for options in ({"parentTaskId": "nobody"}, {"dependsOn": [later, "nobody"]}):
            with pytest.raises(InvalidParams, match=r"^options\.(parentTaskId|dependsOn\[1\]) names no task of yours"):
                await clock.create(options=options)
        with pytest.raises(InvalidParams, match="a parent could come to wait for itself"):
            await clock.create(options={"parentTaskId": parent, "dependsOn": [later]})


async def test_a_schedule_by_hand_takes_its_place_in_a_conversation_that_goes_on_meanwhile(tmp_path: Path) -> None:
    crowd = Agent("Crowd")

    @crowd.skill(default=True, context="replace")
    async def newest(text: str) -> str:
        return text

    async with running(crowd, tmp_path) as server:
        clock = Clockwork(server)
        await clock.create(context_id="ours")
        await server.hold(lambda needs: bool(needs.queues))
        request = SendRequest(Generation.V10, Message(Role.USER, (Text("go"),), id="1"), context_id="ours")
        sending = asyncio.create_task(server.operations.send(ME, request))
        async with asyncio.timeout(PATIENCE):
            await server.store.held.wait()
            by_hand = asyncio.create_task(clock.schedules.trigger(ME, "often"))
            await until(lambda: server.engine.writer.waiting > 0)
            server.store.gate.set()
            await sending
            assert await by_hand is not None
