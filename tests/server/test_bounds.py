"""What must stay bounded: whose schedules tick, how many classes there are, how long a big task waits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from a2a_server import Agent
from a2a_server.engine.tidying import PAGE, Tidying
from a2a_server.errors import InvalidParams, NothingThere
from a2a_server.lifecycle.requirements import Pool
from a2a_server.model.objects import Lane, Message, Phase, Role, Scope, State, Text
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import FairKey, RecordRow
from a2a_server.model.schedule_keys import schedule_key
from a2a_server.model.schedules import SchedulePlan
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.policy import SECOND
from a2a_server.service.limiting import Limiting
from a2a_server.service.schedules import Schedules
from a2a_server.service.templates import Templates
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until

ME = Scope()


class Worked:
    """An agent whose tasks begin, and go on when they are let."""

    def __init__(self, **options: object) -> None:
        self.begun: list[str] = []
        self.let: dict[str, asyncio.Event] = {}
        self.agent = Agent("Worked")

        @self.agent.skill(id="work", **options)  # type: ignore[call-overload,untyped-decorator]  # any options
        async def work(text: str) -> str:
            self.begun.append(text)
            await self.let.setdefault(text, asyncio.Event()).wait()
            return text

    def release(self, text: str) -> None:
        self.let.setdefault(text, asyncio.Event()).set()


def message(text: str = "tick") -> Message:
    return Message(Role.USER, (Text(text),))


async def records(server: Running, *prefix: str) -> Sequence[RecordRow]:
    page = await server.store.inner.rows(RowQuery(Table.RECORD, prefix))
    return [row for row in page.rows if isinstance(row, RecordRow)]


async def test_agents_on_one_store_have_schedules_and_templates_of_their_own(tmp_path: Path) -> None:
    async with running(Worked().agent, tmp_path, poll_seconds=LONG) as server:
        _, (_, other) = server.engine, server.system.mounted[0]
        mine, theirs = Schedules(server.engine), Schedules(other)
        plan = SchedulePlan(interval_seconds=3600)
        await mine.create(ME, plan, message(), "nightly")
        assert await theirs.get(ME, "nightly") is None
        assert not await theirs.known(ME)
        assert await theirs.trigger(ME, "nightly") is None
        assert not await theirs.delete(ME, "nightly")
        ours, others = Templates(server.engine), Templates(other)
        await ours.put(ME, "letter", {}, text="mine")
        assert await others.find(ME, "letter") is None
        await others.put(ME, "letter", {}, text="theirs")
        assert [one.template.text for one in await ours.known(ME)] == ["mine"]
        assert await others.delete(ME, "letter")
        assert await ours.find(ME, "letter") is not None
        assert [view.id for view in await mine.known(ME)] == ["nightly"]


async def test_due_schedules_of_an_agent_that_nobody_serves_keep_nobody_awake(tmp_path: Path) -> None:
    async with running(Worked().agent, tmp_path, poll_seconds=LONG) as server:
        keys = [schedule_key("", "local", "away", f"{number}") for number in range(3)]

        def decide(_: Loaded) -> Changes:
            return Changes(records=[RecordRow(*key, 1, 1, b"") for key in keys])

        await server.store.turn(Needs(records=set(keys)), decide)
        sweeper, agenda = server.engine.duties.sweeper, server.engine.duties.agenda
        assert await agenda.ring_records() == 0
        await sweeper.ring_alarms()
        loop = asyncio.get_running_loop()
        assert sweeper._alarm_at is None or sweeper._alarm_at > loop.time(), "that of retention"
        agenda.serve("schedule/away", _ignore)
        assert await agenda.ring_records() == 3
        await sweeper.ring_alarms()
        assert sweeper._alarm_at is not None
        assert sweeper._alarm_at <= loop.time()


async def _ignore(rows: Sequence[RecordRow]) -> None:
    assert len(rows) == 3


async def test_a_client_has_so_many_kinds_of_requirements(tmp_path: Path) -> None:
    worked = Worked()
    async with running(worked.agent, tmp_path, poll_seconds=LONG, client_max_requirements=3) as server:
        for number in range(3):
            await server.start(requires={"tags": [f"tag-{number}"]})
        with pytest.raises(InvalidParams, match="client_max_requirements") as refused:
            await server.start(requires={"tags": ["one-more"]})
        assert refused.value.path is not None
        assert refused.value.path.endswith(".requires")
        again = await server.start(requires={"tags": ["tag-1"]})
        assert (await server.row(again)).phase is Phase.READY
        await server.start(requires={"resources": {}})
        assert len(await records(server, "class")) == 3
        for row in await server.store.inner.oldest(b"", 100):  # type: ignore[arg-type]  # from the first
            if row.phase is Phase.READY:
                await server.cancel(row.id)
        tidy = Tidying(server.store, server.engine.writer, server.engine.clock)
        assert await tidy.tidy_classes() == 0, "they were sent to just now"
        server.store.inner._offset += 3700 * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        assert await tidy.tidy_classes() == 3
        await server.start(requires={"tags": ["one-more"]})
        worked.release("go")


async def test_what_one_client_needs_takes_no_room_from_another(tmp_path: Path) -> None:
    async with running(Worked().agent, tmp_path, poll_seconds=LONG, client_max_requirements=1) as server:
        await server.start(requires={"tags": ["a"]})
        admitting = server.engine.submissions.admitting
        await admitting._check_room(Scope(owner="other"), "work#b")
        await admitting._check_room(Scope("tenant"), "work#b")
        with pytest.raises(InvalidParams):
            await admitting._check_room(ME, "work#b")


async def test_a_big_task_does_not_starve_behind_small_ones(tmp_path: Path) -> None:
    worked = Worked()
    async with running(worked.agent, tmp_path, poll_seconds=0.05, worker_cpu=2, worker_reserve_seconds=0.01) as server:
        names = [f"small-{number}" for number in range(40)]
        ids = [await server.start(name, requires={"cpu": 1}) for name in names[:2]]
        await until(lambda: len(worked.begun) == 2)
        ids.append(await server.start("big", requires={"cpu": 2}))
        ids += [await server.start(name, requires={"cpu": 1}) for name in names[2:]]
        queue = (await server.row(ids[2])).queue
        await until(lambda: (kept := server.engine.worker._claims.classes.kept) is not None and kept.queue == queue)
        ids.append(await server.start("free"))
        ids.append(await server.start("urgent", requires={"cpu": 1}, priority="critical"))
        worked.release("small-0")
        await until(lambda: {"free", "urgent"} <= set(worked.begun))
        worked.release("urgent")
        await server.reached(ids[-1], State.COMPLETED)
        await until(lambda: server.engine.worker._claims.classes.free == Pool(1000, math.inf, math.inf))
        claims, learned = server.engine.worker._claims, 0
        learn = claims.learn

        def count(*args: Any, **more: Any) -> None:  # noqa: ANN401 - as it is
            nonlocal learned
            learned += 1
            learn(*args, **more)

        claims.learn = count  # type: ignore[method-assign]  # goes on as ever
        await until(lambda: learned > 2)
        ids.append(await server.start("later", requires={"cpu": 1}, priority="critical"))
        await until(lambda: "later" in worked.begun)  # there was room, and none of the small ones took it
        worked.release("later")
        worked.release("small-1")
        await until(lambda: "big" in worked.begun)
        assert set(worked.begun) == {"free", "urgent", "later", "small-0", "small-1", "big"}
        for name in (*names, "big", "free"):
            worked.release(name)
        for one in ids:
            await server.reached(one, State.COMPLETED)
        assert server.engine.worker._claims.classes.kept is None
        assert server.engine.worker._claims.classes.free == server.engine.bounds.offer.pool


async def test_room_is_not_kept_for_a_task_that_is_gone(tmp_path: Path) -> None:
    worked = Worked()
    async with running(worked.agent, tmp_path, poll_seconds=0.05, worker_cpu=2, worker_reserve_seconds=0.01) as server:
        await server.start("first", requires={"cpu": 1})
        await until(lambda: worked.begun == ["first"])
        big = await server.start("big", requires={"cpu": 2})
        classes = server.engine.worker._claims.classes
        await until(lambda: classes.kept is not None)
        small = await server.start("small", requires={"cpu": 1})
        await server.cancel(big)
        await until(lambda: "small" in worked.begun)
        for name in ("first", "small"):
            worked.release(name)
        await server.reached(small, State.COMPLETED)


async def test_idle_owners_are_forgotten(tmp_path: Path) -> None:
    async with running(Worked().agent, tmp_path, poll_seconds=LONG) as server:
        idle = {FairKey("7", "work", Lane.LOW, "", f"owner-{number}"): number + 1 for number in range(PAGE + 1)}
        busy = {FairKey("7", "work", Lane.LOW, "", "owner"): server.engine.clock()}
        await server.store.turn(Needs(), lambda _: Changes(fair=idle | busy))
        tidy = Tidying(server.store, server.engine.writer, server.engine.clock)
        assert await tidy.tidy_turns() == PAGE + 1
        assert list((await server.store.inner.rows(RowQuery(Table.FAIR))).rows) == list(busy.items())
        assert tidy.tidy_turns.__name__ in {duty.__name__ for duty in server.engine.duties.sweeper._tidies}


async def test_what_an_operator_sets_survives_a_restart(tmp_path: Path) -> None:
    worked = Worked(max_concurrency=2)
    async with running(worked.agent, tmp_path) as server:
        view = await Limiting(server.engine).set(ME, "skill:work", 5)
        assert (view.gate.capacity, view.by_operator) == (5, True)
        await Limiting(server.engine).set(ME, "agent:", 9)  # nothing in the code bounds it
    async with running(worked.agent, tmp_path) as server:
        limiting = Limiting(server.engine)
        kept = {view.gate.key: (view.gate.capacity, view.by_operator) for view in await limiting.known(ME)}
        assert kept == {"agent:": (9, True), "skill:work": (5, True)}
        await limiting.lift(ME, "skill:work")
        code = await limiting.get(ME, "skill:work")
        assert (code.gate.capacity, code.by_operator) == (2, False)
        await limiting.lift(ME, "agent:")
        with pytest.raises(NothingThere):
            await limiting.get(ME, "agent:")
        assert [view.gate.key for view in await limiting.known(ME)] == ["skill:work"]
        assert not await records(server, "limit")
        await Tidying(server.store, server.engine.writer, server.engine.clock).tidy_gates()
        assert not (await server.store.inner.rows(RowQuery(Table.GATE, ("agent:",)))).rows
    async with running(Worked().agent, tmp_path) as server:
        assert not await Limiting(server.engine).known(ME), "the code bounds nothing any more"


async def test_an_operator_can_lift_what_an_earlier_code_bounded(tmp_path: Path) -> None:
    async with running(Worked().agent, tmp_path) as server:
        await server.engine.backends.store.fill("gate", [("skill:removed", 3, 0, 0, 0, 0, "", 1)])
        limiting = Limiting(server.engine)
        assert [view.gate.key for view in await limiting.known(ME)] == ["skill:removed"]
        with pytest.raises(NothingThere):
            await limiting.set(ME, "skill:removed", 4)
        await limiting.lift(ME, "skill:removed")
        assert not await limiting.known(ME)
