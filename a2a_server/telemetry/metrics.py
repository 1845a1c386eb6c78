"""The figures of one system, counted here; `exposition` writes them.

Everything in `catalogue` is shown and nothing else. A count is a number in a dictionary, by the values of its labels,
so counting is an addition; samples are made of the numbers when somebody asks for them. Series whose labels are known
beforehand exist from the start, at zero.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, TypeAlias

from a2a_server.telemetry.catalogue import CATALOGUE, Metric
from a2a_server.telemetry.observer import Observer

OTHER: Final = "other"
STATES: Final = ("completed", "failed", "canceled", "rejected")
ENDS: Final = ("completed", "failed", "canceled", "rejected", "paused", "retried", "crashed", "handed_back")
THRESHOLDS: Final = ("task_duration", "resource_usage", "dependency_wait", "failure_rate")
WAITS: Final = ("ready", "held", "scheduled", "waiting", "paused")

Labels: TypeAlias = tuple[str, ...]
"""The values of a metric's labels, in the catalogue's order."""
Numbers: TypeAlias = dict[Labels, float]
Sample: TypeAlias = tuple[str, dict[str, str | float], float]
"""Name, labels, value; the label `le` of a bucket is a number."""

_log = logging.getLogger("a2a_server.telemetry")


class Metrics(Observer):
    """Counts what one system does. skills: the agent's, the values that `skill` may take.

    Concurrency: as `Observer`; what another thread counts, nobody else does.
    """

    def __init__(self, skills: Iterable[str]) -> None:
        self._numbers: dict[str, Numbers] = {
            metric.name: {} if metric.labels else {(): 0} for metric in CATALOGUE if metric.kind != "histogram"
        }
        self._histograms: dict[str, defaultdict[Labels, _Histogram]] = {
            metric.name: _histograms(metric) for metric in CATALOGUE if metric.kind == "histogram"
        }
        self._readers: dict[str, Callable[[], float]] = {}
        numbers, histograms = self._numbers, self._histograms
        known = (*skills, OTHER)
        self._created = numbers["tasks_created_total"]
        self._ended = {state: numbers[f"tasks_{state}_total"] for state in STATES}
        self._task_seconds = histograms["task_duration_seconds"][()]
        self._claims = numbers["a2a_claims_total"]
        self._claims |= {(skill,): 0 for skill in known}
        self._runs = numbers["a2a_runs_ended_total"]
        self._runs |= {(skill, end): 0 for skill in known for end in ENDS}
        self._turns = numbers["a2a_writer_turns_total"]
        self._turns |= {(result,): 0 for result in ("committed", "failed")}
        self._turn_seconds = histograms["a2a_writer_turn_duration_seconds"][()]
        self._turn_operations = histograms["a2a_writer_turn_operations"][()]
        self._streams = numbers["a2a_streams_open"]
        self._stream_events = numbers["a2a_stream_events_total"]
        self._bytes = numbers["a2a_artifact_bytes_total"]
        self._bytes |= {(direction,): 0 for direction in ("in", "out")}
        self._retired = numbers["a2a_tasks_retired_total"]
        self._retired |= {(state,): 0 for state in STATES}
        self._lag = histograms["a2a_loop_lag_seconds"][()]
        self._answers: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._answer_seconds = histograms["a2a_request_duration_seconds"]
        self._alerts = numbers["a2a_alerts_total"]
        self._alerts |= {(threshold, change): 0 for threshold in THRESHOLDS for change in ("raised", "cleared")}
        self._resizes = numbers["a2a_slot_changes_total"]
        self._resizes |= {(kind, change): 0 for kind in ("slots", "threads") for change in ("grown", "shrunk")}
        self._sweeps: defaultdict[tuple[str, bool], int] = defaultdict(int)

    def task_created(self) -> None:
        """Count it."""
        self._created[()] += 1

    def task_ended(self, state: str, seconds: float | None) -> None:
        """Count it by its state, and its time."""
        if state in self._ended:
            self._ended[state][()] += 1
        if seconds is not None:
            self._task_seconds.observe(seconds)

    def run_began(self, skill: str) -> None:
        """Count it by its skill."""
        self._claims[(skill,) if (skill,) in self._claims else (OTHER,)] += 1

    def run_ended(self, skill: str, end: str) -> None:
        """Count it by its skill and end."""
        if (skill, end) in self._runs:
            self._runs[skill, end] += 1
        elif (OTHER, end) in self._runs:
            self._runs[OTHER, end] += 1
        if end == "retried":
            self._numbers["a2a_retries_total"][()] += 1

    def turn(self, operations: int, seconds: float, *, committed: bool) -> None:
        """Count it, its size and its time."""
        self._turns["committed" if committed else "failed",] += 1
        self._turn_seconds.observe(seconds)
        if committed:
            self._turn_operations.observe(operations)

    def rescued(self, tasks: int) -> None:
        """Count them."""
        self._numbers["a2a_rescues_total"][()] += tasks

    def retired(self, state: str, tasks: int) -> None:
        """Count them by state."""
        self._retired[state,] += tasks

    def lease_lost(self) -> None:
        """Count it."""
        self._numbers["a2a_lease_losses_total"][()] += 1

    def swept(self, duty: str, *, done: bool) -> None:
        """Count it by its duty, which is the engine's own word, and result."""
        self._sweeps[duty, done] += 1

    def alerted(self, threshold: str, *, raised: bool) -> None:
        """Count it by its threshold, which is the engine's own word, and by what became of it."""
        self._alerts[threshold, "raised" if raised else "cleared"] += 1

    def resized(self, *, threaded: bool, grown: bool) -> None:
        """Count it by the kind of slot and the direction."""
        self._resizes["threads" if threaded else "slots", "grown" if grown else "shrunk"] += 1

    def answered(self, generation: str, method: str, code: int, seconds: float) -> None:
        """Count it by generation, operation and code, which are this server's own words; and its time by operation."""
        self._answers[generation, method, code] += 1
        self._answer_seconds[method,].observe(seconds)

    def stream_opened(self) -> None:
        """One more."""
        self._streams[()] += 1

    def stream_closed(self) -> None:
        """One less."""
        self._streams[()] -= 1

    def stream_sent(self, events: int) -> None:
        """Count them."""
        self._stream_events[()] += events

    def artifact_in(self, size: int) -> None:
        """Count them."""
        self._bytes["in",] += size

    def artifact_out(self, size: int) -> None:
        """Count them."""
        self._bytes["out",] += size

    def loop_late(self, seconds: float) -> None:
        """Note by how much."""
        self._lag.observe(seconds)

    def loop_blocked(self) -> None:
        """Count it."""
        self._numbers["a2a_loop_blocked_total"][()] += 1

    def reads(self, name: str, value: Callable[[], float]) -> None:
        """Read the gauge by `value` at every exposition; what cannot be read is NaN."""
        self._readers[name] = _guarded(name, value)

    def waiting(self, counts: Mapping[tuple[str, str], int] | None, queues: Iterable[str]) -> None:
        """What waits in the store: (queue, phase) -> tasks; None = the store did not answer.

        queues: those that are shown also when nothing waits in them.
        """
        self._numbers["a2a_store_up"][()] = 0 if counts is None else 1
        size = self._numbers["queue_size"] = {}
        if counts is not None:
            size |= {(queue, phase): 0 for queue in queues for phase in WAITS}
            for labels, count in counts.items():
                size[labels] = count

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All figures as text, and its content type: OpenMetrics where the `Accept` header names it."""
        from a2a_server.telemetry.exposition import written  # noqa: PLC0415 - its library waits until somebody asks

        return written(self._samples, accept)

    def _samples(self) -> Iterator[tuple[Metric, Iterable[Sample]]]:
        self._numbers["a2a_requests_total"] = {
            (generation, method, str(code) if code else "ok"): count
            for (generation, method, code), count in self._answers.items()
        }
        self._numbers["a2a_sweeps_total"] = {
            (duty, "done" if done else "failed"): count for (duty, done), count in self._sweeps.items()
        }
        for name, read in self._readers.items():
            self._numbers[name] = {(): read()}
        for metric in CATALOGUE:
            if metric.kind == "histogram":
                histograms = self._histograms[metric.name].items()
                yield metric, [one for labels, found in histograms for one in found.samples(metric, labels)]
            else:
                numbers = self._numbers[metric.name].items()
                yield metric, [(metric.name, _named(metric, labels), number) for labels, number in numbers]


class _Histogram:
    """How often a value fell into each bucket: at most its bound, and more than that of the one before."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self, metric: Metric, values: Labels) -> Iterator[Sample]:
        labels, total = _named(metric, values), 0
        for bound, total in zip((*self._bounds, math.inf), accumulate(self._counts), strict=True):
            yield f"{metric.name}_bucket", {**labels, "le": bound}, total
        yield f"{metric.name}_count", labels, total
        yield f"{metric.name}_sum", labels, self._sum


def _named(metric: Metric, values: Labels) -> dict[str, str | float]:
    return dict(zip(metric.labels, values, strict=True))


def _histograms(metric: Metric) -> defaultdict[Labels, _Histogram]:
    return defaultdict(lambda: _Histogram(metric.buckets))


def _guarded(name: str, value: Callable[[], float]) -> Callable[[], float]:
    def read() -> float:
        try:
            return value()
        except Exception:  # noqa: BLE001 - one figure that cannot be read must not hide the others
            _log.exception("The metric %s could not be read.", name)
            return math.nan

    return read
