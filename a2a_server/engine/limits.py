"""Every number the engine is bounded by. Durations in seconds unless the name says otherwise; defaults: core.md 13."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from a2a_server.policy import SECOND, RetryPolicy


@dataclass(frozen=True, slots=True)
class Limits:
    """Set once at start."""

    slots: int = 1000
    threads: int = 32
    lease_seconds: float = 8.0
    beat_seconds: float = 2.0
    stall_seconds: float = 60.0
    block_seconds: float = 1.0
    poll_seconds: float = 1.0
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
    max_events_per_task: int = 1_000_000
    uncommitted_events: int = 256
    uncommitted_bytes: int = 256 * 1024
    writer_operations: int = 10_000
    writer_bytes: int = 64 << 20
    ring_events: int = 256
    ring_bytes: int = 256 * 1024
    rings_bytes: int = 64 << 20

    @property
    def retries(self) -> RetryPolicy:
        """The back-off, in microseconds."""
        return _policy(self.backoff_base_seconds, self.backoff_limit_seconds)


@lru_cache(maxsize=16)
def _policy(base_seconds: float, limit_seconds: float) -> RetryPolicy:
    return RetryPolicy(round(base_seconds * SECOND), round(limit_seconds * SECOND))
