"""Tunes how many runs a worker takes at once, from what they cost. Off unless the settings ask for it.

Theory of operation: additive steps would take minutes from a few slots to a thousand, so slots grow by a part of
themselves while they are nearly all in use and the processor is not; when it is, more runs at once only make each of
them slower, so slots shrink by a part towards cores + 1. Between the two nothing changes, which keeps a load that lies
there from swinging. What is measured over a period: the share of slots in use (its mean over some samples), the
processor time that the event loop's thread (coroutines) or the process (threads) had or stood in line for, and how
late the loop was at worst. Time in line counts because on a machine that others use too a process that only computes
has little of the processor, and would seem idle; where the system does not tell it (Linux does), time had counts.

Weakness: what else the process does, requests and all, counts as if runs did it.

Source: D. Chiu, R. Jain, "Analysis of the Increase and Decrease Algorithms for Congestion Avoidance", 1989.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from a2a_server.engine.worker import Worker
from a2a_server.telemetry.observer import SILENT, Observer

PERIOD_SECONDS: Final = 2.0
SAMPLES: Final = 10
"""Samples of a period."""
FULL: Final = 0.9
"""Share of slots in use from which on more are wanted."""
BUSY: Final = 0.9
"""Share of one core's time from which on the processor is what is short."""
CALM: Final = 0.7
"""Share of it up to which slots may grow."""
LATE_SECONDS: Final = 0.1
"""How late the event loop may be."""
GROWTH: Final = 0.25
SHRINKING: Final = 0.7

_log = logging.getLogger("a2a_server.engine.optimising")


class Measured(NamedTuple):
    """What a period was like.

    used: mean share of slots in use. busy: processor seconds per second, had or waited for. late: seconds.
    """

    used: float
    busy: float
    late: float


class Decision(NamedTuple):
    """How many slots there are from now on, and why, in a few words ('' = nothing changes)."""

    size: int
    why: str


def decided(size: int, measured: Measured, *, least: int, most: int) -> Decision:
    """What follows from a period with `size` slots: never fewer than `least`, unless `most` is, or more than `most`."""
    least = min(least, most)
    short = measured.busy >= BUSY or measured.late >= LATE_SECONDS
    wanted = size
    if short and size > least:
        wanted = int(size * SHRINKING)
    elif not short and measured.busy <= CALM and measured.used >= FULL:
        wanted = size + max(1, int(size * GROWTH))
    wanted = max(least, min(most, wanted))
    if wanted == size:
        return Decision(size, "")
    if wanted < size:
        return Decision(wanted, "the processor is busy" if measured.busy >= BUSY else "the event loop is late")
    return Decision(wanted, "slots are full and the processor is not" if measured.used >= FULL else "the least")


class Optimiser:
    """Tunes one worker's slots until it is canceled. Concurrency: belongs to the event loop.

    worker: the one of the moment. slots, threads: the most that there may be.
    """

    def __init__(
        self,
        worker: Callable[[], Worker],
        *,
        slots: int,
        threads: int,
        cores: int = 0,
        observer: Observer = SILENT,
    ) -> None:
        self._worker = worker
        self._most = {False: slots, True: threads}
        self._least = (cores or os.cpu_count() or 1) + 1
        self._observer = observer

    async def run(self) -> None:
        """Begin with the least, then measure and decide for ever."""
        for threaded, most in self._most.items():
            self._worker().resize(min(self._least, most), threaded=threaded)
        while True:
            for threaded, measured in (await self._measured()).items():
                self.apply(measured, threaded=threaded)

    def apply(self, measured: Measured, *, threaded: bool) -> None:
        """Decide, and resize the worker."""
        worker = self._worker()
        size = worker.used[threaded][1]
        decision = decided(size, measured, least=self._least, most=self._most[threaded])
        if decision.size == size:
            return
        worker.resize(decision.size, threaded=threaded)
        kind = "threads" if threaded else "slots"
        _log.info(
            "The worker has %d %s instead of %d: %s.",
            decision.size,
            kind,
            size,
            decision.why,
            extra={"used": round(measured.used, 3), "busy": round(measured.busy, 3), "late": round(measured.late, 4)},
        )
        self._observer.resized(threaded=threaded, grown=decision.size > size)

    async def _measured(self) -> dict[bool, Measured]:
        loop = asyncio.get_running_loop()
        used, late = {False: 0.0, True: 0.0}, 0.0
        began_at, before = loop.time(), processor_seconds()
        for _ in range(SAMPLES):
            due = loop.time() + PERIOD_SECONDS / SAMPLES
            await asyncio.sleep(PERIOD_SECONDS / SAMPLES)
            late = max(late, loop.time() - due)
            for threaded, (taken, size) in self._worker().used.items():
                used[threaded] += taken / max(1, size) / SAMPLES
        seconds = loop.time() - began_at
        now = processor_seconds()
        return {kind: Measured(used[kind], (now[kind] - before[kind]) / seconds, late) for kind in (False, True)}


def processor_seconds() -> dict[bool, float]:
    """Processor time that this thread, and (True) the process's threads of the moment, have had or stood in line for.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
    """
    try:
        own = _scheduled(Path("/proc/thread-self/schedstat"))
        every = sum(_scheduled(path) for path in Path("/proc/self/task").glob("*/schedstat"))
    except (OSError, ValueError):
        return {False: time.thread_time(), True: time.process_time()}
    if not own:  # a kernel that does not count has zeros
        return {False: time.thread_time(), True: time.process_time()}
    return {False: own, True: every}


def _scheduled(path: Path) -> float:
    had, in_line, _ = path.read_text().split()
    return (int(had) + int(in_line)) / 1e9
