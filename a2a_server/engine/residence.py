"""How much memory the process grows to while a run runs.

Theory of operation: memory belongs to a process, and several runs share one, so what a single run has of it cannot be
told without following each allocation (tracemalloc does, and makes runs several times slower). What the kernel tells
exactly is the highest resident set since it was last asked to forget it. It is asked whenever a measured run begins or
ends, and what it says counts for every run that is going on; nothing is sampled, so no short peak is missed.

What comes out is the growth of the process over a run, and how many other measured runs it had beside it: of a run
that was alone it is the run's own, requests and background work aside; of others it may be anybody's. It is too low by
what the run found in memory that earlier runs had left to the process, and knows nothing of processes that a run
starts. Asking the kernel to forget resets what others read as the process's peak (`VmHWM`, `ru_maxrss`).

Source: Linux, Documentation/filesystems/proc.rst: status, clear_refs. Elsewhere nothing is measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

_FORGET: Final = b"5"
_STATUS_BYTES: Final = 8192
_KIBIBYTE: Final = 1024


class Look(NamedTuple):
    """Bytes that are resident now, and the most that were since the look before."""

    now: int
    highest: int


class Stay:
    """A run that is going on."""

    __slots__ = ("began", "highest", "others")

    def __init__(self, began: int, others: int) -> None:
        self.began = began
        self.highest = began
        self.others = others

    @property
    def growth(self) -> int:
        """Bytes by which the process was at most larger than at the run's begin."""
        return self.highest - self.began


class Residence:
    """Watches the process. Concurrency: belongs to the event loop. look: None = it cannot be told, now or ever."""

    def __init__(self, look: Callable[[], Look | None] | None = None) -> None:
        self._look = look or resident
        self._stays: set[Stay] = set()

    def begin(self) -> Stay | None:
        """A run begins; None = its memory cannot be measured."""
        seen = self._seen()
        if seen is None:
            return None
        others = len(self._stays)
        for stay in self._stays:
            stay.others = max(stay.others, others)
        self._stays.add(stay := Stay(seen.now, others))
        return stay

    def end(self, stay: Stay) -> None:
        """The run is over; what it says now stays."""
        self._seen()
        self._stays.discard(stay)

    def _seen(self) -> Look | None:
        seen = self._look()
        if seen is not None:
            for stay in self._stays:
                stay.highest = max(stay.highest, seen.highest)
        return seen


def resident() -> Look | None:
    """What the kernel says of this process, which forgets its peak by it; None where there is no such kernel."""
    try:
        told = _read("/proc/self/status")
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(descriptor, _FORGET)
        finally:
            os.close(descriptor)
        return Look(_figure(told, b"VmRSS:"), _figure(told, b"VmHWM:"))
    except (OSError, ValueError, IndexError):
        return None


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, _STATUS_BYTES)
    finally:
        os.close(descriptor)


def _figure(told: bytes, name: bytes) -> int:
    return int(told[told.index(name) + len(name) :].split(None, 1)[0]) * _KIBIBYTE
