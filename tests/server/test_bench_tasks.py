"""Every row about task management runs, with a few tasks of each kind: on real servers and services."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.costs import Bench, Series
from tests.bench.counts import QUICK
from tests.bench.load import Broken
from tests.bench.rows import Row
from tests.bench.scale.places import spread
from tests.bench.servers import Failed
from tests.bench.tasks import batches, watching
from tests.bench.tasks.amounts import TaskCounts
from tests.bench.tasks.rows import TASKS
from tests.services import Missing, needed

pytestmark = pytest.mark.embedded

TINY = TaskCounts(
    rounds=2,
    stored=600,
    calls=1,
    echoes=1,
    batch=5,
    large=10,
    few=10,
    many=20,
    claims=8,
    allocated=100,
    hints=100,
    sent=100,
    operations=4,
    watched=2,
    notes=2,
    graph=7,
)
API = [row for row in TASKS if row.name.startswith("tasks-api-")]
OTHERS = [row for row in TASKS if row not in API]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(watching, "_START_SECONDS", 0.3)
    for module in (batches, watching):
        monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    with spread(sorted(os.sched_getaffinity(0))):  # a bench takes a core for itself
        counts = replace(QUICK, rounds=2, close_rounds=2, seconds=0.05, tasks=TINY)
        made = Bench(tmp_path, counts, lambda _: None)
    yield made
    made.services.close()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in OTHERS])
async def test_a_row_is_measured_with_a_few_of_everything(
    row: Row, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        series = await row.measure(bench)
    except Broken as error:
        if row.measure is not watching.watching or "streams of" not in str(error):
            raise
        monkeypatch.setattr(watching, "_START_SECONDS", 5.0)  # the tasks began before all watched
        series = await row.measure(bench)
    except Failed as error:
        if isinstance(error.__cause__, Missing):
            with needed():
                raise error.__cause__ from None
        raise
    _complete(row, series)


async def test_every_call_of_the_api_is_measured_and_does_what_it_says(bench: Bench) -> None:
    for row in API:
        _complete(row, await row.measure(bench))  # one measurement for them all


def _complete(row: Row, series: Series) -> None:
    """Every claim's sides were measured as often as the others."""
    named = {side for claim in row.claims for side in (claim.side, claim.against)}
    assert named <= series.keys()
    assert {len(values) for values in series.values()} == {2}
    assert all(value > 0 for values in series.values() for value in values)
