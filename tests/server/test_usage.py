"""What runs take: measured, journaled, added up over processes and restarts, and what follows from it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from a2a_server import Agent
from a2a_server.codec import decode
from a2a_server.errors import StoreUnavailable
from a2a_server.model.commands import Command
from a2a_server.model.objects import Scope, State, Task
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import JournalKind, JournalRow
from a2a_server.model.runs import Used
from a2a_server.service.sizing import FEWEST, Sizing
from a2a_server.web.management.commanding import Commands
from a2a_server.web.management.monitoring import MonitoringPages
from tests.server.engines import Running, running

WORK = 0.02


def spending() -> Agent:
    agent = Agent("Spending")

    def work() -> None:
        until = time.thread_time() + WORK
        while time.thread_time() < until:
            pass

    @agent.skill(id="waits")
    async def waits(text: str) -> str:
        await asyncio.sleep(0.01)
        return text

    @agent.skill(id="computes")
    async def computes(text: str) -> str:
        work()
        if text == "fail":
            raise ValueError
        return text

    @agent.skill(id="threaded")
    def threaded(text: str) -> str:
        work()
        return text

    return agent


async def lines(server: Running, task: Task) -> list[str]:
    page = await server.store.rows(RowQuery(Table.JOURNAL, ((await server.row(task.id)).key,)))
    rows = [row for row in page.rows if isinstance(row, JournalRow) and row.kind is JournalKind.LOG]
    return [str(decode(row.body)["text"]) for row in rows]


@pytest.mark.parametrize("skill", ["computes", "threaded"])
async def test_the_processor_time_of_a_run_is_in_its_journal(tmp_path: Path, skill: str) -> None:
    async with running(spending(), tmp_path, measure_usage=True) as server:
        before = time.process_time()
        task = await server.send(skill=skill)
        all_in_all = time.process_time() - before
        [line] = await lines(server, task)
        used, _, _ = line.removeprefix("Used ").partition(" ")
        assert WORK <= float(used) <= all_in_all
        waiting = await server.send(skill="waits")
        [line] = await lines(server, waiting)
        assert float(line.removeprefix("Used ").partition(" ")[0]) < WORK


async def test_a_failed_run_is_journaled_and_no_part_of_the_estimate(tmp_path: Path) -> None:
    async with running(spending(), tmp_path, measure_usage=True) as server:
        failed = await server.send("fail", skill="computes")
        assert failed.status.state is State.FAILED
        assert len(await lines(server, failed)) == 1
        assert await server.system.usage.known() == {}


async def test_without_the_setting_only_durations_are_known(tmp_path: Path) -> None:
    async with running(spending(), tmp_path) as server:
        sizing = Sizing(server.system.usage)
        for number in range(FEWEST):
            assert await sizing.estimate("", "waits") is None
            task = await server.send(f"{number}", skill="waits")
            assert await lines(server, task) == []
        estimate = await sizing.estimate("", "waits")
        assert estimate is not None
        assert (estimate.runs, 0.01 <= estimate.median <= estimate.p95) == (FEWEST, True)
        [sized] = await sizing.report()
        assert (sized.skill, sized.cpu, sized.requires_cpu) == ("waits", None, None)


async def test_what_was_measured_outlives_the_process_and_sizes_requests(tmp_path: Path) -> None:
    for half in range(2):
        async with running(spending(), tmp_path, measure_usage=True) as server:
            for number in range(3):
                await server.send(f"{half}.{number}", skill="computes")
            if not half:
                continue
            usage = server.system.usage
            sizing = Sizing(usage)
            told = MonitoringPages(server.engine, server.engine.backends.store, sizing).routes()
            commands = Commands((*await server.system.routes(), *told), server.engine.agent, sizing, lambda: True)
            answered = await commands.answer(Scope(), Command("reportSizing"), "")
            skills = answered.data["skills"]
            assert isinstance(skills, list)
            [shown] = skills
            assert isinstance(shown, dict)
            assert (shown["skill"], shown["runs"]) == ("computes", 6)
            assert "cpu" in str(shown["suggested"])
            new = {"text": "x", "skill": "computes", "delaySeconds": 60}
            made = await commands.answer(Scope(), Command("createTask", new), "k")
            task = (await commands.answer(Scope(), Command("getTask", {"taskId": made.data["id"]}), "")).data
            assert "past runs" in str(task["estimatedDuration"])
            assert task["estimatedDuration"] == made.data["estimatedDuration"]


async def test_cores_are_those_of_each_run_by_itself_and_of_none_that_is_too_short(tmp_path: Path) -> None:
    async with running(spending(), tmp_path) as server:
        usage = server.system.usage
        for _ in range(10):
            usage.note("short", Used(0.0002, 0.0003))
            usage.note("mixed", Used(0.02, 0.005))
        for _ in range(3):
            usage.note("mixed", Used(4.0, 1.0))
        await usage.write()
        mixed, short = await Sizing(usage).report()
        assert (short.skill, short.requires_cpu) == ("short", None)
        assert short.cpu is not None
        assert (mixed.skill, mixed.requires_cpu) == ("mixed", 0.3), "a quarter of a core, and a fifth on top"


async def test_two_processes_add_to_one_record(tmp_path: Path) -> None:
    async with running(spending(), tmp_path) as server:
        usage, store = server.system.usage, server.engine.backends.store
        other = type(usage)(store, server.engine._random)
        for one in (usage, other):
            for _ in range(3):
                one.note("waits", Used(1.0))
        await asyncio.gather(usage.write(), other.write())
        known = await other.known()
        assert known["waits"].wall.total == 6


async def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    async with running(spending(), tmp_path) as server:
        usage = server.system.usage
        usage.note("waits", Used(1.0, 0.5))
        server.store.down = True
        with pytest.raises(StoreUnavailable):
            await usage.write()
        server.store.down = False
        await usage.write()
        assert (await usage.known())["waits"].wall.total == 1
