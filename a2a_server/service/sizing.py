"""What skills take, and what their tasks had best ask for: shown to operators, and applied by nobody by itself.

Estimates are of past runs that ended well; runs that failed are no part of them: they end early, or late. A task that
says no duration has its skill's: the median, and the p95.

Suggestions, each with a fifth on top: `requires.cpu` = p95 of the cores that a run used (its processor time ÷ its own
duration), in tenths of a core, over runs of 0.01 s or more: of shorter ones none is made;
`requires.memoryBytes` = p95 of the process's growth over runs that had it to themselves, and `requires.storageBytes` =
p95 of what runs wrote, both in whole MiB. `requires.durationSeconds` = p95 of duration as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from a2a_server.codec import decode_spec
from a2a_server.engine.usage import Distribution, Taken, Usage
from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Requires
from a2a_server.model.rows import TaskRow
from a2a_server.policy import queue_of
from a2a_server.values import value_class

FEWEST = 5
"""Fewer runs than this make no estimate."""
MARGIN = 1.2
MEBIBYTE = 1 << 20

GIVEN = "given"
PAST_RUNS = "past runs"


@value_class(frozen=True, slots=True)
class Estimate:
    """What runs of a skill take, seconds or bytes; runs: how many it is made of."""

    median: float
    p95: float
    runs: int


@value_class(frozen=True, slots=True)
class Duration:
    """How long a task takes. source: who says so; seconds: as given, or the median of `runs` past runs, then with p95.

    A duration that was given has neither p95 nor runs.
    """

    source: str
    seconds: float
    p95_seconds: float | None = None
    runs: int | None = None


@value_class(frozen=True, slots=True)
class Sized:
    """A skill's measurements, and what its tasks had best require. None = it was not measured, or too seldom.

    memory, storage: bytes. cores: over runs that were long enough.
    """

    skill: str
    duration: Estimate
    cpu: Estimate | None
    memory: Estimate | None
    storage: Estimate | None
    cores: Estimate | None = None

    @property
    def requires_cpu(self) -> float | None:
        """Cores; None also where runs are too short to tell."""
        return None if self.cores is None else max(0.1, math.ceil(MARGIN * self.cores.p95 * 10) / 10)

    @property
    def requires_memory_bytes(self) -> int | None:
        """None also where runs need nothing worth asking for."""
        return _whole(self.memory)

    @property
    def requires_storage_bytes(self) -> int | None:
        """None also where runs write nothing."""
        return _whole(self.storage)


class Sizing:
    """Reads what was measured. Concurrency: any number of callers in the event loop."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    async def estimate(self, agent: str, skill: str) -> Estimate | None:
        """How long a task of the skill takes, seconds, as far as known; None = too few have ended."""
        return _estimate((await self._usage.of(queue_of(agent, skill))).wall)

    async def past(self, agent: str, skill: str) -> Duration | None:
        """How long a task of the skill takes, by its past runs; None = too few have ended."""
        known = await self.estimate(agent, skill)
        return None if known is None else Duration(PAST_RUNS, known.median, known.p95, known.runs)

    async def duration(self, row: TaskRow) -> Duration | None:
        """How long the task takes: what its sender says, else what past runs took; once it has ended only the former.

        None = nobody can say.
        """
        wishes = decode_spec(row.spec).wishes
        if given := given_duration(wishes.requires if wishes is not None else None):
            return given
        return None if row.state in TERMINAL else await self.past(row.agent, row.skill)

    async def report(self) -> Sequence[Sized]:
        """Every skill of which enough runs have ended, by name."""
        known = sorted((await self._usage.known()).items())
        return [_sized(place, taken, one) for place, taken in known if (one := _estimate(taken.wall)) is not None]


def given_duration(requires: Requires | None) -> Duration | None:
    """What the sender of a task says; None = nothing."""
    return Duration(GIVEN, requires.duration_seconds) if requires is not None and requires.duration_seconds else None


def _estimate(values: Distribution) -> Estimate | None:
    runs = values.total
    return None if runs < FEWEST else Estimate(values.quantile(0.5), values.quantile(0.95), runs)


def _sized(place: str, taken: Taken, duration: Estimate) -> Sized:
    cpu, memory, storage, cores = map(_estimate, (taken.cpu, taken.memory, taken.storage, taken.cores))
    return Sized(place, duration, cpu, memory, storage, cores)


def _whole(bytes_: Estimate | None) -> int | None:
    """With the margin, in whole MiB; None = not one byte."""
    if bytes_ is None or bytes_.p95 < 1:
        return None
    return math.ceil(MARGIN * bytes_.p95 / MEBIBYTE) * MEBIBYTE
