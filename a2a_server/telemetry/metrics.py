"""The figures of one system, counted with prometheus-client in a registry of its own, and their exposition.

Everything in `catalogue` is made here and nothing else. Series whose labels are known beforehand exist from the start,
at zero, and are bound once, so that counting one is an addition and no look-up by labels.

Source: Prometheus text format 0.0.4; OpenMetrics 1.0.0.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from a2a_server.telemetry.catalogue import CATALOGUE, Metric
from a2a_server.telemetry.observer import Observer

OTHER: Final = "other"
ENDS: Final = ("completed", "failed", "canceled", "rejected", "paused", "retried", "crashed", "handed_back")
WAITS: Final = ("ready", "held", "scheduled", "waiting", "paused")
OPENMETRICS: Final = "application/openmetrics-text"

_log = logging.getLogger("a2a_server.telemetry")


class Metrics(Observer):
    """Counts what one system does. skills: the agent's, the values that `skill` may take."""

    def __init__(self, skills: Iterable[str]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        made = {metric.name: _made(metric, self._registry) for metric in CATALOGUE}
        self._counters = {name: one for name, one in made.items() if isinstance(one, Counter)}
        self._gauges = {name: one for name, one in made.items() if isinstance(one, Gauge)}
        self._histograms = {name: one for name, one in made.items() if isinstance(one, Histogram)}
        counters, histograms = self._counters, self._histograms
        self._created = counters["tasks_created_total"]
        self._ended = {
            state: counters[f"tasks_{state}_total"] for state in ("completed", "failed", "canceled", "rejected")
        }
        self._task_seconds = histograms["task_duration_seconds"]
        known = (*skills, OTHER)
        self._claims = {skill: counters["a2a_claims_total"].labels(skill=skill) for skill in known}
        self._runs = {
            (skill, end): counters["a2a_runs_ended_total"].labels(skill=skill, end=end)
            for skill in known
            for end in ENDS
        }
        self._retries = counters["a2a_retries_total"]
        self._rescues = counters["a2a_rescues_total"]
        self._losses = counters["a2a_lease_losses_total"]
        self._turns = {
            committed: counters["a2a_writer_turns_total"].labels(result="committed" if committed else "failed")
            for committed in (True, False)
        }
        self._turn_seconds = histograms["a2a_writer_turn_duration_seconds"]
        self._turn_operations = histograms["a2a_writer_turn_operations"]
        self._streams = self._gauges["a2a_streams_open"]
        self._stream_events = counters["a2a_stream_events_total"]
        self._in = counters["a2a_artifact_bytes_total"].labels(direction="in")
        self._out = counters["a2a_artifact_bytes_total"].labels(direction="out")
        self._lag = histograms["a2a_loop_lag_seconds"]
        self._blocked = counters["a2a_loop_blocked_total"]
        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._answer_seconds: dict[str, Histogram] = {}
        self._sweeps: dict[tuple[str, bool], Counter] = {}

    def task_created(self) -> None:
        """Count it."""
        self._created.inc()

    def task_ended(self, state: str, seconds: float | None) -> None:
        """Count it by its state, and its time."""
        if counter := self._ended.get(state):
            counter.inc()
        if seconds is not None:
            self._task_seconds.observe(seconds)

    def run_began(self, skill: str) -> None:
        """Count it by its skill."""
        (self._claims.get(skill) or self._claims[OTHER]).inc()

    def run_ended(self, skill: str, end: str) -> None:
        """Count it by its skill and end."""
        if counter := self._runs.get((skill, end)) or self._runs.get((OTHER, end)):
            counter.inc()
        if end == "retried":
            self._retries.inc()

    def turn(self, operations: int, seconds: float, *, committed: bool) -> None:
        """Count it, its size and its time."""
        self._turns[committed].inc()
        self._turn_seconds.observe(seconds)
        if committed:
            self._turn_operations.observe(operations)

    def rescued(self, tasks: int) -> None:
        """Count them."""
        self._rescues.inc(tasks)

    def lease_lost(self) -> None:
        """Count it."""
        self._losses.inc()

    def swept(self, duty: str, *, done: bool) -> None:
        """Count it by its duty, which is the engine's own word, and result."""
        counter = self._sweeps.get((duty, done))
        if counter is None:
            result = "done" if done else "failed"
            counter = self._counters["a2a_sweeps_total"].labels(duty=duty, result=result)
            self._sweeps[duty, done] = counter
        counter.inc()

    def answered(self, generation: str, method: str, code: int, seconds: float) -> None:
        """Count it by generation, operation and code, which are this server's own words; and its time by operation."""
        counter = self._answers.get((generation, method, code))
        if counter is None:
            counter = self._counters["a2a_requests_total"].labels(
                generation=generation, method=method, code=str(code) if code else "ok"
            )
            self._answers[generation, method, code] = counter
        counter.inc()
        histogram = self._answer_seconds.get(method)
        if histogram is None:
            histogram = self._histograms["a2a_request_duration_seconds"].labels(method=method)
            self._answer_seconds[method] = histogram
        histogram.observe(seconds)

    def stream_opened(self) -> None:
        """One more."""
        self._streams.inc()

    def stream_closed(self) -> None:
        """One less."""
        self._streams.dec()

    def stream_sent(self, events: int) -> None:
        """Count them."""
        self._stream_events.inc(events)

    def artifact_in(self, size: int) -> None:
        """Count them."""
        self._in.inc(size)

    def artifact_out(self, size: int) -> None:
        """Count them."""
        self._out.inc(size)

    def loop_late(self, seconds: float) -> None:
        """Note by how much."""
        self._lag.observe(seconds)

    def loop_blocked(self) -> None:
        """Count it."""
        self._blocked.inc()

    def reads(self, name: str, value: Callable[[], float]) -> None:
        """Read the gauge by `value` at every exposition; what cannot be read is NaN."""
        self._gauges[name].set_function(_guarded(name, value))

    def waiting(self, counts: Mapping[tuple[str, str], int] | None, queues: Iterable[str]) -> None:
        """What waits in the store: (queue, phase) -> tasks; None = the store did not answer.

        queues: those that are shown also when nothing waits in them.
        """
        size = self._gauges["queue_size"]
        size.clear()
        self._gauges["a2a_store_up"].set(0 if counts is None else 1)
        if counts is None:
            return
        for queue in queues:
            for phase in WAITS:
                size.labels(queue=queue, phase=phase).set(0)
        for (queue, phase), count in counts.items():
            size.labels(queue=queue, phase=phase).set(count)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All figures as text, and its content type: OpenMetrics where the `Accept` header names it."""
        shown = _Shown(self._registry)
        if any(offer.partition(";")[0].strip().lower() == OPENMETRICS for offer in accept.split(",")):
            text: bytes = openmetrics.generate_latest(shown, version="1.0.0")  # type: ignore[no-untyped-call]  # the library's
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(shown), CONTENT_TYPE_PLAIN_0_0_4


class _Shown(Collector):
    """What a registry has, without the times at which its series began: they double the text and nobody asks."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Family]:
        for family in self._registry.collect():
            began = f"{family.name}_created"
            family.samples = [sample for sample in family.samples if sample.name != began]
            yield family


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name, labels = metric.name, tuple(metric.labels)
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.help, labels, registry=registry)
        case "histogram":
            return Histogram(name, metric.help, labels, registry=registry, buckets=metric.buckets)


def _guarded(name: str, value: Callable[[], float]) -> Callable[[], float]:
    def read() -> float:
        try:
            return value()
        except Exception:  # noqa: BLE001 - one figure that cannot be read must not hide the others
            _log.exception("The metric %s could not be read.", name)
            return math.nan

    return read
