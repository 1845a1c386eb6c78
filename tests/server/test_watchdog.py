"""A handler that blocks the event loop is named, and others are not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
import time

import pytest

from a2a_server import Agent
from a2a_server.engine.watchdog import Doing, Watchdog
from a2a_server.telemetry.observer import Observer
from a2a_server.testing import connect
from tests.server.waiting import until

BLOCK = 0.2
BLOCKED = 1.5
"""Long enough to be seen while it lasts, on a machine that is busy too."""


def blocking() -> None:
    """What a careless handler does, one call deeper and inside the standard library."""
    functools.reduce(lambda _, seconds: time.sleep(seconds), [BLOCKED], None)


def agent_of() -> Agent:
    agent = Agent("Careless")

    @agent.skill(id="blocks", default=True)
    async def blocks(text: str) -> str:
        blocking()
        return text

    @agent.skill(id="thread")
    def thread(text: str) -> str:
        time.sleep(BLOCKED)
        return text

    @agent.skill(id="waits")
    async def waits(text: str) -> str:
        await asyncio.sleep(BLOCKED)
        return text

    return agent


def named(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "blocked the event loop" in record.getMessage()]


async def test_a_handler_that_blocks_is_named_once_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async with connect(agent_of(), block_seconds=BLOCK) as server:
        task = await server.send("x")
        body, _ = server._system.metrics.exposition("")
    (record,) = named(caplog)
    lines, first = inspect.getsourcelines(blocking)
    fields = vars(record)
    assert (fields["skill"], fields["task"]) == ("blocks", task["id"])
    assert fields["file"] == __file__
    assert first < fields["line"] < first + len(lines)
    assert f"{__file__}:{fields['line']}" in record.getMessage()
    assert "blocking" in fields["function"]
    assert record.levelname == "WARNING"
    count = next(line for line in body.decode().splitlines() if line.startswith("a2a_loop_blocked_total "))
    assert float(count.rpartition(" ")[2]) >= 1


async def test_every_time_is_told() -> None:
    ear = Ear()
    dog = Watchdog(ear, lambda _: None, block_seconds=BLOCK)
    dog.start()
    try:
        for told in (1, 2):
            time.sleep(BLOCKED)  # noqa: ASYNC251 - this is what is looked for
            await until(lambda told=told: ear.blocked == told and ear.late > BLOCK)  # type: ignore[misc]  # bound in the loop
            ear.late = 0.0
    finally:
        dog.stop()
    assert not dog._thread.is_alive()


@pytest.mark.parametrize("skill", ["thread", "waits"])
async def test_threads_and_those_who_wait_are_not_named(skill: str, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(agent_of(), block_seconds=BLOCK) as server:
        await server.send("x", options={"skill": skill})
    assert not named(caplog)


class Ear(Observer):
    def __init__(self) -> None:
        self.blocked = 0
        self.late = 0.0

    def loop_late(self, seconds: float) -> None:
        self.late = max(self.late, seconds)

    def loop_blocked(self) -> None:
        self.blocked += 1


async def test_what_ended_before_the_thread_looked_is_told_by_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    dog = Watchdog(ear, lambda _: None, block_seconds=BLOCK)
    dog._wind()  # its thread does not run
    time.sleep(2 * BLOCK)  # noqa: ASYNC251 - this is what is looked for
    await until(lambda: ear.blocked == 1)
    assert dog._timer is not None
    dog._timer.cancel()
    assert "could not be seen" in caplog.text
    assert ear.late >= 2 * BLOCK - dog._every - 0.05


async def test_code_that_is_no_agents_is_named_by_its_line_only(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    dog = Watchdog(ear, lambda _: None, block_seconds=BLOCK)
    dog.start()
    try:
        time.sleep(BLOCKED)  # noqa: ASYNC251 - this is what is looked for
        await until(lambda: ear.blocked == 1)
    finally:
        dog.stop()
    record = next(record for record in caplog.records if "has stood still" in record.getMessage())
    assert vars(record)["file"] == __file__
    assert not named(caplog)


async def test_the_task_is_asked_for_from_the_watching_thread_by_the_asyncio_task() -> None:
    seen: list[tuple[asyncio.Task[object], int]] = []
    ear = Ear()

    def doing(task: asyncio.Task[object]) -> Doing:
        seen.append((task, threading.get_ident()))
        return Doing("skill", "task")

    dog = Watchdog(ear, doing, block_seconds=BLOCK)
    dog.start()
    try:
        time.sleep(BLOCKED)  # noqa: ASYNC251 - this is what is looked for
        await until(lambda: ear.blocked == 1)
    finally:
        dog.stop()
    assert {task for task, _ in seen} == {asyncio.current_task()}
    assert threading.get_ident() not in {thread for _, thread in seen}
