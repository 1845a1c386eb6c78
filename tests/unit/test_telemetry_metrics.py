from __future__ import annotations

import math
import re

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from a2a_server.telemetry.catalogue import CATALOGUE, Metric
from a2a_server.telemetry.metrics import ENDS, WAITS, Metrics
from a2a_server.telemetry.observer import SILENT, Observer

FOREIGN = ("process_", "python_")
DOCUMENTS = {
    "tasks_created_total",
    "tasks_completed_total",
    "tasks_failed_total",
    "task_duration_seconds",
    "queue_size",
    "active_tasks",
}
UNITS = {"seconds", "bytes"}
SAFE = ("1.0", "send", 0, 0.1)


def families(metrics: Metrics, accept: str = "") -> dict[str, Family]:
    """By the catalogue's names: those of counters with `_total`."""
    body, content_type = metrics.exposition(accept)
    read = read_openmetrics if content_type.startswith("application/openmetrics-text") else read_text
    found = [*read(body.decode())]
    named = {family.name + ("_total" if family.type == "counter" else ""): family for family in found}
    assert len(named) == len(found)
    return named


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in families(metrics).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def lint(metric: Metric) -> list[str]:
    """What `promtool check metrics` would say, and more."""
    suffix = metric.name.removesuffix("_total").rpartition("_")[2]
    faults = {
        "name": not re.fullmatch(r"[a-z][a-z0-9_]*", metric.name) or "__" in metric.name,
        "owner": metric.name not in DOCUMENTS and not metric.name.startswith(("a2a_", "tasks_")),
        "total": (metric.kind == "counter") != metric.name.endswith("_total"),
        "unit": metric.unit in UNITS and suffix != metric.unit,
        "no unit": metric.unit not in UNITS and suffix in UNITS,
        "help": not re.fullmatch(r"[A-Z].*[^ ]\.", metric.help) or "\n" in metric.help,
        "buckets": (metric.kind == "histogram") != bool(metric.buckets) or [*metric.buckets] != sorted(metric.buckets),
        "labels": any(not re.fullmatch(r"[a-z_]+", name) or name in {"le", "quantile"} for name in metric.labels),
        "ids": bool({"id", "task", "tenant", "owner", "context", "worker", "key"} & {*metric.labels}),
        "reserved": metric.name.endswith(("_created", "_count", "_sum", "_bucket", "_info")),
    }
    return [name for name, is_fault in faults.items() if is_fault]


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_the_catalogue_follows_the_rules_of_prometheus(metric: Metric) -> None:
    assert lint(metric) == []


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (Metric("a2a_x", "counter", "tasks", "Text."), "total"),
        (Metric("a2a_x_total", "gauge", "tasks", "Text."), "total"),
        (Metric("a2a_x", "gauge", "seconds", "Text."), "unit"),
        (Metric("a2a_x", "gauge", "tasks", "text"), "help"),
        (Metric("x", "gauge", "tasks", "Text."), "owner"),
        (Metric("a2a_x", "histogram", "tasks", "Text."), "buckets"),
        (Metric("a2a_x", "gauge", "tasks", "Text.", {"task": "an id"}), "ids"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_the_lint_sees_faults(metric: Metric, fault: str) -> None:
    assert fault in lint(metric)


def test_names_are_unique_and_those_of_the_documents_are_there() -> None:
    names = [metric.name for metric in CATALOGUE]
    assert len(names) == len({*names})
    assert {*names} >= DOCUMENTS


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"])
def test_the_exposition_has_the_catalogue_and_nothing_else(accept: str) -> None:
    metrics = Metrics(["echo"])
    metrics.answered(*SAFE)
    metrics.swept("wake_held", done=True)
    metrics.waiting({("echo", "ready"): 1}, ["echo"])
    found = families(metrics, accept)
    own = {name: family for name, family in found.items() if not name.startswith(FOREIGN)}
    assert {name: (family.type, family.documentation) for name, family in own.items()} == {
        metric.name: (metric.kind, metric.help) for metric in CATALOGUE
    }
    for metric in CATALOGUE:
        labels = {name for sample in own[metric.name].samples for name in sample.labels} - {"le"}
        assert labels == {*metric.labels}, metric.name
    assert "process_resident_memory_bytes" in found
    assert "python_info" in found or "python" in found


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("Application/OpenMetrics-Text;version=0.0.1", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("a/b, application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (";;;=,=,version=x;" * 100, "text/plain; version=0.0.4; charset=utf-8"),
    ],
    ids=["none", "text", "any", "old-openmetrics", "second", "nonsense"],
)
def test_the_accept_header_chooses_the_format(accept: str, content_type: str) -> None:
    body, given = Metrics([]).exposition(accept)
    assert given == content_type
    assert body.endswith(b"# EOF\n") == content_type.startswith("application")


def test_series_that_are_known_beforehand_begin_at_zero() -> None:
    metrics = Metrics(["echo"])
    metrics.waiting({}, ["echo"])
    for name in ("tasks_created_total", "tasks_completed_total", "tasks_failed_total", "active_tasks"):
        assert value(metrics, name) == 0
    assert [value(metrics, "a2a_runs_ended_total", skill="echo", end=end) for end in ENDS] == [0] * len(ENDS)
    assert [value(metrics, "queue_size", queue="echo", phase=phase) for phase in WAITS] == [0] * len(WAITS)


def test_everything_that_is_told_is_counted() -> None:
    metrics = Metrics(["echo"])
    metrics.task_created()
    for state in ("completed", "failed", "canceled", "rejected"):
        metrics.task_ended(state, 0.5)
    metrics.task_ended("canceled", None)
    metrics.run_began("echo")
    metrics.run_ended("echo", "retried")
    metrics.turn(7, 0.25, committed=True)
    metrics.turn(9, 0.25, committed=False)
    metrics.rescued(3)
    metrics.lease_lost()
    metrics.swept("wake_held", done=False)
    metrics.answered("0.1", "get", -32001, 0.5)
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()
    metrics.stream_sent(4)
    metrics.artifact_in(10)
    metrics.artifact_out(20)
    metrics.loop_late(0.125)
    metrics.loop_blocked()
    metrics.reads("active_tasks", lambda: 6)
    told: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("tasks_created_total", ()): 1,
        ("tasks_completed_total", ()): 1,
        ("tasks_failed_total", ()): 1,
        ("tasks_canceled_total", ()): 2,
        ("tasks_rejected_total", ()): 1,
        ("task_duration_seconds_count", ()): 4,
        ("task_duration_seconds_sum", ()): 2,
        ("active_tasks", ()): 6,
        ("a2a_claims_total", (("skill", "echo"),)): 1,
        ("a2a_runs_ended_total", (("skill", "echo"), ("end", "retried"))): 1,
        ("a2a_retries_total", ()): 1,
        ("a2a_rescues_total", ()): 3,
        ("a2a_lease_losses_total", ()): 1,
        ("a2a_writer_turns_total", (("result", "committed"),)): 1,
        ("a2a_writer_turns_total", (("result", "failed"),)): 1,
        ("a2a_writer_turn_duration_seconds_count", ()): 2,
        ("a2a_writer_turn_operations_sum", ()): 7,
        ("a2a_sweeps_total", (("duty", "wake_held"), ("result", "failed"))): 1,
        ("a2a_requests_total", (("generation", "0.1"), ("method", "get"), ("code", "-32001"))): 1,
        ("a2a_request_duration_seconds_sum", (("method", "get"),)): 0.5,
        ("a2a_streams_open", ()): 1,
        ("a2a_stream_events_total", ()): 4,
        ("a2a_artifact_bytes_total", (("direction", "in"),)): 10,
        ("a2a_artifact_bytes_total", (("direction", "out"),)): 20,
        ("a2a_loop_lag_seconds_sum", ()): 0.125,
        ("a2a_loop_blocked_total", ()): 1,
    }
    assert {(name, labels): value(metrics, name, **dict(labels)) for name, labels in told} == told


