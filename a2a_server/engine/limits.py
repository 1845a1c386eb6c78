"""Every number the engine is bounded by. Durations in seconds unless the name says otherwise; defaults: core.md 13."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache

from a2a_server.model.runs import SkillSpec
from a2a_server.policy import SECOND, RetryPolicy
from a2a_server.values import value_class


@value_class(frozen=True, slots=True)
class Limits:
    """Set once at start."""

    slots: int = 1000
    threads: int = 32
    lease_seconds: float = 8.0
    beat_seconds: float = 2.0
    stall_seconds: float = 60.0
    block_seconds: float = 1.0
    poll_seconds: float = 1.0
    scheduling_seconds: float = 60.0
    cancel_grace_seconds: float = 5.0
    drain_seconds: float = 30.0
    start_seconds: float = 30.0
    pause_seconds: float = 7 * 86400.0
    direct_seconds: float = 1.0
    v03_default_blocking: bool = True
    timeout_seconds: float = 1800.0
    max_attempts: int = 4
    backoff_base_seconds: float = 1.0
    backoff_limit_seconds: float = 300.0
    idempotency_seconds: float = 86400.0
    inline_bytes: int = 65536
    artifact_limit_bytes: int = 1 << 30
    collect_seconds: float = 3600.0
    unused_object_seconds: float = 86400.0
    retention_completed_days: int = 30
    retention_failed_days: int = 90
    retention_canceled_days: int = 90
    retention_rejected_days: int = 90
    archive: bool = False
    retire_seconds: float = 3600.0
    max_events_per_task: int = 1_000_000
    uncommitted_events: int = 256
    uncommitted_bytes: int = 256 * 1024
    writer_operations: int = 10_000
    writer_bytes: int = 64 << 20
    ring_events: int = 256
    ring_bytes: int = 256 * 1024
    rings_bytes: int = 64 << 20
    lanes: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    aging_seconds: float = 0.0
    worker_tags: tuple[str, ...] = ()
    worker_tools: tuple[str, ...] = ()
    worker_agents: tuple[str, ...] = ()
    worker_cpu: float = 0.0
    worker_memory_bytes: int = 0
    worker_storage_bytes: int = 0
    worker_reserve_seconds: float = 10.0
    resources: Mapping[str, int] = field(default_factory=dict)
    client_max_concurrency: int = 0
    client_max_requirements: int = 100
    client_skill_max_concurrency: int = 0
    client_priorities: Mapping[str, str] = field(default_factory=dict)
    agent_max_concurrency: int = 0
    breaker_failures: int = 0
    breaker_seconds: float = 30.0

    @property
    def retries(self) -> RetryPolicy:
        """The back-off, in microseconds."""
        return _policy(self.backoff_base_seconds, self.backoff_limit_seconds)

    def retries_of(self, skill: SkillSpec | None) -> RetryPolicy:
        """The back-off of a skill's tasks: its own, where it has one. None = it is not known here."""
        return self.retries if skill is None or skill.backoff_seconds is None else _policy(*skill.backoff_seconds)


@lru_cache(maxsize=256)
def _policy(base_seconds: float, limit_seconds: float) -> RetryPolicy:
    return RetryPolicy(round(base_seconds * SECOND), round(limit_seconds * SECOND))
