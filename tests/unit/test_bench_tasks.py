"""What the rows about task management make of their measurements, and what they measure on."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from a2a_server.model.objects import Phase, State
from a2a_server.queues.memory import MemoryQueue
from a2a_server.stores.sqlite import SqliteStore
from tests.bench.costs import Bench, Series
from tests.bench.counts import FULL, QUICK
from tests.bench.pairing import Claim, Verdict
from tests.bench.report import Outcome, Report
from tests.bench.rows import ROWS, Row
from tests.bench.scale.places import spread
from tests.bench.scale.rows import SCALE
from tests.bench.servers import Failed
from tests.bench.tasks import api, batches, claims, hints
from tests.bench.tasks.filling import multiply
from tests.bench.tasks.rows import TASKS
from tests.bench.tasks.table import markdown
from tests.bench.tasks.turning import together, turned
from tests.unit.turns import submit


def test_rows_about_tasks_are_a_group_of_their_own_with_the_limits_that_are_asked_for() -> None:
    every = (*ROWS, *SCALE, *TASKS)
    assert len({row.name for row in every}) == len(every)
    assert all(row.name.startswith("tasks-") and not row.peers for row in TASKS)
    assert [row.name for row in TASKS if not row.claims] == ["tasks-same"]
    limits = {row.name: {claim.limit for claim in row.claims} - {None} for row in TASKS}
    assert limits == {
        "tasks-same": set(),
        **{f"tasks-api-{group}": {1.0} for group in api.GROUPS},
        "tasks-batch": {1 / 4.5},
        "tasks-ready": {1.3},
        "tasks-gates": {1.3},
        "tasks-queue-memory": {1 / 3},
        "tasks-queue-redis": {1 / 3},
        "tasks-resources": {1 / 2},
        "tasks-sqlite": {1 / 4},
        "tasks-postgresql": {1 / 4},
        "tasks-watching": {1 / 2.5},
        "tasks-graph": {3.0},
    }


def test_sizes_are_those_that_the_rows_name_however_long_is_measured() -> None:
    for counts in (QUICK.tasks, FULL.tasks):
        assert (counts.stored, counts.few, counts.many) == (100_000, 1_000, 100_000)
        assert (counts.batch, counts.large, counts.graph) == (1_000, 10_000, 5_000)


def test_calls_of_the_api_have_names_of_their_own_and_enough_tasks_to_end() -> None:
    assert len({ask.name for ask in api.ASKS}) == len(api.ASKS)
    known = api.Known("done", "tied", "cursor", "batch", "since", "until", iter(map(str, range(2))), iter("w" * 25))
    for ask in api.ASKS:
        ask.make(known)  # takes no more of them in a turn than are fetched for it
    assert next(known.waiting, None) is None, "as many are taken as are fetched"


def test_the_table_has_a_line_for_each_claim_and_says_where_it_was_measured() -> None:
    series: Series = {"together": [1.0, 1.2, 1.1], "alone": [4.0, 5.0, 4.5], "200 ms": [200.0] * 3}
    told = (Claim("together", "alone", 1 / 4, None), Claim("alone", "200 ms", None), Claim("absent", "alone", 1.0))
    report = Report("full", [_outcome("one", told, series), _outcome("same", (), series)], [], 12.0)
    found = markdown(report)
    first, _, *lines = found.splitlines()
    assert first.startswith("`scripts/bench --tasks --full`: ")
    assert first.endswith("; 12 s.")
    assert lines[2:] == [
        "| a thing | ms | together 1.1 | alone 4.5 | × 0.244 (0.24–0.25) | 0.25 | holds |",
        "|  |  | alone 4.5 | 200 ms | × 0.0225 (0.02–0.025) |  |  |",
        "| a thing | ms | together 1.1 | 200 ms | × 0.01 (0.01–0.01) |  |  |",
    ]
    assert "(not durable)" in markdown(Report("full", [], ["in memory"], 1.0))
    assert report.outcomes[0].findings[0].verdict is Verdict.HOLDS


def test_a_graph_has_no_circle_and_ties_all_of_its_tasks() -> None:
    tasks = batches.tied(50)
    upstreams = [[int(name[1:]) for name in task.get("dependsOn", ())] for task in tasks]
    assert upstreams[0] == []
    assert all(0 < len(places) <= 2 and max(places) < number for number, places in enumerate(upstreams) if number)


async def test_copies_are_tasks_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    store = SqliteStore(path)
    await store.open()
    await together(store, [submit((1 << 120) + number) for number in range(3)])
    await store.close()
    await multiply(path, 50)
    with closing(sqlite3.connect(path)) as db:
        counts = {
            table: db.execute(f"SELECT count(DISTINCT {column}) FROM {table}").fetchone()[0]  # noqa: S608 - our tables
            for table, column in (("task", "id"), ("message", "task"), ("event", "task"))
        }
        counted = db.execute("SELECT state, phase, sum(count) FROM tally GROUP BY state, phase").fetchall()
        strays = db.execute("SELECT count(*) FROM message WHERE task NOT IN (SELECT key FROM task)").fetchone()[0]
    assert counts == {"task": 50, "message": 50, "event": 50}
    assert counted == [(State.SUBMITTED, Phase.READY, 50)]
    assert strays == 0


@pytest.mark.parametrize("resource", [False, True])
async def test_a_claim_that_gets_less_is_no_fast_one(tmp_path: Path, resource: bool) -> None:
    async with claims.claimer(tmp_path / "new" / "tasks.db", resource=resource) as one:
        await one.add(4)
        await one.claimed(2, 4)
        await one.claimed(1, 1)  # the one that they are copies of
        with pytest.raises(Failed, match="a claim got 0 tasks instead of 1"):
            await one.claimed(1, 1)


async def test_an_operation_in_a_turn_of_its_own_says_what_it_came_to(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tasks.db")
    await store.open()
    try:
        assert (await turned(store, submit(1))).row.state is State.SUBMITTED
        assert [each.repeat for each in await together(store, [submit(1), submit(2)])] == [True, False]
    finally:
        await store.close()


async def test_hints_that_a_queue_keeps_are_no_fast_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with spread(sorted(os.sched_getaffinity(0))):  # a bench takes a core for itself
        bench = Bench(tmp_path, QUICK, lambda _: None)
    monkeypatch.setattr(hints, "_WAIT_SECONDS", 0.01)

    class Forgetful(MemoryQueue):
        def put(self, hints: object) -> None:
            """Lose them."""

    with pytest.raises(Failed, match="did not give back 1 hints"):
        await hints._measured(bench, Forgetful(), 1, 1)


def _outcome(name: str, made: tuple[Claim, ...], series: Series) -> Outcome:
    async def measure(bench: Bench) -> Series:
        await asyncio.sleep(0)
        return series

    return Outcome(Row(name, "a thing", "ms", made, measure, peers=False), series)