def test_a_skill_that_the_agent_does_not_have_makes_no_series() -> None:
    metrics = Metrics(["echo"])
    before = metrics.exposition("")[0].count(b"\n")
    for number in range(100):
        metrics.run_began(f"skill-{number}")
        metrics.run_ended(f"skill-{number}", "failed")
        metrics.run_ended("echo", f"end-{number}")
        metrics.task_ended(f"state-{number}", None)
    assert metrics.exposition("")[0].count(b"\n") == before
    assert value(metrics, "a2a_claims_total", skill="other") == 100
    assert value(metrics, "a2a_runs_ended_total", skill="other", end="failed") == 100


def test_label_values_are_quoted() -> None:
    metrics = Metrics(['a"b\\c\nd{}'])
    assert value(metrics, "a2a_claims_total", skill='a"b\\c\nd{}') == 0


def test_a_store_that_is_silent_leaves_no_old_counts() -> None:
    metrics = Metrics([])
    metrics.waiting({("echo", "ready"): 5}, ["echo"])
    assert (value(metrics, "a2a_store_up"), value(metrics, "queue_size", queue="echo", phase="ready")) == (1, 5)
    metrics.waiting(None, ["echo"])
    assert (value(metrics, "a2a_store_up"), value(metrics, "queue_size", queue="echo", phase="ready")) == (0, None)
    metrics.waiting({("echo", "held"): 2}, ["echo"])
    assert value(metrics, "queue_size", queue="echo", phase="held") == 2


def test_a_gauge_that_cannot_be_read_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics([])

    def broken() -> float:
        raise RuntimeError("gone")

    metrics.reads("active_tasks", broken)
    metrics.task_created()
    assert math.isnan(value(metrics, "active_tasks") or 0.0)
    assert value(metrics, "tasks_created_total") == 1
    assert "active_tasks could not be read" in caplog.text


def test_two_systems_of_one_process_count_apart() -> None:
    one, other = Metrics(["echo"]), Metrics(["echo"])
    one.task_created()
    assert (value(one, "tasks_created_total"), value(other, "tasks_created_total")) == (1, 0)


def test_an_observer_that_hears_nothing_takes_everything() -> None:
    names = {name for name in vars(Observer) if not name.startswith("_")}
    assert names == {name for name in vars(Metrics) if not name.startswith("_")} - {"waiting", "exposition"}
    SILENT.answered(*SAFE)
    SILENT.reads("active_tasks", lambda: 1)
