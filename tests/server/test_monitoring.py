"""The thresholds of the settings: each is exceeded, told and over; once in an interval, whoever looks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from a2a_server import Agent, Fail, Retry, TaskContext
from a2a_server.engine.monitoring import LOOKED, Monitor, alerts_of
from a2a_server.engine.thresholds import Alert, Threshold
from a2a_server.errors import ConfigurationError
from a2a_server.lifecycle.limits import SetLimit
from a2a_server.lifecycle.turn import Turn
from a2a_server.model.commands import Answered, Command
from a2a_server.model.objects import Phase, Scope, State
from a2a_server.model.queries import Page, RowQuery, Table
from a2a_server.model.rows import GateRow, Key
from a2a_server.model.turns import Needs
from a2a_server.policy import SECOND, Trip
from a2a_server.service.sizing import Sizing
from a2a_server.settings import load
from a2a_server.stores.sqlite import SqliteStore
from a2a_server.stores.sqlite_lock import FileLock
from a2a_server.telemetry.metrics import Metrics
from a2a_server.web.management.commanding import Commands
from a2a_server.web.management.monitoring import MonitoringPages
from a2a_server.wiring.monitored import ledger_of
from tests.patience import PATIENCE
from tests.server.engines import LONG, Running, running
from tests.server.waiting import until

HIGH = {
    Threshold.TASK_DURATION: 3600.0,
    Threshold.RESOURCE_USAGE: 1.0,
    Threshold.DEPENDENCY_WAIT: 3600.0,
    Threshold.FAILURE_RATE: 1.0,
}


class Stage:
    """An agent that holds, fails and tries again, and monitors of its server."""

    def __init__(self) -> None:
        self.agent = Agent("Stage")
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)
        self.ahead = 0
        self.metrics = Metrics(())
        self.later: Callable[[], None] = lambda: None

        @self.agent.skill(max_concurrency=2)
        async def act(task: TaskContext, text: str) -> str:
            if text == "fail":
                raise Fail("No.")
            if text == "twice" and task.attempt == 1:
                self.later()
                raise Retry("Not yet.", after_seconds=0.01)
            if text in {"hold", "twice"}:
                self.begun.release()
                await self.go.wait()
            return text

    def monitor(self, server: Running, interval_seconds: float = 0, **thresholds: float) -> Monitor:
        store = server.engine.backends.store
        limits = HIGH | {Threshold(name): limit for name, limit in thresholds.items()}
        return Monitor(
            store,
            store,
            limits,
            interval_seconds=interval_seconds,
            clock=lambda: server.engine.clock() + self.ahead,
            random=Random(1),  # noqa: S311 - spreads looks, guards nothing
            observer=self.metrics,
        )

    def counted(self, threshold: str, change: str) -> float:
        line = f'a2a_alerts_total{{change="{change}",threshold="{threshold}"}} '
        text = self.metrics.exposition("")[0].decode()
        return float(text.partition(line)[2].split("\n")[0])


@dataclass(frozen=True)
class Wait:
    """An operation: the task waits for others."""

    key: Key
    urgent: bool = True
    weight: int = 1

    def needs(self, needs: Needs, shard: str) -> None:
        needs.tasks.add(self.key)

    def decide(self, turn: Turn) -> None:
        turn.put(turn.rows[self.key]._replace(phase=Phase.WAITING, due_at=0))


def only(alerts: object) -> Alert:
    assert isinstance(alerts, list)
    [alert] = alerts
    assert isinstance(alert, Alert)
    return alert


async def test_a_task_that_runs_for_too_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path) as server:
        monitor = stage.monitor(server, task_duration=60)
        task_id = await server.start("hold")
        await stage.begun.acquire()
        assert await monitor.look() == []
        stage.ahead = 61 * SECOND
        with caplog.at_level(logging.INFO, "a2a_server.engine.monitoring"):
            alert = only(await monitor.look())
            assert (alert.id, alert.tasks, alert.limit) == ("task_duration:(this agent)", (task_id,), 60)
            assert 61 <= alert.value < 120
            told = await told_of(server)
            assert (told.text, [one["tasks"] for one in cast("Any", told.data["alerts"])]) == (alert.text, [[task_id]])
            assert only(await monitor.look()).since == alert.since
            stage.go.set()
            await server.reached(task_id, State.COMPLETED)
            assert await monitor.look() == []
        assert [record.message.partition(":")[0] for record in caplog.records] == ["Alert", "Alert over"]
        assert only(await alerts_of(server.store)).active is False
        assert (stage.counted("task_duration", "raised"), stage.counted("task_duration", "cleared")) == (1, 1)


async def told_of(server: Running) -> Answered:
    """The alerts as the task manager lists them."""
    sizing = Sizing(server.system.usage)
    routes = MonitoringPages(server.engine, server.store, sizing).routes()
    commands = Commands(routes, server.engine.agent, sizing, lambda: True)
    return await commands.answer(Scope(), Command("listAlerts", {"active": True}), "")


@pytest.mark.embedded
async def test_a_later_run_counts_from_its_own_claim(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path, lease_seconds=3600) as server:
        inner = server.store.inner
        assert isinstance(inner, SqliteStore)
        stage.later = lambda: setattr(inner, "_offset", 1000 * SECOND)  # the second run comes long after the first
        task_id = await server.start("twice")
        await stage.begun.acquire()
        claimed = (await server.row(task_id)).status_at
        stage.ahead = claimed + 30 * SECOND - server.engine.clock()
        assert await stage.monitor(server, task_duration=60).look() == []
        stage.ahead += 60 * SECOND
        assert only(await stage.monitor(server, task_duration=60).look()).tasks == (task_id,)
        stage.go.set()


async def test_a_task_that_waits_for_others_for_too_long(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path) as server:
        monitor = stage.monitor(server, dependency_wait=60)
        task_id = await server.start("one", delaySeconds=3600)
        await server.engine.submit(Wait((await server.row(task_id)).key))
        assert await monitor.look() == []
        stage.ahead = 61 * SECOND
        alert = only(await monitor.look())
        assert (alert.threshold, alert.tasks, alert.count) == (Threshold.DEPENDENCY_WAIT, (task_id,), 1)
        await server.cancel(task_id)
        assert await monitor.look() == []


async def test_a_limit_and_slots_that_are_nearly_used_up(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path, slots=2, threads=1) as server:
        monitor = stage.monitor(server, resource_usage=0.6)
        tasks = [await server.start("hold")]
        await stage.begun.acquire()
        assert await monitor.look() == []
        tasks.append(await server.start("hold"))
        await stage.begun.acquire()
        alerts = await monitor.look()
        assert alerts is not None
        assert {(alert.subject, alert.value) for alert in alerts} == {
            ("skill:act", 1.0),
            ("slots of (this agent)", 0.6667),
        }
        stage.go.set()
        for task_id in tasks:
            await server.reached(task_id, State.COMPLETED)
        assert await monitor.look() == []


async def test_turns_of_conversations_and_breakers_are_no_resources(tmp_path: Path) -> None:
    stage = Stage()

    @stage.agent.skill(context="serial")
    async def talk(text: str) -> str:
        if text == "fail":
            raise Fail("No.")
        stage.begun.release()
        await stage.go.wait()
        return text

    async with running(stage.agent, tmp_path, slots=9, threads=1) as server:
        monitor = stage.monitor(server, resource_usage=0.9)
        await server.engine.submit(SetLimit("breaker:talk", Trip(1, 1)))
        await server.send("fail", skill="talk")
        task_id = await server.start("hold", skill="talk")
        await stage.begun.acquire()
        gates = (await server.store.rows(RowQuery(Table.GATE))).rows
        full = [gate.key for gate in gates if isinstance(gate, GateRow) and gate.used == gate.capacity]
        assert {key.partition(":")[0] for key in full} == {"breaker", "context"}
        assert await monitor.look() == []
        stage.go.set()
        await server.reached(task_id, State.COMPLETED)


async def test_too_many_failures_since_the_last_look(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path) as server:
        monitor = stage.monitor(server, failure_rate=0.1)
        for _ in range(10):
            await server.send("fail")
        assert await monitor.look() == []  # the first look: there is nothing to compare with
        for text in ["fail"] * 2 + ["one"] * 8:
            await server.send(text)
        alert = only(await monitor.look())
        assert (alert.id, alert.value) == ("failure_rate:(this agent)", 0.2)
        for _ in range(10):
            await server.send("one")
        assert await monitor.look() == []


async def test_once_in_an_interval_whoever_looks(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path) as server:
        one, other = (stage.monitor(server, 300, task_duration=1) for _ in range(2))
        assert await one.look() == []
        assert await other.look() is None
        stage.ahead = 300 * SECOND
        assert await other.look() == []
        assert await one.look() is None


async def test_of_two_that_look_at_the_same_time_one_counts(tmp_path: Path) -> None:
    stage = Stage()
    async with running(stage.agent, tmp_path) as server:
        await server.start("hold")
        await stage.begun.acquire()
        stage.ahead = 61 * SECOND
        monitors = [stage.monitor(server, task_duration=60) for _ in range(2)]
        decided = 0

        def looked(needs: Needs) -> bool:
            nonlocal decided
            decided += LOOKED in needs.records
            return LOOKED in needs.records

        await server.hold(looked)
        looks = [asyncio.create_task(monitor.look()) for monitor in monitors]
        await until(lambda: decided == 2)  # each has seen what the other one has not changed yet
        server.store.gate.set()
        found = await asyncio.gather(*looks)
        assert found.count(None) == 1
        assert stage.counted("task_duration", "raised") == 1
        stage.go.set()


@pytest.mark.embedded
async def test_alerts_live_in_a_database_of_their_own_where_one_is_named(tmp_path: Path) -> None:
    stage = Stage()
    manager = {"databases": {"monitoring": "alerts.db"}}  # beside the store
    for _ in range(2):  # the second server finds the database as the first one left it
        async with running(stage.agent, tmp_path, task_manager=manager) as server:
            monitor = server.system.monitor
            await monitor.look()
            assert (tmp_path / "alerts.db").exists()
            assert await server.store.rows(RowQuery(Table.RECORD, ("alert",))) == Page([], more=False)
            assert (await monitor.look(), await monitor.look()) == (None, None)  # the first one was noted there
            with pytest.raises(ConfigurationError):
                FileLock(tmp_path / "alerts.db").acquire()


async def test_the_settings_reach_the_servers_own_monitor(tmp_path: Path) -> None:
    stage = Stage()
    manager = {"alert_thresholds": {"resource_usage": 0.4}, "monitoring_interval": 0.01}
    async with running(stage.agent, tmp_path, slots=1, threads=1, task_manager=manager) as server:
        await server.start("hold")
        found: set[str] = set()
        async with asyncio.timeout(PATIENCE):
            while len(found) < 2:
                found = {alert.subject for alert in await alerts_of(server.store)}
                await asyncio.sleep(0.01)
        assert found == {"skill:act", "slots of (this agent)"}
        stage.go.set()


async def test_what_is_due_is_looked_for_in_every_scheduling_interval(tmp_path: Path) -> None:
    stage = Stage()
    manager = {"scheduling_interval": 0.05}
    async with running(stage.agent, tmp_path, poll_seconds=LONG, task_manager=manager) as server:
        sweeps = server.system.metrics._sweeps
        await until(lambda: sweeps["ring_alarms", True] >= 10)


def test_processes_that_share_tasks_need_a_database_of_alerts_that_they_share_too() -> None:
    shared = {"store": "postgresql://127.0.0.1/tasks", "artifacts": "store://"}
    with pytest.raises(ConfigurationError, match=r"is served by one process alone, and .* by several"):
        ledger_of(load(None, **shared, task_manager={"databases": {"monitoring": "sqlite:///alerts.db"}}))
    for name in ("", "alerts"):  # a bare name, as the documents' file has it, has no file to be beside
        assert ledger_of(load(None, **shared, task_manager={"databases": {"monitoring": name}})) is None
    same = {"databases": {"monitoring": "postgresql://127.0.0.1/tasks"}}
    assert ledger_of(load(None, **shared, task_manager=same)) is None
