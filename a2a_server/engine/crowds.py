"""Those who watch many tasks at once: each hears every bell of this process, and knows which of them concern it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from a2a_server.errors import Draining
from a2a_server.model.turns import Bell


class Crowd(Protocol):
    """Watches many tasks."""

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Take in doorbells. Costs little and never fails."""
        ...

    def on_silence(self) -> None:
        """Doorbells were lost."""
        ...

    def close(self) -> None:
        """The process stops."""
        ...


class Crowds:
    """All of this process. Concurrency: belongs to the event loop."""

    def __init__(self) -> None:
        self._all: set[Crowd] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def joined(self, crowd: Crowd) -> Iterator[None]:
        """Ring every bell for the crowd while the context lasts. Raises Draining when the process stops."""
        if self._closed:
            raise Draining
        self._all.add(crowd)
        try:
            yield
        finally:
            self._all.discard(crowd)

    def on_bells(self, bells: Sequence[Bell]) -> None:
        """Tell them all."""
        for crowd in self._all:
            crowd.on_bells(bells)

    def on_silence(self) -> None:
        """Tell them that some were lost."""
        for crowd in self._all:
            crowd.on_silence()

    def close(self) -> None:
        """End them all."""
        self._closed = True
        for crowd in self._all:
            crowd.close()
