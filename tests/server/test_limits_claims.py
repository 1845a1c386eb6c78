"""Who may claim what: lanes, queues, requirements; and several tasks of one conversation."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

from a2a_server import Agent, TaskContext
from a2a_server.errors import ClientError, UnsupportedOperation
from a2a_server.lifecycle.prioritising import Prioritise
from a2a_server.model.objects import Generation, Lane, Message, Phase, Role, Scope, State, Task, Text
from a2a_server.model.options import TaskOptions
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.requests import SendRequest
from a2a_server.policy import SECOND
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, as_task, running
from tests.server.waiting import until

_ids = count(1)


class Log:
    """An agent that notes what begins, and goes on when it is let."""

    def __init__(self, **options: object) -> None:
        self.begun: list[str] = []
        self.release = asyncio.Event()
        self.agent = Agent("Log")
        self.now = self.most = 0

        @self.agent.skill(id="work", **options)  # type: ignore[call-overload,untyped-decorator]  # any options
        async def work(task: TaskContext, text: str) -> str:
            self.begun.append(text)
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.release.wait()
            finally:
                self.now -= 1
            return f"{text} {','.join(task.tools)}"


async def sent(server: Running, text: str, context: str, *, blocking: bool = False) -> Task:
    message = Message(Role.USER, (Text(text),), id=f"of-context-{next(_ids)}", context_id=context)
    options = TaskOptions(returnImmediately=not blocking)
    request = SendRequest(Generation.V10, message, context_id=context, blocking=blocking, options=options)
    async with asyncio.timeout(PATIENCE):
        return as_task(await server.operations.send(Scope(), request))


async def test_a_worker_of_some_lanes_leaves_the_others_alone(tmp_path: Path) -> None:
    log = Log()
    log.release.set()
    async with running(log.agent, tmp_path, poll_seconds=0.05, lanes=("critical", "high")) as server:
        low = await server.start("low", priority="low")
        assert (await server.send("high", priority="high")).status.state is State.COMPLETED
        assert (await server.send("critical", priority="critical")).status.state is State.COMPLETED
        assert ((await server.row(low)).phase, log.begun) == (Phase.READY, ["high", "critical"])
        await server.engine.submit(Prioritise(await server.row(low), Lane.HIGH))
        row = await server.reached(low, State.COMPLETED)
        assert (row.lane, log.begun[-1]) == (Lane.HIGH, "low")


async def test_a_worker_of_some_queues_leaves_the_others_alone(tmp_path: Path) -> None:
    agent = Agent("Two")

    @agent.skill(id="a")
    async def a(text: str) -> str:
        return text

    @agent.skill(id="b")
    async def b(text: str) -> str:
        return text

    async with running(agent, tmp_path, poll_seconds=0.05, queues=("b",)) as server:
        left = await server.start(skill="a")
        assert (await server.send(skill="b")).status.state is State.COMPLETED
        assert (await server.row(left)).phase is Phase.READY


async def test_critical_tasks_go_before_all_others_of_every_queue(tmp_path: Path) -> None:
    agent = Agent("Queues")
    begun: list[str] = []
    release = asyncio.Event()

    async def work(text: str) -> str:
        begun.append(text)
        if text == "first":
            await release.wait()
        return text

    for name in ("a", "b"):
        agent.skill(id=name)(work)
    async with running(agent, tmp_path, poll_seconds=LONG, slots=1) as server:
        tasks = [await server.start("first", skill="a")]
        await until(lambda: begun == ["first"])
        tasks += [await server.start(f"low-{number}", skill="a", priority="low") for number in range(5)]
        tasks += [await server.start(f"critical-{number}", skill="b", priority="critical") for number in range(3)]
        moved = await server.start("moved", skill="a", priority="backlog")
        await server.engine.submit(Prioritise(await server.row(moved), Lane.CRITICAL))
        release.set()
        for task in [*tasks, moved]:
            await server.reached(task, State.COMPLETED)
        assert set(begun[1:5]) == {"critical-0", "critical-1", "critical-2", "moved"}
        assert begun[5:] == [f"low-{number}" for number in range(5)]


async def test_a_freed_slot_goes_to_who_waits_and_not_to_who_comes(tmp_path: Path) -> None:
    agent = Agent("Door")
    begun: list[str] = []
    release = asyncio.Event()

    async def work(text: str) -> str:
        begun.append(text)
        if text == "first":
            await release.wait()
        return text

    for name in ("a", "b"):
        agent.skill(id=name)(work)
    async with running(agent, tmp_path, poll_seconds=LONG, slots=1) as server:
        await server.start("first", skill="a")
        await until(lambda: begun == ["first"])
        critical = await server.start("critical", skill="b", priority="critical")
        worker = server.engine.worker
        given: list[bool] = []
        give_back = worker._left

        def left(run: object) -> None:
            give_back(run)  # type: ignore[arg-type]  # a run
            given.append(worker.reserve("a", Lane.LOW))  # somebody at the door, before the worker can claim

        for run in worker._live:
            run._left = left
        release.set()
        await server.reached(critical, State.COMPLETED)
        assert given == [False]


async def test_a_task_that_waits_too_long_moves_up_but_never_to_critical(tmp_path: Path) -> None:
    log = Log()
    log.release.set()
    async with running(log.agent, tmp_path, poll_seconds=0.02, lanes=("critical",), aging_seconds=0.1) as server:
        task = await server.start("patient", priority="backlog")
        await server.reached(task, Phase.READY)
        sweeper = server.engine.duties.sweeper
        for _ in range(200):
            await sweeper._polled[2]()
            await asyncio.sleep(0.005)
        row = await server.row(task)
        assert (row.lane, row.phase) == (Lane.HIGH, Phase.READY)
        page = await server.store.inner.rows(RowQuery(Table.JOURNAL, (row.key,)))
        assert len(page.rows) == 3


async def test_classes_are_served_only_by_workers_that_satisfy_them(tmp_path: Path) -> None:
    log = Log()
    log.release.set()
    needs = {"tags": ["gpu"], "tools": ["search"]}
    async with running(log.agent, tmp_path, poll_seconds=0.05, worker_tags=("cpu",)) as server:
        left = await server.start("picky", requires=needs)
        await server.engine.worker.check()  # it has learnt of the class
        assert (
            await server.send("plain", delaySeconds=0.1)
        ).status.state is State.COMPLETED  # claimed behind the other
        row = await server.row(left)
        assert (row.phase, log.begun) == (Phase.READY, ["plain"])
        assert row.queue.startswith("work#")
        server.store.inner._offset += 3700 * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        assert await server.engine.duties.sweeper._tidies[3]() == 0  # a task of it waits
    async with running(
        log.agent, tmp_path, poll_seconds=0.05, worker_tags=("gpu", "eu"), worker_tools=("search",)
    ) as server:
        await server.reached(left, State.COMPLETED)
        again = await server.send("again", requires=needs)
        assert again.artifacts[0].parts == (Text("again search"),)
        page = await server.store.inner.rows(RowQuery(Table.WORKER, (server.engine.worker.id,)))
        assert await server.engine.duties.sweeper._tidies[3]() == 0
        server.store.inner._offset += 3700 * SECOND  # type: ignore[attr-defined]  # the clock that tests set
        assert await server.engine.duties.sweeper._tidies[3]() == 1
        assert not (await server.store.inner.rows(RowQuery(Table.RECORD, ("class",)))).rows
        assert b"search" in page.rows[0].body  # type: ignore[attr-defined]  # a worker's row


async def test_a_new_class_waits_for_no_poll(tmp_path: Path) -> None:
    log = Log()
    log.release.set()
    async with running(log.agent, tmp_path, poll_seconds=LONG, worker_tags=("gpu",)) as server:
        assert (await server.send("first", requires={"tags": ["gpu"]})).status.state is State.COMPLETED


async def test_a_worker_takes_what_fits_its_pool_and_no_more(tmp_path: Path) -> None:
    log = Log()
    async with running(log.agent, tmp_path, poll_seconds=LONG, worker_cpu=2, worker_memory_bytes=1000) as server:
        tasks = [await server.start(f"half-{number}", requires={"cpu": 0.5}) for number in range(6)]
        big = await server.start("big", requires={"cpu": 0.1, "memoryBytes": 1001})
        await until(lambda: len(log.begun) == 4)
        await server.engine.duties.sweeper.wake_held()
        phases = sorted([(await server.row(task)).phase for task in tasks])
        assert phases == [Phase.READY, Phase.READY, *[Phase.LEASED] * 4]
        assert (
            await server.send("plain", blocking=False)
        ).status.state is not State.FAILED  # needs nothing of the pool
        await until(lambda: "plain" in log.begun)
        log.release.set()
        for task in tasks:
            await server.reached(task, State.COMPLETED)
        assert (await server.row(big)).phase is Phase.READY
        worker = server.engine.worker  # what a run used is free a moment after its end is told
        await until(lambda: worker._claims.classes.free == server.engine.bounds.offer.pool)


async def test_tasks_of_a_serial_context_run_one_at_a_time(tmp_path: Path) -> None:
    log = Log(context="serial")
    async with running(log.agent, tmp_path, poll_seconds=LONG) as server:
        tasks = [await sent(server, f"{number}", "talk*1/a%") for number in range(5)]
        other = await sent(server, "other", "another")
        await until(lambda: len(log.begun) == 2)
        rows = [await server.reached(task.id, Phase.LEASED, Phase.HELD) for task in tasks]
        assert [row.phase for row in rows] == [Phase.LEASED, *[Phase.HELD] * 4]
        assert (await server.row(other.id)).phase is Phase.LEASED
        log.release.set()
        for task in tasks:
            await server.reached(task.id, State.COMPLETED)
        assert [text for text in log.begun if text != "other"] == ["0", "1", "2", "3", "4"]
        await until(lambda: server.engine.worker.running == 0)
        page = await server.store.inner.rows(RowQuery(Table.GATE))
        assert not page.rows


async def test_a_context_that_rejects_takes_the_next_task_when_the_first_has_ended(tmp_path: Path) -> None:
    log = Log(context="reject")
    async with running(log.agent, tmp_path, poll_seconds=LONG) as server:
        outcomes = await asyncio.gather(*(sent(server, f"{n}", "talk") for n in range(8)), return_exceptions=True)
        taken = [outcome for outcome in outcomes if isinstance(outcome, Task)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, ClientError)]
        assert (len(taken), len(refused)) == (1, 7)
        assert all(isinstance(one, UnsupportedOperation) and taken[0].id in str(one) for one in refused)
        elsewhere = await sent(server, "elsewhere", "another")
        log.release.set()
        for task in (taken[0], elsewhere):
            await server.reached(task.id, State.COMPLETED)
        assert (await sent(server, "next", "talk", blocking=True)).status.state is State.COMPLETED
        page = await server.store.inner.rows(RowQuery(Table.RECORD, ("context",)))
        assert len(page.rows) == 2
        for tidy in server.engine.duties.sweeper._tidies:
            await tidy()
        assert not (await server.store.inner.rows(RowQuery(Table.RECORD, ("context",)))).rows


async def test_a_context_that_replaces_cancels_the_earlier_task(tmp_path: Path) -> None:
    log = Log(context="replace")
    async with running(log.agent, tmp_path, poll_seconds=LONG, cancel_grace_seconds=LONG) as server:
        tasks = []
        for number in range(3):
            tasks.append(await sent(server, f"{number}", "talk"))
            await until(lambda number=number: f"{number}" in log.begun)  # type: ignore[misc]  # a default of its own
        states = [(await server.reached(task.id, State.CANCELED)).state for task in tasks[:2]]
        assert states == [State.CANCELED, State.CANCELED]
        assert log.most == 1
        log.release.set()
        assert (await server.reached(tasks[2].id, State.COMPLETED)).fence == 1
        crowd = await asyncio.gather(*(sent(server, f"crowd-{n}", "talk") for n in range(6)))
        rows = [await server.reached(task.id, State.COMPLETED, State.CANCELED) for task in crowd]
        assert sum(row.state is State.COMPLETED for row in rows) >= 1
        assert log.most == 1
