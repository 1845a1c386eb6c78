"""The processor time of runs, and the distributions that they are kept as."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from a2a_server.context import metering
from a2a_server.context.metering import METER, Meter, Stepped, in_thread
from a2a_server.engine.usage import FINENESS, MOST_RUNS, Distribution

WORK = 0.1
"""Seconds of processor time."""


class Clock:
    """In place of the module `time`: the clock of each thread, which moves only when the thread works."""

    def __init__(self) -> None:
        self._threads = Counter[int]()

    def work(self) -> str:
        self._threads[threading.get_ident()] += round(WORK * 1e9)
        return "done"

    def thread_time_ns(self) -> int:
        return self._threads[threading.get_ident()]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(metering, "time", clock)
    return clock


def work(seconds: float = WORK) -> str:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return "done"


async def metered(coroutine: Coroutine[Any, Any, object]) -> tuple[object, float]:
    meter = Meter()
    result = await Stepped(coroutine, meter)
    return result, meter.seconds


async def test_each_step_of_a_coroutine_counts(clock: Clock) -> None:
    async def run() -> str:
        clock.work()
        await asyncio.sleep(0.001)
        return clock.work()

    assert await metered(run()) == ("done", 2 * WORK)


async def test_what_others_do_while_it_waits_is_not_its_own(clock: Clock) -> None:
    done = asyncio.Event()

    async def other() -> None:
        clock.work()
        done.set()

    task = asyncio.create_task(other())
    assert await metered(done.wait()) == (True, 0.0)
    await task


async def test_it_is_the_time_of_the_processor_that_counts() -> None:
    async def run() -> None:
        work()
        threading.Event().wait(0.3)

    began = time.thread_time()
    _, seconds = await metered(run())
    assert WORK <= seconds <= time.thread_time() - began


async def test_generators_and_inner_tasks_end_and_raise_as_without() -> None:
    async def pieces() -> AsyncIterator[int]:
        for piece in range(3):
            await asyncio.sleep(0)
            yield piece

    async def run() -> list[int]:
        found = [piece async for piece in pieces()]
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        return found

    assert (await metered(run()))[0] == [0, 1, 2]

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await metered(fails())


async def test_a_cancellation_reaches_the_coroutine_and_may_be_answered() -> None:
    heard: list[str] = []

    async def run() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("canceled")
            await asyncio.sleep(0)  # it may still wait while it cleans up
            heard.append("clean")
            raise
        return "never"

    task = asyncio.create_task(metered(run()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["canceled", "clean"]


async def test_a_timeout_inside_is_a_timeout() -> None:
    async def run() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            return "late"
        return "never"

    assert (await metered(run()))[0] == "late"


def test_work_in_a_thread_counts_there(clock: Clock) -> None:
    meter = Meter()

    def handed() -> str:
        METER.set(meter)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(in_thread(clock.work)).result()

    assert contextvars.copy_context().run(handed) == "done"
    assert meter.seconds == WORK
    assert in_thread(work) is work  # nothing is measured where nobody asked


def test_quantiles_are_right_to_a_step_and_never_too_low() -> None:
    found = Distribution()
    values = [0.001 * number for number in range(1, 1001)]
    for value in values:
        found.add(value)
    for part, exact in ((0.5, 0.5), (0.95, 0.95), (1.0, 1.0)):
        assert exact <= found.quantile(part) * 1.000001 <= exact * 2 ** (1 / FINENESS) * 1.000001


def test_distributions_add_up_and_forget_slowly() -> None:
    one, other = Distribution(), Distribution()
    one.add(1.0)
    for _ in range(3):
        other.add(4.0)
    one.merge(other)
    assert (one.total, one.quantile(0.25), one.quantile(0.5)) == (4, 1.0, 4.0)
    many = Distribution()
    for _ in range(MOST_RUNS):
        many.add(2.0)
    one.merge(many)
    assert one.total == MOST_RUNS // 2 + 1
    assert one.quantile(0.5) == 2.0


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Distribution().quantile(0.5)
