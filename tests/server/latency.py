"""How long a blocking send at one system is answered after another system has committed its task's end.

`added_latency` gives seconds, and what they are to be compared with: round trips of the answering system's database.
Tests count calls instead, because no machine is quiet.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from a2a_server.lifecycle.states import TERMINAL
from a2a_server.model.objects import Scope
from a2a_server.model.turns import Changes, Loaded, Needs
from a2a_server.ports import TaskStore
from tests.server.engines import Running

TURN_ROUND_TRIPS = 5
"""BEGIN, locks, what stands beside them, the changes, COMMIT; a read is one."""

PROBES = 20


@dataclass
class Watched:
    """What a system's store is asked, and when it committed the end of a task. Put around the store of a `Running`."""

    inner: TaskStore
    calls: list[str] = field(default_factory=list)
    ended_at: float = 0.0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any method of the port
        method = getattr(self.inner, name)
        if not callable(method) or name == "beat":
            return method

        def called(*args: object, **named: object) -> Any:  # noqa: ANN401 - what the method returns
            self.calls.append(name)
            return method(*args, **named)

        return called

    async def turn(self, needs: Needs, decide: Callable[[Loaded], Changes]) -> Loaded:
        """The store's, which notes when an end was committed."""
        self.calls.append("turn")
        ends = False

        def watched(loaded: Loaded) -> Changes:
            nonlocal ends
            changes = decide(loaded)
            ends = any(row.state in TERMINAL for row in changes.tasks)
            return changes

        loaded = await self.inner.turn(needs, watched)
        if ends:
            self.ended_at = time.perf_counter()
        return loaded

    @property
    def round_trips(self) -> int:
        """Of the database, for all that was asked."""
        return sum(TURN_ROUND_TRIPS if name == "turn" else 1 for name in self.calls)


@dataclass(frozen=True)
class Added:
    """What `added_latency` found: seconds from commit to answer, of each send, and those of one round trip."""

    seconds: Sequence[float]
    round_trip_seconds: float

    @property
    def round_trips(self) -> float:
        """The median in multiples of one round trip."""
        return statistics.median(self.seconds) / self.round_trip_seconds


async def added_latency(front: Running, worker: Running, sends: int, **options: Any) -> Added:  # noqa: ANN401 - any option
    """Send one by one at `front`, which runs nothing; `worker` is the only one that runs. options: of each send."""
    watched = Watched(worker.store.inner)
    worker.store.inner = cast("TaskStore", watched)
    try:
        seconds = []
        for number in range(sends):
            await front.send(f"text {number}", **options)
            seconds.append(time.perf_counter() - watched.ended_at)
    finally:
        worker.store.inner = watched.inner
    return Added(seconds, await _round_trip_seconds(front))


async def _round_trip_seconds(front: Running) -> float:
    seconds = []
    for _ in range(PROBES):
        begun = time.perf_counter()
        await front.store.inner.find(Scope(), "", "no such task")
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
