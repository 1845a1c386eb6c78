"""A blocking send is answered soon after another system has done its task: few round trips behind its commit."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import cast

import pytest

from a2a_server.ports import TaskStore
from tests.server.crew import SPOKEN, Crew, texts
from tests.server.engines import LONG
from tests.server.fleet import fleet, shared_places
from tests.server.latency import Watched, added_latency
from tests.server.waiting import until

pytestmark = pytest.mark.embedded

MOST_ROUND_TRIPS = 10
SENDS = 9


@pytest.mark.parametrize("queue", ["redis", "store"])
async def test_an_answer_from_elsewhere_costs_few_round_trips(tmp_path: Path, queue: str) -> None:
    crew = Crew()
    with shared_places(tmp_path, queue=queue) as places:
        async with fleet(crew.agent, places, fronts=1, workers=1, poll_seconds=LONG) as made:
            [front], [worker] = made.fronts, made.workers
            counts = []
            for _ in range(SENDS):
                crew.go.clear()
                crew.halfway.clear()
                answer = asyncio.create_task(front.send("go", skill="speak"))
                await until(crew.halfway.is_set)
                watched = Watched(front.store.inner)
                front.store.inner = cast("TaskStore", watched)
                crew.go.set()
                task = await answer
                front.store.inner = watched.inner
                assert texts(task) == SPOKEN
                counts.append(watched.round_trips)
            assert 0 < statistics.median(counts) <= MOST_ROUND_TRIPS
            added = await added_latency(front, worker, 3)
            assert len(added.seconds) == 3
            assert min(added.seconds) > 0
            assert added.round_trips > 0
