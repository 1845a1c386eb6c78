"""What skills take, and what their tasks had best ask for: shown to operators, and applied by nobody by itself.

estimate: of the duration of a task that says none: the median of the skill's runs so far, and their p95. Suggestions:
`requires.cpu` = p95 of processor time ÷ median of duration, with a fifth on top, in tenths of a core; and
`requires.durationSeconds` = p95 of duration. Runs that failed are no part of it: they end early, or late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from a2a_server.engine.usage import Taken, Usage
from a2a_server.policy import queue_of

FEWEST = 5
"""Fewer runs than this make no estimate."""
MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a task of a skill takes. Seconds; runs: how many it is made of."""

    median_seconds: float
    p95_seconds: float
    runs: int


@dataclass(frozen=True, slots=True)
class Sized:
    """A skill's measurements, and what its tasks had best require. None = processor time was not measured."""

    skill: str
    duration: Estimate
    cpu: Estimate | None
    requires_cpu: float | None


class Sizing:
    """Reads what was measured. Concurrency: any number of callers in the event loop."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def estimate(self, agent: str, skill: str) -> Estimate | None:
        """How long a task of the skill takes, as far as known; None = too few have ended."""
        taken = (await self._usage.known()).get(queue_of(agent, skill))
        return None if taken is None else _estimate(taken)

    async def report(self) -> Sequence[Sized]:
        """Every skill of which enough runs have ended, by name."""
        known = sorted((await self._usage.known()).items())
        return [_sized(place, taken, duration) for place, taken in known if (duration := _estimate(taken)) is not None]


def _estimate(taken: Taken) -> Estimate | None:
    runs = taken.wall.total
    return None if runs < FEWEST else Estimate(taken.wall.quantile(0.5), taken.wall.quantile(0.95), runs)


def _sized(place: str, taken: Taken, duration: Estimate) -> Sized:
    if taken.cpu.total < FEWEST:
        return Sized(place, duration, None, None)
    cpu = Estimate(taken.cpu.quantile(0.5), taken.cpu.quantile(0.95), taken.cpu.total)
    cores = MARGIN * cpu.p95_seconds / duration.median_seconds
    return Sized(place, duration, cpu, max(0.1, math.ceil(cores * 10) / 10))
