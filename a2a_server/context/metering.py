"""The processor time of one run, wherever its skill's code is executed: on the event loop, or in threads.

A coroutine is measured from each time it is resumed until it waits again; what tasks of its own do that it starts is
not seen. Work that is handed to a thread is measured there, and added.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, Final, Generic, TypeVar

from a2a_server.model.runs import Used

T = TypeVar("T")


class Meter:
    """Adds up seconds of processor time. Thread-safe. used: all that was measured, once the run is over."""

    __slots__ = ("_lock", "_nanoseconds", "used")

    def __init__(self) -> None:
        self.used: Used | None = None
        self._nanoseconds = 0
        self._lock = threading.Lock()

    def add(self, nanoseconds: int) -> None:
        """Count so many nanoseconds."""
        with self._lock:
            self._nanoseconds += nanoseconds

    @property
    def seconds(self) -> float:
        """All of them."""
        return self._nanoseconds / 1e9


METER: Final[ContextVar[Meter | None]] = ContextVar("a2a_meter", default=None)
"""The meter of the run that the code belongs to; None = it is not measured."""


def in_thread(work: Callable[[], T]) -> Callable[[], T]:
    """The work, so that what it takes in the thread that does it is added to the run's meter."""
    meter = METER.get()
    if meter is None:
        return work

    def measured() -> T:
        began = time.thread_time_ns()
        try:
            return work()
        finally:
            meter.add(time.thread_time_ns() - began)

    return measured


class Stepped(Generic[T]):
    """Awaits a coroutine, and adds what each of its steps takes to a meter."""

    __slots__ = ("_coroutine", "_meter")

    def __init__(self, coroutine: Coroutine[Any, Any, T], meter: Meter) -> None:
        self._coroutine = coroutine
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, T]:
        """What the coroutine returns or raises."""
        coroutine, add, now = self._coroutine, self._meter.add, time.thread_time_ns
        said: object = None
        raised: BaseException | None = None
        while True:
            began = now()
            try:
                waits_for = coroutine.send(said) if raised is None else coroutine.throw(raised)
            except StopIteration as end:
                value: T = end.value
                return value
            finally:
                add(now() - began)
            said = raised = None
            try:
                said = yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - cancellation and all else belongs to the coroutine
                raised = error
