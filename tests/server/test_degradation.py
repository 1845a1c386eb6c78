"""The table of docs/scaling.md, "What happens when a part is away": every row of it is held to by tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

pytestmark = pytest.mark.embedded

SCALING = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"

HINTS = "tests.server.test_degradation_hints"
STORE = "tests.server.test_degradation_store"
OBJECTS = "tests.server.test_degradation_objects"
FLEET = "tests.server.test_fleet"

ROWS = {
    "a worker process": (
        f"{FLEET}.test_a_lost_worker_is_replaced_by_another_process",
        "tests.acceptance.test_cluster.test_a_worker_that_drains_hands_over",
    ),
    "a server process": (f"{FLEET}.test_a_stream_is_whole_wherever_it_is_read_and_resumed",),
    "Redis, RabbitMQ, SQS (queue)": (
        f"{HINTS}.test_redis_may_go_and_come_back_under_load",
        f"{HINTS}.test_redis_may_be_flushed_all_the_time",
        f"{HINTS}.test_any_queue_may_be_away",
    ),
    "the notifier": (
        f"{HINTS}.test_answers_and_streams_need_no_doorbells",
        f"{HINTS}.test_there_need_not_be_a_notifier",
    ),
    "the store, shortly": (
        f"{STORE}.test_runs_go_on_while_the_store_is_away_for_less_than_a_lease",
        f"{STORE}.test_what_was_acknowledged_is_there_after_an_immediate_stop",
        f"{STORE}.test_requests_are_refused_while_the_store_is_away",
    ),
    "the store, for longer than a lease": (f"{STORE}.test_runs_begin_again_after_the_store_was_away_for_longer",),
    "S3 (objects)": (
        f"{OBJECTS}.test_large_artifacts_wait_for_s3_and_nothing_else_does",
        f"{OBJECTS}.test_a_task_gives_up_where_s3_stays_away",
    ),
    "one host's clock is wrong": (f"{FLEET}.test_a_host_whose_clock_is_wrong_ends_no_run_too_early",),
}


def test_every_row_of_the_table_has_tests() -> None:
    table = SCALING.read_text(encoding="utf-8").partition("## What happens when a part is away")[2]
    table = table.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert rows[2:] == list(ROWS)
    for tests in ROWS.values():
        for test in tests:
            module, _, name = test.rpartition(".")
            assert callable(getattr(import_module(module), name)), test
