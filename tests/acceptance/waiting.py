"""Waiting for what other processes do, and holding one of them up meanwhile."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.patience import PATIENCE


def until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds, asked often. An AssertionError after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@contextmanager
def standing_still(process: subprocess.Popen[Any]) -> Iterator[None]:
    """It does nothing meanwhile (SIGSTOP): its tries and its times do not run out, however long that takes."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
