"""Every metric that this server gives, named once: kind, unit, labels, help. What counts them is in `metrics`.

Names follow Prometheus: base units (seconds, bytes), `_total` on what only grows, the unit as suffix. Those without
`a2a_` are the names that users of other task managers know. No label carries an id or a client's words: skills and
queues are the agent's own names, everything else is a word of a fixed list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final, Literal

from a2a_server.values import value_class

Kind = Literal["counter", "gauge", "histogram"]

_TURNS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ANSWERS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_TASKS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0)
_LAGS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCHES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


@value_class(frozen=True, slots=True)
class Metric:
    """One metric. labels: name -> what its values are. buckets: upper bounds of a histogram, in its unit."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


_SKILL: Final = {"skill": "a skill's id, or `other` for one that this agent no longer has"}
_GENERATION: Final = "`0.1`, `0.3`, `1.0`; `unknown` where the request could not be read"
_METHOD: Final = "the A2A operation, such as `send`; `unknown` where the request names none"

CATALOGUE: Final = (
    Metric("tasks_created_total", "counter", "tasks", "Tasks that this process accepted, direct answers included."),
    Metric("tasks_completed_total", "counter", "tasks", "Tasks that ended as completed."),
    Metric("tasks_failed_total", "counter", "tasks", "Tasks that ended as failed, time-outs and missed deadlines too."),
    Metric("tasks_canceled_total", "counter", "tasks", "Tasks that ended as canceled."),
    Metric("tasks_rejected_total", "counter", "tasks", "Tasks that the agent rejected."),
    Metric(
        "task_duration_seconds",
        "histogram",
        "seconds",
        "Time from a task's last assignment to a worker until the task ended, whatever its end.",
        buckets=_TASKS,
    ),
    Metric(
        "queue_size",
        "gauge",
        "tasks",
        "Tasks in the store that no worker has, by the queue that they wait in and by what they wait for.",
        {
            "queue": "a queue of this agent: its skill, behind the agent's name where there is one",
            "phase": "`ready`, `held` (by a limit), `scheduled`, `waiting` (for other tasks), `paused` (for an answer)",
        },
    ),
    Metric("active_tasks", "gauge", "tasks", "Handlers that hold a slot in this process."),
    Metric(
        "a2a_requests_total",
        "counter",
        "requests",
        "JSON-RPC requests that were answered, each entry of a batch by itself.",
        {"generation": _GENERATION, "method": _METHOD, "code": "`ok`, or the code of the JSON-RPC error"},
    ),
    Metric(
        "a2a_request_duration_seconds",
        "histogram",
        "seconds",
        "Time to a request's answer; of a stream, to its beginning. A blocking send waits for its task.",
        {"method": _METHOD},
        _ANSWERS,
    ),
    Metric("a2a_streams_open", "gauge", "streams", "Streams that follow a task at the moment."),
    Metric("a2a_stream_events_total", "counter", "events", "Events that were handed to streams."),
    Metric("a2a_claims_total", "counter", "runs", "Runs that a worker of this process was given.", _SKILL),
    Metric(
        "a2a_runs_ended_total",
        "counter",
        "runs",
        "Runs that ended, by how.",
        _SKILL
        | {
            "end": "`completed`, `failed`, `canceled`, `rejected`, `paused`, `retried` (its attempt failed, and the "
            "task waits for the next), `crashed`, `handed_back`"
        },
    ),
    Metric("a2a_retries_total", "counter", "runs", "Runs after which the task waits for another attempt."),
    Metric("a2a_rescues_total", "counter", "tasks", "Tasks that were taken from workers that died."),
    Metric(
        "a2a_tasks_retired_total",
        "counter",
        "tasks",
        "Tasks that ended long ago and were deleted with all that they had.",
        {"state": "how they had ended: `completed`, `failed`, `canceled`, `rejected`"},
    ),
    Metric("a2a_lease_losses_total", "counter", "losses", "Times that this process's worker lost its lease."),
    Metric(
        "a2a_writer_turns_total",
        "counter",
        "turns",
        "Turns that the writer committed or gave up.",
        {"result": "`committed`, `failed`"},
    ),
    Metric(
        "a2a_writer_turn_duration_seconds",
        "histogram",
        "seconds",
        "Time that the store took for a turn, repetitions included.",
        buckets=_TURNS,
    ),
    Metric(
        "a2a_writer_turn_operations",
        "histogram",
        "operations",
        "Operations that were committed together in one turn.",
        buckets=_BATCHES,
    ),
    Metric("a2a_writer_queue_operations", "gauge", "operations", "Operations that wait for the writer."),
    Metric("a2a_writer_queue_bytes", "gauge", "bytes", "Size of the operations that wait for the writer."),
    Metric(
        "a2a_sweeps_total",
        "counter",
        "sweeps",
        "Passes of the sweeper, by duty and result.",
        {
            "duty": "`ring_records`, `ring_alarms`, `rescue_orphans`, `wake_held`, `age_ready`, `tidy_gates`, "
            "`tidy_contexts`, `tidy_classes`, `tidy_turns`, `mend_records`, `forget_workers`, `check` (of streams), "
            "`check_worker`",
            "result": "`done`, `failed`",
        },
    ),
    Metric(
        "a2a_alerts_total",
        "counter",
        "alerts",
        "Alerts that this process raised and ended, by their threshold.",
        {
            "threshold": "`task_duration`, `resource_usage`, `dependency_wait`, `failure_rate`",
            "change": "`raised`, `cleared`",
        },
    ),
    Metric("a2a_worker_slots", "gauge", "slots", "Coroutines that the worker runs at once, at most."),
    Metric("a2a_worker_threads", "gauge", "threads", "Plain functions that the worker runs at once, at most."),
    Metric(
        "a2a_slot_changes_total",
        "counter",
        "changes",
        "Changes of the number of slots, where `optimise_slots` is set.",
        {"kind": "`slots`, `threads`", "change": "`grown`, `shrunk`"},
    ),
    Metric(
        "a2a_artifact_bytes_total",
        "counter",
        "bytes",
        "Bytes that went to and came from the artifact store.",
        {"direction": "`in`, `out`"},
    ),
    Metric(
        "a2a_loop_lag_seconds",
        "histogram",
        "seconds",
        "How late the event loop was for a timer, asked some times a second.",
        buckets=_LAGS,
    ),
    Metric("a2a_loop_blocked_total", "counter", "blocks", "Times that the event loop stood still for too long."),
    Metric("a2a_store_up", "gauge", "", "Whether the store answered this scrape: 1, or 0 and no queue_size."),
)
