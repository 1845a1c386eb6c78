"""Says that a worker lives, from a thread of its own, so that a busy event loop or writer cannot silence it.

It stops saying so when the event loop has not moved for `stall_seconds`: then the process only looks alive. When no
beat arrived for `lease_seconds` others may have taken the worker's tasks, so it is lost too.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("a2a_server.engine.pulse")


class Pulse:
    """The beating of one worker. `lost` is called in the event loop, once, when the worker is lost."""

    def __init__(
        self,
        beat: Callable[[], bool],
        *,
        beat_seconds: float,
        lease_seconds: float,
        stall_seconds: float,
        lost: Callable[[], None],
    ) -> None:
        self._beat = beat
        self._every = beat_seconds
        self._lease = lease_seconds
        self._stall = stall_seconds
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._moved_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; does not wait for the thread."""
        self._ended.set()

    def join(self) -> None:
        """Wait, briefly, for the thread to end, after `stop`."""
        self._thread.join(timeout=self._every)

    def _tick(self) -> None:
        self._moved_at = time.monotonic()
        if not self._ended.is_set():
            self._loop.call_later(self._every / 2, self._tick)

    def _run(self) -> None:
        heard_at = time.monotonic()
        while not self._ended.wait(self._every):
            if time.monotonic() - self._moved_at > self._stall:
                continue
            try:
                alive = self._beat()
            except Exception as error:  # noqa: BLE001 - a worker whose signs of life end silently would lose everything
                _log.warning("The store did not take a sign of life (%s).", type(error).__name__)
                alive = time.monotonic() - heard_at < self._lease
            else:
                heard_at = time.monotonic()
            if not alive and not self._ended.is_set():
                self._ended.set()
                self._loop.call_soon_threadsafe(self._lost)
