"""What runs of each skill took so far: time, processor time, memory, storage, as distributions that can be added up.

A distribution is a count for each eighth of a doubling, so a quantile is right to about 9 % whatever the range, and
those of several processes are added without loss. Every process keeps its own since it last wrote, and adds that to the
skill's record from time to time; what a killed process had not written is lost, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from a2a_server.codec import decode, encode
from a2a_server.errors import ClientError, EngineError
from a2a_server.model.queries import RowQuery, Table
from a2a_server.model.rows import RecordKey, RecordRow
from a2a_server.model.runs import Used
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore

USAGE: Final = "usage"
"""The kind of record that a skill's usage is."""
FINENESS: Final = 8
"""Counts for each doubling."""
LEAST: Final = 1e-6
"""Whatever is less counts as this: a microsecond, or no byte."""
SHORTEST_SECONDS: Final = 0.01
"""Shorter runs say nothing about the cores that a run needs."""
MOST_RUNS: Final = 20_000
"""From so many runs on all counts are halved, so that what a skill takes now outweighs what it took long ago."""
WRITE_SECONDS: Final = 60.0
READ: Final = 1000

_log = logging.getLogger("a2a_server.engine.usage")


@dataclass(slots=True)
class Distribution:
    """How often a value fell into each step of its scale."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, value: float) -> None:
        """Count a value, seconds or bytes."""
        self.counts[math.ceil(math.log2(max(value, LEAST)) * FINENESS)] += 1

    def merge(self, other: Distribution) -> None:
        """Count all of the other's."""
        self.counts.update(other.counts)
        if self.total > MOST_RUNS:
            self.counts = Counter({step: count // 2 for step, count in self.counts.items() if count > 1})

    @property
    def total(self) -> int:
        """How many values there are."""
        return self.counts.total()

    def quantile(self, part: float) -> float:
        """The value that so much of all is at most, 0 to 1; an upper bound. Only where there are values."""
        wanted = part * self.total
        seen = 0
        for step in sorted(self.counts):
            seen += self.counts[step]
            if seen >= wanted:
                return float(2 ** (step / FINENESS))
        raise ValueError("a quantile of nothing")


@dataclass(slots=True)
class Taken:
    """What runs of a skill took: seconds of time, and where that was measured of processor time, and bytes.

    memory: only of runs that had the process to themselves: of others it may be anybody's. storage: that they wrote.
    cores: processor time ÷ time of the same run; only of runs of `SHORTEST_SECONDS` or more, as in shorter ones the
    beginning and the end of a run outweigh its work.
    """

    wall: Distribution = field(default_factory=Distribution)
    cpu: Distribution = field(default_factory=Distribution)
    memory: Distribution = field(default_factory=Distribution)
    storage: Distribution = field(default_factory=Distribution)
    cores: Distribution = field(default_factory=Distribution)

    @property
    def parts(self) -> tuple[Distribution, ...]:
        """All of them."""
        return self.wall, self.cpu, self.memory, self.storage, self.cores

    def merge(self, other: Taken) -> None:
        """Count all of the other's."""
        for part, more in zip(self.parts, other.parts, strict=True):
            part.merge(more)


class Usage:
    """Adds up what runs take. Concurrency: belongs to the event loop. store: where records are kept."""

    def __init__(self, store: TaskStore, random: Random) -> None:
        self._store = store
        self._random = random
        self._new: dict[str, Taken] = {}

    def note(self, place: str, used: Used, written_bytes: int | None = None) -> None:
        """A run ended well. place: the skill's queue; written_bytes: None = not measured."""
        if (taken := self._new.get(place)) is None:
            taken = self._new[place] = Taken()
        taken.wall.add(used.seconds)
        if used.cpu_seconds is not None:
            taken.cpu.add(used.cpu_seconds)
            if used.seconds >= SHORTEST_SECONDS:
                taken.cores.add(used.cpu_seconds / used.seconds)
        if used.memory_bytes is not None and not used.shared:
            taken.memory.add(used.memory_bytes)
        if written_bytes is not None:
            taken.storage.add(written_bytes)

    async def run(self) -> None:
        """Write from time to time, for ever."""
        while True:
            await asyncio.sleep(WRITE_SECONDS * self._random.uniform(0.8, 1.2))
            try:
                await self.write()
            except (EngineError, ClientError) as error:
                _log.warning("What runs took could not be written (%s); it is written later.", type(error).__name__)

    async def write(self) -> None:
        """Add what is new to the records. Raises what the store raises, and then it is still new."""
        for place in list(self._new):
            taken = self._new.pop(place)
            try:
                await self._add(place, taken)
            except BaseException:
                self._new.setdefault(place, Taken()).merge(taken)
                raise

    async def known(self) -> Mapping[str, Taken]:
        """All that is known by now, by the skill's queue."""
        page = await self._store.rows(RowQuery(Table.RECORD, (USAGE,), limit=READ))
        found = {row.id: _taken(row) for row in page.rows if isinstance(row, RecordRow)}
        for place, taken in self._new.items():
            found.setdefault(place, Taken()).merge(taken)
        return found

    async def of(self, place: str) -> Taken:
        """What is known by now of one skill, by its queue."""
        page = await self._store.rows(RowQuery(Table.RECORD, _key(place), limit=1))
        taken = next((_taken(row) for row in page.rows if isinstance(row, RecordRow)), Taken())
        if (new := self._new.get(place)) is not None:
            taken.merge(new)
        return taken

    async def _add(self, place: str, taken: Taken) -> None:
        key = _key(place)

        def decide(loaded: Loaded) -> Changes:
            row = loaded.records.get(key)
            whole = Taken() if row is None else _taken(row)
            whole.merge(taken)
            body = encode([sorted(part.counts.items()) for part in whole.parts])
            return Changes(records=[RecordRow(*key, 1 if row is None else row.rev + 1, 0, body)])

        needs = Needs()
        needs.records.add(key)
        await self._store.turn(needs, decide)


def _key(place: str) -> RecordKey:
    return RecordKey(USAGE, "", "", place)


def _taken(row: RecordRow) -> Taken:
    return Taken(*(Distribution(Counter(dict(part))) for part in decode(row.body)))
