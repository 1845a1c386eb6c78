"""What the engine and the web tell of their work, for figures only: plain values, and no answer.

Calls are on hot paths and never raise. `Observer` itself hears nothing, which is what tests and tools want; `metrics`
has the one that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

UNKNOWN: Final = "unknown"
"""What stands for a generation and an operation that a request does not say."""


class Observer:
    """Hears what happens. Concurrency: belongs to the event loop, but for `loop_blocked`."""

    def task_created(self) -> None:
        """A task was accepted and committed."""

    def task_ended(self, state: str, seconds: float | None) -> None:
        """A task ended. state: in small letters. seconds: since its last assignment, None = it had no run here."""

    def run_began(self, skill: str) -> None:
        """A worker was given a task."""

    def run_ended(self, skill: str, end: str) -> None:
        """A run ended; the ends are those of `a2a_runs_ended_total` in the catalogue."""

    def turn(self, operations: int, seconds: float, *, committed: bool) -> None:
        """The writer had a turn."""

    def rescued(self, tasks: int) -> None:
        """Tasks were taken from dead workers."""

    def retired(self, state: str, tasks: int) -> None:
        """Tasks that had ended in this state long ago were deleted. state: in small letters."""

    def lease_lost(self) -> None:
        """The worker lost its lease."""

    def swept(self, duty: str, *, done: bool) -> None:
        """The sweeper did one of its duties, or failed to."""

    def alerted(self, threshold: str, *, raised: bool) -> None:
        """An alert was raised, or is over."""

    def resized(self, *, threaded: bool, grown: bool) -> None:
        """The worker has more slots, or fewer."""

    def answered(self, generation: str, method: str, code: int, seconds: float) -> None:
        """A request got its answer. code: of the JSON-RPC error, 0 = success."""

    def stream_opened(self) -> None:
        """Somebody begins to follow a task."""

    def stream_closed(self) -> None:
        """Somebody follows a task no longer."""

    def stream_sent(self, events: int) -> None:
        """Events were handed to a stream."""

    def artifact_in(self, size: int) -> None:
        """Bytes went to the artifact store."""

    def artifact_out(self, size: int) -> None:
        """Bytes came from the artifact store."""

    def loop_late(self, seconds: float) -> None:
        """A timer of the event loop was late."""

    def loop_blocked(self) -> None:
        """The event loop stood still for too long. Thread-safe."""

    def reads(self, name: str, value: Callable[[], float]) -> None:
        """A gauge of the catalogue is read by `value` whenever somebody asks for it."""


SILENT: Final = Observer()
"""Counts nothing."""
