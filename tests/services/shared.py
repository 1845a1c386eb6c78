"""The servers that all tests of one run share: each started when the first test asks for it, ended with the run."""

from __future__ import annotations

import atexit
import functools
import threading

from tests.services.kinds import KINDS, NotReady
from tests.services.programs import Missing
from tests.services.server import Server, begin


class Shared:
    """Servers by kind, and why a kind has none.

    Concurrency: threads may ask at once; one starts, the others wait.
    """

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._failures: dict[str, Missing | NotReady] = {}
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """The address of the running server of that service.

        Raises:
            Missing: this machine has no program for it.
            NotReady: it does not come up; not tried twice.
        """
        kind = KINDS[name].name
        with self._lock:
            if kind in self._failures:
                raise self._failures[kind]
            if kind not in self._servers:
                try:
                    self._servers[kind] = begin(name)
                except (Missing, NotReady) as error:
                    self._failures[kind] = error
                    raise
            return self._servers[kind].url

    def end(self) -> None:
        """None of them runs any more."""
        with self._lock:
            self._failures.clear()
            while self._servers:
                self._servers.popitem()[1].discard()


@functools.cache
def run() -> Shared:
    """The servers of this process."""
    shared = Shared()
    atexit.register(shared.end)  # the net; tests/conftest.py ends them where pytest ends
    return shared
