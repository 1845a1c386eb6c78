"""A handler that blocks the event loop is named, and others are not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable

import pytest

from a2a_server import Agent
from a2a_server.engine.watchdog import Doing, Watchdog
from a2a_server.telemetry.observer import Observer
from a2a_server.testing import connect
from tests.patience import PATIENCE
from tests.server.waiting import until

BLOCK = 0.2
BLOCKED = 1.5
"""Long enough to be seen, if it were what is looked for."""


class Told(logging.Handler):
    """Sets its event when the log names a handler."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if is_named(record):
            self.event.set()


def blocking(wait: Callable[[float], object]) -> None:
    """What a careless handler does, one call deeper and inside the standard library: until that is told."""
    functools.reduce(lambda _, seconds: wait(seconds), [PATIENCE], None)
    time.sleep(2 * BLOCK)  # and no second time


def agent_of(wait: Callable[[float], object] = time.sleep) -> Agent:
    agent = Agent("Careless")

    @agent.skill(id="blocks", default=True)
    async def blocks(text: str) -> str:
        blocking(wait)
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


def is_named(record: logging.LogRecord) -> bool:
    """Whether a handler of this file is; where the whole machine stands still, any code may be."""
    return "blocked the event loop" in record.getMessage() and vars(record)["file"] == __file__


def named(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if is_named(record)]


async def test_a_handler_that_blocks_is_named_once_with_its_line(caplog: pytest.LogCaptureFixture) -> None:
    told, log = Told(), logging.getLogger("a2a_server.engine.watchdog")
    log.addHandler(told)
    try:
        async with connect(agent_of(told.event.wait), block_seconds=BLOCK) as server:
            task = await server.send("x")
            body, _ = server._system.metrics.exposition("")
    finally:
        log.removeHandler(told)
    (record,) = named(caplog)
    lines, first = inspect.getsourcelines(blocking)
    fields = vars(record)
    assert (fields["skill"], fields["task"]) == ("blocks", task["id"])
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
        for _ in range(2):
            ear.late = 0.0
            block(ear)
            await until(lambda: ear.late > BLOCK)
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


def block(ear: Ear) -> None:
    """Keep the event loop from turning until that is told."""
    before, ends_at = ear.blocked, time.monotonic() + PATIENCE
    while ear.blocked == before:
        assert time.monotonic() < ends_at, "nobody told it"
        time.sleep(0.01)


async def test_what_ended_before_the_thread_looked_is_told_by_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    dog = Watchdog(ear, lambda _: None, block_seconds=BLOCK)
    dog._wind()  # its thread does not run
    time.sleep(2 * BLOCK)  # noqa: ASYNC251 - this is what is looked for
    await until(lambda: ear.blocked > 0)
    assert dog._timer is not None
    dog._timer.cancel()
    assert "could not be seen" in caplog.text
    assert ear.late >= 2 * BLOCK - dog._every - 0.05


async def test_code_that_is_no_agents_is_named_by_its_line_only(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    dog = Watchdog(ear, lambda _: None, block_seconds=BLOCK)
    dog.start()
    try:
        block(ear)
    finally:
        dog.stop()
    told = [record for record in caplog.records if "has stood still" in record.getMessage()]
    assert __file__ in {vars(record)["file"] for record in told}
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
        block(ear)
    finally:
        dog.stop()
    assert {task for task, _ in seen} == {asyncio.current_task()}
    assert threading.get_ident() not in {thread for _, thread in seen}
